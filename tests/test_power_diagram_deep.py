"""Power diagrams layer by layer: centroids and radii of every prefix of stages, the hierarchical diagram and its
check, against automatic differentiation, the forward pass and regions located by their polygons.
"""

import copy
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from degenerate_networks import Case, named_cases, random_case, to_module
from exact_oracle import Kink
from networks import IDENTITY_PLANE, one_thread, uniform_points, workload
from torch import nn

import splinegeo as sg
from splinegeo.face_corners import corners_and_centres
from splinegeo.hierarchical_diagram import hierarchical_diagram
from splinegeo.layer_diagram import layer_diagrams
from splinegeo.power_diagram import (
    power_distance,
    preactivation_centroids,
    preactivation_radii,
    prefix_centroids,
    prefix_radii,
    restrict_to_slice,
)
from splinegeo.power_diagram_report import verify_power_diagram

CHAINS = ("S", "B", "trained", "perturbed", "biased", "leaky", "leaky biased", "concave", "scalar")
CONVEX = ("S", "B", "trained", "perturbed", "biased", "leaky", "leaky biased", "scalar")


class Skip(nn.Module):
    """A residual network with three-piece units and absolute values: carried coordinates, and two cuts a unit."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.clip = nn.Hardtanh(-0.3, 0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x))
        return self.head(torch.abs(h + self.clip(self.second(h)) - 0.1))


def pooled() -> nn.Sequential:
    """Max pooling over windows of nine: a tournament of four rounds."""
    rounds = nn.MaxPool2d(3, 2)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), rounds, nn.Conv2d(4, 6, 3), nn.PReLU(), nn.Flatten(), nn.Linear(6, 3)
    )


@cache
def other_network(name: str) -> sg.Partition:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model: nn.Module = Skip() if name == "skip" else pooled()
    shape = (6,) if name == "skip" else (1, 9, 9)
    generator = np.random.default_rng(12)
    d = int(np.prod(shape))
    basis = np.linalg.qr(generator.standard_normal((d, 2)))[0].T
    return sg.enumerate_regions(model, sg.Slice(generator.standard_normal(d), basis, shape), sg.Box(2.5))


def partition_of(name: str) -> sg.Partition:
    return other_network(name) if name in ("skip", "pooled") else workload(name).partition


def representatives(partition: sg.Partition, stage: int) -> tuple[np.ndarray, np.ndarray]:
    """For each face after a stage, a region in it, (n,), and an interior point of that region lifted to input space."""
    faces, regions = np.unique(partition.ancestors[stage], return_index=True)
    points = partition.plane.lift(partition.interior_points[regions]).reshape(len(regions), -1)
    return faces, points


def summed_gradients(layers: nn.Sequential, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (n, d) and offset (n,) of the sum of a network's outputs at x, by one backward pass of torch."""
    h = torch.from_numpy(x).requires_grad_()
    with one_thread():
        total = copy.deepcopy(layers).double()(h).sum(dim=1)
        total.sum().backward()
    assert h.grad is not None
    gradient = h.grad.numpy()
    return gradient, total.detach().numpy() - np.einsum("nd,nd->n", gradient, x)


# --- centroids and radii of every prefix ---


@pytest.mark.parametrize("name", CHAINS)
def test_centroids_and_radii_of_every_prefix_are_those_of_automatic_differentiation(name: str) -> None:
    case = workload(name)
    for stage in range(len(case.partition.network.stages)):
        faces, x = representatives(case.partition, stage)
        np.testing.assert_array_equal(faces, np.arange(len(case.partition.parents[stage])))
        gradients, offsets = summed_gradients(case.model[: 2 * stage + 2], x)
        centroids = prefix_centroids(case.partition, stage)
        np.testing.assert_allclose(centroids, gradients, rtol=0, atol=1e-12 * np.abs(gradients).max())
        radii = np.einsum("nd,nd->n", gradients, gradients) + 2 * offsets
        np.testing.assert_allclose(prefix_radii(case.partition, stage), radii, rtol=0, atol=1e-11 * np.abs(radii).max())


@pytest.mark.parametrize("name", CHAINS)
def test_before_the_nonlinearity_they_are_those_of_the_affine_map_on_the_faces_before(name: str) -> None:
    case = workload(name)
    for stage in range(1, len(case.partition.network.stages)):
        _, x = representatives(case.partition, stage - 1)
        gradients, offsets = summed_gradients(case.model[: 2 * stage + 1], x)
        centroids = preactivation_centroids(case.partition, stage)
        np.testing.assert_allclose(centroids, gradients, rtol=0, atol=1e-12 * np.abs(gradients).max())
        radii = np.einsum("nd,nd->n", gradients, gradients) + 2 * offsets
        got = preactivation_radii(case.partition, stage)
        np.testing.assert_allclose(got, radii, rtol=0, atol=1e-11 * np.abs(radii).max())
    weight = case.model[0].weight.detach().double().numpy()
    np.testing.assert_allclose(
        preactivation_centroids(case.partition, 0), weight.sum(axis=0, keepdims=True), rtol=1e-12
    )


def test_behind_the_last_stage_they_are_those_of_the_regions() -> None:
    partition = workload("perturbed").partition
    last = len(partition.network.stages)
    chosen = np.array([7, 0, partition.n_regions - 1])
    np.testing.assert_array_equal(preactivation_centroids(partition, last, chosen), partition.centroids(chosen))
    np.testing.assert_array_equal(preactivation_radii(partition, last, chosen), partition.radii(chosen))


def test_faces_may_be_chosen_by_index_or_mask() -> None:
    partition = workload("B").partition
    every = prefix_centroids(partition, 1)
    chosen = np.array([5, 0, 5, len(every) - 1])
    np.testing.assert_allclose(prefix_centroids(partition, 1, chosen), every[chosen], rtol=0, atol=1e-14)
    mask = np.arange(len(every)) % 3 == 0
    np.testing.assert_allclose(prefix_radii(partition, 1, mask), prefix_radii(partition, 1)[mask], rtol=0, atol=1e-13)
    assert prefix_centroids(partition, 1, []).shape == (0, 2)


def test_streams_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = workload("leaky biased").partition
    centroids, radii = prefix_centroids(partition, 2), prefix_radii(partition, 2)
    diagrams, report = layer_diagrams(partition), verify_power_diagram(partition)
    monkeypatch.setattr("splinegeo.prefix_maps._STREAM_BYTES", 3000)
    np.testing.assert_allclose(prefix_centroids(partition, 2), centroids, rtol=0, atol=1e-14)
    np.testing.assert_allclose(prefix_radii(partition, 2), radii, rtol=0, atol=1e-13)
    streamed = layer_diagrams(partition)
    for whole, blocks in zip(diagrams, streamed, strict=True):
        np.testing.assert_allclose(blocks.slice_maps, whole.slice_maps, rtol=0, atol=1e-13)
    for whole_layer, layer in zip(report.layers, verify_power_diagram(partition).layers, strict=True):
        assert (layer.points, layer.comparisons) == (whole_layer.points, whole_layer.comparisons)
        assert layer.holds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: prefix_centroids(p, 3), "stage 3 does not exist: choose 0..2"),
        (lambda p: prefix_radii(p, -1), "stage -1 does not exist"),
        (lambda p: preactivation_centroids(p, 4), "stage 4 does not exist: choose 0..3"),
        (lambda p: prefix_centroids(p, 0, [0, 166]), "faces must lie in 0..165, but reach 0..166"),
        (lambda p: preactivation_radii(p, 0, [1]), "faces must lie in 0..0"),
    ],
)
def test_stages_and_faces_that_do_not_exist_are_refused(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(IndexError, match=message):
        call(workload("B").partition)


def test_a_network_without_stages_has_only_its_output() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    np.testing.assert_array_equal(preactivation_centroids(partition, 0), partition.centroids())
    with pytest.raises(IndexError, match="the network has no stage"):
        prefix_centroids(partition, 0)
    diagram = hierarchical_diagram(partition, verify=True)
    assert diagram.layers == ()
    assert diagram.report is not None
    assert diagram.report.holds
    assert "no layer" in str(diagram.report)
    np.testing.assert_array_equal(diagram.locate([[0.0, 0.0], [2.0, 0.0]]), [0, -1])


# --- the hierarchical diagram ---


@pytest.mark.parametrize("name", [*CHAINS, "skip", "pooled"])
def test_layer_diagrams_are_the_prefixes_restricted_to_the_slice(name: str) -> None:
    partition = partition_of(name)
    diagrams = layer_diagrams(partition)
    assert sum(len(diagram.stages) for diagram in diagrams) == len(partition.network.stages)
    for diagram in diagrams:
        centroids, radii = prefix_centroids(partition, diagram.stages[-1]), prefix_radii(partition, diagram.stages[-1])
        on_slice, radii_on_slice = restrict_to_slice(centroids, radii, partition.plane)
        np.testing.assert_allclose(diagram.slice_centroids, on_slice, rtol=0, atol=1e-12 * np.abs(centroids).max())
        # The restricted radius is small beside the squared norms that its definition subtracts.
        scale = np.abs(radii).max() + np.square(centroids - partition.plane.origin).sum(axis=1).max()
        np.testing.assert_allclose(diagram.slice_radii, radii_on_slice, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("name", [*CONVEX, "skip", "pooled"])
def test_power_distances_alone_lead_every_point_to_its_region(name: str) -> None:
    """From the domain down, the nearest site of each layer's diagram; against the regions found by their polygons."""
    partition = partition_of(name)
    diagram = hierarchical_diagram(partition)
    points = uniform_points(partition.domain, 20_000, np.random.default_rng(21))
    located = diagram.locate(points)
    np.testing.assert_array_equal(located, partition.locate(points))
    np.testing.assert_array_equal(diagram.locate(partition.interior_points), np.arange(partition.n_regions))
    outside = partition.domain.max(axis=0) + np.array([[0.5, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(diagram.locate(outside), [-1, -1])


def test_the_nearest_site_in_input_space_is_the_face_that_the_forward_pass_finds() -> None:
    """The definition, with nothing restricted to the slice: ‖x − μ‖² − τ over all siblings, patterns by torch."""
    case = workload("biased")
    partition = case.partition
    points = uniform_points(partition.domain, 300, np.random.default_rng(22))
    x = partition.plane.lift(points)
    exact = copy.deepcopy(case.model).double()
    parents = np.zeros(len(x), dtype=np.int64)
    for stage in range(2):
        with torch.no_grad(), one_thread():
            signs = (exact[: 2 * stage + 1](torch.from_numpy(x)) > 0).numpy()
        centroids, radii = prefix_centroids(partition, stage), prefix_radii(partition, stage)
        words = np.unpackbits(partition.bits[stage].view(np.uint8), axis=1, bitorder="little").astype(bool)
        for i, (h, parent) in enumerate(zip(x, parents, strict=True)):
            siblings = np.nonzero(partition.parents[stage] == parent)[0]
            nearest = siblings[power_distance(h[None], centroids[siblings], radii[siblings])[0].argmin()]
            np.testing.assert_array_equal(words[nearest, : signs.shape[1]], signs[i])
            parents[i] = nearest


def test_a_concave_layer_is_no_diagram_to_locate_by() -> None:
    diagram = hierarchical_diagram(workload("concave").partition)
    with pytest.raises(sg.InvalidNetworkError, match="stage 0 has 20 units with a slope above 1"):
        diagram.locate([[0.0, 0.0]])
    with pytest.raises(sg.ShapeError, match=r"\(n, 2\)"):
        diagram.locate([0.0, 0.0])


def test_a_partial_partition_has_no_hierarchical_diagram() -> None:
    case = workload("B")
    partial = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=100)
    with pytest.raises(ValueError, match="incomplete"):
        hierarchical_diagram(partial)


# --- the check ---


@pytest.mark.parametrize("name", [*CONVEX, "M", "skip", "pooled"])
def test_every_face_of_convex_layers_is_its_sites_power_cell(name: str) -> None:
    partition = partition_of(name)
    report = hierarchical_diagram(partition, verify=True).report
    assert report is not None
    assert report.holds, str(report)
    for layer in report.layers:
        stage = layer.stages[-1]
        families = np.bincount(partition.ancestors[stage])
        assert layer.faces == len(families)
        assert layer.points >= 4 * layer.faces  # a triangle and its mean at least
        assert layer.comparisons >= layer.points * int((partition.network.stages[stage].slopes != 1).sum())
        assert layer.relative_violation < 1e-15
    assert report.layers[-1].faces == partition.n_regions
    assert str(report).count("holds") == len(report.layers)


def test_the_check_says_where_it_does_not_apply() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 10), nn.LeakyReLU(1.5), nn.Linear(10, 10), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(10, 2))
    report = verify_power_diagram(sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(2.0)))
    assert [layer.applies for layer in report.layers] == [True, False, True]
    assert report.layers[1].points == 0
    assert np.isnan(report.layers[1].sibling_violation)
    assert "stage 1: does not apply, 10 units have a slope above 1" in str(report)
    assert report.holds


def test_the_check_depends_on_slopes_and_sides() -> None:
    """A slope below 1 makes the same lines a diagram; one unit's wrong side on all faces breaks it again."""
    partition = workload("concave").partition
    network = partition.network
    steep = network.stages[0].slopes
    inverted = replace(network.stages[0], slopes=2 - steep)
    changed = replace(partition, network=replace(network, stages=(inverted, *network.stages[1:])))
    assert verify_power_diagram(changed).layers[0].holds  # one layer's faces depend on its lines alone
    broken = [words.copy() for words in partition.bits]
    broken[0] ^= np.uint64(1) << np.uint64(3)
    changed = replace(changed, bits=tuple(broken))
    assert not verify_power_diagram(changed).layers[0].holds


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_one_wrong_pattern_is_found(stage: int) -> None:
    partition = workload("leaky").partition
    face = 17
    bits = [words.copy() for words in partition.bits]
    bits[stage][face, 0] ^= np.uint64(1) << np.uint64(5)
    report = verify_power_diagram(replace(partition, bits=tuple(bits)))
    layer = report.layers[stage]
    assert not report.holds
    assert not layer.holds
    assert layer.flip_violation > 1e-6
    assert layer.worst_face == face
    assert f"stage {stage}: is violated, worst in face {face}" in str(report)
    assert all(other.holds for other in report.layers[:stage])


def test_exchanged_patterns_of_siblings_are_found_as_nearer_sites() -> None:
    partition = workload("S").partition
    bits = [words.copy() for words in partition.bits]
    bits[1][[3, 4]] = bits[1][[4, 3]]
    assert partition.parents[1][3] == partition.parents[1][4]
    layer = verify_power_diagram(replace(partition, bits=tuple(bits))).layers[1]
    assert layer.sibling_violation > 1e-6
    assert layer.worst_face in (3, 4)


def test_moved_vertices_are_found() -> None:
    partition = workload("B").partition
    generator = np.random.default_rng(5)
    moved = partition.vertices + 1e-6 * generator.standard_normal(partition.vertices.shape)
    report = verify_power_diagram(replace(partition, mesh=replace(partition.mesh, vertices=moved)))
    assert not any(layer.holds for layer in report.layers)
    assert all(1e-9 < layer.sibling_violation < 1e-3 for layer in report.layers)


def test_a_partial_partition_can_be_checked() -> None:
    case = workload("M")
    partial = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=3000)
    assert not partial.complete
    report = verify_power_diagram(partial)
    assert report.holds, str(report)
    assert report.layers[-1].faces == partial.n_regions


def test_degenerate_networks_pass_the_check() -> None:
    failures, checked = [], 0
    for case in [*named_cases(), *(random_case(seed) for seed in range(400, 520))]:
        if all(isinstance(layer, Kink) and layer.negative_slope > 1 for layer in case.network):
            continue
        report = verify_power_diagram(enumerated(case))
        checked += sum(layer.points > 0 for layer in report.layers)
        if not report.holds:
            failures.append(f"{case}\n{report}")
    assert not failures, "\n\n".join(failures)
    assert checked > 200


@pytest.mark.parametrize("name", ["B", "leaky", "pooled"])
def test_corners_bound_their_face(name: str) -> None:
    """Areas of the faces' hulls from the corners found, against the sums of their regions' areas."""
    partition = partition_of(name)
    for stage in range(len(partition.network.stages)):
        n_faces = len(partition.parents[stage])
        start, points = corners_and_centres(partition, stage, n_faces)
        areas = np.bincount(partition.ancestors[stage], weights=partition.areas, minlength=n_faces)
        hulls = [hull_area(points[a : b - 1]) for a, b in pairwise(start)]
        np.testing.assert_allclose(hulls, areas, rtol=1e-8, atol=1e-12 * areas.sum())


def plane_of(case: Case) -> sg.Slice:
    return sg.Slice([float(x) for x in case.origin], [[float(x) for x in row] for row in case.basis])


def enumerated(case: Case) -> sg.Partition:
    return sg.enumerate_regions(to_module(case.network), plane_of(case), np.array(case.domain, dtype=np.float64))


def hull_area(points: np.ndarray) -> float:
    """Area of points in convex position, in any order."""
    centred = points - points.mean(axis=0)
    x, y = centred[np.argsort(np.arctan2(centred[:, 1], centred[:, 0]))].T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
