"""Enumeration of the linear regions on a slice: stage by stage, the faces of a mesh are cut by the units' zero sets."""

import os

import numpy as np
from jaxtyping import Float64, Int32, UInt64
from torch import nn

from splinegeo._bits import n_words
from splinegeo._compilation import announce_compilation
from splinegeo._subdivision import Subdivision, Units, subdivide
from splinegeo._values import Values, find_crossings
from splinegeo.errors import ShapeError
from splinegeo.mesh import Mesh
from splinegeo.network import Affine, Network, Stage, read_network
from splinegeo.partition import Partition
from splinegeo.slice import Box, Slice, domain_polygon

# The one tolerance, relative. A unit's sign at a vertex is 0 iff |z| <= TOLERANCE (|W_j| max|h| + |b_j|): 2^10 times the rounding of
# a product of that size, so that values that are zero in exact arithmetic are found zero, yet far below what float32 weights resolve.
TOLERANCE = 2.0**-42
# Where a stage's outputs cancel, its scale says nothing of their rounding errors, which are those of the values that cancelled: the
# next stage's scale is never below this share of the scale that its inputs were computed at, spread over the inputs.
_INHERITED = 2.0**-3
# Crossings of an edge nearer to each other than this multiple of TOLERANCE times the domain's diameter share one vertex.
_CLOSENESS = 4.0
# A face crossed by many units is first cut by a few of them, so that its parts see few units each.
_FIRST_CUT = 16
_MANY_UNITS = 64


def enumerate_regions(
    model: nn.Module | Network,
    plane: Slice,
    domain: Box | Float64[np.ndarray, "k 2"] | None = None,
    *,
    max_regions: int | None = None,
    progress: bool = False,
    threads: int | None = None,
) -> Partition:
    """The linear regions of a network on a slice, exactly: every region a convex polygon with its activation pattern.

    Args:
        model: a torch module, see `read_network`.
        plane: the slice of the network's input space.
        domain: part of the slice, in slice coordinates: a `Box` or a convex polygon (k, 2); default: a margin about the slice's points.
        progress: show a progress bar.
        threads: threads of the compiled kernels; default: all processors.

    Raises `UnsupportedModuleError`, `InvalidNetworkError`, `InvalidDomainError`, `ShapeError`.
    """
    network = read_network(model)
    if network.n_inputs != len(plane.origin):
        raise ShapeError(f"the network takes {network.n_inputs} inputs, but the slice lies in R^{len(plane.origin)}")
    polygon = domain_polygon(domain, plane)
    threads = threads or os.cpu_count() or 1
    announce_compilation()
    mesh = Mesh.from_polygon(polygon)
    closeness = _CLOSENESS * TOLERANCE * float(np.linalg.norm(polygon[:, None] - polygon[None, :], axis=-1).max())
    inputs = plane.origin + polygon @ plane.basis
    reach = float(np.linalg.norm(inputs, axis=1).max())
    noise = 0.0
    values: Values | None = None
    cut: Subdivision | None = None
    parents: list[Int32[np.ndarray, " F"]] = []
    bits: list[UInt64[np.ndarray, "F words"]] = []
    for index, stage in enumerate(network.stages):
        if values is None or cut is None:
            values = Values(stage.affine(inputs))
        else:
            values, reach = _next_values(values, network.stages[index - 1], stage.affine, cut)
        tolerance, noise = _tolerance(stage, reach, noise)
        following = None if index + 1 == len(network.stages) else network.stages[index + 1].affine
        values, cut = _cut_by_stage(mesh, values, Units(index, stage.slopes, tolerance), closeness, threads, following)
        mesh = cut.mesh
        parents.append(cut.parents)
        bits.append(cut.bits)
    return Partition(network=network, plane=plane, domain=polygon, mesh=mesh, parents=tuple(parents), bits=tuple(bits))


def _tolerance(stage: Stage, reach: float, noise: float) -> tuple[Float64[np.ndarray, " n"], float]:
    """Each unit's tolerance, for inputs of norm up to `reach` that carry errors as of values of norm `noise`; and the outputs' noise."""
    norms = np.linalg.norm(stage.affine.weight, axis=1)
    scale = norms * reach + np.abs(stage.affine.bias)
    inherited = norms * noise
    steepest = max(1.0, float(np.abs(stage.slopes).max(initial=0.0)))
    spread = np.linalg.norm(_INHERITED * scale + inherited) / np.sqrt(max(1, len(norms)))
    return TOLERANCE * (scale + inherited), steepest * float(spread)


def _next_values(values: Values, stage: Stage, affine: Affine, cut: Subdivision) -> tuple[Values, float]:
    """Values of the next stage, and a bound of the norm of its inputs over the domain.

    On each face |h| <= max(1, |slope|) |y|, and |y| is convex there, so its maximum is at a vertex that is older than the face's cut.
    The matrix product is needed at these older vertices only.
    """
    y = values.older
    steepest = max(1.0, float(np.abs(stage.slopes).max(initial=0.0)))
    reach = float(np.sqrt(np.einsum("ij,ij->i", y, y).max())) * steepest
    return Values(affine(stage.activate(y)), cut.births, affine.columns, cut.family), reach


def _cut_by_stage(
    mesh: Mesh, values: Values, units: Units, closeness: float, threads: int, following: Affine | None
) -> tuple[Values, Subdivision]:
    """Cut the mesh by one stage's units; returns the values at the vertices that are older than the cut, too."""
    if following is not None:  # every vertex is older than the next stage's births
        values = values.at_all_vertices(threads)
    bits = np.zeros((mesh.n_faces, n_words(len(units.slopes))), dtype=np.uint64)
    if mesh.n_faces > 1 or len(units.slopes) <= _MANY_UNITS:
        crossings = find_crossings(mesh, values, units.tolerance, bits, threads)
        return values, subdivide(mesh, crossings, bits, units, closeness, threads, following is not None, with_kinks=True)
    first = np.arange(len(units.slopes)) < _FIRST_CUT
    crossings = find_crossings(mesh, values, np.where(first, units.tolerance, np.inf), bits, threads)
    coarse = subdivide(mesh, crossings, bits, units, closeness, threads, keep_births=True, with_kinks=False)
    values = Values(values.older, coarse.births).at_all_vertices(threads)
    crossings = find_crossings(coarse.mesh, values, np.where(first, np.inf, units.tolerance), coarse.bits, threads)
    cut = subdivide(coarse.mesh, crossings, coarse.bits, units, closeness, threads, following is not None, with_kinks=True)
    return values, cut._replace(parents=coarse.parents[cut.parents])
