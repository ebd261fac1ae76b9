"""The fill of a region plot: an artist that draws straight from the arrays of a partition."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from matplotlib.artist import Artist
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.collections import Collection
from matplotlib.path import Path
from matplotlib.transforms import Bbox, Transform

from splinegeo import Partition
from viz.class_pieces import ClassPieces
from viz.coverage import coverage_image

# In vector output, regions at least this wide (points, see `region_sizes`) are polygons; what is smaller is in the
# picture beneath them. If so few are in view that the file stays small, all of them are polygons.
VECTOR_SIZE = 3.0
FEW_REGIONS = 4000


class RegionFill(Collection):
    """The regions of a partition as a mappable: a value (`set_array`) or a colour (`set_facecolor`) for each region.

    Raster output gets the exact area coverage of every pixel, so that no seams show between regions. Vector output gets
    the same picture at the resolution of the file and, over it, the regions that are large enough to have a shape.
    """

    def __init__(self, part: Partition, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._part = part
        self._cells: Partition | ClassPieces = part
        self._cell_colors: Float64[np.ndarray, "P 4"] | None = None
        self._sizes: Float64[np.ndarray, " P"] | None = None

    def set_pieces(self, pieces: ClassPieces, colors: Float64[np.ndarray, "P 4"]) -> None:
        """Fill pieces of the regions, each in a colour of its own, in place of the regions."""
        self._cells, self._cell_colors, self._sizes = pieces, colors, None

    def region_colors(self) -> Float64[np.ndarray, "R 4"]:
        """The colour that each region is drawn in."""
        values = self.get_array()
        if values is not None:
            return np.asarray(self.to_rgba(values, alpha=self.get_alpha()))
        return np.broadcast_to(self.get_facecolor(), (self._part.n_regions, 4))

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        """The domain in pixels: what a layout must leave room for."""
        return domain_extent(self, self._part)

    def draw(self, renderer: RendererBase) -> None:
        """Draw on a renderer, at its resolution."""
        if not self.get_visible():
            return
        transform = self.get_transform()
        frame = visible_frame(self, self._part, transform)
        if frame is not None:
            renderer.open_group(type(self).__name__, gid=self.get_gid())
            gc = clipped_context(renderer, self)
            colors = self.region_colors() if self._cell_colors is None else self._cell_colors
            self._draw_picture(renderer, gc, transform, frame, colors)
            if not hasattr(renderer, "buffer_rgba"):
                self._draw_polygons(renderer, gc, transform, frame, colors)
            gc.restore()
            renderer.close_group(type(self).__name__)
        self.stale = False

    def _draw_picture(
        self,
        renderer: RendererBase,
        gc: GraphicsContextBase,
        transform: Transform,
        frame: Bbox,
        colors: Float64[np.ndarray, "R 4"],
    ) -> None:
        magnification = renderer.get_image_magnification()
        corner = np.floor(np.asarray(frame.min))
        width, height = np.ceil((np.asarray(frame.max) - corner) * magnification).astype(int).tolist()
        cells = self._cells
        pixels = (transform.transform(cells.vertices) - corner) * magnification
        image = coverage_image(pixels, cells.edges, cells.edge_faces, colors, (height, width))
        gc.set_alpha(1.0)
        renderer.draw_image(gc, corner[0], corner[1], image)

    def _draw_polygons(
        self,
        renderer: RendererBase,
        gc: GraphicsContextBase,
        transform: Transform,
        frame: Bbox,
        colors: Float64[np.ndarray, "R 4"],
    ) -> None:
        if self._sizes is None:
            self._sizes = region_sizes(self._cells)
        regions = np.flatnonzero(self._in_frame(transform, frame))
        if len(regions) > FEW_REGIONS:
            smallest = VECTOR_SIZE * pixels_per_point(renderer) / pixels_per_unit(transform)
            regions = regions[self._sizes[regions] >= smallest]
        if not len(regions):
            return
        gc.set_linewidth(0.0)
        shades, shade = np.unique(np.rint(255 * colors[regions]).astype(np.uint8), axis=0, return_inverse=True)
        shade = shade.reshape(-1)
        groups = np.split(regions[np.argsort(shade, kind="stable")], np.cumsum(np.bincount(shade))[:-1])
        for rgba, group in zip(shades / 255.0, groups, strict=True):
            renderer.draw_path(gc, _compound_polygon(self._cells, group), transform, tuple(rgba))

    def _in_frame(self, transform: Transform, frame: Bbox) -> Bool[np.ndarray, " R"]:
        corners = transform.transform(self._cells.vertices)[self._cells.corners]
        low = np.minimum.reduceat(corners, self._cells.offsets[:-1])
        high = np.maximum.reduceat(corners, self._cells.offsets[:-1])
        return boxes_meet(low, high, frame)


def region_sizes(part: Partition | ClassPieces) -> Float64[np.ndarray, " R"]:
    """Size of each region, 4 area / perimeter, in input-space units: a square's side, twice the width of a sliver."""
    ends = part.vertices[part.edges]
    lengths = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
    perimeters = np.zeros(part.n_regions)
    for side in (0, 1):
        faces = part.edge_faces[:, side]
        inside = faces >= 0
        perimeters += np.bincount(faces[inside], lengths[inside], minlength=part.n_regions)
    return np.divide(4 * np.maximum(part.areas, 0), perimeters, out=np.zeros(part.n_regions), where=perimeters > 0)


def clipped_context(renderer: RendererBase, artist: Artist) -> GraphicsContextBase:
    """A new graphics context that clips as the artist does: by its box, as these artists have no clip path."""
    gc = renderer.new_gc()
    if artist.get_clip_on():
        gc.set_clip_rectangle(artist.get_clip_box())
    return gc


def domain_extent(artist: Artist, part: Partition) -> Bbox:
    """The box about a partition's domain, in pixels."""
    return Bbox.from_extents(*_extents(artist.get_transform().transform(part.domain)))


def _extents(points: Float64[np.ndarray, "n 2"]) -> tuple[float, float, float, float]:
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    return float(left), float(bottom), float(right), float(top)


def visible_frame(artist: Artist, part: Partition, transform: Transform) -> Bbox | None:
    """The part of the view (pixels) that the domain covers at most; None if it is not in view."""
    extent = Bbox.null()
    extent.update_from_data_xy(transform.transform(part.domain))
    clip = artist.get_clip_box()
    return extent if clip is None else Bbox.intersection(extent, clip)


def boxes_meet(
    low: Float64[np.ndarray, "n 2"], high: Float64[np.ndarray, "n 2"], frame: Bbox
) -> Bool[np.ndarray, " n"]:
    """Which of the boxes low..high meet the frame."""
    across = (high[:, 0] >= frame.x0) & (low[:, 0] <= frame.x1)
    return across & (high[:, 1] >= frame.y0) & (low[:, 1] <= frame.y1)


def pixels_per_unit(transform: Transform) -> float:
    """Pixels for each unit of the slice."""
    matrix = transform.get_affine().get_matrix()
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def pixels_per_point(renderer: RendererBase) -> float:
    """Pixels for each typographic point."""
    return float(np.asarray(renderer.points_to_pixels(1.0)))


def _compound_polygon(part: Partition | ClassPieces, regions: Int64[np.ndarray, " n"]) -> Path:
    """One path of many closed polygons."""
    counts = part.offsets[regions + 1] - part.offsets[regions]
    ends = np.cumsum(counts + 1)
    starts = ends - counts - 1
    region = np.repeat(np.arange(len(regions)), counts + 1)
    within = np.arange(ends[-1]) - starts[region]
    # The vertex of a closing code is not used; the first corner stands in for it.
    corner = part.offsets[regions][region] + np.where(within < counts[region], within, 0)
    codes = np.full(len(within), Path.LINETO, dtype=Path.code_type)
    codes[starts] = Path.MOVETO
    codes[ends - 1] = Path.CLOSEPOLY
    return Path(part.vertices[part.corners[corner]], codes)
