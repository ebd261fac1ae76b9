"""Figures of a certificate that concern the counts of corners, against the regions' own vertices."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._map_checks import sampled_regions
from splinegeo.mesh import Mesh, following_corners
from splinegeo.statistics import region_statistics

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# Regions whose corners are taken away one by one: of the sample, and of those whose count is not plain.
_REGIONS = 1024
_OTHERS = 4096
# Three corners in a row that are known to `position` each may stand out so much from their lines without a corner.
_DISPLACED = 4.0
# The rounding of coordinates, in shares of the domain's diameter.
_STRAIGHT = 2.0**-47


class CornerFigures(NamedTuple):
    """`regions` are the wrong ones; for the others see the fields of the same names of `Certificate`."""

    compared_corners: int
    wrong_corners: int
    regions: Int64[np.ndarray, " n"]


def corner_figures(partition: "Partition", position: float, seed: int) -> CornerFigures:
    """Compare the counted corners with the polygons, less corners on the line through their neighbours: at least those
    that stand out by more than points are known to, at most those that do beyond rounding.

    Of most regions the count is plain: as many corners as stand out from the line through both neighbours. The others,
    up to 4096, and some drawn with the seed are reduced corner by corner.
    """
    straight = _STRAIGHT * float(np.ptp(partition.domain, axis=0).max())
    counted = region_statistics(partition).n_corners
    others = np.flatnonzero(counted != _plain_counts(partition.mesh, straight))
    left_out = len(others[_OTHERS:])
    regions = np.union1d(others[:_OTHERS], sampled_regions(partition, _REGIONS, seed))
    wrong = []
    for region in regions:
        loop = partition.corners[partition.offsets[region] : partition.offsets[region + 1]]
        polygon = partition.vertices[loop]
        surely = len(without_collinear(polygon, _DISPLACED * position))
        perhaps = len(without_collinear(polygon, straight))
        if not surely <= counted[region] <= perhaps:
            wrong.append(region)
    return CornerFigures(partition.n_regions - left_out, len(wrong), np.array(wrong, dtype=np.int64))


def _plain_counts(mesh: Mesh, straight: float) -> Int64[np.ndarray, " R"]:
    """Corners that stand out by more than `straight` from the line through both neighbours; 0 for fewer than three."""
    following = following_corners(mesh.offsets)
    before = np.empty_like(following)
    before[following] = np.arange(len(following))
    points = mesh.vertices[mesh.corners]
    run, leg = points[following] - points[before], points - points[before]
    length = np.hypot(run[:, 0], run[:, 1])
    area = leg[:, 0] * run[:, 1] - leg[:, 1] * run[:, 0]
    heights = np.divide(area, length, out=np.hypot(leg[:, 0], leg[:, 1]), where=length > 0)
    counts = np.add.reduceat((heights > straight).astype(np.int64), mesh.offsets[:-1])
    return np.where(counts > 2, counts, 0)


def without_collinear(polygon: Float64[np.ndarray, "k 2"], distance: float) -> Float64[np.ndarray, "m 2"]:
    """A polygon without the corners within a distance of the line through their neighbours, the nearest first.

    Nothing is left of a polygon that is no wider than the distance.
    """
    while len(polygon) > 2:
        before, after = np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0)
        run, leg = after - before, polygon - before
        length = np.hypot(run[:, 0], run[:, 1])
        area = leg[:, 0] * run[:, 1] - leg[:, 1] * run[:, 0]
        heights = np.divide(area, length, out=np.hypot(leg[:, 0], leg[:, 1]), where=length > 0)
        nearest = int(heights.argmin())
        if heights[nearest] > distance:
            return polygon
        polygon = np.delete(polygon, nearest, axis=0)
    return polygon[:0]
