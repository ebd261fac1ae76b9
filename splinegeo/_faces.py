"""Compiled: a face crossed by units is split by one of them, and each part again, until no part is crossed.

Inside a convex face each crossing unit is one chord between two corners of the face's loop (its edges have been cut
before). Splitting along a chord turns the chord into an edge: the units with opposite signs at its two ends cross it,
in the order of their crossings, and every new vertex takes its signs from that order. So no sign is ever decided by
the position of an interior vertex, and each part is again a convex face whose crossing units are chords. The recursion
ends because each part lies on one side of its chord. In that on the positive side the chord's unit counts as positive
even where the part is too narrow for a corner to show it, so that patterns differ across every chord.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from splinegeo._bits import WORD, lowest_one, single_bit
from splinegeo._edges import coincide, kink_of
from splinegeo._kernel import kernel
from splinegeo._loops import find_chord, open_loop


class Room(NamedTuple):
    """Positions in the arrays of offspring: where the next of each is written, or where the room for it ends."""

    vertex: int
    edge: int
    face: int
    corner: int
    kink: int


class Offspring(NamedTuple):
    """What splitting writes; edges and faces are numbers in the finer mesh, vertices count from the first new one."""

    vertices: np.ndarray  # (n, 2), with edge-born vertices first
    edges: np.ndarray
    edge_labels: np.ndarray
    edge_faces: np.ndarray
    face_ends: np.ndarray  # (F',) int64: end of the face's corners in `corners`
    face_parents: np.ndarray
    corners: np.ndarray
    sides: np.ndarray
    bits: np.ndarray


@kernel
def split_faces(
    vertices, offsets, corners, sides, bits, crossings, cuts, births, parameters, slopes, tolerance, closeness, stage,
    begin, end, room, room_end, offspring, loop,
):  # fmt: skip
    """Write the parts of faces begin..end from `room` on; returns whether they fitted, and the numbers of the room
    that is left.

    They do not fit where chords meet more often than `most_meetings` allows for.
    """
    for f in range(begin, end):
        if crossings.start[f + 1] == crossings.start[f]:
            fits, room = _keep_face(f, offsets, corners, sides, bits, cuts, room, room_end, offspring)
        else:
            m = open_loop(f, vertices, offsets, corners, sides, crossings, cuts, offspring.vertices, parameters, loop)
            fits, room = _split_face(
                f, m, vertices.shape[0], bits, crossings, births, slopes, tolerance, closeness, stage, room, room_end,
                offspring, loop,
            )  # fmt: skip
        if not fits:
            return False, _numbers(room)
    return True, _numbers(room)


@njit(cache=True, nogil=True, inline="always")
def _numbers(room):
    # Not the Room: numba makes a named tuple by a call of Python's, in which an interrupt ends the process.
    return room.vertex, room.edge, room.face, room.corner, room.kink


@njit(cache=True, nogil=True, inline="always")
def _keep_face(f, offsets, corners, sides, bits, cuts, room, room_end, offspring):
    first_vertex, new_corners, new_sides, edge_faces = (
        cuts.first_vertex, offspring.corners, offspring.sides, offspring.edge_faces,
    )  # fmt: skip
    face = room.face
    n = room.corner
    if face >= room_end.face or n + offsets[f + 1] - offsets[f] > room_end.corner:
        return False, room
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
    return True, Room(room.vertex, room.edge, face + 1, n, room.kink)


@njit(cache=True, nogil=True, inline="always")
def _split_face(
    f, m, n_older, bits, crossings, births, slopes, tolerance, closeness, stage, room, room_end, offspring, loop
):
    units = crossings.units[crossings.start[f] : crossings.start[f + 1]]
    words = (units.shape[0] + WORD - 1) // WORD
    above, below, chosen = loop.above, loop.below, loop.chosen
    corner, positive, negative = loop.corner, loop.positive, loop.negative
    stack, ids, points = loop.stack, loop.vertex, loop.point
    new_vertices, new_edges, new_labels, birth_ends, birth_kink = (
        offspring.vertices,
        offspring.edges,
        offspring.edge_labels,
        births.ends,
        births.kink,
    )
    vertex, edge, face, first_corner, kink = room.vertex, room.edge, room.face, room.corner, room.kink
    largest_top = loop.corner.shape[0]
    n_local = m
    for i in range(m):
        corner[i] = i
    stack[0] = 0
    for w in range(words):
        chosen[0, w] = 0
    depth = 1
    top = m
    while depth:
        depth -= 1
        begin = stack[depth]
        for w in range(words):
            above[w] = chosen[depth, w]
            below[w] = 0
            for i in range(begin, top):
                above[w] |= positive[corner[i], w]
                below[w] |= negative[corner[i], w]
        unit, falls, rises = _choose_chord(loop, begin, top, above, below, words)

        if unit < 0:
            if face >= room_end.face or first_corner + top - begin > room_end.corner:
                return False, room
            _emit_face(f, face, first_corner, begin, top, units, above, bits, offspring, loop)
            face += 1
            first_corner += top - begin
            top = begin
            continue

        p = corner[begin + falls]
        q = corner[begin + rises]
        n_crossing = _chord_crossings(loop, p, q, above, below, words)
        if n_local + n_crossing > ids.shape[0]:
            return False, room
        n_new = _new_vertices(loop, p, q, n_local, n_crossing, units, above, below, words, tolerance, closeness)
        if vertex + n_new > room_end.vertex or edge + n_new + 1 > room_end.edge:
            return False, room
        if n_new and birth_ends.shape[0]:
            if birth_kink.shape[0] and kink + n_new * n_crossing > room_end.kink:
                return False, room
            kink += _record_births(loop, p, q, n_local, n_new, n_crossing, units, births, slopes, vertex, kink)
        for i in range(n_new + 1):
            if i < n_new:
                ids[n_local + i] = n_older + vertex + i
                new_vertices[vertex + i, 0] = points[n_local + i, 0]
                new_vertices[vertex + i, 1] = points[n_local + i, 1]
            new_edges[edge + i, 0] = ids[p if i == 0 else n_local + i - 1]
            new_edges[edge + i, 1] = ids[q if i == n_new else n_local + i]
            new_labels[edge + i, 0] = stage
            new_labels[edge + i, 1] = units[unit]
        if top + 2 * (n_new + 1) > largest_top or depth + 2 > stack.shape[0]:
            return False, room
        middle, top = _split_loop(loop, begin, top, falls, rises, n_local, n_new, edge)
        stack[depth] = begin
        stack[depth + 1] = middle
        for w in range(words):
            chosen[depth + 1, w] = chosen[depth, w]
        chosen[depth + 1, unit >> 6] |= single_bit(unit & 63)
        depth += 2
        n_local += n_new
        vertex += n_new
        edge += n_new + 1
    return True, Room(vertex, edge, face, first_corner, kink)


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
    """Units that cross the chord p -> q, in the order of their crossings: `loop.chord` and `loop.parameter`; returns
    their number.
    """
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
    """Local vertices where the chord p -> q is crossed, coincident crossings clustered, with values and signs; returns
    their number.
    """
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
            plus = above[w] & ~below[w] | crossing & (positive[p, w] | (positive[q, w] & ~negative[p, w]))
            minus = below[w] & ~above[w] | crossing & (negative[p, w] | (negative[q, w] & ~positive[p, w]))
            positive[x, w] = plus
            negative[x, w] = minus
            while crossing:
                bit = lowest_one(crossing)
                crossing &= crossing - np.uint64(1)
                unit = w * WORD + bit
                z = (1.0 - s) * value[p, unit] + s * value[q, unit]
                one = single_bit(bit)
                value[x, unit] = max(z, 1e-300) if plus & one else min(z, -1e-300) if minus & one else 0.0
        for c in range(last):
            unit = chord[c]
            w = unit >> 6
            bit = single_bit(unit & 63)
            positive[x, w] &= ~bit
            negative[x, w] &= ~bit
            if c >= first:
                value[x, unit] = 0.0
                continue
            z = (1.0 - s) * value[p, unit] + s * value[q, unit]
            if value[q, unit] > 0:
                positive[x, w] |= bit
                value[x, unit] = max(z, 1e-300)
            else:
                negative[x, w] |= bit
                value[x, unit] = min(z, -1e-300)
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
    """Replace the top loop of the stack by its two parts, negative side first; returns the second's start and the
    stack's new top.
    """
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
