"""The affine map of each region and its norms against torch's forward pass and automatic differentiation."""

import copy

import numpy as np
import pytest
import torch
from networks import ALL_WORKLOADS, Workload, mlp, points_inside, torch_forward, workload
from torch import nn

import splinegeo as sg

N_JACOBIANS = 60
EXACT = 1e-11  # relative to the largest entry: products of some hundred terms in float64

every_workload = pytest.mark.parametrize("name", ALL_WORKLOADS)


def some_regions(partition: sg.Partition, n: int = N_JACOBIANS) -> np.ndarray:
    """The largest, the smallest, and random regions."""
    order = np.argsort(partition.areas)
    chosen = np.random.default_rng(4).choice(partition.n_regions, size=min(n, partition.n_regions), replace=False)
    return np.unique([order[0], order[-1], *chosen])


def jacobians(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """(n, C, d) by torch.func in float64."""
    exact = copy.deepcopy(model).double()
    compute = torch.func.vmap(torch.func.jacrev(lambda h: exact(h[None])[0]))
    return compute(torch.from_numpy(x)).detach().numpy()


def assert_equal_to_rounding(got: np.ndarray, wanted: np.ndarray) -> None:
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=EXACT * np.abs(wanted).max())


@every_workload
def test_affine_maps_are_the_jacobian_and_the_rest(name: str) -> None:
    case = workload(name)
    regions = some_regions(case.partition)
    points = case.partition.interior_points[regions]
    x = case.plane.lift(points)
    expected, outputs = jacobians(case.model, x), torch_forward(case.model, case.plane, points)
    for i, r in enumerate(regions):
        A, B = case.partition.affine_map(r)
        assert_equal_to_rounding(A, expected[i])
        np.testing.assert_allclose(A @ x[i] + B, outputs[i], rtol=0, atol=EXACT * np.abs(outputs).max())


@every_workload
def test_slice_maps_are_the_network_at_three_points_of_every_region(name: str) -> None:
    """An affine function on a plane is known from three points: two corners halfway to the mean, and the mean."""
    case = workload(name)
    partition = case.partition
    assert partition.slice_maps.shape == (partition.n_regions, partition.network.n_outputs, 3)
    middle = partition.interior_points
    first = partition.vertices[partition.corners[partition.offsets[:-1]]]
    second = partition.vertices[partition.corners[partition.offsets[:-1] + 1]]
    for points in (middle, (middle + first) / 2, (middle + second) / 2):
        values = np.einsum("nck,nk->nc", partition.slice_maps, np.column_stack([points, np.ones(len(points))]))
        assert_equal_to_rounding(values, torch_forward(case.model, case.plane, points))


@every_workload
def test_slice_maps_are_the_affine_maps_on_the_slice(name: str) -> None:
    case = workload(name)
    for r in some_regions(case.partition):
        A, B = case.partition.affine_map(r)
        on_slice = np.column_stack([A @ case.plane.basis.T, A @ case.plane.origin + B])
        np.testing.assert_allclose(case.partition.slice_maps[r], on_slice, atol=EXACT * np.abs(on_slice).max())


@pytest.mark.parametrize("kind", ["frobenius", "spectral"])
@every_workload
def test_norms_are_those_of_the_jacobian(name: str, kind: str) -> None:
    case = workload(name)
    regions = some_regions(case.partition)
    exact = torch.from_numpy(jacobians(case.model, case.plane.lift(case.partition.interior_points[regions])))
    matrix_norm = {"frobenius": "fro", "spectral": 2}[kind]
    for space, operator in (("input", exact), ("slice", exact @ torch.from_numpy(case.plane.basis.T))):
        norms = case.partition.operator_norms(kind, space)
        assert norms.shape == (case.partition.n_regions,)
        expected = torch.linalg.matrix_norm(operator, ord=matrix_norm).numpy()
        np.testing.assert_allclose(norms[regions], expected, rtol=1e-9, atol=1e-12 * expected.max())


@pytest.mark.parametrize(
    "layer", [nn.Hardtanh(-0.4, 0.5), nn.ReLU6(), nn.Hardsigmoid(), nn.Softshrink(0.2), nn.RReLU()]
)
@pytest.mark.parametrize("first", [True, False])
def test_norms_where_a_unit_has_two_kinks(layer: nn.Module, first: bool) -> None:
    """An edge's label names the unit, and not which of its kinks: all regions, so that no walk may go astray."""
    torch.manual_seed(3)
    layers = [nn.Linear(6, 9), layer, nn.Linear(9, 5), nn.ReLU()]
    swapped = layers if first else [nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), layer]
    model = nn.Sequential(*swapped, nn.Linear(5, 3)).double()
    with torch.no_grad():
        model[0].weight.mul_(3)
        model[2].weight.mul_(3)
    partition = sg.enumerate_regions(model, sg.Slice.through_points(torch.randn(3, 6)), sg.Box(4.0))
    assert partition.n_regions > 20
    operators = [partition.affine_map(r)[0] for r in range(partition.n_regions)]
    for kind, order in (("frobenius", None), ("spectral", 2)):
        expected = np.array([np.linalg.norm(operator, order) for operator in operators])
        np.testing.assert_allclose(partition.operator_norms(kind), expected, rtol=1e-9, atol=1e-12 * expected.max())


@pytest.mark.parametrize("kind", ["frobenius", "spectral"])
def test_norms_of_regions_where_the_operator_nearly_vanishes(kind: str) -> None:
    """A walk comes there from regions with operators 10⁸ times as large, and takes their rounding errors along."""
    model = mlp((2, 24, 2), bias=True, seed=5).double()
    with torch.no_grad():  # to the left all units are off but one
        model[0].weight[:, 0].abs_().add_(0.2)
        model[0].weight[0], model[0].bias[0] = torch.tensor([0.0, 1e-8]), 1.0
    part = sg.enumerate_regions(model, sg.Slice(np.zeros(2), np.eye(2)), sg.Box(9.0))
    operators = [part.affine_map(r)[0] for r in range(part.n_regions)]
    expected = np.array([np.linalg.norm(A, None if kind == "frobenius" else 2) for A in operators])
    assert 1e8 * expected.min() < expected.max()
    assert expected.min() > 0
    np.testing.assert_allclose(part.operator_norms(kind), expected, rtol=1e-9, atol=0)


@every_workload
def test_norms_bound_each_other(name: str) -> None:
    """For every region: spectral <= Frobenius <= sqrt(rank) spectral, and no restriction has a larger norm."""
    partition = workload(name).partition
    slack = 1 + 1e-9
    for space, rank in (("input", partition.network.n_outputs), ("slice", 2)):
        spectral, frobenius = partition.operator_norms("spectral", space), partition.operator_norms("frobenius", space)
        tiny = 1e-12 * frobenius.max()
        assert (spectral <= slack * frobenius + tiny).all()
        assert (frobenius <= slack * np.sqrt(rank) * spectral + tiny).all()
    for kind in ("frobenius", "spectral"):
        assert (partition.operator_norms(kind, "slice") <= slack * partition.operator_norms(kind, "input")).all()


def test_the_default_norm_is_frobenius_in_input_space() -> None:
    partition = workload("B").partition
    np.testing.assert_array_equal(partition.operator_norms(), partition.operator_norms("frobenius", "input"))


@pytest.mark.parametrize(("kind", "space"), [("nuclear", "input"), ("frobenius", "output"), ("", ""), (2, "input")])
def test_a_norm_that_does_not_exist(kind: str, space: str) -> None:
    with pytest.raises(ValueError, match=r"must be '\w+' or '\w+'"):
        workload("B").partition.operator_norms(kind, space)


SHAPES: dict[str, nn.Module] = {
    "one linear layer": nn.Linear(2, 4),
    "bias-free linear layer": nn.Linear(2, 4, bias=False),
    "ends in ReLU": nn.Sequential(*mlp((2, 9, 4), bias=True, seed=1), nn.ReLU()),
    "more outputs than units": mlp((2, 3, 12), bias=True, seed=2),
    "one output": mlp((2, 9, 1), bias=True, seed=3),
    "reversed slope": mlp((2, 9, 9, 3), bias=True, slope=-1.0, seed=4),
    "constant": nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)),
}
with torch.no_grad():
    SHAPES["constant"][0].weight.zero_()


@pytest.mark.parametrize("name", SHAPES)
def test_maps_and_norms_of_other_shapes(name: str) -> None:
    model = SHAPES[name]
    plane = sg.Slice([0.3, -0.2], [[0.6, 0.8], [-0.8, 0.6]])
    partition = sg.enumerate_regions(model, plane, sg.Box(2.0))
    case = Workload(name, model, plane, sg.Box(2.0), partition)
    x = plane.lift(partition.interior_points)
    exact = jacobians(model, x)
    outputs = torch_forward(model, plane, partition.interior_points)
    for r in range(partition.n_regions):
        A, B = partition.affine_map(r)
        np.testing.assert_allclose(A, exact[r], atol=1e-14)
        np.testing.assert_allclose(A @ x[r] + B, outputs[r], atol=1e-14)
        np.testing.assert_allclose(partition.slice_maps[r, :, :2], A @ plane.basis.T, atol=1e-14)
        np.testing.assert_allclose(partition.slice_maps[r, :, 2], A @ plane.origin + B, atol=1e-14)
    for kind, order in (("frobenius", "fro"), ("spectral", 2)):
        for space, basis in (("input", np.eye(2)), ("slice", case.plane.basis.T)):
            expected = np.linalg.norm(exact @ basis, ord=order, axis=(1, 2))
            np.testing.assert_allclose(partition.operator_norms(kind, space), expected, rtol=1e-9, atol=1e-14)


def test_two_regions_share_their_map_on_their_common_edge() -> None:
    """The network is continuous: neighbouring maps agree at both ends of every inner edge of M."""
    partition = workload("M").partition
    inner = (partition.edge_faces >= 0).all(axis=1)
    left, right = partition.edge_faces[inner].T
    difference = partition.slice_maps[left] - partition.slice_maps[right]
    for end in partition.edges[inner].T:
        jump = np.einsum("nck,nk->nc", difference, np.column_stack([partition.vertices[end], np.ones(len(end))]))
        assert np.abs(jump).max() < 1e-12 * np.abs(partition.slice_maps).max() * 10


def test_streams_of_small_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded memory: with room for a few regions at a time every map and norm is the same."""
    case = workload("perturbed")
    fresh = sg.enumerate_regions(case.model, case.plane, sg.Box(3.0))
    streamed = sg.enumerate_regions(case.model, case.plane, sg.Box(3.0))
    expected = (fresh.slice_maps, fresh.operator_norms(), fresh.centroids(), fresh.radii())
    monkeypatch.setattr("splinegeo.region_maps._STREAM_BYTES", 1 << 17)
    got = (streamed.slice_maps, streamed.operator_norms(), streamed.centroids(), streamed.radii())
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * np.abs(other).max())


def test_a_random_point_of_a_region_has_its_map() -> None:
    case = workload("trained")
    regions = some_regions(case.partition, 300)
    points = points_inside(case.partition, regions, np.random.default_rng(5))
    values = np.einsum(
        "nck,nk->nc", case.partition.slice_maps[regions], np.column_stack([points, np.ones(len(points))])
    )
    assert_equal_to_rounding(values, torch_forward(case.model, case.plane, points))
