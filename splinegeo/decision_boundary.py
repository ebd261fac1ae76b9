"""The exact decision boundary on a slice: where the class of largest output changes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._envelope import clip_boundaries

if TYPE_CHECKING:
    from splinegeo.partition import Partition


@dataclass(frozen=True, eq=False)
class DecisionBoundary:
    """Segments on which the two largest outputs are equal, in slice coordinates.

    `segments` (S, 2, 2): both ends of each; `regions` (S,): the region that it crosses; `classes` (S, 2): the two
    classes.
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
    network with one output decides by its sign: class 1 where f > 0, class 0 elsewhere.
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
    n = clip_boundaries(mesh.vertices, mesh.offsets, mesh.corners, maps, mixed, segments, labels)
    return DecisionBoundary(segments[:n].reshape(n, 2, 2).copy(), labels[:n, 0].copy(), labels[:n, 1:].copy())
