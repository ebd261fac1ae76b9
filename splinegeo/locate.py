"""Point location: which region holds a point of the slice."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._chunks import even_chunks, run_chunks, running_sum
from splinegeo._location import count_faces, list_faces, search
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
    count_faces(first, last, n, counts)
    start = running_sum(counts)
    faces = np.empty(start[-1], dtype=np.int32)
    list_faces(first, last, n, start[:-1].copy(), faces)
    return Grid(low, scale, (n, n), start, faces)


def locate(
    mesh: Mesh, grid: Grid, points: Float64[np.ndarray, "n 2"], slack: float, threads: int
) -> Int64[np.ndarray, " n"]:
    """The face that holds each point, -1 outside; a point on an edge belongs to one of its faces.

    `slack` is the distance by which a point may miss a face through rounding.
    """
    found = np.empty(len(points), dtype=np.int64)
    run_chunks(
        lambda a, b: search(
            mesh.vertices, mesh.offsets, mesh.corners, grid.low, grid.scale, grid.shape[0], grid.start, grid.faces,
            points, slack, a, b, found,
        ),
        even_chunks(len(points), 1, threads),
        threads,
    )  # fmt: skip
    return found


def _cells(points: np.ndarray, low: np.ndarray, scale: np.ndarray, n: int) -> np.ndarray:
    return np.clip(((points - low) * scale).astype(np.int64), 0, n - 1)
