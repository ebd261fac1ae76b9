"""Domains on a slice: boxes, convex polygons, the default about the points; and everything that is no convex region."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_checks import mesh_problems
from networks import IDENTITY_PLANE, mlp

import splinegeo as sg
from splinegeo.slice import domain_polygon

MODEL = mlp((2, 12, 12, 3), bias=True, seed=11)
PLANE_WITH_POINTS = sg.Slice.through_points([[1.0, 0.0, 2.0], [3.0, 1.0, 2.0], [2.0, 5.0, -1.0]])
PENTAGON = np.array([[0.0, -1.0], [1.0, 0.0], [0.5, 1.0], [-0.5, 1.0], [-1.0, 0.0]])


def polygon_area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def regions(domain: object) -> sg.Partition:
    return sg.enumerate_regions(MODEL, IDENTITY_PLANE, domain)


def test_a_box() -> None:
    partition = regions(sg.Box(2.0, center=(1.0, -0.5)))
    np.testing.assert_array_equal(partition.domain, [[-1.0, -2.5], [3.0, -2.5], [3.0, 1.5], [-1.0, 1.5]])
    assert mesh_problems(partition.mesh, partition.domain) == []
    assert partition.areas.sum() == pytest.approx(16.0, rel=1e-12)


def test_a_box_is_the_polygon_of_its_corners() -> None:
    box, polygon = regions(sg.Box(1.5)), regions(sg.Box(1.5).polygon())
    np.testing.assert_array_equal(box.vertices, polygon.vertices)
    np.testing.assert_array_equal(box.pattern_keys, polygon.pattern_keys)


def test_the_default_frames_the_points_with_a_margin_of_half_their_extent() -> None:
    partition = sg.enumerate_regions(mlp((3, 8, 2), bias=True), PLANE_WITH_POINTS)
    points = PLANE_WITH_POINTS.points
    assert points is not None
    extent = np.ptp(points, axis=0).max()
    low, high = partition.domain.min(axis=0), partition.domain.max(axis=0)
    np.testing.assert_allclose(high - low, [2 * extent, 2 * extent], rtol=1e-12)
    np.testing.assert_allclose((high + low) / 2, (points.min(axis=0) + points.max(axis=0)) / 2, atol=1e-12 * extent)
    assert (partition.locate(points) >= 0).all()


def test_a_slice_without_points_needs_a_domain() -> None:
    with pytest.raises(sg.InvalidDomainError, match=r"give a domain.*Box"):
        regions(None)


def test_a_clockwise_polygon_is_turned_round() -> None:
    partition, reverse = regions(PENTAGON), regions(PENTAGON[::-1])
    assert polygon_area(reverse.domain) > 0
    assert mesh_problems(reverse.mesh, reverse.domain) == []
    assert reverse.n_regions == partition.n_regions
    np.testing.assert_allclose(np.sort(reverse.areas), np.sort(partition.areas), rtol=1e-9)


@pytest.mark.parametrize("first", range(5))
def test_it_does_not_matter_with_which_corner_a_polygon_begins(first: int) -> None:
    partition = regions(np.roll(PENTAGON, first, axis=0))
    assert mesh_problems(partition.mesh, partition.domain) == []
    np.testing.assert_allclose(np.sort(partition.areas), np.sort(regions(PENTAGON).areas), rtol=1e-9)


def test_extra_corners_on_the_sides_change_nothing() -> None:
    extra = np.concatenate([PENTAGON[:2], [(PENTAGON[1] + PENTAGON[2]) / 2], PENTAGON[2:], [[-0.5, -0.5]]])
    partition, plain = regions(extra), regions(PENTAGON)
    assert mesh_problems(partition.mesh, extra) == []
    assert partition.n_regions == plain.n_regions
    np.testing.assert_allclose(np.sort(partition.areas), np.sort(plain.areas), rtol=1e-9)


def test_lists_tensors_and_integers_are_polygons() -> None:
    square = [[0, 0], [2, 0], [2, 2], [0, 2]]
    keys = regions(np.array(square, dtype=np.float64)).pattern_keys
    tensor = torch.tensor(square)
    for domain in (square, np.array(square), tensor, tensor.float().requires_grad_(), list(tensor.bfloat16())):
        np.testing.assert_array_equal(regions(domain).pattern_keys, keys)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    angles=st.lists(st.integers(0, 179), min_size=3, max_size=12, unique=True),
    size=st.sampled_from([1e-3, 1.0, 1e4]),
    center=st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
    clockwise=st.booleans(),
)
def test_polygons_on_a_circle(angles: list[int], size: float, center: tuple[float, float], clockwise: bool) -> None:
    turns = np.sort(np.array(angles)) * (np.pi / 90)
    polygon = size * (np.array(center) + np.stack([np.cos(turns), np.sin(turns)], axis=1))
    domain = domain_polygon(polygon[::-1] if clockwise else polygon, IDENTITY_PLANE)
    assert polygon_area(domain) > 0
    np.testing.assert_array_equal(np.unique(domain, axis=0), np.unique(polygon, axis=0))
    partition = regions(domain)
    assert mesh_problems(partition.mesh, domain) == []


PENTAGRAM = [[np.cos(a), np.sin(a)] for a in np.arange(5) * 4 * np.pi / 5]


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ([[0, 0], [4, 0], [1, 1], [0, 4]], "convex"),
        ([[0, 0], [2, -1], [1, 0], [2, 1]], "convex"),
        (PENTAGRAM, "convex"),
        ([[0, 0], [3, 0], [3, 3], [1, -1]], "convex"),
        ([[0, 0], [2, 2], [2, 0], [0, 1.5]], "convex|empty"),
        ([[0, 0], [2, 0], [2, 0], [2, 2], [0, 2]], "convex"),
        ([[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]], "convex"),
        ([[0, 0], [3, 0], [2, 0], [2, 2], [0, 2]], "convex"),
        ([[0, 0], [2, 0], [2, 2], [0, 2]] * 2, "convex"),
        ([[0, 0], [1, 1], [2, 2]], "empty"),
        ([[0, 0], [1, 0], [2, 0], [1, 0]], "convex|empty"),
        ([[1, 1], [1, 1], [1, 1]], "convex|empty"),
        ([[0, 0], [1e6, 0], [1e6, 1e-9]], "empty"),
        ([[0, 0], [1, 0]], r"k >= 3"),
        ([], r"k >= 3"),
        (np.zeros((0, 2)), r"k >= 3"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], r"k >= 3"),
        ([0, 1, 2, 3], r"k >= 3"),
        (3.0, r"k >= 3"),
        ([[0, 0], [1, 0], [np.nan, 1]], "finite"),
        ([[0, 0], [np.inf, 0], [0, 1]], "finite"),
        ([[0, 0], [1e120, 0], [0, 1e120]], r"within 1e\+100"),
    ],
)
def test_what_is_not_a_convex_polygon(domain: object, message: str) -> None:
    with pytest.raises(sg.InvalidDomainError, match=message) as caught:
        regions(domain)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "domain", ["Box", [["a", "b"]] * 3, [["0", "1"]] * 3, [[0, 0], [1, 0], [1]], {"half_width": 1.0}, 1j * PENTAGON]
)
def test_what_is_no_array_of_numbers(domain: object) -> None:
    with pytest.raises(sg.InvalidDomainError):
        regions(domain)


def test_the_largest_domain() -> None:
    partition = regions(sg.Box(1e100))
    assert partition.certify(1000).ok
    np.testing.assert_array_equal(partition.locate(partition.interior_points), np.arange(partition.n_regions))


@pytest.mark.parametrize("half_width", [0.0, -1.0, np.nan, np.inf])
def test_the_width_of_a_box(half_width: float) -> None:
    with pytest.raises(sg.InvalidDomainError, match="positive finite half_width"):
        sg.Box(half_width)


@pytest.mark.parametrize("center", [(np.nan, 0.0), (0.0, np.inf)])
def test_the_center_of_a_box(center: tuple[float, float]) -> None:
    with pytest.raises(sg.InvalidDomainError, match="finite"):
        regions(sg.Box(1.0, center))


def test_a_box_too_small_for_its_distance_from_the_origin_is_empty() -> None:
    """In float64 its corners coincide."""
    with pytest.raises(sg.InvalidDomainError):
        regions(sg.Box(1e-6, center=(1e12, 0.0)))


@pytest.mark.parametrize(("half_width", "center"), [(1e-3, (1e6, -1e6)), (1.0, (1e8, 1e8))])
def test_a_small_box_far_from_the_origin(half_width: float, center: tuple[float, float]) -> None:
    """Sums of products of its coordinates would be rounding."""
    partition = regions(sg.Box(half_width, center))
    assert partition.areas.sum() == pytest.approx(4 * half_width**2, rel=1e-6)
    assert mesh_problems(partition.mesh, partition.domain) == []


def test_a_slice_with_one_point_needs_a_domain() -> None:
    plane = sg.Slice(np.zeros(2), np.eye(2), points=[[1.0, 2.0], [1.0, 2.0]])
    with pytest.raises(sg.InvalidDomainError, match="give a domain"):
        sg.enumerate_regions(MODEL, plane)
