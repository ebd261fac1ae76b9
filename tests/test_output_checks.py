"""A certificate's comparison of outputs: rounding that float64 need not make is named, other rounding is not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, linear, workload
from torch import nn

import splinegeo as sg
from splinegeo.certificate import certify


def bounded(bounds: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(linear([[1.0, 0.5], [0.25, -1.0]], [0.1, 0.2]), bounds(), linear([[1.0, 3.0]], [1e-3]))


def partition_at(model: nn.Module, distance: float) -> sg.Partition:
    return sg.enumerate_regions(model, sg.Slice(distance * np.array([0.6, 0.8]), np.eye(2)), sg.Box(1.0))


@pytest.mark.parametrize("name", ["S", "B", "leaky biased", "scalar"])
def test_maps_about_the_origin_give_the_outputs(name: str) -> None:
    assert certify(replace(workload(name).partition), 0).output_error == 0.0


@pytest.mark.parametrize("bounds", [lambda: nn.Hardtanh(-0.7, 0.35), lambda: nn.Hardtanh(0.0, 6.1)])
def test_saturated_units_far_away_are_named(bounds: Callable[[], nn.Module]) -> None:
    """At 1e14 a bounded unit's value is its upper bound, the difference of its two parts some thousandths off."""
    model = bounded(bounds)
    near, far = (partition_at(model, distance) for distance in (10.0, 1e14))
    assert near.certify(0).ok
    certificate = far.certify(0)
    x = far.plane.lift(far.interior_points)
    found = far.slice_maps[0, 0, 2] + far.slice_maps[0, 0, :2] @ far.interior_points[0]
    outputs = model(torch.from_numpy(x)).detach().numpy()
    error = abs(found - outputs[0, 0]) / abs(outputs[0, 0])
    assert error > 1e-4
    assert certificate.output_error == pytest.approx(error, rel=1e-6)
    assert certificate.problems == (
        f"maps miss the forward pass by {error:.2g} of the largest output, as larger terms cancel",
    )
    assert "outputs" in str(certificate)


def test_what_the_forward_pass_does_not_know_either_is_rounding() -> None:
    """F = 0.7 (a x - b x + (b - a) x) + 0.5, at 1e14 a difference of large numbers for any float64 program."""
    units = linear([[1.0, 0.3], [0.4, 1.7], [-0.6, 1.4]])
    model = nn.Sequential(units, nn.ReLU(), linear([[0.7, -0.7, 0.7]], [0.5]))
    partition = partition_at(model, 1e14)
    found = partition.slice_maps[0, 0] @ np.array([*partition.interior_points[0], 1.0])
    assert abs(found - 0.5) > 1e-4
    certificate = partition.certify(0)
    assert certificate.ok, str(certificate)


def test_outputs_that_are_nought() -> None:
    model = nn.Sequential(linear([[1.0, 1.0], [1.0, 1.0]]), nn.ReLU(), linear([[0.7, -0.7]]))
    assert sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0)).certify(0).output_error == 0.0
