"""Compiled: values of a stage's units at the mesh's vertices, and which units cross which faces.

The sign of a unit at a vertex is decided here, once, from one row of values: every face and edge that meets the vertex
sees the same sign, so the mesh stays consistent whatever the rounding.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from splinegeo._bits import WORD, count_ones, lowest_one, single_bit
from splinegeo._kernel import kernel

# What a vertex is to a part of the faces: a corner, or one that a corner's row is computed from.
CORNER, BETWEEN = 1, 2


class Births(NamedTuple):
    """Vertices born in the last subdivision: x = (1 - s) u + s w, where the units that change sign between u and w
    make kinks.

    For the born vertex i with ends (u, w) = `ends[i]`, a quantity that is affine but for these units (the next stage's
    values) is (1 - s) y(u) + s y(w) + sum_j kink_j W[:, j] over the entries `kink_start[i] : kink_start[i] +
    kink_count[i]`. The first `n_on_edges` are born on edges, between older vertices; the others inside faces, in the
    faces' order, each later than its ends.
    """

    ends: np.ndarray  # (n, 2) int32
    parameter: np.ndarray  # (n,) float64
    kink_start: np.ndarray  # (n,) int64
    kink_count: np.ndarray  # (n,) int32
    kink_unit: np.ndarray  # (k,) int32
    kink: np.ndarray  # (k,) float64
    n_on_edges: int


class Crossings(NamedTuple):
    """The units that cross each face, in compressed rows, and their values at the face's corners (0.0: on the unit's
    zero set).

    Face f is crossed by `units[start[f]:start[f + 1]]`, ascending; the value of the j-th of them at the face's i-th
    corner is `values[value_start[f] + i * k + j]`, with k units in all.
    """

    start: np.ndarray  # (F + 1,) int64
    units: np.ndarray  # (k,) int32
    value_start: np.ndarray  # (F + 1,) int64
    values: np.ndarray  # (n,) float64


@kernel
def interpolate_rows(rows, births, n_older, columns, begin, end):
    """Fill rows `n_older + begin .. n_older + end` of values at born vertices from the rows of their ends, and the
    kinks between.
    """
    for i in range(begin, end):
        _interpolate_row(rows, n_older + i, births.ends[i, 0], births.ends[i, 1], births, i, columns)


@kernel
def independent_births(births, first_inside, wanted, starts):
    """Where ranges of about `wanted` births inside faces start, the last first, such that no range builds on another's
    rows; returns their number. `first_inside` is the first vertex born inside a face.
    """
    first = births.n_on_edges
    n = 0
    lowest = last = births.ends.shape[0]  # lowest: the first birth that this one or a later one builds on
    for i in range(last - 1, first - 1, -1):
        for k in range(2):
            if births.ends[i, k] >= first_inside:
                lowest = min(lowest, births.ends[i, k] - first_inside + first)
        if lowest >= i and last - i >= wanted:
            starts[n] = i
            n += 1
            last = i
    return n


@njit(cache=True, nogil=True, inline="always")
def _interpolate_row(rows, r, u, w, births, i, columns):
    _interpolate(rows[r], rows[u], rows[w], births, i, columns)


@njit(cache=True, nogil=True, inline="always")
def _interpolate(row, begin, end, births, i, columns):
    """Fill the row of the born vertex i from those of its ends, and the kinks between."""
    s = births.parameter[i]
    n_units = row.shape[0]
    first_kink = births.kink_start[i]
    last_kink = first_kink + births.kink_count[i]
    if last_kink == first_kink:
        for j in range(n_units):
            row[j] = (1.0 - s) * begin[j] + s * end[j]
        return
    first, first_unit = births.kink[first_kink], births.kink_unit[first_kink]
    for j in range(n_units):
        row[j] = (1.0 - s) * begin[j] + s * end[j] + first * columns[first_unit, j]
    for k in range(first_kink + 1, last_kink):
        kink = births.kink[k]
        unit = births.kink_unit[k]
        for j in range(n_units):
            row[j] += kink * columns[unit, j]


@kernel
def family_blocks(parents, offsets, corners_per_block, ends):
    """Where blocks of whole families end, each with as many of them as have so many corners, but with one at least;
    returns the number of blocks. A family are consecutive faces with equal `parents`.
    """
    n_faces = parents.shape[0]
    n = begin = end = 0
    while end < n_faces:
        family = end + 1
        while family < n_faces and parents[family] == parents[end]:
            family += 1
        if end > begin and offsets[family] - offsets[begin] > corners_per_block:
            ends[n] = begin = end
            n += 1
        end = family
    if end > begin:
        ends[n] = end
        n += 1
    return n


@kernel
def gather_rows(corners, begin, end, older_rows, births, columns, row_of, seen, block, rows):
    """Values at all vertices of a block of faces, `corners[begin:end]`: older rows are copied, born ones interpolated.

    A born vertex's ends must be corners of the block too: a block holds whole families, all children of the faces it
    was cut from. `row_of` receives each vertex's row in `rows`; `seen` marks the vertices already met in this block.
    Returns the number of rows.
    """
    n_older = older_rows.shape[0]
    first_inside = n_older + births.n_on_edges
    low, high = first_inside + births.ends.shape[0], first_inside
    n = 0
    for i in range(begin, end):
        vertex = corners[i]
        if vertex < n_older and seen[vertex] != block:
            seen[vertex] = block
            row_of[vertex] = n
            for j in range(rows.shape[1]):
                rows[n, j] = older_rows[vertex, j]
            n += 1
    for i in range(begin, end):
        vertex = corners[i]
        if vertex >= first_inside:
            low, high = min(low, vertex), max(high, vertex + 1)
        elif vertex >= n_older and seen[vertex] != block:
            seen[vertex] = block
            n = _add_born(vertex, n, n_older, births, columns, row_of, rows)
    for vertex in range(low, high):  # whole families have all that is born inside their faces
        n = _add_born(vertex, n, n_older, births, columns, row_of, rows)
    return n


@njit(cache=True, nogil=True, inline="always")
def _add_born(vertex, n, n_older, births, columns, row_of, rows):
    i = vertex - n_older
    row_of[vertex] = n
    _interpolate_row(rows, n, row_of[births.ends[i, 0]], row_of[births.ends[i, 1]], births, i, columns)
    return n + 1


@kernel
def mark_ends(births, n_older, use):
    """Mark the born vertices that rows of marked ones are computed from, and the older ones."""
    for i in range(births.ends.shape[0] - 1, -1, -1):  # each is born later than its ends
        if use[n_older + i] != 0:
            for k in range(2):
                if use[births.ends[i, k]] == 0:
                    use[births.ends[i, k]] = BETWEEN


@kernel
def fill_rows(older, births, columns, use, row_of, rows, between):
    """Rows of the vertices in use, ascending: corners' in `rows`, the others' in `between`."""
    n_older, n_corners, n_between = older.shape[0], 0, 0
    for vertex in range(use.shape[0]):
        if use[vertex] == 0:
            continue
        if use[vertex] == CORNER:
            row_of[vertex], row = n_corners, rows[n_corners]
            n_corners += 1
        else:
            row_of[vertex], row = n_between, between[n_between]
            n_between += 1
        if vertex < n_older:
            for j in range(row.shape[0]):
                row[j] = older[vertex, j]
        else:
            i = vertex - n_older
            u, w = births.ends[i, 0], births.ends[i, 1]
            first, last = _row_in_use(u, use, row_of, rows, between), _row_in_use(w, use, row_of, rows, between)
            _interpolate(row, first, last, births, i, columns)


@njit(cache=True, nogil=True, inline="always")
def _row_in_use(vertex, use, row_of, rows, between):
    return rows[row_of[vertex]] if use[vertex] == CORNER else between[row_of[vertex]]


@kernel
def find_in_blocks(
    offsets, corners, ends, first, last, older_rows, births, columns, tolerance, row_of, seen, rows, positive, negative,
    crossing, bits, counts, units, values,
):  # fmt: skip
    """Crossings of the blocks of faces first..last, where block i ends at face `ends[i + 1]`: until there is no room
    for their units and values.

    Returns the first block that is left, and how many units and values were found.
    """
    n_units, n_values = 0, 0
    for block in range(first, last):
        begin, end = ends[block], ends[block + 1]
        n = gather_rows(corners, offsets[begin], offsets[end], older_rows, births, columns, row_of, seen, begin, rows)
        pack_signs(rows, tolerance, 0, n, positive, negative)
        count_crossings(offsets, corners, row_of, positive, negative, begin, end, bits, crossing, counts)
        of_block, at_corners = 0, 0
        for f in range(begin, end):
            of_block += counts[f]
            at_corners += counts[f] * (offsets[f + 1] - offsets[f])
        if n_units + of_block > units.shape[0] or n_values + at_corners > values.shape[0]:
            for i in range(offsets[begin], offsets[end]):
                seen[corners[i]] = -1  # the block will be met once more
            return block, n_units, n_values
        fill_crossings(
            offsets, corners, row_of, rows, tolerance, crossing, begin, end, units[n_units:], values[n_values:]
        )
        n_units += of_block
        n_values += at_corners
    return last, n_units, n_values


@kernel
def pack_signs(rows, tolerance, begin, end, positive, negative):
    """Signs of the units at vertices, one bit each: positive above the unit's tolerance, negative below minus it, else
    neither.
    """
    n_units = rows.shape[1]
    for r in range(begin, end):
        for w in range(positive.shape[1]):
            above = np.uint64(0)
            below = np.uint64(0)
            first = w * WORD
            for b in range(min(WORD, n_units - first)):
                z = rows[r, first + b]
                t = tolerance[first + b]
                above |= np.uint64(z > t) << np.uint64(b)
                below |= np.uint64(z < -t) << np.uint64(b)
            positive[r, w] = above
            negative[r, w] = below


@kernel
def count_crossings(offsets, corners, row_of, positive, negative, begin, end, bits, crossing, counts):
    """For faces begin..end: add the units that are positive somewhere to `bits`, set the crossing units in `crossing`,
    count them.
    """
    n_words = positive.shape[1]
    for f in range(begin, end):
        n = 0
        for w in range(n_words):
            above = np.uint64(0)
            below = np.uint64(0)
            for i in range(offsets[f], offsets[f + 1]):
                r = row_of[corners[i]]
                above |= positive[r, w]
                below |= negative[r, w]
            bits[f, w] |= above
            crossing[f - begin, w] = above & below
            n += count_ones(above & below)
        counts[f] = n


@kernel
def fill_crossings(offsets, corners, row_of, rows, tolerance, crossing, begin, end, units, values):
    """List the crossing units of faces begin..end and their values at the corners, face after face; values within
    tolerance are 0.
    """
    n_units = 0
    n_values = 0
    for f in range(begin, end):
        first_unit = n_units
        for w in range(crossing.shape[1]):
            word = crossing[f - begin, w]
            while word:
                bit = lowest_one(word)
                word &= ~single_bit(bit)
                units[n_units] = w * WORD + bit
                n_units += 1
        if n_units == first_unit:
            continue
        for i in range(offsets[f], offsets[f + 1]):
            row = rows[row_of[corners[i]]]
            for j in range(first_unit, n_units):
                z = row[units[j]]
                values[n_values] = z if abs(z) > tolerance[units[j]] else 0.0
                n_values += 1
