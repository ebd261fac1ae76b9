"""Neighbouring faces joined: the comparisons of a max pooling layer that its winners do not depend on are no
boundaries.
"""

import numpy as np
from jaxtyping import Int32, Int64
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from splinegeo._chunks import running_sum
from splinegeo.mesh import Mesh


def joined_faces(mesh: Mesh, keys: Int64[np.ndarray, " F"]) -> Int64[np.ndarray, " F"]:
    """For each face, the number of the face that it becomes when neighbours with equal keys are joined, in their
    order.
    """
    pairs = mesh.edge_faces[(mesh.edge_faces >= 0).all(axis=1)]
    pairs = pairs[keys[pairs[:, 0]] == keys[pairs[:, 1]]]
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(mesh.n_faces,) * 2)
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def join_faces(mesh: Mesh, joined: Int64[np.ndarray, " F"]) -> Mesh:
    """The mesh in which the faces with equal numbers are one; all vertices are kept.

    The joined faces must be simply connected, as the convex pieces of a maximum are.
    """
    labels = np.append(joined, -1)[mesh.edge_faces]  # the last entry maps -1, outside, to itself
    kept = labels[:, 0] != labels[:, 1]
    new_edge = (np.cumsum(kept) - 1).astype(np.int32)
    position = np.full(2 * len(mesh.edges), -1, dtype=np.int64)
    position[mesh.sides] = np.arange(len(mesh.sides))
    n_joined = int(joined.max()) + 1
    counts = np.bincount(joined[mesh.face_of_corner[kept[mesh.sides >> 1]]], minlength=n_joined)
    offsets = running_sum(counts)
    corners = np.empty(offsets[-1], dtype=np.int32)
    sides = np.empty(offsets[-1], dtype=np.int32)
    face_of_corner = mesh.face_of_corner.astype(np.int32)
    _follow_loops(
        mesh.offsets, mesh.corners, mesh.sides, face_of_corner, kept, position, joined, offsets, corners, sides
    )
    return Mesh(
        vertices=mesh.vertices,
        edges=mesh.edges[kept],
        edge_faces=labels[kept].astype(np.int32),
        edge_labels=mesh.edge_labels[kept],
        offsets=offsets,
        corners=corners,
        sides=2 * new_edge[sides >> 1] + (sides & 1),
    )


@njit(cache=True, nogil=True)
def _follow_loops(
    offsets: Int64[np.ndarray, "F+1"],
    corners: Int32[np.ndarray, " H"],
    sides: Int32[np.ndarray, " H"],
    face_of_corner: Int32[np.ndarray, " H"],
    kept: np.ndarray,
    position: Int64[np.ndarray, " 2E"],
    joined: Int64[np.ndarray, " F"],
    new_offsets: Int64[np.ndarray, "F'+1"],
    new_corners: Int32[np.ndarray, " H'"],
    new_sides: Int32[np.ndarray, " H'"],
) -> None:
    """Walk around each joined face along kept edges: at the end of one, turn about its vertex past the edges that
    fall.
    """
    started = np.zeros(new_offsets.shape[0] - 1, dtype=np.bool_)
    for first in range(corners.shape[0]):
        face = joined[face_of_corner[first]]
        if started[face] or not kept[sides[first] >> 1]:
            continue
        started[face] = True
        h = first
        for n in range(new_offsets[face], new_offsets[face + 1]):
            new_corners[n] = corners[h]
            new_sides[n] = sides[h]
            f = face_of_corner[h]
            h = h + 1 if h + 1 < offsets[f + 1] else offsets[f]
            while not kept[sides[h] >> 1]:
                h = position[sides[h] ^ 1]
                f = face_of_corner[h]
                h = h + 1 if h + 1 < offsets[f + 1] else offsets[f]
