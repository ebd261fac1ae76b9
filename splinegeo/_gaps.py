"""Closing the gaps that threads leave: each chunk of faces wrote its offspring into room of its own, often too much."""

from itertools import pairwise

import numpy as np
from numba import njit

from splinegeo._chunks import even_chunks, run_chunks
from splinegeo._crossings import Births
from splinegeo._faces import Offspring, Room
from splinegeo._kernel import kernel
from splinegeo._loops import bisect


def close_gaps(
    offspring: Offspring, births: Births, rooms: list[tuple[Room, Room]], n_older: int, threads: int
) -> tuple[Offspring, Births]:
    """Offspring and births without gaps, numbered anew, given the room that each chunk has filled, from and to.

    In place: each chunk moves down over what the one before has left, onto memory that is in use already. Kinks stay
    where they are: `Births` says where that is.
    """
    begin = np.array([chunk[0] for chunk in rooms], dtype=np.int64)
    end = np.array([chunk[1] for chunk in rooms], dtype=np.int64)
    gap = begin - begin[0] - np.vstack([np.zeros(5, np.int64), np.cumsum(end - begin, axis=0)[:-1]])
    first, last = Room(*begin[0].tolist()), Room(*(end[-1] - gap[-1]).tolist())
    if any(filled != following for (_, filled), (following, _) in pairwise(rooms)):
        face_begin, face_gap = np.ascontiguousarray(begin[:, 2]), np.ascontiguousarray(gap[:, 2])
        run_chunks(
            lambda a, b: _renumber_cut_edges(offspring.edge_faces, face_begin, face_gap, a, b),
            even_chunks(first.edge, 1, threads),
            threads,
        )
        places = [[Room(*row.tolist()) for row in rows] for rows in zip(begin[1:], end[1:], gap[1:], strict=True)]

        def move(array: int, _: int) -> None:
            for place in places:
                _MOVES[array](offspring, births, first, *place, n_older)

        run_chunks(move, [(i, i + 1) for i in range(len(_MOVES))], threads)
    lengths = (last.vertex, last.edge, last.edge, last.edge, last.face, last.face, last.corner, last.corner, last.face)
    closed = Offspring(*(array[:n] for array, n in zip(offspring, lengths, strict=True)))
    n_born = min(len(births.ends), last.vertex)
    ends, parameter, start, count = (array[:n_born] for array in births[:4])
    return closed, births._replace(ends=ends, parameter=parameter, kink_start=start, kink_count=count)


@kernel
def _renumber_cut_edges(faces, begin, gap, first, last):
    """The faces of the pieces of older edges, whose two sides may be of different chunks."""
    for edge in range(first, last):
        for i in range(2):
            face = faces[edge, i]
            chunk = bisect(begin, 0, begin.shape[0], face)
            faces[edge, i] = face - gap[chunk]  # the first chunk, and that of no face, -1, has no gap


@kernel
def _move_vertices(offspring, births, first, begin, end, gap, n_older):
    vertices = offspring.vertices
    first_born = n_older + first.vertex
    for v in range(begin.vertex, end.vertex):
        to = v - gap.vertex
        vertices[to, 0], vertices[to, 1] = vertices[v, 0], vertices[v, 1]
        if births.ends.shape[0] > 0:
            births.parameter[to] = births.parameter[v]
            births.kink_start[to] = births.kink_start[v]
            births.kink_count[to] = births.kink_count[v]
            for i in range(2):
                births.ends[to, i] = _closed(births.ends[v, i], first_born, gap.vertex)


@kernel
def _move_edges(offspring, births, first, begin, end, gap, n_older):
    edges, labels, faces = offspring.edges, offspring.edge_labels, offspring.edge_faces
    first_born = n_older + first.vertex
    for e in range(begin.edge, end.edge):
        to = e - gap.edge
        for i in range(2):
            edges[to, i] = _closed(edges[e, i], first_born, gap.vertex)
            labels[to, i] = labels[e, i]
            faces[to, i] = faces[e, i] - gap.face


@kernel
def _move_faces(offspring, births, first, begin, end, gap, n_older):
    ends, parents, bits = offspring.face_ends, offspring.face_parents, offspring.bits
    for f in range(begin.face, end.face):
        to = f - gap.face
        ends[to] = ends[f] - gap.corner
        parents[to] = parents[f]
        for w in range(bits.shape[1]):
            bits[to, w] = bits[f, w]


@kernel
def _move_corners(offspring, births, first, begin, end, gap, n_older):
    corners, sides = offspring.corners, offspring.sides
    first_born = n_older + first.vertex
    for c in range(begin.corner, end.corner):
        to = c - gap.corner
        side = sides[c]
        corners[to] = _closed(corners[c], first_born, gap.vertex)
        sides[to] = 2 * _closed(side >> 1, first.edge, gap.edge) + (side & 1)


_MOVES = (_move_edges, _move_corners, _move_faces, _move_vertices)


@njit(cache=True, inline="always")
def _closed(number, first, gap):
    """A number without the gap, if it is of this chunk's own: from `first` on."""
    return number - gap if number >= first else number
