"""Centroids and radii against automatic differentiation; their power diagram on slices and layer by layer."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from networks import ALL_WORKLOADS, IDENTITY_PLANE, linear, mlp, uniform_points, workload
from torch import nn

import splinegeo as sg
from splinegeo.power_diagram import power_distance, restrict_to_slice

every_workload = pytest.mark.parametrize("name", ALL_WORKLOADS)
BIAS_FREE = ("S", "M", "trained", "leaky")


def autograd(model: nn.Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Aᵀ1, (n, d), by one backward pass, and ⟨1, B⟩ = ⟨1, f(x)⟩ − ⟨Aᵀ1, x⟩, (n,), in float64."""
    h = torch.from_numpy(x).requires_grad_()
    total = copy.deepcopy(model).double()(h).sum(dim=1)
    total.sum().backward()
    assert h.grad is not None
    gradient = h.grad.numpy()
    return gradient, total.detach().numpy() - np.einsum("nd,nd->n", gradient, x)


@every_workload
def test_centroids_and_radii_are_those_of_automatic_differentiation(name: str) -> None:
    case = workload(name)
    regions = np.random.default_rng(6).choice(
        case.partition.n_regions, size=min(1000, case.partition.n_regions), replace=False
    )
    centroids, offsets = autograd(case.model, case.plane.lift(case.partition.interior_points[regions]))
    got = case.partition.centroids(regions)
    np.testing.assert_allclose(got, centroids, rtol=0, atol=1e-12 * np.abs(centroids).max())
    radii = np.einsum("nd,nd->n", centroids, centroids) + 2 * offsets
    np.testing.assert_allclose(case.partition.radii(regions), radii, rtol=0, atol=1e-11 * np.abs(radii).max())


@every_workload
def test_all_regions_are_the_default(name: str) -> None:
    partition = workload(name).partition
    assert partition.radii().shape == (partition.n_regions,)
    chosen = np.array([0, partition.n_regions - 1, 0])
    np.testing.assert_allclose(partition.radii()[chosen], partition.radii(chosen), rtol=1e-12)
    if name == "M":  # all of them at once are checked where they are few
        return
    assert partition.centroids().shape == (partition.n_regions, partition.network.n_inputs)
    np.testing.assert_allclose(partition.centroids()[chosen], partition.centroids(chosen), rtol=0, atol=1e-14)


def test_regions_may_be_chosen_by_index_mask_or_one_number() -> None:
    partition = workload("B").partition
    every = partition.centroids()
    mask = partition.areas > np.median(partition.areas)
    np.testing.assert_array_equal(partition.centroids(mask), partition.centroids(np.nonzero(mask)[0]))
    np.testing.assert_allclose(partition.centroids(mask), every[mask], atol=1e-15)
    np.testing.assert_allclose(partition.centroids([5, 3]), every[[5, 3]], atol=1e-15)
    assert partition.centroids(7).shape == (1, 2)
    assert partition.centroids([]).shape == (0, 2)
    assert partition.radii([]).shape == (0,)


@pytest.mark.parametrize("name", BIAS_FREE)
def test_without_biases_the_radius_is_the_squared_norm_of_the_centroid(name: str) -> None:
    partition = workload(name).partition
    regions = np.arange(0, partition.n_regions, 7)
    squared = (partition.centroids(regions) ** 2).sum(axis=1)
    np.testing.assert_allclose(partition.radii(regions), squared, rtol=1e-10, atol=1e-13 * squared.max())


@every_workload
def test_centroids_on_the_slice_are_the_projected_ones(name: str) -> None:
    case = workload(name)
    regions = np.random.default_rng(7).choice(case.partition.n_regions, size=200)
    centroids = case.partition.centroids(regions)
    expected = (centroids - case.plane.origin) @ case.plane.basis.T
    assert case.partition.slice_centroids.shape == (case.partition.n_regions, 2)
    scale = np.abs(centroids).max() + np.linalg.norm(case.plane.origin)
    np.testing.assert_allclose(case.partition.slice_centroids[regions], expected, rtol=0, atol=1e-11 * scale)


@every_workload
def test_the_power_distance_is_the_same_on_the_slice(name: str) -> None:
    """‖x(t) − μ‖² − τ = ‖t − μˢ‖² − τˢ: so differences, and the nearest region, are the same."""
    case = workload(name)
    regions = np.random.default_rng(8).choice(case.partition.n_regions, size=200)
    centroids, radii = case.partition.centroids(regions), case.partition.radii(regions)
    sites, site_radii = restrict_to_slice(centroids, radii, case.plane)
    t = uniform_points(case.partition.domain, 100, np.random.default_rng(9))
    x = case.plane.lift(t)
    full = ((x[:, None, :] - centroids) ** 2).sum(axis=2) - radii
    on_slice = ((t[:, None, :] - sites) ** 2).sum(axis=2) - site_radii
    np.testing.assert_allclose(on_slice, full, rtol=0, atol=1e-11 * np.abs(full).max())
    np.testing.assert_allclose(power_distance(x, centroids, radii), full, rtol=0, atol=1e-11 * np.abs(full).max())


# --- the cells of one layer ---


def layer_diagram(W: np.ndarray, b: np.ndarray, slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All 2ⁿ patterns (2ⁿ, n) of the layer σ(W h + b), and their centroids (Q W)ᵀ1 and radii ‖μ‖² + 2⟨1, Q b⟩."""
    patterns = np.array(list(product((0, 1), repeat=len(b))))
    slopes = np.where(patterns == 1, 1.0, slope)
    centroids = slopes @ W
    return patterns, centroids, (centroids**2).sum(axis=1) + 2 * slopes @ b


def nearest_pattern(
    x: np.ndarray, patterns: np.ndarray, centroids: np.ndarray, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each point: the pattern of least power distance over all 2ⁿ, and its lead over the next, relative."""
    distances = (x**2).sum(axis=1)[:, None] - 2 * x @ centroids.T + (centroids**2).sum(axis=1) - radii
    two = np.partition(distances, 1, axis=1)[:, :2]
    return patterns[distances.argmin(axis=1)], (two[:, 1] - two[:, 0]) / np.abs(distances).max(axis=1)


def located_patterns(partition: sg.Partition, points: np.ndarray) -> np.ndarray:
    """Pattern of the last stage in the region of each point, (n, units)."""
    return np.array([partition.pattern(r)[-1] for r in partition.locate(points)])


@pytest.mark.parametrize(("n_inputs", "n_units"), [(2, 1), (2, 10), (20, 8), (784, 10)])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0, -0.5])
@pytest.mark.parametrize("bias", [False, True])
def test_the_cell_of_one_convex_layer_minimises_the_power_distance_over_all_patterns(
    n_inputs: int, n_units: int, slope: float, bias: bool
) -> None:
    """Slopes up to 1: each unit is the maximum of its two pieces, and the sum of maxima the maximum of all sums."""
    first = mlp((n_inputs, n_units, 1), bias=bias, seed=n_units)[0].double()
    model = nn.Sequential(first, nn.LeakyReLU(slope))
    generator = np.random.default_rng(n_inputs)
    plane = sg.Slice(generator.standard_normal(n_inputs), np.linalg.qr(generator.standard_normal((n_inputs, 2)))[0].T)
    partition = sg.enumerate_regions(model, plane, sg.Box(4.0))
    W = first.weight.detach().numpy()
    patterns, centroids, radii = layer_diagram(W, first.bias.detach().numpy() if bias else np.zeros(n_units), slope)

    points = uniform_points(partition.domain, 3000, generator)
    if slope == 1.0:  # the layer is affine: all patterns have one map, and all cells are as near
        assert np.ptp(centroids, axis=0).max() == 0
        return
    nearest, lead = nearest_pattern(plane.lift(points), patterns, centroids, radii)
    clear = lead > 1e-11
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(located_patterns(partition, points)[clear], nearest[clear])

    index = {tuple(pattern): i for i, pattern in enumerate(patterns.tolist())}
    own = [index[tuple(partition.pattern(r)[0].tolist())] for r in range(partition.n_regions)]
    np.testing.assert_allclose(partition.centroids(), centroids[own], atol=1e-12)
    np.testing.assert_allclose(partition.radii(), radii[own], atol=1e-10)


def test_the_cell_of_a_concave_layer_maximises_it() -> None:
    """Slope 2: each unit is the minimum of its pieces."""
    first = mlp((2, 7, 1), bias=True, seed=21)[0].double()
    partition = sg.enumerate_regions(nn.Sequential(first, nn.LeakyReLU(2.0)), IDENTITY_PLANE, sg.Box(3.0))
    patterns, centroids, radii = layer_diagram(first.weight.detach().numpy(), first.bias.detach().numpy(), 2.0)
    points = uniform_points(partition.domain, 2000, np.random.default_rng(0))
    furthest = patterns[power_distance(points, centroids, radii).argmax(axis=1)]
    np.testing.assert_array_equal(located_patterns(partition, points), furthest)


@pytest.mark.parametrize(
    ("sizes", "bias", "slope"),
    [
        ((2, 8, 10, 2), True, 0.0),
        ((6, 7, 7, 9, 2), True, 0.1),
        ((784, 24, 24, 10, 3), False, 0.0),
        ((2, 9, 9, 2), False, 0.5),
    ],
)
def test_inside_each_region_of_the_layers_before_a_layer_is_a_power_diagram(
    sizes: tuple[int, ...], bias: bool, slope: float
) -> None:
    """Inside a region with the map A x + B of the layers before: μ = (Q W A)ᵀ1 with the offset ⟨1, Q (W B + b)⟩."""
    model = mlp(sizes, bias=bias, slope=slope, seed=31).double()
    generator = np.random.default_rng(32)
    d = sizes[0]
    plane = sg.Slice(generator.standard_normal(d), np.linalg.qr(generator.standard_normal((d, 2)))[0].T)
    n_points = 80 if d == 784 else 500
    n_layers = len(sizes) - 2
    for depth in range(2, n_layers + 1):
        layer = model[2 * depth - 2]
        if layer.out_features > 10:
            continue
        W = layer.weight.detach().numpy()
        b = layer.bias.detach().numpy() if bias else np.zeros(len(W))
        up_to_layer = sg.enumerate_regions(model[: 2 * depth], plane, sg.Box(5.0))
        points = uniform_points(up_to_layer.domain, n_points, generator)
        patterns = located_patterns(up_to_layer, points)
        clear = 0
        for t, pattern in zip(points, patterns, strict=True):
            x = plane.lift(t[None])
            A, B = parent_map(model[: 2 * depth - 2], x)
            nearest, lead = nearest_pattern(x, *layer_diagram(W @ A, W @ B + b, slope))
            if lead > 1e-11:
                clear += 1
                np.testing.assert_array_equal(nearest[0], pattern)
        assert clear > 0.95 * n_points


def parent_map(layers: nn.Sequential, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A and B of the layers at one input, multiplied out by hand from their weights and the signs that torch finds."""
    A, B = np.eye(x.shape[1]), np.zeros(x.shape[1])
    h = torch.from_numpy(x)
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Linear):
                W = layer.weight.numpy()
                A, B = W @ A, W @ B + (0.0 if layer.bias is None else layer.bias.numpy())
            else:
                below = getattr(layer, "negative_slope", 0.0)
                slopes = np.where(h.numpy()[0] > 0, 1.0, below)
                A, B = slopes[:, None] * A, slopes * B
            h = layer(h)
    return A, B


# --- what does not hold: the composed centroids of a deep network are no power diagram of its regions ---


def test_a_negative_second_layer_breaks_the_power_diagram_of_the_composed_centroids() -> None:
    """f = −relu(x): where x > 0, μ = (−1, 0) and τ = 1, and x² + y² + 2x exceeds the x² + y² of μ = 0, τ = 0."""
    model = nn.Sequential(linear([[1.0, 0.0]]), nn.ReLU(), linear([[-1.0]]))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    assert partition.n_regions == 2
    point = np.array([[0.5, 0.0]])
    here = partition.locate(point)[0]
    np.testing.assert_array_equal(partition.centroids(here), [[-1.0, 0.0]])
    np.testing.assert_array_equal(partition.radii(here), [1.0])
    distances = power_distance(point, partition.centroids(), partition.radii())[0]
    assert distances[here] == 1.25
    assert distances.argmin() != here


def test_composed_centroids_of_a_real_network_are_no_power_diagram() -> None:
    """On S most points are nearer to another region than to their own, by far more than rounding."""
    case = workload("S")
    sites, radii = restrict_to_slice(case.partition.centroids(), case.partition.radii(), case.plane)
    points = uniform_points(case.partition.domain, 1000, np.random.default_rng(10))
    distances = power_distance(points, sites, radii)
    own = distances[np.arange(len(points)), case.partition.locate(points)]
    further = own - distances.min(axis=1) > 1e-6 * np.ptp(distances, axis=1)
    assert further.mean() > 0.5
