"""Compiled: which faces of two meshes may overlap, and the areas that they share."""

from typing import NamedTuple

import numpy as np
from numba import njit


class Boxes(NamedTuple):
    """Bounding boxes of a mesh's faces, and the cells of a grid that hold their lower left and upper right corners."""

    low: np.ndarray  # (F, 2) float64
    high: np.ndarray  # (F, 2) float64
    first_cell: np.ndarray  # (F, 2) int64
    last_cell: np.ndarray  # (F, 2) int64


@njit(cache=True, nogil=True)
def pair_faces(
    boxes: Boxes,
    others: Boxes,
    cell_start: np.ndarray,
    cell_faces: np.ndarray,
    n_cells: int,
    begin: int,
    end: int,
    counts: np.ndarray,
    partners: np.ndarray,
) -> int:
    """Pairs of faces begin..end with the faces in a grid's cells whose boxes overlap theirs; returns their number.

    `counts` gets the number of each face's partners; the partners themselves are listed as far as there is room.
    """
    n = 0
    for f in range(begin, end):
        before = n
        for i in range(boxes.first_cell[f, 0], boxes.last_cell[f, 0] + 1):
            for j in range(boxes.first_cell[f, 1], boxes.last_cell[f, 1] + 1):
                for k in range(cell_start[i * n_cells + j], cell_start[i * n_cells + j + 1]):
                    g = cell_faces[k]
                    # Both boxes may share several cells: the one that holds the corner of their overlap counts.
                    if i != max(boxes.first_cell[f, 0], others.first_cell[g, 0]):
                        continue
                    if j != max(boxes.first_cell[f, 1], others.first_cell[g, 1]):
                        continue
                    if _boxes_overlap(boxes, f, others, g):
                        if n < partners.shape[0]:
                            partners[n] = g
                        n += 1
        counts[f] = n - before
    return n


@njit(cache=True, nogil=True, inline="always")
def _boxes_overlap(boxes: Boxes, f: int, others: Boxes, g: int) -> bool:
    return (
        boxes.low[f, 0] < others.high[g, 0]
        and others.low[g, 0] < boxes.high[f, 0]
        and boxes.low[f, 1] < others.high[g, 1]
        and others.low[g, 1] < boxes.high[f, 1]
    )


@njit(cache=True, nogil=True)
def overlap_pairs(
    vertices: np.ndarray,
    offsets: np.ndarray,
    corners: np.ndarray,
    face_areas: np.ndarray,
    other_vertices: np.ndarray,
    other_offsets: np.ndarray,
    other_corners: np.ndarray,
    other_areas: np.ndarray,
    faces: np.ndarray,
    others: np.ndarray,
    begin: int,
    end: int,
    areas: np.ndarray,
) -> None:
    """Area that each pair begin..end of convex faces shares: one face clipped by the sides of the other.

    The line of a side as short as rounding runs anywhere, through the face itself: each line is moved outwards until
    the face is on its left. No more is shared than the area of either.
    """
    room = 0
    for p in range(begin, end):
        n = offsets[faces[p] + 1] - offsets[faces[p]]
        m = other_offsets[others[p] + 1] - other_offsets[others[p]]
        room = max(room, 2 * (n + m))  # faces are convex to rounding only: a side may be met more than twice
    loop, clipped = np.empty((room, 2)), np.empty((room, 2))
    for p in range(begin, end):
        first = offsets[faces[p]]
        n = offsets[faces[p] + 1] - first
        # Coordinates about a corner of the face: small faces far from the origin stay exact.
        ox, oy = vertices[corners[first], 0], vertices[corners[first], 1]
        for k in range(n):
            loop[k, 0] = vertices[corners[first + k], 0] - ox
            loop[k, 1] = vertices[corners[first + k], 1] - oy
        previous = other_corners[other_offsets[others[p] + 1] - 1]
        for k in range(other_offsets[others[p]], other_offsets[others[p] + 1]):
            corner = other_corners[k]
            ax, ay = other_vertices[previous, 0] - ox, other_vertices[previous, 1] - oy
            dx = other_vertices[corner, 0] - other_vertices[previous, 0]
            dy = other_vertices[corner, 1] - other_vertices[previous, 1]
            first_other, end_other = other_offsets[others[p]], other_offsets[others[p] + 1]
            beyond = _farthest_right(other_vertices, other_corners, first_other, end_other, previous, corner)
            n = _clip(loop, n, ax, ay, dx, dy, beyond, clipped)
            loop, clipped = clipped, loop
            previous = corner
            if n < 3:
                break
        areas[p] = 0.0
        if n >= 3:
            doubled = 0.0
            for k in range(1, n - 1):
                doubled += (loop[k, 0] - loop[0, 0]) * (loop[k + 1, 1] - loop[0, 1])
                doubled -= (loop[k, 1] - loop[0, 1]) * (loop[k + 1, 0] - loop[0, 0])
            whole = min(face_areas[faces[p]], other_areas[others[p]])
            areas[p] = max(0.0, min(doubled / 2, whole))


@njit(cache=True, nogil=True)
def _farthest_right(vertices: np.ndarray, corners: np.ndarray, begin: int, end: int, a: int, b: int) -> float:
    """How far a corner of a face is on the right of the line from its vertex a to b, times their distance; 0 if none
    is.
    """
    dx, dy = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1]
    farthest = 0.0
    for k in range(begin, end):
        x, y = vertices[corners[k], 0] - vertices[a, 0], vertices[corners[k], 1] - vertices[a, 1]
        farthest = max(farthest, dy * x - dx * y)
    return farthest


@njit(cache=True, nogil=True)
def _clip(
    loop: np.ndarray, n: int, ax: float, ay: float, dx: float, dy: float, beyond: float, clipped: np.ndarray
) -> int:
    """The part of a convex loop of n corners on the left of the line from a along d, moved to the right by `beyond` /
    |d|; returns its number of corners.
    """
    m = 0
    px, py = loop[n - 1, 0], loop[n - 1, 1]
    before = dx * (py - ay) - dy * (px - ax) + beyond
    for k in range(n):
        if m + 2 > clipped.shape[0]:
            break
        qx, qy = loop[k, 0], loop[k, 1]
        here = dx * (qy - ay) - dy * (qx - ax) + beyond
        if (before < 0.0 and here > 0.0) or (before > 0.0 and here < 0.0):
            s = before / (before - here)
            clipped[m, 0], clipped[m, 1] = px + s * (qx - px), py + s * (qy - py)
            m += 1
        if here >= 0.0:
            clipped[m, 0], clipped[m, 1] = qx, qy
            m += 1
        px, py, before = qx, qy, here
    return m
