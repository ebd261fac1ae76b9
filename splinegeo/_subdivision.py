"""One subdivision of a mesh by the units that cross its faces: edges are cut, then faces are split along chords."""

import threading
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt64

from splinegeo._chunks import Watch, chunk_bounds, even_chunks, joined, run_chunks, running_sum
from splinegeo._crossings import Births, Crossings
from splinegeo._edges import Cuts, count_edge_crossings, count_edge_kinks, cut_edges, fill_edge_crossings
from splinegeo._faces import Offspring, Room, split_faces
from splinegeo._gaps import ChunkRooms, give_back_room
from splinegeo._loops import count_room, count_values, loop_for
from splinegeo._rows import empty_arrays
from splinegeo.mesh import Mesh

# What cutting an edge weighs, in items of the loops over faces.
_EDGE_WEIGHT = 8


class Units(NamedTuple):
    """What a subdivision must know of the stage whose units cut the mesh."""

    stage: int
    slopes: Float64[np.ndarray, " n"]
    tolerance: Float64[np.ndarray, " n"]


class Subdivision(NamedTuple):
    """The finer mesh, its faces' parents and pattern words, and the births of its new vertices.

    `family` numbers the faces by the face that this very subdivision cut them from, None where faces have been joined
    since; `parents` may reach further back.
    """

    mesh: Mesh
    parents: Int32[np.ndarray, " F"]
    bits: UInt64[np.ndarray, "F words"]
    births: Births
    family: Int32[np.ndarray, " F"] | None


def subdivide(
    mesh: Mesh,
    crossings: Crossings,
    bits: UInt64[np.ndarray, "F words"],
    units: Units,
    closeness: float,
    threads: int,
    keep_births: bool,
    with_kinks: bool,
    watch: Watch,
) -> Subdivision:
    """Split every face along its crossing units.

    `closeness` is the distance below which crossings of one edge share a vertex; `bits` are the faces' pattern words
    with every unit set that is positive somewhere in the face. Births are kept where a later stage needs them; with
    kinks where the values to interpolate are those of the next stage, whose map changes where a unit of this one
    changes sign.
    """
    cuts = _cut(mesh, crossings, units, closeness, threads)
    work = _Work(mesh, crossings, cuts, bits, units, closeness, keep_births, with_kinks, threads, watch)
    generosity, parts = 1, None
    while parts is None:  # what a failed attempt wrote is gone before the next one
        parts = work.split(generosity)
        generosity *= 2
    offspring, births = parts
    finer = Mesh(
        vertices=joined([mesh.vertices, offspring.vertices], threads),
        edges=offspring.edges,
        edge_faces=offspring.edge_faces,
        edge_labels=offspring.edge_labels,
        offsets=joined([mesh.offsets[:1], offspring.face_ends], threads),
        corners=offspring.corners,
        sides=offspring.sides,
    )
    return Subdivision(finer, offspring.face_parents, offspring.bits, births, offspring.face_parents)


class _Work(NamedTuple):
    """What a subdivision reads, and what it is to keep."""

    mesh: Mesh
    crossings: Crossings
    cuts: Cuts
    bits: UInt64[np.ndarray, "F words"]
    units: Units
    closeness: float
    keep_births: bool
    with_kinks: bool
    threads: int
    watch: Watch

    def split(self, generosity: int) -> tuple[Offspring, Births] | None:
        """Split the faces, chunk by chunk; None where chords meet more often than there is room for."""
        mesh, crossings, cuts, units, threads = self.mesh, self.crossings, self.cuts, self.units, self.threads
        n_crossing = np.diff(crossings.start)
        chunks = chunk_bounds(mesh.offsets + crossings.value_start + 2 * running_sum(n_crossing**2), threads)
        needs = np.array(
            run_chunks(
                lambda a, b: count_room(mesh.offsets, mesh.sides, crossings, cuts, generosity, a, b), chunks, threads
            ),
            dtype=np.int64,
        )
        n_kinds = len(Room._fields)
        largest = {begin: sizes for (begin, _), sizes in zip(chunks, needs[:, n_kinds:].tolist(), strict=True)}
        n_values = max(count_values(corners, k, generosity) for corners, k in largest.values())
        first, offspring, births, edge_parameters = self._cut_edges(needs[:, :n_kinds])
        rooms = ChunkRooms(offspring, births, first, needs[:, :n_kinds], len(mesh.vertices))
        number_of = {begin: i for i, (begin, _) in enumerate(chunks)}
        local = threading.local()

        def of_chunk(a: int, b: int) -> bool:
            room, room_end = rooms.begin(number_of[a])
            if not hasattr(local, "room"):
                local.room = np.empty(n_values)
            max_corners, max_units = largest[a]
            loop = loop_for(max_corners, max_units, generosity, local.room)
            fits, filled = split_faces(
                mesh.vertices, mesh.offsets, mesh.corners, mesh.sides, self.bits, crossings, cuts, births,
                edge_parameters, units.slopes, units.tolerance, self.closeness, units.stage, a, b, room, room_end,
                offspring, loop,
            )  # fmt: skip
            rooms.finish(number_of[a], Room(*filled))
            return fits

        self.watch.start(f"stage {units.stage + 1}", mesh.n_faces)
        if not all(run_chunks(of_chunk, chunks, threads, self.watch)):
            return None
        if threads > 1 and len(chunks) > 1:
            give_back_room(offspring, births, rooms.end)
        return _filled(offspring, births, rooms.end)

    def _cut_edges(self, needs: Int64[np.ndarray, "chunks kinds"]) -> tuple[Room, Offspring, Births, np.ndarray]:
        """The pieces of all edges, in room for the parts of the faces, too; where the faces' begins, and the parameters
        of the vertices born on edges.
        """
        mesh, cuts, slopes, threads = self.mesh, self.cuts, self.units.slopes, self.threads
        chunks = even_chunks(len(mesh.edges), _EDGE_WEIGHT, threads)
        kinks = [0] * (len(chunks) + 1)
        if self.with_kinks:
            counts = run_chunks(lambda a, b: count_edge_kinks(cuts, a, b), chunks, threads)
            kinks = running_sum(np.array(counts, dtype=np.int64)).tolist()
        n_born = int(cuts.first_vertex[-1])
        first = Room(n_born, len(mesh.edges) + n_born, 0, 0, kinks[-1])
        end = Room(*(needs.sum(axis=0) + first).tolist())
        offspring, births = _allocate(end, self.bits.shape[1], n_born, self.keep_births, self.with_kinks)
        parameters = births.parameter if self.keep_births else np.empty(n_born)
        kink_of = {begin: kink for (begin, _), kink in zip(chunks, kinks, strict=False)}
        run_chunks(
            lambda a, b: cut_edges(
                mesh.vertices, mesh.edges, mesh.edge_labels, cuts, a, b, slopes, kink_of[a], offspring, parameters,
                births,
            ),
            chunks,
            threads,
        )  # fmt: skip
        return first, offspring, births, parameters


def _filled(offspring: Offspring, births: Births, end: Room) -> tuple[Offspring, Births]:
    """The arrays up to where they are filled."""
    lengths = (end.vertex, end.edge, end.edge, end.edge, end.face, end.face, end.corner, end.corner, end.face)
    filled = Offspring(*(array[:n] for array, n in zip(offspring, lengths, strict=True)))
    ends, parameter, start, count = (array[: end.vertex] for array in births[:4])
    return filled, births._replace(ends=ends, parameter=parameter, kink_start=start, kink_count=count)


def _cut(mesh: Mesh, crossings: Crossings, units: Units, closeness: float, threads: int) -> Cuts:
    chunks = chunk_bounds(mesh.offsets + crossings.value_start, threads)
    counts = np.zeros(len(mesh.edges), dtype=np.int64)
    run_chunks(
        lambda a, b: count_edge_crossings(mesh.offsets, mesh.sides, mesh.edge_faces, crossings, a, b, counts),
        chunks,
        threads,
    )
    start = running_sum(counts)
    n = int(start[-1])
    unit, rank, parameter, value_a, value_b = empty_arrays(
        ((n,), np.int32), ((n,), np.int32), ((n,), np.float64), ((n,), np.float64), ((n,), np.float64)
    )
    cuts = Cuts(start, unit, parameter, rank, value_a, value_b, first_vertex=start)
    run_chunks(
        lambda a, b: fill_edge_crossings(
            mesh.vertices, mesh.edges, mesh.offsets, mesh.sides, mesh.edge_faces, crossings, units.tolerance, closeness,
            a, b, cuts, counts,
        ),
        chunks,
        threads,
    )  # fmt: skip
    return cuts._replace(first_vertex=running_sum(counts))


def _allocate(end: Room, words: int, n_on_edges: int, keep_births: bool, with_kinks: bool) -> tuple[Offspring, Births]:
    """Arrays with so much room; what is never written takes no memory. What lives as long lies together."""
    n = end.vertex if keep_births else 0
    n_kinks = end.kink if keep_births and with_kinks else 0
    vertices, ends, parameter, kink_start, kink_count, kink_unit, kink = empty_arrays(
        ((end.vertex, 2), np.float64), ((n, 2), np.int32), ((n,), np.float64), ((n,), np.int64), ((n,), np.int32),
        ((n_kinks,), np.int32), ((n_kinks,), np.float64),
    )  # fmt: skip
    edges, edge_labels, edge_faces, face_ends, corners, sides = empty_arrays(
        ((end.edge, 2), np.int32), ((end.edge, 2), np.int32), ((end.edge, 2), np.int32), ((end.face,), np.int64),
        ((end.corner,), np.int32), ((end.corner,), np.int32),
    )  # fmt: skip
    face_parents, bits = empty_arrays(((end.face,), np.int32), ((end.face, words), np.uint64))
    births = Births(ends, parameter, kink_start, kink_count, kink_unit, kink, n_on_edges)
    return Offspring(vertices, edges, edge_labels, edge_faces, face_ends, face_parents, corners, sides, bits), births
