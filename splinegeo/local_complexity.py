"""Exact local complexity: how many regions, and how many units' zero sets, meet a disc about a point of the slice.

Humayun et al. 2024 (arXiv 2402.15555) estimate the local complexity of a network about a point by sampling: they embed
the vertices of a small cross-polytope about it and count, layer by layer, the units whose sign differs between two
vertices, that is the hyperplanes that pass through the neighbourhood's image. Here the neighbourhood is a disc of the
slice, and nothing is sampled: a unit counts if it is positive somewhere in the disc and not positive elsewhere in it.
Their estimate with points of the disc never exceeds `units_by_layer`, and reaches it as the points grow dense.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from splinegeo._bits import unpack
from splinegeo.selection import disc_centers, regions_in_disc

if TYPE_CHECKING:
    from splinegeo.partition import Partition


_REGIONS_PER_BATCH = 4096


@dataclass(frozen=True, eq=False)
class LocalComplexity:
    """Counts in open discs about n points of the slice; one column for each piecewise linear layer."""

    n_regions: Int64[np.ndarray, " n"]
    """Activation regions that meet the disc."""
    regions_by_layer: Int64[np.ndarray, "n layers"]
    """Regions of the network cut off after each layer that meet the disc; the last column is `n_regions`."""
    units_by_layer: Int64[np.ndarray, "n layers"]
    """Units of each layer that are in different linear pieces in two parts of the disc: whose zero sets cross it."""
    covered: Float64[np.ndarray, " n"]
    """Share of the disc's area that the partition covers; below 1 all counts are those of the covered part."""

    @property
    def n_units(self) -> Int64[np.ndarray, " n"]:
        """Units of all layers whose zero sets cross the disc."""
        return self.units_by_layer.sum(axis=1)


def local_complexity(partition: "Partition", centers: ArrayLike, radius: float) -> LocalComplexity:
    """Exact local complexity in the discs of one radius about points of the slice (n, 2).

    A disc outside the domain has the counts 0. Raises `ShapeError` for centers that are not (n, 2) finite numbers and
    `InvalidArgumentError` for a radius that is not positive and finite.
    """
    points = disc_centers(centers)
    last_stages = {stage.layer: index for index, stage in enumerate(partition.network.stages)}
    shape = (len(points), len(last_stages))
    regions_by_layer, units_by_layer = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    n_regions, covered = np.zeros(len(points), dtype=np.int64), np.zeros(len(points))
    for i, point in enumerate(points):
        selection = regions_in_disc(partition, point, radius)
        n_regions[i] = len(selection)
        covered[i] = min(1.0, selection.area / np.pi / radius / radius)
        for layer, stage in last_stages.items():
            _, first = np.unique(partition.ancestors[stage][selection.regions], return_index=True)
            regions_by_layer[i, layer] = len(first)
            units_by_layer[i, layer] = _count_changing(partition, stage, selection.regions[first])
    return LocalComplexity(n_regions, regions_by_layer, units_by_layer, covered)


def _count_changing(partition: "Partition", index: int, regions: Int64[np.ndarray, " n"]) -> int:
    """Units of the layer that ends with a stage which are not in one linear piece on all the regions."""
    network = partition.network
    stage = network.stages[index]
    group = next((group for group in network.groups if index in group), None)
    if not len(regions):
        return 0
    if group is None:
        words = partition.bits[index][partition.ancestors[index][regions]]
        changing = np.bitwise_or.reduce(words, axis=0) & ~np.bitwise_and.reduce(words, axis=0)
        changes = unpack(changing[None], stage.n_units)[0] & ~stage.carried
        return len(np.unique(stage.layer_unit[changes]))
    tournament = network.layers[stage.layer].tournament
    assert tournament is not None  # what makes several stages one layer
    extremes = []
    for begin in range(0, len(regions), _REGIONS_PER_BATCH):
        batch = regions[begin : begin + _REGIONS_PER_BATCH]
        active = [unpack(partition.bits[i][partition.ancestors[i][batch]], network.stages[i].n_units) for i in group]
        bits = [part[:, ~network.stages[i].carried] for i, part in zip(group, active, strict=True)]
        winners = tournament.winners(bits)
        extremes += [winners.min(axis=0), winners.max(axis=0)]
    return int((np.min(extremes, axis=0) != np.max(extremes, axis=0)).sum())
