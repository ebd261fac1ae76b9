"""Maps of all regions from a network's restriction to the domain: in slice coordinates, and in the full input space.

On a region every kink is 0 or ± its unit's value, so each readout of the outputs is a combination, with weights that
depend on the region, of the base's readout and of the values that the kinks' units have under the base's map: one
backward pass for each kink replaces one for each region.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo.region_maps import affine_before

if TYPE_CHECKING:
    from splinegeo.partition import Partition
    from splinegeo.restriction import Restriction

_STREAM_BYTES = 1 << 26


@dataclass(frozen=True, eq=False, repr=False)
class BaseRows:
    """Rows g and constants c in input space: under the base's map, outputs and kinks' units are g · x + c."""

    outputs: Float64[np.ndarray, "C d"]
    output_constants: Float64[np.ndarray, " C"]
    kinks: Float64[np.ndarray, "K d"]
    kink_constants: Float64[np.ndarray, " K"]

    @classmethod
    def of(cls, restriction: "Restriction") -> "BaseRows":
        """By the base's vector-Jacobian products, in blocks of bounded memory."""
        network = restriction.network
        n_stages = len(network.stages)
        outputs, output_constants = _to_input(restriction, n_stages, np.arange(network.n_outputs))
        rows, constants = [np.empty((0, network.n_inputs))], [np.empty(0)]
        for stage, kinks in enumerate(restriction.kinks):
            of_stage = _to_input(restriction, stage, kinks.units)
            rows.append(of_stage[0])
            constants.append(of_stage[1])
        return cls(outputs, output_constants, np.concatenate(rows), np.concatenate(constants))


def restricted_slice_map_blocks(partition: "Partition") -> Iterator[tuple[slice, Float64[np.ndarray, "m C 3"]]]:
    """Maps of all regions on the slice, f(x(t)) = M[:, :2] t + M[:, 2], block by block with their range."""
    for place, weights in stream_weights(partition, np.eye(partition.network.n_outputs)):
        yield place, weights[..., :3]


def reduced_operators(partition: "Partition") -> Iterator[tuple[slice, Float64[np.ndarray, "m C k"]]]:
    """For all regions, stream by stream, matrices that have the inner products of the rows of A."""
    base = partition.base_rows
    n_outputs = len(base.outputs)
    # In the triangle's columns, the rows of the base have few coordinates, and no product of them is ever squared.
    triangle = np.linalg.qr(np.concatenate([base.outputs, base.kinks]).T)[1].T
    for place, weights in stream_weights(partition, np.eye(n_outputs)):
        yield place, triangle[:n_outputs] + weights[..., 3:] @ triangle[n_outputs:]


def stream_weights(
    partition: "Partition", readout: Float64[np.ndarray, "k C"]
) -> Iterator[tuple[slice, Float64[np.ndarray, "m k 3+K"]]]:
    """Each region's readout · f as weights of (t₁, t₂, 1) and of the values that the kinks' units have under the base's
    map; stream by stream, with the range of regions.
    """
    top = readout @ partition.restriction.columns.T
    yield from combine_kinks(partition, top, len(partition.network.stages), np.arange(partition.n_regions))


def combine_kinks(
    partition: "Partition",
    top: Float64[np.ndarray, "k 3+K"],
    n_stages: int,
    faces: Int64[np.ndarray, " n"],
    n_more: int = 0,
) -> Iterator[tuple[slice, Float64[np.ndarray, "m k 3+K"]]]:
    """What functions of (t₁, t₂, 1, κ) with the kinks of the first stages, the rows of `top`, are on faces after these
    stages: weights of (t₁, t₂, 1) and of the values that the kinks' units have under the base's map.

    Yields the range within `faces` and the weights, stream by stream; `n_more` numbers a face are wanted besides.
    """
    step = max(1, _STREAM_BYTES // (8 * (2 * top.size + n_more)))
    for a in range(0, len(faces), step):
        chosen = faces[a : a + step]
        weights = np.repeat(top[None], len(chosen), axis=0)
        end = weights.shape[2]
        for stage in range(n_stages - 1, -1, -1):
            kinks = partition.restriction.kinks[stage]
            begin = end - len(kinks.units)
            weights[..., begin:end] *= _sides(partition, stage, chosen)[:, None, :]
            weights[..., :begin] += weights[..., begin:end] @ kinks.rows
            chosen, end = partition.parents[stage][chosen], begin
        yield slice(a, min(a + step, len(faces))), weights


def _sides(partition: "Partition", stage: int, faces: Int64[np.ndarray, " m"]) -> Float64[np.ndarray, "m k"]:
    """What faces after a stage make of its kinks, as multiples of their units' values: 0 on the base's side."""
    kinks = partition.restriction.kinks[stage]
    words = partition.bits[stage][faces][:, kinks.units >> 6]
    active = (words >> (kinks.units & 63).astype(np.uint64)) & np.uint64(1)
    return np.where((active == 1) == (kinks.signs > 0), kinks.signs, 0.0)


def _to_input(
    restriction: "Restriction", stage: int, units: Int64[np.ndarray, " k"]
) -> tuple[Float64[np.ndarray, "k d"], Float64[np.ndarray, " k"]]:
    """Rows and constants, in input space, of some values before a stage's nonlinearity, under the base's map."""
    network = restriction.network
    affines = [affine_before(network, index) for index in range(stage + 1)]
    rows, constants = np.empty((len(units), network.n_inputs)), np.zeros(len(units))
    widest = max(affine.n_outputs for affine in affines)
    step = max(1, _STREAM_BYTES // (8 * 2 * widest))
    for a in range(0, len(units), step):
        chosen = units[a : a + step]
        block = np.zeros((len(chosen), affines[stage].n_outputs))
        block[np.arange(len(chosen)), chosen] = 1.0
        for index in range(stage, -1, -1):
            constants[a : a + step] += block @ affines[index].bias
            block = affines[index].transpose(block)
            if index:
                block *= restriction.slopes(index - 1)
        rows[a : a + step] = block
    return rows, constants
