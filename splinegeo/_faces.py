"""Compiled: a face crossed by units is split by one of them, and each part again, until no part is crossed.

Inside a convex face each crossing unit is one chord between two corners of the face's loop (its edges have been cut
before). Splitting along a chord turns the chord into an edge: the units with opposite signs at its two ends cross it,
in the order of their crossings, and every new vertex takes its signs from that order. So no sign is ever decided by
the position of an interior vertex, and each part is again a convex face whose crossing units are chords. The recursion
ends because each part lies on one side of its chord.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from splinegeo._bits import WORD, lowest_one, single_bit
from splinegeo._edges import coincide, kink_of
from splinegeo._loops import find_chord, largest_loop, new_loop, open_loop


class Slots(NamedTuple):
    """Where each face's offspring is written: ranges between consecutive entries, as large as it can need."""

    vertex: np.ndarray  # (F + 1,) int64, first new vertex inside face f
    edge: np.ndarray
    face: np.ndarray
    corner: np.ndarray
    kink: np.ndarray


class Offspring(NamedTuple):
    """What splitting writes; edges and faces are global numbers, `born` counts from the first vertex of this
    subdivision.
    """

    vertices: np.ndarray  # (n, 2), with edge-born vertices first
    edges: np.ndarray
    edge_labels: np.ndarray
    edge_faces: np.ndarray
    face_ends: np.ndarray  # (F',) int64: end of the face's corners in `corners`
    face_parents: np.ndarray
    corners: np.ndarray
    sides: np.ndarray
    bits: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def split_faces(
    vertices, offsets, corners, sides, bits, crossings, cuts, births, parameters, slopes, tolerance, closeness, stage,
    slots, begin, end, offspring, used,
):  # fmt: skip
    """Write the parts of faces begin..end into their slots; `used[f]` gets the vertices, edges, faces and corners each
    one took.

    Returns the first face that needs more room than its slots (rounding can make chords of near-duplicate units meet
    twice), or -1.
    """
    max_corners, max_units = largest_loop(offsets, sides, crossings, cuts, begin, end)
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
            f,
            m,
            vertices.shape[0],
            bits,
            crossings,
            births,
            slopes,
            tolerance,
            closeness,
            stage,
            slots,
            offspring,
            used,
            loop,
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
def _split_face(
    f, m, n_older, bits, crossings, births, slopes, tolerance, closeness, stage, slots, offspring, used, loop
):
    units = crossings.units[crossings.start[f] : crossings.start[f + 1]]
    words = (units.shape[0] + WORD - 1) // WORD
    above, below = loop.above, loop.below
    corner, positive, negative = loop.corner, loop.positive, loop.negative
    stack, ids, points = loop.stack, loop.vertex, loop.point
    new_vertices, new_edges, new_labels, birth_ends, birth_kink = (
        offspring.vertices,
        offspring.edges,
        offspring.edge_labels,
        births.ends,
        births.kink,
    )
    slot_vertex, slot_edge, slot_face, slot_corner, slot_kink = (
        slots.vertex[f],
        slots.edge[f],
        slots.face[f],
        slots.corner[f],
        slots.kink[f],
    )
    end_vertex, end_edge, end_face, end_corner, end_kink = (
        slots.vertex[f + 1],
        slots.edge[f + 1],
        slots.face[f + 1],
        slots.corner[f + 1],
        slots.kink[f + 1],
    )
    room = loop.corner.shape[0]
    n_vertices, n_edges, n_faces, n_corners, n_kinks = 0, 0, 0, 0, 0
    n_local = m
    for i in range(m):
        corner[i] = i
    stack[0] = 0
    depth = 1
    top = m
    while depth:
        depth -= 1
        begin = stack[depth]
        for w in range(words):
            above[w] = 0
            below[w] = 0
            for i in range(begin, top):
                above[w] |= positive[corner[i], w]
                below[w] |= negative[corner[i], w]
        unit, falls, rises = _choose_chord(loop, begin, top, above, below, words)

        if unit < 0:
            face = slot_face + n_faces
            first_corner = slot_corner + n_corners
            if face >= end_face or first_corner + top - begin > end_corner:
                return False
            n_faces += 1
            n_corners += top - begin
            _emit_face(f, face, first_corner, begin, top, units, above, bits, offspring, loop)
            top = begin
            continue

        p = corner[begin + falls]
        q = corner[begin + rises]
        n_crossing = _chord_crossings(loop, p, q, above, below, words)
        if n_local + n_crossing > ids.shape[0]:
            return False
        n_new = _new_vertices(loop, p, q, n_local, n_crossing, units, above, below, words, tolerance, closeness)
        vertex = slot_vertex + n_vertices
        edge = slot_edge + n_edges
        if vertex + n_new > end_vertex or edge + n_new + 1 > end_edge:
            return False
        if n_new and birth_ends.shape[0]:
            kink = slot_kink + n_kinks
            if birth_kink.shape[0] and kink + n_new * n_crossing > end_kink:
                return False
            n_kinks += _record_births(loop, p, q, n_local, n_new, n_crossing, units, births, slopes, vertex, kink)
        for i in range(n_new + 1):
            if i < n_new:
                ids[n_local + i] = n_older + vertex + i
                new_vertices[vertex + i, 0] = points[n_local + i, 0]
                new_vertices[vertex + i, 1] = points[n_local + i, 1]
            new_edges[edge + i, 0] = ids[p if i == 0 else n_local + i - 1]
            new_edges[edge + i, 1] = ids[q if i == n_new else n_local + i]
            new_labels[edge + i, 0] = stage
            new_labels[edge + i, 1] = units[unit]
        if top + 2 * (n_new + 1) > room:
            return False
        middle, top = _split_loop(loop, begin, top, falls, rises, n_local, n_new, edge)
        stack[depth] = begin
        stack[depth + 1] = middle
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
