"""A certificate's comparison of areas and held slice maps: right ones pass, a single wrong one does not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from degenerate_networks import named_cases, random_case
from networks import IDENTITY_PLANE, linear, mlp, workload
from pooled_network import pooled_case
from test_refine_exact import engine_partition
from torch import nn

import splinegeo as sg
from splinegeo._held_checks import held_figures
from splinegeo.certificate import certify


def holding(partition: sg.Partition, name: str, values: np.ndarray) -> sg.Partition:
    """The same partition, as if it had computed these values."""
    holder = replace(partition)
    vars(holder)[name] = values
    return holder


def pooled() -> sg.Partition:
    return pooled_case()[1]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", [pooled, *(lambda name=name: workload(name).partition for name in ("S", "scalar"))])
def test_what_is_computed_passes(make: Callable[[], sg.Partition], dtype: str) -> None:
    partition = replace(make()).astype(dtype)
    assert held_figures(partition, False).held_maps == 0
    partition.slice_maps  # noqa: B018
    figures = held_figures(partition, False)
    assert (figures.wrong_areas, figures.held_maps, figures.wrong_held_maps) == (0, partition.n_regions, 0)


def test_degenerate_networks_pass() -> None:
    for case in [*named_cases(), *map(random_case, range(40))]:
        partition = engine_partition(case)
        partition.slice_maps  # noqa: B018
        figures = held_figures(partition, False)
        assert (figures.wrong_areas, figures.wrong_held_maps) == (0, 0), str(case)


def test_nearly_equal_units_pass() -> None:
    """Regions narrower than rounding, whose maps are those of their patterns and of no other point."""
    model = mlp((2, 16, 16, 2), bias=True, seed=1).double()
    model[0].weight.data[8:] = model[0].weight.data[:8] * (1 + 1e-11)
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(2.0))
    partition.slice_maps  # noqa: B018
    assert held_figures(partition, False).wrong_held_maps == 0


def test_a_single_wrong_map_is_found() -> None:
    partition = workload("M").partition
    assert partition.n_regions > 20_000  # most regions are not drawn
    maps = partition.slice_maps.copy()
    maps[12_345, 3, 2] += 1e-8 * np.abs(maps).max()
    damaged = holding(partition, "slice_maps", maps)
    figures = held_figures(damaged, False)
    assert figures.wrong_held_maps == 1
    assert figures.regions.tolist() == [12_345]


def test_a_map_that_is_no_number_is_found() -> None:
    partition = workload("B").partition
    maps = partition.slice_maps.copy()
    maps[7, 0, 0] = np.nan
    assert held_figures(holding(partition, "slice_maps", maps), False).regions.tolist() == [7]


def test_maps_without_units() -> None:
    partition = sg.enumerate_regions(nn.Sequential(linear([[1.0, 2.0]], [3.0])), IDENTITY_PLANE, sg.Box(1.0))
    right = partition.slice_maps
    assert held_figures(partition, False).wrong_held_maps == 0
    assert held_figures(holding(partition, "slice_maps", right + 1e-9), False).wrong_held_maps == 1


@pytest.mark.parametrize("wrong", [[3], [0, 500, 1000]])
def test_wrong_areas_are_found(wrong: list[int]) -> None:
    partition = workload("B").partition
    areas = partition.areas.copy()
    areas[wrong] *= 1 + 1e-6
    damaged = holding(partition, "areas", areas)
    assert held_figures(damaged, False).regions.tolist() == wrong
    certificate = certify(damaged, 0)
    assert certificate.problems == (f"{len(wrong)} areas are not those of their regions",)
    assert certificate.suspects == (("areas, slice maps", tuple(wrong)),)
