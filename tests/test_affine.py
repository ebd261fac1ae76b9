"""Affine maps: matrices and operators against explicit products, in values, transposes, norms and batches."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from splinegeo import affine as affine_module
from splinegeo.affine import Affine, AffineMap, TorchAffine
from splinegeo.errors import ShapeError

M, N = 24, 36


def convolution() -> tuple[TorchAffine, np.ndarray, np.ndarray]:
    """An operator (2, 3, 4) -> (3, 3, 4), and its matrix and bias written out entry by entry."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((3, 2, 3, 3), generator=generator, dtype=torch.float64)
    bias = 1e8 * torch.randn(3, generator=generator, dtype=torch.float64)

    def function(h: Tensor) -> Tensor:
        return functional.conv2d(h.reshape(1, 2, 3, 4), weight, bias, padding=1).reshape(-1)

    matrix = np.zeros((3, 3, 4, 2, 3, 4))
    for row, column, down, across in itertools.product(range(3), range(4), range(3), range(3)):
        from_row, from_column = row + down - 1, column + across - 1
        if 0 <= from_row < 3 and 0 <= from_column < 4:
            matrix[:, row, column, :, from_row, from_column] = weight[:, :, down, across].numpy()
    return TorchAffine(function, M, 100), matrix.reshape(N, M), np.repeat(bias.numpy(), 12)


def test_a_matrix() -> None:
    generator = np.random.default_rng(0)
    weight, bias = generator.standard_normal((5, 3)), generator.standard_normal(5)
    affine: AffineMap = Affine(weight, bias)
    assert (affine.n_inputs, affine.n_outputs) == (3, 5)
    h, g = generator.standard_normal((2, 4, 3)), generator.standard_normal((2, 4, 5))
    np.testing.assert_allclose(affine(h), np.einsum("nm,abm->abn", weight, h) + bias, rtol=1e-14)
    np.testing.assert_allclose(affine.linear(h), np.einsum("nm,abm->abn", weight, h), rtol=1e-14)
    np.testing.assert_allclose(affine.transpose(g), np.einsum("nm,abn->abm", weight, g), rtol=1e-14)
    sizes = generator.uniform(0, 3, 3)
    signs = np.where(weight > 0, 1.0, -1.0)  # the inputs of these sizes whose terms all add up
    np.testing.assert_allclose(affine.bounds(sizes), np.diag(affine.linear(signs * sizes)), rtol=1e-14)
    np.testing.assert_allclose(affine.spreads(sizes), np.sqrt(((weight * sizes) ** 2).sum(axis=1)), rtol=1e-14)
    assert affine.columns is not None
    np.testing.assert_array_equal(affine.columns, weight.T)
    assert affine.columns.flags.c_contiguous
    assert affine.columns.dtype == np.float64


def test_a_composition_of_matrices() -> None:
    generator = np.random.default_rng(0)
    inner = Affine(generator.standard_normal((4, 3)), generator.standard_normal(4))
    outer = Affine(generator.standard_normal((2, 4)), generator.standard_normal(2))
    x = generator.standard_normal((10, 3))
    np.testing.assert_allclose(outer.after(inner)(x), outer(inner(x)), rtol=1e-12, atol=1e-13)


def test_an_operator_is_the_matrix_that_it_stands_for() -> None:
    operator, matrix, bias = convolution()
    generator = np.random.default_rng(0)
    h, g = generator.standard_normal((3, 5, M)), generator.standard_normal((3, 5, N))
    assert (operator.n_inputs, operator.n_outputs, operator.columns) == (M, N, None)
    np.testing.assert_array_equal(operator.bias, bias)
    np.testing.assert_allclose(operator(h), h @ matrix.T + bias, rtol=1e-14)
    # The bias is 1e8: a linear part taken as a difference would be right to 1e-8 only.
    np.testing.assert_allclose(operator.linear(h), h @ matrix.T, rtol=0, atol=1e-13)
    np.testing.assert_allclose(operator.transpose(g), g @ matrix, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(operator.dense().weight, matrix)
    np.testing.assert_array_equal(operator.dense().bias, bias)


def test_both_ways_to_a_matrix_are_exact() -> None:
    """Through the columns where there are fewer inputs, through the rows where there are fewer outputs."""
    operator, matrix, _ = convolution()
    rows = TorchAffine(lambda h: operator.function(h)[::3], M, 100)
    assert rows.n_outputs < rows.n_inputs
    np.testing.assert_array_equal(rows.dense().weight, matrix[::3])


def test_batches_of_bounded_size_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, matrix, bias = convolution()
    h, g = np.random.default_rng(0).standard_normal((11, M)), np.random.default_rng(1).standard_normal((11, N))
    monkeypatch.setattr(affine_module, "_BATCH_BYTES", 8 * 100 * 3)
    largest = []
    inner = operator.function
    watched = TorchAffine(lambda v: (largest.append(v), inner(v))[1], M, 100)
    np.testing.assert_allclose(watched(h), h @ matrix.T + bias, rtol=1e-14)
    assert len(largest) == 1 + 4  # the bias, then batches of 3, 3, 3 and 2
    np.testing.assert_allclose(watched.linear(h), h @ matrix.T, atol=1e-13)
    np.testing.assert_allclose(watched.transpose(g), g @ matrix, atol=1e-13)
    np.testing.assert_array_equal(watched.dense().weight, matrix)


def test_bounds_and_spreads_of_an_operator_are_those_of_its_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, matrix, bias = convolution()
    dense = Affine(matrix, bias)
    generator = np.random.default_rng(0)
    sizes = 10.0 ** generator.uniform(-9, 9, (7, M))
    np.testing.assert_allclose(operator.bounds(sizes), dense.bounds(sizes), rtol=1e-14)
    np.testing.assert_allclose(operator.bounds(sizes[0]), dense.bounds(sizes[0]), rtol=1e-14)
    np.testing.assert_allclose(operator.spreads(sizes[0]), dense.spreads(sizes[0]), rtol=1e-14)
    monkeypatch.setattr(affine_module, "_BATCH_BYTES", 8 * 100 * 3)
    np.testing.assert_allclose(operator.bounds(sizes), dense.bounds(sizes), rtol=1e-14)
    with pytest.raises(ShapeError, match=f"vectors of {M} numbers"):
        operator.bounds(sizes[:, 1:])


@pytest.mark.parametrize("shape", [(M + 1,), (3, M - 1), (2, 2, 1)])
def test_vectors_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    operator, _, _ = convolution()
    for apply in (operator, operator.linear):
        with pytest.raises(ShapeError, match=f"vectors of {M} numbers"):
            apply(np.zeros(shape))


def test_arrays_that_torch_may_not_write_to_and_gradient_modes() -> None:
    operator, matrix, bias = convolution()
    one = np.random.default_rng(0).standard_normal(M)
    broadcast = np.broadcast_to(one, (4, M))
    h = np.asfortranarray(np.random.default_rng(1).standard_normal((4, M)))
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            fresh = TorchAffine(operator.function, M, 100)
            np.testing.assert_allclose(fresh(broadcast), broadcast @ matrix.T + bias, rtol=1e-14)
            np.testing.assert_allclose(fresh.linear(h), h @ matrix.T, atol=1e-13)
            np.testing.assert_allclose(fresh.transpose(fresh.linear(h)), h @ matrix.T @ matrix, atol=1e-12)
    assert fresh(np.empty((0, M))).shape == (0, N)
    assert operator(one).shape == (N,)
