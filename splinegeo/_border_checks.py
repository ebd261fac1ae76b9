"""Figures of a certificate that concern the outer border of a part of the domain: it lies where units vanish.

Between two regions a corner that leaves the zero set of a unit lies in one of them, whose pattern then is not that of
the forward pass. Where a partition ends along a unit's zero set there is one region only.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from splinegeo._pattern_checks import Rounding, batches, depths, points_at_once, stage_values

if TYPE_CHECKING:
    from splinegeo.partition import Partition


class BorderFigures(NamedTuple):
    """`regions` lie beside a displaced edge; for the other see the field of the same name of `Certificate`."""

    displaced_edges: int
    regions: Int64[np.ndarray, " n"]


def border_figures(partition: "Partition", rounding: Rounding) -> BorderFigures:
    """Ask, at both ends of every edge with one region and a unit, whether the unit vanishes there.

    Sides of regions narrower than the rounding of positions may lie anywhere about them.
    """
    labelled = partition.edge_labels[:, 0] >= 0
    edges = np.flatnonzero(labelled & ((partition.edge_faces >= 0).sum(axis=1) == 1))
    found = np.zeros(len(edges), dtype=bool)
    for batch in batches(len(edges), max(1, points_at_once(partition) // 2), "", progress=False):
        ends = partition.vertices[partition.edges[edges[batch]]]
        values = stage_values(partition, ends.reshape(-1, 2))
        found[batch] = ~_vanish(partition, partition.edge_labels[edges[batch]], values, rounding)
    displaced = edges[found]
    regions = partition.edge_faces[displaced].max(axis=1, initial=-1).astype(np.int64)
    if len(regions):
        beyond = depths(partition, partition.interior_points[regions], regions) > rounding.position
        regions = regions[beyond]
    return BorderFigures(len(regions), np.unique(regions))


def _vanish(
    partition: "Partition",
    labels: Int64[np.ndarray, "n 2"],
    values: list[Float64[np.ndarray, "2n units"]],
    rounding: Rounding,
) -> Bool[np.ndarray, " n"]:
    """Whether one coordinate of each label's unit vanishes at two points, of which the values are."""
    vanish = np.zeros(len(labels), dtype=bool)
    for stage, y, tolerance in zip(partition.network.stages, values, rounding.values, strict=True):
        rows = np.flatnonzero(labels[:, 0] == stage.layer)
        at_both = (np.abs(y) <= tolerance).reshape(len(labels), 2, -1)[rows].all(axis=1)
        vanish[rows] |= (at_both & (stage.layer_unit == labels[rows, 1:])).any(axis=1)
    return vanish
