"""A mesh on its way through a network's stages: each step cuts its faces by the zero sets of one stage's units."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt64

from splinegeo._bits import pack
from splinegeo._blas_threads import one_blas_thread
from splinegeo._chunks import Watch, run_chunks
from splinegeo._cutting import Begun, Limit, begin_cut, crossings_to_come, cut_by_stage
from splinegeo._freed_memory import give_back_freed_memory
from splinegeo._gathering import values_of_faces
from splinegeo._groups import join_group
from splinegeo._products import multiply_activated, product_tiles
from splinegeo._restricted_parts import restricted_to_part
from splinegeo._rows import empty_rows
from splinegeo._subdivision import Subdivision, Units
from splinegeo._values import Values
from splinegeo.affine import Affine
from splinegeo.mesh import Mesh
from splinegeo.partition import Partition
from splinegeo.region_maps import first_affine
from splinegeo.restriction import Restriction, has_operators
from splinegeo.slice import Slice
from splinegeo.stages import Network, Stage
from splinegeo.tolerance import merging_distance, noise_of_outputs, unit_tolerance

# So many products keep a thread busy for longer than it takes to wake it.
_MANY_PRODUCTS = 1 << 22


@dataclass(frozen=True, eq=False)
class Refinement:
    """The faces after the first `index` stages, and the next stage's values at their vertices: as rows, or, where
    affine maps are too large to be held, as functions of the few units that have cut; there None stands for those that
    have not been computed yet, of a part of the faces.

    `sizes` bound the next stage's inputs; `noise` are the sizes of the values whose rounding errors they carry.
    """

    network: Network
    plane: Slice
    closeness: float
    threads: int
    index: int
    mesh: Mesh
    values: Values | Restriction | None
    sizes: Float64[np.ndarray, " m"]
    noise: Float64[np.ndarray, " m"]
    parents: tuple[Int32[np.ndarray, " F"], ...] = field(default=())
    bits: tuple[UInt64[np.ndarray, "F words"], ...] = field(default=())
    begun: Begun | None = None
    """What some units of the next stage have done already, if they have."""
    n_shared: int = 0
    """Stages whose bits are those of a larger refinement that this is a part of, and take no memory of their own."""
    room: int | None = None
    """Bytes that work arrays of a restriction are to take; None: as many as are fast."""

    @classmethod
    def start(cls, network: Network, plane: Slice, polygon: Float64[np.ndarray, "k 2"], threads: int) -> "Refinement":
        """One face, the domain."""
        inputs = plane.origin + polygon @ plane.basis
        sizes, noise = np.abs(inputs).max(axis=0), np.zeros(inputs.shape[1])
        mesh = Mesh.from_polygon(polygon)
        operators = has_operators(network)
        values = Restriction.start(network, plane) if operators else Values(first_affine(network)(inputs))
        return cls(network, plane, merging_distance(polygon), threads, 0, mesh, values, sizes, noise)

    @property
    def is_restricted(self) -> bool:
        """Whether only the units that change sign on the domain are followed: those of a convolutional network."""
        return not isinstance(self.values, Values)

    @property
    def finished(self) -> bool:
        """Whether all stages have cut."""
        return self.index == len(self.network.stages)

    @property
    def families(self) -> Int32[np.ndarray, " F"] | None:
        """While the rounds of a max pooling cut: the face before them that each face came from, as the last of them
        joins faces of one family. Else None.
        """
        for group in self.network.groups:
            if self.index in group:
                ancestors = np.arange(self.mesh.n_faces, dtype=np.int32)
                for parents in reversed(self.parents[group[0] : self.index]):
                    ancestors = parents[ancestors]
                return ancestors
        return None

    def advance(self, limit: Limit, watch: Watch) -> "Refinement":
        """The faces after one more stage."""
        if self.is_restricted:
            return self.with_columns(watch)._advanced(limit, watch)
        with one_blas_thread():
            return self._advanced(limit, watch)

    def _advanced(self, limit: Limit, watch: Watch) -> "Refinement":
        stages = self.network.stages
        stage = stages[self.index]
        following = stages[self.index + 1].affine if self.index + 1 < len(stages) else None
        units, noise = self._units_and_noise()
        if self.room is not None:
            give_back_freed_memory()
        limit.families = self.families
        values, sizes, highest = self.values, self.sizes, np.full(stage.n_units, np.inf)
        if isinstance(values, Restriction):
            values, cut, sizes, highest = _cut_restricted(
                self.mesh, values, units, self.closeness, self.threads, limit, watch
            )
            if following is None:
                values = values.pushed(watch)
        elif values is None:
            raise TypeError("the columns of this stage are not held")
        else:
            values, cut = cut_by_stage(
                self.mesh, values, units, self.closeness, self.threads, following is not None, limit, watch, self.begun
            )
        parents, bits = (*self.parents, cut.parents), (*self.bits, cut.bits)
        for group in self.network.groups:
            if self.index == group[-1]:
                cut, parents, bits = join_group(self.network, group, cut, parents, bits)
        if isinstance(following, Affine) and isinstance(values, Values):
            spare = values is not self.values
            values, sizes, highest = _next_values(values, stage, following, cut, self.threads, spare)
        elif isinstance(values, Values):
            values = Values(np.empty((0, 0)))  # those of the last stage have served
        return replace(
            self,
            index=self.index + 1,
            mesh=cut.mesh,
            values=values,
            sizes=sizes,
            noise=noise_of_outputs(stage, noise, units.tolerance, highest),
            parents=parents,
            bits=bits,
            begun=None,
        )

    def _units_and_noise(self) -> tuple[Units, Float64[np.ndarray, " n"]]:
        stage = self.network.stages[self.index]
        tolerance, noise = unit_tolerance(stage, self.sizes, self.noise)
        return Units(self.index, stage.slopes, tolerance), noise

    def with_columns(self, watch: Watch) -> "Refinement":
        """The same with the next stage's values as functions of the units that have cut, where these are followed."""
        values = self.values
        if values is None:
            values = restricted_to_part(self.network, self.plane, self.mesh, self.parents, self.bits, self.room, watch)
        if isinstance(values, Restriction) and values.is_behind:
            values = values.pushed(watch)
        return self if values is self.values else replace(self, values=values)

    def without_columns(self) -> "Refinement":
        """The same without these functions, which are computed anew for each part."""
        return replace(self, values=None)

    def within(self, room: int) -> "Refinement":
        """The same with work arrays of so many bytes, about."""
        values = replace(self.values, room=room) if isinstance(self.values, Restriction) else self.values
        return replace(self, values=values, room=room)

    @property
    def can_begin(self) -> bool:
        """Whether the next stage may cut by some of its units first: not where comparisons are joined afterwards."""
        in_group = any(self.index in group for group in self.network.groups)
        return not self.finished and isinstance(self.values, Values) and not in_group

    def crossings_to_come(self, watch: Watch) -> Int64[np.ndarray, " F"]:
        """How many units of the next stage cross each face and have not cut it."""
        return crossings_to_come(self.mesh, *self._values_and_units(), self.begun, self.threads, watch).counts

    def begin_stage(self, watch: Watch) -> "Refinement":
        """The faces after a few units of the next stage that cross them: the others are left to `advance`."""
        values, units = self._values_and_units()
        mesh, values, begun = begin_cut(self.mesh, values, units, self.begun, self.closeness, self.threads, watch)
        return replace(self, mesh=mesh, values=values, begun=begun)

    def _values_and_units(self) -> tuple[Values, Units]:
        units = self._units_and_noise()[0]
        if isinstance(self.values, Values):
            return self.values, units
        if self.values is None or self.values.is_behind:
            raise TypeError("the columns of this stage are not held")
        found = self.values.undecided(self.mesh.vertices, units.tolerance)
        return Values(found.values), Units(units.stage, units.slopes[found.units], units.tolerance[found.units])

    def part(self, begin: int, end: int) -> "Refinement":
        """The faces begin..end alone."""
        mesh = self.mesh.faces(begin, end)
        values = self.values
        if not self.finished and isinstance(values, Values):
            values = values_of_faces(values, self.mesh, begin, end)
        parents, bits, begun = list(self.parents), list(self.bits), self.begun
        if begun is not None:
            before, begun = begun.parents[begin:end], begun.part(begin, end)
            begin, end = int(before[0]), int(before[-1]) + 1
        for i in range(self.index - 1, -1, -1):
            bits[i] = bits[i][begin:end]
            of_part = parents[i][begin:end]
            begin, end = int(of_part[0]), int(of_part[-1]) + 1
            parents[i] = of_part - np.int32(begin)
        return replace(
            self,
            mesh=mesh.used_vertices(),
            values=values,
            parents=tuple(parents),
            bits=tuple(bits),
            begun=begun,
            n_shared=self.index,
        )

    def partition(self, plane: Slice, polygon: Float64[np.ndarray, "k 2"], complete: bool) -> Partition:
        """The finished faces as a partition."""
        leaves_out = not complete or self.network.groups  # faces beyond a limit, or edges between joined ones
        mesh = _of_layers(self.mesh.used_vertices() if leaves_out else self.mesh, self.network)
        bits = self.bits if complete else tuple(map(_own, self.bits))
        partition = Partition(self.network, plane, polygon, mesh, self.parents, bits, complete)
        if isinstance(self.values, Restriction):
            vars(partition)["restriction"] = self.values  # what the partition would compute when first asked
        return partition


def _own(array: np.ndarray) -> np.ndarray:
    """The array, or a copy of a part of a larger one, which would keep all of that in memory."""
    return array if array.base is None or array.base.nbytes == array.nbytes else array.copy()


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
    values: Values, stage: Stage, affine: Affine, cut: Subdivision, threads: int, spare: bool
) -> tuple[Values, Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Values of the next stage, the largest sizes of its inputs on the domain, and this stage's highest values there.

    On each face an output's size |h| is convex, so its maximum is at a vertex that is older than the face's cut. (The
    size of y would bound it, too, but a dead unit's bias would count: units that differ would be taken for equal.) The
    matrix product is needed at these older vertices only.
    """
    y = values.older
    following = y if spare and affine.n_outputs == y.shape[1] else empty_rows(len(y), affine.n_outputs)
    found = run_chunks(
        lambda a, b: multiply_activated(stage, affine, y[a:b], following[a:b]),
        product_tiles(len(y)),
        threads if y.size * affine.n_outputs >= _MANY_PRODUCTS else 1,
    )
    sizes, highest = np.max(found, axis=0)
    return Values(following, cut.births, affine.columns, cut.family), sizes, highest


def _cut_restricted(
    mesh: Mesh,
    restriction: Restriction,
    units: Units,
    closeness: float,
    threads: int,
    limit: Limit,
    watch: Watch,
) -> tuple[Restriction, Subdivision, Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Cut the mesh by those units of a stage that are positive on a part of it; returns the restriction with these
    noted, the largest sizes of the stage's outputs, and the units' highest values, too.
    """
    mesh = mesh.used_vertices()  # a limit has left out faces
    found = restriction.undecided(mesh.vertices, units.tolerance)
    crossing = Units(units.stage, units.slopes[found.units], units.tolerance[found.units])
    _, cut = cut_by_stage(mesh, Values(found.values), crossing, closeness, threads, False, limit, watch)
    past_zero = np.where(found.active[found.units], -found.values.min(axis=0), found.values.max(axis=0))
    reach = np.maximum(past_zero, 0.0)
    restriction = restriction.noted(found.units, found.active, reach)
    cut = _of_all_units(cut, units.stage, found.units, found.active)
    return restriction, cut, found.sizes, found.highest


def _of_all_units(
    cut: Subdivision, stage: int, units: Int64[np.ndarray, " k"], active: Bool[np.ndarray, " n"]
) -> Subdivision:
    """A subdivision by some units of a stage, with labels and bits as if all had been there."""
    labels = cut.mesh.edge_labels.copy()
    of_stage = labels[:, 0] == stage
    labels[of_stage, 1] = units[labels[of_stage, 1]]
    decided = active.copy()
    decided[units] = False
    bits = np.repeat(pack(decided[None]), cut.mesh.n_faces, axis=0)
    for i, unit in enumerate(units):
        of_unit = cut.bits[:, i >> 6] >> np.uint64(i & 63) & np.uint64(1)
        bits[:, unit >> 6] |= of_unit << np.uint64(unit & 63)
    return cut._replace(mesh=replace(cut.mesh, edge_labels=labels), bits=bits)
