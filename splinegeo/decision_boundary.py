"""The exact decision boundary on a slice: where the class of largest output changes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._envelope import boundaries_along_edges, boundaries_inside
from splinegeo.tolerance import TOLERANCE

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# Boundaries inside regions for which there is room at once.
_ROOM = 1 << 22


@dataclass(frozen=True, eq=False)
class DecisionBoundary:
    """Segments on whose two sides the class differs, in slice coordinates.

    `segments` (S, 2, 2): both ends of each; `regions` (S,): the region that it crosses, or borders; `classes` (S, 2):
    the two classes.
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

    A class that is largest at all corners of a region is largest inside it, so only the others are looked at. A
    network with one output decides by its sign: class 1 where f > 0, class 0 elsewhere. Outputs that are equal to
    `TOLERANCE` of the largest one count as equal.
    """
    maps, mesh = partition.slice_maps, partition.mesh
    if maps.shape[1] == 1:
        maps = np.concatenate([np.zeros_like(maps), maps], axis=1)
    extent = np.append(np.abs(mesh.vertices).max(axis=0), 1.0)
    tolerance = TOLERANCE * float((np.abs(maps) @ extent).max(initial=0.0))
    mixed = _mixed_regions(partition, maps)
    n_classes = maps.shape[1]
    n_pairs = n_classes * (n_classes - 1) // 2
    step = max(1, _ROOM // n_pairs) if n_pairs else len(mixed) + 1
    parts = []
    for begin in range(0, len(mixed), step):
        regions = mixed[begin : begin + step]
        segments, labels = np.empty((len(regions) * n_pairs, 4)), np.empty((len(regions) * n_pairs, 3), dtype=np.int64)
        n = boundaries_inside(mesh.vertices, mesh.offsets, mesh.corners, maps, regions, tolerance, segments, labels)
        parts.append((segments[:n].copy(), labels[:n].copy()))
    segments, labels = np.empty((len(mesh.edges), 4)), np.empty((len(mesh.edges), 3), dtype=np.int64)
    n = boundaries_along_edges(mesh.vertices, mesh.edges, mesh.edge_faces, maps, tolerance, segments, labels)
    parts.append((segments[:n], labels[:n]))
    segments, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return DecisionBoundary(segments.reshape(-1, 2, 2), labels[:, 0].copy(), labels[:, 1:].copy())


def _mixed_regions(partition: "Partition", maps: Float64[np.ndarray, "R C 3"]) -> Int64[np.ndarray, " n"]:
    """The regions that have different classes at their corners."""
    mesh = partition.mesh
    corner_points = np.column_stack([mesh.vertices[mesh.corners], np.ones(len(mesh.corners))])
    classes = np.empty(len(mesh.corners), dtype=np.int64)
    face = mesh.face_of_corner
    step = 1 << 18
    for a in range(0, len(face), step):
        b = a + step
        classes[a:b] = np.einsum("nck,nk->nc", maps[face[a:b]], corner_points[a:b]).argmax(axis=1)
    low = np.minimum.reduceat(classes, mesh.offsets[:-1])
    high = np.maximum.reduceat(classes, mesh.offsets[:-1])
    return np.nonzero(low != high)[0]
