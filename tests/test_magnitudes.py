"""Sums of sizes of affine functions: against the matrices of every readable call, entry by entry."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from piecewise_zoo import ZOO, build
from torch import Tensor
from torch.nn import functional

from splinegeo import reading
from splinegeo.affine import TorchAffine
from splinegeo.magnitudes import Power, sums_of_sizes
from splinegeo.network import read_network


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Many small operations: a second thread only waits."""


GENERATOR = torch.Generator().manual_seed(0)
KERNEL = torch.randn((4, 2, 3, 3), generator=GENERATOR, dtype=torch.float64)
WEIGHT = torch.randn((6, 6), generator=GENERATOR, dtype=torch.float64)
BIAS = 1e6 * torch.randn(6, generator=GENERATOR, dtype=torch.float64)
IMAGE = (1, 2, 6, 6)

# Of one call each, on an image of two channels, 6 by 6: the sums are those of the matrix's entries exactly.
CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "difference": lambda x: x[:, :1] - x[:, 1:],
    "difference, reversed": lambda x: torch.rsub(x[:, 0], x[:, 1], alpha=3),
    "multiple of one": lambda x: torch.add(x[:, 0], x[:, 1], alpha=-2) + 1e6,
    "difference from a constant": lambda x: BIAS - x,
    "difference from a number": lambda x: 1e6 - x,
    "negative": lambda x: -x,
    "product with a number": lambda x: -3 * x,
    "product with a constant": lambda x: x * WEIGHT,
    "quotient": lambda x: x / -WEIGHT,
    "matrix products": lambda x: WEIGHT @ x,
    "matrix products, the other way": lambda x: torch.matmul(x, WEIGHT),
    "einsum": lambda x: torch.einsum("nchw,hk->nckw", x, WEIGHT),
    "tensordot": lambda x: torch.tensordot(x, WEIGHT, dims=([-1], [0])),
    "linear": lambda x: functional.linear(x, WEIGHT, BIAS),
    "linear, named": lambda x: functional.linear(x, weight=WEIGHT, bias=BIAS),
    "convolution": lambda x: functional.conv2d(x, KERNEL, BIAS[:4], padding=1),
    "convolution, named": lambda x: functional.conv2d(x, weight=KERNEL, bias=BIAS[:4], stride=2),
    "transposed convolution": lambda x: functional.conv_transpose2d(x, KERNEL[:2], BIAS[:2], stride=2),
    "batch norm": lambda x: functional.batch_norm(x, BIAS[:2], WEIGHT[0, :2] ** 2, WEIGHT[1, :2], BIAS[2:4]),
    "batch norm, the other name": lambda x: torch.batch_norm(
        x, WEIGHT[1, :2], BIAS[2:4], BIAS[:2], WEIGHT[0, :2] ** 2, False, 0.1, 1e-5, False
    ),
    "padding": lambda x: functional.pad(x, (1, 2), value=-1e6),
    "padding by position": lambda x: functional.pad(x, (1, 2), "constant", 7.0),
    "reflection": lambda x: functional.pad(x, (1, 2, 1, 1), mode="reflect"),
    "concatenation": lambda x: torch.cat([x, BIAS.expand(IMAGE)], 1),
    "chunks": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "sum": lambda x: x.sum((1, 2)),
    "running sum": lambda x: x.cumsum(-1),
    "differences of neighbours": lambda x: torch.diff(x, dim=2),
    "differences from a constant": lambda x: torch.diff(x, prepend=BIAS.expand(1, 2, 1, 6).mT),
    "fold": lambda x: functional.fold(x.reshape(1, 8, 9), (4, 4), 2),
    "nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "bicubic": lambda x: functional.interpolate(x, size=(9, 4), mode="bicubic"),
    "bicubic, aligned": lambda x: functional.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=True),
}


def matrix_of(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> np.ndarray:
    """By values on the identity: linear parts, entry by entry."""

    def flat(h: Tensor) -> Tensor:
        return function(h.reshape(shape)).reshape(-1)

    return torch.autograd.functional.jacobian(flat, torch.zeros(int(np.prod(shape)), dtype=torch.float64)).numpy()


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_single_calls(name: str, power: Power) -> None:
    matrix = matrix_of(CALLS[name], IMAGE)
    sizes = 10.0 ** torch.empty(matrix.shape[1], dtype=torch.float64).uniform_(-3, 3, generator=GENERATOR)
    found = sums_of_sizes(lambda h: CALLS[name](h.reshape(IMAGE)).reshape(-1), sizes, power)
    assert (matrix != 0).any()
    # Differences of values about 10^6 are what torch's own batch norm gives the slopes by.
    rtol = 1e-8 if name.startswith("batch norm") else 1e-13
    np.testing.assert_allclose(found, np.abs(matrix) ** power @ sizes.numpy(), rtol=rtol)


@pytest.mark.parametrize("function", [lambda x: functional.avg_pool2d(x, 2), lambda x: x.mean((2, 3))])
def test_averages_are_exact_and_their_squares_bounded(function: Callable[[Tensor], Tensor]) -> None:
    matrix = matrix_of(function, IMAGE)
    sizes = torch.rand(matrix.shape[1], generator=GENERATOR, dtype=torch.float64)
    found = [sums_of_sizes(lambda h: function(h.reshape(IMAGE)).reshape(-1), sizes, power) for power in (1, 2)]
    np.testing.assert_allclose(found[0], np.abs(matrix) @ sizes.numpy(), rtol=1e-14)
    assert (found[1].numpy() >= matrix**2 @ sizes.numpy()).all()


@pytest.mark.parametrize("name", ZOO)
def test_every_readable_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several calls in a row: bounds, and spreads to a factor of 4: copies of a value are not independent."""
    monkeypatch.setattr(reading, "DENSE_ENTRIES", 0)
    network = read_network(*build(name))
    generator = np.random.default_rng(0)
    operators = [stage.affine for stage in network.stages] + [network.output]
    for affine in (affine for affine in operators if isinstance(affine, TorchAffine)):
        weight = affine.dense().weight
        sizes = 10.0 ** generator.uniform(-3, 3, affine.n_inputs)
        least = np.abs(weight) @ sizes
        bounds, spreads = affine.bounds(sizes), affine.spreads(sizes)
        assert (bounds >= least * (1 - 1e-12)).all()
        assert (spreads >= np.sqrt(np.square(weight) @ np.square(sizes)) / 4).all()


def test_indices_and_constants_made_on_the_way_are_what_they_are() -> None:
    index = torch.tensor([2, 0, 1])

    def function(h: Tensor) -> Tensor:
        return h[index] * ((BIAS[:3] - BIAS[3:]).abs() * -1.0) - BIAS[:3]

    sizes = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    expected = (BIAS[:3] - BIAS[3:]).abs() * sizes[index]
    np.testing.assert_allclose(sums_of_sizes(function, sizes), expected, rtol=1e-15)
