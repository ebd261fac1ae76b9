"""Places at the border of a view for what lies outside it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

# Depth of border marks inside the view, and least distance between two of them along the border, in points.
MARK_DEPTH = 11.0
_MARK_SPACING = 16.0


@dataclass(frozen=True, eq=False)
class Placed:
    """Where marks stand in a view, in slice coordinates: at their true places, or at the border."""

    shown: Float[np.ndarray, "k 2"]
    inside: Bool[np.ndarray, " k"]
    direction: Float[np.ndarray, "k 2"]
    """Unit vector, on the screen, from the mark to the true place."""
    beyond: Float[np.ndarray, " k"]
    """Distance from the mark to the true place, in input-space units."""


def place_in_view(
    ax: Axes, positions: Float[np.ndarray, "k 2"], starts: Float[np.ndarray, "k 2"] | None = None
) -> Placed:
    """Keep the positions that the view shows; move the others to its border, on their way from `starts`.

    Without starts the way begins at the view's centre. Marks at the border are pushed apart where they would overlap.
    """
    pixels = ax.transData.transform(positions)
    point = ax.figure.dpi / 72.0
    inside = np.all((pixels >= np.asarray(ax.bbox.min)) & (pixels <= np.asarray(ax.bbox.max)), axis=1)
    frame = ax.bbox.padded(-MARK_DEPTH * point)
    low, high = np.asarray(frame.min), np.asarray(frame.max)
    if starts is None:
        start = np.tile(0.5 * (low + high), (len(pixels), 1))
    else:
        start = np.clip(ax.transData.transform(starts), low, high)
    outside = np.flatnonzero(~inside)
    at = pixels.copy()
    at[outside] = _spread(_leave(frame, start[outside], pixels[outside]), frame, _MARK_SPACING * point)
    way = pixels - at
    length = np.linalg.norm(way, axis=1, keepdims=True)
    direction = np.divide(way, length, out=np.zeros_like(way), where=length > 0)
    shown = np.array(positions, dtype=np.float64)
    shown[outside] = ax.transData.inverted().transform(at[outside].reshape(-1, 2))
    return Placed(shown, inside, direction, np.linalg.norm(positions - shown, axis=1))


def _leave(frame: Bbox, start: Float[np.ndarray, "n 2"], target: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Where the ways from `start`, in the frame, to `target`, outside it, cross the frame."""
    step = target - start
    wall = np.where(step > 0, frame.max, frame.min)
    # A way that runs along an axis never reaches the walls across it.
    reach = np.divide(wall - start, step, out=np.full_like(step, np.inf), where=step != 0).min(axis=1)
    return start + np.clip(reach, 0.0, 1.0)[:, None] * step


def _spread(marks: Float[np.ndarray, "n 2"], frame: Bbox, spacing: float) -> Float[np.ndarray, "n 2"]:
    """Push marks on a frame apart along it, in their order, until neighbours are `spacing` from each other."""
    if len(marks) < 2:
        return marks
    width, height = frame.width, frame.height
    total = 2 * (width + height)
    x, y = (marks - frame.min).T
    distance_to_side = np.abs(np.stack([y, width - x, height - y, x]))
    along = np.stack([x, width + y, 2 * width + height - x, total - y])
    where = along[distance_to_side.argmin(axis=0), np.arange(len(marks))]
    order = np.argsort(where, kind="stable")
    gap = min(spacing, 0.9 * total / len(marks))
    moved = where[order]
    for _ in range(100 * len(marks)):
        following = np.append(moved[1:], moved[0] + total)
        lack = np.maximum(0.0, gap - (following - moved))
        if lack.max() < 1e-3 * gap:
            break
        moved = moved - 0.5 * lack + 0.5 * np.roll(lack, 1)
    reached = np.cumsum([0.0, width, height, width, height])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]])
    result = np.empty_like(marks)
    result[order] = frame.min + np.stack([np.interp(moved % total, reached, c) for c in corners.T], axis=1)
    return result
