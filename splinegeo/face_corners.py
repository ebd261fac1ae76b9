"""The corners of the faces after a stage: such a face is a union of regions."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._chunks import running_sum
from splinegeo.mesh import following_corners

if TYPE_CHECKING:
    from splinegeo.partition import Partition


class FacePoints(NamedTuple):
    """Points of faces: face f has the points points[start[f]:start[f + 1]]; none if no region lies in it."""

    start: Int64[np.ndarray, "F+1"]
    points: Float64[np.ndarray, "P 2"]

    @property
    def faces(self) -> Int64[np.ndarray, " P"]:
        """The face of each point."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def corners_and_centres(partition: "Partition", stage: int, n_faces: int) -> FacePoints:
    """The corners of each face after a stage, then their mean, in slice coordinates; where an edge meets several
    neighbours, their corners too.

    A face is convex, so an affine function that is not negative at these corners is not negative on the face.
    """
    mesh = partition.mesh
    edge = mesh.sides >> 1
    inner = (mesh.edge_faces[edge] >= 0).all(axis=1)
    face_of_region = partition.ancestors[stage]
    face = face_of_region[mesh.face_of_corner]
    across = face_of_region[mesh.edge_faces[edge, 1 - (mesh.sides & 1)]]
    bounding = np.nonzero(~inner | (across != face))[0]
    following = following_corners(mesh.offsets)
    # Two convex faces share one segment at most; edges without a neighbour each count as a segment of their own.
    segment = np.where(inner, across, -1 - edge.astype(np.int64))[bounding]
    ends = np.concatenate([mesh.corners[bounding], mesh.corners[following[bounding]]]).astype(np.int64)
    places, segments = np.tile(face[bounding], 2) * len(mesh.vertices) + ends, np.tile(segment, 2)
    order = np.argsort(places, kind="stable")
    places, segments = places[order], segments[order]
    first = np.nonzero(np.diff(places, prepend=-1))[0]
    corner = np.minimum.reduceat(segments, first) != np.maximum.reduceat(segments, first)
    faces, vertices = np.divmod(places[first[corner]], len(mesh.vertices))
    return _with_centres(faces, mesh.vertices[vertices], n_faces)


def _with_centres(faces: Int64[np.ndarray, " n"], corners: Float64[np.ndarray, "n 2"], n_faces: int) -> FacePoints:
    counts = np.bincount(faces, minlength=n_faces)
    occupied = np.nonzero(counts)[0]
    centres = np.add.reduceat(corners, running_sum(counts[occupied])[:-1]) / counts[occupied, None]
    start = running_sum(counts + (counts > 0))
    points = np.empty((int(start[-1]), 2))
    is_centre = np.zeros(len(points), dtype=bool)
    is_centre[start[occupied + 1] - 1] = True
    points[is_centre], points[~is_centre] = centres, corners
    return FacePoints(start, points)
