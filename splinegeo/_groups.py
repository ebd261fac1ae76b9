"""The rounds of a max pooling in several stages: whose faces stay together until the last round joins them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Int32, Int64, UInt64

from splinegeo._bits import pack, unpack
from splinegeo._joining import join_faces, joined_faces
from splinegeo._subdivision import Subdivision
from splinegeo.mesh import Mesh
from splinegeo.stages import Network, Stage

_BLOCK_BYTES = 1 << 26


def whole_families(families: Int32[np.ndarray, " F"], n: int, side: Literal["left", "right"] = "left") -> int:
    """The number n of faces, rounded down (or up, "right") so that no family is torn."""
    if n in (0, len(families)):
        return n
    whole = families[n] != families[n - 1]
    return n if whole else int(np.searchsorted(families, families[n], side=side))


def join_group(
    network: Network, group: range, cut: Subdivision, parents: tuple[np.ndarray, ...], bits: tuple[np.ndarray, ...]
) -> tuple[Subdivision, tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Join the faces that only comparisons without influence on a maximum have cut; gives their parents and bits, too.

    The stages of the group get the same faces: those of the first have the parents, the others are their own parents.
    """
    ancestors = [np.arange(cut.mesh.n_faces)]
    for index in reversed(group):
        ancestors.insert(0, parents[index][ancestors[0]])
    active = [unpack(bits[i][faces], network.stages[i].n_units) for i, faces in zip(group, ancestors[1:], strict=True)]
    canonical = network.canonical(group, active)
    words = [pack(part) for part in canonical]
    _, keys = np.unique(np.column_stack([ancestors[0].astype(np.uint64), *words]), axis=0, return_inverse=True)
    joined = joined_faces(cut.mesh, keys.reshape(-1))
    _, first = np.unique(joined, return_index=True)
    themselves = np.arange(len(first), dtype=np.int32)
    joined_parents = (ancestors[0][first].astype(np.int32), *(themselves for _ in group[1:]))
    joined_bits = tuple(part[first] for part in words)
    mesh = name_changing_maxima(join_faces(cut.mesh, joined), network.stages, group, joined_bits)
    cut = cut._replace(mesh=mesh, parents=themselves, bits=joined_bits[-1], family=None)
    return cut, (*parents[: group[0]], *joined_parents), (*bits[: group[0]], *joined_bits)


def name_changing_maxima(
    mesh: Mesh, stages: Sequence[Stage], group: range, bits: Sequence[UInt64[np.ndarray, "F words"]]
) -> Mesh:
    """The mesh of joined faces with every edge of the group labelled by a comparison whose maximum changes there.

    Overlapping windows compare the same values. The first such comparison has cut, but may be of a window whose maximum
    is elsewhere.
    """
    labels = mesh.edge_labels.copy()
    edges = np.flatnonzero(np.isin(labels[:, 0], group) & (mesh.edge_faces >= 0).all(axis=1))
    step = max(1, _BLOCK_BYTES // (8 * max(words.shape[1] for words in bits)))
    for begin in range(0, len(edges), step):
        block = edges[begin : begin + step]
        changes = [_changes(mesh.edge_faces[block], stages[i], i, words) for i, words in zip(group, bits, strict=True)]
        edge, stage, coordinate, window = np.concatenate(changes, axis=1)
        own = np.empty(len(block), dtype=np.int64)
        for i in group:
            of_stage = labels[block, 0] == i
            own[of_stage] = stages[i].layer_unit[labels[block[of_stage], 1]]
        right = np.zeros(len(block), dtype=bool)
        right[edge[window == own[edge]]] = True
        wrong, first = np.unique(edge, return_index=True)
        wrong, first = wrong[~right[wrong]], first[~right[wrong]]
        labels[block[wrong]] = np.stack([stage[first], coordinate[first]], axis=1)
    return replace(mesh, edge_labels=labels)


def _changes(
    faces: Int32[np.ndarray, "E 2"], stage: Stage, index: int, words: UInt64[np.ndarray, "F words"]
) -> Int64[np.ndarray, "4 k"]:
    """The coordinates of a stage that differ between the two faces of edges: edge, stage, coordinate and its unit."""
    difference = words[faces[:, 0]] ^ words[faces[:, 1]]
    edge, word = np.nonzero(difference)
    entry, bit = np.nonzero(np.unpackbits(difference[edge, word][:, None].view(np.uint8), axis=1, bitorder="little"))
    coordinate = 64 * word[entry] + bit
    return np.stack([edge[entry], np.full(len(entry), index), coordinate, stage.layer_unit[coordinate]])
