"""Certificates: sound partitions pass with the right figures, and every kind of damage is found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from degenerate_networks import named_cases, random_case
from networks import IDENTITY_PLANE, linear, mlp, workload
from pooled_network import pooled_case
from test_refine_exact import engine_partition
from torch import nn

import splinegeo as sg
from splinegeo._mesh_checks import mesh_figures
from splinegeo.certificate import Certificate, certify
from splinegeo.mesh import Mesh

SAMPLES = 3000


def grid_mesh(cells: list[tuple[int, int]]) -> Mesh:
    """Unit squares at integer places, as the part of a larger partition that an interruption leaves."""
    vertices: dict[tuple[int, int], int] = {}
    edges: dict[tuple[int, int], int] = {}
    faces: list[list[int]] = []
    corners, sides = [], []
    for face, (i, j) in enumerate(cells):
        loop = [vertices.setdefault(p, len(vertices)) for p in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))]
        corners += loop
        for a, b in zip(loop, [*loop[1:], loop[0]], strict=True):
            if (b, a) in edges:
                faces[edges[b, a]][1] = face
                sides.append(2 * edges[b, a] + 1)
            else:
                edges[a, b] = len(edges)
                faces.append([face, -1])
                sides.append(2 * edges[a, b])
    return Mesh(
        vertices=np.array(list(vertices), dtype=np.float64),
        edges=np.array(list(edges), dtype=np.int32),
        edge_faces=np.array(faces, dtype=np.int32),
        edge_labels=np.zeros((len(edges), 2), dtype=np.int32),
        offsets=4 * np.arange(len(cells) + 1, dtype=np.int64),
        corners=np.array(corners, dtype=np.int32),
        sides=np.array(sides, dtype=np.int32),
    )


@pytest.mark.parametrize("name", ["S", "B", "leaky biased", "concave", "scalar"])
def test_sound_partitions(name: str) -> None:
    partition = workload(name).partition
    certificate = certify(partition, SAMPLES)
    assert certificate.ok, str(certificate)
    assert certificate.area_error < 1e-14
    assert certificate.n_regions == partition.n_regions
    assert certificate.inner_edges == partition.adjacency.nnz // 2  # no two regions share two edges
    assert (certificate.interior_mismatches, certificate.interior_roundings) == (0, 0)
    assert (certificate.samples, certificate.samples_uncovered) == (SAMPLES, 0)
    assert certificate.least_area == pytest.approx(partition.areas.min() / partition.areas.sum())
    assert str(certificate).startswith(f"Certificate of {partition.n_regions} regions: ok")


def test_layers_that_are_not_two_pieces_a_unit() -> None:
    certificate = certify(pooled_case()[1], SAMPLES)
    assert certificate.ok, str(certificate)
    assert certificate.merged_edges == 0


def test_a_maximum_changes_only_where_its_candidates_are_equal() -> None:
    """A region is given another winner: no comparison of it vanishes on the region's edges."""
    partition = pooled_case()[1]
    (group,) = [group for group in partition.network.groups if len(group) > 1][:1]
    region = int(partition.areas.argmax())
    faces = partition.ancestors[group[-1]]
    face = faces[region]
    values = [v[0] for v in _stage_values(partition, partition.interior_points[region])]
    stage = partition.network.stages[group[-1]]
    unit = int(np.where(stage.carried, -np.inf, np.abs(values[group[-1]])).argmax())
    bits = list(partition.bits)
    bits[group[-1]] = bits[group[-1]].copy()
    bits[group[-1]][face, unit >> 6] ^= np.uint64(1) << np.uint64(unit & 63)
    damaged = certify(replace(partition, bits=tuple(bits)), 0)
    inner = (partition.edge_faces >= 0).all(axis=1)
    inside = faces[partition.edge_faces] == face
    around = inner & (inside[:, 0] != inside[:, 1])
    assert around.sum() >= 3
    assert damaged.wrong_edges == around.sum()
    assert damaged.interior_mismatches == (faces == face).sum()


def _stage_values(partition: sg.Partition, t: np.ndarray) -> list[np.ndarray]:
    h, values = partition.plane.origin + t[None] @ partition.plane.basis, []
    for stage in partition.network.stages:
        values.append(stage.affine(h))
        h = stage.activate(values[-1])
    return values


def test_degenerate_networks() -> None:
    """Concurrent lines, duplicates, dead layers and origins at which everything vanishes: roundings, no mismatches."""
    merged = 0
    for case in [*named_cases(), *map(random_case, range(60))]:
        certificate = certify(engine_partition(case), 200)
        assert certificate.ok, f"{case}\n{certificate}"
        merged += certificate.merged_edges
    assert merged > 100


def test_identical_units_are_merged_edges() -> None:
    weight = [[1.0, 0.5], [1.0, 0.5], [0.0, 1.0]]
    model = nn.Sequential(linear(weight), nn.ReLU(), linear([[1.0, -1.0, 2.0]]))
    certificate = certify(sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0)), 100)
    assert certificate.ok, str(certificate)
    assert (certificate.n_regions, certificate.inner_edges, certificate.merged_edges) == (4, 4, 2)


@pytest.mark.parametrize("gap", [1e-6, 1e-9, 1e-10, 1e-11, 1e-12, 1e-14])
def test_nearly_equal_units(gap: float) -> None:
    """Faces narrower than rounding have no exact count: the partition stays sound, the uncertain edges are counted."""
    n_uncertain = 0
    for seed in range(3):
        model = mlp((2, 16, 16, 16, 2), bias=True, seed=seed).double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (model[0], model[2], model[4]):
                for parameter in (layer.weight, layer.bias):
                    noise = torch.randn(parameter[:8].shape, generator=generator, dtype=torch.float64)
                    parameter[8:] = parameter[:8] * (1 + gap * noise)
        certificate = certify(sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(2.0)), 2000)
        assert certificate.ok, f"seed {seed}\n{certificate}"
        n_uncertain += certificate.merged_edges
    assert (n_uncertain > 0) == (gap < 1e-9)


def test_a_partition_from_a_file(tmp_path: Path) -> None:
    partition = workload("leaky biased").partition
    partition.save(tmp_path / "partition.npz")
    one, other = certify(sg.load_partition(tmp_path / "partition.npz"), 500), certify(partition, 500)
    assert one.ok
    # A network from a file has no module: its maps are compared with the chain rule, which rounds otherwise.
    errors = [name for name in vars(one) if name.split("_")[0] in ("map", "offset", "centroid", "radius", "norm")]
    assert {**vars(one), **dict.fromkeys(errors)} == {**vars(other), **dict.fromkeys(errors)}


def test_without_units_there_is_one_region() -> None:
    certificate = certify(sg.enumerate_regions(nn.Linear(2, 3), IDENTITY_PLANE, sg.Box(1.0)), 10)
    assert certificate.ok, str(certificate)
    assert (certificate.n_regions, certificate.inner_edges, certificate.duplicate_patterns) == (1, 0, 0)


@pytest.mark.parametrize("limit", [1, 40, 500])
def test_incomplete_partitions(limit: int) -> None:
    case = workload("B")
    partition = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=limit)
    certificate = certify(partition, SAMPLES)
    assert not certificate.complete
    assert certificate.ok, str(certificate)
    share = partition.areas.sum() / case.partition.areas.sum()
    assert certificate.samples_uncovered == pytest.approx(SAMPLES * (1 - share), abs=5 * np.sqrt(SAMPLES) / 2)
    assert "of a part of the domain" in str(certificate)


@pytest.mark.parametrize(
    ("cells", "characteristic"),
    [
        ([(0, 0)], 1),
        ([(0, 0), (1, 0)], 1),
        ([(0, 0), (1, 1)], 1),  # one vertex in common
        ([(0, 0), (2, 0)], 2),
        ([(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)], 0),
        ([(i, j) for i in range(5) for j in range(3) if (i, j) not in ((1, 1), (3, 1))], -1),
        ([(0, 1), (1, 0), (1, 2), (2, 1)], 0),  # a ring of squares that touch in vertices
        ([(i, j) for i in range(5) for j in range(5) if max(abs(i - 2), abs(j - 2)) == 2] + [(2, 2)], 1),
    ],
)
def test_characteristic_of_parts_with_holes(cells: list[tuple[int, int]], characteristic: int) -> None:
    domain = np.array([[-1.0, -1.0], [6.0, -1.0], [6.0, 6.0], [-1.0, 6.0]])
    figures = mesh_figures(grid_mesh(cells), domain, False, 1e-9)
    assert figures.euler_characteristic == figures.expected_characteristic == characteristic
    assert figures.area_error < 1e-15
    assert figures.misplaced_edges == 0


def _flip_bit(partition: sg.Partition) -> sg.Partition:
    """One unit of the last layer in one large region."""
    bits = partition.bits[-1].copy()
    bits[partition.areas.argmax(), 0] ^= np.uint64(4)
    return replace(partition, bits=(*partition.bits[:-1], bits))


def _repeat_pattern(partition: sg.Partition) -> sg.Partition:
    last = np.nonzero(partition.edge_labels[:, 0] == 2)[0][0]
    left, right = partition.edge_faces[last]
    bits = partition.bits[-1].copy()
    bits[right] = bits[left]
    return replace(partition, bits=(*partition.bits[:-1], bits))


def _other_network(partition: sg.Partition) -> sg.Partition:
    return replace(partition, network=sg.read_network(mlp((2, 32, 32, 32, 2), bias=True, seed=9)))


def _swap_labels(partition: sg.Partition) -> sg.Partition:
    labels = partition.edge_labels.copy()
    inner = np.nonzero(labels[:, 0] >= 0)[0]
    labels[inner[[0, -1]]] = labels[inner[[-1, 0]]]
    return replace(partition, mesh=replace(partition.mesh, edge_labels=labels))


def _move_vertex(partition: sg.Partition) -> sg.Partition:
    vertices = partition.vertices.copy()
    inner = np.setdiff1d(np.arange(len(vertices)), partition.edges[(partition.edge_faces < 0).any(axis=1)])
    vertices[inner[0]] += 0.1
    return replace(partition, mesh=replace(partition.mesh, vertices=vertices))


def _mirror(partition: sg.Partition) -> sg.Partition:
    return replace(partition, mesh=replace(partition.mesh, vertices=partition.vertices * [-1.0, 1.0]))


def _turn_about(partition: sg.Partition) -> sg.Partition:
    return replace(partition, mesh=replace(partition.mesh, vertices=-partition.vertices))


def _lose_faces(partition: sg.Partition) -> sg.Partition:
    """The rest is a good mesh, but the partition says that it is complete."""
    n = partition.n_regions - 3
    bits, parents = (part[-1][:n] for part in (partition.bits, partition.parents))
    mesh = partition.mesh.faces(0, n).used_vertices()
    return replace(partition, mesh=mesh, bits=(*partition.bits[:-1], bits), parents=(*partition.parents[:-1], parents))


def _crack(partition: sg.Partition) -> sg.Partition:
    """An inner edge becomes two edges of the border, one for each of its faces."""
    mesh = partition.mesh
    edge = np.nonzero((mesh.edge_faces >= 0).all(axis=1))[0][0]
    left, right = mesh.edge_faces[edge]
    edge_faces = np.vstack([mesh.edge_faces, [-1, right]]).astype(np.int32)
    edge_faces[edge] = left, -1
    labels = np.vstack([mesh.edge_labels, [-1, -1]]).astype(np.int32)
    labels[edge] = -1
    sides = mesh.sides.copy()
    sides[sides == 2 * edge + 1] = 2 * len(mesh.edges) + 1
    edges = np.vstack([mesh.edges, mesh.edges[edge]])
    cracked = replace(mesh, edges=edges, edge_faces=edge_faces, edge_labels=labels, sides=sides)
    return replace(partition, mesh=cracked)


def _shrink_domain(partition: sg.Partition) -> sg.Partition:
    return replace(partition, domain=partition.domain * (1 - 1e-9))


@pytest.mark.parametrize(
    ("damage", "findings"),
    [
        (_flip_bit, ("separate patterns", "another pattern than the forward pass")),
        (_repeat_pattern, ("1 regions repeat", "separate patterns")),
        (_other_network, ("another pattern than the forward pass", "of another pattern")),
        (_swap_labels, ("2 edges separate patterns",)),
        (_move_vertex, ("not convex", "of another pattern")),
        (_mirror, ("clockwise", "not convex")),
        (_turn_about, ("another pattern than the forward pass", "of another pattern")),
        (_lose_faces, ("areas miss", "contradicts", "of another pattern")),
        (_crack, ("characteristic", "contradicts")),
        (_shrink_domain, ("areas miss", "contradicts")),
    ],
)
def test_damage_is_found(damage: Callable[[sg.Partition], sg.Partition], findings: tuple[str, ...]) -> None:
    certificate = certify(damage(workload("B").partition), SAMPLES)
    assert not certificate.ok
    for finding in findings:
        assert finding in "; ".join(certificate.problems), str(certificate)
        assert finding in str(certificate)


def test_the_figures_are_reproducible() -> None:
    partition = workload("leaky biased").partition
    assert certify(partition, 500, seed=3) == certify(partition, 500, seed=3)
    assert isinstance(certify(partition, 0), Certificate)
    with pytest.raises(sg.InvalidArgumentError, match="n_samples must be a whole number"):
        certify(partition, -1)
    with pytest.raises(sg.InvalidArgumentError, match="n_samples must be a whole number"):
        certify(partition, True)
    for seed in (-1, 1.5, "one"):
        with pytest.raises(sg.InvalidArgumentError, match=f"seed must be a whole number .*, not {seed!r}"):
            certify(partition, 0, seed=seed)


@pytest.mark.parametrize("half_width", [1e-2, 1e-4, 1e-6])
def test_a_small_domain_far_from_the_origin(half_width: float) -> None:
    """Coordinates round to more than the areas are exact to about the origin; a region left out is still found."""
    center = np.array([35.7, 21.5])
    model = mlp((2, 26, 26, 1), bias=True, seed=3).double()
    x, generator = torch.from_numpy(center), torch.Generator().manual_seed(0)
    with torch.no_grad():  # zero sets through the domain
        for layer in (model[0], model[2]):
            spread = torch.randn(26, generator=generator, dtype=torch.float64) * half_width
            layer.bias.copy_(spread - layer.weight @ x)
            x = torch.relu(layer.weight @ x + layer.bias)
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(half_width, (35.7, 21.5)))
    certificate = certify(partition, SAMPLES)
    assert partition.n_regions > 50
    assert certificate.ok, str(certificate)
    assert certificate.area_rounding < 1e-6
    largest = int(partition.areas.argmax())
    moved = partition.vertices.copy()
    inside = np.setdiff1d(partition.corners[partition.offsets[largest] : partition.offsets[largest + 1]],
                          partition.edges[(partition.edge_faces < 0).any(axis=1)])  # fmt: skip
    assert len(inside)
    moved[inside[0]] += 0.1 * half_width
    assert not certify(replace(partition, mesh=replace(partition.mesh, vertices=moved)), SAMPLES).ok
