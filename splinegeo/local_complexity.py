"""Exact local complexity: how many regions, and how many units' zero sets, meet a disc about a point of the slice.

Humayun et al. 2024 (arXiv 2402.15555) estimate the local complexity of a network about a point by sampling: they embed
the vertices of a small cross-polytope about it and count, layer by layer, the units whose sign differs between two
vertices, that is the hyperplanes that pass through the neighbourhood's image. Here the neighbourhood is a disc of the
slice, and nothing is sampled: a unit counts if it is positive somewhere in the disc and not positive elsewhere in it.
Their estimate with points of the disc never exceeds `units_by_stage`, and reaches it as the points grow dense.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from splinegeo.selection import disc_centers, regions_in_disc

if TYPE_CHECKING:
    from splinegeo.partition import Partition


@dataclass(frozen=True, eq=False)
class LocalComplexity:
    """Counts in open discs about n points of the slice."""

    n_regions: Int64[np.ndarray, " n"]
    """Activation regions that meet the disc."""
    regions_by_stage: Int64[np.ndarray, "n stages"]
    """Regions of the network cut off after each stage that meet the disc; the last column is `n_regions`."""
    units_by_stage: Int64[np.ndarray, "n stages"]
    """Units of each stage that are positive in a part of the disc and not in another: whose zero sets cross it."""
    covered: Float64[np.ndarray, " n"]
    """Share of the disc's area that the partition covers; below 1 all counts are those of the covered part."""

    @property
    def n_units(self) -> Int64[np.ndarray, " n"]:
        """Units of all stages whose zero sets cross the disc."""
        return self.units_by_stage.sum(axis=1)


def local_complexity(partition: "Partition", centers: ArrayLike, radius: float) -> LocalComplexity:
    """Exact local complexity in the discs of one radius about points of the slice (n, 2).

    A disc outside the domain has the counts 0. Raises `ShapeError` for centers that are not (n, 2) finite numbers and
    `InvalidDomainError` for a radius that is not positive and finite.
    """
    points = disc_centers(centers)
    n_stages = len(partition.network.stages)
    n_regions = np.zeros(len(points), dtype=np.int64)
    regions_by_stage = np.zeros((len(points), n_stages), dtype=np.int64)
    units_by_stage = np.zeros((len(points), n_stages), dtype=np.int64)
    covered = np.empty(len(points))
    for i, point in enumerate(points):
        selection = regions_in_disc(partition, point, radius)
        n_regions[i] = len(selection)
        covered[i] = min(1.0, selection.area / (np.pi * radius**2))
        for stage, faces in enumerate(partition.ancestors):
            met = np.unique(faces[selection.regions])
            regions_by_stage[i, stage] = len(met)
            units_by_stage[i, stage] = _count_changing(partition.bits[stage][met])
    return LocalComplexity(n_regions, regions_by_stage, units_by_stage, covered)


def _count_changing(words: np.ndarray) -> int:
    """Number of bits that differ between some of the rows."""
    if not len(words):
        return 0
    changing = np.bitwise_or.reduce(words, axis=0) & ~np.bitwise_and.reduce(words, axis=0)
    return int(np.bitwise_count(changing).sum())
