"""Grids of images and of their centroids, for several networks side by side (arXiv 2506.12284, Figure 6)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator, FuncFormatter

from viz.errors import DrawingError
from viz.images import image_array
from viz.text import text_width

SCALES = ("panel", "shared", "image")
# White at zero, so that pixels without influence vanish into light paper; red and blue differ for all colour blindness.
DIVERGING = "RdBu_r"
# A few outlying pixels must not pale all others: colours end at this quantile of the magnitudes.
HIGHEST_QUANTILE = 0.998

# Inches.
_PANEL_WIDTH = 2.35
_PANELS_A_ROW = 3
_MARGIN = 0.1
_GAP = 0.2
_ROW_GAP = 0.1
_HEADING = 0.4
_BAR = 0.07
_BAR_GAP = 0.06
_BAR_ROOM = 0.2
# Points.
_SUBTITLE_SIZE = 7.0
# Screen fonts are hinted to whole pixels: a line may turn out this much wider than its outline.
_HINTING = 1.06
# Bold letters are so much wider.
_BOLD = 1.15
# Space between two images, as a share of an image's side.
_SPACING = 0.08


@dataclass(frozen=True, eq=False)
class CentroidPanel:
    """One network's centroids of the images, (k, *image), with what is written above them."""

    centroids: Float[np.ndarray, "k *image"]
    title: str
    subtitle: str = ""


def centroid_grid(
    images: Float[np.ndarray, "k *image"],
    panels: Sequence[CentroidPanel],
    grid: tuple[int, int],
    *,
    title: str = "Images",
    subtitle: str = "",
    scale: str = "panel",
) -> Figure:
    """Grids of images and, beside them, of their centroids, row by row in the same places.

    Args:
        images: (k, height, width) or (k, channels, height, width) with 1 or 3 channels.
        panels: the centroids of each network, of the images' shape.
        grid: rows and columns; places beyond the k images stay empty.
        title: what stands above the images.
        subtitle: the line beneath it.
        scale: zero is the middle of every colour scale; its ends are those of all panels ("shared"), of each panel
            ("panel") or of each centroid alone ("image"). Colour images show zero as grey.

    Raises `DrawingError` for shapes that are no images, do not fit each other or the grid, for values that are not
    finite, and for an unknown scale.
    """
    pictures = image_array(images)
    rows, columns = grid
    if rows < 1 or columns < 1 or rows * columns < len(pictures) or not len(pictures):
        raise DrawingError(f"a grid of {rows}x{columns} does not hold {len(pictures)} images")
    limits = _limits(panels, np.shape(images), scale)
    side = _PANEL_WIDTH / columns
    height = rows * side * pictures.shape[1] / pictures.shape[2]
    n_rows = math.ceil((1 + len(panels)) / _PANELS_A_ROW)
    across = math.ceil((1 + len(panels)) / n_rows)
    bars = scale != "image" and pictures.ndim == 3
    step = _HEADING + height + (_BAR_GAP + _BAR + _BAR_ROOM if bars else 0.0) + _ROW_GAP
    width = 2 * _MARGIN + across * _PANEL_WIDTH + (across - 1) * _GAP
    total = n_rows * step - _ROW_GAP + _MARGIN
    figure = Figure(figsize=(width, total))

    def axes(place: int, below: float, tall: float) -> Axes:
        """Axes of a panel, `below` inches under the panel's top."""
        row, column = divmod(place, across)
        left, bottom = _MARGIN + column * (_PANEL_WIDTH + _GAP), total - row * step - below - tall
        return figure.add_axes((left / width, bottom / total, _PANEL_WIDTH / width, tall / total))

    _show(
        axes(0, _HEADING, height),
        pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, axis=-1),
        grid,
        title,
        subtitle,
    )
    for place, (panel, limit) in enumerate(zip(panels, limits, strict=True), start=1):
        colors = centroid_colors(panel.centroids, limit) / 255.0
        _show(axes(place, _HEADING, height), colors, grid, panel.title, panel.subtitle)
        if bars:
            _draw_bar(axes(place, _HEADING + height + _BAR_GAP, _BAR), float(limit.max()), panel)
    return figure


def centroid_colors(
    centroids: Float[np.ndarray, "k *image"], limits: Float[np.ndarray, " k"] | None = None
) -> UInt8[np.ndarray, "k h w 3"]:
    """Centroids as colours: grey images on a diverging map, white at zero; colour images about middle grey.

    `limits` is the magnitude at the ends of each one's scale; default: that of the centroid alone, see
    `centroid_limits`. Raises `DrawingError` for what is no image.
    """
    image_array(centroids)  # refuses what is no image, or not finite
    array = np.asarray(centroids, dtype=np.float64)
    limit = centroid_limits(array) if limits is None else np.asarray(limits, dtype=np.float64)
    limit = np.where(limit > 0, limit, 1.0)
    share = np.clip(0.5 + 0.5 * array / limit.reshape(-1, *[1] * (array.ndim - 1)), 0.0, 1.0)
    if share.ndim == 4 and share.shape[1] == 3:
        return np.rint(255 * np.moveaxis(share, 1, -1)).astype(np.uint8)
    gray = share[:, 0] if share.ndim == 4 else share
    return np.asarray(mpl.colormaps[DIVERGING](gray, bytes=True))[..., :3]


def centroid_limits(centroids: Float[np.ndarray, "k *image"]) -> Float[np.ndarray, " k"]:
    """The magnitude at the ends of each centroid's own colour scale: nearly its largest."""
    return np.quantile(np.abs(centroids).reshape(len(centroids), -1), HIGHEST_QUANTILE, axis=1)


def _limits(panels: Sequence[CentroidPanel], shape: tuple[int, ...], scale: str) -> list[Float[np.ndarray, " k"]]:
    if not panels:
        raise DrawingError("the figure needs the centroids of at least one network")
    if scale not in SCALES:
        raise DrawingError(f"there is no scale {scale!r}: choose one of {', '.join(SCALES)}")
    for panel in panels:
        if np.shape(panel.centroids) != shape:
            raise DrawingError(
                f"the centroids of {panel.title!r} have the shape {np.shape(panel.centroids)}, the images {shape}"
            )
        if not np.isfinite(panel.centroids).all():
            raise DrawingError(f"the centroids of {panel.title!r} must be finite, but some are NaN or infinite")
    if scale == "image":
        return [centroid_limits(panel.centroids) for panel in panels]
    ends = [float(np.quantile(np.abs(panel.centroids), HIGHEST_QUANTILE)) for panel in panels]
    return [np.full(shape[0], max(ends) if scale == "shared" else end) for end in ends]


def _show(
    ax: Axes,
    colors: Float[np.ndarray, "k h w 3"],
    grid: tuple[int, int],
    title: str,
    subtitle: str = "",
) -> None:
    """Draw images row by row, each in a frame of its own."""
    rows, columns = grid
    aspect = colors.shape[1] / colors.shape[2]
    for index, image in enumerate(colors):
        row, column = divmod(index, columns)
        left, right = column + 0.5 * _SPACING, column + 1 - 0.5 * _SPACING
        bottom, top = (row + 1 - 0.5 * _SPACING) * aspect, (row + 0.5 * _SPACING) * aspect
        ax.imshow(image, extent=(left, right, bottom, top), interpolation="nearest")
        x, y = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
        ax.plot(x, y, color=mpl.rcParams["axes.edgecolor"], linewidth=0.35, alpha=0.7)
    ax.set(xlim=(0, columns), ylim=(rows * aspect, 0))
    ax.axis("off")
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center", "va": "bottom"}
    title_size = _fitting_size(title, FontProperties(size=mpl.rcParams["axes.titlesize"]).get_size_in_points(), _BOLD)
    ax.annotate(title, (0.5, 1), (0, 13), size=title_size, weight="bold", **style)
    ax.annotate(subtitle, (0.5, 1), (0, 3), size=_fitting_size(subtitle, _SUBTITLE_SIZE), **style)


def _fitting_size(text: str, size: float, widening: float = 1.0) -> float:
    """The font size, or a smaller one at which the line is not wider than a panel and its share of the gaps."""
    width = widening * _HINTING * text_width(text, size) if text else 0.0
    return size * min(1.0, (_PANEL_WIDTH + 0.5 * _GAP) / width) if width else size


def _draw_bar(ax: Axes, limit: float, panel: CentroidPanel) -> None:
    limit = limit if limit > 0 else 1.0
    cmap: Colormap = mpl.colormaps[DIVERGING]
    beyond = float(np.abs(panel.centroids).max()) > limit
    mappable = ScalarMappable(Normalize(-limit, limit), cmap)
    extend = "both" if beyond else "neither"
    bar = ax.figure.colorbar(mappable, cax=ax, orientation="horizontal", extend=extend, extendfrac=0.03)
    bar.outline.set_linewidth(0.4)
    power = 10.0 ** math.floor(math.log10(limit))
    end = power * math.floor(limit / power)
    bar.ax.xaxis.set_major_locator(FixedLocator([-end, 0.0, end]))
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}".replace("-", "−")))
    bar.ax.minorticks_off()
