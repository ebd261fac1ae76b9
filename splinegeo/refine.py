"""Enumeration of the linear regions on a slice: stage by stage, the faces of a mesh are cut by the units' zero sets."""

import os
import time
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int32, UInt64
from torch import nn
from tqdm import tqdm

from splinegeo._bits import n_words, pack, unpack
from splinegeo._chunks import OutOfTimeError, Watch
from splinegeo._compilation import announce_compilation
from splinegeo._crossings import Crossings
from splinegeo._joining import join_faces, joined_faces
from splinegeo._subdivision import Subdivision, Units, subdivide
from splinegeo._values import Values, find_crossings
from splinegeo.errors import ShapeError
from splinegeo.mesh import Mesh
from splinegeo.network import AffineMap, Network, Stage, read_network
from splinegeo.partition import Partition
from splinegeo.slice import Box, Slice, domain_polygon

# The one tolerance, relative. A unit's sign at a vertex is 0 iff |z| <= TOLERANCE (|W_j| max|h| + |b_j|): 2^10 times
# the rounding of a product of that size, so that values that are zero in exact arithmetic are found zero, yet far below
# what float32 weights resolve.
TOLERANCE = 2.0**-42
# Where a stage's outputs cancel, its scale says nothing of their rounding errors, which are those of the values that
# cancelled: the next stage's scale is never below this share of the scale that its inputs were computed at, spread over
# the inputs.
_INHERITED = 2.0**-3
# Crossings of an edge nearer to each other than this multiple of TOLERANCE and the domain's diameter share one vertex.
_CLOSENESS = 4.0
# A face crossed by many units is first cut by a few of them, so that its parts see few units each.
_FIRST_CUT = 16
_MANY_UNITS = 64
# Out of time, or interrupted: the regions of about so many faces are still finished, which takes a moment.
_LAST_REGIONS = 10_000


def enumerate_regions(
    model: nn.Module | Network,
    plane: Slice,
    domain: Box | Float64[np.ndarray, "k 2"] | None = None,
    *,
    max_regions: int | None = None,
    progress: bool = False,
    time_limit: float | None = None,
    threads: int | None = None,
) -> Partition:
    """The linear regions of a network on a slice, exactly: every region a convex polygon with its activation pattern.

    Args:
        model: a torch module, see `read_network`.
        plane: the slice of the network's input space.
        domain: part of the slice, in slice coordinates: a `Box` or a convex polygon (k, 2); default: a margin about
            the slice's points.
        max_regions: give at most so many regions.
        progress: show a progress bar.
        time_limit: seconds after which to stop.
        threads: threads of the compiled kernels; default: all processors.

    At a limit, or when interrupted from the keyboard, the result is a partition of a part of the domain into true
    regions, and its `complete` is False.

    Raises `UnsupportedModuleError`, `InvalidNetworkError`, `InvalidDomainError`, `ShapeError`; `ValueError` for limits
    below 1.
    """
    network = model if isinstance(model, Network) else read_network(model, plane.input_shape)
    if network.n_inputs != len(plane.origin):
        raise ShapeError(f"the network takes {network.n_inputs} inputs, but the slice lies in R^{len(plane.origin)}")
    polygon = domain_polygon(domain, plane)
    threads = threads or os.cpu_count() or 1
    if max_regions is not None and max_regions < 1:
        raise ValueError(f"max_regions must be at least 1, not {max_regions}")
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
    limit = _Limit(max_regions)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    with tqdm(disable=not progress, unit=" faces", leave=False) as bar:
        for index, stage in enumerate(network.stages):
            if values is None or cut is None:
                values = Values(stage.affine(inputs))
            else:
                values, reach = _next_values(values, network.stages[index - 1], stage.affine, cut, threads)
            tolerance, noise = _tolerance(stage, reach, noise)
            units = Units(index, stage.slopes, tolerance)
            following = None if index + 1 == len(network.stages) else network.stages[index + 1].affine
            try:
                values, cut = _cut_by_stage(
                    mesh, values, units, closeness, threads, following, limit, Watch(bar, deadline)
                )
            except (OutOfTimeError, KeyboardInterrupt):
                limit, deadline = _Limit(_LAST_REGIONS, reached=True), None
                values, cut = _cut_by_stage(mesh, values, units, closeness, threads, following, limit, Watch(bar))
            parents.append(cut.parents)
            bits.append(cut.bits)
            for group in network.groups:
                if index == group[-1]:
                    cut = _join_group(network, group, cut, parents, bits)
            mesh = cut.mesh
    if limit.regions is not None and mesh.n_faces > limit.regions:
        limit.reached = True
        mesh = mesh.first_faces(limit.regions)
        parents[-1], bits[-1] = parents[-1][: limit.regions], bits[-1][: limit.regions]
    return Partition(
        network=network,
        plane=plane,
        domain=polygon,
        mesh=_of_layers(mesh.used_vertices(), network),
        parents=tuple(parents),
        bits=tuple(bits),
        complete=not limit.reached,
    )


def _join_group(
    network: Network, group: range, cut: Subdivision, parents: list[np.ndarray], bits: list[np.ndarray]
) -> Subdivision:
    """Join the faces that only comparisons without influence on a maximum have cut; `parents` and `bits` follow.

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
    for place, index in enumerate(group):
        parents[index] = (ancestors[0][first] if place == 0 else np.arange(len(first))).astype(np.int32)
        bits[index] = words[place][first]
    return cut._replace(
        mesh=join_faces(cut.mesh, joined), parents=parents[group[-1]], bits=bits[group[-1]], family=None
    )


@dataclass
class _Limit:
    """How many regions to give at most, and whether anything was left out for it."""

    regions: int | None
    reached: bool = False

    def crop(self, mesh: Mesh, crossings: Crossings, bits: np.ndarray) -> tuple[Mesh, Crossings, np.ndarray]:
        """As many of the first faces as surely give no more regions than the limit; at least one."""
        if self.regions is None:
            return mesh, crossings, bits
        n_parts = np.cumsum(1 + np.diff(crossings.start))
        n = max(1, int(np.searchsorted(n_parts, self.regions, side="right")))
        if n == mesh.n_faces:
            return mesh, crossings, bits
        self.reached = True
        cropped = Crossings(
            start=crossings.start[: n + 1],
            units=crossings.units[: crossings.start[n]],
            value_start=crossings.value_start[: n + 1],
            values=crossings.values[: crossings.value_start[n]],
        )
        return mesh.first_faces(n), cropped, bits[:n]


def _of_layers(mesh: Mesh, network: Network) -> Mesh:
    """The mesh with edges labelled by the user's layers and their units in place of stages and their coordinates."""
    if all(stage.layer == i and np.array_equal(stage.layer_unit, np.arange(stage.n_units)) for i, stage in enumerate(network.stages)):
        return mesh
    labels = mesh.edge_labels.copy()
    for index, stage in enumerate(network.stages):
        of_stage = mesh.edge_labels[:, 0] == index
        labels[of_stage, 0] = stage.layer
        labels[of_stage, 1] = stage.layer_unit[mesh.edge_labels[of_stage, 1]]
    return replace(mesh, edge_labels=labels)


def _tolerance(stage: Stage, reach: float, noise: float) -> tuple[Float64[np.ndarray, " n"], float]:
    """Each unit's tolerance, for inputs of norm up to `reach` that carry errors as of values of norm `noise`; and the
    outputs' noise.
    """
    norms = stage.affine.row_norms()
    scale = norms * reach + np.abs(stage.affine.bias)
    inherited = norms * noise
    steepest = max(1.0, float(np.abs(stage.slopes).max(initial=0.0)))
    spread = np.linalg.norm(_INHERITED * scale + inherited) / np.sqrt(max(1, len(norms)))
    tolerance = np.where(stage.carried, np.inf, TOLERANCE * (scale + inherited))
    return tolerance, steepest * float(spread)


def _next_values(values: Values, stage: Stage, affine: AffineMap, cut: Subdivision, threads: int) -> tuple[Values, float]:
    """Values of the next stage, and a bound of the norm of its inputs over the domain.

    On each face |h| <= max(1, |slope|) |y|, and |y| is convex there, so its maximum is at a vertex that is older than
    the face's cut. The matrix product is needed at these older vertices only.
    """
    steepest = max(1.0, float(np.abs(stage.slopes).max(initial=0.0)))
    y = values.older
    reach = float(np.sqrt(np.einsum("ij,ij->i", y, y).max())) * steepest
    if affine.columns is None:
        y = Values(y, cut.births).at_all_vertices(threads).older
        return Values(affine(stage.activate(y))), reach
    return Values(affine(stage.activate(y)), cut.births, affine.columns, cut.family), reach


def _cut_by_stage(
    mesh: Mesh,
    values: Values,
    units: Units,
    closeness: float,
    threads: int,
    following: AffineMap | None,
    limit: _Limit,
    watch: Watch,
) -> tuple[Values, Subdivision]:
    """Cut the mesh by one stage's units; returns the values at the vertices that are older than the cut, too."""
    if following is not None or values.parents is None:  # every vertex is older than the next stage's births
        values = values.at_all_vertices(threads)
    keep_births = following is not None
    with_kinks = following is not None and following.columns is not None
    bits = np.zeros((mesh.n_faces, n_words(len(units.slopes))), dtype=np.uint64)
    if mesh.n_faces > 1 or len(units.slopes) <= _MANY_UNITS:
        crossings = find_crossings(mesh, values, units.tolerance, bits, threads, watch)
        mesh, crossings, bits = limit.crop(mesh, crossings, bits)
        return values, subdivide(mesh, crossings, bits, units, closeness, threads, keep_births, with_kinks, watch)
    first = np.arange(len(units.slopes)) < _FIRST_CUT
    crossings = find_crossings(mesh, values, np.where(first, units.tolerance, np.inf), bits, threads, watch)
    coarse = subdivide(mesh, crossings, bits, units, closeness, threads, True, False, watch)
    values = Values(values.older, coarse.births).at_all_vertices(threads)
    mesh, bits = coarse.mesh, coarse.bits
    crossings = find_crossings(mesh, values, np.where(first, np.inf, units.tolerance), bits, threads, watch)
    mesh, crossings, bits = limit.crop(mesh, crossings, bits)
    cut = subdivide(mesh, crossings, bits, units, closeness, threads, keep_births, with_kinks, watch)
    return values, cut._replace(parents=coarse.parents[cut.parents])
