"""The regions that meet a disc or a polygon of the slice, and the areas that they share with it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from splinegeo._chunks import running_sum
from splinegeo._disc_overlap import overlap_disc
from splinegeo.errors import InvalidArgumentError, InvalidDomainError, ShapeError
from splinegeo.slice import Box, as_numbers, is_number

if TYPE_CHECKING:
    from splinegeo.partition import Partition


@dataclass(frozen=True, eq=False)
class Selection:
    """Regions that meet a part of the slice: their ids, ascending, and the area that each shares with it."""

    regions: Int64[np.ndarray, " n"]
    overlaps: Float64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def area(self) -> float:
        """Area of the part that the regions cover, in squared input-space units."""
        return float(self.overlaps.sum())


def regions_in_disc(partition: "Partition", center: ArrayLike, radius: float) -> Selection:
    """The regions that meet the open disc about a point of the slice (2,), with exact overlap areas (closed form).

    A region that only touches the circle does not meet the disc. The selection is empty for a disc outside the domain.
    Raises `ShapeError` for a center that is not two finite numbers, `InvalidArgumentError` for a radius that is not
    positive and finite.
    """
    coordinates = as_numbers(center, "the center of a disc")
    if coordinates.shape != (2,):
        raise ShapeError(f"the center of a disc must be two slice coordinates, but its shape is {coordinates.shape}")
    point, radius = disc_centers(coordinates[None])[0], disc_radius(radius)
    candidates = _regions_near(partition, point - radius, point + radius)
    distances, overlaps = np.empty(len(candidates)), np.empty(len(candidates))
    mesh = partition.mesh
    overlap_disc(mesh.vertices, mesh.offsets, mesh.corners, candidates, point, radius, distances, overlaps)
    meets = distances < radius
    candidates = candidates[meets]
    return Selection(candidates, np.maximum(np.minimum(overlaps[meets], partition.areas[candidates]), 0.0))


def regions_in_polygon(partition: "Partition", polygon: "ArrayLike | Box") -> Selection:
    """The regions whose interiors meet the interior of a simple polygon (k, 2), convex or not, with overlap areas.

    Either orientation will do. Which regions meet the polygon is decided exactly, so that those which only share a side
    with it are left out. Raises `InvalidDomainError` for a polygon that is not finite, crosses itself or has no area.
    """
    window = _simple_polygon(polygon)
    low, high = window.bounds[:2], window.bounds[2:]
    candidates = _regions_near(partition, np.array(low), np.array(high))
    shapes = region_polygons(partition, candidates)
    crossed = ~shapely.is_valid(shapes)  # by rounding, where a region is as narrow; areas would be anything
    shapes[crossed] = shapely.convex_hull(shapes[crossed])
    shapely.prepare(window)
    meets = shapely.relate_pattern(window, shapes, "T********")
    candidates, shapes = candidates[meets], shapes[meets]
    overlaps = np.maximum(partition.areas[candidates], 0.0)
    cut = ~shapely.contains_properly(window, shapes)
    overlaps[cut] = np.minimum(overlaps[cut], shapely.area(shapely.intersection(window, shapes[cut])))
    return Selection(candidates, overlaps)


def disc_centers(centers: ArrayLike) -> Float64[np.ndarray, "n 2"]:
    """Centers of discs as an array. Raises `ShapeError` if they are not (n, 2) finite numbers."""
    points = np.ascontiguousarray(as_numbers(centers, "the centers of discs"))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(
            f"the centers of discs must be two slice coordinates each, (n, 2), but their shape is {points.shape}"
        )
    if not np.isfinite(points).all():
        raise ShapeError("the center of a disc must be finite, but holds NaN or infinite values")
    return points


def disc_radius(radius: float) -> float:
    """The radius as a float. Raises `InvalidArgumentError` if it is not positive and finite."""
    if not (is_number(radius) and np.isfinite(radius) and radius > 0):
        raise InvalidArgumentError(f"the radius of a disc must be positive and finite, not {radius!r}")
    return float(radius)


def _simple_polygon(polygon: "ArrayLike | Box") -> shapely.Polygon:
    try:
        corners = polygon.polygon() if isinstance(polygon, Box) else as_numbers(polygon, "the polygon's corners")
    except ShapeError as error:
        raise InvalidDomainError(str(error)) from error
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise InvalidDomainError(f"a polygon must have the shape (k, 2) with k >= 3, not {corners.shape}")
    if not np.isfinite(corners).all():
        raise InvalidDomainError("the polygon's corners must be finite")
    window = shapely.Polygon(corners)
    if not window.is_valid or not window.area > 0:
        raise InvalidDomainError("the polygon must be simple and have an area: its sides must not cross or overlap")
    return window


def _regions_near(
    partition: "Partition", low: Float64[np.ndarray, " 2"], high: Float64[np.ndarray, " 2"]
) -> Int64[np.ndarray, " n"]:
    """The regions in the cells of the partition's grid that a box meets, ascending."""
    grid = partition._grid
    n = grid.shape[0]
    cells = [np.clip((point - grid.low) * grid.scale, 0, n - 1).astype(np.int64) for point in (low, high)]
    (i_low, j_low), (i_high, j_high) = cells
    rows = n * np.arange(i_low, i_high + 1)
    parts = [grid.faces[grid.start[row + j_low] : grid.start[row + j_high + 1]] for row in rows]
    return np.unique(np.concatenate(parts)).astype(np.int64)


def corner_places(offsets: Int64[np.ndarray, "R+1"], regions: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " h"]:
    """Places of some regions' corners in the mesh's list of all corners, region after region."""
    start = running_sum(np.diff(offsets)[regions])
    return np.arange(start[-1]) - np.repeat(start[:-1] - offsets[regions], np.diff(start))


def region_polygons(partition: "Partition", regions: Int64[np.ndarray, " n"]) -> np.ndarray:
    """Shapely polygons of some regions."""
    start = running_sum(np.diff(partition.offsets)[regions])
    corners = partition.corners[corner_places(partition.offsets, regions)]
    closed = np.insert(corners, start[1:], partition.corners[partition.offsets[regions]])
    count = np.arange(len(regions) + 1)
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, partition.vertices[closed], (start + count, count))
