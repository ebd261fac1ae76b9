"""Products without the units that are off: the same as with them, for every number of rows and units."""

from fractions import Fraction

import numpy as np
import pytest

from splinegeo._products import _UNITS_PER_BLOCK, multiply_activated, product_tiles
from splinegeo.affine import Affine
from splinegeo.stages import Stage


def stage_of(affine: Affine, slope: float = 0.0) -> Stage:
    return Stage(affine, np.full(affine.n_outputs, slope))


def random_affine(n_inputs: int, n_outputs: int, seed: int = 0) -> Affine:
    generator = np.random.default_rng(seed)
    return Affine(generator.standard_normal((n_outputs, n_inputs)), generator.standard_normal(n_outputs))


@pytest.mark.parametrize("n_rows", [1, 3, 4, 6, 128])
@pytest.mark.parametrize("n_units", [1, 5, _UNITS_PER_BLOCK, 2 * _UNITS_PER_BLOCK + 3])
def test_products_are_those_of_all_units(n_rows: int, n_units: int) -> None:
    following = random_affine(n_units, 21)
    y = np.random.default_rng(1).standard_normal((n_rows, n_units))
    y[:, ::3] = -np.abs(y[:, ::3])  # off in every row
    y[n_rows // 2, ::2] *= -1.0
    out = np.full((n_rows, 21), np.nan)
    sizes, highest = multiply_activated(stage_of(random_affine(2, n_units)), following, y, out)
    np.testing.assert_allclose(out, following(np.maximum(y, 0.0)), rtol=0, atol=1e-13)
    np.testing.assert_array_equal(sizes, np.maximum(y, 0.0).max(axis=0))
    np.testing.assert_array_equal(highest, y.max(axis=0))


def test_products_of_integers_are_exact() -> None:
    generator = np.random.default_rng(2)
    weight, bias = generator.integers(-9, 10, (11, 70)), generator.integers(-9, 10, 11)
    y = generator.integers(-9, 10, (10, 70))
    out = np.empty((10, 11))
    multiply_activated(stage_of(random_affine(2, 70)), Affine(weight.astype(float), bias.astype(float)), y * 1.0, out)
    exact = [
        [sum(Fraction(int(w)) * max(int(z), 0) for w, z in zip(row, rows, strict=True)) + int(b) for row, b in
         zip(weight, bias, strict=True)] for rows in y
    ]  # fmt: skip
    assert [[Fraction(value) for value in row] for row in out] == exact


def test_the_result_may_take_the_place_of_the_values() -> None:
    following = random_affine(40, 40)
    y = np.random.default_rng(3).standard_normal((9, 40))
    expected = following(np.maximum(y, 0.0))
    multiply_activated(stage_of(random_affine(2, 40)), following, y, y)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_a_tile_does_not_depend_on_its_neighbours(slope: float) -> None:
    following = random_affine(60, 30)
    stage = stage_of(random_affine(2, 60), slope)
    y = np.random.default_rng(4).standard_normal((300, 60))
    all_rows, alone = np.empty((300, 30)), np.empty((300, 30))
    for a, b in product_tiles(300):
        sizes, highest = multiply_activated(stage, following, y[a:b], all_rows[a:b])
        np.testing.assert_array_equal(sizes, np.abs(stage.activate(y[a:b])).max(axis=0))
        np.testing.assert_array_equal(highest, y[a:b].max(axis=0))
        multiply_activated(stage, following, y[a:b].copy(), alone[a:b])
    np.testing.assert_array_equal(all_rows, alone)
    np.testing.assert_allclose(all_rows, following(stage.activate(y)), rtol=0, atol=1e-13)


def test_units_that_are_all_off_leave_the_bias() -> None:
    following = random_affine(8, 3)
    out = np.empty((5, 3))
    sizes, highest = multiply_activated(stage_of(random_affine(2, 8)), following, -np.ones((5, 8)), out)
    np.testing.assert_array_equal(out, np.broadcast_to(following.bias, (5, 3)))
    assert not sizes.any()
    np.testing.assert_array_equal(highest, -np.ones(8))
