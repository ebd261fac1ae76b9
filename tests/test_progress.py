"""Who follows long work is told of all of it, in order, and may end it without harm."""

import numpy as np
import pytest
import torch
from explorer_cases import network, samples
from torch import nn

import splinegeo as sg
from splinegeo.progress import followed_by
from splinegeo.restriction import has_operators
from viz.region_colors import centroid_alignments


class StopError(Exception):
    pass


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> sg.Slice:
    # Small streams, so that a small partition has many.
    for module in ("region_maps", "norm_walk", "restricted_maps", "prefix_maps"):
        monkeypatch.setattr(f"splinegeo.{module}._STREAM_BYTES", 1 << 14)
    monkeypatch.setattr("splinegeo.norm_walk._LONGEST_PATH", 8)
    monkeypatch.setattr("viz.region_colors._REGIONS_PER_BLOCK", 16)
    return sg.Slice.through_points(samples().x[:3])


def dense() -> nn.Module:
    return network(0, widths=(24, 24))


def convolutional() -> nn.Module:
    convolution = nn.Conv2d(1, 6, 2, dtype=torch.float64)
    with torch.no_grad():
        convolution.weight.normal_(generator=torch.Generator().manual_seed(1))
        convolution.bias.normal_(generator=torch.Generator().manual_seed(2))
    return nn.Sequential(nn.Unflatten(1, (1, 4)), convolution, nn.ReLU(), nn.Flatten(), network(0, 54, (8,)))


@pytest.fixture(params=[dense, convolutional])
def part(request: pytest.FixtureRequest, slices: sg.Slice, monkeypatch: pytest.MonkeyPatch) -> sg.Partition:
    """Regions of a network whose maps are matrices, and of one that is restricted to the domain."""
    if request.param is convolutional:
        monkeypatch.setattr("splinegeo.reading.DENSE_ENTRIES", 100)
    found = sg.enumerate_regions(request.param(), slices)
    assert has_operators(found.network) == (request.param is convolutional)
    return found


QUANTITIES = {
    "slice maps": lambda part: part.slice_maps,
    "norms": lambda part: part.operator_norms(),
    "spectral norms": lambda part: part.operator_norms("spectral"),
    "radii": lambda part: part.radii(),
    "alignments": centroid_alignments,
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_all_of_a_quantity_is_told_in_order(part: sg.Partition, name: str):
    expected = QUANTITIES[name](sg.enumerate_regions(part.network, part.plane))
    told = []
    with followed_by(lambda done, total: told.append((done, total))):
        found = QUANTITIES[name](part)
    np.testing.assert_array_equal(found, expected)
    assert len(told) > 2
    assert told == sorted(told)
    assert {total for _, total in told} == {part.n_regions}
    assert told[-1][0] == part.n_regions


@pytest.mark.parametrize("name", QUANTITIES)
def test_what_is_ended_leaves_nothing_half_done(part: sg.Partition, name: str):
    expected = QUANTITIES[name](sg.enumerate_regions(part.network, part.plane))

    def stop(done: int, total: int) -> None:
        raise StopError

    with pytest.raises(StopError), followed_by(stop):
        QUANTITIES[name](part)
    np.testing.assert_array_equal(QUANTITIES[name](part), expected)  # nobody follows any more


@pytest.mark.parametrize("threads", [1, 2])
def test_an_enumeration_is_followed_and_ended(slices: sg.Slice, threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splinegeo._chunks._SMALLEST_CHUNK", 64)
    monkeypatch.setattr("splinegeo._chunks._LARGEST_CHUNK", 256)
    model = dense()
    told = []
    with followed_by(lambda done, total: told.append((done, total))):
        part = sg.enumerate_regions(model, slices, threads=threads)
    assert told
    assert all(0 < done <= total for done, total in told)

    def stop(done: int, total: int) -> None:
        if len(told) < 3 * before // 2:
            told.append((done, total))
        else:
            raise StopError

    before = len(told)
    with pytest.raises(StopError), followed_by(stop):
        sg.enumerate_regions(model, slices, threads=threads)
    again = sg.enumerate_regions(model, slices, threads=threads)
    assert again.n_regions == part.n_regions
