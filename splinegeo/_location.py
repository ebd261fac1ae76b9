"""Compiled: the cells of a grid that faces meet, and the search of a point's face within a cell."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_faces(first, last, n, counts):
    """Add to `counts` (n²,) the faces whose boxes, cells `first[f]` to `last[f]`, meet each cell of an n × n grid."""
    for f in range(first.shape[0]):
        for i in range(first[f, 0], last[f, 0] + 1):
            for j in range(first[f, 1], last[f, 1] + 1):
                counts[i * n + j] += 1


@njit(cache=True, nogil=True)
def list_faces(first, last, n, position, faces):
    """Write the faces that meet each cell to `faces`, from `position` (n²,) on, which moves past them."""
    for f in range(first.shape[0]):
        for i in range(first[f, 0], last[f, 0] + 1):
            for j in range(first[f, 1], last[f, 1] + 1):
                faces[position[i * n + j]] = f
                position[i * n + j] += 1


@njit(cache=True, nogil=True)
def search(vertices, offsets, corners, low, scale, n, start, faces, points, slack, begin, end, found):
    """The face that holds each of the points begin..end: of the faces in its cell the first that it is inside of, else
    the one that it misses least, by less than `slack`; -1 if there is none.
    """
    for p in range(begin, end):
        x, y = points[p, 0], points[p, 1]
        if not (np.isfinite(x) and np.isfinite(y)):
            found[p] = -1
            continue
        i = min(max(np.int64((x - low[0]) * scale[0]), 0), n - 1)
        j = min(max(np.int64((y - low[1]) * scale[1]), 0), n - 1)
        best, best_depth = -1, -slack
        for k in range(start[i * n + j], start[i * n + j + 1]):
            depth = _depth(vertices, offsets, corners, faces[k], x, y)
            if depth > best_depth:
                best, best_depth = faces[k], depth
                if depth > 0:
                    break
        found[p] = best


@njit(cache=True, nogil=True)
def _depth(vertices, offsets, corners, face, x, y):
    """Distance of a point from the border of a convex face, negative outside.

    The line of an edge as short as rounding runs anywhere, so that inside is what a ray meets an odd number of sides
    of; both faces of a side decide alike, as they ask it of the same two vertices in the same order.
    """
    inside = False
    square = np.inf
    previous = corners[offsets[face + 1] - 1]
    for k in range(offsets[face], offsets[face + 1]):
        low, high = vertices[previous], vertices[corners[k]]
        previous = corners[k]
        if low[1] > high[1] or (low[1] == high[1] and low[0] > high[0]):
            low, high = high, low
        run_x, run_y = high[0] - low[0], high[1] - low[1]
        off_x, off_y = x - low[0], y - low[1]
        if low[1] <= y < high[1] and run_x * off_y - run_y * off_x > 0.0:
            inside = not inside
        length = run_x * run_x + run_y * run_y
        along = min(max((off_x * run_x + off_y * run_y) / length, 0.0), 1.0) if length > 0.0 else 0.0
        off_x, off_y = off_x - along * run_x, off_y - along * run_y
        square = min(square, off_x * off_x + off_y * off_y)
    return np.sqrt(square) if inside else -np.sqrt(square)
