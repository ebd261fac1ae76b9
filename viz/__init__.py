"""Drawing: regions, points and centroids on a slice, and the figures made of them."""

from viz.color_scale import draw_color_bar, shared_norm
from viz.colormaps import DUSK
from viz.errors import DrawingError
from viz.figures import RegionPanel, figure1
from viz.markers import mark_points
from viz.regions import REGION_VALUES, plot_regions
from viz.saving import save_figure
from viz.style import DARK, LIGHT, Theme, style

__all__ = [
    "DARK",
    "DUSK",
    "LIGHT",
    "REGION_VALUES",
    "DrawingError",
    "RegionPanel",
    "Theme",
    "draw_color_bar",
    "figure1",
    "mark_points",
    "plot_regions",
    "save_figure",
    "shared_norm",
    "style",
]
