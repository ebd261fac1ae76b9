"""Figures of a certificate that concern outputs: whether regions' maps give them as well as float64 knows them.

A map is right to rounding of the terms that it is the sum of. Far from the origin these may be larger than the outputs
by far where bounded units (Hardtanh and the like) are saturated: each is the difference of two parts.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from splinegeo._torch_threads import one_torch_thread
from splinegeo.network import KeepFloat64, Network

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# An error of the outputs, in shares of the largest, that float32 weights resolve.
OUTPUT_ROUNDING = 2.0**-20
# Inputs are moved by as much as some roundings of theirs, and what that does to the outputs counts so many times.
_MOVE = 2.0**-50
_N_MOVES = 8
_TIMES = 2.0**10


def missed_outputs(
    partition: "Partition",
    regions: Int64[np.ndarray, " n"],
    maps: Float64[np.ndarray, "n C 3"],
    outputs: Float64[np.ndarray, "n C"],
) -> tuple[float, Bool[np.ndarray, " n"]]:
    """The largest difference of slice maps, at the regions' interior points, from the forward pass's outputs, in shares
    of the largest output; and which regions miss them by more than float64 inputs allow.
    """
    t = partition.interior_points[regions]
    misses = np.linalg.norm(np.einsum("ncd,nd->nc", maps[:, :, :2], t) + maps[:, :, 2] - outputs, axis=1)
    largest = float(np.linalg.norm(outputs, axis=1).max(initial=0.0))
    if not largest > 0:
        return 0.0, np.zeros(len(regions), dtype=bool)
    missed = ~(misses <= OUTPUT_ROUNDING * largest)
    places = np.flatnonzero(missed)
    if len(places):
        inputs = partition.plane.origin + t[places] @ partition.plane.basis
        known = _known_to(partition.network, inputs, outputs[places])
        missed[places] = ~(misses[places] <= _TIMES * known)
    return float(misses[missed].max(initial=0.0)) / largest, missed


def _known_to(
    network: Network, inputs: Float64[np.ndarray, "n d"], outputs: Float64[np.ndarray, "n C"]
) -> Float64[np.ndarray, " n"]:
    """How far the forward pass moves its outputs when inputs move by some of their roundings."""
    generator = np.random.default_rng(0)
    known = np.zeros(len(inputs))
    for _ in range(_N_MOVES):
        moved = _forward(network, inputs * (1 + _MOVE * generator.uniform(-1.0, 1.0, inputs.shape)))
        known = np.maximum(known, np.linalg.norm(moved - outputs, axis=1))
    return known


def _forward(network: Network, x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n C"]:
    """Outputs at flattened inputs, by the module that the network was read from where it is at hand."""
    if network.module is None:
        return network(x)
    with torch.inference_mode(False), torch.no_grad(), one_torch_thread(), KeepFloat64():
        inputs = torch.from_numpy(x).reshape(len(x), *network.input_shape)
        return network.module(inputs).reshape(len(x), -1).numpy()
