"""The planar mesh: shared vertices, labelled edges and convex faces. It knows nothing of networks."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64


@dataclass(frozen=True, eq=False)
class Mesh:
    """A conforming subdivision of a convex polygon into convex faces.

    Faces are loops of corners in compressed rows: face f has the corners `corners[offsets[f]:offsets[f + 1]]`,
    counter-clockwise, and leaves its i-th corner along `sides[i] = 2 * edge + reversed`. An edge runs from `edges[e,
    0]` to `edges[e, 1]`, has the face `edge_faces[e, 0]` on its left and `edge_faces[e, 1]` on its right (-1:
    outside), and carries a two-number label (-1, -1: border).
    """

    vertices: Float64[np.ndarray, "V 2"]
    edges: Int32[np.ndarray, "E 2"]
    edge_faces: Int32[np.ndarray, "E 2"]
    edge_labels: Int32[np.ndarray, "E 2"]
    offsets: Int64[np.ndarray, "F+1"]
    corners: Int32[np.ndarray, " H"]
    sides: Int32[np.ndarray, " H"]

    @classmethod
    def from_polygon(cls, polygon: Float64[np.ndarray, "k 2"]) -> "Mesh":
        """One face: a convex polygon given counter-clockwise."""
        n = len(polygon)
        loop = np.arange(n, dtype=np.int32)
        return cls(
            vertices=np.array(polygon, dtype=np.float64),
            edges=np.stack([loop, np.roll(loop, -1)], axis=1),
            edge_faces=np.tile(np.array([0, -1], dtype=np.int32), (n, 1)),
            edge_labels=np.full((n, 2), -1, dtype=np.int32),
            offsets=np.array([0, n], dtype=np.int64),
            corners=loop,
            sides=2 * loop,
        )

    @property
    def n_faces(self) -> int:
        """Number of faces F."""
        return len(self.offsets) - 1

    @property
    def face_of_corner(self) -> Int64[np.ndarray, " H"]:
        """The face that each entry of `corners` belongs to."""
        return np.repeat(np.arange(self.n_faces), np.diff(self.offsets))

    def areas(self) -> Float64[np.ndarray, " F"]:
        """Area of each face: the shoelace formula about the face's own first corner, which keeps small faces exact."""
        following = following_corners(self.offsets)
        first = self.vertices[self.corners[self.offsets[:-1]]][self.face_of_corner]
        a = self.vertices[self.corners] - first
        b = self.vertices[self.corners[following]] - first
        return 0.5 * np.add.reduceat(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], self.offsets[:-1])

    def interior_points(self) -> Float64[np.ndarray, "F 2"]:
        """The area centroid of each face, or its mean corner where the face is too thin to have an area."""
        counts = np.diff(self.offsets)
        mean = np.add.reduceat(self.vertices[self.corners], self.offsets[:-1]) / counts[:, None]
        following = following_corners(self.offsets)
        face = self.face_of_corner
        a = self.vertices[self.corners] - mean[face]
        b = self.vertices[self.corners[following]] - mean[face]
        cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        doubled_area = np.add.reduceat(cross, self.offsets[:-1])
        moment = np.add.reduceat((a + b) * cross[:, None], self.offsets[:-1])
        thick = doubled_area > 0
        shift = np.zeros_like(mean)
        shift[thick] = moment[thick] / (3 * doubled_area[thick, None])
        return mean + shift

    def faces(self, begin: int, end: int) -> "Mesh":
        """The mesh of the faces begin..end alone, with all vertices."""
        half_edges = slice(self.offsets[begin], self.offsets[end])
        kept = np.zeros(len(self.edges), dtype=bool)
        kept[self.sides[half_edges] >> 1] = True
        new_edge = (np.cumsum(kept) - 1).astype(np.int32)
        edge_faces = self.edge_faces[kept]
        inside = (edge_faces >= begin) & (edge_faces < end)
        return Mesh(
            vertices=self.vertices,
            edges=self.edges[kept],
            edge_faces=np.where(inside, edge_faces - np.int32(begin), np.int32(-1)),
            edge_labels=self.edge_labels[kept],
            offsets=self.offsets[begin : end + 1] - self.offsets[begin],
            corners=self.corners[half_edges],
            sides=2 * new_edge[self.sides[half_edges] >> 1] + (self.sides[half_edges] & 1),
        )

    @property
    def is_used(self) -> Bool[np.ndarray, " V"]:
        """Whether each vertex is a corner of a face."""
        used = np.zeros(len(self.vertices), dtype=bool)
        used[self.corners] = True
        return used

    def used_vertices(self) -> "Mesh":
        """The same mesh without the vertices that no face has."""
        used = self.is_used
        if used.all():
            return self
        new_vertex = (np.cumsum(used) - 1).astype(np.int32)
        return replace(
            self, vertices=self.vertices[used], edges=new_vertex[self.edges], corners=new_vertex[self.corners]
        )


def following_corners(offsets: Int64[np.ndarray, "F+1"]) -> Int64[np.ndarray, " H"]:
    """For each place in the list of all faces' corners: that of the face's next corner, of its first after its last."""
    following = np.arange(1, int(offsets[-1]) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    return following


def polygon_area(corners: Float64[np.ndarray, "k 2"]) -> float:
    """Area of a polygon, negative if it is clockwise: the shoelace formula about the first corner, as rounding of large
    coordinates would outweigh a small area.
    """
    spokes = corners[1:] - corners[0]
    return 0.5 * float(np.sum(spokes[:-1, 0] * spokes[1:, 1] - spokes[:-1, 1] * spokes[1:, 0]))
