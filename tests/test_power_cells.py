"""Cells constructed from the sites of all patterns, against exact rationals, the engine and, layer within layer, a deep
partition.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from degenerate_networks import Case, named_cases, random_case, to_module
from exact_oracle import Kink, enumerate_exactly
from networks import IDENTITY_PLANE, mlp, mnist_plane
from torch import nn

import splinegeo as sg
from splinegeo.layer_diagram import layer_diagrams
from splinegeo.power_cells import layer_cells, power_cells

AREA_TOLERANCE = 1e-9


def one_layer_cases() -> list[Case]:
    """Affine, Kink, and what follows: at most 12 units with a convex kink each; named and random ones, degenerate."""
    cases = [*named_cases(), *(random_case(seed) for seed in range(600))]
    return [case for case in cases if is_one_convex_layer(case)]


def is_one_convex_layer(case: Case) -> bool:
    kinks = [layer for layer in case.network if isinstance(layer, Kink)]
    return (
        len(kinks) == 1
        and kinks[0].negative_slope < 1
        and case.network[1] is kinks[0]
        and len(case.network[0].weight) <= 12
    )


def plane_of(case: Case) -> sg.Slice:
    return sg.Slice([float(x) for x in case.origin], [[float(x) for x in row] for row in case.basis])


def enumerated(case: Case) -> sg.Partition:
    return sg.enumerate_regions(to_module(case.network), plane_of(case), np.array(case.domain, dtype=np.float64))


def test_cells_of_degenerate_layers_are_the_exact_ones_and_the_engines() -> None:
    """Concurrent lines, copies, parallels, zero and dead units: pattern sets and areas of three constructions."""
    cases = one_layer_cases()
    assert len(cases) > 90
    failures = []
    for case in cases:
        cells = power_cells(to_module(case.network), plane_of(case), np.array(case.domain, dtype=np.float64))
        found = dict(zip(map(tuple, cells.patterns.tolist()), cells.areas, strict=True))
        exact = enumerate_exactly(case.network, case.domain, case.origin, case.basis)
        expected = {pattern: float(region.area) for pattern, region in exact.items()}
        if found.keys() != expected.keys() or not areas_agree(found, expected):
            failures.append(f"{case}: {len(found)} cells, exactly {len(expected)}")
        partition = enumerated(case)
        engine = {tuple(partition.pattern(r)[0].tolist()): partition.areas[r] for r in range(partition.n_regions)}
        if found.keys() != engine.keys() or not areas_agree(found, engine):
            failures.append(f"{case}: {len(found)} cells, by the engine {len(engine)}")
    assert not failures, "\n".join(failures)


def areas_agree(found: dict, expected: dict) -> bool:
    total = sum(expected.values())
    return all(abs(found[pattern] - area) <= AREA_TOLERANCE * total for pattern, area in expected.items())


@pytest.mark.parametrize("n_units", [1, 2, 7, 12])
@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0])
def test_cells_of_random_layers_on_the_slice_through_images(n_units: int, slope: float) -> None:
    model, plane = mlp((784, n_units, 3), bias=True, slope=slope, seed=50 + n_units), mnist_plane()
    domain = np.array([[-12.0, -9.0], [8.0, -13.0], [14.0, 2.0], [3.0, 12.0], [-10.0, 8.0]])
    cells, partition = power_cells(model, plane, domain), sg.enumerate_regions(model, plane, domain)
    assert cells.n_cells == partition.n_regions
    for pattern, centroid, radius, area, first in zip(
        cells.patterns, cells.slice_centroids, cells.slice_radii, cells.areas, cells.offsets, strict=False
    ):
        inside = cells.vertices[first : first + 3].mean(axis=0)
        region = int(partition.locate(inside[None])[0])
        np.testing.assert_array_equal(partition.pattern(region)[0], pattern)
        assert area == pytest.approx(partition.areas[region], abs=AREA_TOLERANCE * partition.areas.sum())
        (diagram,) = layer_diagrams(partition)
        np.testing.assert_allclose(centroid, diagram.slice_centroids[region], rtol=0, atol=1e-11)
        assert radius == pytest.approx(diagram.slice_radii[region], rel=1e-9)


@pytest.mark.parametrize(("bias", "slope", "seed"), [(True, 0.0, 60), (True, 0.2, 61), (False, 0.0, 62)])
def test_a_deep_partition_follows_from_power_diagrams_within_power_cells(bias: bool, slope: float, seed: int) -> None:
    """The hierarchical theorem as a construction: each layer's cells are built within the cells of the layers before,
    from the sites of all its patterns. The engine must find the same regions.
    """
    model = mlp((2, 7, 6, 7, 2), bias=bias, slope=slope, seed=seed)
    polygon = sg.Box(1.5).polygon()
    found: dict[tuple[int, ...], float] = {}

    def descend(polygon: np.ndarray, functions: np.ndarray, layer: int, pattern: tuple[int, ...]) -> None:
        if layer == 3:
            found[pattern] = hull_area(polygon)
            return
        linear = model[2 * layer]
        weight = linear.weight.detach().double().numpy()
        values = weight @ functions
        if linear.bias is not None:
            values[:, 2] += linear.bias.detach().double().numpy()
        slopes = np.full(len(weight), slope)
        cells = layer_cells(values, slopes, polygon, IDENTITY_PLANE, np.full(len(weight), 1e-13))
        for bits, a, b in zip(cells.patterns, cells.offsets[:-1], cells.offsets[1:], strict=True):
            outputs = np.where(bits, 1.0, slopes)[:, None] * values
            descend(cells.vertices[a:b], outputs, layer + 1, (*pattern, *bits.tolist()))

    descend(polygon, np.eye(3)[:2], 0, ())
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, polygon)
    engine = {
        tuple(np.concatenate(partition.pattern(r)).tolist()): partition.areas[r] for r in range(partition.n_regions)
    }
    assert found.keys() == engine.keys()
    assert areas_agree(found, engine)
    assert len(found) > 30


def test_cells_are_convex_loops_counter_clockwise_that_fill_the_domain() -> None:
    cells = power_cells(mlp((2, 12, 2), bias=True, seed=70), IDENTITY_PLANE, sg.Box(3.0))
    assert cells.areas.sum() == pytest.approx(36.0, rel=1e-12)
    for a, b in zip(cells.offsets[:-1], cells.offsets[1:], strict=True):
        sides = np.diff(cells.vertices[[*range(a, b), a, a + 1]], axis=0)
        turns = sides[:-1, 0] * sides[1:, 1] - sides[:-1, 1] * sides[1:, 0]
        assert (turns > -1e-9).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (mlp((2, 13, 1)), r"at most 12 units, not 13"),
        (mlp((2, 3, 3, 1)), "one stage of units, but the network has 2"),
        (nn.Sequential(nn.Linear(2, 3)), "but the network has 0"),
        (mlp((2, 3, 1), slope=1.5), "slopes below 1, but unit 0 has 1.5"),
        (mlp((2, 3, 1), slope=1.0), "slopes below 1"),
    ],
)
def test_networks_that_cannot_be_constructed_are_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(sg.InvalidNetworkError, match=message):
        power_cells(model, IDENTITY_PLANE, sg.Box(1.0))


def test_carried_coordinates_are_no_units_but_move_the_sites() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer, self.head = nn.Linear(2, 8), nn.Linear(2, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.inner(x)) + self.outer(x))

    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Residual()
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(2.0))
    cells = power_cells(model, IDENTITY_PLANE, sg.Box(2.0))
    regions = partition.locate([cells.vertices[a:b].mean(axis=0) for a, b in pairwise(cells.offsets)])
    np.testing.assert_array_equal(np.sort(regions), np.arange(partition.n_regions))
    np.testing.assert_allclose(cells.areas, partition.areas[regions], rtol=0, atol=1e-9)
    (diagram,) = layer_diagrams(partition)
    assert len(partition.network.stages[0].slopes) > 8
    np.testing.assert_allclose(cells.slice_centroids, diagram.slice_centroids[regions], rtol=0, atol=1e-12)


def test_a_slice_of_another_space_is_refused() -> None:
    model = mlp((3, 4, 1))
    with pytest.raises(sg.ShapeError, match="takes 3 inputs, but an input of shape"):
        power_cells(model, IDENTITY_PLANE, sg.Box(1.0))
    with pytest.raises(sg.ShapeError, match="takes 3 inputs, but the slice lies in"):
        power_cells(sg.read_network(model), IDENTITY_PLANE, sg.Box(1.0))


def hull_area(points: np.ndarray) -> float:
    """Area of points in convex position, in any order."""
    centred = points - points.mean(axis=0)
    x, y = centred[np.argsort(np.arctan2(centred[:, 1], centred[:, 0]))].T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def test_a_network_that_reads_images_takes_the_shape_of_the_slices_inputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    plane = sg.Slice.through_points(torch.randn(3, 2, 4))
    cells, partition = sg.power_cells(model, plane, sg.Box(4.0)), sg.enumerate_regions(model, plane, sg.Box(4.0))
    np.testing.assert_allclose(np.sort(cells.areas), np.sort(partition.areas), atol=1e-10)
