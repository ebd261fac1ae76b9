"""Figures of a certificate that concern the mesh alone: areas, Euler's characteristic, borders."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from splinegeo.mesh import Mesh, polygon_area
from splinegeo.tolerance import coordinate_rounding


class MeshFigures(NamedTuple):
    """`regions` are clockwise; for the others see the fields of the same names of `Certificate`."""

    area_error: float
    area_rounding: float
    least_area: float
    position: float
    euler_characteristic: int
    expected_characteristic: int
    misplaced_edges: int
    regions: Int64[np.ndarray, " n"]


def mesh_figures(mesh: Mesh, domain: Float64[np.ndarray, "k 2"], complete: bool, position: float) -> MeshFigures:
    """Check a mesh of a convex domain, or of a part of it; points are known to the distance `position`."""
    areas = mesh.areas()
    domain_area = polygon_area(domain)
    border: Bool[np.ndarray, " E"] = np.asarray((mesh.edge_faces < 0).any(axis=1))
    expected_area = domain_area if complete else _bordered_area(mesh, border)
    diameter = float(np.ptp(domain, axis=0).max())
    perimeter = float(np.linalg.norm(np.roll(domain, -1, axis=0) - domain, axis=1).sum())
    return MeshFigures(
        area_error=abs(float(areas.sum()) - expected_area) / domain_area,
        area_rounding=perimeter * coordinate_rounding(domain) / domain_area,
        least_area=float(areas.min()) / domain_area,
        position=position / diameter,
        euler_characteristic=int(mesh.is_used.sum()) - len(mesh.edges) + mesh.n_faces,
        expected_characteristic=1 if complete else _expected_characteristic(mesh, border),
        misplaced_edges=_count_misplaced(mesh, domain, border, complete, position),
        regions=np.flatnonzero(areas < -position / diameter * domain_area),
    )


def _bordered_area(mesh: Mesh, border: Bool[np.ndarray, " E"]) -> float:
    """Area inside the border edges, by Green's formula: it holds for parts with holes, too."""
    center = mesh.vertices.mean(axis=0)
    ends = mesh.vertices[mesh.edges[border]] - center
    cross = ends[:, 0, 0] * ends[:, 1, 1] - ends[:, 0, 1] * ends[:, 1, 0]
    return 0.5 * float(np.where(mesh.edge_faces[border, 0] >= 0, cross, -cross).sum())


def _expected_characteristic(mesh: Mesh, border: Bool[np.ndarray, " E"]) -> int:
    """Number of connected parts less number of holes of what the faces cover.

    The border edges are a plane graph, so by Euler's formula E - V + C of the areas that they bound are finite: the
    interiors that faces fill, and the holes.
    """
    n_parts = _count_components(mesh.face_of_corner, mesh.n_faces + mesh.corners, mesh.n_faces + len(mesh.vertices))
    unused = len(mesh.vertices) - len(np.unique(mesh.corners))
    inner = mesh.edge_faces[~border]
    n_filled = _count_components(inner[:, 0], inner[:, 1], mesh.n_faces)
    vertices, ends = np.unique(mesh.edges[border], return_inverse=True)
    ends = ends.reshape(-1, 2)
    n_bounded = len(ends) - len(vertices) + _count_components(ends[:, 0], ends[:, 1], len(vertices))
    return (n_parts - unused) - (n_bounded - n_filled)


def _count_components(first: np.ndarray, second: np.ndarray, n: int) -> int:
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n, n))
    return int(connected_components(graph, directed=False, return_labels=False))


def _count_misplaced(
    mesh: Mesh, domain: Float64[np.ndarray, "k 2"], border: Bool[np.ndarray, " E"], complete: bool, position: float
) -> int:
    """Edges whose place and label contradict each other.

    An edge with a label lies between two regions, unless the partition is incomplete; one without lies on the domain's
    border, so that a crack between regions is found here.
    """
    labelled = mesh.edge_labels[:, 0] >= 0
    without_face = (mesh.edge_faces < 0).all(axis=1)
    wrong = without_face | (~border & ~labelled)
    if complete:
        wrong |= border & labelled
    outer: Int64[np.ndarray, " n"] = np.nonzero(border & ~labelled)[0]
    sides = np.roll(domain, -1, axis=0) - domain
    normals = np.stack([-sides[:, 1], sides[:, 0]], axis=1) / np.linalg.norm(sides, axis=1)[:, None]
    depths = np.einsum("kd,nekd->nek", normals, mesh.vertices[mesh.edges[outer]][:, :, None] - domain)
    on_a_side = (np.abs(depths).max(axis=1) <= position).any(axis=1)
    return int(wrong.sum()) + int((~on_a_side & ~wrong[outer]).sum())
