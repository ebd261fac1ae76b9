"""Slices of input space: coordinates there and back, planes through points, and the input that is refused."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from networks import mnist_images

import splinegeo as sg

moderate = st.floats(-100, 100, width=32)
inverse = settings(derandomize=True, deadline=None, max_examples=100)


@st.composite
def triangles(draw: st.DrawFn) -> np.ndarray:
    """Three points (3, d) whose triangle is not flatter than a part in a thousand."""
    d = draw(st.integers(2, 12))
    points = draw(arrays.arrays(np.float64, (3, d), elements=moderate))
    a, b = points[1] - points[0], points[2] - points[0]
    doubled_area = np.sqrt(max((a @ a) * (b @ b) - (a @ b) ** 2, 0.0))
    longest = max(np.linalg.norm(a), np.linalg.norm(b), np.linalg.norm(a - b))
    assume(longest > 1e-3)
    assume(doubled_area > 1e-3 * longest**2)
    return points


@inverse
@given(points=triangles())
def test_a_plane_through_three_points_holds_them(points: np.ndarray) -> None:
    plane = sg.Slice.through_points(points)
    reach = np.abs(points).max()
    np.testing.assert_allclose(plane.basis @ plane.basis.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(plane.origin, points.mean(axis=0), atol=1e-12 * reach)
    assert plane.distance(points).max() <= 1e-10 * reach
    np.testing.assert_allclose(plane.lift(plane.project(points)), points, atol=1e-10 * reach)
    assert plane.points is not None
    np.testing.assert_allclose(plane.points, plane.project(points), atol=1e-10 * reach)


@inverse
@given(points=triangles(), t=arrays.arrays(np.float64, (5, 2), elements=moderate))
def test_project_undoes_lift(points: np.ndarray, t: np.ndarray) -> None:
    plane = sg.Slice.through_points(points)
    lifted = plane.lift(t)
    scale = np.abs(points).max() + np.abs(t).max()
    np.testing.assert_allclose(plane.project(lifted), t, atol=1e-12 * scale)
    assert plane.distance(lifted).max() <= 1e-12 * scale
    np.testing.assert_allclose(
        np.linalg.norm(lifted[1:] - lifted[0], axis=1), np.linalg.norm(t[1:] - t[0], axis=1), atol=1e-11 * scale
    )


@inverse
@given(points=triangles(), seed=st.integers(0, 2**16))
def test_projection_is_orthogonal(points: np.ndarray, seed: int) -> None:
    """The foot of a point is the nearest one: distances obey Pythagoras, and no other point of the plane is nearer."""
    plane = sg.Slice.through_points(points)
    generator = np.random.default_rng(seed)
    x = 50 * generator.standard_normal((4, points.shape[1]))
    foot = plane.lift(plane.project(x))
    scale = np.abs(points).max() + np.abs(x).max()
    np.testing.assert_allclose(np.linalg.norm(x - foot, axis=1), plane.distance(x), atol=1e-11 * scale)
    np.testing.assert_allclose((x - foot) @ plane.basis.T, 0, atol=1e-11 * scale)
    along = np.linalg.norm(plane.project(x), axis=1)
    np.testing.assert_allclose(
        np.linalg.norm(x - plane.origin, axis=1) ** 2, along**2 + plane.distance(x) ** 2, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("images", [mnist_images(3), np.random.default_rng(0).standard_normal((3, 3, 28, 28))])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_images_keep_their_shape(images: np.ndarray, as_tensor: bool) -> None:
    points = torch.from_numpy(images).float() if as_tensor else images
    plane = sg.Slice.through_points(points)
    exact = np.asarray(points, dtype=np.float64)
    assert plane.input_shape == images.shape[1:]
    assert plane.origin.shape == (images[0].size,)
    assert plane.basis.shape == (2, images[0].size)
    lifted = plane.lift(plane.project(points))
    assert lifted.shape == images.shape
    assert lifted.dtype == np.float64
    np.testing.assert_allclose(lifted, exact, atol=1e-12)
    np.testing.assert_allclose(plane.project(exact.reshape(3, -1)), plane.project(points), atol=1e-12)


def test_a_parameter_that_asks_for_gradients_is_accepted() -> None:
    points = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], requires_grad=True)
    plane = sg.Slice.through_points(points)
    np.testing.assert_allclose(plane.distance(np.zeros((1, 3))), [np.sqrt(1 / 3)], rtol=1e-12)


def test_coordinates_by_hand() -> None:
    plane = sg.Slice([1.0, 2.0, 3.0], [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
    np.testing.assert_array_equal(plane.project([[5.0, 7.0, 1.0]]), [[5.0, 2.0]])
    np.testing.assert_array_equal(plane.lift([[5.0, 2.0]]), [[1.0, 7.0, 1.0]])
    np.testing.assert_array_equal(plane.distance([[5.0, 7.0, 1.0], [-2.0, 0.0, 0.0]]), [4.0, 3.0])
    assert plane.input_shape == (3,)


def test_no_points_at_all_give_empty_arrays() -> None:
    plane = sg.Slice(np.zeros(4), np.eye(4)[:2], input_shape=(2, 2))
    assert plane.project(np.zeros((0, 2, 2))).shape == (0, 2)
    assert plane.lift(np.zeros((0, 2))).shape == (0, 2, 2)
    assert plane.distance(np.zeros((0, 2, 2))).shape == (0,)


E1, E2, E3 = np.eye(3)


@pytest.mark.parametrize(
    "points",
    [
        [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [3.0, 6.0, 9.0]],
        [[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [4.0, 5.0, 7.0]],
        [[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [1.0, 2.0, 3.0]],
        [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [4.0, 5.0, 7.0]],
        [[1.0, 2.0, 3.0]] * 3,
        [np.zeros(3), 1e-9 * E1, E2],
        [np.zeros(3), E2, 1e-9 * E1],
        [E2, np.zeros(3), 1e-9 * E1],
        [np.zeros(3), 1e6 * E1, 2e6 * E1 + 1e-3 * E2],
        [np.full(3, 1e6), np.full(3, 1e6) + E1, np.full(3, 1e6) + 2 * E1],
    ],
    ids=["line", "last two equal", "first and last equal", "first two equal", "all equal", "near 01", "near 02",
         "near 12", "nearly on a line", "far from the origin"],
)  # fmt: skip
def test_points_that_span_no_plane(points: list) -> None:
    with pytest.raises(sg.DegenerateSliceError, match=r"(?i)line") as caught:
        sg.Slice.through_points(points)
    assert isinstance(caught.value, ValueError)


def test_small_and_thin_triangles_are_planes() -> None:
    for points in (
        [np.zeros(3), 1e-150 * E1, 1e-150 * E2],
        [np.zeros(3), E1, E1 + 1e-5 * E2],
        [np.zeros(3), 1e6 * E1, 1e6 * E2],
    ):
        plane = sg.Slice.through_points(points)
        np.testing.assert_allclose(np.abs(plane.basis), [E1, E2], atol=1e-10)


@pytest.mark.parametrize("shape", [(2, 5), (4, 5), (3,), (0, 5), (1, 3, 5)])
def test_a_slice_goes_through_three_points(shape: tuple[int, ...]) -> None:
    with pytest.raises(sg.ShapeError, match="three points"):
        sg.Slice.through_points(np.random.default_rng(0).standard_normal(shape))


def test_inputs_of_one_number_have_no_slice() -> None:
    with pytest.raises(sg.ShapeError, match="two numbers"):
        sg.Slice.through_points(np.array([[1.0], [2.0], [4.0]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(bad: float) -> None:
    points = np.random.default_rng(0).standard_normal((3, 4))
    plane = sg.Slice.through_points(points)
    spoilt = points.copy()
    spoilt[1, 2] = bad
    with pytest.raises(sg.SplineGeoError, match="finite"):
        sg.Slice.through_points(spoilt)
    with pytest.raises(sg.SplineGeoError, match="finite"):
        plane.project(spoilt)
    with pytest.raises(sg.SplineGeoError, match="finite"):
        plane.lift([[0.0, bad]])
    with pytest.raises(sg.SplineGeoError, match=r"origin.*finite"):
        sg.Slice([0.0, bad], np.eye(2))
    with pytest.raises(sg.SplineGeoError, match=r"basis.*finite"):
        sg.Slice([0.0, 0.0], [[1.0, 0.0], [0.0, bad]])


@pytest.mark.parametrize(
    "basis", [[E1, 2 * E2], [E1, E1], [E1, (E1 + E2) / np.sqrt(2)], np.zeros((2, 3)), [E1, 0.999999 * E2]]
)
def test_a_basis_must_be_orthonormal(basis: list) -> None:
    with pytest.raises(sg.DegenerateSliceError, match="orthonormal"):
        sg.Slice(np.zeros(3), basis)


@pytest.mark.parametrize("basis", [np.eye(3), np.eye(2), E1, [E1]])
def test_a_basis_has_two_rows_of_the_origins_length(basis: np.ndarray) -> None:
    with pytest.raises(sg.ShapeError, match=r"\(2, 3\)"):
        sg.Slice(np.zeros(3), basis)


def test_an_input_shape_must_hold_the_origin() -> None:
    with pytest.raises(sg.ShapeError, match=r"\(2, 2\).*3 numbers"):
        sg.Slice(np.zeros(3), np.eye(3)[:2], input_shape=(2, 2))


@pytest.mark.parametrize("shape", [(5, 3, 28), (3, 28, 28), (5, 28, 28, 3), (2352,), ()])
def test_inputs_of_another_shape(shape: tuple[int, ...]) -> None:
    plane = sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 3, 28, 28)))
    for method in (plane.project, plane.distance):
        with pytest.raises(sg.ShapeError, match=r"\(n, 3, 28, 28\)"):
            method(np.zeros(shape))


@pytest.mark.parametrize("shape", [(2,), (5, 3), (5, 2, 1), ()])
def test_slice_coordinates_of_another_shape(shape: tuple[int, ...]) -> None:
    plane = sg.Slice(np.zeros(3), np.eye(3)[:2])
    with pytest.raises(sg.ShapeError, match=r"\(n, 2\)"):
        plane.lift(np.zeros(shape))


@pytest.mark.parametrize(
    "points", [[[1.0, 2.0, 3.0]], [1.0, 2.0], np.zeros((0, 2)), 3.0, [["a", "b"]], [[np.nan, 0.0]]]
)
def test_points_of_interest_are_slice_coordinates(points: object) -> None:
    with pytest.raises(sg.ShapeError, match="the slice's points"):
        sg.Slice(np.zeros(3), np.eye(3)[:2], points=points)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_points_of_any_floating_type(dtype: torch.dtype) -> None:
    points = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0], [0.0, 4.0, 1.0]], dtype=dtype)
    plane = sg.Slice.through_points(points)
    np.testing.assert_allclose(plane.lift(plane.project(points)), points.double(), atol=1e-12)
    np.testing.assert_allclose(plane.distance(list(points)), 0.0, atol=1e-12)
