"""Exact local centroids: the mean centroid over a disc of the slice, weighted by area."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from splinegeo.errors import InvalidDomainError
from splinegeo.selection import disc_centers, regions_in_disc

if TYPE_CHECKING:
    from splinegeo.partition import Partition

_REGIONS_PER_BATCH = 4096


@dataclass(frozen=True, eq=False)
class LocalCentroids:
    """Mean centroids over discs about n points of the slice."""

    centroids: Float64[np.ndarray, "n d"]
    """In input space, flattened."""
    slice_centroids: Float64[np.ndarray, "n 2"]
    """In slice coordinates: U (μ − o)."""
    covered: Float64[np.ndarray, " n"]
    """Share of each disc's area that the partition covers; below 1 the mean is that over the covered part."""


def local_centroids_in_discs(partition: "Partition", centers: ArrayLike, radius: float) -> LocalCentroids:
    """The mean of the centroids μ = Aᵀ1 over the discs of one radius about points of the slice (n, 2).

    Each region counts with the exact area that it shares with the disc: the limit of the mean centroid of points drawn
    uniformly from the disc. `splinegeo.local_centroids` is the sampled counterpart, under Gaussian noise, in all of
    input space (Linear Centroids Hypothesis, arXiv 2604.11962).

    Raises `ShapeError` for centers that are not (n, 2) finite numbers, `InvalidArgumentError` for a radius that is not
    positive and finite, `InvalidDomainError` for a disc that the partition does not meet.
    """
    points = disc_centers(centers)
    plane = partition.plane
    means = np.zeros((len(points), len(plane.origin)))
    covered = np.empty(len(points))
    for mean, (i, point) in zip(means, enumerate(points), strict=True):
        selection = regions_in_disc(partition, point, radius)
        if not selection.area > 0:
            raise InvalidDomainError(
                f"the disc of radius {radius:g} about ({point[0]:g}, {point[1]:g}) does not meet the partition: "
                "it has no local centroid"
            )
        covered[i] = min(1.0, selection.area / np.pi / radius / radius)
        weights = selection.overlaps / selection.area
        for begin in range(0, len(selection), _REGIONS_PER_BATCH):
            batch = slice(begin, begin + _REGIONS_PER_BATCH)
            mean += weights[batch] @ partition.centroids(selection.regions[batch])
    return LocalCentroids(means, (means - plane.origin) @ plane.basis.T, covered)
