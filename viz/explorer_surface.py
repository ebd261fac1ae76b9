"""A partition as triangles with one value for each region: what a Surface layer draws."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt32

from splinegeo import Partition
from viz.class_pieces import ClassPieces
from viz.explorer_window import Window


@dataclass(frozen=True, eq=False)
class RegionSurface:
    """Regions, or pieces of them, in the world of a window, each with corners of its own: its colour is flat."""

    vertices: Float32[np.ndarray, "H 2"]
    triangles: UInt32[np.ndarray, "T 3"]
    region_of_vertex: Int64[np.ndarray, " H"]

    @classmethod
    def of(cls, part: Partition | ClassPieces, window: Window) -> "RegionSurface":
        """The fans of all regions or pieces: they are convex, so a fan about the first corner triangulates each."""
        vertices = window.to_world(part.vertices).astype(np.float32)[part.corners]
        return cls(vertices, fan_triangles(part.offsets), np.repeat(np.arange(part.n_regions), np.diff(part.offsets)))

    def per_vertex(self, values: Float[np.ndarray, "R *k"]) -> Float32[np.ndarray, "H *k"]:
        """The value of its region at each vertex."""
        return np.asarray(values, dtype=np.float32)[self.region_of_vertex]


def fan_triangles(offsets: Int64[np.ndarray, "R+1"]) -> UInt32[np.ndarray, "T 3"]:
    """Triangles (first, i, i + 1) of polygons whose corners are offsets[r]..offsets[r + 1], counter-clockwise."""
    n_triangles = np.maximum(np.diff(offsets) - 2, 0)
    first = np.repeat(offsets[:-1], n_triangles)
    before = np.cumsum(n_triangles) - n_triangles
    within = np.arange(len(first)) - np.repeat(before, n_triangles)
    return np.stack([first, first + within + 1, first + within + 2], axis=1).astype(np.uint32)
