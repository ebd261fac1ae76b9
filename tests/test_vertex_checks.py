"""A certificate's look at all vertices and regions: one wrong one among thousands is found, and named."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from networks import IDENTITY_PLANE, linear, mlp
from pooled_network import pooled_case
from torch import nn

import splinegeo as sg
from splinegeo._map_checks import _slice_maps
from splinegeo._pattern_checks import Rounding, samples_by_default
from splinegeo._vertex_checks import vertex_figures
from splinegeo.certificate import certify

AT_A_CORNER = "regions have another pattern than the forward pass at a corner"


@cache
def thousands() -> sg.Partition:
    """More than two thousand regions."""
    partition = sg.enumerate_regions(mlp((2, 64, 64, 2), bias=True, seed=1), IDENTITY_PLANE, sg.Box(4.0))
    assert partition.n_regions > 2000
    return partition


def figures(partition: sg.Partition) -> tuple[int, tuple[int, ...]]:
    """The number of mismatches, and the regions."""
    found = vertex_figures(partition, Rounding.of(partition), progress=False)
    assert found.vertices == len(partition.vertices)
    assert found.vertex_roundings == 0
    assert len(found.regions) == found.vertex_mismatches
    return found.vertex_mismatches, tuple(found.regions.tolist())


def test_sound_partitions() -> None:
    assert figures(thousands()) == (0, ())
    assert figures(pooled_case()[1]) == (0, ())


def smallest_inner(partition: sg.Partition) -> int:
    """The smallest region that does not touch the domain's border."""
    at_border = partition.edge_faces[(partition.edge_faces < 0).any(axis=1)].max(axis=1)
    areas = partition.areas.copy()
    areas[at_border] = np.inf
    return int(areas.argmin())


def test_one_moved_corner() -> None:
    partition = thousands()
    at_border = partition.edges[(partition.edge_faces < 0).any(axis=1)]
    vertex = int(np.setdiff1d(partition.corners, at_border)[100])
    moved = partition.vertices.copy()
    moved[vertex] += 1e-9
    around = np.unique(partition.mesh.face_of_corner[partition.corners == vertex])
    n, regions = figures(replace(partition, mesh=replace(partition.mesh, vertices=moved)))
    assert n > 0
    assert set(regions) <= set(around.tolist())


def test_one_end_of_a_line_that_slides_along_the_border() -> None:
    """The areas add up, and all regions are convex: only the network knows."""
    model = nn.Sequential(linear([[1.0, 0.3]]), nn.ReLU(), linear([[1.0]]))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    assert certify(partition, 0).ok
    end = int(partition.edges[partition.edge_labels[:, 0] == 0][0, 0])
    moved = partition.vertices.copy()
    moved[end, 0] += 1e-6
    certificate = certify(replace(partition, mesh=replace(partition.mesh, vertices=moved)), 0)
    assert certificate.problems == (f"1 {AT_A_CORNER}",)


def test_one_missed_cut() -> None:
    """Two neighbours across a unit of the last layer become one region, the smaller part being tiny: it covers its
    area, is convex, and has its pattern at its interior point and at all samples.
    """
    model = nn.Sequential(
        linear([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, -2 + 1e-4]), nn.ReLU(), nn.Linear(3, 1)
    )
    other = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, -2.0]), nn.ReLU(), nn.Linear(3, 1))
    network = sg.read_network(model)
    missed = sg.enumerate_regions(other, IDENTITY_PLANE, sg.Box(1.0))
    assert (sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0)).n_regions, missed.n_regions) == (5, 4)
    certificate = certify(replace(missed, network=network), 1000)
    assert certificate.problems == (f"1 {AT_A_CORNER}",)
    region = int(missed.locate([[0.9, 0.9]])[0])
    assert certificate.suspects == (("vertices", (region,)),)
    assert f"region {region}" in str(certificate).splitlines()[-1]
    assert certify(missed, 1000).suspects == ()


@pytest.mark.parametrize("stage", [0, 1])
def test_one_wrong_unit_in_the_smallest_region(stage: int) -> None:
    """Found at the corners, at the interior point and at the edges, and named."""
    partition = thousands()
    region = smallest_inner(partition)
    face = int(partition.ancestors[stage][region])
    bits = list(partition.bits)
    bits[stage] = bits[stage].copy()
    edges = (partition.edge_faces == region).any(axis=1)
    own = set(partition.edge_labels[edges & (partition.edge_labels[:, 0] == stage)][:, 1].tolist())
    unit = next(unit for unit in range(64) if unit not in own)
    bits[stage][face, 0] ^= np.uint64(1) << np.uint64(unit)
    certificate = certify(replace(partition, bits=tuple(bits)), 0)
    inside = np.flatnonzero(partition.ancestors[stage] == face)
    named = dict(certificate.suspects)
    assert set(named["interior points"]) == set(named["vertices"]) == set(inside.tolist())
    assert set(inside.tolist()) & set(named["edges"])
    assert certificate.vertex_mismatches == certificate.interior_mismatches == len(inside)


def test_one_wrong_winner_of_a_maximum() -> None:
    """A comparison that decides, in one face of the last of its rounds; one that does not decide may be anything."""
    partition = pooled_case()[1]
    network = partition.network
    group = network.groups[0]
    last = group[-1]
    active = [
        np.unpackbits(partition.bits[i].view(np.uint8), axis=1, count=network.stages[i].n_units, bitorder="little")
        for i in group
    ]
    face = int(partition.ancestors[last][partition.areas.argmax()])
    faces = [face]
    for i in reversed(group[1:]):
        faces.append(int(partition.parents[i][faces[-1]]))
    of_face = [bits[[f]].astype(bool) for bits, f in zip(active, reversed(faces), strict=True)]
    deciding = network.deciding(group, of_face)[-1][0]
    inside = set(np.flatnonzero(partition.ancestors[last] == face).tolist())
    for unit in np.flatnonzero(~network.stages[last].carried).tolist():
        bits = partition.bits[last].copy()
        bits[face, unit >> 6] ^= np.uint64(1) << np.uint64(unit & 63)
        damaged = replace(partition, bits=(*partition.bits[:last], bits, *partition.bits[last + 1 :]))
        assert deciding[unit], "the final comparison of each window decides"
        assert set(figures(damaged)[1]) == inside


def _swap(partition: sg.Partition) -> sg.Partition:
    """The labels of one inner edge with a label of another."""
    labels = partition.edge_labels.copy()
    inner = np.nonzero(labels[:, 0] >= 0)[0]
    labels[inner[len(inner) // 2]] = labels[inner[0]]
    return replace(partition, mesh=replace(partition.mesh, edge_labels=labels))


def _repeat(partition: sg.Partition) -> sg.Partition:
    edge = np.nonzero(partition.edge_labels[:, 0] == 1)[0][-1]
    left, right = partition.edge_faces[edge]
    bits = partition.bits[-1].copy()
    bits[right] = bits[left]
    return replace(partition, bits=(*partition.bits[:-1], bits))


@pytest.mark.parametrize(
    ("damage", "check", "finding"),
    [(_swap, "edges", "1 edges separate patterns"), (_repeat, "patterns", "1 regions repeat a pattern")],
)
def test_one_wrong_edge_and_one_repeated_pattern(
    damage: Callable[[sg.Partition], sg.Partition], check: str, finding: str
) -> None:
    partition = thousands()
    certificate = certify(damage(partition), 0)
    assert finding in "; ".join(certificate.problems)
    named = dict(certificate.suspects)[check]
    assert 1 <= len(named) <= 2 + (damage is _repeat) * 8
    assert f"see {check}" in str(certificate)


def test_a_long_list_of_regions_is_cut_short() -> None:
    partition = thousands()
    mirrored = replace(partition, mesh=replace(partition.mesh, vertices=partition.vertices * [-1.0, 1.0]))
    report = str(certify(mirrored, 0))
    assert f"... ({partition.n_regions} in all)" in report
    assert max(map(len, report.splitlines()[1:])) < 200


def test_fewer_samples_of_networks_with_many_units() -> None:
    assert samples_by_default(thousands()) == 100_000
    wide = sg.enumerate_regions(mlp((2, 3000, 2), bias=True, seed=0), IDENTITY_PLANE, sg.Box(0.01))
    assert samples_by_default(wide) == 2**28 // 3000
    small = sg.enumerate_regions(mlp((2, 4, 2), bias=True, seed=0), IDENTITY_PLANE, sg.Box(1.0))
    assert certify(small).samples == 100_000


@pytest.mark.parametrize("maxima", [False, True])
def test_maps_of_some_regions_are_those_of_all(maxima: bool) -> None:
    """What a certificate compares of a partition that holds no maps yet."""
    partition = pooled_case()[1] if maxima else thousands()
    regions = np.unique(np.random.default_rng(0).integers(0, partition.n_regions, 50))
    family = _slice_maps(replace(partition), regions)
    np.testing.assert_allclose(family, replace(partition).slice_maps[regions], rtol=0, atol=1e-13)
