"""Norms of all regions' linear operators by a walk from region to region: across an edge the operator changes by rank
one.

Neighbouring regions differ in one unit j of one stage l, so their operators differ by (slope difference) c ⊗ h, where
h is the row j of the map up to stage l and c the column j of the map from its outputs on. Both cost a vector's way
through the network, where an operator of C rows costs C of them.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from splinegeo._chunks import running_sum
from splinegeo._walk import cover_by_paths, walk_grams, walk_squares
from splinegeo.matrix_norms import matrix_norms
from splinegeo.progress import tell
from splinegeo.region_maps import first_affine, isometry, reduced_operators, unit_slopes

if TYPE_CHECKING:
    from splinegeo.affine import AffineMap
    from splinegeo.partition import Partition

# Rounding errors add up along a path; the first region of each is computed afresh.
_LONGEST_PATH = 256
# They are those of the path's largest operator: regions with squares below this share of its are computed afresh too.
_CANCELLED = 2.0**-12
_STREAM_BYTES = 1 << 25


def can_walk(partition: "Partition") -> bool:
    """Whether every affine map of the network is a matrix, and the edges' labels are its stages and their coordinates.

    They are not where a unit has several pieces, such as Hardtanh: its label does not say which of its kinks is meant.
    """
    network = partition.network
    plain = all(
        stage.layer == i and np.array_equal(stage.layer_unit, np.arange(stage.n_units))
        for i, stage in enumerate(network.stages)
    )
    maps = [*(stage.affine for stage in network.stages), network.output]
    return bool(network.stages) and plain and not network.groups and all(a.columns is not None for a in maps)


def walked_norms(partition: "Partition", kind: str) -> Float64[np.ndarray, " R"]:
    """Frobenius or spectral norm of each region's operator in input space. Requires `can_walk`."""
    network = partition.network
    reduce = isometry(first_affine(network))
    order, via = _paths(partition)
    firsts = np.append(np.nonzero(via < 0)[0], len(order))
    widest = max(stage.n_units for stage in network.stages)
    step = max(_LONGEST_PATH, _STREAM_BYTES // (8 * (widest + network.n_outputs)))
    norms = np.empty(len(order))
    a = 0
    while a < len(order):
        b = int(firsts[np.searchsorted(firsts, a + step, side="right") - 1])
        b = b if b > a else int(firsts[np.searchsorted(firsts, a, side="right")])
        is_first = via[a:b] < 0
        outer, inner = _steps(partition, order[a:b], via[a:b], is_first)
        starts = np.concatenate([block for _, block in reduced_operators(partition, reduce, order[a:b][is_first])])
        reduced = reduce(inner)
        squares: np.ndarray = np.empty(b - a)
        if kind == "frobenius":
            walk_squares(is_first, starts, outer, reduced, squares)
        else:
            grams = np.empty((b - a, network.n_outputs, network.n_outputs))
            walk_grams(is_first, starts, outer, reduced, grams)
            squares = np.asarray(np.linalg.eigvalsh(grams)[:, -1])
        begins = np.nonzero(is_first)[0]
        largest = np.repeat(np.maximum.reduceat(squares, begins), np.diff(begins, append=b - a))
        norms[order[a:b]] = np.sqrt(np.maximum(squares, 0.0))
        afresh = order[a:b][~is_first & (squares < _CANCELLED * largest)]
        for place, block in reduced_operators(partition, reduce, afresh):
            norms[afresh[place]] = matrix_norms(block, kind)
        a = b
        tell(b, len(order))
    return norms


def _paths(partition: "Partition") -> tuple[Int64[np.ndarray, " R"], Int64[np.ndarray, " R"]]:
    """All regions in paths of neighbours that differ in exactly one unit, and the edge that leads to each."""
    edges = np.nonzero((partition.edge_faces >= 0).all(axis=1))[0]
    left, right = partition.edge_faces[edges].T
    edges = edges[_differ_in_one(partition, left, right)]
    left, right = partition.edge_faces[edges].T
    nodes = np.concatenate([left, right])
    by_node = np.argsort(nodes, kind="stable")
    start = running_sum(np.bincount(nodes, minlength=partition.n_regions))
    neighbour = np.concatenate([right, left])[by_node].astype(np.int64)
    through = np.concatenate([edges, edges])[by_node]
    order = np.empty(partition.n_regions, dtype=np.int64)
    via = np.empty(partition.n_regions, dtype=np.int64)
    cover_by_paths(start, neighbour, through, _LONGEST_PATH, order, via)
    return order, via


def _differ_in_one(
    partition: "Partition", left: Int32[np.ndarray, " n"], right: Int32[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    count = np.zeros(len(left), dtype=np.int64)
    for words, faces in zip(partition.bits, partition.ancestors, strict=True):
        a, b = faces[left], faces[right]
        apart = np.nonzero(a != b)[0]
        count[apart] += np.bitwise_count(words[a[apart]] ^ words[b[apart]]).sum(axis=1, dtype=np.int64)
    return count == 1


def _steps(
    partition: "Partition",
    order: Int64[np.ndarray, " n"],
    via: Int64[np.ndarray, " n"],
    is_first: Bool[np.ndarray, " n"],
) -> tuple[Float64[np.ndarray, "n C"], Float64[np.ndarray, "n units"]]:
    """What each step adds to the operator, as outer ⊗ inner at the first stage's units; zeros at the paths' firsts."""
    network = partition.network
    outer = np.zeros((len(order), network.n_outputs))
    inner = np.zeros((len(order), network.stages[0].n_units))
    labels = partition.edge_labels[via]
    for stage in range(len(network.stages)):
        steps = np.nonzero((labels[:, 0] == stage) & ~is_first)[0]
        if len(steps) == 0:
            continue
        units, regions = labels[steps, 1], order[steps]
        slopes = unit_slopes(partition, stage, partition.ancestors[stage][regions])[np.arange(len(steps)), units]
        gain = np.where(slopes == 1.0, 1.0, -1.0) * (1.0 - network.stages[stage].slopes[units])
        columns = [_columns(later.affine) for later in network.stages[stage + 1 :]] + [_columns(network.output)]
        push = columns[0][units] * gain[:, None]
        for later in range(stage + 1, len(network.stages)):
            push = (push * unit_slopes(partition, later, partition.ancestors[later][regions])) @ columns[later - stage]
        outer[steps] = push
        if stage == 0:
            inner[steps, units] = 1.0
            continue
        pull = _columns(network.stages[stage].affine).T[units]
        for earlier in range(stage - 1, -1, -1):
            pull = pull * unit_slopes(partition, earlier, partition.ancestors[earlier][regions])
            if earlier:
                pull = network.stages[earlier].affine.transpose(pull)
        inner[steps] = pull
    return outer, inner


def _columns(affine: "AffineMap") -> Float64[np.ndarray, "m n"]:
    columns = affine.columns
    if columns is None:
        raise ValueError("a walk needs affine maps that are matrices")
    return columns
