"""The frames of a migration's video: regions, windows about the data points, centroids' trails, and curves beneath."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from splinegeo import Partition
from viz.border import place_in_view
from viz.color_scale import draw_color_bar
from viz.colormaps import DUSK
from viz.compass import draw_compass
from viz.errors import DrawingError
from viz.figures import NORM_LABEL
from viz.images import image_array, show_image
from viz.labels import place_labels
from viz.markers import draw_marks
from viz.marks import POINT_COLOR, POINT_SIZE, mark, shape_of
from viz.migration import Migration
from viz.pattern_colors import pattern_colors
from viz.regions import plot_regions
from viz.scale_bar import ScaleBar
from viz.text import grouped, percent
from viz.trails import Trail

# Inches; the frame has the proportions 4:3.
_WIDTH, _HEIGHT = 8.0, 6.0
_SQUARE = 4.0
_LEFT, _TOP = 0.2, 0.45
_BASE = _HEIGHT - _TOP - _SQUARE
_BAR_LEFT, _BAR = _LEFT + _SQUARE + 0.1, 0.09
_RIGHT, _RIGHT_WIDTH = 5.15, 2.65
_IMAGE = 0.62
_WINDOW = 0.75
_WINDOW_TOP = _HEIGHT - _TOP - _IMAGE - 0.3
_COMPASS, _COMPASS_BESIDE_WINDOWS = 2.62, 1.75
_CURVES_LEFT, _CURVES_BASE, _CURVES_WIDTH, _CURVES_HEIGHT = 0.62, 0.42, 5.3, 0.82


@dataclass(frozen=True, eq=False)
class FramePictures:
    """What is drawn of one checkpoint: its regions and, if the migration has windows, those about each point."""

    regions: UInt8[np.ndarray, "pixels pixels 3"]
    windows: Sequence[UInt8[np.ndarray, "pixels pixels 3"]] = ()
    window_counts: Sequence[int] = ()
    """Number of regions in each window."""


def resolution(width: int) -> int:
    """Pixels an inch of a frame about so many pixels wide: whole, so that width and height are even."""
    return max(1, round(width / _WIDTH))


def region_pixels(dpi: int) -> int:
    """Side in pixels of the square of regions in a frame of this resolution."""
    return round(_SQUARE * dpi)


def window_pixels(dpi: int) -> int:
    """Side in pixels of a window about a point in a frame of this resolution."""
    return round(_WINDOW * dpi)


def region_picture(
    part: Partition, values: Float[np.ndarray, " R"] | None, norm: Normalize | None, pixels: int, dpi: float
) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """The regions alone, filling a square: coloured by values on a scale, or without values by their patterns."""
    figure = Figure(figsize=(pixels / dpi, pixels / dpi), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    if values is None:
        # Edges would hide what the colours tell: every region has a colour of its own.
        colors: Any = pattern_colors(part)
        plot_regions(part, None, ax, edges=None, scale_bar=False).set_facecolor(colors)
    else:
        plot_regions(part, values, ax, norm=norm, scale_bar=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def migration_frames(
    migration: Migration, pictures: Iterable[FramePictures], width: int = 1280
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The frames of a video about so wide: one for each checkpoint's pictures, in the style in force.

    The pictures are those of `region_picture` at the `resolution` of this width.

    Raises `DrawingError` if there are not as many pictures as epochs, or as many windows as points.
    """
    page = _Page(migration, resolution(width))
    count = 0
    for count, shown in enumerate(pictures, start=1):
        if count > len(migration.epochs):
            break
        yield page.frame(count - 1, shown)
    if count != len(migration.epochs):
        raise DrawingError(f"a migration of {len(migration.epochs)} frames needs as many pictures, not {count}")


class _Page:
    """The frame's figure: what never changes is drawn once, the rest over a copy of it."""

    def __init__(self, migration: Migration, dpi: int) -> None:
        self.migration = migration
        self.figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=dpi)
        self.canvas = FigureCanvasAgg(self.figure)
        self.moving: list[Artist] = []
        regions = self._axes(_LEFT, _BASE, _SQUARE, _SQUARE)
        self.picture = self._draw_region_axes(regions)
        self.title = self._moving_text(_LEFT, _HEIGHT - 0.27, size=12, weight="bold")
        self.about = self._moving_text(_LEFT + _SQUARE, _HEIGHT - 0.27, size=8, ha="right")
        self._draw_images()
        self.windows: list[tuple[AxesImage, Text]] = []
        if migration.window is not None:
            self._draw_windows(migration.window)
        if migration.norm is not None:
            bar = self._axes(_BAR_LEFT, _BASE, _BAR, _SQUARE)
            samples = np.empty(0) if migration.norm_samples is None else migration.norm_samples
            draw_color_bar(
                self.figure, ScalarMappable(migration.norm, DUSK), bar, NORM_LABEL, [samples] if len(samples) else []
            )
        self.trails = [
            Trail(regions, migration.centroids[:, k], shape_of(k), cased=True) for k in range(len(migration.points))
        ]
        self.trails += self._draw_compass()
        for trail in self.trails:
            self.moving += trail.artists
        self._draw_curves()
        for artist in self.moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(self.figure.bbox)

    def frame(self, index: int, shown: FramePictures) -> UInt8[np.ndarray, "height width 3"]:
        """The frame of an epoch."""
        if len(shown.windows) != len(self.windows) or len(shown.window_counts) != len(self.windows):
            raise DrawingError(f"frame {index} needs {len(self.windows)} windows and counts, not {len(shown.windows)}")
        epoch = int(self.migration.epochs[index])
        self.picture.set_data(shown.regions)
        self.title.set_text(f"Epoch {grouped(epoch)}")
        self.about.set_text(f"{grouped(int(self.migration.n_regions[index]))} regions")
        for (image, text), picture, n_regions in zip(self.windows, shown.windows, shown.window_counts, strict=True):
            image.set_data(picture)
            text.set_text(f"{grouped(n_regions)} region{'s' if n_regions != 1 else ''}")
        for trail in self.trails:
            trail.show(index)
        self.cursor.set_xdata([epoch, epoch])
        for curve, dot, text in self.readings:
            value = curve.at(epoch)
            dot.set_data([epoch], [value])
            written = percent(value) if curve.percent else f"{value:.2f}".replace("-", "−")
            text.set_text(f"{curve.label}  {written}")
        self.canvas.restore_region(self.background)
        renderer = self.canvas.get_renderer()
        for artist in self.moving:
            artist.draw(renderer)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def _axes(self, x: float, y: float, width: float, height: float) -> Axes:
        return self.figure.add_axes((x / _WIDTH, y / _HEIGHT, width / _WIDTH, height / _HEIGHT))

    def _moving_text(self, x: float, y: float, **style: Any) -> Text:
        text = self.figure.text(x / _WIDTH, y / _HEIGHT, "", va="center", **style)
        self.moving.append(text)
        return text

    def _column(self, k: int) -> float:
        """The middle of the column of point `k`."""
        return _RIGHT + (k + 0.5) * _RIGHT_WIDTH / len(self.migration.points)

    def _blank(self, ax: Axes, extent: tuple[float, float, float, float]) -> AxesImage:
        image = ax.imshow(np.zeros((2, 2, 3), dtype=np.uint8), extent=extent, interpolation="nearest", zorder=1)
        ax.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
        self.moving.append(image)
        return image

    def _draw_region_axes(self, ax: Axes) -> AxesImage:
        migration = self.migration
        (left, bottom), (right, top) = migration.domain.min(axis=0), migration.domain.max(axis=0)
        image = self._blank(ax, (left, right, bottom, top))
        bar = ScaleBar(ax)
        placed = place_in_view(ax, migration.points)
        bar.give_way(ax.transData.transform(placed.shown))
        marks, labels = draw_marks(ax, placed, POINT_COLOR, POINT_SIZE, list(migration.labels))
        self.moving += [bar, *marks, *place_labels(ax, labels, [bar.get_window_extent()])]
        return image

    def _draw_images(self) -> None:
        pictures = image_array(self.migration.images)
        size = min(_IMAGE, 0.7 * _RIGHT_WIDTH / max(1, len(pictures)))
        for k, (picture, label) in enumerate(zip(pictures, self.migration.labels, strict=True)):
            ax = self._axes(self._column(k) - 0.5 * size, _HEIGHT - _TOP - size, size, size)
            show_image(ax, picture)
            at = np.array([0.38, -0.13 / size])
            ax.add_line(mark(shape_of(k), POINT_COLOR, POINT_SIZE, at, transform=ax.transAxes, clip_on=False))
            ax.text(0.54, -0.13 / size, label, va="center", weight="bold", size=9, transform=ax.transAxes)

    def _draw_windows(self, half_width: float) -> None:
        size = min(_WINDOW, 0.85 * _RIGHT_WIDTH / max(1, len(self.migration.points)))
        for k in range(len(self.migration.points)):
            ax = self._axes(self._column(k) - 0.5 * size, _WINDOW_TOP - size, size, size)
            image = self._blank(ax, (-half_width, half_width, -half_width, half_width))
            ax.spines[:].set(linewidth=0.6, edgecolor=mpl.rcParams["axes.edgecolor"])
            self.moving.append(ax.add_line(mark(shape_of(k), POINT_COLOR, 0.8 * POINT_SIZE, np.zeros(2), zorder=3)))
            text = self._moving_text(self._column(k), _WINDOW_TOP - size - 0.1, size=6.5, ha="center")
            self.windows.append((image, text))
        self.figure.text(
            (_RIGHT + 0.5 * _RIGHT_WIDTH) / _WIDTH,
            (_WINDOW_TOP - size - 0.26) / _HEIGHT,
            f"squares of side {2 * half_width:g} about the points",
            size=6.5,
            color=mpl.rcParams["xtick.color"],
            ha="center",
            va="center",
        )

    def _draw_compass(self) -> list[Trail]:
        size = _COMPASS if self.migration.window is None else _COMPASS_BESIDE_WINDOWS
        ax = self._axes(_RIGHT + 0.5 * (_RIGHT_WIDTH - size), _BASE - 0.08, size, size)
        ax.set_title("Centroids as seen from the origin, log distance", size=6.5, weight="normal", pad=2)
        return draw_compass(
            ax, self.migration.centroids - self.migration.origin, self.migration.points - self.migration.origin
        )

    def _draw_curves(self) -> None:
        ax = self._axes(_CURVES_LEFT, _CURVES_BASE, _CURVES_WIDTH, _CURVES_HEIGHT)
        epochs = self.migration.epochs
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.3)
        ax.set_xlim(float(epochs[0]), max(float(epochs[-1]), float(epochs[0]) + 1))
        lowest = min([0.0, *(float(curve.values.min()) for curve in self.migration.curves)])
        ax.set_ylim(lowest - 0.02, 1.04)
        ax.set_xlabel("epoch", labelpad=1.5)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: grouped(round(value))))
        ax.yaxis.set_major_formatter(FuncFormatter(_plain))
        ax.set_yticks([0.0, 0.5, 1.0])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
        self.cursor = ax.axvline(epochs[0], color=mpl.rcParams["text.color"], linewidth=0.8, zorder=2)
        self.cursor.set_clip_on(False)  # at the first and the last epoch half of it lies outside
        self.moving.append(self.cursor)
        self.readings = []
        colors = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        row = _CURVES_HEIGHT / max(3, len(self.migration.curves))
        for index, curve in enumerate(self.migration.curves):
            color = colors[index % len(colors)]
            ax.plot(curve.epochs, curve.values, color=color, linewidth=1.4, zorder=3)
            (dot,) = ax.plot([], [], "o", color=color, markersize=4, zorder=4, clip_on=False)
            y = _CURVES_BASE + _CURVES_HEIGHT - (index + 0.5) * row
            text = self._moving_text(_CURVES_LEFT + _CURVES_WIDTH + 0.16, y, size=8.5, color=color, weight="bold")
            self.moving.append(dot)
            self.readings.append((curve, dot, text))


def _plain(value: float, _: object) -> str:
    return f"{value:g}"
