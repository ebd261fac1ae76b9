"""The affine map of every prefix of stages: backwards into input space, forwards in slice coordinates, in bounded
memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo.region_maps import affine_before, unit_slopes

if TYPE_CHECKING:
    from splinegeo.partition import Partition

_STREAM_BYTES = 1 << 26


def face_count(partition: "Partition", stage: int) -> int:
    """Number of faces before a stage: after the stages 0..stage-1. Before the first one the domain is the only face."""
    return len(partition.parents[stage - 1]) if stage else 1


def pull_back(
    partition: "Partition",
    stage: int,
    faces: Int64[np.ndarray, " m"],
    rows: Float64[np.ndarray, "m units"],
) -> tuple[Float64[np.ndarray, "m first_units"], Float64[np.ndarray, " m"]]:
    """Rows u and constants c with row · y = u · y₁ + c on faces before a stage, y being the values that its affine map
    gives (for the number of stages: the outputs) and y₁ those of the first affine map.
    """
    constants = np.zeros(len(rows))
    for index in range(stage, 0, -1):
        affine = affine_before(partition.network, index)
        constants += rows @ affine.bias
        rows = affine.transpose(rows) * unit_slopes(partition, index - 1, faces)
        faces = partition.parents[index - 1][faces].astype(np.int64)
    return rows, constants


def rows_per_stream(partition: "Partition") -> int:
    """How many rows `pull_back` may be given at once."""
    network = partition.network
    widest = max([network.n_outputs, *(stage.n_units for stage in network.stages)])
    return max(1, _STREAM_BYTES // (8 * 3 * widest))


@dataclass(frozen=True, eq=False)
class StageBlock:
    """Some faces after a stage, and the affine functions on the slice that the stage's units cut at zero."""

    stage: int
    faces: slice
    maps: Float64[np.ndarray, "p 3 n"]
    """For faces before the stage: gradient (rows 0, 1) and value at the slice's origin (row 2) of each unit's y."""
    parents: Int64[np.ndarray, " m"]
    """Row of `maps` for each of the faces."""
    slopes: Float64[np.ndarray, "m n"]
    """Slope of each unit on each of the faces."""

    @cached_property
    def outputs(self) -> Float64[np.ndarray, "m 3 n"]:
        """The stage's outputs on each face, as functions on the slice."""
        return self.maps[self.parents] * self.slopes[:, None, :]


def walk_stages(partition: "Partition") -> Iterator[StageBlock]:
    """All faces after all stages, block by block, depth first; the blocks of one stage in the order of its faces."""
    if partition.network.stages:
        first, plane = partition.network.stages[0].affine, partition.plane
        root = first.linear(np.vstack([plane.basis, plane.origin]))
        root[2] += first.bias
        yield from _walk(partition, 0, 0, 1, root[None])


def _walk(
    partition: "Partition", stage: int, begin: int, end: int, maps: Float64[np.ndarray, "p 3 n"]
) -> Iterator[StageBlock]:
    stages = partition.network.stages
    parents = partition.parents[stage]
    first_child, end_child = (int(child) for child in np.searchsorted(parents, [begin, end]))
    following = stages[stage + 1] if stage + 1 < len(stages) else None
    width = maps.shape[2] + (following.n_units if following else 0)
    step = max(1, _STREAM_BYTES // (8 * 3 * width))
    for a in range(first_child, end_child, step):
        b = min(a + step, end_child)
        faces = slice(a, b)
        rows = (parents[faces] - begin).astype(np.int64)
        block = StageBlock(stage, faces, maps, rows, unit_slopes(partition, stage, faces))
        yield block
        if following is not None:
            child_maps = following.affine.linear(block.outputs)
            child_maps[:, 2] += following.affine.bias
            yield from _walk(partition, stage + 1, a, b, child_maps)
