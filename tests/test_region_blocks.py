"""Blocks from any one on: what was left out and what comes after are together what all of them are."""

from collections import Counter

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, mlp
from partition_files import assert_same_file_content
from piecewise_zoo import Forward, randomised
from torch import nn
from tqdm import tqdm

import splinegeo as sg
from splinegeo import reading, region_blocks
from splinegeo._refinement import Refinement
from splinegeo.region_blocks import Place, RegionBlocks


def blocks(memory: int = 3 << 15, **options: bool) -> RegionBlocks:
    model = mlp((2, 30, 20, 20, 3), bias=True, seed=7)
    return sg.iterate_regions(model, IDENTITY_PLANE, sg.Box(1.0), memory=memory, threads=1, **options)


def with_places(iterator: RegionBlocks) -> list[tuple[sg.Partition, Place]]:
    return [(block, iterator.place) for block in iterator]


@pytest.mark.parametrize("memory", [3 << 15, 1 << 17])
def test_every_block_can_be_the_last_one_left_out(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_places(blocks(memory))
    places = [place for _, place in whole]
    assert max(map(len, places)) > 1, "no block is split again after further stages"
    assert len(set(places)) == len(places) > 5
    calls = Counter[str]()
    advance = Refinement.advance
    monkeypatch.setattr(Refinement, "advance", lambda *a: (calls.update(["advance"]), advance(*a))[1])
    previous = 10**9
    for i in range(0, len(whole), max(1, len(whole) // 8)):
        rest = blocks(memory)
        rest.begin_after(places[i], i + 1)
        calls.clear()
        found = with_places(rest)
        assert calls["advance"] < previous  # what is left out is not computed
        previous = calls["advance"]
        assert len(found) == len(whole) - i - 1
        for (block, place), (expected, expected_place) in zip(found, whole[i + 1 :], strict=True):
            assert place == expected_place
            assert_same_file_content(block, expected)


def test_one_block_left_out_is_all() -> None:
    one = blocks(1 << 30)
    (block,) = one
    assert (block.complete, one.place) == (True, ())
    again = blocks(1 << 30)
    again.begin_after((), 1)
    assert list(again) == []


@pytest.mark.parametrize("place", [((0, 7),), ((10**6, 0),), (), ((0, 0), (0, 0), (0, 0))])
def test_places_that_do_not_exist(place: Place) -> None:
    iterator = blocks(1 << 17)
    right = with_places(blocks(1 << 17))[0][1]
    iterator.begin_after(tuple((part, right[0][1] if n == 0 else n) for part, n in place), 1)
    if place == ():  # the whole, as one block
        assert list(iterator) == []
        return
    with pytest.raises(sg.PartitionFileError, match="another enumeration: choose another folder"):
        list(iterator)


def test_the_bar_says_how_much_of_the_domain_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(tqdm, "set_postfix_str", lambda self, text: said.append(text))
    whole = with_places(blocks(progress=True))
    shares = [float(text.split(", ")[1].split("%")[0]) for text in said]
    assert shares == sorted(shares)
    assert said[-1].endswith("100% of the domain")
    half = len(whole) // 2
    at_half = said[half - 1]
    said.clear()
    rest = blocks(progress=True)
    rest.begin_after(whole[half - 1][1], half)
    next(rest)
    assert at_half.split(", ")[1] in [text.split(", ")[1] for text in said]
    assert said[0].startswith(f"{half} blocks, ")
    assert list(rest)
    assert said[-1].endswith("100% of the domain")


def test_a_source_is_that_of_its_arguments() -> None:
    source = blocks().source
    assert source == blocks().source
    model, other = mlp((2, 30, 20, 20, 3), bias=True, seed=7), mlp((2, 30, 20, 20, 3), bias=True, seed=7)
    with torch.no_grad():
        other[2].bias[3] += 1e-6
    turned = sg.Slice(np.zeros(2), np.array([[0.0, 1.0], [-1.0, 0.0]]))
    others = {
        "network": sg.iterate_regions(other, IDENTITY_PLANE, sg.Box(1.0), memory=3 << 15),
        "slice": sg.iterate_regions(model, turned, sg.Box(1.0), memory=3 << 15),
        "domain": sg.iterate_regions(model, IDENTITY_PLANE, sg.Box(1.0, (1e-9, 0.0)), memory=3 << 15),
        "memory": sg.iterate_regions(model, IDENTITY_PLANE, sg.Box(1.0), memory=3 << 16),
    }
    for name, iterator in others.items():
        assert [key for key in source if source[key] != iterator.source[key]] == [name]


def test_maps_too_large_to_be_held_are_part_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "DENSE_ENTRIES", 0)
    model = randomised(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten()))
    plane = sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 1, 5, 5)))
    source = sg.iterate_regions(model, plane).source
    assert len(source["operators"]) == 6
    assert source == sg.iterate_regions(Forward(lambda m, x: m.same(x), same=model), plane).source
    with torch.no_grad():
        model[2].weight[1, 2, 0, 1] += 1e-5
    changed = sg.iterate_regions(model, plane).source
    assert not np.allclose(changed["operators"], source["operators"], rtol=1e-9, atol=0)
    assert region_blocks.iterate_regions is sg.iterate_regions


@pytest.mark.parametrize(
    ("sizes", "memory"), [((2, 120, 20, 3), 1 << 20), ((2, 200, 3), 1 << 20), ((2, 90, 3), 1 << 14)]
)
def test_a_wide_layer_is_divided_before_all_of_it_has_cut(
    sizes: tuple[int, ...], memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mlp(sizes, bias=True, seed=7)
    whole = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    cut_at_once: list[int] = []
    advance = Refinement.advance

    def counted(self: Refinement, *arguments: object) -> Refinement:
        finer = advance(self, *arguments)  # type: ignore[arg-type]
        if self.index == 0:
            cut_at_once.append(finer.mesh.n_faces)
        return finer

    monkeypatch.setattr(Refinement, "advance", counted)
    found = list(sg.iterate_regions(model, IDENTITY_PLANE, sg.Box(1.0), memory=memory))
    patterns = np.concatenate([block.pattern_keys for block in found])
    assert len(cut_at_once) > 1
    assert max(cut_at_once) <= max(memory / 500, (1 + 16 * 17 // 2))
    assert len(patterns) == whole.n_regions
    np.testing.assert_array_equal(np.unique(patterns, axis=0), np.unique(whole.pattern_keys, axis=0))
    assert sum(block.areas.sum() for block in found) == pytest.approx(4.0, rel=1e-13)
    for block in found[:: max(1, len(found) // 5)]:
        certificate = block.certify(n_samples=200)
        assert certificate.ok, certificate


@pytest.mark.parametrize("memory", [0, -1, np.nan, np.inf, "1 GB", None, True])
def test_a_memory_that_is_no_number_of_bytes(memory: object) -> None:
    with pytest.raises(sg.InvalidArgumentError, match="memory must be a number of bytes"):
        blocks(memory)  # type: ignore[arg-type]


def test_a_memory_may_be_written_with_an_exponent() -> None:
    assert [block.n_regions for block in blocks(1e5)] == [block.n_regions for block in blocks(100_000)]  # type: ignore[arg-type]


@pytest.mark.parametrize("memory", [1, 1.5, 1000])
def test_almost_no_memory_gives_small_blocks_of_all_regions(memory: float) -> None:
    model = mlp((2, 30, 20, 3), bias=True, seed=7)
    whole = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    found = list(sg.iterate_regions(model, IDENTITY_PLANE, sg.Box(1.0), memory=memory))
    patterns = np.concatenate([block.pattern_keys for block in found])
    np.testing.assert_array_equal(np.unique(patterns, axis=0), np.unique(whole.pattern_keys, axis=0))
    assert np.unique(patterns, axis=0).shape == patterns.shape
    assert max(block.n_regions for block in found) < whole.n_regions / 10
    assert sum(block.areas.sum() for block in found) == pytest.approx(4.0, rel=1e-13)
