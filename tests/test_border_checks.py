"""A certificate's look at the outer border of incomplete partitions: one corner that leaves its units' zero sets is
found, to whichever side.
"""

from dataclasses import replace

import numpy as np
import pytest
from networks import IDENTITY_PLANE, mlp, workload
from piecewise_zoo import build
from pooled_network import pooled_case

import splinegeo as sg
from splinegeo._border_checks import border_figures
from splinegeo._pattern_checks import Rounding
from splinegeo.certificate import certify


def figures(partition: sg.Partition) -> tuple[int, tuple[int, ...]]:
    found = border_figures(partition, Rounding.of(partition))
    return found.displaced_edges, tuple(found.regions.tolist())


def outer_edges(partition: sg.Partition) -> np.ndarray:
    """Edges with one region and a unit."""
    has_one = (partition.edge_faces < 0).any(axis=1)
    return np.flatnonzero(has_one & (partition.edge_labels[:, 0] >= 0))


@pytest.mark.parametrize("limit", [1, 40, 500])
def test_sound_parts(limit: int) -> None:
    case = workload("B")
    part = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=limit)
    assert len(outer_edges(part)) > 0
    assert figures(part) == (0, ())
    assert len(outer_edges(case.partition)) == 0


@pytest.mark.parametrize("name", ["MaxPool2d, overlapping", "ReLU6", "Softshrink", "U-Net"])
def test_sound_parts_of_other_layers(name: str) -> None:
    """Units with several pieces have a coordinate that vanishes for each bound or rival."""
    model, shape = build(name)
    plane = sg.Slice.through_points(np.random.default_rng(1).standard_normal((3, *shape)))
    n_regions = sg.enumerate_regions(model, plane, sg.Box(1.0)).n_regions
    part = sg.enumerate_regions(model, plane, sg.Box(1.0), max_regions=n_regions // 2)
    assert len(outer_edges(part)) > 0
    assert figures(part) == (0, ())


def test_sound_blocks() -> None:
    model, whole = pooled_case()
    for block in sg.iterate_regions(model, whole.plane, whole.domain, memory=1 << 18):
        assert figures(block) == (0, ())


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_one_moved_corner(direction: float) -> None:
    """Inwards no region's pattern is contradicted, and all regions stay convex: only the unit's value knows."""
    part = sg.enumerate_regions(mlp((2, 16, 16, 2), bias=True, seed=1), IDENTITY_PLANE, sg.Box(4.0), max_regions=1)
    assert len(part.corners) > 3  # the region stays convex
    has_unit = part.edge_labels[part.mesh.sides >> 1, 0] >= 0
    vertex = int(part.corners[np.flatnonzero(has_unit & np.roll(has_unit, 1))[0]])
    moved = part.vertices.copy()
    moved[vertex] += direction * 1e-6 * (part.interior_points[0] - moved[vertex])
    damaged = replace(part, mesh=replace(part.mesh, vertices=moved))
    assert figures(damaged) == (2, (0,))
    certificate = certify(damaged, 0)
    finding = "2 edges along which the regions end leave the zero set of their unit"
    if direction > 0:
        assert certificate.problems == (finding,)
    assert finding in certificate.problems
    assert dict(certificate.suspects)["outer edges"] == (0,)
    assert "2 displaced" in str(certificate)


def test_one_wrong_label() -> None:
    case = workload("B")
    part = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=40)
    edge = outer_edges(part)[0]
    labels = part.edge_labels.copy()
    labels[edge, 1] = (labels[edge, 1] + 1) % 32
    damaged = replace(part, mesh=replace(part.mesh, edge_labels=labels))
    assert figures(damaged) == (1, (int(part.edge_faces[edge].max()),))
