"""The one tolerance: when a unit's value is zero, and when two crossings are one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64

from splinegeo._bits import unpack

if TYPE_CHECKING:
    from splinegeo.partition import Partition
    from splinegeo.stages import Network, Stage

# The one tolerance, relative. A unit's sign at a point is 0 iff |z| <= TOLERANCE (sum_i |W_ji| max|h_i| + |b_j|): 2^10
# times the rounding of a product of that size, so that values that are zero in exact arithmetic are found zero, yet far
# below what float32 weights resolve.
TOLERANCE = 2.0**-42
# Crossings nearer to each other than this multiple of TOLERANCE and the domain's diameter share one vertex.
CLOSENESS = 4.0
# Coordinates far from the slice's origin round to more than that: never below this share of the largest of them.
_COORDINATES = 2.0**-50
# Vertices at which the sizes of a network's values are taken, or fewer where they would take more bytes.
_SIZE_POINTS = 4096
_SIZE_BYTES = 1 << 28
# Pairs of a domain's corners whose distances are held at once.
_CORNER_PAIRS = 1 << 20
# Where a stage's outputs cancel, their sizes say nothing of their rounding errors, which are those of the values that
# cancelled: an output counts as no smaller than this share of the scale that it was computed at. Roundings of different
# outputs are independent, and add as squares.
_INHERITED = 2.0**-3


def merging_distance(domain: Float64[np.ndarray, "k 2"]) -> float:
    """The distance, in slice coordinates, below which crossings of an edge share a vertex."""
    step = max(1, _CORNER_PAIRS // len(domain))
    blocks = (domain[begin : begin + step, None] for begin in range(0, len(domain), step))
    diameter = max(float(np.linalg.norm(block - domain, axis=-1).max()) for block in blocks)
    return max(CLOSENESS * TOLERANCE * diameter, coordinate_rounding(domain))


def coordinate_rounding(domain: Float64[np.ndarray, "k 2"]) -> float:
    """The distance, in slice coordinates, by which the rounding of its coordinates may move a point."""
    return _COORDINATES * float(np.abs(domain).max())


def unit_tolerance(
    stage: "Stage", sizes: Float64[np.ndarray, " m"], noise: Float64[np.ndarray, " m"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Tolerance of each coordinate of a stage (infinite for carried ones), and the noise of its outputs.

    `sizes` bound each of the stage's inputs; `noise` are the sizes of the values whose rounding errors they carry. That
    of the outputs is as much as there may be; `noise_of_outputs` is what is left of it where units are known to be off.
    """
    scale = stage.affine.bounds(sizes) + np.abs(stage.affine.bias)
    inherited = stage.affine.spreads(noise)  # of inputs that are 0 everywhere, too: they may be so by rounding
    steepest = np.maximum(1.0, np.abs(stage.slopes))
    tolerance = np.where(stage.carried, np.inf, TOLERANCE * (scale + inherited))
    return tolerance, steepest * (_INHERITED * scale + inherited)


def noise_of_outputs(
    stage: "Stage",
    noise: Float64[np.ndarray, " n"],
    tolerance: Float64[np.ndarray, " n"],
    highest: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, " n"]:
    """The noise of a stage's outputs from that of `unit_tolerance` and the highest value of each coordinate.

    A unit that is off by more than rounding hands on no more of it than its slope: far from the origin, where values
    are large, what follows from units that are all off is known as well as about it.
    """
    slopes = np.abs(stage.slopes)
    return np.where(highest < -tolerance, slopes / np.maximum(1.0, slopes), 1.0) * noise


def stage_tolerances(
    network: "Network",
    inputs: Float64[np.ndarray, "n d"],
    active: Sequence[Bool[np.ndarray, " units"]] | None = None,
) -> list[Float64[np.ndarray, " units"]]:
    """Tolerances of all stages, with the sizes of their inputs taken at some flattened inputs of the network.

    `active` are each stage's coordinates that are positive somewhere, at these inputs or elsewhere.
    """
    tolerances = []
    h, noise = inputs, np.zeros(inputs.shape[1])
    for index, stage in enumerate(network.stages):
        tolerance, noise = unit_tolerance(stage, np.abs(h).max(axis=0), noise)
        tolerances.append(tolerance)
        y = stage.affine(h)
        highest = y.max(axis=0) if active is None else np.where(active[index], np.inf, y.max(axis=0))
        noise = noise_of_outputs(stage, noise, tolerance, highest)
        h = stage.activate(y)
    return tolerances


def partition_tolerances(partition: "Partition") -> list[Float64[np.ndarray, " units"]]:
    """Tolerances of all stages, with sizes taken at the domain's corners and at some thousand vertices."""
    return stage_tolerances(partition.network, sampled_inputs(partition), ever_active(partition))


def sampled_inputs(partition: "Partition") -> Float64[np.ndarray, "n d"]:
    """The domain's corners and some thousand vertices, flattened inputs of the network."""
    network, plane = partition.network, partition.plane
    widest = max([network.n_inputs, *(stage.n_units for stage in network.stages)])
    n_points = max(1, min(_SIZE_POINTS, _SIZE_BYTES // (32 * widest)))
    spread = np.linspace(0, len(partition.vertices) - 1, n_points).astype(np.int64)
    points = np.concatenate([partition.domain, partition.vertices[np.unique(spread)]])
    return plane.origin + points @ plane.basis


def ever_active(partition: "Partition") -> list[Bool[np.ndarray, " units"]]:
    """For each stage: its coordinates that are positive in some region."""
    return [
        unpack(np.bitwise_or.reduce(words, axis=0)[None], stage.n_units)[0]
        for words, stage in zip(partition.bits, partition.network.stages, strict=True)
    ]
