"""A partition on a matplotlib Axes: its regions, coloured by a value of each, and their edges."""

from collections.abc import Callable

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize, is_color_like, to_rgba
from matplotlib.typing import ColorType

from splinegeo import Partition
from viz.color_scale import checked_values, shared_norm
from viz.coloring import COLORINGS, Coloring, color_regions
from viz.colormaps import DUSK
from viz.errors import DrawingError
from viz.marks import OUTLINE_COLOR, POINT_COLOR
from viz.region_edges import RegionEdges
from viz.region_fill import RegionFill
from viz.scale_bar import ScaleBar

REGION_VALUES: dict[str, Callable[[Partition], Float[np.ndarray, " R"]]] = {
    "operator_norm": lambda part: part.operator_norms(),
    "radius": lambda part: part.radii(),
    "area": lambda part: part.areas,
}
# Lines over light and over dark regions, whatever the paper is.
EDGE_COLORS = ("#14101f", "#fff6e6")
EDGE_OPACITY = 0.5
# Points.
_BOUNDARY_WIDTH, _CASING = 0.9, 0.9


def plot_regions(
    part: Partition,
    values: str | Real[np.ndarray, " R"] | Coloring | None = None,
    ax: Axes | None = None,
    *,
    norm: Normalize | None = None,
    cmap: str | Colormap | None = None,
    edges: str | None = "auto",
    boundary: bool = False,
    scale_bar: bool = True,
) -> RegionFill:
    """Draw the regions of a slice; returns the fill, a mappable for `figure.colorbar` where regions have numbers.

    Args:
        part: the regions.
        values: one number for each region, (R,), or a name in `REGION_VALUES` or in `COLORINGS`, such as "class", or a
            `Coloring` made by `color_regions`; None leaves the regions unfilled.
        ax: where to draw; default: the current Axes. It gets an equal aspect, no ticks, and the domain as its view; all
            may be changed afterwards: everything is drawn anew for the view.
        norm: the colour scale; default: that of the coloring, else `shared_norm` of the values.
        cmap: the colour map; default: that of the coloring, else `DUSK`.
        edges: "auto" (dark over light regions, light over dark ones), "stage" (a colour for each stage of the network),
            any colour of matplotlib, or None for no edges.
        boundary: draw the decision boundary, exactly.
        scale_bar: draw a bar of a round length in input-space units.

    Raises `DrawingError` if there are no regions, or if values have the wrong length or are not finite, or a name is
    unknown.
    """
    if part.n_regions == 0:
        raise DrawingError("the partition has no regions to draw")
    if isinstance(values, str) and values not in REGION_VALUES and values in COLORINGS:
        values = color_regions(part, values)
    coloring = values if isinstance(values, Coloring) else None
    if isinstance(values, Coloring):
        norm, cmap = norm or values.norm("automatic"), cmap or values.cmap
        shades, values = values.colors, values.values if values.colors is None else None
    else:
        shades = None
    if shades is not None and len(shades) != part.n_regions:
        raise DrawingError(f"the coloring has {len(shades)} colours for {part.n_regions} regions")
    chosen = None if values is None else region_values(part, values)
    filled = chosen is not None or shades is not None
    lines = None if edges is None else _edge_colors(edges, filled=filled)
    ax = plt.gca() if ax is None else ax
    fill = RegionFill(part, transform=ax.transData, zorder=1)
    if shades is not None:
        fill.set_facecolor(list(map(tuple, shades)))
        if coloring is not None and coloring.pieces is not None:
            fill.set_pieces(coloring.pieces, coloring.piece_colors())
    elif chosen is None:
        fill.set_facecolor(mpl.rcParams["axes.facecolor"])
    else:
        fill.set_cmap(DUSK if cmap is None else cmap)
        fill.set_norm(shared_norm([chosen]) if norm is None else norm)
        fill.set_array(chosen)
    ax.add_collection(fill, autolim=False)
    if lines is not None:
        over = fill if edges == "auto" and filled else None
        for dense in (True, False):
            artist = RegionEdges(part, lines, dense=dense, fill=over, transform=ax.transData, zorder=2)
            ax.add_collection(artist, autolim=False)
    if boundary:
        draw_boundary(ax, part)
    _frame_view(ax, part)
    if scale_bar:
        ScaleBar(ax)
    return fill


def draw_boundary(ax: Axes, part: Partition) -> LineCollection:
    """Draw the exact decision boundary: white in a dark casing, visible on every fill."""
    segments = list(part.decision_boundary().segments)
    lines = LineCollection(segments, colors=POINT_COLOR, linewidths=_BOUNDARY_WIDTH, capstyle="round", zorder=2.5)
    # All the casing lies under all the lines: else that of one segment would cut the line of the next.
    width = _BOUNDARY_WIDTH + _CASING
    casing = LineCollection(segments, colors=OUTLINE_COLOR, linewidths=width, capstyle="round", zorder=2.4)
    for artist in (casing, lines):
        ax.add_collection(artist, autolim=False)
    return lines


def region_values(part: Partition, values: str | Real[np.ndarray, " R"]) -> Float[np.ndarray, " R"]:
    """One number for each region, given as an array or by a name in `REGION_VALUES`. Raises `DrawingError`."""
    if isinstance(values, str):
        if values not in REGION_VALUES:
            known = ", ".join(dict.fromkeys([*REGION_VALUES, *COLORINGS]))
            raise DrawingError(f"regions have no value named {values!r}: choose one of {known}, or give an array")
        values = REGION_VALUES[values](part)
    return checked_values(values, part.n_regions)


def _edge_colors(edges: str, *, filled: bool) -> list[ColorType]:
    if edges == "auto":
        return [to_rgba(color, EDGE_OPACITY) for color in EDGE_COLORS] if filled else [mpl.rcParams["axes.edgecolor"]]
    if edges == "stage":
        return list(mpl.rcParams["axes.prop_cycle"].by_key()["color"])
    if is_color_like(edges):
        return [edges]
    raise DrawingError(f'edges cannot be {edges!r}: give "auto", "stage", a colour, or None')


def _frame_view(ax: Axes, part: Partition) -> None:
    (left, bottom), (right, top) = part.domain.min(axis=0), part.domain.max(axis=0)
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="box")
    ax.spines[:].set_visible(False)
