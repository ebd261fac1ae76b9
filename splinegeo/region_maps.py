"""The affine map of every region, forwards in slice coordinates and backwards in input space, in streams of bounded
memory.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._bits import unpack

if TYPE_CHECKING:
    from splinegeo.network import AffineMap, Network
    from splinegeo.partition import Partition

_STREAM_BYTES = 1 << 26


def unit_slopes(
    partition: "Partition", stage: int, faces: Int64[np.ndarray, " n"] | slice
) -> Float64[np.ndarray, "n units"]:
    """Slope of each unit of a stage, for faces of that stage: 1 where the unit is active, else its slope below zero."""
    slopes = partition.network.stages[stage].slopes
    active = unpack(partition.bits[stage][faces], len(slopes))
    if not slopes.any():
        return active.astype(np.float64)
    return np.where(active, 1.0, slopes)


def slice_map_blocks(partition: "Partition") -> Iterator[tuple[slice, Float64[np.ndarray, "m C 3"]]]:
    """Maps of all regions on the slice, f(x(t)) = M[:, :2] t + M[:, 2], block by block with their range.

    Each stage's maps are computed once for the faces that this stage cuts, not once for each region: siblings share
    them.
    """
    network, plane = partition.network, partition.plane
    root = first_affine(network).linear(np.vstack([plane.basis, plane.origin]))
    root[2] += first_affine(network).bias
    for begin, end, block in _descend(partition, 0, 0, 1, root[None]):
        yield slice(begin, end), block.transpose(0, 2, 1)


def _descend(
    partition: "Partition", stage: int, begin: int, end: int, maps: Float64[np.ndarray, "n 3 units"]
) -> Iterator[tuple[int, int, Float64[np.ndarray, "m 3 C"]]]:
    """Output maps of all regions inside faces begin..end of the mesh before a stage, from that stage's maps on these
    faces.
    """
    network = partition.network
    if stage == len(network.stages):
        yield begin, end, maps
        return
    following = affine_before(network, stage + 1)
    parents = partition.parents[stage]
    first_child, end_child = (int(child) for child in np.searchsorted(parents, [begin, end]))
    step = max(1, _STREAM_BYTES // (8 * 3 * (maps.shape[2] + len(following.bias))))
    for a in range(first_child, end_child, step):
        b = min(a + step, end_child)
        active = maps[parents[a:b] - begin]
        active *= unit_slopes(partition, stage, slice(a, b))[:, None, :]
        child_maps = following.linear(active.reshape(3 * (b - a), -1)).reshape(b - a, 3, -1)
        child_maps[:, 2] += following.bias
        yield from _descend(partition, stage + 1, a, b, child_maps)


def affine_before(network: "Network", stage: int) -> "AffineMap":
    """The affine map that feeds a stage's units; for the number of stages, the one that gives the network's outputs."""
    return network.stages[stage].affine if stage < len(network.stages) else network.output


def first_affine(network: "Network") -> "AffineMap":
    """The affine map of the first stage, or of the output where there is no stage."""
    return affine_before(network, 0)


def pull_back_readout(
    partition: "Partition", readout: Float64[np.ndarray, "k C"], regions: Int64[np.ndarray, " n"] | None = None
) -> Iterator[tuple[slice, Float64[np.ndarray, "m k units"], Float64[np.ndarray, "m k"]]]:
    """Rows u and constants c with readout · f(x) = u (W₁ x + b₁) + c on each region, stream by stream.

    Yields the range within `regions`, u at the first stage's units, (m, k, n₁) (without stages: the readout at the
    network's outputs), and c, (m, k).
    """
    network = partition.network
    regions = np.arange(partition.n_regions) if regions is None else np.asarray(regions)
    widest = max([network.n_outputs, *(stage.n_units for stage in network.stages)])
    step = max(1, _STREAM_BYTES // (8 * 2 * widest * len(readout)))
    top = network.output.transpose(readout)
    top_constant = readout @ network.output.bias
    for a in range(0, len(regions), step):
        chosen = regions[a : a + step]
        if not network.stages:
            rows = np.broadcast_to(readout, (len(chosen), *readout.shape))
            yield slice(a, a + len(chosen)), rows, np.zeros((len(chosen), len(readout)))
            continue
        rows = np.broadcast_to(top, (len(chosen), *top.shape))
        constant = np.broadcast_to(top_constant, (len(chosen), len(readout))).copy()
        for index in range(len(network.stages) - 1, -1, -1):
            faces = partition.ancestors[index][chosen]
            rows = rows * unit_slopes(partition, index, faces)[:, None, :]
            if index:
                affine = network.stages[index].affine
                constant += rows @ affine.bias
                rows = affine.transpose(rows.reshape(-1, rows.shape[-1])).reshape(len(chosen), len(readout), -1)
        yield slice(a, a + len(chosen)), rows, constant


def affine_map(partition: "Partition", region: int) -> tuple[Float64[np.ndarray, "C d"], Float64[np.ndarray, " C"]]:
    """A and B with f(x) = A x + B on one region, x flattened."""
    first = first_affine(partition.network)
    _, rows, constant = next(pull_back_readout(partition, np.eye(partition.network.n_outputs), np.array([region])))
    return first.transpose(rows[0]), rows[0] @ first.bias + constant[0]


def isometry(affine: "AffineMap") -> Callable[[Float64[np.ndarray, "n units"]], Float64[np.ndarray, "n m"]]:
    """A function of rows u whose values have the inner products of u W, in as few dimensions as is cheap."""
    if affine.columns is None:
        return affine.transpose
    triangle = np.ascontiguousarray(np.linalg.qr(affine.columns)[1].T)
    return lambda rows: rows @ triangle


def reduced_operators(
    partition: "Partition",
    reduce: Callable[[Float64[np.ndarray, "n units"]], Float64[np.ndarray, "n m"]],
    regions: Int64[np.ndarray, " n"] | None = None,
) -> Iterator[tuple[slice, Float64[np.ndarray, "m C k"]]]:
    """Stream by stream, with the range within `regions` (default: all), matrices that have the inner products of the
    rows of A. `reduce` is the `isometry` of the network's first affine map.
    """
    for place, rows, _ in pull_back_readout(partition, np.eye(partition.network.n_outputs), regions):
        yield place, reduce(rows.reshape(-1, rows.shape[-1])).reshape(*rows.shape[:2], -1)
