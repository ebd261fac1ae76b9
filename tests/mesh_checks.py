"""What makes a mesh a conforming subdivision of a convex polygon, checked from its public arrays alone."""

from math import fsum

import numpy as np

from splinegeo.mesh import Mesh

AREA_TOLERANCE = 1e-9  # of the domain's area
POSITION_TOLERANCE = 1e-12  # of the domain's diameter


def mesh_problems(mesh: Mesh, domain: np.ndarray) -> list[str]:
    """What is wrong with a mesh of a convex domain (k, 2), a line each; none if it conforms and is convex."""
    for check in (_index_problems, _edge_problems, _border_problems, _shape_problems):
        if found := check(mesh, domain):  # each check relies on those before it
            return found
    return []


def following_corners(mesh: Mesh) -> np.ndarray:
    """The corner after each corner on its face's loop, (H,) vertex ids."""
    loops = np.split(mesh.corners, mesh.offsets[1:-1])
    return np.concatenate([np.roll(loop, -1) for loop in loops])


def signed_areas(mesh: Mesh) -> np.ndarray:
    """Area of each face, positive if counter-clockwise: a fan of triangles from the first corner, summed exactly."""
    areas = []
    for begin, end in zip(mesh.offsets[:-1], mesh.offsets[1:], strict=True):
        loop = mesh.vertices[mesh.corners[begin:end]]
        spokes = loop[1:] - loop[0]
        areas.append(0.5 * fsum(spokes[:-1, 0] * spokes[1:, 1] - spokes[:-1, 1] * spokes[1:, 0]))
    return np.array(areas)


def _index_problems(mesh: Mesh, domain: np.ndarray) -> list[str]:
    found = []
    if mesh.offsets[0] != 0 or mesh.offsets[-1] != len(mesh.corners) or (np.diff(mesh.offsets) < 3).any():
        found.append("the offsets do not cut the corners into loops of three or more")
    if not np.array_equal(np.unique(mesh.corners), np.arange(len(mesh.vertices))):
        found.append("the corners are not exactly the vertices: some vertex is unused or does not exist")
    if len(mesh.sides) != len(mesh.corners):
        found.append("there is not one side for each corner")
    return found


def _edge_problems(mesh: Mesh, domain: np.ndarray) -> list[str]:
    """Every side of every face is an edge, every edge is a side of exactly the faces that it names."""
    n = len(mesh.vertices)
    first, second = mesh.corners.astype(np.int64), following_corners(mesh).astype(np.int64)
    face = np.repeat(np.arange(len(mesh.offsets) - 1), np.diff(mesh.offsets))
    _, count = np.unique(first * n + second, return_counts=True)
    if (count > 1).any():
        return [f"{(count > 1).sum()} sides are shared by faces on the same hand"]
    owner = dict(zip((first * n + second).tolist(), face.tolist(), strict=True))
    a, b = mesh.edges.astype(np.int64).T
    found = []
    left = np.array([owner.pop(key, -1) for key in (a * n + b).tolist()])
    right = np.array([owner.pop(key, -1) for key in (b * n + a).tolist()])
    if owner:
        found.append(f"{len(owner)} sides of faces are no edge")
    wrong = (np.stack([left, right], axis=1) != mesh.edge_faces).any(axis=1)
    if wrong.any():
        found.append(f"{wrong.sum()} edges name other faces than those they border")
    if found or mesh.sides.max() >= 2 * len(mesh.edges):
        return [*found, "a side is no edge"]
    backward = mesh.sides & 1
    sides = mesh.edges[mesh.sides >> 1]
    rows = np.arange(len(sides))
    if (sides[rows, backward] != first).any() or (sides[rows, 1 - backward] != second).any():
        found.append("a side leaves its corner along another edge")
    return found


def _border_problems(mesh: Mesh, domain: np.ndarray) -> list[str]:
    """Edges with one face lie on the domain's border and make it up: so no vertex lies inside another face's edge."""
    found = []
    outer = (mesh.edge_faces < 0).any(axis=1)
    if (mesh.edge_faces < 0).all(axis=1).any():
        found.append("an edge has no face")
    if ((mesh.edge_labels[outer] != -1).any()) or (mesh.edge_labels[~outer] < 0).any():
        found.append("the labels do not tell the border from the inner edges")
    sides = np.roll(domain, -1, axis=0) - domain
    lengths = np.linalg.norm(sides, axis=1)
    ends = mesh.vertices[mesh.edges[outer]][:, :, None] - domain
    distance = np.abs(sides[:, 0] * ends[..., 1] - sides[:, 1] * ends[..., 0]) / lengths
    if not (distance.max(axis=1).min(axis=1) <= POSITION_TOLERANCE * lengths.sum()).all():
        found.append("an edge with one face lies inside the domain: the mesh has a crack or a T-junction")
    length = np.linalg.norm(np.diff(mesh.vertices[mesh.edges[outer]], axis=1), axis=-1).sum()
    if not abs(length - lengths.sum()) <= 1e-9 * lengths.sum():
        found.append(f"the edges with one face are {length} long, the domain's border {lengths.sum()}")
    return found


def _shape_problems(mesh: Mesh, domain: np.ndarray) -> list[str]:
    found = []
    characteristic = len(mesh.vertices) - len(mesh.edges) + len(mesh.offsets) - 1
    if characteristic != 1:
        found.append(f"V - E + F = {characteristic}")
    if len(np.unique(mesh.vertices, axis=0)) != len(mesh.vertices):
        found.append("two vertices lie at the same place")
    diameter = float(np.ptp(domain, axis=0).max())
    domain_area = signed_areas(Mesh.from_polygon(domain))[0]
    areas = signed_areas(mesh)
    if not (areas > 0).all():
        found.append(f"{(~(areas > 0)).sum()} faces are not counter-clockwise")
    if not abs(areas.sum() - domain_area) <= AREA_TOLERANCE * domain_area:
        found.append(f"the faces' areas sum to {areas.sum()}, the domain has {domain_area}")
    a, b = mesh.vertices[mesh.corners], mesh.vertices[following_corners(mesh)]
    into = b - a
    following = np.concatenate([np.roll(loop, -1, axis=0) for loop in np.split(into, mesh.offsets[1:-1])])
    turn = into[:, 0] * following[:, 1] - into[:, 1] * following[:, 0]
    chord = np.linalg.norm(into + following, axis=1)
    # A corner may lie inside the line through its neighbours by the rounding of its coordinates, and no further.
    if not (turn >= -POSITION_TOLERANCE * diameter * chord).all():
        found.append("a face is not convex")
    angles = np.arctan2(turn, np.einsum("nd,nd->n", into, following))
    turns = np.add.reduceat(angles, mesh.offsets[:-1]) / (2 * np.pi)
    if not np.allclose(turns, 1.0, rtol=0, atol=1e-6):
        found.append("a face's border does not turn exactly once")
    return found
