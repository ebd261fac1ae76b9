"""Labels that find a free place: beside their anchor, over nothing that matters, inside the view."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

_DIRECTIONS = np.radians([45, 315, 135, 225, 0, 90, 180, 270, 22, 67, 112, 157, 202, 247, 292, 337])
# Distances (points) tried from the anchor's clearance to the text; the farther ones get a leader line.
_DISTANCES = (0.0, 3.0, 8.0, 16.0, 28.0, 44.0, 64.0, 90.0, 125.0, 175.0)
_LEADER_FROM = 8.0
_OUTSIDE_COST = 1e6
_OVERLAP_COST = 1e3
_CROSSING_COST = 10.0
_HALO = 1.8
_VIEW_MARGIN = 2.0


@dataclass(frozen=True)
class Label:
    """A text, the point that it belongs to (data coordinates), and the radius about it to keep clear (points)."""

    text: str
    anchor: tuple[float, float]
    clearance: float = 4.0
    style: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Place:
    box: Bbox
    offset: Float[np.ndarray, " 2"]
    distance: float


def place_labels(
    ax: Axes,
    labels: Sequence[Label],
    obstacles: Sequence[Bbox] = (),
    avoided: Float[np.ndarray, "n 2"] | None = None,
) -> list[Annotation]:
    """Write labels so that no two overlap, nor any an obstacle, as long as there is room; first come, first served.

    Args:
        ax: places are found for the layout, the view and the resolution that it has now.
        labels: what to write.
        obstacles: boxes to stay off, in pixels.
        avoided: pixels that are better not covered, such as samples of a line.
    """
    taken = [*obstacles, *(_anchor_box(ax, label) for label in labels)]
    pixels = np.empty((0, 2)) if avoided is None else avoided
    written = []
    for label in labels:
        text = _write(ax, label)
        place = _best_place(ax, _places(ax, label, text), taken, pixels)
        text.set_position(tuple(place.offset * 72.0 / ax.figure.dpi))
        if place.distance < _LEADER_FROM and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)
        taken.append(place.box)
        written.append(text)
    return written


def _write(ax: Axes, label: Label) -> Annotation:
    color = label.style.get("color", mpl.rcParams["text.color"])
    leader = {"arrowstyle": "-", "linewidth": 0.5, "color": color, "shrinkA": 0.0, "shrinkB": label.clearance}
    text = ax.annotate(
        label.text,
        label.anchor,
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        arrowprops=leader,
        zorder=9,
        annotation_clip=False,
        **label.style,
    )
    text.set_path_effects([withStroke(linewidth=_HALO, foreground=mpl.rcParams["axes.facecolor"])])
    return text


def _best_place(ax: Axes, places: Iterator[_Place], taken: Sequence[Bbox], avoided: Float[np.ndarray, "n 2"]) -> _Place:
    view = ax.bbox.padded(-_VIEW_MARGIN * ax.figure.dpi / 72.0)

    def cost(ranked: tuple[int, _Place]) -> float:
        rank, place = ranked
        box = place.box
        shared = [area for other in taken if (area := _shared_area(box, other)) > 0]
        inside = view.contains(box.x0, box.y0) and view.contains(box.x1, box.y1)
        covered = int(((avoided >= box.min) & (avoided <= box.max)).all(axis=1).sum())
        overlap = _OVERLAP_COST * len(shared) + sum(shared)
        return rank + overlap + _CROSSING_COST * covered + (0.0 if inside else _OUTSIDE_COST)

    return min(enumerate(places), key=cost)[1]


def _places(ax: Axes, label: Label, text: Annotation) -> Iterator[_Place]:
    point = ax.figure.dpi / 72.0
    anchor = ax.transData.transform(label.anchor)
    extent = Text.get_window_extent(text)  # without the leader line
    half = 0.5 * np.array([extent.width, extent.height]) + 0.5 * _HALO * point
    for distance in _DISTANCES:
        for angle in _DIRECTIONS:
            direction = np.array([np.cos(angle), np.sin(angle)])
            # The text's box touches the circle of this radius about the anchor from outside.
            offset = (label.clearance + distance) * point * direction + half * np.clip(1.6 * direction, -1.0, 1.0)
            yield _Place(Bbox([anchor + offset - half, anchor + offset + half]), offset, distance)


def _anchor_box(ax: Axes, label: Label) -> Bbox:
    center = ax.transData.transform(label.anchor)
    radius = 0.8 * label.clearance * ax.figure.dpi / 72.0
    return Bbox([center - radius, center + radius])


def _shared_area(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(width * height) if width > 0 and height > 0 else 0.0
