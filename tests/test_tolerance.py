"""When a unit's value is zero, and how near two crossings must be to share a vertex."""

import tracemalloc

import numpy as np
import pytest

import splinegeo as sg
from splinegeo.affine import Affine
from splinegeo.stages import Network, Stage
from splinegeo.tolerance import (
    CLOSENESS,
    TOLERANCE,
    merging_distance,
    noise_of_outputs,
    stage_tolerances,
    unit_tolerance,
)

SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def test_about_the_origin_it_is_a_share_of_the_diameter() -> None:
    assert merging_distance(3 * SQUARE) == pytest.approx(CLOSENESS * TOLERANCE * 6 * np.sqrt(2))


def test_many_corners_are_not_all_compared_at_once() -> None:
    turns = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    circle = np.column_stack([np.cos(turns), np.sin(turns)])
    tracemalloc.start()
    try:
        distance = merging_distance(circle)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert distance == pytest.approx(CLOSENESS * TOLERANCE * 2)
    assert peak < 8 * len(circle) ** 2


def test_far_from_the_origin_it_is_above_the_rounding_of_coordinates() -> None:
    small = 1e-3 * SQUARE + 29.0
    assert merging_distance(small) > 4 * np.spacing(29.0)
    assert merging_distance(small) > merging_distance(1e-3 * SQUARE)


def test_a_tolerance_is_that_of_the_terms_of_its_own_unit() -> None:
    weight, bias = np.array([[1.0, 0.0], [0.0, -2.0], [3.0, 4.0], [1.0, 1.0]]), np.array([0.0, 0.0, 5.0, 0.0])
    stage = Stage(Affine(weight, bias), np.zeros(4), np.array([False, False, False, True]))
    sizes, noise = np.array([1e6, 1e-6]), np.array([0.0, 0.0])
    tolerance, _ = unit_tolerance(stage, sizes, noise)
    np.testing.assert_allclose(tolerance[:3] / TOLERANCE, [1e6, 2e-6, 3e6 + 4e-6 + 5], rtol=1e-14)
    assert tolerance[3] == np.inf


def test_outputs_that_cancel_keep_the_rounding_of_what_has_cancelled() -> None:
    """y = (1 + 2^-30) x - x, then y alone: its rounding is that of x."""
    stages = (
        Stage(Affine(np.array([[1.0], [1.0 + 2.0**-30]]), np.zeros(2)), np.zeros(2)),
        Stage(Affine(np.array([[-1.0, 1.0]]), np.zeros(1)), np.zeros(1)),
        Stage(Affine(np.array([[1.0]]), np.zeros(1)), np.zeros(1)),
    )
    network = Network(stages, Affine(np.eye(1), np.zeros(1)))
    first, second, third = stage_tolerances(network, np.array([[0.5], [1.0]]))
    assert first[0] == pytest.approx(TOLERANCE)
    assert 2 * TOLERANCE < second[0] < 3 * TOLERANCE
    assert 0.1 * second[0] < third[0] < second[0]


def test_units_that_are_off_by_more_than_rounding_hand_on_their_slope_of_it() -> None:
    stage = Stage(Affine(np.ones((5, 1)), np.zeros(5)), np.array([0.0, 0.0, 0.0, 0.1, -3.0]))
    tolerance, highest = np.ones(5), np.array([-2.0, -0.5, 2.0, -2.0, -2.0])
    noise = noise_of_outputs(stage, np.array([1.0, 1.0, 1.0, 1.0, 3.0]), tolerance, highest)
    np.testing.assert_allclose(noise, [0.0, 1.0, 1.0, 0.1, 3.0], rtol=1e-15)


def far_network() -> Network:
    """h = relu(-x), then relu(± h + b), with biases far below the rounding of x at 1e13: only b is left for x > 0."""
    stages = (
        Stage(Affine(-np.eye(2), np.zeros(2)), np.zeros(2)),
        Stage(Affine(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]), np.array([1e-3, -1e-3, 2e-3])), np.zeros(3)),
    )
    return Network(stages, Affine(np.array([[1.0, 2.0, 4.0]]), np.zeros(1)))


def test_far_from_the_origin_units_that_are_off_leave_what_follows_exact() -> None:
    """At 1e13 a value rounds to a thousandth: a unit that is off by 1e13 does not."""
    network, far = far_network(), np.array([1e13, 2e13])
    part = sg.enumerate_regions(network, sg.Slice(far, np.eye(2)), sg.Box(1.0))
    assert part.n_regions == 1
    assert [of_layer.tolist() for of_layer in part.pattern(0)] == [[0, 0], [1, 0, 1]]
    A, B = part.affine_map(0)
    assert not A.any()
    np.testing.assert_allclose(B, [9e-3], rtol=1e-14)
    assert part.certify(100).ok
    pieces = sg.enumerate_segment(network, far, far + 1.0)
    assert pieces.n_pieces == 1
    assert pieces.outputs == pytest.approx(9e-3, rel=1e-14)
    assert pieces.patterns[1].tolist() == [[1, 0, 1]]


def test_beside_units_that_are_nought_to_rounding_it_is_that_of_their_terms() -> None:
    """relu(x - y) is 0 to rounding on x = y, at 1e13 a thousandth: what is less is not known."""
    stages = (
        Stage(Affine(np.array([[1.0, -1.0]]), np.zeros(1)), np.zeros(1)),
        Stage(Affine(np.ones((1, 1)), np.array([1e-6])), np.zeros(1)),
    )
    network = Network(stages, Affine(np.eye(1), np.zeros(1)))
    _, second = stage_tolerances(network, np.array([[1e13, 1e13], [2e13, 2e13]]))
    assert second[0] > 1e-3
