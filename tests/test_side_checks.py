"""A certificate's look at the sides of regions: what regions and edges say of each other must agree."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from networks import workload
from pooled_network import pooled_case

import splinegeo as sg
from splinegeo._side_checks import side_figures
from splinegeo.certificate import certify
from splinegeo.mesh import Mesh


def inner_edge(mesh: Mesh) -> int:
    return int(np.flatnonzero((mesh.edge_faces >= 0).all(axis=1))[50])


def test_sound_meshes() -> None:
    case = workload("B")
    part = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=100)
    for partition in (case.partition, pooled_case()[1], part):
        assert side_figures(partition.mesh).wrong_sides == 0


def _swapped_faces(mesh: Mesh, edge: int) -> Mesh:
    faces = mesh.edge_faces.copy()
    faces[edge] = faces[edge, ::-1]
    return replace(mesh, edge_faces=faces)


def _turned_edge(mesh: Mesh, edge: int) -> Mesh:
    edges = mesh.edges.copy()
    edges[edge] = edges[edge, ::-1]
    return replace(mesh, edges=edges)


def _other_end(mesh: Mesh, edge: int) -> Mesh:
    edges = mesh.edges.copy()
    edges[edge, 1] = np.setdiff1d(np.arange(len(mesh.vertices)), edges[edge])[0]
    return replace(mesh, edges=edges)


def _reversed_side(mesh: Mesh, edge: int) -> Mesh:
    sides = mesh.sides.copy()
    sides[sides == 2 * edge] = 2 * edge + 1
    return replace(mesh, sides=sides)


@pytest.mark.parametrize(
    ("damage", "n"), [(_swapped_faces, 2), (_turned_edge, 2), (_other_end, 2), (_reversed_side, 2)]
)
def test_one_wrong_edge(damage: Callable[[Mesh, int], Mesh], n: int) -> None:
    """Left and right are wrong, or the ends; or one of its regions goes along it the other way."""
    mesh = workload("B").partition.mesh
    edge = inner_edge(mesh)
    figures = side_figures(damage(mesh, edge))
    assert figures.wrong_sides == n
    assert set(figures.regions.tolist()) == set(mesh.edge_faces[edge].tolist())


def test_another_region_beside_an_edge() -> None:
    mesh = workload("B").partition.mesh
    edge = inner_edge(mesh)
    left, right = mesh.edge_faces[edge].tolist()
    other = next(face for face in range(mesh.n_faces) if face not in (left, right))
    faces = mesh.edge_faces.copy()
    faces[edge, 1] = other
    figures = side_figures(replace(mesh, edge_faces=faces))
    assert figures.wrong_sides == 1
    assert set(figures.regions.tolist()) == {right, other}


def test_swapped_faces_in_a_certificate() -> None:
    partition = workload("B").partition
    edge = inner_edge(partition.mesh)
    certificate = certify(replace(partition, mesh=_swapped_faces(partition.mesh, edge)), 0)
    assert certificate.problems == ("2 sides of edges are not those of the regions beside them",)
    assert certificate.suspects == (("sides", tuple(sorted(partition.edge_faces[edge].tolist()))),)
    assert "2 wrong sides" in str(certificate)
