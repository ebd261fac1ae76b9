"""One partition as a figure of its own: regions in any coloring, points, decision boundary, scale or legend."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from splinegeo import Partition
from viz.class_labels import draw_class_labels
from viz.color_scale import draw_color_bar
from viz.coloring import Coloring
from viz.markers import mark_points
from viz.region_colors import CATEGORY_COLORS
from viz.regions import plot_regions
from viz.text import grouped, wrapped

# Inches.
_SQUARE = 3.6
_MARGIN = 0.12
_TITLE = 0.14
_FOOTER = 0.2
_BAR_GAP, _BAR = 0.11, 0.085
_LABELS = 0.55
_LEGEND = 0.95
_FOOTER_SIZE = 6.5
_LEGEND_ENTRIES = 22
# The classes whose colours can be told apart; with others, the names are in the picture too.
_TOLD_APART = {str(index) for index in range(len(CATEGORY_COLORS))}


def region_figure(
    part: Partition,
    coloring: Coloring,
    title: str,
    *,
    points: Float[np.ndarray, "k 2"] | None = None,
    labels: Sequence[str] | None = None,
    boundary: bool = False,
) -> Figure:
    """Draw a partition in a coloring (see `color_regions`), with points at slice coordinates and their labels.

    Raises `DrawingError` as `plot_regions` and `mark_points` do.
    """
    beside = _BAR_GAP + _BAR + _LABELS if coloring.colors is None else _LEGEND if coloring.categories else 0.0
    width, height = _SQUARE + 2 * _MARGIN + beside, _SQUARE + _MARGIN + _TITLE + _FOOTER
    figure = Figure(figsize=(width, height))

    def axes(x: float, across: float) -> Axes:
        return figure.add_axes((x / width, _FOOTER / height, across / width, _SQUARE / height))

    ax = axes(_MARGIN, _SQUARE)
    fill = plot_regions(part, coloring, ax, boundary=boundary)
    if points is not None and len(points):
        mark_points(ax, points, labels=labels)
    ax.set_title(title)
    about = f"{grouped(part.n_regions)} regions" + (" · decision boundary" if boundary else "")
    if points is not None and _beyond(part, points):
        about += " · arrows: beyond the view by this distance"
    faint = mpl.rcParams["xtick.color"]
    figure.text(
        0.5 * (_SQUARE + 2 * _MARGIN) / width, 0.07 / height, about, ha="center", size=_FOOTER_SIZE, color=faint
    )
    if coloring.colors is None:
        assert coloring.values is not None
        bar = axes(_MARGIN + _SQUARE + _BAR_GAP, _BAR)
        draw_color_bar(figure, fill, bar, coloring.label, [coloring.values])
    elif coloring.categories:
        shown, left_out = _largest(coloring, part)
        if coloring.pieces is not None and any(name not in _TOLD_APART for name, _ in shown):
            draw_class_labels(ax, part)
        patches = [Patch(facecolor=color, edgecolor=faint, linewidth=0.4, label=name) for name, color in shown]
        if left_out:
            patches.append(Patch(facecolor="none", edgecolor="none", label=f"and {grouped(left_out)} more"))
        ax.legend(
            handles=patches,
            title="\n".join(wrapped(coloring.label, _LEGEND - _BAR_GAP, mpl.rcParams["axes.labelsize"])),
            loc="upper left",
            bbox_to_anchor=(1.02, 1.0),
            frameon=False,
            borderaxespad=0.0,
            handlelength=1.1,
            handleheight=1.1,
            alignment="left",
        )
    return figure


def _beyond(part: Partition, points: Float[np.ndarray, "k 2"]) -> bool:
    """Whether a point lies outside the view, where its mark stands at the border."""
    low, high = part.domain.min(axis=0), part.domain.max(axis=0)
    return bool(((points < low) | (points > high)).any())


def _largest(coloring: Coloring, part: Partition) -> tuple[list[tuple[str, tuple[float, float, float, float]]], int]:
    """Names and colours of the categories that cover most area, in order, as many as have room; how many do not."""
    assert coloring.values is not None
    members, areas = coloring.values.astype(np.int64), part.areas
    if coloring.pieces is not None:
        members, areas = coloring.pieces.classes, coloring.pieces.areas
    covered = np.bincount(members, np.maximum(areas, 0.0), minlength=len(coloring.categories))
    present = np.flatnonzero(np.bincount(members, minlength=len(covered)))
    room = _LEGEND_ENTRIES if len(present) <= _LEGEND_ENTRIES else _LEGEND_ENTRIES - 1
    chosen = np.sort(present[np.argsort(-covered[present], kind="stable")[:room]])
    return [coloring.categories[index] for index in chosen.tolist()], len(present) - len(chosen)
