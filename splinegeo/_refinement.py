"""A mesh on its way through a network's stages: each step cuts its faces by the zero sets of one stage's units."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64, Int32, UInt64

from splinegeo._bits import n_words, pack, unpack
from splinegeo._chunks import Watch, one_blas_thread, run_chunks
from splinegeo._crossings import Crossings
from splinegeo._joining import join_faces, joined_faces
from splinegeo._subdivision import Subdivision, Units, subdivide
from splinegeo._values import Values, find_crossings
from splinegeo.affine import AffineMap
from splinegeo.mesh import Mesh
from splinegeo.partition import Partition
from splinegeo.slice import Slice
from splinegeo.stages import Network, Stage
from splinegeo.tolerance import CLOSENESS, TOLERANCE, unit_tolerance

# A face crossed by many units is first cut by a few of them, so that its parts see few units each.
_FIRST_CUT = 16
_MANY_UNITS = 64
# Rows of one matrix product, so that its temporaries stay small.
_ROWS_PER_PRODUCT = 1024


@dataclass
class Limit:
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
        return mesh.faces(0, n), cropped, bits[:n]


@dataclass(frozen=True, eq=False)
class Refinement:
    """The faces after the first `index` stages, and the next stage's values at their vertices.

    `reach` bounds the norm of the next stage's inputs; `noise` is the norm of values whose rounding errors they carry.
    """

    network: Network
    closeness: float
    threads: int
    index: int
    mesh: Mesh
    values: Values
    reach: float
    noise: float
    parents: tuple[Int32[np.ndarray, " F"], ...] = field(default=())
    bits: tuple[UInt64[np.ndarray, "F words"], ...] = field(default=())

    @classmethod
    def start(cls, network: Network, plane: Slice, polygon: Float64[np.ndarray, "k 2"], threads: int) -> "Refinement":
        """One face, the domain."""
        inputs = plane.origin + polygon @ plane.basis
        diameter = float(np.linalg.norm(polygon[:, None] - polygon[None, :], axis=-1).max())
        first = network.stages[0].affine if network.stages else network.output
        reach = float(np.linalg.norm(inputs, axis=1).max())
        closeness = CLOSENESS * TOLERANCE * diameter
        return cls(network, closeness, threads, 0, Mesh.from_polygon(polygon), Values(first(inputs)), reach, 0.0)

    @property
    def finished(self) -> bool:
        """Whether all stages have cut."""
        return self.index == len(self.network.stages)

    def advance(self, limit: Limit, watch: Watch) -> "Refinement":
        """The faces after one more stage."""
        stages = self.network.stages
        stage = stages[self.index]
        following = stages[self.index + 1].affine if self.index + 1 < len(stages) else None
        tolerance, noise = unit_tolerance(stage, self.reach, self.noise)
        units = Units(self.index, stage.slopes, tolerance)
        values, cut = _cut(self.mesh, self.values, units, self.closeness, self.threads, following, limit, watch)
        parents, bits = (*self.parents, cut.parents), (*self.bits, cut.bits)
        for group in self.network.groups:
            if self.index == group[-1]:
                cut, parents, bits = _join_group(self.network, group, cut, parents, bits)
        reach = self.reach
        if following is not None:
            spare = values is not self.values
            values, reach = _next_values(values, stage, following, cut, self.threads, spare)
        return replace(
            self,
            index=self.index + 1,
            mesh=cut.mesh,
            values=values,
            reach=reach,
            noise=noise,
            parents=parents,
            bits=bits,
        )

    def part(self, begin: int, end: int) -> "Refinement":
        """The faces begin..end alone."""
        mesh = self.mesh.faces(begin, end)
        values = self.values
        if not self.finished:
            values = Values(values.at_all_vertices(self.threads).older[mesh.is_used])
        parents, bits = list(self.parents), list(self.bits)
        for i in range(self.index - 1, -1, -1):
            bits[i] = bits[i][begin:end]
            of_part = parents[i][begin:end]
            begin, end = int(of_part[0]), int(of_part[-1]) + 1
            parents[i] = of_part - np.int32(begin)
        return replace(self, mesh=mesh.used_vertices(), values=values, parents=tuple(parents), bits=tuple(bits))

    def partition(self, plane: Slice, polygon: Float64[np.ndarray, "k 2"], complete: bool) -> Partition:
        """The finished faces as a partition."""
        mesh = _of_layers(self.mesh.used_vertices(), self.network)
        return Partition(self.network, plane, polygon, mesh, self.parents, self.bits, complete)


def _join_group(
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
    cut = cut._replace(mesh=join_faces(cut.mesh, joined), parents=themselves, bits=joined_bits[-1], family=None)
    return cut, (*parents[: group[0]], *joined_parents), (*bits[: group[0]], *joined_bits)


def _of_layers(mesh: Mesh, network: Network) -> Mesh:
    """The mesh with edges labelled by the user's layers and their units in place of stages and their coordinates."""
    if all(
        stage.layer == i and np.array_equal(stage.layer_unit, np.arange(stage.n_units))
        for i, stage in enumerate(network.stages)
    ):
        return mesh
    labels = mesh.edge_labels.copy()
    for index, stage in enumerate(network.stages):
        of_stage = mesh.edge_labels[:, 0] == index
        labels[of_stage, 0] = stage.layer
        labels[of_stage, 1] = stage.layer_unit[mesh.edge_labels[of_stage, 1]]
    return replace(mesh, edge_labels=labels)


def _next_values(
    values: Values, stage: Stage, affine: AffineMap, cut: Subdivision, threads: int, spare: bool
) -> tuple[Values, float]:
    """Values of the next stage, and a bound of the norm of its inputs over the domain.

    On each face |h| <= max(1, |slope|) |y|, and |y| is convex there, so its maximum is at a vertex that is older than
    the face's cut. The matrix product is needed at these older vertices only.
    """
    steepest = max(1.0, float(np.abs(stage.slopes).max(initial=0.0)))
    y = values.older
    reach = float(np.sqrt(np.einsum("ij,ij->i", y, y).max())) * steepest
    if affine.columns is None:
        y = Values(y, cut.births).at_all_vertices(threads).older
        spare = True
    following = y if spare and affine.n_outputs == y.shape[1] else np.empty((len(y), affine.n_outputs))

    def product(begin: int, end: int) -> None:
        following[begin:end] = affine(stage.activate(y[begin:end]))

    # The same products whatever the threads: their rounding depends on their size.
    tiles = [(a, min(a + _ROWS_PER_PRODUCT, len(y))) for a in range(0, len(y), _ROWS_PER_PRODUCT)]
    if affine.columns is None:
        run_chunks(product, tiles, threads=1)
        return Values(following), reach
    with one_blas_thread():
        run_chunks(product, tiles, threads)
    return Values(following, cut.births, affine.columns, cut.family), reach


def _cut(
    mesh: Mesh,
    values: Values,
    units: Units,
    closeness: float,
    threads: int,
    following: AffineMap | None,
    limit: Limit,
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
