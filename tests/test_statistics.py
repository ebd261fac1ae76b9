"""Statistics of regions, against closed forms, linear programs, the exact oracle and networks cut off after a layer."""

import numpy as np
import pytest
import torch
from degenerate_networks import named_cases, random_case
from exact_oracle import enumerate_exactly
from networks import IDENTITY_PLANE, linear, region_patterns, workload
from pooled_network import pooled_case
from scipy.optimize import linprog
from test_refine_exact import concatenated, engine_partition
from torch import nn

import splinegeo as sg
from splinegeo._polygon_measures import count_turns
from splinegeo.statistics import in_radii, region_statistics


def in_radius(polygon: np.ndarray) -> float:
    return float(in_radii(sg.enumerate_regions(nn.Linear(2, 1), IDENTITY_PLANE, polygon))[0])


def chebyshev_radius(polygon: np.ndarray) -> float:
    """Radius of the largest circle in a convex polygon by a linear program in the center and the radius."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.linalg.norm(edges, axis=1)
    edges, starts = edges[lengths > 0] / lengths[lengths > 0, None], polygon[lengths > 0]
    outward = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
    center = polygon.mean(axis=0)  # the solver's tolerances are absolute: unit size, about the origin
    size = np.ptp(polygon, axis=0).max()
    bounds = np.einsum("kd,kd->k", outward, (starts - center) / size)
    solution = linprog(
        [0, 0, -1], A_ub=np.column_stack([outward, np.ones(len(outward))]), b_ub=bounds, bounds=[(None, None)] * 3
    )
    return size * solution.x[2]


def regular(n: int, turn: float = 0.1) -> np.ndarray:
    angles = turn + 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 17, 100])
def test_in_radius_of_regular_polygons(n: int) -> None:
    assert in_radius(regular(n)) == pytest.approx(np.cos(np.pi / n), rel=1e-12)
    assert in_radius(1e-5 * regular(n) + 3.0) == pytest.approx(1e-5 * np.cos(np.pi / n), rel=1e-9)


@pytest.mark.parametrize(
    ("polygon", "radius"),
    [
        ([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0], [0.0, 1.0]], 0.5),
        ([[0.0, 0.0], [1e6, 0.0], [1e6, 1.0], [0.0, 1.0]], 0.5),
        ([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], 1.0),
        ([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0]], 1.0),
        ([[0.0, 0.0], [1.0, 0.0], [1.0, 1e-6]], 1e-6 / (1 + 1e-6 + np.hypot(1.0, 1e-6))),
        # Corners in line, at which nothing turns.
        ([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.5, 1.0], [0.0, 1.0], [0.0, 0.5]], 0.5),
        # A tip cut off: its small side leaves first.
        ([[0.0, 0.0], [3.0, 0.0], [0.0015, 3.998], [0.0, 3.998]], 1.0),
        ([[-1.0, 0.0], [0.0, -0.5], [1.0, 0.0], [0.0, 0.5]], 1 / np.sqrt(5)),
    ],
)
def test_in_radius_in_closed_form(polygon: list[list[float]], radius: float) -> None:
    assert in_radius(np.array(polygon)) == pytest.approx(radius, rel=1e-10)
    turned = np.array(polygon) @ [[0.6, 0.8], [-0.8, 0.6]]
    assert in_radius(turned) == pytest.approx(radius, rel=1e-9)


@pytest.mark.parametrize("name", ["B", "leaky biased", "S"])
def test_in_radii_of_regions_by_linear_programs(name: str) -> None:
    partition = workload(name).partition
    radii = in_radii(partition)
    generator = np.random.default_rng(0)
    for r in generator.choice(partition.n_regions, size=60, replace=False):
        loop = partition.vertices[partition.corners[partition.offsets[r] : partition.offsets[r + 1]]]
        size = np.ptp(loop, axis=0).max()
        # The program's own tolerance is 1e-7 of the size.
        assert radii[r] == pytest.approx(chebyshev_radius(loop), rel=1e-6, abs=1e-8 * size)
    # Every circle fits: its diameter is no more than the least width, its area no more than the region's.
    assert (np.pi * radii**2 < partition.areas).all()
    perimeters = np.add.reduceat(_side_lengths(partition), partition.offsets[:-1])
    # A convex polygon lies between r P / 2 (all sides touch the circle) and r P.
    assert (radii * perimeters >= partition.areas * (1 - 1e-9)).all()
    assert (radii * perimeters <= 2 * partition.areas * (1 + 1e-9)).all()


def _side_lengths(partition: sg.Partition) -> np.ndarray:
    ends = partition.vertices[partition.edges[partition.mesh.sides >> 1]]
    return np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)


def test_corners_are_those_of_the_exact_polygons() -> None:
    for case in [*named_cases(), *map(random_case, range(40))]:
        if "1e-7" in case.name or "2**-20" in case.name:
            continue  # the exact corners there are nearer than float64 can turn
        exact = enumerate_exactly(case.network, case.domain, case.origin, case.basis)
        partition = engine_partition(case)
        expected = [len(exact[concatenated(partition.pattern(r))].polygon) for r in range(partition.n_regions)]
        np.testing.assert_array_equal(region_statistics(partition).n_corners, expected, str(case))


def test_the_vertices_of_neighbours_are_no_corners() -> None:
    """The unit of the second layer ends on the first's line: the half plane x < 0 has a vertex but no corner there."""
    model = nn.Sequential(linear([[1.0, 0.0], [0.0, 0.0]], [0.0, 1.0]), nn.ReLU(), linear([[1.0, -0.5]]), nn.ReLU())
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    assert region_statistics(partition).n_corners.tolist() == [4] * partition.n_regions
    bent = nn.Sequential(
        linear([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), nn.ReLU(), linear([[1.0, 1.0, -1.0]]), nn.ReLU()
    )
    partition = sg.enumerate_regions(bent, IDENTITY_PLANE, sg.Box(1.0))
    corners = region_statistics(partition).n_corners
    areas = partition.areas
    assert sorted(zip(areas.tolist(), corners.tolist(), strict=True)) == [
        (0.5, 3),
        (0.5, 3),
        (1.0, 4),
        (1.0, 4),
        (1.0, 4),
    ]


@pytest.mark.parametrize("name", ["B", "S", "leaky biased"])
def test_counts(name: str) -> None:
    case = workload(name)
    partition = case.partition
    statistics = region_statistics(partition)
    assert len(statistics) == partition.n_regions
    np.testing.assert_array_equal(statistics.n_neighbours, partition.adjacency.sum(axis=1))
    np.testing.assert_array_equal(statistics.areas, partition.areas)
    assert statistics.total_area == pytest.approx(partition.areas.sum(), rel=1e-14)
    units = [stage.n_units for stage in partition.network.stages]
    patterns = region_patterns(partition)
    for layer, n_bits in enumerate(np.cumsum(units)):
        cut_off = nn.Sequential(*list(case.model)[: 2 * layer + 2])
        expected = sg.enumerate_regions(cut_off, case.plane, case.domain).n_regions
        assert statistics.regions_by_layer[layer] == expected == len(np.unique(patterns[:, :n_bits], axis=0))
        assert statistics.edges_by_layer[layer] == (partition.edge_labels[:, 0] == layer).sum()
    assert statistics.edges_by_layer.sum() == partition.adjacency.nnz // 2


def test_counts_of_a_selection() -> None:
    partition = workload("B").partition
    chosen = np.random.default_rng(1).choice(partition.n_regions, size=40, replace=False)
    statistics, everything = region_statistics(partition, chosen), region_statistics(partition)
    for quantity in ("areas", "n_corners", "n_neighbours", "in_radii"):
        np.testing.assert_array_equal(getattr(statistics, quantity), getattr(everything, quantity)[chosen])
    patterns = region_patterns(partition)[chosen]
    assert statistics.regions_by_layer.tolist() == [len(np.unique(patterns[:, :n], axis=0)) for n in (32, 64, 96)]
    beside = np.isin(partition.edge_faces, chosen).any(axis=1)
    expected = [(partition.edge_labels[beside, 0] == layer).sum() for layer in range(3)]
    assert statistics.edges_by_layer.tolist() == expected
    mask = np.zeros(partition.n_regions, dtype=bool)
    mask[chosen] = True
    np.testing.assert_array_equal(region_statistics(partition, mask).regions, np.sort(chosen))


def test_layers_of_several_stages() -> None:
    partition = pooled_case()[1]
    statistics = region_statistics(partition)
    patterns = [np.concatenate(partition.pattern(r)) for r in range(partition.n_regions)]
    ends = np.cumsum([layer.n_units for layer in partition.network.layers])
    expected = [len(np.unique(np.array(patterns)[:, :end], axis=0)) for end in ends]
    assert statistics.regions_by_layer.tolist() == expected
    assert statistics.edges_by_layer.sum() == (partition.edge_labels[:, 0] >= 0).sum()


def test_summary() -> None:
    partition = workload("B").partition
    statistics = region_statistics(partition)
    spread = statistics.spread("areas")
    assert spread.least == partition.areas.min()
    assert spread.greatest == partition.areas.max()
    assert spread.mean == pytest.approx(partition.areas.sum() / partition.n_regions)
    assert (partition.areas < spread.median).sum() == partition.n_regions // 2
    text = str(statistics)
    assert text.startswith("1180 regions of total area 4\n")
    assert f"{spread.median:.4g}" in text
    assert str(statistics.edges_by_layer[2]) in text
    with pytest.raises(sg.InvalidArgumentError, match="quantity must be one of areas"):
        statistics.spread("perimeters")


def test_no_regions_and_regions_that_do_not_exist() -> None:
    partition = workload("B").partition
    nothing = region_statistics(partition, np.array([], dtype=np.int64))
    assert (len(nothing), nothing.total_area) == (0, 0.0)
    assert np.isnan(nothing.spread("in_radii").mean)
    assert nothing.regions_by_layer.tolist() == nothing.edges_by_layer.tolist() == [0, 0, 0]
    with pytest.raises(IndexError, match="regions must lie in"):
        region_statistics(partition, [partition.n_regions])


def test_without_units() -> None:
    statistics = region_statistics(sg.enumerate_regions(nn.Linear(2, 3), IDENTITY_PLANE, sg.Box(2.0)))
    assert (statistics.n_corners[0], statistics.n_neighbours[0], statistics.in_radii[0]) == (4, 0, 2.0)
    assert len(statistics.regions_by_layer) == len(statistics.edges_by_layer) == 0


def test_corners_at_which_a_maximum_changes_its_winner_twice() -> None:
    """Both sides of such a corner are borders of one unit, but of different comparisons: the border bends there."""

    class Maxout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.candidates = linear([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], [0.0, 0.0, 0.0])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.candidates(x).amax(1, keepdim=True)

    partition = sg.enumerate_regions(Maxout(), IDENTITY_PLANE, np.array([[-3.0, -2.0], [3.0, -2.0], [0.0, 4.0]]))
    # Three borders from the origin: two to the triangle's slanted sides, one to the middle of the lowest side.
    assert sorted(partition.statistics().n_corners) == [4, 4, 4]


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        ([[0, 0], [0, 0], [1, 0.3], [1, 0.4]], 3),  # two crossings at one place, of lines that are apart elsewhere
        ([[0, 0], [1e-16, 1e-16], [1, 0], [1 + 1e-16, 1e-16], [1, 1], [1, 1]], 3),
        ([[0, 0], [0, 0], [1e-14, 0]], 0),
        ([[0, 0], [1, 0], [1, 1e-15]], 0),
        ([[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0, 1]], 4),
    ],
)
def test_corners_at_one_place_are_one(loop: list[list[float]], expected: int) -> None:
    n = len(loop)
    offsets, corners, n_corners = np.array([0, n]), np.arange(n), np.empty(1, dtype=np.int64)
    no_labels = np.full((n, 2), -1, dtype=np.int32)
    count_turns(np.array(loop, float), offsets, corners, 2 * corners, no_labels, np.array([0]), 1e-14, n_corners)
    assert n_corners[0] == expected
