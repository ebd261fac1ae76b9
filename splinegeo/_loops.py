"""Compiled: the loop of one face, opened for splitting, and the chords that units make in it."""

from typing import NamedTuple

import numpy as np
from numba import njit

from splinegeo._bits import WORD, single_bit
from splinegeo._kernel import kernel

_MEETINGS_PER_CHORD = 32


class Loop(NamedTuple):
    """Work arrays of one face: its local vertices, and a stack of parts still to look at."""

    vertex: np.ndarray  # (n,) global vertex of each local one
    point: np.ndarray  # (n, 2)
    value: np.ndarray  # (n, k) of each crossing unit
    positive: np.ndarray  # (n, words) one bit a crossing unit
    negative: np.ndarray
    corner: np.ndarray  # the stack: local vertices, loop after loop
    side: np.ndarray
    spare_corner: np.ndarray
    spare_side: np.ndarray
    stack: np.ndarray  # (n,) start of each stacked loop
    chosen: np.ndarray  # (n, words) units on whose positive side each stacked loop is, as they have cut it
    chord: np.ndarray  # (k,) units that cross the current chord
    parameter: np.ndarray  # (k,)
    above: np.ndarray  # (words,) units positive somewhere in the current part
    below: np.ndarray


def _new_loop(max_vertices, max_corners, max_units, room):
    """Work arrays for faces with at most so many local vertices, half-edges and crossing units; values in this room."""
    words = (max_units + WORD - 1) // WORD
    return Loop(
        np.empty(max_vertices, np.int32),
        np.empty((max_vertices, 2), np.float64),
        room[: max_vertices * max_units].reshape(max_vertices, max_units),
        np.empty((max_vertices, words), np.uint64),
        np.empty((max_vertices, words), np.uint64),
        np.empty(max_corners, np.int32),
        np.empty(max_corners, np.int32),
        np.empty(max_corners, np.int32),
        np.empty(max_corners, np.int32),
        np.empty(max_corners + 1, np.int64),
        np.empty((max_corners + 1, words), np.uint64),
        np.empty(max_units, np.int64),
        np.empty(max_units, np.float64),
        np.empty(words, np.uint64),
        np.empty(words, np.uint64),
    )


@njit(cache=True, nogil=True, inline="always")
def open_loop(f, vertices, offsets, corners, sides, crossings, cuts, new_vertices, parameters, loop):
    """Write face f's loop with the new vertices on its edges, and the crossing units' values and signs there; returns
    its length.
    """
    units, values = crossings.units, crossings.values
    first_vertex, first_cut, cut_unit, cut_rank = cuts.first_vertex, cuts.start, cuts.unit, cuts.rank
    ids, point, side_out, rank = loop.vertex, loop.point, loop.side, loop.chord
    value, positive, negative = loop.value, loop.positive, loop.negative
    n_older = vertices.shape[0]
    first_unit = crossings.start[f]
    k = crossings.start[f + 1] - first_unit
    words = (k + WORD - 1) // WORD
    first_corner = offsets[f]
    n_corners = offsets[f + 1] - first_corner
    m = 0
    for i in range(n_corners):
        at_here = crossings.value_start[f] + i * k
        at_next = at_here + k if i + 1 < n_corners else crossings.value_start[f]
        side = sides[first_corner + i]
        edge = side >> 1
        backward = side & 1
        n_new = first_vertex[edge + 1] - first_vertex[edge]
        piece = edge + first_vertex[edge]

        x = corners[first_corner + i]
        ids[m] = x
        point[m, 0], point[m, 1] = vertices[x, 0], vertices[x, 1]
        side_out[m] = 2 * (piece + (n_new if backward else 0)) + backward
        for w in range(words):
            above, below = np.uint64(0), np.uint64(0)
            for j in range(w * WORD, min(w * WORD + WORD, k)):
                z = values[at_here + j]
                value[m, j] = z
                above |= np.uint64(z > 0) << np.uint64(j & 63)
                below |= np.uint64(z < 0) << np.uint64(j & 63)
            positive[m, w] = above
            negative[m, w] = below
        m += 1
        if n_new == 0:
            continue

        for unit in range(k):
            rank[unit] = -1
        for c in range(first_cut[edge], first_cut[edge + 1]):
            rank[bisect(units, first_unit, first_unit + k, cut_unit[c]) - first_unit] = cut_rank[c]
        for step in range(n_new):
            r = n_new - 1 - step if backward else step
            born = first_vertex[edge] + r
            s = 1.0 - parameters[born] if backward else parameters[born]
            ids[m] = n_older + born
            point[m, 0], point[m, 1] = new_vertices[born, 0], new_vertices[born, 1]
            side_out[m] = 2 * (piece + (r if backward else r + 1)) + backward
            for w in range(words):
                above, below = np.uint64(0), np.uint64(0)
                for j in range(w * WORD, min(w * WORD + WORD, k)):
                    here = values[at_here + j]
                    there = values[at_next + j]
                    giver = here if here != 0 else there
                    if rank[j] == r:
                        giver = 0.0
                    elif rank[j] >= 0:
                        giver = here if (rank[j] > r) != (backward == 1) else there
                    z = with_sign((1.0 - s) * here + s * there, giver)
                    value[m, j] = z
                    above |= np.uint64(z > 0) << np.uint64(j & 63)
                    below |= np.uint64(z < 0) << np.uint64(j & 63)
                positive[m, w] = above
                negative[m, w] = below
            m += 1
    return m


@kernel
def bisect(ascending, begin, end, wanted):
    """Where the last entry of an ascending range is that is not above the wanted one; the first, if all are."""
    while end - begin > 1:
        middle = (begin + end) >> 1
        if ascending[middle] <= wanted:
            begin = middle
        else:
            end = middle
    return begin


@njit(cache=True, inline="always")
def with_sign(z, giver):
    """The value z, or the smallest one of the giver's sign where rounding took its sign away; 0 for the sign 0."""
    if giver > 0:
        return max(z, 1e-300)
    if giver < 0:
        return min(z, -1e-300)
    return 0.0


@njit(cache=True, nogil=True, inline="always")
def find_chord(corner, positive, negative, begin, end, unit):
    """Positions in a loop where a crossing unit's sign falls and where it rises: (-1, -1) if it does not change."""
    w = unit >> 6
    bit = single_bit(unit & 63)
    n = end - begin
    i = 0
    while i < n and not positive[corner[begin + i], w] & bit:
        i += 1
    falls, rises, zero, above = -1, -1, -1, True
    for _ in range(n):
        i = i + 1 if i + 1 < n else 0
        x = corner[begin + i]
        if positive[x, w] & bit:
            if not above and rises < 0:
                rises = zero
            above, zero = True, -1
        elif negative[x, w] & bit:
            if above and falls < 0:
                falls = zero
            above, zero = False, -1
        elif zero < 0:
            zero = i
    if falls < 0 or rises < 0:
        return -1, -1
    return falls, rises


@njit(cache=True, inline="always")
def most_meetings(n_chords, generosity):
    """For how many meetings of a face's chords there is room: of all pairs, but of no more than a few for each chord.

    Rounding can make near-duplicates meet twice, and a layer's chords can all meet each other: room is then made again,
    with more generosity. So it is for units that cross a face narrower than rounding more than once.
    """
    return generosity * min(n_chords * (n_chords - 1) // 2, _MEETINGS_PER_CHORD * n_chords) + generosity - 1


@kernel
def count_room(offsets, sides, crossings, cuts, generosity, begin, end):
    """Room that splitting faces begin..end may take: vertices, edges, faces, corners and kinks; then the corners of the
    longest loop, and the most crossing units of a face.

    By Euler's formula, k chords with c meetings make k + 2c edges and 1 + k + c faces inside a face.
    """
    n_vertices, n_edges, n_faces, n_corners, n_kinks, max_corners, max_units = 0, 0, 0, 0, 0, 1, 1
    for f in range(begin, end):
        k = crossings.start[f + 1] - crossings.start[f]
        if k == 0:
            n_faces += 1
            n_corners += offsets[f + 1] - offsets[f]
            continue
        meetings = most_meetings(k, generosity)
        chords = generosity * k
        n_vertices += meetings
        n_edges += chords + 2 * meetings
        n_faces += 1 + chords + meetings
        length = loop_length(f, offsets, sides, cuts)
        n_corners += length + 2 * (chords + 2 * meetings)
        n_kinks += meetings * min(k - 1, _MEETINGS_PER_CHORD * generosity)
        max_corners, max_units = max(max_corners, length), max(max_units, k)
    return n_vertices, n_edges, n_faces, n_corners, n_kinks, max_corners, max_units


# Not compiled: numba makes arrays and named tuples by a call of Python's, in which an interrupt ends the process.
def loop_for(max_corners, max_units, generosity, room):
    """Work arrays for splitting any face whose loop has at most so many corners, and so many crossing units.

    The largest of them lies in `room`, which has `count_values` numbers at least: new memory for each chunk of faces
    costs its threads more than they gain.
    """
    max_inner = most_meetings(max_units, generosity)
    n_corners = 2 * max_corners + 2 * (generosity * max_units + 2 * max_inner)
    return _new_loop(max_corners + max_inner, n_corners, max_units, room)


@kernel
def count_values(max_corners, max_units, generosity):
    """Numbers that the values at a loop's local vertices may be."""
    return (max_corners + most_meetings(max_units, generosity)) * max_units


@kernel
def loop_length(f, offsets, sides, cuts):
    """Corners of face f, the new vertices on its edges counted."""
    n = offsets[f + 1] - offsets[f]
    for i in range(offsets[f], offsets[f + 1]):
        edge = sides[i] >> 1
        n += cuts.first_vertex[edge + 1] - cuts.first_vertex[edge]
    return n
