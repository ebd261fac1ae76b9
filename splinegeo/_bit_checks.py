"""Figures of a certificate that concern bits on which no unit's piece depends: equal patterns have equal words only if
these are 0.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from splinegeo._bits import pack, unpack
from splinegeo._pattern_checks import batches, points_at_once

if TYPE_CHECKING:
    from splinegeo.partition import Partition


class BitFigures(NamedTuple):
    """`regions` have such a bit; for the other see the field of the same name of `Certificate`."""

    idle_bits: int
    regions: Int64[np.ndarray, " n"]


def bit_figures(partition: "Partition") -> BitFigures:
    """Look for bits that are 1 of carried values, beyond the last unit, and of comparisons that no winner took part
    in.
    """
    deciding = deciding_words(partition)
    has_idle = np.zeros(partition.n_regions, dtype=bool)
    for index, (stage, words) in enumerate(zip(partition.network.stages, partition.bits, strict=True)):
        idle = (words & ~pack(~stage.carried[None])).any(axis=1)
        has_idle |= idle[partition.ancestors[index]]
        if index in deciding:
            last, counted = deciding[index]
            faces = _ancestors_between(partition, index, last)
            has_idle |= (words[faces] & ~counted).any(axis=1)[partition.ancestors[last]]
    regions = np.flatnonzero(has_idle)
    return BitFigures(len(regions), regions)


def _ancestors_between(partition: "Partition", stage: int, last: int) -> Int64[np.ndarray, " F"]:
    """The face after a stage that each face after a later one lies in."""
    faces = np.arange(len(partition.parents[last]))
    for index in range(last, stage, -1):
        faces = partition.parents[index][faces].astype(np.int64)
    return faces


def deciding_words(partition: "Partition") -> dict[int, tuple[int, UInt64[np.ndarray, "F words"]]]:
    """For each stage of a maximum with several: its comparisons that count on each face after the maximum's last stage,
    and which stage that is.
    """
    network = partition.network
    found: dict[int, tuple[int, UInt64[np.ndarray, "F words"]]] = {}
    for group in network.groups:
        last = group[-1]
        n_faces = len(partition.parents[last])
        words = {index: np.empty((n_faces, partition.bits[index].shape[1]), dtype=np.uint64) for index in group}
        for batch in batches(n_faces, points_at_once(partition), "", progress=False):
            faces = np.arange(n_faces)[batch]
            active = []
            for index in reversed(group):
                active.append(unpack(partition.bits[index][faces], network.stages[index].n_units))
                faces = partition.parents[index][faces]
            for index, counted in zip(group, network.deciding(group, active[::-1]), strict=True):
                words[index][batch] = pack(counted)
        found |= {index: (last, of_stage) for index, of_stage in words.items()}
    return found
