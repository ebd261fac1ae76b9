"""One colour scale for several plots: its norm, and its bar."""

from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from viz.errors import DrawingError

# A few outliers must not flatten the colours of all others: the scale ends at these quantiles, its bar shows arrows.
LOWEST_QUANTILE = 0.001
HIGHEST_QUANTILE = 0.999
# Positive values that span more than this ratio are shown on a logarithmic scale.
LOGARITHMIC_RATIO = 8.0
# Beyond this ratio the bar's ticks are powers of ten alone.
_WIDE_RATIO = 100.0


def checked_values(values: Real[np.ndarray, " R"], n_regions: int) -> Float[np.ndarray, " R"]:
    """The values as float64. Raises `DrawingError` unless there is one finite number for each region."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n_regions,):
        raise DrawingError(f"values must have the shape ({n_regions},), one for each region, but have {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        first = f"the first is {array[bad[0]]} at region {bad[0]}"
        raise DrawingError(f"values must be finite, but {len(bad)} of {n_regions} are not: {first}")
    return array


def shared_norm(values: Sequence[Real[np.ndarray, " R"]]) -> Normalize:
    """One scale for several arrays: logarithmic if all are positive and span a ratio above eight.

    Raises `DrawingError` if there is nothing to show or a value is not finite.
    """
    pooled = np.concatenate([np.ravel(array) for array in values]) if len(values) else np.empty(0)
    if not len(pooled):
        raise DrawingError("a colour scale needs at least one value")
    if not np.isfinite(pooled).all():
        raise DrawingError("a colour scale needs finite values, but some are NaN or infinite")
    low, high = (float(q) for q in np.quantile(pooled, [LOWEST_QUANTILE, HIGHEST_QUANTILE]))
    if pooled.min() > 0 and high > LOGARITHMIC_RATIO * low:
        return LogNorm(low, high)
    if not high > low:
        low, high = float(pooled.min()), float(pooled.max())
    return Normalize(low, high)


def draw_color_bar(
    figure: Figure, mappable: ScalarMappable, axes: Axes, label: str, values: Sequence[Real[np.ndarray, " R"]]
) -> Colorbar:
    """A vertical colour bar in `axes`: ticks at plain round numbers, arrows where `values` go beyond its ends."""
    norm = mappable.norm
    assert isinstance(norm, Normalize)
    bar = figure.colorbar(mappable, cax=axes, extend=_extend(norm, values), extendfrac=0.03)
    bar.outline.set_linewidth(0.4)
    if isinstance(norm, LogNorm):
        wide = _limits(norm)[1] > _WIDE_RATIO * _limits(norm)[0]
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    # Ticks are made at the first drawing, when the style in force may be another one.
    label_color = mpl.rcParams["ytick.labelcolor"]
    bar.ax.tick_params(
        color=mpl.rcParams["ytick.color"],
        labelcolor=mpl.rcParams["ytick.color"] if label_color == "inherit" else label_color,
        labelsize=mpl.rcParams["ytick.labelsize"],
        length=mpl.rcParams["ytick.major.size"],
        width=mpl.rcParams["ytick.major.width"],
    )
    bar.set_label(label)
    return bar


def _extend(norm: Normalize, values: Sequence[Real[np.ndarray, " R"]]) -> Literal["neither", "min", "max", "both"]:
    low, high = _limits(norm)
    below = any(float(np.min(array)) < low for array in values)
    above = any(float(np.max(array)) > high for array in values)
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"


def _limits(norm: Normalize) -> tuple[float, float]:
    if norm.vmin is None or norm.vmax is None:
        raise DrawingError("a colour bar needs a scale with both limits: see shared_norm")
    return float(norm.vmin), float(norm.vmax)
