"""A certificate's comparison of maps, centroids, radii, norms and corners: right ones pass, each kind of wrong one does
not.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, linear, mlp, workload
from piecewise_zoo import build
from torch import nn

import splinegeo as sg
from splinegeo import norm_walk, operator_norms, statistics
from splinegeo._corner_checks import without_collinear
from splinegeo.affine import Affine
from splinegeo.certificate import certify

Damage = Callable[[np.ndarray], np.ndarray]

MAPS, OFFSETS, CENTROIDS, RADII, NORMS = (
    f"{quantity} are not those of torch's Jacobian"
    for quantity in ("maps", "offsets", "centroids", "radii", "squared norms")
)


def bounded_network() -> tuple[nn.Module, sg.Slice]:
    """Units with three pieces: an edge's label does not say at which bound."""
    model = nn.Sequential(
        *(nn.Linear(6, 24), nn.Hardtanh(-0.3, 0.5), nn.Linear(24, 24), nn.Hardtanh(-0.2, 0.2), nn.Linear(24, 3))
    )
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return model, sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 6)))


def fresh(name: str) -> sg.Partition:
    """A partition of a workload that holds no maps and no norms yet."""
    return replace(workload(name).partition)


@pytest.mark.parametrize("name", ["S", "B", "trained", "perturbed", "leaky biased", "concave", "scalar"])
def test_right_maps(name: str) -> None:
    certificate = certify(fresh(name), 0)
    assert certificate.ok, str(certificate)
    assert 100 <= certificate.compared_maps <= 256
    errors = (certificate.map_error, certificate.offset_error, certificate.centroid_error, certificate.radius_error)
    assert max(*errors, certificate.norm_error) < 1e-14
    assert certificate.map_roundings == certificate.wrong_corners == 0


@pytest.mark.parametrize(
    "name",
    ["MaxPool2d, overlapping", "ReLU6", "Softshrink", "Hardsigmoid", "ResNet with batch norm", "U-Net", "two branches"],
)
def test_right_maps_of_other_layers(name: str) -> None:
    model, shape = build(name)
    plane = sg.Slice.through_points(np.random.default_rng(1).standard_normal((3, *shape)))
    certificate = sg.enumerate_regions(model, plane, sg.Box(1.0)).certify(0)
    assert certificate.ok, str(certificate)
    assert certificate.compared_maps > 10
    assert certificate.map_error < 1e-13


def test_every_norm_that_was_asked_for_is_compared() -> None:
    kinds = [(kind, space) for kind in ("frobenius", "spectral") for space in ("input", "slice")]
    for kind, space in kinds:
        partition = fresh("leaky biased")
        norms = partition.operator_norms(kind, space)
        assert certify(partition, 0).ok
        partition.recall_norms(1.01 * norms, kind, space)
        assert certify(partition, 0).problems[0].startswith(NORMS), (kind, space)


def test_norms_walked_over_units_with_two_kinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was once wrong: the walk took one kink of a unit for the other."""
    model, plane = bounded_network()
    partition = sg.enumerate_regions(model, plane, sg.Box(2.0))
    assert certify(replace(partition), 0).ok
    assert not norm_walk.can_walk(partition)
    monkeypatch.setattr(operator_norms, "can_walk", lambda partition: True)
    assert [problem.partition(":")[0] for problem in certify(replace(partition), 0).problems] == [NORMS]


@pytest.mark.parametrize(
    ("place", "damage", "finding"),
    [
        ("splinegeo.region_maps.affine_map", lambda map: (1.0001 * map[0], map[1]), MAPS),
        ("splinegeo.region_maps.affine_map", lambda map: (map[0], map[1] + 1e-9), OFFSETS),
        ("splinegeo.partition.slice_maps", lambda maps: maps * [1.0, 1.0001, 1.0], MAPS),
        ("splinegeo.partition.slice_maps", lambda maps: maps + np.array([0.0, 0.0, 1e-9]), OFFSETS),
        ("splinegeo.partition.region_centroids", lambda centroids: centroids[:, ::-1], CENTROIDS),
        ("splinegeo.partition.region_radii", lambda radii: radii + 1e-6, RADII),
        ("splinegeo.partition.operator_norms", lambda norms: np.roll(norms, 1), NORMS),
    ],
)
def test_wrong_maps_are_found(place: str, damage: Damage, finding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, name = place.rpartition(".")
    right = getattr(__import__(module, fromlist=[name]), name)
    monkeypatch.setattr(place, lambda *arguments: damage(right(*arguments)))
    partition = fresh("B")
    partition.slice_maps  # noqa: B018  held maps are those that are compared
    certificate = certify(partition, 0)
    assert any(problem.startswith(finding) for problem in certificate.problems), str(certificate)
    assert finding in str(certificate)


def test_maps_that_are_not_held_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    from splinegeo import region_maps

    right = region_maps.slice_map_blocks
    partition = fresh("B")
    certify(partition, 0)
    assert "slice_maps" not in vars(partition)
    monkeypatch.setattr(region_maps, "slice_map_blocks", lambda part: ((p, -maps) for p, maps in right(part)))
    assert certify(partition, 0).problems[0].startswith(MAPS)


@pytest.mark.parametrize("from_file", [False, True])
def test_a_network_that_is_not_the_module(from_file: bool) -> None:
    """All patterns are right, for the last layer has no units; a network from a file has no module to compare with."""
    partition = fresh("B")
    output = partition.network.output
    assert isinstance(output, Affine)
    misread = replace(partition.network, output=Affine(output.weight[::-1].copy(), output.bias))
    if from_file:
        misread = replace(misread, module=None)
    problems = certify(replace(partition, network=misread), 0).problems
    assert [problem.partition(":")[0] for problem in problems] == ([] if from_file else [MAPS, OFFSETS])


def test_one_wrong_unit_in_one_region_of_the_sample() -> None:
    """The pattern of a large region says that a unit is on which is off: of its map, not the unit's value, is asked."""
    partition = fresh("B")
    bits = partition.bits[-1].copy()
    bits[partition.areas.argmax(), 0] ^= np.uint64(4)
    problems = certify(replace(partition, bits=(*partition.bits[:-1], bits)), 0).problems
    assert any(problem.startswith(MAPS) for problem in problems)


def test_units_that_vanish_on_the_whole_slice() -> None:
    """The slice lies in the hyperplane of a unit, where torch's derivative of |x| is 0: either side's map is right."""

    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = linear([[0.0, 0.0, 1.0], [1.0, 0.5, 0.0], [0.3, -1.0, 0.0]])
            self.last = linear([[1.0, 2.0, -1.0], [0.5, 1.0, 1.0]])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x).abs())

    plane = sg.Slice(np.zeros(3), np.eye(3)[:2])
    certificate = sg.enumerate_regions(Folded(), plane, sg.Box(1.0)).certify(100)
    assert certificate.ok, str(certificate)
    assert certificate.map_roundings == certificate.n_regions == 4


def test_maps_that_cancel_to_rounding() -> None:
    """Between the bounds of Softshrink a value less itself is left: the maps are 0 but for rounding of any share."""
    model = nn.Sequential(nn.Linear(7, 6), nn.Softshrink(0.3), nn.Linear(6, 4), nn.Softshrink(0.3), nn.Linear(4, 3))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(1e-3 * torch.randn(parameter.shape, generator=generator))
    plane = sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 7)))
    partition = sg.enumerate_regions(model, plane, sg.Box(1.0))
    assert 0 < np.abs(partition.centroids()).max() < 1e-20
    certificate = certify(partition, 10)
    assert certificate.ok, str(certificate)


class Written(nn.Module):
    """Two layers with calls between them of which torch has no derivative as they are."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first = linear([[1.0, 0.5], [0.2, -1.0], [-0.7, 0.6], [0.4, 0.9]], [0.1, 0.2, -0.1, 0.3])
        self.last, self.between = linear([[1.0, 2.0, -1.0, 0.5], [0.3, -1.0, 2.0, 1.0]]), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(self.first(x)))


def over_the_result(y: torch.Tensor) -> torch.Tensor:
    return torch.relu(y).mul_(2.0)


def over_one_of_two_views(y: torch.Tensor) -> torch.Tensor:
    one, other = y.chunk(2, 1)
    one.relu_()
    return torch.cat([one, other], 1)


@torch.no_grad()
def without_derivative(y: torch.Tensor) -> torch.Tensor:
    return torch.relu(y)


@pytest.mark.parametrize("between", [over_the_result, over_one_of_two_views])
def test_calls_that_write_over_what_the_derivative_needs(between: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Torch's Jacobian is still that of the module: a network that is not the module is found."""
    partition = sg.enumerate_regions(Written(between), IDENTITY_PLANE, sg.Box(1.0))
    assert partition.n_regions > 1
    assert certify(partition, 10).ok
    output = partition.network.output
    assert isinstance(output, Affine)
    misread = replace(partition.network, output=Affine(output.weight[::-1].copy(), output.bias))
    problems = certify(replace(partition, network=misread), 0).problems
    assert [problem.partition(":")[0] for problem in problems] == [MAPS, OFFSETS]


def test_modules_that_torch_cannot_differentiate() -> None:
    """The chain rule takes torch's place."""
    partition = sg.enumerate_regions(Written(without_derivative), IDENTITY_PLANE, sg.Box(1.0))
    assert certify(partition, 10).ok
    partition.recall_norms(2 * partition.operator_norms())
    assert certify(partition, 10).problems[0].startswith(NORMS)


def test_float32_is_compared_to_its_own_rounding() -> None:
    partition = fresh("leaky biased").astype("float32")
    certificate = certify(partition, 0)
    assert certificate.ok, str(certificate)
    assert certificate.map_rounding > 1e-6
    partition.recall_norms(1.01 * partition.operator_norms())
    assert certify(partition, 0).problems[0].startswith(NORMS)


@pytest.mark.parametrize("wrong_by", [1, -1])
def test_corners_are_counted_again(wrong_by: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = statistics.count_turns

    def miscount(*arguments: np.ndarray) -> None:
        right(*arguments)
        arguments[-1][arguments[-1].argmax()] += wrong_by

    partition = fresh("B")
    n = certify(partition, 0).compared_corners
    assert n == partition.n_regions > 1024  # more than are reduced corner by corner
    monkeypatch.setattr(statistics, "count_turns", miscount)
    assert certify(partition, 0).problems == (f"1 of {n} regions have another number of corners",)


def test_corners_where_a_maximum_bends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was once wrong: edges of one maximum were taken for one line."""
    model = nn.Sequential(linear([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), nn.Unflatten(1, (1, 3)), nn.MaxPool1d(3))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, np.array([[-3.0, -2.0], [3.0, -2.0], [0.0, 4.0]]))
    assert certify(partition, 0).ok
    monkeypatch.setattr(statistics, "_labels_of_lines", lambda partition: partition.edge_labels)
    assert certify(partition, 0).wrong_corners == 3


def test_polygons_without_collinear_corners() -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    crowded = np.array([[0, 0], [0.2, 1e-13], [0.7, -1e-13], [1, 0], [1, 0.5], [1, 1], [1 - 1e-14, 1], [0, 1]])
    np.testing.assert_allclose(without_collinear(crowded, 1e-12), square, rtol=0, atol=1e-12)
    assert len(without_collinear(square, 0.0)) == 4
    assert len(without_collinear(np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1e-14]]), 1e-12)) == 0


def test_the_sample_is_that_of_the_seed() -> None:
    model = mlp((2, 40, 40, 2), bias=True, seed=2)
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(3.0))
    assert partition.n_regions > 600
    one, again, other = (certify(replace(partition), 0, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert (one.map_error, one.offset_error) != (other.map_error, other.offset_error)
