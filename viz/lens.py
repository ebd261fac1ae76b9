"""A lens: an inset that magnifies centroids which the view cannot tell apart."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from viz.marks import CENTROID_COLOR, CENTROID_SIZE, POINT_COLOR, draw_cased_line, mark, shape_of
from viz.text import grouped

_SHARE_OF_VIEW = 0.3
_INSET = 0.025
_MARGIN = 1.75
_RAY_END = 0.84
_RING_SIZE = 7.5
# Centroids closer than this share of the view are one: a lens would magnify rounding.
_ONE_PLACE = 1e-7


def overlapping(
    ax: Axes, positions: Float[np.ndarray, "k 2"], candidates: Bool[np.ndarray, " k"], size: float
) -> Bool[np.ndarray, " k"]:
    """Which of the candidates have another candidate nearer than `size` points; none if all of these are one place."""
    pixels = ax.transData.transform(positions)
    distance = np.linalg.norm(pixels[:, None] - pixels[None], axis=-1)
    near = (distance < size * ax.figure.dpi / 72.0) & candidates[:, None] & candidates[None]
    np.fill_diagonal(near, False)
    crowd = near.any(axis=1)
    return crowd & bool(near.any() and np.ptp(pixels[crowd], axis=0).max() > _ONE_PLACE * ax.bbox.width)


def draw_lens(
    ax: Axes,
    centroids: Float[np.ndarray, "k 2"],
    points: Float[np.ndarray, "k 2"],
    chosen: Bool[np.ndarray, " k"],
    origin: Float[np.ndarray, " 2"] | None,
    obstacles: Sequence[Bbox],
    avoided: Float[np.ndarray, "n 2"],
) -> Bbox:
    """Draw the chosen centroids magnified, in the freest corner of the view; returns the lens's box in pixels.

    If the origin is among them, dashed rays show the directions of the data points as seen from it: an aligned centroid
    is on its ray.
    """
    width = float(np.ptp(ax.get_xlim()))
    crowd = centroids[chosen]
    center = crowd.mean(axis=0)
    with_origin = (
        origin is not None and _reach(crowd, origin) < _RING_SIZE / 72.0 * ax.figure.dpi * width / ax.bbox.width
    )
    if origin is not None and with_origin:
        center = np.asarray(origin, dtype=np.float64)
    half = _MARGIN * max(_reach(crowd, center), _ONE_PLACE * width)
    bounds = _freest_corner(ax, obstacles, avoided)
    inset = _empty_inset(ax, bounds, center, half)
    if with_origin:
        _draw_rays(inset, center, points[chosen] - center, half, np.flatnonzero(chosen))
        _draw_spokes(inset, center, crowd)
    for index in np.flatnonzero(chosen):
        inset.add_line(mark(shape_of(int(index)), CENTROID_COLOR, CENTROID_SIZE, centroids[index], zorder=4))
    zoom = float(f"{width * _SHARE_OF_VIEW / (2 * half):.2g}")
    factor = grouped(round(zoom)) if zoom >= 10 else f"{zoom:g}"
    inset.text(0.05, 0.95, f"×{factor}", transform=inset.transAxes, size=5.5, ha="left", va="top", zorder=5)
    _connect(ax, crowd.mean(axis=0), bounds)
    return Bbox.from_bounds(*bounds).transformed(ax.transAxes)


def _reach(positions: Float[np.ndarray, "n 2"], center: Float[np.ndarray, " 2"]) -> float:
    return float(np.abs(positions - center).max())


def _empty_inset(
    ax: Axes, bounds: tuple[float, float, float, float], center: Float[np.ndarray, " 2"], half: float
) -> Axes:
    inset = ax.inset_axes(bounds, zorder=7)
    x, y = center
    inset.set(xlim=(x - half, x + half), ylim=(y - half, y + half), xticks=[], yticks=[], aspect="equal")
    inset.patch.set(facecolor=mpl.rcParams["axes.facecolor"], alpha=0.94)
    inset.spines[:].set(linewidth=0.6, edgecolor=mpl.rcParams["axes.edgecolor"])
    return inset


def _draw_rays(
    inset: Axes,
    center: Float[np.ndarray, " 2"],
    directions: Float[np.ndarray, "n 2"],
    half: float,
    indices: Int[np.ndarray, " n"],
) -> None:
    for index, direction in zip(indices, directions, strict=True):
        largest = float(np.abs(direction).max())
        if largest > 0:
            end = center + _RAY_END * half * direction / largest
            style = {"color": mpl.rcParams["xtick.color"], "linewidth": 0.6, "linestyle": (0, (2, 2))}
            inset.plot(*np.stack([center, end], axis=1), scalex=False, scaley=False, zorder=1, **style)
            inset.add_line(mark(shape_of(int(index)), POINT_COLOR, 0.9 * CENTROID_SIZE, end, zorder=3))


def _draw_spokes(inset: Axes, center: Float[np.ndarray, " 2"], crowd: Float[np.ndarray, "n 2"]) -> None:
    style = {"color": mpl.rcParams["text.color"], "scalex": False, "scaley": False}
    for centroid in crowd:
        inset.plot(*np.stack([center, centroid], axis=1), linewidth=0.8, zorder=2, **style)
    inset.plot(*center, marker="o", markersize=1.6, zorder=3, **style)


def _freest_corner(
    ax: Axes, obstacles: Sequence[Bbox], avoided: Float[np.ndarray, "n 2"]
) -> tuple[float, float, float, float]:
    near, far = _INSET, 1 - _INSET - _SHARE_OF_VIEW

    def cost(corner: tuple[float, float]) -> tuple[int, int]:
        box = Bbox.from_bounds(*corner, _SHARE_OF_VIEW, _SHARE_OF_VIEW).transformed(ax.transAxes)
        covered = ((avoided >= box.min) & (avoided <= box.max)).all(axis=1)
        return sum(bool(box.overlaps(other)) for other in obstacles), int(covered.sum())

    x, y = min(((far, far), (near, far), (far, near), (near, near)), key=cost)
    return x, y, _SHARE_OF_VIEW, _SHARE_OF_VIEW


def _connect(ax: Axes, target: Float[np.ndarray, " 2"], bounds: tuple[float, float, float, float]) -> None:
    """Mark what is magnified, and draw a line from it to the lens."""
    frame = Bbox.from_bounds(*bounds).transformed(ax.transAxes)
    pixel = ax.transData.transform(target)
    ends = ax.transData.inverted().transform([pixel, np.clip(pixel, frame.min, frame.max)])
    draw_cased_line(ax, ends, zorder=4.0)
    ax.add_line(mark("o", CENTROID_COLOR, _RING_SIZE, target, zorder=4.5))
