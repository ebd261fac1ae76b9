"""The restriction of a network to a domain, by which operators are enumerated: against the engine of matrices."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from piecewise_zoo import Forward, build, randomised
from torch import nn

import splinegeo as sg
from splinegeo import reading
from splinegeo.affine import Affine, AffineMap, TorchAffine
from splinegeo.layer_diagram import layer_diagrams
from splinegeo.network import Network, read_network
from splinegeo.power_diagram import preactivation_centroids, preactivation_radii, prefix_centroids, prefix_radii
from splinegeo.restriction import Restriction, has_operators
from splinegeo.tolerance import unit_tolerance

HALF_WIDTH = 1.0
NETWORKS = (
    "ResNet with batch norm",
    "U-Net",
    "DenseNet",
    "residual MLP",
    "two branches",
    "MaxPool2d, overlapping",
    "clamp",
    "tokens",
    "an activation first",
)

every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Many small operations: a second thread only waits."""


@cache
def both(name: str) -> tuple[nn.Module, sg.Slice, Network, Network]:
    """A network of the zoo, a slice of its inputs, the network as matrices, and as operators."""
    model, shape = build(name)
    generator = np.random.default_rng(0)
    plane = sg.Slice.through_points(generator.standard_normal((3, *shape)))
    matrices = read_network(model, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "DENSE_ENTRIES", 0)
        operators = read_network(model, shape)
    operators = _without_matrices(operators)
    assert has_operators(operators)
    assert not has_operators(matrices)
    return model, plane, matrices, operators


def _without_matrices(network: Network) -> Network:
    """Linear layers, which are always held, as operators too."""

    def operator(affine: AffineMap) -> AffineMap:
        if not isinstance(affine, Affine):
            return affine
        weight, bias = torch.from_numpy(affine.weight), torch.from_numpy(affine.bias)
        return TorchAffine(lambda h: weight @ h + bias, affine.n_inputs, affine.weight.size)

    stages = tuple(replace(stage, affine=operator(stage.affine)) for stage in network.stages)
    return Network(stages, operator(network.output), network.input_shape, network.layers)


@cache
def partitions(name: str) -> tuple[sg.Partition, sg.Partition]:
    _, plane, matrices, operators = both(name)
    domain = sg.Box(HALF_WIDTH, (0.2, -0.1))
    return sg.enumerate_regions(matrices, plane, domain), sg.enumerate_regions(operators, plane, domain)


def same_regions(one: sg.Partition, other: sg.Partition) -> np.ndarray:
    """The region of `other` with the pattern of each region of `one`; they must be the same patterns."""
    assert one.n_regions == other.n_regions
    orders = [np.lexsort(part.pattern_keys.T) for part in (one, other)]
    np.testing.assert_array_equal(one.pattern_keys[orders[0]], other.pattern_keys[orders[1]])
    of_other = np.empty(one.n_regions, dtype=np.int64)
    of_other[orders[0]] = orders[1]
    return of_other


@every_network
def test_operators_give_the_regions_of_matrices(name: str) -> None:
    by_matrices, by_operators = partitions(name)
    assert by_matrices.n_regions > 15
    regions = same_regions(by_matrices, by_operators)
    np.testing.assert_allclose(by_operators.areas[regions], by_matrices.areas, rtol=1e-6, atol=1e-13)
    certificate = by_operators.certify(2000)
    assert certificate.interior_mismatches == certificate.sample_misses == certificate.duplicate_patterns == 0
    assert certificate.ok, str(certificate)
    labels = [np.unique(part.edge_labels, axis=0) for part in (by_matrices, by_operators)]
    np.testing.assert_array_equal(*labels)


@every_network
def test_maps_centroids_radii_and_norms_are_those_of_matrices(name: str) -> None:
    by_matrices, by_operators = partitions(name)
    regions = same_regions(by_matrices, by_operators)
    quantities: tuple[Callable[[sg.Partition], np.ndarray], ...] = (
        lambda part: part.slice_maps,
        lambda part: part.slice_centroids,
        lambda part: part.centroids(),
        lambda part: part.radii(),
        lambda part: part.operator_norms("frobenius"),
        lambda part: part.operator_norms("spectral"),
        lambda part: part.operator_norms("spectral", "slice"),
    )
    for quantity in quantities:
        expected = quantity(by_matrices)
        np.testing.assert_allclose(
            quantity(by_operators)[regions], expected, rtol=0, atol=1e-11 * np.abs(expected).max()
        )
    chosen = np.array([3, 0, 3])
    for some, every in ((by_operators.centroids(chosen), by_operators.centroids()),
                        (by_operators.radii(chosen), by_operators.radii())):  # fmt: skip
        np.testing.assert_allclose(some, every[chosen], rtol=0, atol=1e-13 * np.abs(every).max())


@every_network
def test_the_restriction_has_the_values_of_the_forward_pass(name: str) -> None:
    """At random points of the domain, not only at vertices."""
    partition = partitions(name)[1]
    t = np.random.default_rng(1).uniform(partition.domain.min(axis=0), partition.domain.max(axis=0), (50, 2))
    restriction = partition.restriction
    expected = partition.network(partition.plane.lift(t).reshape(len(t), -1))
    found = restriction.coordinates(t) @ restriction.columns
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@every_network
def test_a_restriction_follows_from_the_patterns_alone(name: str) -> None:
    """As for a partition that was read from a file."""
    partition = partitions(name)[1]
    restriction = Restriction.of(partition)
    for kinks, enumerated, stage in zip(
        restriction.kinks, partition.restriction.kinks, partition.network.stages, strict=True
    ):
        assert set(enumerated.units) <= set(kinks.units) or partition.network.groups
        assert not stage.carried[kinks.units].any()
    t = partition.interior_points
    expected = partition.network(partition.plane.lift(t).reshape(len(t), -1))
    found = restriction.coordinates(t) @ restriction.columns
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["ResNet with batch norm", "U-Net"])
def test_bounds_hide_no_unit_that_changes_sign(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the signs of all values at all points; with blocks of any size."""
    partition = partitions(name)[1]
    points = np.random.default_rng(2).uniform(partition.domain.min(axis=0), partition.domain.max(axis=0), (700, 2))
    for neighbours, n_points, held in ((128, 8192, 1 << 29), (5, 33, 0)):
        monkeypatch.setattr("splinegeo.restriction._NEIGHBOURS", neighbours)
        monkeypatch.setattr("splinegeo.restriction._POINTS", n_points)
        monkeypatch.setattr("splinegeo.restriction._HELD_BYTES", held)
        monkeypatch.setattr("splinegeo.restriction._BLOCK_BYTES", 1 << 14)
        restriction = Restriction.start(partition.network, partition.plane)
        h = partition.plane.origin + points @ partition.plane.basis
        sizes, noise = np.abs(h).max(axis=0), np.zeros(h.shape[1])
        for stage in partition.network.stages:
            tolerance, noise = unit_tolerance(stage, sizes, noise)
            found = restriction.undecided(points, tolerance)
            y = stage.affine(h)
            above, elsewhere = (y > tolerance).any(axis=0), ~(y > tolerance).all(axis=0)
            np.testing.assert_array_equal(found.units, np.flatnonzero(above & elsewhere & ~stage.carried))
            np.testing.assert_allclose(found.values, y[:, found.units], rtol=0, atol=1e-12 * np.abs(y).max())
            decided = np.setdiff1d(np.flatnonzero(~stage.carried), found.units)
            np.testing.assert_array_equal(found.active[decided], above[decided])
            largest = np.where(found.active[found.units], -found.values, found.values).max(axis=0)
            restriction = restriction.advance(found.units, found.active, largest)
            h = stage.activate(y)
            sizes = np.abs(h).max(axis=0)
            scale = np.abs(y).max()
            np.testing.assert_allclose(found.sizes[found.units], sizes[found.units], rtol=0, atol=1e-12 * scale)
            assert (found.sizes <= sizes + 1e-12 * scale).all()
            assert np.linalg.norm(found.sizes) >= 0.9 * np.linalg.norm(sizes)


def test_blocks_of_bounded_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, plane, _, operators = both("ResNet with batch norm")
    expected = partitions("ResNet with batch norm")[1]
    for constant, value in (("restriction._BLOCK_BYTES", 1 << 13), ("restriction._HELD_BYTES", 0),
                            ("restriction._POINTS", 64), ("restriction._NEIGHBOURS", 16),
                            ("restricted_maps._STREAM_BYTES", 1 << 14)):  # fmt: skip
        monkeypatch.setattr(f"splinegeo.{constant}", value)
    partition = sg.enumerate_regions(operators, plane, sg.Box(HALF_WIDTH, (0.2, -0.1)))
    regions = same_regions(expected, partition)
    for quantity in (lambda p: p.slice_maps, lambda p: p.centroids(), lambda p: p.operator_norms()):
        wanted = quantity(expected)
        np.testing.assert_allclose(quantity(partition)[regions], wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_a_limit_gives_true_regions_of_operators(limit: int) -> None:
    _, plane, _, operators = both("ResNet with batch norm")
    partition = sg.enumerate_regions(operators, plane, sg.Box(HALF_WIDTH), max_regions=limit)
    assert 1 <= partition.n_regions <= limit
    assert not partition.complete
    assert partition.certify(500).ok
    points = partition.interior_points
    x = plane.lift(points)
    outputs = np.einsum("rci,ri->rc", partition.slice_maps[..., :2], points) + partition.slice_maps[..., 2]
    np.testing.assert_allclose(outputs, operators(x.reshape(len(x), -1)), rtol=0, atol=1e-12 * np.abs(outputs).max())


def test_blocks_of_regions_cover_the_domain() -> None:
    _, plane, _, operators = both("clamp")
    whole = partitions("clamp")[1]
    blocks = list(sg.iterate_regions(operators, plane, sg.Box(HALF_WIDTH, (0.2, -0.1)), memory=1 << 20))
    assert len(blocks) > 1
    assert sum(block.n_regions for block in blocks) == whole.n_regions
    keys = np.concatenate([block.pattern_keys for block in blocks])
    np.testing.assert_array_equal(np.unique(keys, axis=0), np.unique(whole.pattern_keys, axis=0))
    for block in blocks[:3]:
        t = block.interior_points
        expected = operators(plane.lift(t).reshape(len(t), -1))
        found = np.einsum("rci,ri->rc", block.slice_maps[..., :2], t) + block.slice_maps[..., 2]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def same_faces(one: sg.Partition, other: sg.Partition, stage: int) -> np.ndarray:
    """The face of `other` after a stage that holds the regions of each face of `one`."""
    of_other = np.full(len(one.parents[stage]), -1, dtype=np.int64)
    of_other[one.ancestors[stage]] = other.ancestors[stage][same_regions(one, other)]
    assert (of_other >= 0).all()
    return of_other


@every_network
def test_centroids_and_radii_of_every_prefix_are_those_of_matrices(name: str) -> None:
    by_matrices, by_operators = partitions(name)
    # Between the rounds of a max pooling the values depend on comparisons that no winner took part in.
    rounds = {stage for group in by_matrices.network.groups for stage in group[:-1]}
    for stage in range(len(by_matrices.network.stages)):
        of_faces = []
        if stage not in rounds:
            faces = same_faces(by_matrices, by_operators, stage)
            of_faces += [(prefix_centroids, faces), (prefix_radii, faces)]
        if stage - 1 not in rounds:
            faces = same_faces(by_matrices, by_operators, stage - 1) if stage else np.zeros(1, dtype=np.int64)
            of_faces += [(preactivation_centroids, faces), (preactivation_radii, faces)]
        for quantity, faces in of_faces:
            expected = quantity(by_matrices, stage)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(quantity(by_operators, stage, faces), expected, rtol=0, atol=1e-11 * scale)
    chosen = np.array([3, 0, 3])
    last = len(by_matrices.network.stages)
    np.testing.assert_array_equal(preactivation_radii(by_operators, last, chosen), by_operators.radii(chosen))
    with pytest.raises(IndexError, match="faces must lie in"):
        prefix_radii(by_operators, 0, [10**6])


@every_network
def test_power_diagrams_of_layers_are_those_of_a_walk_over_the_stages(name: str) -> None:
    """The walk gives each face the maps of all its units, one pass a face."""
    partition = partitions(name)[1]
    for restricted, walked in zip(layer_diagrams(partition), layer_diagrams(partition, lambda _: None), strict=True):
        assert restricted.stages == walked.stages
        scale = np.abs(walked.slice_maps).max()
        np.testing.assert_allclose(restricted.slice_maps, walked.slice_maps, rtol=0, atol=1e-11 * scale)
        np.testing.assert_array_equal(restricted.parents, walked.parents)


@every_network
def test_prefixes_in_small_streams_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = partitions(name)[1]
    last = len(partition.network.stages) - 1
    quantities: tuple[Callable[[], np.ndarray], ...] = (
        lambda: prefix_centroids(partition, last),
        lambda: prefix_radii(partition, last),
        lambda: layer_diagrams(partition)[-1].slice_maps,
    )
    expected = [quantity() for quantity in quantities]
    monkeypatch.setattr("splinegeo.restricted_maps._STREAM_BYTES", 1 << 13)
    for quantity, wanted in zip(quantities, expected, strict=True):
        np.testing.assert_allclose(quantity(), wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())


@every_network
def test_maps_in_float32_are_rounded_once(name: str) -> None:
    for exact in partitions(name):
        single = exact.astype(np.float32)
        assert single.slice_maps.dtype == np.float32
        np.testing.assert_array_equal(single.slice_maps, exact.slice_maps.astype(np.float32))


def test_maps_in_float32_hold_no_float64_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splinegeo.restricted_maps._STREAM_BYTES", 1 << 13)
    monkeypatch.setattr("splinegeo.region_maps._STREAM_BYTES", 1 << 13)
    for exact in partitions("DenseNet"):
        single = exact.astype(np.float32)
        for cached in ("restriction", "ancestors"):
            getattr(single, cached)
        tracemalloc.start()
        nbytes = single.slice_maps.nbytes
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.5 * nbytes + 200_000, (exact.n_regions, nbytes, peak)


def test_values_of_another_scale_that_are_carried_past_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skip connection with values 10^12 times as large as those of the units beside it."""
    convolutions = {name: nn.Conv2d(2, 2, 3, padding=1) for name in ("a", "b", "c")}
    model = randomised(Forward(lambda m, x: (1e12 * x).relu() + m.c(m.b(m.a(x).relu()).relu()).relu(), **convolutions))
    plane = sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 2, 4, 4)))
    matrices = sg.enumerate_regions(model, plane, sg.Box(1.0))
    monkeypatch.setattr(reading, "DENSE_ENTRIES", 0)
    operators = sg.enumerate_regions(model, plane, sg.Box(1.0))
    assert has_operators(operators.network)
    assert matrices.n_regions > 100
    same_regions(matrices, operators)
    assert operators.certify(200).ok
