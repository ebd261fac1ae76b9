"""Point location: which region holds a point of the slice."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

from splinegeo._chunks import chunk_bounds, run_chunks, running_sum
from splinegeo.mesh import Mesh


class Grid(NamedTuple):
    """A uniform grid over the mesh, and the faces whose bounding boxes meet each cell, in compressed rows."""

    low: np.ndarray
    scale: np.ndarray
    shape: tuple[int, int]
    start: np.ndarray
    faces: np.ndarray


def build_grid(mesh: Mesh) -> Grid:
    """A grid with about as many cells as the mesh has faces."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    n = max(1, int(np.sqrt(mesh.n_faces)))
    scale = n / (high - low)
    corner_points = mesh.vertices[mesh.corners]
    first = _cells(np.minimum.reduceat(corner_points, mesh.offsets[:-1]), low, scale, n)
    last = _cells(np.maximum.reduceat(corner_points, mesh.offsets[:-1]), low, scale, n)
    counts = np.zeros(n * n, dtype=np.int64)
    _count_faces(first, last, n, counts)
    start = running_sum(counts)
    faces = np.empty(start[-1], dtype=np.int32)
    _list_faces(first, last, n, start[:-1].copy(), faces)
    return Grid(low, scale, (n, n), start, faces)


def locate(mesh: Mesh, grid: Grid, points: Float64[np.ndarray, "n 2"], slack: float, threads: int) -> Int64[np.ndarray, " n"]:
    """The face that holds each point, -1 outside; a point on an edge belongs to one of its faces.

    `slack` is the distance by which a point may miss a face through rounding.
    """
    found = np.empty(len(points), dtype=np.int64)
    run_chunks(
        lambda a, b: _search(
            mesh.vertices, mesh.offsets, mesh.corners, grid.low, grid.scale, grid.shape[0], grid.start, grid.faces, points, slack,
            a, b, found,
        ),
        chunk_bounds(np.arange(len(points) + 1), threads),
        threads,
    )  # fmt: skip
    return found


def _cells(points: np.ndarray, low: np.ndarray, scale: np.ndarray, n: int) -> np.ndarray:
    return np.clip(((points - low) * scale).astype(np.int64), 0, n - 1)


@njit(cache=True, nogil=True)
def _count_faces(first, last, n, counts):
    for f in range(first.shape[0]):
        for i in range(first[f, 0], last[f, 0] + 1):
            for j in range(first[f, 1], last[f, 1] + 1):
                counts[i * n + j] += 1


@njit(cache=True, nogil=True)
def _list_faces(first, last, n, position, faces):
    for f in range(first.shape[0]):
        for i in range(first[f, 0], last[f, 0] + 1):
            for j in range(first[f, 1], last[f, 1] + 1):
                faces[position[i * n + j]] = f
                position[i * n + j] += 1


@njit(cache=True, nogil=True)
def _search(vertices, offsets, corners, low, scale, n, start, faces, points, slack, begin, end, found):
    for p in range(begin, end):
        x, y = points[p, 0], points[p, 1]
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
    """Distance of a point from the nearest edge line of a convex face, negative outside."""
    depth = np.inf
    previous = corners[offsets[face + 1] - 1]
    for k in range(offsets[face], offsets[face + 1]):
        a, b = vertices[previous], vertices[corners[k]]
        previous = corners[k]
        run_x, run_y = b[0] - a[0], b[1] - a[1]
        length = np.sqrt(run_x * run_x + run_y * run_y)
        if length == 0.0:
            continue
        depth = min(depth, (run_x * (y - a[1]) - run_y * (x - a[0])) / length)
    return depth
