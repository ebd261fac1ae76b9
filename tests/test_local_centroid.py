"""Exact local centroids, against the Monte-Carlo mean of centroids by automatic differentiation."""

import copy

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, linear, one_thread, workload
from pooled_network import pooled_case
from test_local_complexity import points_in_disc
from torch import nn

import splinegeo as sg
from splinegeo.local_centroid import local_centroids_in_discs
from splinegeo.selection import regions_in_disc


def autograd_centroids(model: nn.Module, plane: sg.Slice, points: np.ndarray) -> np.ndarray:
    """Gradients of the sum of the outputs at points (n, 2) of the slice, (n, d)."""
    exact = copy.deepcopy(model).double()
    x = torch.from_numpy(plane.lift(points)).requires_grad_()
    with one_thread():
        (gradient,) = torch.autograd.grad(exact(x).sum(), x)
    return gradient.reshape(len(points), -1).numpy()


@pytest.mark.parametrize(("name", "radius"), [("S", 2.0), ("B", 0.2), ("leaky biased", 0.5), ("pooled", 1.0)])
def test_the_sampled_mean_approaches_it(name: str, radius: float) -> None:
    if name == "pooled":
        model, partition = pooled_case()
    else:
        model, partition = workload(name).model, workload(name).partition
    center = partition.domain.mean(axis=0) + 0.1
    exact = local_centroids_in_discs(partition, center[None], radius)
    assert exact.covered[0] == pytest.approx(1.0, rel=1e-10)
    assert len(regions_in_disc(partition, center, radius)) > 10
    generator = np.random.default_rng(0)
    errors = []
    for n in (100, 10_000):
        points = points_in_disc(center, radius, n, generator)
        sampled = np.concatenate(
            [autograd_centroids(model, partition.plane, part) for part in np.array_split(points, 10)]
        )
        errors.append(np.linalg.norm(sampled.mean(axis=0) - exact.centroids[0]))
        # The squared error of a mean of n samples is their summed variance / n on average.
        assert errors[-1] <= 4 * np.sqrt(sampled.var(axis=0).sum() / n)
        on_slice = (sampled - partition.plane.origin) @ partition.plane.basis.T
        deviation = np.sqrt(on_slice.var(axis=0).sum() / n)
        assert np.linalg.norm(on_slice.mean(axis=0) - exact.slice_centroids[0]) <= 4 * deviation
    assert errors[1] < errors[0] / 2


def test_agrees_with_the_sampled_local_centroids() -> None:
    """The slice is all of input space here: `sg.local_centroids` averages over Gaussian noise of deviation σ, which is
    a mixture of uniform discs, the radius r with the density r³ exp(-r² / 2σ²) / 2σ⁴.
    """
    case = workload("B")
    x, spread, n = np.array([0.3, -0.2]), 0.15, 20_000
    sigma = spread * (x.max() - x.min())
    edges = np.linspace(0, 7 * sigma, 301)
    radii = (edges[1:] + edges[:-1]) / 2
    density = radii**3 * np.exp(-(radii**2) / (2 * sigma**2)) / (2 * sigma**4)
    means = [local_centroids_in_discs(case.partition, x[None], r).centroids[0] for r in radii]
    exact = np.diff(edges) * density @ means
    assert np.diff(edges) @ density == pytest.approx(1.0, abs=1e-4)
    copies = torch.from_numpy(np.tile(x, (n // 10, 1)))
    with one_thread():
        generator = torch.Generator().manual_seed(0)
        sampled = sg.local_centroids(
            copy.deepcopy(case.model).double(), copies, spread, 10, generator=generator
        ).numpy()
    # Rows are means of ten draws each.
    np.testing.assert_allclose(sampled.mean(axis=0), exact, atol=4 * sampled.std(axis=0).max() / np.sqrt(n / 10))
    assert np.linalg.norm(exact - case.partition.centroids(case.partition.locate(x[None]))[0]) > 0.01


def test_within_one_region_it_is_the_centroid() -> None:
    partition = workload("S").partition
    r = int(partition.areas.argmax())
    center = partition.interior_points[r]
    exact = local_centroids_in_discs(partition, center[None], 1e-4)
    assert regions_in_disc(partition, center, 1e-4).regions.tolist() == [r]
    np.testing.assert_allclose(exact.centroids, partition.centroids([r]), rtol=1e-13)
    np.testing.assert_allclose(exact.slice_centroids[0], partition.slice_centroids[r], rtol=1e-9)


def test_over_the_whole_domain_it_is_the_mean_of_all() -> None:
    partition = workload("S").partition
    exact = local_centroids_in_discs(partition, [[1.0, 2.0], [-1.0, 0.0]], 40.0)
    weights = partition.areas / partition.areas.sum()
    for i in range(2):
        np.testing.assert_allclose(exact.centroids[i], weights @ partition.centroids(), rtol=0, atol=1e-14)
        np.testing.assert_allclose(exact.slice_centroids[i], weights @ partition.slice_centroids, rtol=1e-9)
    np.testing.assert_allclose(exact.covered, 400 / (np.pi * 1600), rtol=1e-12)


def test_the_origin_of_a_bias_free_network() -> None:
    """f = |x| + |y|: the centroids (±1, ±1) of the four quadrants cancel about the origin, in pairs about an axis."""
    fold = linear([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    model = nn.Sequential(fold, nn.ReLU(), linear([[1.0, 1.0, 1.0, 1.0]]))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    exact = local_centroids_in_discs(partition, [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.25, 0.0]], 0.25)
    np.testing.assert_allclose(exact.centroids, [[0, 0], [1, 0], [1, 1], [1, 0]], atol=1e-14)
    # From x = 0, half a radius from the center, a circular segment of the disc has the other sign.
    shifted = local_centroids_in_discs(partition, [[0.125, 0.0]], 0.25)
    smaller = (np.arccos(0.5) - 0.5 * np.sqrt(0.75)) / np.pi
    np.testing.assert_allclose(shifted.centroids, [[1 - 2 * smaller, 0]], atol=1e-13)


def test_bad_input() -> None:
    partition = workload("B").partition
    with pytest.raises(sg.InvalidDomainError, match=r"about \(3, 0\) does not meet the partition"):
        local_centroids_in_discs(partition, [[0.0, 0.0], [3.0, 0.0]], 0.5)
    with pytest.raises(sg.ShapeError, match="two slice coordinates"):
        local_centroids_in_discs(partition, np.zeros((1, 3)), 0.5)
    with pytest.raises(sg.InvalidArgumentError, match="radius"):
        local_centroids_in_discs(partition, [[0.0, 0.0]], -1.0)
    assert local_centroids_in_discs(partition, np.zeros((0, 2)), 1.0).centroids.shape == (0, 2)
