"""Point location: inside, on edges and vertices, on the border, outside, and far from everything."""

import numpy as np
import pytest
import torch
from networks import ALL_WORKLOADS, IDENTITY_PLANE, linear, mlp, uniform_points, workload
from torch import nn

import splinegeo as sg

every_workload = pytest.mark.parametrize("name", ALL_WORKLOADS)


def signed_depths(partition: sg.Partition, points: np.ndarray) -> np.ndarray:
    """(n, R): distance of each point from the nearest edge line of each region, negative outside."""
    depths = np.full((len(points), partition.n_regions), np.inf)
    for r in range(partition.n_regions):
        a = partition.vertices[partition.corners[partition.offsets[r] : partition.offsets[r + 1]]]
        run = np.roll(a, -1, axis=0) - a
        run /= np.linalg.norm(run, axis=1, keepdims=True)
        to_point = points[:, None, :] - a
        depths[:, r] = (run[:, 0] * to_point[..., 1] - run[:, 1] * to_point[..., 0]).min(axis=1)
    return depths


def faces_of_vertices(partition: sg.Partition) -> list[set[int]]:
    faces: list[set[int]] = [set() for _ in partition.vertices]
    for face, (begin, end) in enumerate(zip(partition.offsets[:-1], partition.offsets[1:], strict=True)):
        for vertex in partition.corners[begin:end].tolist():
            faces[vertex].add(face)
    return faces


@pytest.mark.parametrize("name", ["S", "B", "leaky biased", "scalar"])
def test_every_point_is_in_the_region_that_a_search_of_all_finds(name: str) -> None:
    partition = workload(name).partition
    points = uniform_points(partition.domain, 3000, np.random.default_rng(11))
    located = partition.locate(points)
    assert located.dtype == np.int64
    depths = signed_depths(partition, points)
    clear = np.abs(depths).min(axis=1) > 1e-12
    assert clear.sum() >= 2998
    assert ((depths > 0).sum(axis=1)[clear] == 1).all()
    np.testing.assert_array_equal(located[clear], depths.argmax(axis=1)[clear])


@every_workload
def test_a_vertex_is_in_one_of_its_regions(name: str) -> None:
    partition = workload(name).partition
    located = partition.locate(partition.vertices).tolist()
    wrong = [v for v, faces in enumerate(faces_of_vertices(partition)) if located[v] not in faces]
    assert wrong == []


@every_workload
def test_the_middle_of_an_edge_is_in_one_of_its_two_regions(name: str) -> None:
    partition = workload(name).partition
    located = partition.locate(partition.vertices[partition.edges].mean(axis=1))
    beside = (located[:, None] == partition.edge_faces).any(axis=1)
    assert beside.all()


@every_workload
def test_the_border_belongs_to_the_domain_and_what_is_beyond_does_not(name: str) -> None:
    partition = workload(name).partition
    domain = partition.domain
    size = np.ptp(domain, axis=0).max()
    share = np.random.default_rng(12).random((500, 1))
    for a, b in zip(domain, np.roll(domain, -1, axis=0), strict=True):
        border = a + share * (b - a)
        outward = np.array([b[1] - a[1], a[0] - b[0]]) / np.linalg.norm(b - a)
        assert (partition.locate(border) >= 0).all()
        assert (partition.locate(border - 1e-9 * size * outward) >= 0).mean() > 0.99
        assert (partition.locate(border + 1e-9 * size * outward) == -1).all()
    assert (partition.locate(domain) >= 0).all()
    far = [[1e3, 0], [-1e3, 1e3], [0, -1e9], [1e150, 1e-150], [1e300, 1e300], [-1e300, 0], [0, 1.7e308]]
    assert (partition.locate(far) == -1).all()


@pytest.mark.parametrize(
    "bad", [(np.nan, 0.0), (0.0, np.nan), (np.nan, np.nan), (np.inf, 0.0), (0.0, -np.inf), (np.inf, np.nan)]
)
def test_what_is_not_a_point_is_in_no_region(bad: tuple[float, float]) -> None:
    """Outside, or refused; never in a region."""
    for name in ("B", "S"):
        try:
            located = workload(name).partition.locate([bad, (0.0, 0.0)])
        except sg.SplineGeoError:
            continue
        assert located[0] == -1
        assert located[1] >= 0


def test_lists_tensors_and_strided_arrays_are_points() -> None:
    partition = workload("B").partition
    points = uniform_points(partition.domain, 1000, np.random.default_rng(13)).astype(np.float32)
    expected = partition.locate(points.astype(np.float64))
    wide = np.zeros((2000, 6), dtype=np.float32)
    wide[::2, ::3] = points
    for same in (points, points.tolist(), torch.from_numpy(points), wide[::2, ::3], np.asfortranarray(points)):
        np.testing.assert_array_equal(partition.locate(same), expected)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_few_points(n: int) -> None:
    partition = workload("B").partition
    points = partition.interior_points[:n]
    np.testing.assert_array_equal(partition.locate(points), np.arange(n))


@pytest.mark.parametrize("shape", [(2,), (5, 3), (5, 2, 1), ()])
def test_points_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(sg.ShapeError, match=r"\(n, 2\)"):
        workload("B").partition.locate(np.zeros(shape))


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("aspect", [1.0, 1e6])
def test_domains_of_any_size_and_shape(size: float, aspect: float) -> None:
    """A bias-free network is the same at every scale; a thin domain has all its regions in a row."""
    model = mlp((2, 16, 16, 2), seed=14)
    low, high = np.array([-1.0, -1.0 / aspect]) * size, np.array([1.5, 1.0 / aspect]) * size
    domain = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, domain)
    assert partition.n_regions > 2
    np.testing.assert_array_equal(partition.locate(partition.interior_points), np.arange(partition.n_regions))
    points = uniform_points(domain, 2000, np.random.default_rng(15))
    np.testing.assert_array_equal(partition.locate(points), signed_depths(partition, points).argmax(axis=1))


def test_a_point_on_an_axis_of_four_regions() -> None:
    model = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0]]), nn.ReLU(), linear([[1.0, 1.0]]))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    quadrants = partition.locate([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    assert sorted(quadrants) == [0, 1, 2, 3]
    on_axes = partition.locate([[0.0, -0.5], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.0]])
    for region, pair in zip(on_axes, ((0, 1), (1, 2), (2, 3), (3, 0)), strict=True):
        assert region in quadrants[list(pair)]
    assert partition.locate([[0.0, 0.0]])[0] in quadrants
    assert partition.locate([[1.0, 1.0]])[0] == quadrants[2]


def test_the_border_far_from_the_origin() -> None:
    """There a point of a slanted side misses it by the rounding of its coordinates."""
    corners = np.array([1e5, 2e5]) + np.array([[0.0, -1.0], [1.3, 0.1], [0.4, 1.2], [-0.9, 0.3]])
    partition = sg.enumerate_regions(mlp((2, 16, 16, 2), bias=True, seed=14), IDENTITY_PLANE, corners)
    s = np.linspace(0, 1, 1001)[:, None]
    on_sides = [(1 - s) * a + s * b for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    assert (partition.locate(np.concatenate(on_sides)) >= 0).all()
    beyond = corners + 1e-6 * (corners - corners.mean(axis=0))
    np.testing.assert_array_equal(partition.locate(beyond), -1)


@pytest.mark.parametrize("points", ["abc", None, [["a", "b"]], [[0.0, 1.0], [2.0]], np.zeros((1, 2), dtype=complex)])
def test_what_is_no_array_of_points(points: object) -> None:
    with pytest.raises(sg.ShapeError, match="slice coordinates"):
        workload("B").partition.locate(points)  # type: ignore[arg-type]
