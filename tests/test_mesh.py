"""The planar mesh by itself, and proof that the checks used on real partitions see each kind of damage."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from mesh_checks import mesh_problems, signed_areas

from splinegeo.mesh import Mesh

SQUARE = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
HEXAGON = np.array([[2.0, 0.0], [1.0, 2.0], [-1.0, 2.0], [-2.0, 0.0], [-1.0, -2.0], [1.0, -2.0]])


def quartered_square() -> Mesh:
    """Four unit squares about (1, 1); units 0 and 1 of stage 0 vanish on x = 1 and y = 1."""
    vertices = np.array([[x, y] for y in range(3) for x in range(3)], dtype=np.float64)
    loops = np.array([[0, 1, 4, 3], [1, 2, 5, 4], [3, 4, 7, 6], [4, 5, 8, 7]], dtype=np.int32)
    edges: list[tuple[int, int]] = []
    edge_faces: list[list[int]] = []
    sides: list[int] = []
    for face, loop in enumerate(loops.tolist()):
        for a, b in zip(loop, loop[1:] + loop[:1], strict=True):
            if (b, a) in edges:
                edge = edges.index((b, a))
                edge_faces[edge][1] = face
                sides.append(2 * edge + 1)
            else:
                edges.append((a, b))
                edge_faces.append([face, -1])
                sides.append(2 * len(edges) - 2)
    faces = np.array(edge_faces, dtype=np.int32)
    ends = vertices[np.array(edges)]
    unit = np.where((ends[:, :, 0] == 1).all(axis=1), 0, 1)
    labels = np.where((faces >= 0).all(axis=1, keepdims=True), np.stack([np.zeros_like(unit), unit], axis=1), -1)
    return Mesh(
        vertices=vertices,
        edges=np.array(edges, dtype=np.int32),
        edge_faces=faces,
        edge_labels=labels.astype(np.int32),
        offsets=np.array([0, 4, 8, 12, 16]),
        corners=loops.ravel(),
        sides=np.array(sides, dtype=np.int32),
    )


def test_one_polygon() -> None:
    mesh = Mesh.from_polygon(HEXAGON)
    assert mesh_problems(mesh, HEXAGON) == []
    assert mesh.n_faces == 1
    assert mesh.areas() == pytest.approx([12.0], rel=1e-15)
    np.testing.assert_allclose(mesh.interior_points(), [[0.0, 0.0]], atol=1e-15)


def test_four_squares() -> None:
    mesh = quartered_square()
    assert mesh_problems(mesh, SQUARE) == []
    np.testing.assert_array_equal(mesh.areas(), np.ones(4))
    np.testing.assert_array_equal(mesh.face_of_corner, np.repeat(np.arange(4), 4))
    np.testing.assert_allclose(mesh.interior_points(), [[0.5, 0.5], [1.5, 0.5], [0.5, 1.5], [1.5, 1.5]], rtol=1e-15)


def test_area_and_interior_point_of_a_small_face_far_from_the_origin() -> None:
    # Powers of two: the corners are exact, so any loss of digits is the formula's own.
    corner, size = np.array([2.0**20, -(2.0**21)]), 2.0**-20
    mesh = Mesh.from_polygon(corner + size * np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]]))
    assert mesh.areas()[0] == 4.5 * size**2
    np.testing.assert_allclose(mesh.interior_points()[0] - corner, [size, size], rtol=1e-3)


def test_interior_point_of_a_quadrilateral_is_its_centre_of_area() -> None:
    # Two triangles, (0,0) (4,0) (4,2) of area 4 and (0,0) (4,2) (0,6) of area 12, weigh the centre.
    mesh = Mesh.from_polygon(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 6.0]]))
    first, second = np.array([8.0, 2.0]) / 3, np.array([4.0, 8.0]) / 3
    np.testing.assert_allclose(mesh.interior_points(), [(4 * first + 12 * second) / 16], rtol=1e-14)


def test_interior_point_of_a_face_without_area_is_its_mean_corner() -> None:
    mesh = Mesh.from_polygon(np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]]))
    np.testing.assert_allclose(mesh.interior_points(), [[2.0, 0.0]], rtol=1e-15)


def _move_inner_vertex_out(mesh: Mesh) -> Mesh:
    vertices = mesh.vertices.copy()
    vertices[4] = [-0.5, -0.5]
    return replace(mesh, vertices=vertices)


def _dent(mesh: Mesh) -> Mesh:
    vertices = mesh.vertices.copy()
    vertices[1] = [1.0, 1.2]
    return replace(mesh, vertices=vertices)


def _shrink(mesh: Mesh) -> Mesh:
    return replace(mesh, vertices=mesh.vertices * (1 - 1e-8))


def _turn_face_over(mesh: Mesh) -> Mesh:
    corners, sides = mesh.corners.copy(), mesh.sides.copy()
    corners[:4], sides[:4] = corners[:4][::-1], sides[:4][::-1]
    return replace(mesh, corners=corners, sides=sides)


def _split_vertex(mesh: Mesh) -> Mesh:
    """Face 0 gets its own copy of the middle vertex: a crack of no width."""
    corners = mesh.corners.copy()
    corners[2] = len(mesh.vertices)
    return replace(mesh, vertices=np.vstack([mesh.vertices, mesh.vertices[4]]), corners=corners)


def _drop_edge(mesh: Mesh) -> Mesh:
    return replace(mesh, edges=mesh.edges[:-1], edge_faces=mesh.edge_faces[:-1], edge_labels=mesh.edge_labels[:-1])


def _drop_face(mesh: Mesh) -> Mesh:
    return replace(mesh, offsets=mesh.offsets[:-1], corners=mesh.corners[:-4], sides=mesh.sides[:-4])


def _swap_faces_of_an_edge(mesh: Mesh) -> Mesh:
    faces = mesh.edge_faces.copy()
    inner = np.nonzero((faces >= 0).all(axis=1))[0][0]
    faces[inner] = faces[inner][::-1]
    return replace(mesh, edge_faces=faces)


def _border_label_inside(mesh: Mesh) -> Mesh:
    return replace(mesh, edge_labels=np.full_like(mesh.edge_labels, -1))


def _misplace_side(mesh: Mesh) -> Mesh:
    return replace(mesh, sides=np.roll(mesh.sides, 1))


def _t_junction(mesh: Mesh) -> Mesh:
    """The lower squares become one face whose upper side runs past the middle vertex, which the upper squares keep."""
    vertices = np.array([[0, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 2], [1, 2], [2, 2]], dtype=np.float64)
    loops = [[0, 1, 4, 2], [2, 3, 6, 5], [3, 4, 7, 6]]
    edges = [(0, 1), (1, 4), (4, 2), (2, 0), (2, 3), (3, 6), (6, 5), (5, 2), (3, 4), (4, 7), (7, 6)]
    faces = [(0, -1), (0, -1), (0, -1), (0, -1), (1, -1), (1, 2), (1, -1), (1, -1), (2, -1), (2, -1), (2, -1)]
    labels = [(0, 0) if right >= 0 else (-1, -1) for _, right in faces]
    sides = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 11]
    corners = np.array([v for loop in loops for v in loop], dtype=np.int32)
    offsets = np.array([0, 4, 8, 12])
    return Mesh(
        vertices,
        *(np.array(rows, dtype=np.int32) for rows in (edges, faces, labels)),
        offsets,
        corners,
        np.array(sides),
    )


def _hole(mesh: Mesh) -> Mesh:
    """The last face goes, with the edges and the vertex that it alone has: the rest is a good mesh, but L-shaped."""
    kept = (mesh.edge_faces[:, 0] != 3) | (mesh.edge_faces[:, 1] >= 0)
    faces = np.where(mesh.edge_faces == 3, -1, mesh.edge_faces)[kept]
    renumbered = np.cumsum(kept) - 1
    return replace(
        mesh,
        vertices=mesh.vertices[:8],
        edges=mesh.edges[kept],
        edge_faces=faces,
        edge_labels=np.where((faces < 0).any(axis=1)[:, None], -1, mesh.edge_labels[kept]),
        offsets=mesh.offsets[:-1],
        corners=mesh.corners[:-4],
        sides=2 * renumbered[mesh.sides[:-4] >> 1] + (mesh.sides[:-4] & 1),
    )


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_move_inner_vertex_out, "not counter-clockwise"),
        (_dent, "crack or a T-junction"),
        (_shrink, "crack or a T-junction"),
        (_turn_face_over, "on the same hand"),
        (_split_vertex, "are no edge"),
        (_drop_edge, "are no edge"),
        (_drop_face, "some vertex is unused"),
        (_swap_faces_of_an_edge, "other faces"),
        (_border_label_inside, "labels"),
        (_misplace_side, "along another edge"),
        (_t_junction, "crack or a T-junction"),
        (_hole, "crack or a T-junction"),
    ],
)
def test_the_checks_see(damage: Callable[[Mesh], Mesh], found: str) -> None:
    assert found in "; ".join(mesh_problems(damage(quartered_square()), SQUARE))


def test_the_checks_areas_are_those_of_triangles() -> None:
    np.testing.assert_array_equal(signed_areas(quartered_square()), np.ones(4))
