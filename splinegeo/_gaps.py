"""Room for the offspring of chunks of faces on several threads, without gaps in the end.

How much a chunk needs is known when it is done, but the next one begins before: behind more room than the first can
need. As soon as all chunks before it are done, what a chunk has written moves down to their end, while it is in the
cache.
"""

import threading
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64
from numba import njit

from splinegeo._crossings import Births
from splinegeo._faces import Offspring, Room
from splinegeo._freed_memory import give_back_pages
from splinegeo._kernel import kernel

_MUCH = 1 << 24  # bytes


class ChunkRooms:
    """Gives room to chunks in their order, and closes the gaps between them; any thread may call it.

    `first` is where the first chunk begins, `needs` how much each chunk may need at most.
    """

    def __init__(
        self, offspring: Offspring, births: Births, first: Room, needs: Int64[np.ndarray, "chunks 5"], n_older: int
    ) -> None:
        self._arrays = offspring, births
        self._first = first
        self._needs = [Room(*row) for row in needs.tolist()]
        self._n_older = n_older
        self._begins: list[Room] = []
        self._ends: list[Room | None] = [None] * len(needs)
        self._n_closed = 0
        self._closing = False
        self._lock = threading.Lock()
        self.end = first
        """Where the offspring end of those chunks that have no gap before them: in the end, of all."""

    def begin(self, chunk: int) -> tuple[Room, Room]:
        """Where a chunk may write, from and to."""
        with self._lock:
            while len(self._begins) <= chunk:
                self._begins.append(self._behind(len(self._begins) - 1))
            begin = self._begins[chunk]
        return begin, _sum(begin, self._needs[chunk])

    def _behind(self, chunk: int) -> Room:
        if chunk < self._n_closed:
            return self.end
        return self._ends[chunk] or _sum(self._begins[chunk], self._needs[chunk])

    def finish(self, chunk: int, end: Room) -> None:
        """A chunk has written up to there."""
        with self._lock:
            self._ends[chunk] = end
            if self._closing:  # another thread, which will find this chunk
                return
            self._closing = True
        while (following := self._next_to_close()) is not None:
            begin, end = following
            to = self.end
            if begin != to:
                _move_down(*self._arrays, self._first, begin, end, to, self._n_older)
            with self._lock:
                self.end = Room(*(t + e - b for t, e, b in zip(to, end, begin, strict=True)))
                self._n_closed += 1

    def _next_to_close(self) -> tuple[Room, Room] | None:
        with self._lock:
            end = self._ends[self._n_closed] if self._n_closed < len(self._ends) else None
            self._closing = end is not None
            return None if end is None else (self._begins[self._n_closed], end)


def give_back_room(offspring: Offspring, births: Births, begin: Room) -> None:
    """Return the pages behind a position to the system, where chunks have been before they moved down; if they are
    many, as it takes long to give them anew.
    """
    left = [array[begin[kind] :] for kind, arrays in enumerate(_arrays_of_kinds(offspring, births)) for array in arrays]
    if sum(array.nbytes for array in left) >= _MUCH:
        for array in left:
            give_back_pages(array)


def _arrays_of_kinds(offspring: Offspring, births: Births) -> Iterator[tuple[np.ndarray, ...]]:
    """The arrays whose lengths are the vertices, edges, faces, corners and kinks of a room."""
    yield offspring.vertices, births.ends, births.parameter, births.kink_start, births.kink_count
    yield offspring.edges, offspring.edge_labels, offspring.edge_faces
    yield offspring.face_ends, offspring.face_parents, offspring.bits
    yield offspring.corners, offspring.sides
    yield births.kink_unit, births.kink


def _sum(begin: Room, needed: Room) -> Room:
    return Room(*(a + b for a, b in zip(begin, needed, strict=True)))


@kernel
def _move_down(offspring, births, first, begin, end, to, n_older):
    """Move what a chunk has written, from `begin` to `end`, down to `to`, and number it anew.

    The pieces of older edges, before `first`, stay: their two sides may be of different chunks.
    """
    _move_vertices(offspring.vertices, births, first, begin, end, to, n_older)
    _move_edges(offspring, first, begin, end, to, n_older)
    _move_faces(offspring, first, begin, end, to, n_older)


@njit(cache=True, nogil=True, inline="always")
def _move_vertices(vertices, births, first, begin, end, to, n_older):
    gap = begin.vertex - to.vertex
    first_born = n_older + first.vertex
    for v in range(begin.vertex, end.vertex):
        vertices[v - gap, 0], vertices[v - gap, 1] = vertices[v, 0], vertices[v, 1]
    if births.ends.shape[0] > 0:
        for v in range(begin.vertex, end.vertex):
            births.parameter[v - gap] = births.parameter[v]
            births.kink_start[v - gap] = births.kink_start[v] - (begin.kink - to.kink)
            births.kink_count[v - gap] = births.kink_count[v]
            for i in range(2):
                births.ends[v - gap, i] = _closed(births.ends[v, i], first_born, gap)
    for k in range(begin.kink, end.kink):
        births.kink_unit[to.kink + k - begin.kink] = births.kink_unit[k]
        births.kink[to.kink + k - begin.kink] = births.kink[k]


@njit(cache=True, nogil=True, inline="always")
def _move_edges(offspring, first, begin, end, to, n_older):
    edges, labels, faces = offspring.edges, offspring.edge_labels, offspring.edge_faces
    gap = begin.edge - to.edge
    first_born = n_older + first.vertex
    for e in range(begin.edge, end.edge):
        for i in range(2):
            edges[e - gap, i] = _closed(edges[e, i], first_born, begin.vertex - to.vertex)
            labels[e - gap, i] = labels[e, i]
            faces[e - gap, i] = faces[e, i] - (begin.face - to.face)


@njit(cache=True, nogil=True, inline="always")
def _move_faces(offspring, first, begin, end, to, n_older):
    ends, parents, bits = offspring.face_ends, offspring.face_parents, offspring.bits
    corners, sides, edge_faces = offspring.corners, offspring.sides, offspring.edge_faces
    gap = begin.corner - to.corner
    first_born = n_older + first.vertex
    c = begin.corner
    for f in range(begin.face, end.face):
        face = f - (begin.face - to.face)
        while c < ends[f]:
            side = sides[c]
            corners[c - gap] = _closed(corners[c], first_born, begin.vertex - to.vertex)
            sides[c - gap] = 2 * _closed(side >> 1, first.edge, begin.edge - to.edge) + (side & 1)
            if side >> 1 < first.edge:
                edge_faces[side >> 1, side & 1] = face
            c += 1
        ends[face] = c - gap
        parents[face] = parents[f]
        for w in range(bits.shape[1]):
            bits[face, w] = bits[f, w]


@njit(cache=True, inline="always")
def _closed(number, first, gap):
    """A number without the gap, if it is of this chunk's own: from `first` on."""
    return number - gap if number >= first else number
