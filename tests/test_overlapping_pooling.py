"""Max pooling of digits, which have a constant ground, in convolutional networks whose maps are operators."""

from functools import cache

import numpy as np
import pytest
import torch
from networks import mnist_images
from torch import nn

import splinegeo as sg
from splinegeo.affine import TorchAffine


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Results then depend on nothing but the program."""


def overlapping() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(392, 10))


def le_net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 10))


@cache
def enumerated(half_width: float, overlap: bool) -> sg.Partition:
    """About the first digit, far from the slice's origin."""
    digits = mnist_images(3).reshape(3, 1, 28, 28)
    plane = sg.Slice.through_points(digits)
    square = plane.project(digits[:1])[0] + half_width * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return sg.enumerate_regions(overlapping() if overlap else le_net(), plane, square, threads=1)


def test_overlapping_windows() -> None:
    """Comparisons of nearly equal maxima are decided by their own sizes, not by those of the whole image."""
    partition = enumerated(0.002, overlap=True)
    assert sum(isinstance(stage.affine, TorchAffine) for stage in partition.network.stages) > 5
    assert partition.n_regions > 400
    certificate = partition.certify(200)
    assert certificate.ok, certificate
    assert certificate.interior_mismatches == certificate.sample_misses == certificate.duplicate_patterns == 0


def test_windows_side_by_side() -> None:
    """Units that are equal on the ground stay so: their differences are rounding, and split nothing."""
    partition = enumerated(0.02, overlap=False)
    assert partition.n_regions > 300
    certificate = partition.certify(200)
    assert certificate.ok, certificate
    assert certificate.interior_mismatches == certificate.interior_roundings == certificate.dent_roundings == 0
    assert certificate.least_area > 1e-9
