"""What must hold of the regions of any network: certified, equal to torch's forward pass, and the same under changes
that mean nothing.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from degenerate_networks import Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_checks import mesh_problems
from property_networks import Recipe, integer_cases, recipes, with_units
from test_refine_exact import disagreements

import splinegeo as sg

FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=3000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

# A region of less than this share of the domain's area may be narrower than rounding: it has no shape to check.
LEAST_AREA = 1e-20


def check(recipe: Recipe) -> None:
    partition, module = recipe.partition(), recipe.module()
    certificate = partition.certify(500)
    assert certificate.ok, str(certificate)
    if certificate.least_area > LEAST_AREA:
        assert mesh_problems(partition.mesh, partition.domain) == []
    assert len(np.unique(partition.pattern_keys, axis=0)) == partition.n_regions
    assert partition.areas.sum() == pytest.approx(4 * recipe.domain().half_width ** 2, rel=1e-12)
    reach = float(np.linalg.norm(partition.plane.lift(partition.domain), axis=1).max())
    outputs = module(torch.from_numpy(partition.plane.lift(partition.interior_points))).numpy()
    t = np.column_stack([partition.interior_points, np.ones(partition.n_regions)])
    mapped = np.einsum("rck,rk->rc", partition.slice_maps, t)
    np.testing.assert_allclose(mapped, outputs, rtol=0, atol=1e-11 * module.bound(reach))


@FEW
@given(recipes())
def test_regions_are_those_of_the_forward_pass(recipe: Recipe) -> None:
    check(recipe)


# Examples that have failed: their reason, and what made them.
ONCE_WRONG = {
    "an edge as short as rounding, whose line runs anywhere": Recipe(
        seed=76499280, sizes=(5, 9, 2), slope=1.5, residual=True, weight_scale=1e3, half_width=0.1, off_center=True,
        flaws=(("dead layer", 3, 21, 21, 1e-10), ("copy", 2, 26, 4, 1e-7), ("dead layer", 0, 18, 25, 1e-5),
               ("negative multiple", 0, 27, 15, 1e-15), ("turned", 3, 9, 25, 1e-8)),
    ),
    "short edges at a point of many lines": Recipe(
        seed=55248823, sizes=(2, 10, 16, 1), slope=0.5, residual=True, concatenating=True, weight_scale=0.1,
        half_width=1e-4, off_center=True,
        flaws=(("copy", 2, 16, 11, 1e-3), ("dead layer", 1, 8, 25, 1e-3), ("scaled", 3, 6, 3, 1e-7),
               ("turned", 2, 29, 20, 1e-3)),
    ),
    "a dead unit of a large bias": Recipe(
        seed=577, sizes=(2, 19, 4, 1, 1), pencil=True,
        flaws=(("dead", 3, 5, 5, 1e-9), ("turned", 1, 20, 18, 1e-9)),
    ),
    "a face on a unit's positive side, too narrow for a corner to show it": Recipe(
        seed=226, sizes=(3, 7, 2, 1), slope=-1.0, pencil=True, flaws=(("turned", 2, 9, 21, 1e-11),),
    ),
    "a corner far from the line through two neighbours as near as rounding": Recipe(
        seed=888, sizes=(2, 21, 1), off_center=True, flaws=(("turned", 2, 21, 8, 1e-7),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", ONCE_WRONG)
def test_what_was_once_wrong(reason: str) -> None:
    check(ONCE_WRONG[reason])


@pytest.mark.long
@MANY
@given(recipes())
def test_regions_of_many_networks_are_those_of_the_forward_pass(recipe: Recipe) -> None:
    check(recipe)


# --- changes that mean nothing ---

PLAIN = recipes(residual=False, weight_scale=1.0, half_width=1.0)


def check_scaled(recipe: Recipe, layer_exponents: list[int], domain_exponent: int) -> None:
    """Multiplying by powers of two rounds nothing: the same signs, bit for bit, and the same points but for the
    factor. Values of other scales that are carried past a layer change nothing there.
    """
    scaled = replace(recipe, layer_exponents=tuple(layer_exponents), domain_exponent=domain_exponent).partition()
    partition = recipe.partition()
    for name in ("edges", "edge_faces", "edge_labels", "offsets", "corners", "sides"):
        np.testing.assert_array_equal(getattr(scaled.mesh, name), getattr(partition.mesh, name), err_msg=name)
    for one, other in zip((*scaled.parents, *scaled.bits), (*partition.parents, *partition.bits), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(scaled.vertices, 2.0**domain_exponent * partition.vertices)
    np.testing.assert_array_equal(scaled.areas, 4.0**domain_exponent * partition.areas)


def exponents() -> st.SearchStrategy[list[int]]:
    """One for each of five layers at most."""
    return st.lists(st.integers(-40, 40), min_size=5, max_size=5)


@FEW
@given(PLAIN, exponents(), st.integers(-40, 40))
def test_powers_of_two_change_no_bit(recipe: Recipe, layer_exponents: list[int], domain_exponent: int) -> None:
    check_scaled(recipe, layer_exponents, domain_exponent)


def test_regions_beside_carried_values_of_another_scale() -> None:
    """Whose tolerance once swallowed them, and the certificate's with it."""
    recipe = Recipe(seed=0, sizes=(2, 6, 6, 6, 6, 2), concatenating=True, off_center=True, pencil=True)
    check_scaled(recipe, [-12, -21, -33, 21, 34], 21)
    check(replace(recipe, layer_exponents=(-12, -21, -33, 21, 34), domain_exponent=21))


@pytest.mark.long
@MANY
@given(PLAIN, exponents(), st.integers(-40, 40))
def test_powers_of_two_change_no_bit_of_many(recipe: Recipe, layer_exponents: list[int], domain_exponent: int) -> None:
    check_scaled(recipe, layer_exponents, domain_exponent)


def areas_by_pattern(partition: sg.Partition, layer: int, units: np.ndarray) -> dict[bytes, float]:
    """Area of each region by its pattern, of one layer only some units, in this order."""
    patterns = [partition.pattern(r) for r in range(partition.n_regions)]
    for pattern in patterns:
        pattern[layer] = pattern[layer][units]
    keys = [np.concatenate(pattern).tobytes() for pattern in patterns]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, partition.areas.tolist(), strict=True))


@FEW
@given(recipes(flawless=True, residual=False, weight_scale=1.0, half_width=1.0), st.data())
def test_units_may_be_repeated_and_exchanged(recipe: Recipe, data: st.DataObject) -> None:
    """Units that repeat others, or multiples of them, cut nothing; and their order has no meaning."""
    layer = data.draw(st.integers(0, len(recipe.sizes) - 3), label="layer")
    width = recipe.sizes[layer + 1]
    rows = data.draw(st.lists(st.integers(0, width - 1), min_size=1, max_size=6), label="repeated units")
    factors = data.draw(st.lists(st.sampled_from([1.0, 0.25, 3.0, -1.0, -7.0]), min_size=6, max_size=6), label="times")
    seed = data.draw(st.integers(0, 1000), label="order")
    units = np.concatenate([np.arange(width), rows])
    factor = np.concatenate([np.ones(width), factors[: len(rows)]])
    order = np.random.default_rng(seed).permutation(len(units))
    module = recipe.module()
    changed = sg.enumerate_regions(
        with_units(module, layer, units[order], factor[order], order < width),
        recipe.plane(),
        recipe.domain(),
        threads=1,
    )
    original = areas_by_pattern(recipe.partition(), layer, np.arange(width))
    again = areas_by_pattern(changed, layer, np.argsort(order)[:width])
    assert original.keys() == again.keys()
    area = 4 * recipe.domain().half_width ** 2
    np.testing.assert_allclose([again[key] for key in original], list(original.values()), rtol=0, atol=1e-11 * area)


# --- against exact arithmetic ---


@FEW
@given(integer_cases())
def test_small_integer_networks_are_the_exact_oracles(case: Case) -> None:
    assert disagreements(case) == []


@pytest.mark.long
@MANY
@given(integer_cases())
def test_many_small_integer_networks_are_the_exact_oracles(case: Case) -> None:
    assert disagreements(case) == []
