"""Max pooling in several rounds: windows that overlap, blocks and limits that come between the rounds."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import splinegeo as sg
from splinegeo._groups import whole_families

N_WINDOWS = 32


def overlapping(rectified: bool, seed: int) -> nn.Sequential:
    """(n, 25) -> (n, 2): windows of 3 by 3 places, one at each place of two channels of 4 by 4."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        values = [nn.Unflatten(1, (1, 5, 5)), nn.Conv2d(1, 2, 2), nn.ReLU() if rectified else nn.Identity()]
        dense = [nn.Linear(N_WINDOWS, 6), nn.ReLU(), nn.Linear(6, 2)]
        return nn.Sequential(*values, nn.MaxPool2d(3, 1, 1), nn.Flatten(), *dense).double()


@cache
def case(rectified: bool, seed: int) -> tuple[nn.Sequential, sg.Slice, sg.Partition]:
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.standard_normal((25, 2)))[0].T
    model, plane = overlapping(rectified, seed), sg.Slice(generator.standard_normal(25), basis)
    return model, plane, sg.enumerate_regions(model, plane, sg.Box(3.0), threads=1)


cases = pytest.mark.parametrize(("rectified", "seed"), [(False, 0), (False, 2), (True, 5)])


@cases
def test_overlapping_windows_are_certified(rectified: bool, seed: int) -> None:
    certificate = case(rectified, seed)[2].certify(2000)
    assert certificate.ok, str(certificate)
    assert certificate.merged_edges > 100  # one line bounds several maxima


def test_edges_name_a_maximum_that_changes() -> None:
    """By torch's own places of the maxima, at points inside the regions on either side."""
    model, plane, partition = case(False, 2)
    with torch.no_grad():
        values = model[:3](torch.from_numpy(plane.lift(partition.interior_points)))
        places = nn.functional.max_pool2d(values, 3, 1, 1, return_indices=True)[1].flatten(1).numpy()
    edges = np.flatnonzero(partition.edge_labels[:, 0] == 0)
    left, right = partition.edge_faces[edges].T
    window = partition.edge_labels[edges, 1]
    wide = (partition.areas[left] > 1e-9) & (partition.areas[right] > 1e-9)
    assert wide.sum() > 100
    assert (places[left, window] != places[right, window])[wide].all()


@cases
@pytest.mark.parametrize("memory", [1 << 12, 1 << 16, 1 << 18])
def test_blocks_tear_no_region(rectified: bool, seed: int, memory: int) -> None:
    model, plane, whole = case(rectified, seed)
    blocks = list(sg.iterate_regions(model, plane, sg.Box(3.0), memory=memory, threads=1))
    areas = {key.tobytes(): area for block in blocks for key, area in zip(block.pattern_keys, block.areas, strict=True)}
    assert memory > 1 << 16 or len(blocks) > 3
    assert sum(block.n_regions for block in blocks) == len(areas) == whole.n_regions
    found = [areas[key.tobytes()] for key in whole.pattern_keys]
    np.testing.assert_allclose(found, whole.areas, rtol=0, atol=1e-12 * whole.areas.sum())


@cases
@pytest.mark.parametrize("limit", [1, 5, 17, 60])
def test_limits_tear_no_region(rectified: bool, seed: int, limit: int) -> None:
    model, plane, whole = case(rectified, seed)
    part = sg.enumerate_regions(model, plane, sg.Box(3.0), max_regions=limit, threads=1)
    assert 1 <= part.n_regions <= limit
    assert not part.complete
    areas = {key.tobytes(): area for key, area in zip(whole.pattern_keys, whole.areas, strict=True)}
    expected = [areas[key.tobytes()] for key in part.pattern_keys]
    np.testing.assert_allclose(part.areas, expected, rtol=0, atol=1e-12 * whole.areas.sum())


def test_more_units_than_are_cut_at_once_with_a_limit() -> None:
    """A first stage of many units is cut by some, then by the others: the limit comes between."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 300), nn.Unflatten(1, (1, 300)), nn.MaxPool1d(3, 2), nn.Flatten()).double()
    plane = sg.Slice(np.zeros(2), np.eye(2))
    whole = sg.enumerate_regions(model, plane, sg.Box(1.0), threads=1)
    part = sg.enumerate_regions(model, plane, sg.Box(1.0), max_regions=whole.n_regions - 1, threads=1)
    areas = {key.tobytes(): area for key, area in zip(whole.pattern_keys, whole.areas, strict=True)}
    np.testing.assert_allclose(part.areas, [areas[key.tobytes()] for key in part.pattern_keys], rtol=0, atol=1e-12)


def test_whole_families() -> None:
    families = np.array([0, 0, 0, 2, 2, 5], dtype=np.int32)
    assert [whole_families(families, n) for n in range(7)] == [0, 0, 0, 3, 3, 5, 6]
    assert [whole_families(families, n, "right") for n in range(7)] == [0, 3, 3, 3, 5, 5, 6]


class BesideItsInput(nn.Module):
    """Maxima of small values; the read-out sees the input, too."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.values, self.readout = nn.Linear(2, 12).double(), nn.Linear(6, 3).double()
        self.pool = nn.MaxPool1d(3, return_indices=True)
        with torch.no_grad():
            self.values.weight *= scale
            self.values.bias *= scale

    def places(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(self.values(x)[:, None])[1][:, 0] % 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(torch.cat([nn.functional.max_pool1d(self.values(x)[:, None], 3)[:, 0], x], dim=1))


@pytest.mark.parametrize("scale", [1.0, 2.0**-44, 2.0**44])
def test_places_of_maxima_beside_carried_values_of_another_scale(scale: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BesideItsInput(scale)
    partition = sg.enumerate_regions(model, sg.Slice(np.zeros(2), np.eye(2)), sg.Box(1.0), threads=1)
    certificate = partition.certify(500)
    assert certificate.ok, str(certificate)
    assert certificate.interior_roundings == certificate.sample_roundings == 0
    (found,) = partition.network.patterns(partition.interior_points)
    with torch.no_grad():
        np.testing.assert_array_equal(found, model.places(torch.from_numpy(partition.interior_points)))
    assert len(np.unique(found, axis=0)) == partition.n_regions > 5
