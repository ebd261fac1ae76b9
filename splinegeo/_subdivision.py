"""One subdivision of a mesh by the units that cross its faces: edges are cut, then faces are split along chords."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, UInt64

from splinegeo._chunks import Watch, chunk_bounds, run_chunks, running_sum
from splinegeo._crossings import Births, Crossings
from splinegeo._edges import (
    Cuts,
    count_edge_crossings,
    cut_edges,
    fill_edge_crossings,
    place_vertices,
    record_edge_births,
)
from splinegeo._faces import Offspring, Slots, split_faces
from splinegeo._loops import count_splits
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

    n_chords = np.zeros(mesh.n_faces, dtype=np.int64)
    n_meetings = np.zeros(mesh.n_faces, dtype=np.int64)
    face_chunks = chunk_bounds(mesh.offsets + crossings.value_start, threads)
    face_arrays = (mesh.vertices, mesh.offsets, mesh.corners, mesh.sides)
    run_chunks(
        lambda a, b: count_splits(
            *face_arrays, crossings, cuts, edge_points, edge_parameters, a, b, n_chords, n_meetings
        ),
        face_chunks,
        threads,
    )

    slots, offspring, births, used = _split(
        mesh, crossings, cuts, bits, units, closeness, edge_points, edge_parameters, n_chords, n_meetings,
        keep_births, with_kinks, threads, watch,
    )  # fmt: skip
    run_chunks(
        lambda a, b: cut_edges(
            mesh.edges, mesh.edge_labels, cuts, a, b, len(mesh.vertices), offspring.edges, offspring.edge_labels
        ),
        chunk_bounds(np.arange(len(mesh.edges) + 1), threads),
        threads,
    )
    if keep_births:
        run_chunks(lambda a, b: record_edge_births(mesh.edges, cuts, units.slopes, a, b, births), edge_chunks, threads)
    return _collect(mesh, slots, used, offspring, births)


def _split(
    mesh: Mesh,
    crossings: Crossings,
    cuts: Cuts,
    bits: np.ndarray,
    units: Units,
    closeness: float,
    edge_points: np.ndarray,
    edge_parameters: np.ndarray,
    n_chords: np.ndarray,
    n_meetings: np.ndarray,
    keep_births: bool,
    with_kinks: bool,
    threads: int,
    watch: Watch,
) -> tuple[Slots, Offspring, Births, np.ndarray]:
    """Split the faces, with room for so many meetings of chords in each, or for twice as many where that was too
    little.
    """
    watch.start(f"stage {units.stage + 1}", mesh.n_faces)
    slots = _slots(mesh, cuts, n_chords, n_meetings, keep_births and with_kinks)
    offspring = _allocate(mesh, slots, bits.shape[1], edge_points)
    births = _allocate_births(cuts, slots, edge_parameters, keep_births, with_kinks)
    used = np.zeros((mesh.n_faces, 4), dtype=np.int64)
    overflows = run_chunks(
        lambda a, b: split_faces(
            mesh.vertices, mesh.offsets, mesh.corners, mesh.sides, bits, crossings, cuts, births, edge_parameters,
            units.slopes, units.tolerance, closeness, units.stage, slots, a, b, offspring, used,
        ),
        chunk_bounds(mesh.offsets + crossings.value_start, threads),
        threads,
        watch,
    )  # fmt: skip
    if max(overflows) < 0:
        return slots, offspring, births, used
    return _split(
        mesh, crossings, cuts, bits, units, closeness, edge_points, edge_parameters, n_chords,
        2 * np.maximum(n_meetings, 1), keep_births, with_kinks, threads, watch,
    )  # fmt: skip


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


def _slots(mesh: Mesh, cuts: Cuts, n_chords: np.ndarray, n_meetings: np.ndarray, with_kinks: bool) -> Slots:
    """By Euler's formula, k chords with c meetings make k + 2c edges and 1 + k + c faces inside a face."""
    edge_new = np.diff(cuts.first_vertex)
    loop_lengths = np.diff(mesh.offsets) + np.add.reduceat(edge_new[mesh.sides >> 1], mesh.offsets[:-1])
    n_edges = n_chords + 2 * n_meetings
    kinks = n_meetings * np.maximum(n_chords - 1, 0) if with_kinks else np.zeros_like(n_meetings)
    n_edge_kinks = int((np.diff(cuts.start) * edge_new).sum()) if with_kinks else 0
    return Slots(
        vertex=cuts.first_vertex[-1] + running_sum(n_meetings),
        edge=len(mesh.edges) + cuts.first_vertex[-1] + running_sum(n_edges),
        face=running_sum(1 + n_chords + n_meetings),
        corner=running_sum(loop_lengths + 2 * n_edges),
        kink=n_edge_kinks + running_sum(kinks),
    )


def _allocate(mesh: Mesh, slots: Slots, words: int, edge_points: np.ndarray) -> Offspring:
    vertices = np.empty((slots.vertex[-1], 2))
    vertices[: len(edge_points)] = edge_points
    return Offspring(
        vertices=vertices,
        edges=np.empty((slots.edge[-1], 2), dtype=np.int32),
        edge_labels=np.empty((slots.edge[-1], 2), dtype=np.int32),
        edge_faces=np.full((slots.edge[-1], 2), -1, dtype=np.int32),
        face_ends=np.empty(slots.face[-1], dtype=np.int64),
        face_parents=np.empty(slots.face[-1], dtype=np.int32),
        corners=np.empty(slots.corner[-1], dtype=np.int32),
        sides=np.empty(slots.corner[-1], dtype=np.int32),
        bits=np.empty((slots.face[-1], words), dtype=np.uint64),
    )


def _allocate_births(
    cuts: Cuts, slots: Slots, edge_parameters: np.ndarray, keep_births: bool, with_kinks: bool
) -> Births:
    n = int(slots.vertex[-1]) if keep_births else 0
    births = Births(
        ends=np.empty((n, 2), dtype=np.int32),
        parameter=np.empty(n),
        kink_start=np.empty(n, dtype=np.int64),
        kink_count=np.zeros(n, dtype=np.int32),
        kink_unit=np.empty(int(slots.kink[-1]) if keep_births else 0, dtype=np.int32),
        kink=np.empty(int(slots.kink[-1]) if keep_births else 0),
    )
    if keep_births:
        edge_born = len(edge_parameters)
        births.parameter[:edge_born] = edge_parameters
        if with_kinks:
            counts = np.repeat(np.diff(cuts.start), np.diff(cuts.first_vertex))
            births.kink_count[:edge_born] = counts
            births.kink_start[:edge_born] = running_sum(counts)[:-1]
    return births


def _collect(mesh: Mesh, slots: Slots, used: np.ndarray, offspring: Offspring, births: Births) -> Subdivision:
    """The subdivision without the slots that coincident crossings left empty."""
    n_older = len(mesh.vertices)
    vertices, edges, edge_labels, edge_faces = (
        offspring.vertices,
        offspring.edges,
        offspring.edge_labels,
        offspring.edge_faces,
    )
    corners, sides, ends, parents, bits = (
        offspring.corners, offspring.sides, offspring.face_ends, offspring.face_parents, offspring.bits,
    )  # fmt: skip
    room = np.stack([np.diff(slots.vertex), np.diff(slots.edge), np.diff(slots.face), np.diff(slots.corner)], axis=1)
    if not np.array_equal(used, room):
        vertex_kept = _filled(slots.vertex, used[:, 0])
        edge_kept = _filled(slots.edge, used[:, 1])
        face_kept = _filled(slots.face, used[:, 2])
        corner_kept = _filled(slots.corner, used[:, 3])
        new_vertex = np.concatenate([np.arange(n_older), n_older + np.cumsum(vertex_kept) - 1]).astype(np.int32)
        new_edge = (np.cumsum(edge_kept) - 1).astype(np.int32)
        new_face = np.append(np.cumsum(face_kept) - 1, -1).astype(
            np.int32
        )  # the last entry maps -1, outside, to itself
        vertices = vertices[vertex_kept]
        edges, edge_labels = new_vertex[edges[edge_kept]], edge_labels[edge_kept]
        edge_faces = new_face[edge_faces[edge_kept]]
        corners, sides = new_vertex[corners[corner_kept]], sides[corner_kept]
        sides = 2 * new_edge[sides >> 1] + (sides & 1)
        lengths_end = np.cumsum(corner_kept)
        ends, parents, bits = lengths_end[ends[face_kept] - 1], parents[face_kept], bits[face_kept]
        if len(births.ends):
            births = births._replace(
                ends=new_vertex[births.ends[vertex_kept]],
                parameter=births.parameter[vertex_kept],
                kink_start=births.kink_start[vertex_kept],
                kink_count=births.kink_count[vertex_kept],
            )
    finer = Mesh(
        vertices=np.concatenate([mesh.vertices, vertices]),
        edges=edges,
        edge_faces=edge_faces,
        edge_labels=edge_labels,
        offsets=np.concatenate([[0], ends]),
        corners=corners,
        sides=sides,
    )
    return Subdivision(finer, parents, bits, births, parents)


def _filled(start: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Mask over all slots (and everything before the first one): which are in use."""
    room = np.diff(start)
    place = np.arange(start[0], start[-1]) - np.repeat(start[:-1], room)
    return np.concatenate([np.ones(int(start[0]), dtype=bool), place < np.repeat(used, room)])
