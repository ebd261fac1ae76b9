"""The exact decision boundary on a slice: where the class of largest output changes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

if TYPE_CHECKING:
    from splinegeo.partition import Partition


@dataclass(frozen=True, eq=False)
class DecisionBoundary:
    """Segments on which the two largest outputs are equal, in slice coordinates.

    `segments` (S, 2, 2): both ends of each; `regions` (S,): the region that it crosses; `classes` (S, 2): the two classes.
    """

    segments: Float64[np.ndarray, "S 2 2"]
    regions: Int64[np.ndarray, " S"]
    classes: Int64[np.ndarray, "S 2"]

    def between(self, first: int, second: int) -> Float64[np.ndarray, "n 2 2"]:
        """The segments between two classes."""
        pair = np.sort([first, second])
        return self.segments[(self.classes == pair).all(axis=1)]

    @property
    def length(self) -> float:
        """Total length, in input-space units."""
        return float(np.linalg.norm(self.segments[:, 1] - self.segments[:, 0], axis=1).sum())


def decision_boundary(partition: "Partition") -> DecisionBoundary:
    """Where argmax f changes: in each region, the upper envelope of the affine outputs, clipped to the region.

    A class that is largest at all corners of a region is largest inside it, so only the others are looked at. A network with one
    output decides by its sign: class 1 where f > 0, class 0 elsewhere.
    """
    maps, mesh = partition.slice_maps, partition.mesh
    if maps.shape[1] == 1:
        maps = np.concatenate([np.zeros_like(maps), maps], axis=1)
    corner_points = np.column_stack([mesh.vertices[mesh.corners], np.ones(len(mesh.corners))])
    classes = np.empty(len(mesh.corners), dtype=np.int64)
    face = mesh.face_of_corner
    step = 1 << 18
    for a in range(0, len(face), step):
        b = a + step
        classes[a:b] = np.einsum("nck,nk->nc", maps[face[a:b]], corner_points[a:b]).argmax(axis=1)
    low = np.minimum.reduceat(classes, mesh.offsets[:-1])
    high = np.maximum.reduceat(classes, mesh.offsets[:-1])
    mixed = np.nonzero(low != high)[0]
    n_classes = maps.shape[1]
    room = len(mixed) * n_classes * (n_classes - 1) // 2
    segments = np.empty((room, 4))
    labels = np.empty((room, 3), dtype=np.int64)
    n = _clip_boundaries(mesh.vertices, mesh.offsets, mesh.corners, maps, mixed, segments, labels)
    return DecisionBoundary(segments[:n].reshape(n, 2, 2).copy(), labels[:n, 0].copy(), labels[:n, 1:].copy())


@njit(cache=True, nogil=True, error_model="numpy")
def _clip_boundaries(vertices, offsets, corners, maps, regions, segments, labels):
    """For every pair of classes: the line where they are equal, clipped by the region and by the classes above them."""
    n = 0
    n_classes = maps.shape[1]
    for r in regions:
        center = np.zeros(2)
        for k in range(offsets[r], offsets[r + 1]):
            center += vertices[corners[k]]
        center /= offsets[r + 1] - offsets[r]
        for i in range(n_classes):
            for j in range(i + 1, n_classes):
                gx = maps[r, i, 0] - maps[r, j, 0]
                gy = maps[r, i, 1] - maps[r, j, 1]
                squared = gx * gx + gy * gy
                if squared == 0.0:
                    continue
                value = gx * center[0] + gy * center[1] + maps[r, i, 2] - maps[r, j, 2]
                px, py = center[0] - value * gx / squared, center[1] - value * gy / squared
                norm = np.sqrt(squared)
                dx, dy = -gy / norm, gx / norm
                low, high = -np.inf, np.inf
                for k in range(offsets[r], offsets[r + 1]):
                    a = vertices[corners[k]]
                    b = vertices[corners[k + 1 if k + 1 < offsets[r + 1] else offsets[r]]]
                    nx, ny = a[1] - b[1], b[0] - a[0]
                    low, high = _clip(nx * (px - a[0]) + ny * (py - a[1]), nx * dx + ny * dy, low, high)
                for c in range(n_classes):
                    if c != i and c != j:
                        ex, ey = maps[r, i, 0] - maps[r, c, 0], maps[r, i, 1] - maps[r, c, 1]
                        low, high = _clip(ex * px + ey * py + maps[r, i, 2] - maps[r, c, 2], ex * dx + ey * dy, low, high)
                if low < high:
                    segments[n, 0], segments[n, 1] = px + low * dx, py + low * dy
                    segments[n, 2], segments[n, 3] = px + high * dx, py + high * dy
                    labels[n, 0], labels[n, 1], labels[n, 2] = r, i, j
                    n += 1
    return n


@njit(cache=True, inline="always")
def _clip(value, slope, low, high):
    """The part of low..high where value + slope * s >= 0."""
    if slope > 0:
        return max(low, -value / slope), high
    if slope < 0:
        return low, min(high, -value / slope)
    if value < 0:
        return np.inf, -np.inf
    return low, high
