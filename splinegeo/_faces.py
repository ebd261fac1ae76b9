"""Compiled: a face crossed by units is split by one of them, and each part again, until no part is crossed.

Inside a convex face each crossing unit is one chord between two corners of the face's loop (its edges have been cut before). Splitting
along a chord turns the chord into an edge: the units with opposite signs at its two ends cross it, in the order of their crossings,
and every new vertex takes its signs from that order. So no sign is ever decided by the position of an interior vertex, and each part
is again a convex face whose crossing units are chords. The recursion ends because each part lies on one side of its chord.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from splinegeo._bits import WORD, lowest_one, single_bit
from splinegeo._edges import coincide, kink_of


class Slots(NamedTuple):
    """Where each face's offspring is written: ranges between consecutive entries, as large as its crossings can need."""

    vertex: np.ndarray  # (F + 1,) int64, first new vertex inside face f
    edge: np.ndarray
    face: np.ndarray
    corner: np.ndarray
    kink: np.ndarray


class Offspring(NamedTuple):
    """What splitting writes; edges and faces are global numbers, `born` counts from the first vertex of this subdivision."""

    vertices: np.ndarray  # (n, 2), with edge-born vertices first
    edges: np.ndarray
    edge_labels: np.ndarray
    edge_faces: np.ndarray
    face_ends: np.ndarray  # (F',) int64: end of the face's corners in `corners`
    face_parents: np.ndarray
    corners: np.ndarray
    sides: np.ndarray
    bits: np.ndarray


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
    chord: np.ndarray  # (k,) units that cross the current chord
    parameter: np.ndarray  # (k,)
    above: np.ndarray  # (words,) units positive somewhere in the current part
    below: np.ndarray


@njit(cache=True, nogil=True)
def new_loop(max_vertices, max_corners, max_units):
    """Work arrays for faces with at most so many local vertices, half-edges and crossing units."""
    words = (max_units + WORD - 1) // WORD
    return Loop(
        np.empty(max_vertices, np.int32),
        np.empty((max_vertices, 2), np.float64),
        np.empty((max_vertices, max_units), np.float64),
        np.empty((max_vertices, words), np.uint64),
        np.empty((max_vertices, words), np.uint64),
        np.empty(max_corners, np.int32),
        np.empty(max_corners, np.int32),
        np.empty(max_corners, np.int32),
        np.empty(max_corners, np.int32),
        np.empty(max_corners + 1, np.int64),
        np.empty(max_units, np.int64),
        np.empty(max_units, np.float64),
        np.empty(words, np.uint64),
        np.empty(words, np.uint64),
    )


@njit(cache=True, nogil=True, inline="always")
def open_loop(f, vertices, offsets, corners, sides, crossings, cuts, new_vertices, parameters, loop):
    """Write face f's loop with the new vertices on its edges, and the crossing units' values and signs there; returns its length."""
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
            positive[m, w], negative[m, w] = 0, 0
        for j in range(k):
            _set_value(value, positive, negative, m, j, values[at_here + j])
        m += 1
        if n_new == 0:
            continue

        for unit in range(k):
            rank[unit] = -1
        for c in range(first_cut[edge], first_cut[edge + 1]):
            rank[_find(units, first_unit, first_unit + k, cut_unit[c]) - first_unit] = cut_rank[c]
        for step in range(n_new):
            r = n_new - 1 - step if backward else step
            born = first_vertex[edge] + r
            s = 1.0 - parameters[born] if backward else parameters[born]
            ids[m] = n_older + born
            point[m, 0], point[m, 1] = new_vertices[born, 0], new_vertices[born, 1]
            side_out[m] = 2 * (piece + (r if backward else r + 1)) + backward
            for w in range(words):
                positive[m, w], negative[m, w] = 0, 0
            for j in range(k):
                here = values[at_here + j]
                there = values[at_next + j]
                giver = here if here != 0 else there
                if rank[j] == r:
                    giver = 0.0
                elif rank[j] >= 0:
                    giver = here if (rank[j] > r) != (backward == 1) else there
                _set_value(value, positive, negative, m, j, _with_sign((1.0 - s) * here + s * there, giver))
            m += 1
    return m


@njit(cache=True, nogil=True)
def _find(ascending, begin, end, wanted):
    """Where an entry of an ascending range is, by bisection."""
    while end - begin > 1:
        middle = (begin + end) >> 1
        if ascending[middle] <= wanted:
            begin = middle
        else:
            end = middle
    return begin


@njit(cache=True, inline="always")
def _with_sign(z, giver):
    """The value z, or the smallest one of the giver's sign where rounding took its sign away; 0 for the sign 0."""
    if giver > 0:
        return max(z, 1e-300)
    if giver < 0:
        return min(z, -1e-300)
    return 0.0


@njit(cache=True, inline="always")
def _set_value(value, positive, negative, x, j, z):
    value[x, j] = z
    if z > 0:
        positive[x, j >> 6] |= single_bit(j & 63)
    elif z < 0:
        negative[x, j >> 6] |= single_bit(j & 63)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def count_splits(vertices, offsets, corners, sides, crossings, cuts, new_vertices, parameters, begin, end, n_chords, n_meetings):
    """Chords of each face begin..end, and how many pairs of them meet: ends that interleave around the loop."""
    max_corners, max_units = _largest(offsets, sides, crossings, cuts, begin, end)
    loop = new_loop(max_corners, max_corners, max_units)
    low = np.empty(max_units, np.int64)
    high = np.empty(max_units, np.int64)
    for f in range(begin, end):
        k = crossings.start[f + 1] - crossings.start[f]
        if k == 0:
            continue
        n_chords[f] = k
        if k == 1:
            continue
        m = open_loop(f, vertices, offsets, corners, sides, crossings, cuts, new_vertices, parameters, loop)
        for i in range(m):
            loop.corner[i] = i
        meetings = 0
        for j in range(k):
            falls, rises = find_chord(loop.corner, loop.positive, loop.negative, 0, m, j)
            low[j] = min(falls, rises)
            high[j] = max(falls, rises)
            for i in range(j):
                enters = low[i] < low[j] and low[j] < high[i] and high[i] < high[j]
                leaves = low[j] < low[i] and low[i] < high[j] and high[j] < high[i]
                if enters or leaves:
                    meetings += 1
        n_meetings[f] = meetings


@njit(cache=True, nogil=True)
def _largest(offsets, sides, crossings, cuts, begin, end):
    """The longest loop, cut edges counted, and the most crossing units among the crossed faces begin..end."""
    max_corners = 1
    max_units = 1
    for f in range(begin, end):
        k = crossings.start[f + 1] - crossings.start[f]
        if k:
            max_units = max(max_units, k)
            max_corners = max(max_corners, loop_length(f, offsets, sides, cuts))
    return max_corners, max_units


@njit(cache=True, nogil=True)
def loop_length(f, offsets, sides, cuts):
    """Corners of face f, the new vertices on its edges counted."""
    n = offsets[f + 1] - offsets[f]
    for i in range(offsets[f], offsets[f + 1]):
        edge = sides[i] >> 1
        n += cuts.first_vertex[edge + 1] - cuts.first_vertex[edge]
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def split_faces(
    vertices, offsets, corners, sides, bits, crossings, cuts, births, parameters, slopes, tolerance, closeness, stage,
    slots, begin, end, offspring, used,
):  # fmt: skip
    """Write the parts of faces begin..end into their slots; `used[f]` gets the vertices, edges, faces and corners each one took.

    Returns the first face that needs more room than its slots (rounding can make chords of near-duplicate units meet twice), or -1.
    """
    max_corners, max_units = _largest(offsets, sides, crossings, cuts, begin, end)
    max_inner = 0
    max_half_edges = 0
    for f in range(begin, end):
        max_inner = max(max_inner, slots.vertex[f + 1] - slots.vertex[f])
        max_half_edges = max(max_half_edges, slots.corner[f + 1] - slots.corner[f])
    loop = new_loop(max_corners + max_inner, max_half_edges + max_corners, max_units)
    for f in range(begin, end):
        if crossings.start[f + 1] == crossings.start[f]:
            _keep_face(f, offsets, corners, sides, bits, cuts, slots, offspring)
            used[f, 0], used[f, 1], used[f, 2], used[f, 3] = 0, 0, 1, offsets[f + 1] - offsets[f]
            continue
        m = open_loop(f, vertices, offsets, corners, sides, crossings, cuts, offspring.vertices, parameters, loop)
        fits = _split_face(
            f, m, vertices.shape[0], bits, crossings, births, slopes, tolerance, closeness, stage, slots, offspring, used, loop
        )
        if not fits:
            return f
    return -1


@njit(cache=True, nogil=True, inline="always")
def _keep_face(f, offsets, corners, sides, bits, cuts, slots, offspring):
    first_vertex, new_corners, new_sides, edge_faces = (
        cuts.first_vertex, offspring.corners, offspring.sides, offspring.edge_faces,
    )  # fmt: skip
    face = slots.face[f]
    n = slots.corner[f]
    for i in range(offsets[f], offsets[f + 1]):
        edge = sides[i] >> 1
        side = 2 * (edge + first_vertex[edge]) + (sides[i] & 1)
        new_corners[n] = corners[i]
        new_sides[n] = side
        edge_faces[side >> 1, side & 1] = face
        n += 1
    offspring.face_ends[face] = n
    offspring.face_parents[face] = f
    for w in range(bits.shape[1]):
        offspring.bits[face, w] = bits[f, w]


@njit(cache=True, nogil=True, inline="always")
def _split_face(f, m, n_older, bits, crossings, births, slopes, tolerance, closeness, stage, slots, offspring, used, loop):
    units = crossings.units[crossings.start[f] : crossings.start[f + 1]]
    words = (units.shape[0] + WORD - 1) // WORD
    above, below = loop.above, loop.below
    corner, positive, negative = loop.corner, loop.positive, loop.negative
    n_vertices, n_edges, n_faces, n_corners, n_kinks = 0, 0, 0, 0, 0
    n_local = m
    for i in range(m):
        corner[i] = i
    loop.stack[0] = 0
    depth = 1
    top = m
    while depth:
        depth -= 1
        begin = loop.stack[depth]
        for w in range(words):
            above[w] = 0
            below[w] = 0
            for i in range(begin, top):
                above[w] |= positive[corner[i], w]
                below[w] |= negative[corner[i], w]
        unit, falls, rises = _choose_chord(loop, begin, top, above, below, words)

        if unit < 0:
            face = slots.face[f] + n_faces
            first_corner = slots.corner[f] + n_corners
            if face >= slots.face[f + 1] or first_corner + top - begin > slots.corner[f + 1]:
                return False
            n_faces += 1
            n_corners += top - begin
            _emit_face(f, face, first_corner, begin, top, units, above, bits, offspring, loop)
            top = begin
            continue

        p = loop.corner[begin + falls]
        q = loop.corner[begin + rises]
        n_crossing = _chord_crossings(loop, p, q, above, below, words)
        n_new = _new_vertices(loop, p, q, n_local, n_crossing, units, above, below, words, tolerance, closeness)
        vertex = slots.vertex[f] + n_vertices
        edge = slots.edge[f] + n_edges
        if vertex + n_new > slots.vertex[f + 1] or edge + n_new + 1 > slots.edge[f + 1]:
            return False
        if births.ends.shape[0]:
            kink = slots.kink[f] + n_kinks
            if births.kink.shape[0] and kink + n_new * n_crossing > slots.kink[f + 1]:
                return False
            n_kinks += _record_births(loop, p, q, n_local, n_new, n_crossing, units, births, slopes, vertex, kink)
        for i in range(n_new + 1):
            if i < n_new:
                loop.vertex[n_local + i] = n_older + vertex + i
                offspring.vertices[vertex + i] = loop.point[n_local + i]
            offspring.edges[edge + i, 0] = loop.vertex[p if i == 0 else n_local + i - 1]
            offspring.edges[edge + i, 1] = loop.vertex[q if i == n_new else n_local + i]
            offspring.edge_labels[edge + i, 0] = stage
            offspring.edge_labels[edge + i, 1] = units[unit]
        if top + 2 * (n_new + 1) > loop.corner.shape[0]:
            return False
        middle, top = _split_loop(loop, begin, top, falls, rises, n_local, n_new, edge)
        loop.stack[depth] = begin
        loop.stack[depth + 1] = middle
        depth += 2
        n_local += n_new
        n_vertices += n_new
        n_edges += n_new + 1
    used[f, 0], used[f, 1], used[f, 2], used[f, 3] = n_vertices, n_edges, n_faces, n_corners
    return True


@njit(cache=True, nogil=True, inline="always")
def _choose_chord(loop, begin, end, above, below, words):
    """The first unit that crosses the part, and the corners where its sign falls and rises; -1 if none does."""
    corner, positive, negative = loop.corner, loop.positive, loop.negative
    for w in range(words):
        word = above[w] & below[w]
        while word:
            bit = lowest_one(word)
            word &= ~single_bit(bit)
            unit = w * WORD + bit
            falls, rises = find_chord(corner, positive, negative, begin, end, unit)
            if falls >= 0:
                return unit, falls, rises
    return -1, -1, -1


@njit(cache=True, nogil=True, inline="always")
def _chord_crossings(loop, p, q, above, below, words):
    """Units that cross the chord p -> q, in the order of their crossings: `loop.chord` and `loop.parameter`; returns their number."""
    value, positive, negative, chord, parameter = loop.value, loop.positive, loop.negative, loop.chord, loop.parameter
    n = 0
    for w in range(words):
        word = (positive[p, w] & negative[q, w]) | (negative[p, w] & positive[q, w])
        word &= above[w] & below[w]
        while word:
            bit = lowest_one(word)
            word &= ~single_bit(bit)
            unit = w * WORD + bit
            s = value[p, unit] / (value[p, unit] - value[q, unit])
            i = n
            while i > 0 and parameter[i - 1] > s:
                parameter[i] = parameter[i - 1]
                chord[i] = chord[i - 1]
                i -= 1
            parameter[i] = s
            chord[i] = unit
            n += 1
    return n


@njit(cache=True, nogil=True, inline="always")
def _new_vertices(loop, p, q, n_local, n_crossing, units, above, below, words, tolerance, closeness):
    """Local vertices where the chord p -> q is crossed, coincident crossings clustered, with values and signs; returns their number."""
    if n_crossing == 0:
        return 0
    value, positive, negative = loop.value, loop.positive, loop.negative
    chord, parameter, point = loop.chord, loop.parameter, loop.point
    run_x = point[q, 0] - point[p, 0]
    run_y = point[q, 1] - point[p, 1]
    close = closeness / np.sqrt(run_x * run_x + run_y * run_y)
    n_new = 0
    first = 0
    while first < n_crossing:
        s = parameter[first]
        last = first + 1
        while last < n_crossing:
            i = chord[last - 1]
            j = chord[last]
            together = coincide(
                s, value[p, i], value[q, i], tolerance[units[i]],
                parameter[last], value[p, j], value[q, j], tolerance[units[j]], close,
            )  # fmt: skip
            if not together:
                break
            parameter[last] = s
            last += 1
        x = n_local + n_new
        n_new += 1
        point[x, 0] = point[p, 0] + s * run_x
        point[x, 1] = point[p, 1] + s * run_y
        for w in range(words):
            crossing = above[w] & below[w]
            positive[x, w] = above[w] & ~below[w]
            negative[x, w] = below[w] & ~above[w]
            while crossing:
                bit = lowest_one(crossing)
                crossing &= ~single_bit(bit)
                unit = w * WORD + bit
                at_p = value[p, unit]
                at_q = value[q, unit]
                giver = at_p if at_p != 0 else at_q
                _set_value(value, positive, negative, x, unit, _with_sign((1.0 - s) * at_p + s * at_q, giver))
        for c in range(n_crossing):
            unit = chord[c]
            bit = ~single_bit(unit & 63)
            at_p = value[p, unit]
            at_q = value[q, unit]
            positive[x, unit >> 6] &= bit
            negative[x, unit >> 6] &= bit
            if c < first:
                _set_value(value, positive, negative, x, unit, _with_sign((1.0 - s) * at_p + s * at_q, at_q))
            elif c < last:
                _set_value(value, positive, negative, x, unit, 0.0)
            else:
                _set_value(value, positive, negative, x, unit, _with_sign((1.0 - s) * at_p + s * at_q, at_p))
        first = last
    return n_new


@njit(cache=True, nogil=True, inline="always")
def _record_births(loop, p, q, n_local, n_new, n_crossing, units, births, slopes, vertex, kink):
    """Ends, parameter and kinks of the new vertices on the chord p -> q; returns the number of kinks."""
    n_kinks = 0
    rank = -1
    s = -1.0
    for c in range(n_crossing):
        if c and loop.parameter[c] == s:
            continue
        s = loop.parameter[c]
        rank += 1
        if rank >= n_new:
            break
        born = vertex + rank
        births.ends[born, 0] = loop.vertex[p]
        births.ends[born, 1] = loop.vertex[q]
        births.parameter[born] = s
        births.kink_start[born] = kink + n_kinks
        births.kink_count[born] = 0
        if births.kink.shape[0] == 0:
            continue
        for i in range(n_crossing):
            unit = loop.chord[i]
            births.kink_unit[kink + n_kinks] = units[unit]
            births.kink[kink + n_kinks] = kink_of(s, loop.value[p, unit], loop.value[q, unit], slopes[units[unit]])
            n_kinks += 1
        births.kink_count[born] = n_crossing
    return n_kinks


@njit(cache=True, nogil=True, inline="always")
def _split_loop(loop, begin, end, falls, rises, n_local, n_new, edge):
    """Replace the top loop of the stack by its two parts, negative side first; returns the second's start and the stack's new top."""
    corner, side, spare_corner, spare_side = loop.corner, loop.side, loop.spare_corner, loop.spare_side
    n = end - begin
    for i in range(n):
        spare_corner[i] = corner[begin + i]
        spare_side[i] = side[begin + i]
    top = begin
    i = falls
    while i != rises:  # where the unit is negative, closed by the chord from its far end back
        corner[top] = spare_corner[i]
        side[top] = spare_side[i]
        top += 1
        i = i + 1 if i + 1 < n else 0
    for j in range(n_new, -1, -1):
        corner[top] = spare_corner[rises] if j == n_new else n_local + j
        side[top] = 2 * (edge + j) + 1
        top += 1
    middle = top
    while i != falls:  # where it is positive, closed by the chord
        corner[top] = spare_corner[i]
        side[top] = spare_side[i]
        top += 1
        i = i + 1 if i + 1 < n else 0
    for j in range(n_new + 1):
        corner[top] = spare_corner[falls] if j == 0 else n_local + j - 1
        side[top] = 2 * (edge + j)
        top += 1
    return middle, top


@njit(cache=True, nogil=True, inline="always")
def _emit_face(f, face, corner, begin, end, units, above, bits, offspring, loop):
    ids, stack_corner, stack_side, new_bits = loop.vertex, loop.corner, loop.side, offspring.bits
    new_corners, new_sides, edge_faces = offspring.corners, offspring.sides, offspring.edge_faces
    for i in range(begin, end):
        side = stack_side[i]
        new_corners[corner] = ids[stack_corner[i]]
        new_sides[corner] = side
        edge_faces[side >> 1, side & 1] = face
        corner += 1
    offspring.face_ends[face] = corner
    offspring.face_parents[face] = f
    for w in range(bits.shape[1]):
        new_bits[face, w] = bits[f, w]
    for j in range(units.shape[0]):
        if not above[j >> 6] & single_bit(j & 63):
            new_bits[face, units[j] >> 6] &= ~single_bit(units[j] & 63)
