"""The figures of the GrokAlign paper (arXiv 2506.12284), as functions of arrays and partitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from splinegeo import Partition
from viz.color_scale import checked_values, draw_color_bar, shared_norm
from viz.colormaps import DUSK
from viz.errors import DrawingError
from viz.images import image_array, show_image
from viz.legend import LegendEntry, draw_legend, legend_rows
from viz.markers import checked_positions, mark_points
from viz.marks import (
    ARROW_SIZE,
    CENTROID_COLOR,
    CENTROID_SIZE,
    POINT_COLOR,
    POINT_SIZE,
    arrowhead,
    mark,
    shape_of,
)
from viz.regions import plot_regions
from viz.text import grouped, rounded, wrapped

NORM_LABEL = r"norm of the region's linear operator, $\Vert A_\omega\Vert_F$"

# Inches; with two panels the figure is as wide as the text of a two-column page.
_PANEL = 2.62
_IMAGE = 0.74
_IMAGE_GAP = 0.34
_MARGIN = 0.10
_GAP = 0.16
_BAR = 0.085
_BAR_GAP = 0.11
_BAR_LABELS = 0.46
_TITLE = 0.20
_LINE = 0.135
_FOOTER = 0.19
_LEGEND_ROW = 0.17
# Points.
_SUBTITLE_SIZE = 7.0
_FOOTER_SIZE = 6.5
_LEGEND_SHAPES = 3


@dataclass(frozen=True, eq=False)
class RegionPanel:
    """The regions of one network on the slice, with what is written and marked on them.

    Positions are in slice coordinates, see `Slice.project`. `values` colour the regions on the figure's scale; default:
    the Frobenius norms of their linear operators. `colors` are a colour of its own for each region instead.
    """

    partition: Partition
    title: str
    subtitle: str = ""
    points: Float[np.ndarray, "k 2"] | None = None
    centroids: Float[np.ndarray, "k 2"] | None = None
    centroid_distances: Float[np.ndarray, " k"] | None = None
    """Distance of each centroid from the plane, in input-space units."""
    values: Real[np.ndarray, " R"] | None = None
    colors: Float[np.ndarray, "R 3"] | None = None

    @classmethod
    def at_points(cls, partition: Partition, title: str, subtitle: str = "") -> "RegionPanel":
        """A panel that marks the points of the slice and the centroids of the regions that hold them.

        Raises `DrawingError` if the slice was not drawn through points, or one of them lies outside the domain.
        """
        plane = partition.plane
        if plane.points is None:
            raise DrawingError("this slice was not drawn through points: give the panel its points and centroids")
        regions = partition.locate(plane.points)
        if (regions < 0).any():
            reach = float(np.abs(plane.points).max())
            raise DrawingError(
                f"point {int(np.argmin(regions))} of the slice lies outside the domain, so its region is not known: "
                f"enumerate a domain that holds the points, for instance Box({1.5 * reach:.3g})"
            )
        centroids = partition.centroids(regions).reshape(len(regions), *plane.input_shape)
        return cls(partition, title, subtitle, plane.points, plane.project(centroids), plane.distance(centroids))


def figure1(
    images: Float[np.ndarray, "k *image"],
    labels: Sequence[object],
    panels: Sequence[RegionPanel],
    *,
    value_label: str = NORM_LABEL,
    norm: Normalize | None = None,
) -> Figure:
    """Figure 1: the images that span the slice and, beside them, its regions for each network, on one colour scale.

    Args:
        images: (k, height, width) or (k, channels, height, width), as the network sees them, one for each marked point.
        labels: the images' classes.
        panels: one for each network, such as at memorisation and after generalisation.
        value_label: what the colours mean.
        norm: the colour scale; default: `shared_norm` of the values. Panels with `colors` need none: where all have
            them, the figure has no colour bar.

    Raises `DrawingError` if there is no panel, or if images, labels, points, values and colours do not fit.
    """
    pictures = image_array(images)
    values = _checked_values(pictures, labels, panels)
    subtitles = [wrapped(panel.subtitle, _PANEL, _SUBTITLE_SIZE) for panel in panels]
    n_lines = max(len(lines) for lines in subtitles)
    left = _MARGIN + (_IMAGE + _IMAGE_GAP if len(pictures) else 0.0)
    right = left + len(panels) * (_PANEL + _GAP) - _GAP
    valued = [value for value in values if value is not None]
    width = right + (_BAR_GAP + _BAR + _BAR_LABELS if valued else _MARGIN)
    legend = _legend_entries(
        len(pictures),
        centroids=any(panel.centroids is not None for panel in panels),
        arrows=_arrow_colors(panels),
    )
    rows = legend_rows(legend, width - 2 * _MARGIN)
    base = _MARGIN + _LEGEND_ROW * len(rows) + _FOOTER
    page = _Page(width, base + _PANEL + _MARGIN + _LINE * n_lines + _TITLE)

    _draw_images(page, pictures, labels, base)
    scale = shared_norm(valued) if valued and norm is None else norm
    for index, (panel, value, lines) in enumerate(zip(panels, values, subtitles, strict=True)):
        ax = page.axes(left + index * (_PANEL + _GAP), base, _PANEL, _PANEL)
        _draw_regions(ax, panel, value, scale)
        _mark(ax, panel, labels)
        _write_about(ax, panel, lines, n_lines)
    if valued:
        bar = page.axes(right + _BAR_GAP, base, _BAR, _PANEL)
        draw_color_bar(page.figure, ScalarMappable(scale, DUSK), bar, value_label, valued)
    draw_legend(page.axes(_MARGIN, _MARGIN / 2, width - 2 * _MARGIN, _LEGEND_ROW * len(rows)), rows)
    if valued:
        page.widen_to_hold(bar)
    return page.figure


class _Page:
    """A figure on which Axes are placed in inches."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        return self.figure.add_axes((x / self.width, y / self.height, width / self.width, height / self.height))

    def widen_to_hold(self, ax: Axes) -> None:
        """Give the page more width on the right if ticks or labels of the Axes do not fit; nothing else moves."""
        extent = ax.get_tightbbox()
        needed = self.width if extent is None else extent.x1 / self.figure.dpi + _MARGIN / 2
        if needed > self.width:
            shrink = self.width / needed
            for other in self.figure.axes:
                x, y, width, height = other.get_position(original=True).bounds
                other.set_position((x * shrink, y, width * shrink, height))
            self.width = needed
            self.figure.set_size_inches(self.width, self.height)


def _checked_values(
    pictures: Float[np.ndarray, "k *image"], labels: Sequence[object], panels: Sequence[RegionPanel]
) -> list[Float[np.ndarray, " R"] | None]:
    if not panels:
        raise DrawingError("the figure needs at least one panel")
    if len(labels) != len(pictures):
        raise DrawingError(f"there are {len(pictures)} images but {len(labels)} labels: give one label for each image")
    values: list[Float[np.ndarray, " R"] | None] = []
    for panel in panels:
        positions = {"points": panel.points, "centroids": panel.centroids}
        for what, array in (*positions.items(), ("centroid distances", panel.centroid_distances)):
            if array is not None and len(array) != len(pictures):
                raise DrawingError(f"panel {panel.title!r} has {len(array)} {what} for {len(pictures)} images")
        for what, array in positions.items():
            if array is not None:
                checked_positions(array, f"the {what} of panel {panel.title!r}")
        if panel.centroids is not None and panel.points is None:
            raise DrawingError(f"panel {panel.title!r} has centroids but no points: give both")
        if panel.colors is None:
            norms = panel.partition.operator_norms() if panel.values is None else panel.values
            values.append(checked_values(norms, panel.partition.n_regions))
        elif panel.values is None and np.shape(panel.colors) == (panel.partition.n_regions, 3):
            values.append(None)
        else:
            raise DrawingError(
                f"panel {panel.title!r} needs colours ({panel.partition.n_regions}, 3) without values, "
                f"but has the shape {np.shape(panel.colors)}"
            )
    return values


def _draw_regions(ax: Axes, panel: RegionPanel, values: Float[np.ndarray, " R"] | None, norm: Normalize | None) -> None:
    if panel.colors is None:
        plot_regions(panel.partition, values, ax, norm=norm)
    else:
        # Edges would hide what the colours tell: every region has a colour of its own.
        fill = plot_regions(panel.partition, None, ax, edges=None)
        fill.set_facecolor(list(map(tuple, panel.colors)))


def _draw_images(page: _Page, pictures: Float[np.ndarray, "k *image"], labels: Sequence[object], base: float) -> None:
    count = len(pictures)
    size = min(_IMAGE, (_PANEL - _MARGIN * (count - 1)) / max(count, 1))
    step = (_PANEL - size) / max(count - 1, 1)
    top = base + (_PANEL - size if count > 1 else 0.5 * (_PANEL - size))
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        ax = page.axes(_MARGIN + _IMAGE - size, top - index * step, size, size)
        show_image(ax, picture)
        beside = 1 + 0.11 / size
        at = np.array([beside, 0.5 + 0.09 / size])
        ax.add_artist(mark(shape_of(index), POINT_COLOR, POINT_SIZE, at, transform=ax.transAxes, clip_on=False))
        ax.text(beside, 0.5 - 0.09 / size, str(label), ha="center", va="center", weight="bold", transform=ax.transAxes)


def _arrow_colors(panels: Sequence[RegionPanel]) -> list[str]:
    """The colours of the arrows at the panels' borders: for points, for centroids, for both or none."""

    def beyond(panel: RegionPanel, positions: Float[np.ndarray, "k 2"] | None) -> bool:
        low, high = panel.partition.domain.min(axis=0), panel.partition.domain.max(axis=0)
        return positions is not None and bool(((positions < low) | (positions > high)).any())

    points = [POINT_COLOR] if any(beyond(panel, panel.points) for panel in panels) else []
    return points + ([CENTROID_COLOR] if any(beyond(panel, panel.centroids) for panel in panels) else [])


def _mark(ax: Axes, panel: RegionPanel, labels: Sequence[object]) -> None:
    if panel.points is None:
        return
    plane = panel.partition.plane
    origin = plane.project(np.zeros((1, len(plane.origin))))[0]
    mark_points(ax, panel.points, panel.centroids, labels=[str(label) for label in labels], origin=origin)


def _write_about(ax: Axes, panel: RegionPanel, lines: Sequence[str], n_lines: int) -> None:
    def write(inches: float, text: str, **style: Any) -> None:
        ax.annotate(text, (0.5, 0), (0, 72 * inches), "axes fraction", "offset points", ha="center", **style)

    above = _PANEL + 0.07
    for index, line in enumerate(lines):
        write(above + _LINE * (n_lines - 1 - index), line, size=_SUBTITLE_SIZE)
    write(above + _LINE * n_lines + 0.02, panel.title, size=mpl.rcParams["axes.titlesize"], weight="bold")
    about = f"{grouped(panel.partition.n_regions)} regions"
    if panel.centroid_distances is not None and len(panel.centroid_distances):
        nearest, farthest = (rounded(end(panel.centroid_distances)) for end in (np.min, np.max))
        about += f" · centroids {nearest if nearest == farthest else f'{nearest}–{farthest}'} from the plane"
    write(-_FOOTER + 0.05, about, color=mpl.rcParams["xtick.color"], size=_FOOTER_SIZE)


def _legend_entries(n_points: int, *, centroids: bool, arrows: Sequence[str]) -> list[LegendEntry]:
    shapes = [shape_of(index) for index in range(min(n_points, _LEGEND_SHAPES))]
    entries = []
    if shapes:
        entries.append(LegendEntry(tuple(mark(shape, POINT_COLOR, POINT_SIZE) for shape in shapes), "data points"))
    if shapes and centroids:
        marks = tuple(mark(shape, CENTROID_COLOR, CENTROID_SIZE) for shape in shapes)
        entries.append(LegendEntry(marks, "centroids of their regions"))
    bar = Line2D([], [], color=mpl.rcParams["text.color"], linewidth=1.4)
    entries.append(LegendEntry((bar,), "distance in input space"))
    if arrows:
        shown = [mark(arrowhead(np.array([1.0, 0.0])), color, ARROW_SIZE) for color in arrows]
        entries.append(LegendEntry(tuple(shown), "beyond the view by this distance", length=float(len(shown))))
    return entries
