"""The marks of data points and centroids: one shape for each pair, one fill for points and one for centroids."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import Affine2D

# Shapes tell the points apart, so that print without colour does too. White and teal with a dark outline stand out from
# every colour of the map DUSK, which has no green, and from light and dark paper.
SHAPES = ("o", "s", "^", "D", "v", "p", "P", "X", "<", ">")
POINT_COLOR = "#ffffff"
CENTROID_COLOR = "#12b39a"
OUTLINE_COLOR = "#14101f"
POINT_SIZE = 5.6
CENTROID_SIZE = 5.0
ARROW_SIZE = 6.0
_OUTLINE = 0.8
_ARROW = Path([(-0.5, -0.5), (0.0, 0.6), (0.5, -0.5), (0.0, -0.25), (-0.5, -0.5)], closed=True)


def shape_of(index: int) -> str:
    """The shape of the marks of point `index` and of its centroid."""
    return SHAPES[index % len(SHAPES)]


def mark(
    shape: str | MarkerStyle, color: str, size: float, at: Float[np.ndarray, " 2"] | None = None, **style: Any
) -> Line2D:
    """A mark with a dark outline at slice coordinates; without them, a legend's handle."""
    x, y = ([], []) if at is None else ([float(at[0])], [float(at[1])])
    return Line2D(
        x,
        y,
        marker=shape,
        markersize=size,
        markerfacecolor=color,
        markeredgecolor=OUTLINE_COLOR,
        markeredgewidth=_OUTLINE,
        linestyle="none",
        snap=False,
        **style,
    )


def arrowhead(direction: Float[np.ndarray, " 2"]) -> MarkerStyle:
    """The shape of an arrow's head that points this way: notched, so that no triangular mark is taken for it."""
    turn = Affine2D().rotate(float(np.arctan2(direction[1], direction[0])) - 0.5 * np.pi)
    return MarkerStyle(_ARROW.transformed(turn))


def draw_cased_line(ax: Axes, ends: Float[np.ndarray, "2 2"], zorder: float = 3.0) -> None:
    """A thin white line with a dark casing, visible on every fill."""
    line = Line2D(*ends.T, color=POINT_COLOR, linewidth=0.7, zorder=zorder, solid_capstyle="butt")
    line.set_path_effects([Stroke(linewidth=1.6, foreground=OUTLINE_COLOR, alpha=0.6), Normal()])
    ax.add_line(line)
