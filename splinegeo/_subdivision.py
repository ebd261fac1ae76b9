"""One subdivision of a mesh by the units that cross its faces: edges are cut, then faces are split along chords."""

import threading
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, UInt64

from splinegeo._chunks import Watch, chunk_bounds, even_chunks, run_chunks, running_sum
from splinegeo._crossings import Births, Crossings
from splinegeo._edges import (
    Cuts,
    count_edge_crossings,
    cut_edges,
    fill_edge_crossings,
    place_vertices,
    record_edge_births,
)
from splinegeo._faces import Offspring, Room, split_faces
from splinegeo._gaps import close_gaps
from splinegeo._loops import count_room, count_values, loop_for
from splinegeo.mesh import Mesh


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
    n_edge_born = int(cuts.first_vertex[-1])
    edge_points = np.empty((n_edge_born, 2))
    edge_parameters = np.empty(n_edge_born)
    edge_chunks = chunk_bounds(cuts.start, threads)
    run_chunks(
        lambda a, b: place_vertices(mesh.vertices, mesh.edges, cuts, a, b, edge_points, edge_parameters),
        edge_chunks,
        threads,
    )

    rooms, offspring, births = _split(
        mesh, crossings, cuts, bits, units, closeness, edge_points, edge_parameters, keep_births, with_kinks, threads,
        watch,
    )  # fmt: skip
    run_chunks(
        lambda a, b: cut_edges(
            mesh.edges, mesh.edge_labels, cuts, a, b, len(mesh.vertices), offspring.edges, offspring.edge_labels
        ),
        even_chunks(len(mesh.edges), 1, threads),
        threads,
    )
    if keep_births:
        run_chunks(lambda a, b: record_edge_births(mesh.edges, cuts, units.slopes, a, b, births), edge_chunks, threads)
    offspring, births = close_gaps(offspring, births, rooms, len(mesh.vertices), threads)
    finer = Mesh(
        vertices=np.concatenate([mesh.vertices, offspring.vertices]),
        edges=offspring.edges,
        edge_faces=offspring.edge_faces,
        edge_labels=offspring.edge_labels,
        offsets=np.concatenate([[0], offspring.face_ends]),
        corners=offspring.corners,
        sides=offspring.sides,
    )
    return Subdivision(finer, offspring.face_parents, offspring.bits, births, offspring.face_parents)


def _split(
    mesh: Mesh,
    crossings: Crossings,
    cuts: Cuts,
    bits: np.ndarray,
    units: Units,
    closeness: float,
    edge_points: np.ndarray,
    edge_parameters: np.ndarray,
    keep_births: bool,
    with_kinks: bool,
    threads: int,
    watch: Watch,
    generosity: int = 1,
) -> tuple[list[tuple[Room, Room]], Offspring, Births]:
    """Split the faces, chunk by chunk; gives the room that each chunk has filled, from and to, and what is there.

    Chunks of one thread follow each other without gaps.
    """
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
    n_edge_born = len(edge_points)
    n_edge_kinks = int((np.diff(cuts.start) * np.diff(cuts.first_vertex)).sum()) if keep_births and with_kinks else 0
    start = np.array([n_edge_born, len(mesh.edges) + n_edge_born, 0, 0, n_edge_kinks])
    limits = np.vstack([start, start + np.cumsum(needs[:, :n_kinds], axis=0)])
    end = Room(*limits[-1].tolist())
    offspring = _allocate(end, bits.shape[1], edge_points, int(start[1]))
    births = _allocate_births(cuts, end, n_edge_kinks, edge_parameters, keep_births, with_kinks)
    room_of = {begin: Room(*limit.tolist()) for (begin, _), limit in zip(chunks, limits, strict=False)}
    first, next_room = room_of[0], room_of[0]
    work = threading.local()

    def of_chunk(a: int, b: int) -> tuple[bool, tuple[Room, Room]]:
        nonlocal next_room
        room, room_end = (next_room, end) if threads == 1 else (room_of[a], room_of.get(b, end))
        if not hasattr(work, "room"):
            work.room = np.empty(n_values)
        max_corners, max_units = largest[a]
        loop = loop_for(max_corners, max_units, generosity, work.room)
        fits, filled = split_faces(
            mesh.vertices, mesh.offsets, mesh.corners, mesh.sides, bits, crossings, cuts, births, edge_parameters,
            units.slopes, units.tolerance, closeness, units.stage, a, b, room, room_end, offspring, loop,
        )  # fmt: skip
        next_room = filled
        return fits, (room, filled)

    watch.start(f"stage {units.stage + 1}", mesh.n_faces)
    results = run_chunks(of_chunk, chunks, threads, watch)
    if not all(fits for fits, _ in results):
        return _split(
            mesh, crossings, cuts, bits, units, closeness, edge_points, edge_parameters, keep_births, with_kinks,
            threads, watch, 2 * generosity,
        )  # fmt: skip
    rooms = [filled for _, filled in results]
    return ([(first, next_room)] if threads == 1 else rooms), offspring, births


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
    cuts = Cuts(
        start=start,
        unit=np.empty(n, dtype=np.int32),
        parameter=np.empty(n),
        rank=np.empty(n, dtype=np.int32),
        value_a=np.empty(n),
        value_b=np.empty(n),
        first_vertex=start,
    )
    run_chunks(
        lambda a, b: fill_edge_crossings(
            mesh.vertices, mesh.edges, mesh.offsets, mesh.sides, mesh.edge_faces, crossings, units.tolerance, closeness,
            a, b, cuts, counts,
        ),
        chunks,
        threads,
    )  # fmt: skip
    return cuts._replace(first_vertex=running_sum(counts))


def _allocate(end: Room, words: int, edge_points: np.ndarray, n_cut_edges: int) -> Offspring:
    """Arrays with so much room; what is never written takes no memory."""
    vertices = np.empty((end.vertex, 2))
    vertices[: len(edge_points)] = edge_points
    edge_faces = np.empty((end.edge, 2), dtype=np.int32)
    edge_faces[:n_cut_edges] = -1
    return Offspring(
        vertices=vertices,
        edges=np.empty((end.edge, 2), dtype=np.int32),
        edge_labels=np.empty((end.edge, 2), dtype=np.int32),
        edge_faces=edge_faces,
        face_ends=np.empty(end.face, dtype=np.int64),
        face_parents=np.empty(end.face, dtype=np.int32),
        corners=np.empty(end.corner, dtype=np.int32),
        sides=np.empty(end.corner, dtype=np.int32),
        bits=np.empty((end.face, words), dtype=np.uint64),
    )


def _allocate_births(
    cuts: Cuts, end: Room, n_edge_kinks: int, edge_parameters: np.ndarray, keep_births: bool, with_kinks: bool
) -> Births:
    n = end.vertex if keep_births else 0
    n_kinks = end.kink if keep_births and with_kinks else 0
    births = Births(
        ends=np.empty((n, 2), dtype=np.int32),
        parameter=np.empty(n),
        kink_start=np.empty(n, dtype=np.int64),
        kink_count=np.zeros(n, dtype=np.int32),
        kink_unit=np.empty(n_kinks, dtype=np.int32),
        kink=np.empty(n_kinks),
        n_on_edges=len(edge_parameters),
    )
    if keep_births:
        edge_born = len(edge_parameters)
        births.parameter[:edge_born] = edge_parameters
        if with_kinks:
            counts = np.repeat(np.diff(cuts.start), np.diff(cuts.first_vertex))
            births.kink_count[:edge_born] = counts
            births.kink_start[:edge_born] = running_sum(counts)[:-1]
    return births
