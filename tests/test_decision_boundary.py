"""The decision boundary: where torch's argmax changes, all of it, once, and nothing else."""

import math

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, Workload, linear, mlp, torch_forward, workload
from scipy.spatial import cKDTree
from torch import nn

import splinegeo as sg
from splinegeo import decision_boundary
from splinegeo.decision_boundary import DecisionBoundary

WORKLOADS = ("S", "M", "B", "trained", "perturbed", "leaky", "leaky biased", "concave")

every_workload = pytest.mark.parametrize("name", WORKLOADS)


def logits(case: Workload, points: np.ndarray) -> np.ndarray:
    return torch_forward(case.model, case.plane, points)


def classes_of(case: Workload, points: np.ndarray) -> np.ndarray:
    outputs = logits(case, points)
    return (outputs[:, 0] > 0).astype(np.int64) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


def boundary(model: nn.Module, domain: object = None) -> DecisionBoundary:
    return sg.enumerate_regions(model, IDENTITY_PLANE, domain or sg.Box(1.0)).decision_boundary()


def lengths(segments: np.ndarray) -> np.ndarray:
    return np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)


def unit_normals(segments: np.ndarray) -> np.ndarray:
    along = segments[:, 1] - segments[:, 0]
    return np.stack([along[:, 1], -along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)


@every_workload
def test_the_two_classes_are_equal_and_largest_on_every_segment(name: str) -> None:
    case = workload(name)
    found = case.partition.decision_boundary()
    assert len(found.segments) == len(found.regions) == len(found.classes) > 10
    assert (found.classes[:, 0] < found.classes[:, 1]).all()
    for share in (0.5, 0.1, 0.9):
        points = (1 - share) * found.segments[:, 0] + share * found.segments[:, 1]
        outputs = logits(case, points)
        scale = np.abs(outputs).max()
        pair = np.take_along_axis(outputs, found.classes, axis=1)
        np.testing.assert_allclose(pair[:, 0], pair[:, 1], rtol=0, atol=1e-12 * scale)
        assert (pair.max(axis=1) >= outputs.max(axis=1) - 1e-12 * scale).all()


@every_workload
def test_every_segment_separates_its_two_classes(name: str) -> None:
    case = workload(name)
    found = case.partition.decision_boundary()
    # A segment shorter than the step has other classes beside it.
    step = 1e-7 * np.ptp(case.partition.domain)
    long = lengths(found.segments) > 20 * step
    assert long.mean() > 0.99
    segments, pairs = found.segments[long], found.classes[long]
    middles, normals = segments.mean(axis=1), unit_normals(segments)
    one, other = classes_of(case, middles + step * normals), classes_of(case, middles - step * normals)
    np.testing.assert_array_equal(np.sort(np.stack([one, other], axis=1), axis=1), pairs)


@every_workload
def test_segments_lie_in_their_regions_and_no_two_overlap(name: str) -> None:
    case = workload(name)
    found = case.partition.decision_boundary()
    np.testing.assert_array_equal(case.partition.locate(found.segments.mean(axis=1)), found.regions)
    # One region has one segment for each pair of classes: equal ones of neighbours, on their edge, would count twice.
    keys = np.column_stack([found.regions, found.classes])
    assert len(np.unique(keys, axis=0)) == len(keys)
    rounded = np.round(np.sort(found.segments, axis=1).reshape(-1, 4) / (1e-9 * np.ptp(case.partition.domain)))
    assert len(np.unique(rounded, axis=0)) == len(rounded)


@every_workload
def test_every_change_of_class_on_a_grid_is_at_a_segment(name: str) -> None:
    """Brute force: between two neighbouring grid points of two classes runs a segment."""
    case = workload(name)
    found = case.partition.decision_boundary()
    low, high = case.partition.domain.min(axis=0), case.partition.domain.max(axis=0)
    n = 200
    axes = [np.linspace(low[i], high[i], n) for i in (0, 1)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = (case.partition.locate(grid) >= 0).reshape(n, n)
    labels = classes_of(case, grid).reshape(n, n)
    cells = grid.reshape(n, n, 2)
    pairs = []
    for a, b in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        changed = (labels[a] != labels[b]) & inside[a] & inside[b]
        pairs.append(np.stack([cells[a][changed], cells[b][changed]], axis=1))
    changes = np.concatenate(pairs)
    assert len(changes) > 50
    assert (
        distance_to_segments(changes.mean(axis=1), found.segments).max() <= 0.5 * max((high - low) / (n - 1)) * 1.000001
    )


def distance_to_segments(points: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Distance of each point (n, 2) to the nearest of the segments (m, 2, 2)."""
    start, along = segments[:, 0], segments[:, 1] - segments[:, 0]
    squared = np.maximum(np.einsum("md,md->m", along, along), 1e-300)
    nearest = np.full(len(points), np.inf)
    for begin in range(0, len(points), 256):
        to_point = points[begin : begin + 256, None] - start
        share = np.clip(np.einsum("nmd,md->nm", to_point, along) / squared, 0, 1)
        distance = np.linalg.norm(to_point - share[..., None] * along, axis=2)
        nearest[begin : begin + 256] = distance.min(axis=1)
    return nearest


@pytest.mark.parametrize("name", ["S", "B", "leaky biased", "concave"])
def test_the_length_is_that_of_crofton(name: str) -> None:
    """Crofton's formula: random lines that meet a disc cross a curve of length L in it L / (pi radius) times."""
    case = workload(name)
    domain = case.partition.domain
    found = case.partition.decision_boundary()
    generator = np.random.default_rng(16)
    n_lines, n_steps = 300, 400
    center, radius = domain.mean(axis=0), np.linalg.norm(domain - domain.mean(axis=0), axis=1).max()
    angles, offsets = generator.uniform(0, np.pi, n_lines), generator.uniform(-radius, radius, n_lines)
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    along = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    steps = np.linspace(-radius, radius, n_steps)
    points = center + offsets[:, None, None] * normals[:, None] + steps[None, :, None] * along[:, None]
    flat = points.reshape(-1, 2)
    inside = (case.partition.locate(flat) >= 0).reshape(n_lines, n_steps)
    labels = classes_of(case, flat).reshape(n_lines, n_steps)
    crossings = ((labels[:, 1:] != labels[:, :-1]) & inside[:, 1:] & inside[:, :-1]).sum(axis=1)
    estimate = math.pi * radius * crossings.mean()
    deviation = math.pi * radius * crossings.std() / math.sqrt(n_lines)
    assert abs(found.length - estimate) < 4 * deviation + 0.02 * found.length
    assert found.length == pytest.approx(lengths(found.segments).sum(), rel=1e-12)


@every_workload
def test_the_boundary_is_a_union_of_closed_curves_and_junctions(name: str) -> None:
    """Inside the domain no curve ends: at every end of a segment another one begins."""
    case = workload(name)
    found = case.partition.decision_boundary()
    size = np.ptp(case.partition.domain)
    ends = found.segments.reshape(-1, 2)
    nearest, _ = cKDTree(ends).query(ends, k=2)
    for end in np.nonzero(nearest[:, 1] > 1e-9 * size)[0]:
        assert border_distance(ends[end], case.partition.domain) < 1e-9 * size


def border_distance(point: np.ndarray, domain: np.ndarray) -> float:
    a, b = domain, np.roll(domain, -1, axis=0)
    along = (b - a) / np.linalg.norm(b - a, axis=1, keepdims=True)
    return float(np.abs(along[:, 0] * (point - a)[:, 1] - along[:, 1] * (point - a)[:, 0]).min())


@every_workload
def test_between_picks_the_segments_of_two_classes(name: str) -> None:
    found = workload(name).partition.decision_boundary()
    total = 0
    for first, second in np.unique(found.classes, axis=0):
        chosen = found.between(first, second)
        np.testing.assert_array_equal(chosen, found.segments[(found.classes == [first, second]).all(axis=1)])
        np.testing.assert_array_equal(found.between(second, first), chosen)
        total += len(chosen)
    assert total == len(found.segments)
    assert found.between(0, 0).shape == (0, 2, 2)


# --- by hand ---


def sorted_ends(segments: np.ndarray) -> list[list[list[float]]]:
    return sorted(sorted(segment) for segment in np.round(segments, 12).tolist())


def test_a_linear_classifier() -> None:
    """Classes x, y and 0: three half-lines from the origin."""
    found = boundary(linear([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert sorted_ends(found.between(0, 1)) == [[[0.0, 0.0], [1.0, 1.0]]]
    assert sorted_ends(found.between(0, 2)) == [[[0.0, -1.0], [0.0, 0.0]]]
    assert sorted_ends(found.between(1, 2)) == [[[-1.0, 0.0], [0.0, 0.0]]]
    assert found.length == pytest.approx(2 + math.sqrt(2), rel=1e-12)


def test_a_hidden_class_has_no_boundary() -> None:
    """Class 2 is never largest: −1 below max(x, −x)."""
    found = boundary(linear([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], [0.0, 0.0, -1.0]))
    np.testing.assert_array_equal(found.classes, [[0, 1]])
    assert sorted_ends(found.segments) == [[[0.0, -1.0], [0.0, 1.0]]]


def test_one_output_decides_by_its_sign() -> None:
    """|x| + |y| > 1/2: the border of a diamond, sides sqrt(1/2)."""
    fold = linear([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = boundary(nn.Sequential(fold, nn.ReLU(), linear([[1.0, 1.0, 1.0, 1.0]], [-0.5])))
    assert len(found.segments) == 4
    assert found.length == pytest.approx(4 * math.sqrt(0.5), rel=1e-12)
    np.testing.assert_array_equal(found.classes, [[0, 1]] * 4)


def test_a_real_network_of_one_output() -> None:
    case = workload("scalar")
    found = case.partition.decision_boundary()
    middles, normals = found.segments.mean(axis=1), unit_normals(found.segments)
    assert len(middles) > 5
    assert np.abs(logits(case, middles)).max() < 1e-12
    signs = np.sign(np.column_stack([logits(case, middles + side * 1e-7 * normals) for side in (1, -1)]))
    np.testing.assert_array_equal(signs.sum(axis=1), 0)


def test_one_class_everywhere_has_no_boundary() -> None:
    found = boundary(linear([[1.0, 0.0], [1.0, 0.0]], [3.0, 0.0]))
    assert found.segments.shape == (0, 2, 2)
    assert found.classes.shape == (0, 2)
    assert found.regions.shape == (0,)
    assert found.length == 0.0
    assert boundary(linear([[1.0, 0.0]], [3.0])).length == 0.0


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_boundary_along_an_edge_counts_once(order: list[int]) -> None:
    """Classes relu(x) and relu(−x): equal on the edge x = 0 and nowhere else."""
    readout = np.eye(2)[order]
    found = boundary(nn.Sequential(linear([[1.0, 0.0], [-1.0, 0.0]]), nn.ReLU(), linear(readout.tolist())))
    assert sorted_ends(found.segments) == [[[0.0, -1.0], [0.0, 1.0]]]


@pytest.mark.parametrize("angle", np.linspace(0.1, 6.2, 12))
def test_a_boundary_along_a_slanted_edge_counts_once(angle: float) -> None:
    """The same, turned: here rounding decides on which side of the edge its corners fall."""
    direction = [math.cos(angle), math.sin(angle)]
    model = nn.Sequential(
        linear([direction, [-direction[0], -direction[1]]]), nn.ReLU(), linear([[1.0, 0.0], [0.0, 1.0]])
    )
    chord = 2 / max(abs(direction[0]), abs(direction[1]))
    assert boundary(model).length == pytest.approx(chord, rel=1e-9)


def test_where_a_tie_ends_the_class_changes() -> None:
    """Classes relu(x) and 2 relu(x): a tie is the first class, so the class changes on x = 0."""
    found = boundary(nn.Sequential(linear([[1.0, 0.0]]), nn.ReLU(), linear([[1.0], [2.0]])))
    assert sorted_ends(found.segments) == [[[0.0, -1.0], [0.0, 1.0]]]
    never = boundary(nn.Sequential(linear([[1.0, 0.0]]), nn.ReLU(), linear([[2.0], [1.0]])))
    assert len(never.segments) == 0


def test_zero_of_one_output_is_class_0() -> None:
    """relu(x) is positive where x > 0; −relu(x) nowhere."""
    found = boundary(nn.Sequential(linear([[1.0, 0.0]]), nn.ReLU()))
    assert sorted_ends(found.segments) == [[[0.0, -1.0], [0.0, 1.0]]]
    assert boundary(nn.Sequential(linear([[1.0, 0.0]]), nn.ReLU(), linear([[-1.0]]))).length == 0.0


@pytest.mark.parametrize("readout", [[[1.0, 0.0]] * 2 + [[0.0, 1.0]], [[0.0, 1.0]] + [[1.0, 0.0]] * 2])
def test_two_equal_classes_have_one_boundary(readout: list[list[float]]) -> None:
    """Argmax never picks the second of two equal outputs, so it bounds nothing."""
    found = boundary(linear(readout))
    assert sorted_ends(found.segments) == [[[-1.0, -1.0], [1.0, 1.0]]]
    first_of_each = sorted({readout.index([1.0, 0.0]), readout.index([0.0, 1.0])})
    np.testing.assert_array_equal(found.classes, [first_of_each])


def test_the_whole_boundary_of_a_window_is_that_of_the_domain_inside_it() -> None:
    """Four windows share out the boundary's length."""
    model = mlp((2, 20, 20, 4), bias=True, seed=17)
    whole = boundary(model, sg.Box(3.0)).length
    assert whole > 5
    parts = [boundary(model, sg.Box(1.5, (x, y))).length for x in (-1.5, 1.5) for y in (-1.5, 1.5)]
    assert sum(parts) == pytest.approx(whole, rel=1e-9)


def test_room_for_few_pairs_of_classes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp((2, 16, 16, 12), bias=True, seed=18)
    expected = boundary(model, sg.Box(3.0))
    assert len(expected.segments) > 20
    monkeypatch.setattr(decision_boundary, "_ROOM", 1)
    found = boundary(model, sg.Box(3.0))
    for name in ("segments", "regions", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_class_that_is_the_greatest_at_no_corner_has_its_boundary() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 40)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[0].bias.fill_(10.0)  # both units are on: h = t + 10
        model[2].weight.zero_()
        model[2].bias.fill_(-5.0)
        model[2].weight[[7, 21], 0] = torch.tensor([1.0, -1.0], dtype=torch.float64)
        model[2].bias[[7, 21, 30]] = torch.tensor([-10.0, 10.0, 0.25], dtype=torch.float64)
    part = sg.enumerate_regions(model, sg.Slice(np.zeros(2), np.eye(2)), sg.Box(1.0))
    assert part.n_regions == 1
    boundary = part.decision_boundary()
    assert sorted(map(tuple, boundary.classes.tolist())) == [(7, 30), (21, 30)]
    assert boundary.between(7, 30)[..., 0] == pytest.approx(0.25)
    assert boundary.between(21, 30)[..., 0] == pytest.approx(-0.25)
    assert boundary.length == pytest.approx(4.0)
