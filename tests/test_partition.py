"""What a partition says of its regions: areas, patterns, neighbours, and the hand-over to shapely and networkx."""

from dataclasses import replace

import networkx
import numpy as np
import pytest
import shapely
from networks import ALL_WORKLOADS, IDENTITY_PLANE, linear, mlp, region_patterns, uniform_points, workload
from torch import nn

import splinegeo as sg

every_workload = pytest.mark.parametrize("name", ALL_WORKLOADS)


def crossed_square() -> sg.Partition:
    """Units x and y - 1/2 on [-1, 1]²: four rectangles."""
    model = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0]], [0.0, -0.5]), nn.ReLU(), linear([[1.0, 2.0]]))
    return sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))


def rectangle(partition: sg.Partition, x: float, y: float) -> int:
    return int(partition.locate([[x, y]])[0])


def test_a_partition_by_hand() -> None:
    partition = crossed_square()
    assert partition.n_regions == 4
    assert partition.vertices.shape == (9, 2)
    assert len(partition.edges) == 12
    areas = {(-0.5, 0.0): 1.5, (0.5, 0.0): 1.5, (-0.5, 0.9): 0.5, (0.5, 0.9): 0.5}
    for (x, y), area in areas.items():
        r = rectangle(partition, x, y)
        assert partition.areas[r] == area
        np.testing.assert_array_equal(partition.pattern(r), [[int(x > 0), int(y > 0.5)]])
        assert partition.pattern(r)[0].dtype == np.int8
        corners = partition.vertices[partition.corners[partition.offsets[r] : partition.offsets[r + 1]]]
        expected = [[a, b] for a in ((0, 1) if x > 0 else (-1, 0)) for b in ((0.5, 1) if y > 0.5 else (-1, 0.5))]
        np.testing.assert_array_equal(np.unique(corners, axis=0), sorted(expected))
    labels = {tuple(label) for label in partition.edge_labels.tolist()}
    assert labels == {(-1, -1), (0, 0), (0, 1)}
    assert "4 regions" in repr(partition)


def test_neighbours_by_hand() -> None:
    partition = crossed_square()
    a, b, c, d = (rectangle(partition, x, y) for x, y in ((-0.5, 0), (0.5, 0), (0.5, 0.9), (-0.5, 0.9)))
    expected = np.zeros((4, 4), dtype=bool)
    for first, second in ((a, b), (b, c), (c, d), (d, a)):
        expected[first, second] = expected[second, first] = True
    np.testing.assert_array_equal(partition.adjacency.toarray(), expected)
    graph = partition.to_networkx()
    assert {frozenset(edge) for edge in graph.edges} == {frozenset(e) for e in ((a, b), (b, c), (c, d), (d, a))}
    assert graph.edges[a, b] == {"stage": 0, "unit": 0}
    assert graph.edges[b, c] == {"stage": 0, "unit": 1}
    assert graph.nodes[c] == {"area": 0.5}


@every_workload
def test_adjacency_is_symmetric_and_lists_the_edges_with_two_faces(name: str) -> None:
    partition = workload(name).partition
    adjacency = partition.adjacency
    assert adjacency.shape == (partition.n_regions,) * 2
    assert adjacency.dtype == bool
    assert (adjacency != adjacency.T).nnz == 0
    assert not adjacency.diagonal().any()
    listed = {tuple(sorted(pair)) for pair in partition.edge_faces.tolist() if min(pair) >= 0}
    stored = {(i, j) for i, j in zip(*map(np.ndarray.tolist, adjacency.nonzero()), strict=True) if i < j}
    assert stored == listed


@every_workload
def test_adjacency_is_that_of_the_patterns(name: str) -> None:
    """Neighbours differ in one unit, so no pair is invented."""
    partition = workload(name).partition
    patterns = region_patterns(partition)
    rows, columns = partition.adjacency.nonzero()
    assert ((patterns[rows] != patterns[columns]).sum(axis=1) == 1).all()


@pytest.mark.parametrize("name", ["S", "B", "trained", "leaky biased"])
def test_the_graph_is_that_of_the_edges(name: str) -> None:
    partition = workload(name).partition
    graph = partition.to_networkx()
    assert sorted(graph.nodes) == list(range(partition.n_regions))
    np.testing.assert_array_equal([graph.nodes[r]["area"] for r in range(partition.n_regions)], partition.areas)
    assert networkx.is_connected(graph)
    adjacency = networkx.to_scipy_sparse_array(graph, nodelist=range(partition.n_regions), weight=None)
    assert (adjacency.astype(bool) != partition.adjacency).nnz == 0
    inner = (partition.edge_faces >= 0).all(axis=1)
    for (left, right), (stage, unit) in zip(partition.edge_faces[inner], partition.edge_labels[inner], strict=True):
        assert graph.edges[left, right] == {"stage": stage, "unit": unit}


@every_workload
def test_shapely_polygons_tile_the_domain(name: str) -> None:
    partition = workload(name).partition
    polygons = partition.to_shapely()
    assert len(polygons) == partition.n_regions
    assert shapely.get_type_id(polygons).tolist() == [shapely.GeometryType.POLYGON] * len(polygons)
    domain = shapely.Polygon(partition.domain)
    # Shapely sums about the first corner's x only, so thin regions lose some digits against the domain's size.
    np.testing.assert_allclose(shapely.area(polygons), partition.areas, rtol=1e-9, atol=1e-14 * domain.area)
    union = shapely.coverage_union_all(polygons)
    assert union.geom_type == "Polygon"
    assert len(union.interiors) == 0
    assert union.area == pytest.approx(domain.area, rel=1e-9)
    assert union.hausdorff_distance(domain) < 1e-9 * domain.length
    assert shapely.coverage_is_valid(polygons)


@pytest.mark.parametrize("name", ["M", "B", "leaky"])
def test_a_search_tree_of_the_polygons_finds_the_same_regions(name: str) -> None:
    partition = workload(name).partition
    points = uniform_points(partition.domain, 20_000, np.random.default_rng(3))
    samples, found = shapely.STRtree(partition.to_shapely()).query(shapely.points(points), predicate="intersects")
    assert len(np.unique(samples)) == len(points)
    located = partition.locate(points)
    # On a shared edge the tree finds both faces: the one located must be among them.
    agree = np.zeros(len(points), dtype=bool)
    agree[samples[found == located[samples]]] = True
    assert agree.all()
    assert len(samples) <= len(points) + 2


@every_workload
def test_interior_points_lie_inside(name: str) -> None:
    partition = workload(name).partition
    np.testing.assert_array_equal(partition.locate(partition.interior_points), np.arange(partition.n_regions))


def test_pattern_keys_are_equal_iff_the_patterns_are() -> None:
    """Keys of two partitions of one network agree exactly where their patterns agree."""
    model = mlp((2, 70, 5, 66, 2), bias=True, seed=9)
    one = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    two = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(0.7, center=(0.6, 0.6)))
    patterns_one, patterns_two = region_patterns(one), region_patterns(two)
    index_one = {key.tobytes(): r for r, key in enumerate(one.pattern_keys)}
    index_two = {pattern.tobytes(): r for r, pattern in enumerate(patterns_two)}
    shared_keys = {
        (index_one[key.tobytes()], r) for r, key in enumerate(two.pattern_keys) if key.tobytes() in index_one
    }
    shared_patterns = {(r, index_two[p.tobytes()]) for r, p in enumerate(patterns_one) if p.tobytes() in index_two}
    assert shared_keys == shared_patterns
    assert 10 < len(shared_keys) < two.n_regions


def test_a_network_without_activation_is_one_region() -> None:
    partition = sg.enumerate_regions(nn.Linear(2, 3), IDENTITY_PLANE, sg.Box(1.0))
    assert partition.n_regions == 1
    assert partition.pattern(0) == []
    assert len(partition.pattern_keys) == 1
    assert partition.adjacency.nnz == 0
    assert partition.to_networkx().number_of_nodes() == 1
    np.testing.assert_array_equal(partition.areas, [4.0])


@pytest.mark.parametrize("r", [-1, 4, 10**12])
def test_a_region_that_does_not_exist(r: int) -> None:
    partition = crossed_square()
    for query in (partition.pattern, partition.affine_map):
        with pytest.raises(IndexError, match=rf"region {r}.*4"):
            query(r)
    for query in (partition.centroids, partition.radii):
        with pytest.raises(IndexError, match=r"0\.\.3"):
            query([0, r])


@pytest.mark.parametrize("r", [True, 0.0, "0", None])
def test_a_region_that_is_no_number(r: object) -> None:
    partition = crossed_square()
    for query in (partition.pattern, partition.affine_map):
        with pytest.raises(sg.InvalidArgumentError, match="a region is a whole number"):
            query(r)


@pytest.mark.parametrize("regions", [[0.5], ["a"], [[0, 1]], [True, False], np.ones(5, dtype=bool)])
def test_a_choice_of_regions_that_makes_no_sense(regions: object) -> None:
    """Fractions, words, tables, and masks of another length than the regions."""
    partition = crossed_square()
    for query in (partition.centroids, partition.radii):
        with pytest.raises((IndexError, TypeError, ValueError)):
            query(regions)


def test_recalled_norms_are_given_back_and_must_fit() -> None:
    partition = crossed_square()
    norms = partition.operator_norms()
    other = replace(partition)
    other.recall_norms(norms)
    np.testing.assert_array_equal(other.operator_norms(), norms)
    assert other.operator_norms() is not norms
    other.recall_norms(2 * norms, "spectral", "slice")
    np.testing.assert_array_equal(other.operator_norms("spectral", "slice"), 2 * norms)
    with pytest.raises(sg.ShapeError, match="norms of"):
        other.recall_norms(norms[1:])


@pytest.mark.parametrize(("kind", "space", "message"), [("nuclear", "input", "kind"), ("spectral", "output", "space")])
def test_norms_that_do_not_exist(kind: str, space: str, message: str) -> None:
    partition = crossed_square()
    norms = partition.operator_norms()
    for ask in (lambda: partition.operator_norms(kind, space), lambda: partition.recall_norms(norms, kind, space)):
        with pytest.raises(sg.InvalidArgumentError, match=f"{message} must be"):
            ask()
