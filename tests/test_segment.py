"""One-dimensional slices, against exact rational arithmetic, forward passes and two-dimensional partitions."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np
import pytest
import torch
from degenerate_networks import IDENTITY, SQUARE, Case, named_cases, random_case, to_module
from exact_oracle import Affine
from networks import linear, mlp, torch_patterns, workload
from pooled_network import pooled_case, pooled_patterns
from torch import nn

import splinegeo as sg
from splinegeo.segment import SegmentPartition, enumerate_segment


@dataclass(frozen=True)
class ExactPiece:
    """Parameters low..high of one activation pattern."""

    low: Fraction
    high: Fraction
    pattern: tuple[int, ...]


def exact_pieces(case: Case, start: list[Fraction], end: list[Fraction]) -> list[ExactPiece]:
    """The pieces between two inputs in order; each layer's values are affine in s on each piece: slope s + constant."""
    pending = [(Fraction(0), Fraction(1), [(b - a, a) for a, b in zip(start, end, strict=True)], ())]
    for layer in case.network:
        following = []
        for low, high, values, pattern in pending:
            if isinstance(layer, Affine):
                rows = zip(layer.weight, layer.bias, strict=True)
                mapped = [
                    (
                        sum(w * slope for w, (slope, _) in zip(row, values, strict=True)),
                        sum((w * constant for w, (_, constant) in zip(row, values, strict=True)), bias),
                    )
                    for row, bias in rows
                ]
                following.append((low, high, mapped, pattern))
                continue
            roots = {-constant / slope for slope, constant in values if slope}
            ends = [low, *sorted(root for root in roots if low < root < high), high]
            for a, b in pairwise(ends):
                middle = (a + b) / 2
                bits = tuple(int(slope * middle + constant > 0) for slope, constant in values)
                factors = [1 if bit else layer.negative_slope for bit in bits]
                kinked = [(f * slope, f * constant) for f, (slope, constant) in zip(factors, values, strict=True)]
                following.append((a, b, kinked, pattern + bits))
        pending = following
    return [ExactPiece(low, high, pattern) for low, high, _, pattern in pending]


def on_plane(case: Case, t: tuple[Fraction, Fraction]) -> list[Fraction]:
    return [o + t[0] * u + t[1] * v for o, u, v in zip(case.origin, *case.basis, strict=True)]


def compare_with_exact(case: Case, ends: list[tuple[Fraction, Fraction]]) -> SegmentPartition:
    """Enumerate a segment of the case's plane; its ends must be floats in input space."""
    start, end = (on_plane(case, t) for t in ends)
    exact = exact_pieces(case, start, end)
    segment = enumerate_segment(
        to_module(case.network), *(np.array([float(x) for x in point]) for point in (start, end))
    )
    patterns = [
        tuple(np.concatenate([layer[p] for layer in segment.patterns])) if segment.patterns else ()
        for p in range(segment.n_pieces)
    ]
    assert patterns == [piece.pattern for piece in exact], f"{case}\n{ends}"
    np.testing.assert_allclose(segment.breakpoints, [float(piece.high) for piece in exact[:-1]], rtol=0, atol=1e-10)
    return segment


def dyadic_point(rng: Random, case: Case) -> tuple[Fraction, Fraction]:
    """A point of the domain's bounding box, scaled so that its input has few digits."""
    xs, ys = zip(*case.domain, strict=True)
    x, y = (Fraction(rng.randint(0, 8), 8) * (max(v) - min(v)) + min(v) for v in (xs, ys))
    scale = max(entry.denominator for row in case.basis for entry in row)
    return x * scale, y * scale


def test_degenerate_networks_in_exact_arithmetic() -> None:
    n_pieces = 0
    for seed in range(300):
        case, rng = random_case(seed), Random(seed)
        ends = [dyadic_point(rng, case) for _ in range(2)]
        if ends[0] == ends[1]:
            continue
        if all(Fraction(float(x)) == x for t in ends for x in on_plane(case, t)):
            n_pieces += compare_with_exact(case, ends).n_pieces
    assert n_pieces > 500


@pytest.mark.parametrize("case", [case for case in named_cases() if case.basis == IDENTITY], ids=lambda case: case.name)
def test_named_cases_in_exact_arithmetic(case: Case) -> None:
    """Through the origin, where the lines of many cases meet; of small ones also along a diagonal and an edge."""
    x, y = Fraction(5, 8), Fraction(-3, 4)
    segments = [[(-x, -y), (x, y)], [case.domain[0], case.domain[2]], [case.domain[0], case.domain[1]]]
    n_units = sum(len(layer.weight) for layer in case.network if isinstance(layer, Affine))
    for ends in segments if n_units < 150 else segments[:1]:
        compare_with_exact(case, [(Fraction(x), Fraction(y)) for x, y in ends])


@pytest.mark.parametrize("name", ["S", "B", "M", "leaky biased", "concave"])
def test_a_partition_cut_by_the_same_line(name: str) -> None:
    case = workload(name)
    partition, generator = case.partition, np.random.default_rng(4)
    center = partition.domain.mean(axis=0)
    for _ in range(3):
        ends = center + 0.9 * (partition.domain[generator.choice(len(partition.domain), 2, replace=False)] - center)
        ends += generator.normal(size=(2, 2)) * 0.01 * np.ptp(partition.domain)
        segment = enumerate_segment(case.model, *partition.plane.lift(ends))
        crossings, labels = edge_crossings(partition, *ends)
        np.testing.assert_allclose(segment.breakpoints, crossings, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(segment.labels, labels)
        middles = (segment.nodes[1:] + segment.nodes[:-1]) / 2
        regions = partition.locate((1 - middles[:, None]) * ends[0] + middles[:, None] * ends[1])
        np.testing.assert_array_equal(segment.pattern_keys, partition.pattern_keys[regions])
        assert len(set(regions.tolist())) == segment.n_pieces


def edge_crossings(partition: sg.Partition, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters at which a segment crosses inner edges, sorted, and the edges' labels."""
    inner = (partition.edge_faces >= 0).all(axis=1)
    a, b = partition.vertices[partition.edges[inner]].transpose(1, 0, 2)
    run, edge = end - start, b - a
    determinant = run[0] * edge[:, 1] - run[1] * edge[:, 0]
    offset = a - start
    s = (offset[:, 0] * edge[:, 1] - offset[:, 1] * edge[:, 0]) / determinant
    u = (offset[:, 0] * run[1] - offset[:, 1] * run[0]) / determinant
    crossed = (s > 0) & (s < 1) & (u > 0) & (u < 1)
    order = np.argsort(s[crossed])
    return s[crossed][order], partition.edge_labels[inner][crossed][order]


@pytest.mark.parametrize("name", ["S", "M", "leaky biased"])
def test_forward_passes(name: str) -> None:
    """Patterns at the middle of each piece and everywhere else, values and maps, by torch."""
    case = workload(name)
    corners = case.partition.domain[[0, 2]]
    segment = enumerate_segment(case.model, *case.plane.lift(corners))
    generator = np.random.default_rng(0)
    s = np.sort(np.concatenate([generator.random(2000), (segment.nodes[1:] + segment.nodes[:-1]) / 2]))
    pieces = segment.locate(s)
    assert (np.diff(pieces) >= 0).all()
    np.testing.assert_array_equal(np.unique(pieces), np.arange(segment.n_pieces))
    patterns, margins = torch_patterns(case.model, case.plane, (1 - s[:, None]) * corners[0] + s[:, None] * corners[1])
    stored = np.concatenate(segment.patterns, axis=1).astype(bool)[pieces]
    np.testing.assert_array_equal(stored[margins > 1e-12], patterns[margins > 1e-12])
    assert (margins > 1e-12).mean() > 0.99
    network = case.partition.network
    maps = segment.maps[pieces]
    np.testing.assert_allclose(maps[:, :, 0] * s[:, None] + maps[:, :, 1], network(segment.lift(s)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(segment.outputs, network(segment.lift(segment.nodes)), rtol=0, atol=1e-12)
    interpolated = [np.interp(s, segment.nodes, output) for output in segment.outputs.T]
    np.testing.assert_allclose(np.transpose(interpolated), network(segment.lift(s)), rtol=0, atol=1e-12)
    assert segment.lengths.sum() == pytest.approx(np.linalg.norm(corners[1] - corners[0]), rel=1e-12)
    assert (np.diff(segment.nodes) > 0).all()


def test_layers_of_several_stages() -> None:
    model, partition = pooled_case()
    corners = partition.domain[[0, 2]]
    images = partition.plane.lift(corners)
    assert images.shape == (2, 1, 6, 6)
    segment = enumerate_segment(model, *images)
    assert segment.n_pieces > 30
    middles = (segment.nodes[1:] + segment.nodes[:-1]) / 2
    expected = pooled_patterns(model, segment.lift(middles).reshape(-1, 1, 6, 6))
    for got, pieces in zip(segment.patterns, expected, strict=True):
        np.testing.assert_array_equal(got, pieces)
    # Every breakpoint changes the piece of the unit that it names: none is a comparison that no maximum depends on.
    for p, (layer, unit) in enumerate(segment.labels):
        assert segment.patterns[layer][p, unit] != segment.patterns[layer][p + 1, unit]
    crossings, labels = edge_crossings(partition, *corners)
    np.testing.assert_allclose(segment.breakpoints, crossings, atol=1e-9)
    np.testing.assert_array_equal(segment.labels, labels)


def test_through_the_origin_of_a_bias_free_network() -> None:
    """Along a line through the origin nothing changes but at the origin itself, where every first unit does."""
    model = mlp((5, 16, 16, 3), seed=2)
    x = np.random.default_rng(0).normal(size=5)
    segment = enumerate_segment(model, -x, 3 * x)
    np.testing.assert_allclose(segment.breakpoints, [0.25], rtol=1e-14)
    changed = segment.patterns[0][0] != segment.patterns[0][1]
    assert changed.all()
    np.testing.assert_allclose(segment.outputs[1], 0, atol=1e-15)
    assert enumerate_segment(model, x, 3 * x).n_pieces == 1


def test_duplicates_cross_together_and_dead_layers_never() -> None:
    model = nn.Sequential(
        linear([[1.0, 0.0], [-2.0, 0.0], [1.0, 0.0]]), nn.ReLU(), linear([[-1.0, -1.0, -1.0]]), nn.ReLU()
    )
    segment = enumerate_segment(model, [-1.0, 0.5], [1.0, 0.5])
    assert segment.breakpoints.tolist() == [0.5]
    assert segment.patterns[0].tolist() == [[0, 1, 0], [1, 0, 1]]
    assert segment.patterns[1].tolist() == [[0], [0]]
    along = enumerate_segment(model, [0.0, -1.0], [0.0, 1.0])
    assert along.n_pieces == 1
    assert along.patterns[0].tolist() == [[0, 0, 0]]


def test_nearly_equal_units() -> None:
    for gap, n_pieces in ((1e-7, 3), (1e-14, 2)):
        model = nn.Sequential(linear([[1.0, 0.0], [1.0, 0.0]], [0.0, -gap]), nn.ReLU(), linear([[1.0, 1.0]]))
        segment = enumerate_segment(model, [-1.0, 0.0], [1.0, 0.0])
        assert segment.n_pieces == n_pieces
        assert segment.breakpoints[0] == pytest.approx(0.5, abs=gap)


def test_tensors_images_and_networks_without_units() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    start, end = torch.zeros(1, 4, 4, requires_grad=True), torch.ones(1, 4, 4)
    segment = enumerate_segment(model, start, end)
    assert (segment.n_pieces, segment.lengths.tolist()) == (1, [4.0])
    assert segment.pattern_keys.shape == (1, 1)
    assert segment.patterns == []
    with torch.no_grad():
        np.testing.assert_allclose(segment.outputs, model(torch.stack([start, end])).numpy(), atol=1e-6)


def test_locate_and_lift() -> None:
    segment = enumerate_segment(workload("B").model, [-1.0, -1.0], [1.0, 1.0])
    assert segment.locate([-0.1, 0.0, 1.0, 1.1]).tolist() == [-1, 0, segment.n_pieces - 1, -1]
    np.testing.assert_allclose(segment.lift([0.0, 0.25, 1.0]), [[-1, -1], [-0.5, -0.5], [1, 1]], atol=1e-15)


@pytest.mark.parametrize(
    ("start", "end", "error", "message"),
    [
        ([0.0, 1.0], [0.0, 1.0], sg.DegenerateSliceError, "same point"),
        ([0.0, 1.0], [0.0, 1.0, 2.0], sg.ShapeError, "must have one shape"),
        ([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], sg.ShapeError, "2"),
        ([0.0, np.nan], [0.0, 1.0], sg.ShapeError, "the start of a segment"),
        ([0.0, 1.0], [np.inf, 1.0], sg.ShapeError, "the end of a segment"),
        (0.0, 1.0, sg.ShapeError, "the start of a segment"),
        ("abc", [0.0, 1.0], sg.ShapeError, "the start of a segment"),
    ],
)
def test_bad_input(start: object, end: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        enumerate_segment(mlp((2, 4, 1)), start, end)  # type: ignore[arg-type]


def test_the_exact_pieces_are_right_where_they_are_known() -> None:
    case = Case("absolute value", (), SQUARE)
    assert exact_pieces(case, [Fraction(0)], [Fraction(1)]) == [ExactPiece(Fraction(0), Fraction(1), ())]
    grid = next(case for case in named_cases() if case.name == "a grid of 20 by 20 cells")
    assert len(exact_pieces(grid, [Fraction(-10), Fraction(1, 2)], [Fraction(10), Fraction(1, 2)])) == 20


@pytest.mark.parametrize("s", [0.5, [[0.5]], "a", None])
def test_parameters_of_another_shape(s: object) -> None:
    pieces = sg.enumerate_segment(nn.Linear(2, 1), [0.0, 0.0], [1.0, 1.0])
    for method in (pieces.lift, pieces.locate):
        with pytest.raises(sg.ShapeError, match="parameters along a segment"):
            method(s)  # type: ignore[arg-type]
