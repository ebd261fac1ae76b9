"""What regions are coloured by: a number of each region on a scale, or a category, or its pattern."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Real
from matplotlib import colormaps
from matplotlib.colors import Colormap, LogNorm, Normalize

from splinegeo import Partition
from viz.centroids import DIVERGING
from viz.class_pieces import ClassPieces, class_pieces
from viz.color_scale import checked_values, shared_norm
from viz.colormaps import DUSK
from viz.errors import DrawingError
from viz.pattern_colors import pattern_colors
from viz.region_colors import category_colors, centroid_alignments, deepest_layers, predicted_classes

SCALES = ("automatic", "linear", "logarithmic")
# Below this relative luminance a region is dark: light lines stand out from it (WCAG 2 contrast).
_DARK = 0.18


@dataclass(frozen=True, eq=False)
class Coloring:
    """One way to colour the regions of one partition: numbers, or colours where numbers mean nothing."""

    label: str
    values: Float64[np.ndarray, " R"] | None = None
    """A number for each region; None if `colors` are patterns' colours."""
    colors: Float64[np.ndarray, "R 4"] | None = None
    """A colour for each region, for categories and patterns."""
    categories: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()
    """Names and colours of the categories."""
    pieces: ClassPieces | None = None
    """What is filled in place of the regions where the categories are classes: the regions, cut at their boundary."""
    fixed_norm: Normalize | None = None
    """The scale of a quantity with natural bounds."""
    cmap: Colormap = field(default_factory=lambda: DUSK)

    def norm(self, scale: str) -> Normalize:
        """The colour scale of the numbers, "automatic", "linear" or "logarithmic".

        Raises `DrawingError` if a logarithm is asked of numbers that are not positive.
        """
        if self.values is None:
            return Normalize(0, 1)
        if self.fixed_norm is not None:
            return self.fixed_norm
        chosen = shared_norm([self.values])
        if scale == "linear" and isinstance(chosen, LogNorm):
            return Normalize(chosen.vmin, chosen.vmax)
        if scale == "logarithmic" and not isinstance(chosen, LogNorm):
            if not (chosen.vmin is not None and float(self.values.min()) > 0):
                raise DrawingError(f"{self.label} has values that are not positive: choose the linear scale")
            return LogNorm(chosen.vmin, chosen.vmax)
        return chosen

    def region_colors(self, norm: Normalize) -> Float64[np.ndarray, "R 4"]:
        """The colour of each region."""
        if self.colors is not None:
            return self.colors
        assert self.values is not None
        return np.asarray(self.cmap(norm(self.values)), dtype=np.float64)

    def piece_colors(self) -> Float64[np.ndarray, "P 4"]:
        """The colour of each of the pieces."""
        assert self.pieces is not None
        return np.array([color for _, color in self.categories])[self.pieces.classes]

    def is_dark(self, norm: Normalize) -> Bool[np.ndarray, " R"]:
        """The regions that light lines stand out from."""
        return self.region_colors(norm)[:, :3] ** 2.2 @ np.array([0.2126, 0.7152, 0.0722]) < _DARK


def color_regions(part: Partition, name: str, custom: Real[np.ndarray, " R"] | None = None) -> Coloring:
    """Colour a partition by a name of `COLORINGS`, or by numbers of the user's own, one for each region.

    Raises `DrawingError` for an unknown name, or numbers that do not fit the partition.
    """
    if custom is not None:
        return Coloring(name, checked_values(custom, part.n_regions))
    if name not in COLORINGS:
        raise DrawingError(f"regions cannot be coloured by {name!r}: choose one of {', '.join(COLORINGS)}")
    return COLORINGS[name](part)


def _by_norm(part: Partition) -> Coloring:
    return Coloring("norm of the linear operator ‖A‖", part.operator_norms())


def _by_radius(part: Partition) -> Coloring:
    return Coloring("radius τ", part.radii())


def _by_area(part: Partition) -> Coloring:
    # A face too thin for its area to be computed has none; it would make the logarithm's scale endless.
    areas = part.areas
    positive = areas[areas > 0]
    return Coloring("area", np.maximum(areas, positive.min() if len(positive) else 0.0))


def _by_alignment(part: Partition) -> Coloring:
    cmap = colormaps[DIVERGING]
    return Coloring("centroid alignment", centroid_alignments(part), fixed_norm=Normalize(-1.0, 1.0), cmap=cmap)


def _by_class(part: Partition) -> Coloring:
    classes = predicted_classes(part)
    n = max(part.network.n_outputs, 2)
    colors = category_colors(np.arange(n)).tolist()
    coloring = _of_categories("predicted class", classes, [str(k) for k in range(n)], colors)
    return replace(coloring, pieces=class_pieces(part))


def _by_stage(part: Partition) -> Coloring:
    n = max(len(part.network.layers), 1)
    shades = DUSK(np.linspace(0.15, 0.92, n))
    names = [f"layer {k + 1}" for k in range(n)]
    return _of_categories("deepest layer at the border", np.maximum(deepest_layers(part), 0), names, shades.tolist())


def _by_pattern(part: Partition) -> Coloring:
    rgb = pattern_colors(part)
    return Coloring("activation pattern", colors=np.column_stack([rgb, np.ones(len(rgb))]))


def _of_categories(
    label: str, members: Int64[np.ndarray, " R"], names: Sequence[str], colors: Sequence[Sequence[float]]
) -> Coloring:
    rgba = [(float(color[0]), float(color[1]), float(color[2]), 1.0) for color in colors]
    table: Float[np.ndarray, "n 4"] = np.array(rgba)
    return Coloring(label, members.astype(np.float64), table[members], tuple(zip(names, rgba, strict=True)))


COLORINGS: dict[str, Callable[[Partition], Coloring]] = {
    "norm": _by_norm,
    "radius": _by_radius,
    "area": _by_area,
    "alignment": _by_alignment,
    "class": _by_class,
    "stage": _by_stage,
    "pattern": _by_pattern,
}
