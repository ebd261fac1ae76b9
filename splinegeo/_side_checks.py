"""Figures of a certificate that concern sides: what regions say of the edges along them, and edges of their regions."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from splinegeo.mesh import Mesh, following_corners


class SideFigures(NamedTuple):
    """`regions` have a wrong side; for the other see the field of the same name of `Certificate`."""

    wrong_sides: int
    regions: Int64[np.ndarray, " n"]


def side_figures(mesh: Mesh) -> SideFigures:
    """Check that every region goes along its edges in the direction that it says, with itself on the left, and that
    every edge is once a side of each region that it names.
    """
    edge, reverse = mesh.sides >> 1, mesh.sides & 1
    faces = mesh.face_of_corner
    is_wrong = mesh.edge_faces[edge, reverse] != faces
    is_wrong |= mesh.edges[edge, reverse] != mesh.corners
    is_wrong |= mesh.edges[edge, 1 - reverse] != mesh.corners[following_corners(mesh.offsets)]
    neighbours = mesh.edge_faces.ravel()  # of each edge on its left, then on its right: numbered as sides are
    times = np.bincount(mesh.sides, minlength=len(neighbours))
    wrong = times != (neighbours >= 0)
    wrong[mesh.sides[is_wrong]] = True
    named = neighbours[wrong]
    return SideFigures(int(wrong.sum()), np.union1d(faces[wrong[mesh.sides]], named[named >= 0]).astype(np.int64))
