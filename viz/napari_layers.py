"""The explorer's layers in a napari viewer, and how a frame fills them."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from matplotlib.colors import Normalize, to_rgba

from viz.coloring import Coloring
from viz.explorer_frame import Frame
from viz.explorer_ribbons import Ribbons, cased_ribbons
from viz.marks import CENTROID_COLOR, OUTLINE_COLOR, POINT_COLOR

REGIONS, EDGES, BOUNDARY = "Regions", "Edges", "Decision boundary"
CENTROIDS, POINTS, SELECTION = "Centroids", "Data points", "Selected region"

# Pixels on the screen, whatever the zoom.
_POINT_PIXELS, _CENTROID_PIXELS = 13, 11
_BOUNDARY_WIDTH, _OUTLINE_WIDTH = 1.6, 2.6
_CASING = to_rgba(OUTLINE_COLOR, 0.75)
_BOUNDARY_COLOR = to_rgba("#ffffff")
_OUTLINE_COLOR = to_rgba("#ffd84d")
# napari draws fewer shapes than matplotlib: pairs of a point and its centroid share one of these.
_SYMBOLS = ("disc", "square", "triangle_up", "diamond", "triangle_down", "star", "cross", "x")
_LABEL_SIZE, _LABEL_ROOM = 11, 15
# Input space has no unit; without this napari would say pixels.
_UNITS = ("dimensionless", "dimensionless")


class View(NamedTuple):
    """What the canvas shows: a rectangle of the world (lowest corner, highest corner) and the size of a pixel in it."""

    rectangle: Float64[np.ndarray, "2 2"]
    pixel: float


class RegionLayers:
    """Fills six layers of a viewer; they are made empty and may be hidden, moved or removed by the user."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.regions = self._surface(REGIONS)
        self.edges = self._surface(EDGES)
        self.boundary = self._surface(BOUNDARY)
        self.selection = self._surface(SELECTION)
        self.centroids = self._points(CENTROIDS, CENTROID_COLOR, _CENTROID_PIXELS)
        self.points = self._points(POINTS, POINT_COLOR, _POINT_PIXELS)
        viewer.layers.selection.active = self.regions

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        for layer in (self.points, self.centroids, self.selection, self.boundary, self.edges, self.regions):
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def show_regions(self, frame: Frame, coloring: Coloring, norm: Normalize) -> None:
        """Draw the regions of a frame in the colours of a coloring."""
        surface = frame.surface
        if coloring.colors is not None:
            colors = surface.per_vertex(coloring.colors)
            for name, of_pieces in frame.piece_surfaces.items():
                if frame.colorings.get(name) is coloring:
                    surface, colors = of_pieces, of_pieces.per_vertex(coloring.piece_colors())
            _fill(self.regions, surface.vertices, surface.triangles, colors=colors)
            return
        assert coloring.values is not None
        # napari maps numbers linearly: it gets the place of each on the scale.
        places = np.ma.filled(np.ma.clip(norm(coloring.values), 0.0, 1.0), 0.0)
        _set_colormap(self.regions, coloring)
        _fill(self.regions, surface.vertices, surface.triangles, values=surface.per_vertex(places))

    def show_lines(self, frame: Frame, view: View, region_is_dark: np.ndarray, with_boundary: bool) -> None:
        """Draw the edges in view and the decision boundary, as wide as suits a zoom."""
        edges = frame.edges.ribbons(view.rectangle, view.pixel, region_is_dark)
        _fill_ribbons(self.edges, edges)
        segments = frame.boundary if with_boundary else np.empty((0, 2, 2))
        _fill_ribbons(self.boundary, cased_ribbons(segments, _BOUNDARY_COLOR, _CASING, _BOUNDARY_WIDTH, view.pixel))

    def show_outline(self, frame: Frame, region: int | None, pixel: float) -> None:
        """Outline a region, or none."""
        sides = np.empty((0, 2, 2)) if region is None else frame.outline(region)
        _fill_ribbons(self.selection, cased_ribbons(sides, _OUTLINE_COLOR, _CASING, _OUTLINE_WIDTH, pixel))

    def size_marks(self, frame: Frame, region_is_dark: np.ndarray, labels: list[str], pixel: float) -> None:
        """Keep the size of the marks on the screen at a zoom, and their labels apart, and legible on what is beneath.

        Where two labels would overlap, the later one is left out.
        """
        for layer, pixels in ((self.points, _POINT_PIXELS), (self.centroids, _CENTROID_PIXELS)):
            if len(layer.data):
                layer.size = pixels * pixel
        if len(frame.points):
            regions = frame.partition.locate(frame.points)
            on_light = (regions >= 0) & ~region_is_dark[regions]
            colors = np.where(on_light[:, None], to_rgba(OUTLINE_COLOR), to_rgba(POINT_COLOR))
            kept = labels_apart(self.points.data, _LABEL_ROOM * pixel)
            self.points.features = {"label": [text if shown else "" for text, shown in zip(labels, kept, strict=True)]}
            self.points.text.color = {"array": colors}
            self.points.text.translation = np.array([0.0, 1.15 * _POINT_PIXELS * pixel])

    def show_marks(self, frame: Frame) -> None:
        """Mark the samples and their centroids."""
        window = frame.key.window
        symbols = np.array([_SYMBOLS[k % len(_SYMBOLS)] for k in range(len(frame.points))])
        _place(self.points, window.to_world(frame.points), symbols)
        known = np.isfinite(frame.centroids).all(axis=1)
        _place(self.centroids, window.to_world(frame.centroids[known]), symbols[known])

    def _surface(self, name: str) -> Any:
        return self.viewer.add_surface(
            (np.zeros((3, 2), dtype=np.float32), np.array([[0, 1, 2]]), np.zeros(3, dtype=np.float32)),
            name=name,
            shading="none",
            blending="translucent_no_depth",
            contrast_limits=(0.0, 1.0),
            units=_UNITS,
        )

    def _points(self, name: str, color: str, pixels: int) -> Any:
        return self.viewer.add_points(
            np.zeros((1, 2)),
            name=name,
            face_color=color,
            border_color=OUTLINE_COLOR,
            border_width=0.12,
            border_width_is_relative=True,
            canvas_size_limits=(1, 1000),
            antialiasing=1,
            blending="translucent_no_depth",
            features={"label": [""]},
            units=_UNITS,
            text={"string": "{label}", "color": color, "size": _LABEL_SIZE, "anchor": "center"},
        )


def labels_apart(points: Float64[np.ndarray, "k 2"], room: float) -> list[bool]:
    """Which points may have a label at their right, `room` high and twice as wide, clear of points and other labels."""
    kept: list[bool] = []
    for k, point in enumerate(points):
        others = np.delete(points, k, axis=0)
        right = others - point
        covers = (np.abs(right[:, 0]) < 0.8 * room) & (right[:, 1] > 0) & (right[:, 1] < 2 * room)
        before = points[:k][kept] - point
        meets = (np.abs(before) < [room, 1.2 * room]).all(axis=1)
        kept.append(not (covers.any() or meets.any()))
    return kept


def _fill_ribbons(layer: Any, lines: Ribbons) -> None:
    if len(lines.triangles):
        _fill(layer, lines.vertices, lines.triangles, colors=lines.colors)
    else:
        _fill(layer, np.zeros((3, 2), dtype=np.float32), np.array([[0, 1, 2]]), colors=np.zeros((3, 4), np.float32))


def _fill(
    layer: Any,
    vertices: np.ndarray,
    triangles: np.ndarray,
    values: np.ndarray | None = None,
    colors: np.ndarray | None = None,
) -> None:
    """Give a Surface layer its data and colours at once: drawn between the two, they would not fit each other."""
    if colors is not None or layer.vertex_colors is not None:
        with layer.events.set_data.blocker(), layer.events.data.blocker():
            layer.vertex_colors = colors
    filled = np.zeros(len(vertices), dtype=np.float32) if values is None else values
    layer.data = (vertices, triangles, filled)


def _set_colormap(layer: Any, coloring: Coloring) -> None:
    from napari.utils.colormaps import Colormap

    name = coloring.cmap.name
    if layer.colormap.name != name:
        layer.colormap = Colormap(coloring.cmap(np.linspace(0, 1, 256)), name=name)


def _place(layer: Any, world: Float[np.ndarray, "k 2"], symbols: np.ndarray) -> None:
    layer.data = np.asarray(world, dtype=np.float64)
    layer.features = {"label": [""] * len(world)}
    if len(world):
        layer.symbol = symbols
    layer.selected_data = set()
