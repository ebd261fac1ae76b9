"""Correspondence of two partitions of one slice, against shapely, dictionaries of patterns and the sum of areas."""

import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import shapely
import torch
from degenerate_networks import random_case
from networks import IDENTITY_PLANE, mlp, perturbed, workload
from pooled_network import pooled_case
from property_networks import Recipe
from scipy.sparse import csr_array
from test_refine_exact import engine_partition
from torch import nn

import splinegeo as sg
from splinegeo.correspondence import matching_regions, overlap_areas


def moved(model: nn.Sequential, step: float, seed: int = 0) -> nn.Sequential:
    """The network after a step of training in a random direction, relative to its weights."""
    generator = torch.Generator().manual_seed(seed)
    later = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in later.parameters():
            parameter += step * parameter.std() * torch.randn(parameter.shape, generator=generator)
    return later


def two_checkpoints(name: str, step: float) -> tuple[sg.Partition, sg.Partition]:
    case = workload(name)
    return case.partition, sg.enumerate_regions(moved(case.model, step), case.plane, case.domain)


def brute_force_overlaps(first: sg.Partition, second: sg.Partition) -> np.ndarray:
    mine, theirs = first.to_shapely(), second.to_shapely()
    pairs = shapely.STRtree(theirs).query(mine, predicate="intersects")
    dense = np.zeros((len(mine), len(theirs)))
    dense[tuple(pairs)] = shapely.area(shapely.intersection(mine[pairs[0]], theirs[pairs[1]]))
    return dense


@pytest.mark.parametrize(("name", "step"), [("B", 0.01), ("B", 1.0), ("leaky biased", 0.1), ("S", 0.03)])
def test_overlaps_by_shapely(name: str, step: float) -> None:
    first, second = two_checkpoints(name, step)
    overlaps = overlap_areas(first, second)
    assert isinstance(overlaps, csr_array)
    expected = brute_force_overlaps(first, second)
    np.testing.assert_allclose(overlaps.toarray(), expected, rtol=1e-8, atol=1e-13 * first.areas.sum())
    assert overlaps.nnz < 10 * (first.n_regions + second.n_regions)


@pytest.mark.parametrize("name", ["B", "S", "M", "leaky biased"])
def test_area_is_conserved(name: str) -> None:
    first, second = two_checkpoints(name, 0.05)
    overlaps = overlap_areas(first, second)
    total = first.areas.sum()
    np.testing.assert_allclose(overlaps.sum(axis=1), first.areas, rtol=1e-9, atol=1e-14 * total)
    np.testing.assert_allclose(overlaps.sum(axis=0), second.areas, rtol=1e-9, atol=1e-14 * total)
    assert overlaps.sum() == pytest.approx(total, rel=1e-12)
    assert (overlap_areas(second, first).T - overlaps).max() < 1e-13 * total


@pytest.mark.parametrize("name", ["B", "M", "leaky biased"])
def test_a_partition_and_itself(name: str) -> None:
    partition = workload(name).partition
    overlaps = overlap_areas(partition, partition)
    np.testing.assert_array_equal(overlaps.indices, np.arange(partition.n_regions))
    np.testing.assert_allclose(overlaps.data, partition.areas, rtol=1e-7)
    pairs = matching_regions(partition, partition)
    np.testing.assert_array_equal(pairs, np.tile(np.arange(partition.n_regions)[:, None], 2))


def test_a_refined_partition_overlaps_its_parents() -> None:
    """The network cut off after its first layer: each of its regions is shared by its descendants, entirely."""
    case = workload("B")
    coarse = sg.enumerate_regions(nn.Sequential(*list(case.model)[:2]), case.plane, case.domain)
    overlaps = overlap_areas(case.partition, coarse)
    np.testing.assert_array_equal(np.diff(overlaps.indptr), 1)
    coarse_patterns = {tuple(coarse.pattern(r)[0]): r for r in range(coarse.n_regions)}
    expected = [coarse_patterns[tuple(case.partition.pattern(r)[0])] for r in range(case.partition.n_regions)]
    np.testing.assert_array_equal(overlaps.indices, expected)
    np.testing.assert_allclose(overlaps.data, case.partition.areas, rtol=1e-9)


def test_degenerate_partitions() -> None:
    """Cones, pencils and grids against other seeds of the same domain: area is conserved, nothing is negative."""
    by_domain: dict[tuple, list[sg.Partition]] = {}
    for seed in range(120):
        case = random_case(seed)
        if len(case.origin) == 2 and case.origin == (0, 0) and case.basis[0] == (1, 0):
            by_domain.setdefault(case.domain, []).append(engine_partition(case))
    n = 0
    for partitions in by_domain.values():
        for first, second in pairwise(partitions):
            overlaps = overlap_areas(first, second)
            total = first.areas.sum()
            np.testing.assert_allclose(overlaps.sum(axis=1), first.areas, atol=1e-11 * total)
            np.testing.assert_allclose(overlaps.sum(axis=0), second.areas, atol=1e-11 * total)
            assert overlaps.nnz == 0 or overlaps.data.min() > 0
            expected = brute_force_overlaps(first, second)
            np.testing.assert_allclose(overlaps.toarray(), expected, atol=1e-11 * total)
            n += 1
    assert n > 20


def test_different_domains() -> None:
    model = workload("B").model
    first = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    second = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(0.5, center=(1.0, 0.0)))
    overlaps = overlap_areas(first, second)
    assert overlaps.sum() == pytest.approx(0.5, rel=1e-12)
    inside = first.vertices[first.corners][:, 0] < 0.4
    left = np.logical_and.reduceat(inside, first.offsets[:-1])
    assert overlaps.sum(axis=1)[left].max() == 0
    far = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(0.5, center=(9.0, 9.0)))
    assert overlap_areas(first, far).nnz == overlap_areas(far, first).nnz == 0
    # One network: a region of the smaller domain lies in the region of the same pattern.
    pairs = matching_regions(first, second)
    assert len(pairs) < second.n_regions  # some of its patterns lie outside the first domain
    shared = np.asarray(overlaps.todense())[pairs[:, 0], pairs[:, 1]]
    assert shared.sum() == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(("name", "step"), [("B", 0.01), ("S", 0.02)])
def test_same_patterns(name: str, step: float) -> None:
    first, second = two_checkpoints(name, step)
    pairs = matching_regions(first, second)
    theirs = {np.concatenate(second.pattern(r)).tobytes(): r for r in range(second.n_regions)}
    mine = [np.concatenate(first.pattern(r)).tobytes() for r in range(first.n_regions)]
    expected = [(r, theirs[pattern]) for r, pattern in enumerate(mine) if pattern in theirs]
    assert [tuple(pair) for pair in pairs.tolist()] == expected
    assert 0 < len(expected) < first.n_regions


def test_layers_of_several_stages() -> None:
    model, first = pooled_case()
    second = sg.enumerate_regions(moved(model, 0.02), first.plane, first.domain)
    pairs = matching_regions(first, second)
    theirs = {np.concatenate(second.pattern(r)).tobytes() for r in range(second.n_regions)}
    assert len(pairs) == sum(np.concatenate(first.pattern(r)).tobytes() in theirs for r in range(first.n_regions))
    overlaps = overlap_areas(first, second)
    np.testing.assert_allclose(overlaps.sum(axis=0), second.areas, rtol=1e-9, atol=1e-13)


def test_incomplete_partitions() -> None:
    case = workload("B")
    part = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=100)
    overlaps = overlap_areas(part, case.partition)
    np.testing.assert_allclose(overlaps.sum(axis=1), part.areas, rtol=1e-9)
    assert len(matching_regions(part, case.partition)) == part.n_regions


def test_bad_input() -> None:
    first = workload("B").partition
    other = sg.enumerate_regions(mlp((2, 32, 32, 2)), IDENTITY_PLANE, sg.Box(1.0))
    with pytest.raises(sg.ShapeError, match="compare checkpoints of one architecture"):
        matching_regions(first, other)
    assert overlap_areas(first, other).sum() == pytest.approx(4.0, rel=1e-12)
    with pytest.raises(sg.ShapeError, match=r"R\^2 and R\^784"):
        overlap_areas(first, workload("S").partition)
    for plane in (sg.Slice([0.0, 1e-6], np.eye(2)), sg.Slice(np.zeros(2), [[0.6, 0.8], [-0.8, 0.6]])):
        elsewhere = sg.enumerate_regions(perturbed(mlp((2, 8, 2)), scale=1.0, rank=1, seed=0), plane, sg.Box(1.0))
        with pytest.raises(sg.ShapeError, match="different slices"):
            overlap_areas(first, elsewhere)


@pytest.mark.parametrize("compare", [matching_regions, overlap_areas])
def test_what_is_no_partition(compare: Callable[[object, object], object]) -> None:
    first = workload("B").partition
    with pytest.raises(sg.InvalidArgumentError, match=r"^second is a int: give a Partition; enumerate_regions"):
        compare(first, 3)
    with pytest.raises(sg.InvalidArgumentError, match=r"^first is a NoneType: give a Partition"):
        compare(None, first)


# Pairs of partitions with faces narrower than rounding, whose shared areas were once wrong.
NARROW_FACES = (
    (
        Recipe(seed=1458503401, sizes=(2, 10, 1), slope=1.5, off_center=True, pencil=True,
               flaws=(("copy", 1, 3, 13, 1e-4),)),
        Recipe(seed=597471125, sizes=(2, 13, 4, 2, 1), slope=-1.0, off_center=True,
               flaws=(("turned", 3, 9, 0, 1e-7), ("copy", 0, 13, 7, 1e-14))),
    ),
    (
        Recipe(seed=4161095139, sizes=(2, 3, 1), bias=0.3, slope=0.1, off_center=True,
               flaws=(("copy", 0, 14, 12, 1e-10), ("turned", 0, 8, 5, 1e-6), ("scaled", 0, 3, 8, 1e-11))),
        Recipe(seed=855399041, sizes=(2, 5, 1), slope=0.1, off_center=True,
               flaws=(("scaled", 3, 11, 13, 1e-14), ("turned", 3, 1, 10, 1e-9), ("turned", 2, 13, 12, 1e-13))),
    ),
)  # fmt: skip


@pytest.mark.parametrize("pair", NARROW_FACES)
def test_sides_as_short_as_rounding_clip_nothing_away(pair: tuple[Recipe, Recipe]) -> None:
    first, second = (recipe.partition() for recipe in pair)
    areas = overlap_areas(first, second)
    total = first.areas.sum()
    np.testing.assert_allclose(areas.sum(axis=1), first.areas, rtol=0, atol=1e-13 * total)
    np.testing.assert_allclose(areas.sum(axis=0), second.areas, rtol=0, atol=1e-13 * total)
