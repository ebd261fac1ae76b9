"""Region migration: the regions of one slice over training, with the centroids' trails and the curves beneath."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from splinegeo import Partition
from viz.color_scale import draw_color_bar
from viz.colormaps import DUSK, oklab_to_srgb
from viz.errors import DrawingError
from viz.figures import NORM_LABEL, RegionPanel, figure1
from viz.images import image_array, show_image
from viz.labels import Label, place_labels
from viz.marks import CENTROID_COLOR, CENTROID_SIZE, POINT_COLOR, POINT_SIZE, mark, shape_of
from viz.region_fill import RegionFill
from viz.regions import plot_regions
from viz.scale_bar import ScaleBar
from viz.text import grouped

# Inches; the frame has the proportions 4:3.
_WIDTH, _HEIGHT = 8.0, 6.0
_SQUARE = 4.0
_LEFT, _TOP = 0.2, 0.45
_BASE = _HEIGHT - _TOP - _SQUARE
_BAR_LEFT, _BAR = _LEFT + _SQUARE + 0.1, 0.09
_RIGHT, _RIGHT_WIDTH = 5.15, 2.65
_IMAGE = 0.62
_COMPASS = 2.62
_CURVES_LEFT, _CURVES_BASE, _CURVES_WIDTH, _CURVES_HEIGHT = 0.62, 0.42, 5.3, 0.82
# The trail's newest steps are strong, what lies farther back is faint.
_STRONG_STEPS = 8
# The compass begins at this share of the least distance, and shows distances over at least this ratio.
_INNERMOST = 0.25
_LEAST_RATIO = 30.0
_RAY_END = 1.0
_RIM = 1.16
# Turns of the hue for one unit that changes its piece, root mean square: neighbours differ little, far regions much.
_TURN = 0.035
_BITS_PER_BLOCK = 1 << 24


@dataclass(frozen=True, eq=False)
class Curve:
    """A measure over training; `percent` says how its value is written."""

    label: str
    epochs: Float[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]
    percent: bool = False


@dataclass(frozen=True, eq=False)
class Migration:
    """What the frames of a migration share. Positions are in slice coordinates, see `Slice.project`."""

    images: Float[np.ndarray, "k *image"]
    labels: Sequence[str]
    points: Float[np.ndarray, "k 2"]
    origin: Float[np.ndarray, " 2"]
    """The projection of the input space's zero."""
    domain: Float[np.ndarray, "corners 2"]
    epochs: Int[np.ndarray, " frames"]
    n_regions: Int[np.ndarray, " frames"]
    centroids: Float[np.ndarray, "frames k 2"]
    curves: Sequence[Curve]
    norm: Normalize | None
    """The scale of the colours, for its bar; None if they are those of `pattern_colors`."""
    norm_samples: Float[np.ndarray, " n"] | None = None
    """Values on that scale: the bar gets an arrow where they go beyond its ends."""

    def __post_init__(self) -> None:
        n, k = len(self.epochs), len(self.points)
        if n < 1 or self.centroids.shape != (n, k, 2) or len(self.n_regions) != n:
            raise DrawingError(
                f"a migration of {n} frames and {k} points needs as many counts of regions and centroids "
                f"({n}, {k}, 2), not {len(self.n_regions)} and {self.centroids.shape}"
            )
        if len(self.images) != k or len(self.labels) != k:
            raise DrawingError(f"there are {k} points but {len(self.images)} images and {len(self.labels)} labels")


def frame_pixels(width: int) -> tuple[int, int]:
    """Width and height of a frame about so wide, and even; see `region_pixels` for the regions in it."""
    unit = max(1, round(width / _WIDTH))
    return int(_WIDTH) * unit, int(_HEIGHT) * unit


def region_pixels(width: int) -> int:
    """Side in pixels of the square of regions in a frame of this width."""
    return int(_SQUARE) * max(1, round(width / _WIDTH))


def region_picture(
    part: Partition,
    values: Float[np.ndarray, " R"] | None,
    norm: Normalize | None,
    pixels: int,
) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """The regions alone, filling a square: coloured by values on a scale, or without values by their patterns."""
    figure = Figure(figsize=(_SQUARE, _SQUARE), dpi=pixels / _SQUARE)
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


def pattern_colors(part: Partition) -> Float[np.ndarray, "R 3"]:
    """A colour for each region that depends on its activation pattern alone, whatever the network and the slice.

    Each unit turns the hue by an angle of its own when it changes its piece: equal patterns have equal colours, and
    patterns that differ in few units have similar ones.
    """
    keys = part.pattern_keys
    n_bits = 64 * keys.shape[1]
    weights = np.random.default_rng(0).standard_normal((n_bits, 2)).astype(np.float32) * _TURN
    turns = np.empty((len(keys), 2))
    step = max(1, _BITS_PER_BLOCK // n_bits)
    for begin in range(0, len(keys), step):
        block = np.ascontiguousarray(keys[begin : begin + step].astype("<u8")).view(np.uint8)
        turns[begin : begin + step] = np.unpackbits(block, axis=1, bitorder="little").astype(np.float32) @ weights
    hue, shade = 2 * np.pi * turns.T
    lightness = 0.74 + 0.1 * np.sin(shade)
    return oklab_to_srgb(np.column_stack([lightness, 0.085 * np.cos(hue), 0.085 * np.sin(hue)]))


def migration_frames(
    migration: Migration, pictures: Iterable[UInt8[np.ndarray, "pixels pixels 3"]], width: int = 1280
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The frames of a video: one for each picture of regions (see `region_picture`), in the style in force.

    Raises `DrawingError` if there are not as many pictures as epochs.
    """
    page = _Page(migration, frame_pixels(width)[0] / _WIDTH)
    count = 0
    for count, picture in enumerate(pictures, start=1):
        if count > len(migration.epochs):
            break
        yield page.frame(count - 1, picture)
    if count != len(migration.epochs):
        raise DrawingError(f"a migration of {len(migration.epochs)} frames needs as many pictures, not {count}")


class _Page:
    """The frame's figure: what never changes is drawn once, the rest over a copy of it."""

    def __init__(self, migration: Migration, dpi: float) -> None:
        self.migration = migration
        self.figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=dpi)
        self.canvas = FigureCanvasAgg(self.figure)
        self.moving: list[Artist] = []
        regions = self._axes(_LEFT, _BASE, _SQUARE, _SQUARE)
        self.picture = self._draw_region_axes(regions)
        self.title = self._moving_text(_LEFT, _HEIGHT - 0.27, size=12, weight="bold")
        self.about = self._moving_text(_LEFT + _SQUARE, _HEIGHT - 0.27, size=8, ha="right")
        self._draw_images()
        if migration.norm is not None:
            bar = self._axes(_BAR_LEFT, _BASE, _BAR, _SQUARE)
            samples = np.empty(0) if migration.norm_samples is None else migration.norm_samples
            draw_color_bar(
                self.figure, ScalarMappable(migration.norm, DUSK), bar, NORM_LABEL, [samples] if len(samples) else []
            )
        self.trails = [_Trail(regions, migration.centroids[:, k], shape_of(k)) for k in range(len(migration.points))]
        compass = self._axes(_RIGHT + (_RIGHT_WIDTH - _COMPASS) / 2, _BASE, _COMPASS, _COMPASS)
        self.trails += _draw_compass(compass, migration)
        for trail in self.trails:
            self.moving += trail.artists
        self._draw_curves()
        for artist in self.moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(self.figure.bbox)

    def frame(self, index: int, picture: UInt8[np.ndarray, "pixels pixels 3"]) -> UInt8[np.ndarray, "height width 3"]:
        """The frame of an epoch."""
        epoch = int(self.migration.epochs[index])
        self.picture.set_data(picture)
        self.title.set_text(f"epoch {grouped(epoch)}")
        self.about.set_text(f"{grouped(int(self.migration.n_regions[index]))} regions")
        for trail in self.trails:
            trail.show(index)
        self.cursor.set_xdata([epoch, epoch])
        for curve, dot, text in self.readings:
            value = float(np.interp(epoch, curve.epochs, curve.values))
            dot.set_data([epoch], [value])
            written = f"{value:.1%}" if curve.percent else f"{value:.2f}".replace("-", "−")
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

    def _draw_region_axes(self, ax: Axes) -> AxesImage:
        migration = self.migration
        (left, bottom), (right, top) = migration.domain.min(axis=0), migration.domain.max(axis=0)
        blank = np.zeros((2, 2, 3), dtype=np.uint8)
        image = ax.imshow(blank, extent=(left, right, bottom, top), interpolation="nearest", zorder=1)
        ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        bar = ScaleBar(ax)
        self.moving += [image, bar]
        labels = []
        inside = ((migration.points >= [left, bottom]) & (migration.points <= [right, top])).all(axis=1)
        for k in np.flatnonzero(inside).tolist():
            at = migration.points[k]
            point = ax.add_line(mark(shape_of(k), POINT_COLOR, POINT_SIZE, at, zorder=5))
            self.moving.append(point)
            style = {"size": 9.0, "weight": "bold"}
            labels.append(Label(migration.labels[k], (float(at[0]), float(at[1])), 0.8 * POINT_SIZE, style))
        self.moving += place_labels(ax, labels, [bar.get_window_extent()])
        return image

    def _draw_images(self) -> None:
        pictures = image_array(self.migration.images)
        count = len(pictures)
        step = _RIGHT_WIDTH / count
        size = min(_IMAGE, 0.7 * step)
        for k, (picture, label) in enumerate(zip(pictures, self.migration.labels, strict=True)):
            middle = _RIGHT + (k + 0.5) * step
            ax = self._axes(middle - 0.5 * size, _HEIGHT - _TOP - size, size, size)
            show_image(ax, picture)
            below = -0.13 / size
            ax.add_line(
                mark(
                    shape_of(k), POINT_COLOR, POINT_SIZE, np.array([0.38, below]), transform=ax.transAxes, clip_on=False
                )
            )
            ax.text(0.54, below, label, va="center", weight="bold", size=9, transform=ax.transAxes)

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


class _Trail:
    """The way of one centroid up to a frame: faint where it is long ago, with a mark at its end."""

    def __init__(self, ax: Axes, positions: Float[np.ndarray, "frames 2"], shape: str, zorder: float = 4.0) -> None:
        self.positions = positions
        (self.old,) = ax.plot([], [], color=CENTROID_COLOR, linewidth=0.7, alpha=0.35, zorder=zorder)
        (self.new,) = ax.plot([], [], color=CENTROID_COLOR, linewidth=1.5, zorder=zorder)
        self.head = ax.add_line(mark(shape, CENTROID_COLOR, CENTROID_SIZE, positions[0], zorder=zorder + 1))
        self.artists: list[Artist] = [self.old, self.new, self.head]

    def show(self, index: int) -> None:
        """Draw the way up to frame `index`."""
        recent = max(0, index - _STRONG_STEPS)
        self.old.set_data(*self.positions[: recent + 1].T)
        self.new.set_data(*self.positions[recent : index + 1].T)
        self.head.set_data(*self.positions[index : index + 1].T)


def compass_positions(positions: Float[np.ndarray, "*n 2"], least: float, greatest: float) -> Float[np.ndarray, "*n 2"]:
    """Positions seen from zero with logarithmic distances: `least` and nearer goes to 0, `greatest` to distance 1."""
    distance = np.linalg.norm(positions, axis=-1, keepdims=True)
    direction = np.divide(positions, distance, out=np.zeros_like(positions), where=distance > 0)
    radius = np.log(np.maximum(distance, least) / least) / np.log(greatest / least)
    return direction * radius


def _draw_compass(ax: Axes, migration: Migration) -> list[_Trail]:
    """Centroids as seen from the input's origin, with logarithmic distances: an aligned one lies on its point's ray."""
    seen = migration.centroids - migration.origin
    distances = np.linalg.norm(seen, axis=-1)
    greatest = 1.15 * float(distances.max()) if distances.max() > 0 else 1.0
    least = min(_INNERMOST * float(np.min(distances, initial=greatest, where=distances > 0)), greatest / _LEAST_RATIO)
    ax.set(xlim=(-_RIM, _RIM), ylim=(-_RIM, _RIM), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    faint = mpl.rcParams["xtick.color"]
    free = _freest_direction(migration.points - migration.origin)
    for power in range(int(np.ceil(np.log10(least))), int(np.floor(np.log10(greatest))) + 1):
        radius = float(np.log(10.0**power / least) / np.log(greatest / least))
        if radius > 0.06:
            x, y = (radius * free).tolist()
            ax.add_patch(Circle((0, 0), radius, fill=False, edgecolor=faint, linewidth=0.5, alpha=0.55))
            text = ax.text(x, y, f"{10.0**power:g}", size=6.5, color=faint, ha="center", va="center")
            text.set_path_effects([withStroke(linewidth=2.0, foreground=mpl.rcParams["figure.facecolor"])])
    ax.plot(0, 0, "o", color=mpl.rcParams["text.color"], markersize=2.0)
    for k, direction in enumerate(migration.points - migration.origin):
        length = float(np.linalg.norm(direction))
        if length > 0:
            end = _RAY_END * direction / length
            ax.plot(*np.stack([0 * end, end], axis=1), color=faint, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
            ax.add_line(mark(shape_of(k), POINT_COLOR, POINT_SIZE, 1.06 * end, zorder=3))
    ax.set_title(
        "centroids as seen from the origin\n(log distance; dashed: data points)", size=7.5, weight="normal", pad=3
    )
    shown = compass_positions(seen, least, greatest)
    return [_Trail(ax, shown[:, k], shape_of(k)) for k in range(seen.shape[1])]


def _freest_direction(directions: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, " 2"]:
    """The unit vector that keeps the largest angle to all directions."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    candidates = np.column_stack([np.cos(angles), np.sin(angles)])
    lengths = np.linalg.norm(directions, axis=1)
    return candidates[(candidates @ (directions[lengths > 0] / lengths[lengths > 0, None]).T).max(axis=1).argmin()]


def _plain(value: float, _: object) -> str:
    return f"{value:g}"


def migration_strip(migration: Migration, panels: Sequence[RegionPanel]) -> Figure:
    """Stills of a migration side by side, as in `figure1`, in the colours of its frames.

    Every panel has its values; they are drawn on the migration's scale. Raises `DrawingError` as `figure1` does.
    """
    figure = figure1(migration.images, migration.labels, panels)
    fills = [child for ax in figure.axes for child in ax.get_children() if isinstance(child, RegionFill)]
    bar = fills[-1].colorbar
    assert bar is not None
    place = bar.ax.get_position(original=True)
    bar.remove()
    for fill, panel in zip(fills, panels, strict=True):
        if migration.norm is None:
            fill.set_array(None)
            colors: Any = pattern_colors(panel.partition)
            fill.set_facecolor(colors)
        else:
            fill.set_norm(migration.norm)
    if migration.norm is not None:
        samples = [values for panel in panels if (values := panel.values) is not None]
        draw_color_bar(figure, fills[-1], figure.add_axes(place.bounds), NORM_LABEL, samples)
    return figure
