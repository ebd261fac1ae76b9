"""Activation regions joined to linear regions: counts by hand, and the partition of a brute-force search."""

import copy

import numpy as np
import pytest
import shapely
import torch
from networks import IDENTITY_PLANE, Workload, linear, mlp, workload
from torch import nn

import splinegeo as sg


def partition_of(*layers: nn.Module, half_width: float = 4.0) -> sg.Partition:
    return sg.enumerate_regions(nn.Sequential(*layers), IDENTITY_PLANE, sg.Box(half_width))


X, MINUS_X, Y = [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]

# name: (layers, number of activation regions, areas of the linear regions on [-4, 4]²)
BY_HAND: dict[str, tuple[list[nn.Module], int, list[float]]] = {
    "relu(x) - relu(-x) is x": ([linear([X, MINUS_X]), nn.ReLU(), linear([[1.0, -1.0]])], 2, [64]),
    "a unit that the read-out ignores": ([linear([X, Y]), nn.ReLU(), linear([[1.0, 0.0]])], 4, [32, 32]),
    "units that cancel in pairs": (
        [linear([X, X, Y], [0.0, 0.0, 1.0]), nn.ReLU(), linear([[1.0, -1.0, 2.0]])],
        4,
        [24, 40],
    ),
    "a dead second layer": (
        [linear([X, Y]), nn.ReLU(), linear([[-1.0, -1.0]], [-1.0]), nn.ReLU(), linear([[3.0]])],
        4,
        [64],
    ),
    # relu(|x| - 1): the flat part between -1 and 1 is one piece.
    "a trough": (
        [linear([X, MINUS_X]), nn.ReLU(), linear([[1.0, 1.0]], [-1.0]), nn.ReLU(), linear([[1.0]])],
        4,
        [16, 24, 24],
    ),
    # relu(1 - |x|): zero on both sides, but these do not touch.
    "a tent": (
        [linear([X, MINUS_X]), nn.ReLU(), linear([[-1.0, -1.0]], [1.0]), nn.ReLU(), linear([[1.0]])],
        4,
        [8, 8, 24, 24],
    ),
    # relu(relu(x) + relu(y) - 1): flat below the broken line x + y = 1, which the axes cut in three pieces.
    "dead below a broken line": (
        [linear([X, Y]), nn.ReLU(), linear([[1.0, 1.0]], [-1.0]), nn.ReLU(), linear([[1.0]])],
        7,
        [12, 12, 15.5, 24.5],
    ),
    "a leaky unit of slope one": ([linear([X, Y]), nn.LeakyReLU(1.0), linear([[1.0, 1.0]])], 4, [64]),
    "a zero read-out": ([linear([X, Y]), nn.ReLU(), linear([[0.0, 0.0]], [5.0])], 4, [64]),
    "no activation": ([linear([X, Y])], 1, [64]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_linear_regions_by_hand(name: str) -> None:
    layers, n_activation_regions, areas = BY_HAND[name]
    partition = partition_of(*layers)
    merged = partition.merge_equal_maps()
    assert partition.n_regions == n_activation_regions
    assert merged.n_regions == len(areas)
    np.testing.assert_allclose(np.sort(merged.areas), areas, rtol=1e-12)
    assert merged.labels.shape == (n_activation_regions,)
    assert sorted(set(merged.labels.tolist())) == list(range(len(areas)))


def test_merged_polygons() -> None:
    """The dead side of the broken line is the union of its three pieces."""
    layers, _, _ = BY_HAND["dead below a broken line"]
    merged = partition_of(*layers).merge_equal_maps()
    polygons = merged.to_shapely()
    np.testing.assert_allclose(shapely.area(polygons), merged.areas, rtol=1e-12)
    dead = polygons[merged.labels[merged.partition.locate([[-1.0, -1.0]])[0]]]
    assert dead.symmetric_difference(shapely.Polygon([[-4, -4], [1, -4], [1, 0], [0, 1], [-4, 1]])).area < 1e-12


def test_a_linear_region_may_have_a_hole() -> None:
    """relu(1 - |x| - |y|): flat all round a diamond of four faces."""
    fold = linear([X, MINUS_X, Y, [0.0, -1.0]])
    partition = partition_of(fold, nn.ReLU(), linear([[-1.0] * 4], [1.0]), nn.ReLU(), linear([[1.0]]))
    merged = partition.merge_equal_maps()
    assert merged.n_regions == 5
    np.testing.assert_allclose(np.sort(merged.areas), [0.5, 0.5, 0.5, 0.5, 62.0], rtol=1e-12)
    around = merged.to_shapely()[merged.areas.argmax()]
    assert len(around.interiors) == 1
    assert shapely.Polygon(around.interiors[0]).area == pytest.approx(2.0, rel=1e-12)


def biased_into_death(seed: int, sizes: tuple[int, ...], shift: float) -> nn.Sequential:
    """A network whose last hidden layer is dead over a part of the domain: its biases are lowered."""
    model = mlp(sizes, bias=True, seed=seed)
    with torch.no_grad():
        model[-3].bias.sub_(shift)
    return model


def brute_force_labels(case: Workload) -> np.ndarray:
    """Labels of the regions, joined across edges where torch's Jacobians agree to 1e-9, found by depth-first search."""
    partition = case.partition
    exact = copy.deepcopy(case.model).double()
    x = torch.from_numpy(case.plane.lift(partition.interior_points))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda h: exact(h[None])[0]))(x).detach().numpy() @ case.plane.basis.T
    close = 1e-9 * np.abs(jacobian).max()
    neighbours: list[list[int]] = [[] for _ in range(partition.n_regions)]
    for left, right in partition.edge_faces[(partition.edge_faces >= 0).all(axis=1)].tolist():
        # The maps agree on the edge: with equal Jacobians they agree everywhere.
        if np.abs(jacobian[left] - jacobian[right]).max() <= close:
            neighbours[left].append(right)
            neighbours[right].append(left)
    labels = np.full(partition.n_regions, -1)
    for first in range(partition.n_regions):
        if labels[first] >= 0:
            continue
        label = labels.max() + 1
        stack = [first]
        labels[first] = label
        while stack:
            for other in neighbours[stack.pop()]:
                if labels[other] < 0:
                    labels[other] = label
                    stack.append(other)
    return labels


def dying_network(seed: int) -> Workload:
    model, domain = biased_into_death(seed, (2, 12, 10, 4, 2), 0.35), sg.Box(3.0)
    return Workload(f"dying {seed}", model, IDENTITY_PLANE, domain, sg.enumerate_regions(model, IDENTITY_PLANE, domain))


DYING = tuple(f"dying {seed}" for seed in range(6))


@pytest.mark.parametrize("name", [*DYING, "S", "B", "leaky", "concave"])
def test_labels_are_those_of_a_brute_force_search(name: str) -> None:
    case = dying_network(int(name.split()[1])) if name in DYING else workload(name)
    merged = case.partition.merge_equal_maps()
    expected = brute_force_labels(case)
    pairs = np.unique(np.column_stack([merged.labels, expected]), axis=0)
    assert len(pairs) == merged.n_regions == expected.max() + 1
    areas = np.zeros(merged.n_regions)
    np.add.at(areas, merged.labels, case.partition.areas)
    np.testing.assert_allclose(merged.areas, areas, rtol=1e-12)


def first_of(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_index=True)[1]


@pytest.mark.parametrize("seed", range(6))
def test_the_dying_networks_do_merge(seed: int) -> None:
    case = dying_network(seed)
    merged = case.partition.merge_equal_maps()
    assert merged.n_regions < case.partition.n_regions
    assert merged.areas.sum() == pytest.approx(36.0, rel=1e-9)


@pytest.mark.parametrize("name", ["M", "trained", "perturbed"])
def test_maps_are_equal_inside_a_label_and_differ_across(name: str) -> None:
    partition = workload(name).partition
    merged = partition.merge_equal_maps()
    assert merged.areas.sum() == pytest.approx(partition.areas.sum(), rel=1e-9)
    maps = partition.slice_maps
    scale = np.abs(maps).max()
    same = np.abs(maps - maps[first_of(merged.labels)][merged.labels]).max(axis=(1, 2))
    assert same.max() <= 1e-9 * scale
    inner = partition.edge_faces[(partition.edge_faces >= 0).all(axis=1)]
    across = inner[merged.labels[inner[:, 0]] != merged.labels[inner[:, 1]]]
    assert np.abs(maps[across[:, 0]] - maps[across[:, 1]]).max(axis=(1, 2)).min() > 1e-13 * scale


def test_rounding_does_not_part_a_linear_region() -> None:
    """Outputs ⟨1, g − PᵀP g⟩, P a rotation of a deep network g, and 1: each region rounds the zero otherwise."""
    deep = mlp((2, 16, 16, 3), bias=True, seed=18).double()
    P = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    g_and_rotated = linear(np.vstack([np.eye(3), P]).tolist())
    cancelled = linear([[1.0] * 3 + (-P.sum(axis=1)).tolist(), [0.0] * 6], [0.0, 1.0])
    partition = sg.enumerate_regions(nn.Sequential(*deep, g_and_rotated, cancelled), IDENTITY_PLANE, sg.Box(2.0))
    assert partition.n_regions > 50
    noise = np.abs(partition.slice_maps[:, 0])
    assert 0 < noise.max() < 1e-14
    assert np.ptp(noise) > 0
    assert partition.merge_equal_maps().n_regions == 1
