"""Partitions of real networks: the reference counts, a conforming mesh, and patterns equal to torch's forward pass."""

import numpy as np
import pytest
from mesh_checks import mesh_problems, signed_areas
from networks import (
    ALL_WORKLOADS,
    Workload,
    mean_corners,
    region_patterns,
    torch_patterns,
    uniform_points,
    workload,
)

import splinegeo as sg

N_SAMPLES = 100_000
# A sample whose nearest unit is nearer to zero than this share of the unit's scale may lie on either side of it.
AMBIGUOUS = 1e-12

every_workload = pytest.mark.parametrize("name", ALL_WORKLOADS)


@pytest.mark.parametrize(("name", "count"), [("S", 657), ("M", 25_988), ("B", 1_180)])
def test_reference_counts(name: str, count: int) -> None:
    assert workload(name).partition.n_regions == count


@every_workload
def test_mesh_conforms(name: str) -> None:
    partition = workload(name).partition
    assert mesh_problems(partition.mesh, partition.domain) == []


@every_workload
def test_areas(name: str) -> None:
    partition = workload(name).partition
    # Two sums of the same products in another order, over corners that lie up to a domain's width from the first one.
    np.testing.assert_allclose(
        partition.areas, signed_areas(partition.mesh), rtol=1e-9, atol=1e-16 * partition.areas.sum()
    )


@every_workload
def test_patterns_are_unique_and_so_are_their_keys(name: str) -> None:
    partition = workload(name).partition
    patterns = region_patterns(partition)
    assert patterns.shape == (partition.n_regions, sum(stage.n_units for stage in partition.network.stages))
    assert len(np.unique(patterns, axis=0)) == partition.n_regions
    assert partition.pattern_keys.dtype == np.uint64
    assert len(partition.pattern_keys) == partition.n_regions
    assert len(np.unique(partition.pattern_keys, axis=0)) == partition.n_regions


@every_workload
def test_neighbours_differ_in_the_unit_that_labels_their_edge(name: str) -> None:
    partition = workload(name).partition
    patterns = region_patterns(partition)
    first_unit = np.cumsum([0, *(stage.n_units for stage in partition.network.stages)])
    inner = (partition.edge_faces >= 0).all(axis=1)
    left, right = partition.edge_faces[inner].T
    rows, units = np.nonzero(patterns[left] != patterns[right])
    np.testing.assert_array_equal(rows, np.arange(inner.sum()), err_msg="neighbours are not one unit apart")
    stage, unit = partition.edge_labels[inner].T
    np.testing.assert_array_equal(units, first_unit[stage] + unit)


@every_workload
def test_interior_patterns_are_those_of_the_forward_pass(name: str) -> None:
    """For every region without exception."""
    case = workload(name)
    patterns = region_patterns(case.partition)
    for points in (mean_corners(case.partition), case.partition.interior_points):
        forward, _ = torch_patterns(case.model, case.plane, points)
        np.testing.assert_array_equal(patterns, forward)


@every_workload
def test_edges_lie_on_the_zero_sets_that_label_them(name: str) -> None:
    case = workload(name)
    inner = np.nonzero((case.partition.edge_faces >= 0).all(axis=1))[0]
    chosen = np.random.default_rng(0).choice(inner, size=min(2000, len(inner)), replace=False)
    middles = case.partition.vertices[case.partition.edges[chosen]].mean(axis=1)
    h = case.plane.lift(middles)
    stage_of, unit_of = case.partition.edge_labels[chosen].T
    value, scale = np.full(len(chosen), np.nan), np.full(len(chosen), np.nan)
    for index, stage in enumerate(case.partition.network.stages):
        y = stage.affine(h)
        here = stage_of == index
        weights = np.linalg.norm(stage.affine.weight, axis=1)[unit_of[here]]
        value[here] = y[here, unit_of[here]]
        scale[here] = weights * np.linalg.norm(h[here], axis=1) + np.abs(stage.affine.bias[unit_of[here]])
        h = stage.activate(y)
    assert (np.abs(value) / scale).max() < 1e-11


@every_workload
def test_random_samples_are_located_in_the_region_of_their_pattern(name: str) -> None:
    case = workload(name)
    generator = np.random.default_rng(1)
    points = uniform_points(case.partition.domain, N_SAMPLES, generator)
    assert count_misplaced(case, points, allowed_on_edges=3) == 0


@every_workload
def test_samples_close_to_vertices_are_located_in_the_region_of_their_pattern(name: str) -> None:
    case = workload(name)
    generator = np.random.default_rng(2)
    diameter = np.ptp(case.partition.domain, axis=0).max()
    for distance in (1e-4, 1e-7):
        near = generator.choice(case.partition.vertices, size=5000)
        points = near + distance * diameter * generator.standard_normal((5000, 2))
        inside = case.partition.locate(points) >= 0
        assert inside.mean() > 0.5
        # At 1e-7 of the diameter a few samples in ten thousand come within rounding of an edge of their vertex.
        assert count_misplaced(case, points[inside], allowed_on_edges=25) == 0


def count_misplaced(case: Workload, points: np.ndarray, *, allowed_on_edges: int) -> int:
    """Points whose region has another pattern than torch finds there, but for a few that lie on an edge."""
    found = case.partition.locate(points)
    assert (found >= 0).all(), f"{(found < 0).sum()} points of the domain are in no region"
    forward, margin = torch_patterns(case.model, case.plane, points)
    on_edge = margin <= AMBIGUOUS
    assert on_edge.sum() <= allowed_on_edges
    patterns = region_patterns(case.partition)
    return int(((patterns[found] != forward).any(axis=1) & ~on_edge).sum())


@pytest.mark.parametrize("name", ["S", "leaky"])
def test_regions_of_a_window_are_those_of_the_domain_cut_by_the_window(name: str) -> None:
    """Four windows about a point off the centre: they have the domain's patterns, and the areas add up."""
    case = workload(name)
    areas = dict(zip(map(bytes, region_patterns(case.partition)), case.partition.areas, strict=True))
    (left, low), (right, high) = case.partition.domain.min(axis=0), case.partition.domain.max(axis=0)
    x, y = left + 0.3 * (right - left), low + 0.6 * (high - low)
    summed = dict.fromkeys(areas, 0.0)
    for a, b in ((left, x), (x, right)):
        for c, d in ((low, y), (y, high)):
            window = sg.enumerate_regions(case.model, case.plane, np.array([[a, c], [b, c], [b, d], [a, d]]))
            for pattern, area in zip(map(bytes, region_patterns(window)), window.areas, strict=True):
                summed[pattern] += area
    assert summed == pytest.approx(areas, rel=1e-9, abs=1e-12 * sum(areas.values()))


@pytest.mark.parametrize("name", ["S", "M"])
def test_threads_do_not_change_the_result(name: str) -> None:
    case = workload(name)
    patterns = region_patterns(case.partition)
    order = np.lexsort(case.partition.pattern_keys.T)
    for threads in (1, 3):
        other = sg.enumerate_regions(case.model, case.plane, case.domain, threads=threads)
        other_order = np.lexsort(other.pattern_keys.T)
        np.testing.assert_array_equal(region_patterns(other)[other_order], patterns[order])
        np.testing.assert_allclose(other.areas[other_order], case.partition.areas[order], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["S", "B", "leaky biased"])
def test_the_slice_may_be_turned(name: str) -> None:
    """A turned basis and the domain turned back are the same plane region: the same patterns and areas."""
    case = workload(name)
    angle = 0.7
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    plane = sg.Slice(case.plane.origin, turn @ case.plane.basis, case.plane.input_shape)
    turned = sg.enumerate_regions(case.model, plane, case.partition.domain @ turn.T)
    areas = dict(zip(map(bytes, region_patterns(case.partition)), case.partition.areas, strict=True))
    turned_areas = dict(zip(map(bytes, region_patterns(turned)), turned.areas, strict=True))
    assert turned_areas == pytest.approx(areas, rel=1e-6, abs=1e-12 * sum(areas.values()))
