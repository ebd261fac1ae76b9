"""Exact local complexity, against dense samples, the labelled edges in reach, and the sampled estimate it replaces."""

import numpy as np
import pytest
import shapely
from networks import IDENTITY_PLANE, linear, torch_patterns, uniform_points, workload
from pooled_network import pooled_case, pooled_patterns
from torch import nn

import splinegeo as sg
from splinegeo.local_complexity import local_complexity
from splinegeo.selection import regions_in_disc


def points_in_disc(center: np.ndarray, radius: float, n: int, generator: np.random.Generator) -> np.ndarray:
    angles = generator.uniform(0, 2 * np.pi, n)
    return center + radius * np.sqrt(generator.random((n, 1))) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def n_different(patterns: np.ndarray) -> int:
    """Number of different rows."""
    return len({row.tobytes() for row in np.ascontiguousarray(patterns, dtype=np.int8)})


def sampled_changes(case_patterns: np.ndarray, widths: list[int]) -> list[int]:
    """Units of each layer that are in two states among the samples (n, units)."""
    changing = case_patterns.any(axis=0) & ~case_patterns.all(axis=0)
    return [int(part.sum()) for part in np.split(changing, np.cumsum(widths)[:-1])]


@pytest.mark.parametrize(("name", "radius"), [("B", 0.15), ("B", 0.03), ("leaky biased", 0.4), ("S", 1.0)])
def test_units_are_those_with_an_edge_in_reach(name: str, radius: float) -> None:
    """No two units of these networks vanish together: a unit changes in a disc iff an edge with its label meets it."""
    partition = workload(name).partition
    centers = uniform_points(partition.domain, 12, np.random.default_rng(0))
    complexity = local_complexity(partition, centers, radius)
    segments = shapely.linestrings(partition.vertices[partition.edges])
    polygons = partition.to_shapely()
    for i, center in enumerate(centers):
        point = shapely.Point(center)
        labels = partition.edge_labels[shapely.distance(segments, point) < radius]
        units = {(int(layer), int(unit)) for layer, unit in labels if layer >= 0}
        expected = [sum(layer == k for layer, _ in units) for k in range(complexity.units_by_layer.shape[1])]
        assert complexity.units_by_layer[i].tolist() == expected
        assert complexity.n_regions[i] == (shapely.distance(polygons, point) < radius).sum()
    assert complexity.n_units.tolist() == complexity.units_by_layer.sum(axis=1).tolist()
    np.testing.assert_array_equal(complexity.regions_by_layer[:, -1], complexity.n_regions)
    assert (np.diff(complexity.regions_by_layer, axis=1) >= 0).all()


def test_samples_approach_the_exact_count_from_below() -> None:
    case = workload("B")
    generator = np.random.default_rng(1)
    widths = [stage.n_units for stage in case.partition.network.stages]
    missed_by_vertices = 0
    for center in uniform_points(case.partition.domain * 0.8, 5, generator):
        exact = local_complexity(case.partition, center[None], 0.2)
        cross_polytope = center + 0.2 * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        dense = points_in_disc(center, 0.2, 20_000, generator)
        estimates = []
        for points in (cross_polytope, dense[:100], dense):
            patterns, _ = torch_patterns(case.model, case.plane, points)
            estimates.append(sampled_changes(patterns, widths))
            assert (np.array(estimates[-1]) <= exact.units_by_layer[0]).all()
        assert n_different(patterns) <= exact.n_regions[0]
        # What the densest sample misses are zero sets that no more than clip the circle.
        assert sum(estimates[-1]) >= exact.n_units[0] - 2
        missed_by_vertices += exact.n_units[0] - sum(estimates[0])
    assert missed_by_vertices > 0


def test_layers_of_several_stages() -> None:
    model, partition = pooled_case()
    generator = np.random.default_rng(2)
    for center in uniform_points(partition.domain * 0.5, 3, generator):
        exact = local_complexity(partition, center[None], 0.5)
        points = points_in_disc(center, 0.5, 10_000, generator)
        pieces = pooled_patterns(model, partition.plane.lift(points))
        sampled = [int((piece.min(axis=0) != piece.max(axis=0)).sum()) for piece in pieces]
        assert (np.array(sampled) <= exact.units_by_layer[0]).all()
        assert sum(sampled) >= exact.n_units[0] - 2
        for layer in range(4):
            n_patterns = n_different(np.concatenate(pieces[: layer + 1], axis=1))
            assert n_patterns <= exact.regions_by_layer[0, layer] <= n_patterns + 3


def test_bias_free_origin_duplicates_and_dead_units() -> None:
    """Every line passes through the center; of the seven units one repeats another, one is dead, one is constant."""
    lines = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0], [2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    model = nn.Sequential(linear(lines, [0.0] * 6 + [1.0]), nn.ReLU(), linear([[1.0] * 7]), nn.ReLU())
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    complexity = local_complexity(partition, [[0.0, 0.0], [0.5, 0.2], [0.5, 0.2]], 1e-6)
    assert complexity.units_by_layer.tolist() == [[5, 0], [0, 0], [0, 0]]
    assert complexity.n_regions.tolist() == [8, 1, 1]
    grown = local_complexity(partition, [[0.5, 0.2]], 0.21)
    assert (grown.n_regions[0], grown.n_units[0]) == (2, 1)


def test_discs_that_leave_the_domain() -> None:
    partition = workload("B").partition
    complexity = local_complexity(partition, [[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]], 2.0)
    assert complexity.n_regions[0] == partition.n_regions
    n_units = len(np.unique(partition.edge_labels[partition.edge_labels[:, 0] >= 0], axis=0))
    assert complexity.n_units[0] == n_units
    np.testing.assert_allclose(complexity.covered[0], 4 / (4 * np.pi), rtol=1e-12)
    np.testing.assert_allclose(complexity.covered[1], regions_in_disc(partition, (1.0, 1.0), 2.0).area / (4 * np.pi))
    assert (complexity.n_regions[2], complexity.n_units[2], complexity.covered[2]) == (0, 0, 0.0)
    inside = local_complexity(partition, [[0.1, 0.1]], 0.5)
    assert inside.covered[0] == pytest.approx(1.0, rel=1e-12)
    assert inside.covered[0] <= 1.0


def test_bad_input() -> None:
    partition = workload("B").partition
    with pytest.raises(sg.ShapeError, match="two slice coordinates"):
        local_complexity(partition, np.zeros((3, 3)), 1.0)
    with pytest.raises(sg.ShapeError, match="finite"):
        local_complexity(partition, [[np.nan, 0.0]], 1.0)
    with pytest.raises(sg.InvalidArgumentError, match="radius"):
        local_complexity(partition, np.zeros((3, 2)), 0.0)
    assert local_complexity(partition, np.zeros((0, 2)), 1.0).n_regions.shape == (0,)
