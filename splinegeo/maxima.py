"""Layers that take maxima: max pooling, maxima over dimensions and of two tensors, each a tournament."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional

from splinegeo.errors import UnsupportedModuleError
from splinegeo.max_pooling import Tournament, Windows, adaptive_windows, dimension_windows, pooling_windows
from splinegeo.nonlinearities import Nonlinearity, Round, flat_operand


def _greatest(
    windows: Windows, shape: Sequence[int], kind: str, operand: Callable[..., Tensor] = flat_operand, sign: float = 1.0
) -> Nonlinearity:
    """The maximum over each window of the operand's values; with sign -1 the minimum."""
    tournament = Tournament.of_windows(windows)
    candidates = torch.from_numpy(tournament.candidates)
    rounds = [
        _tournament_round(torch.from_numpy(m.first), torch.from_numpy(m.paired), torch.from_numpy(m.second), m.windows)
        for m in tournament.rounds
    ]
    if sign < 0 and rounds:
        final = rounds[-1].join
        rounds[-1] = replace(rounds[-1], join=lambda y, kept: -final(y, kept))

    def of_candidates(*args: Any, **kwargs: Any) -> Tensor:
        values = operand(*args, **kwargs)[candidates]
        return -values if sign < 0 and rounds else values

    return Nonlinearity(kind, tuple(shape), of_candidates, tuple(rounds), tournament)


def _tournament_round(first: Tensor, paired: Tensor, second: Tensor, windows: Int64[np.ndarray, " n"]) -> Round:
    challenged = first[paired]
    # A slot with a bye takes the zero that is appended to the comparisons.
    gain = torch.full((len(first),), len(paired), dtype=torch.int64, device="cpu")
    gain[paired] = torch.arange(len(paired), device="cpu")

    def split(values: Tensor) -> tuple[Tensor, Tensor]:
        return values[second] - values[challenged], values[first]

    def join(y: Tensor, kept: Tensor) -> Tensor:
        return kept + functional.pad(y, (0, 1))[gain]

    return Round(np.zeros(len(paired)), windows, split, join, n_kept=len(first))


def max_pool(
    dims: int,
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Nonlinearity:
    """torch's max pooling over the last 1, 2 or 3 dimensions."""
    _refuse_indices(return_indices)
    stride = stride or kernel_size
    shape = getattr(functional, f"max_pool{dims}d")(input, kernel_size, stride, padding, dilation, ceil_mode).shape
    sizes = [_for_each_axis(value, dims) for value in (kernel_size, stride, padding, dilation)]
    return _greatest(pooling_windows(input.shape, shape, *sizes), shape, f"MaxPool{dims}d")


def adaptive_max_pool(dims: int, input: Tensor, output_size: Any, return_indices: bool = False) -> Nonlinearity:
    """torch's adaptive max pooling over the last 1, 2 or 3 dimensions."""
    _refuse_indices(return_indices)
    shape = getattr(functional, f"adaptive_max_pool{dims}d")(input, output_size).shape
    return _greatest(adaptive_windows(input.shape, shape[-dims:]), shape, f"AdaptiveMaxPool{dims}d")


def amax(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Nonlinearity:
    """The maximum over dimensions."""
    return _over_dimensions(input, dim, keepdim, "Maximum", 1.0)


def amin(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Nonlinearity:
    """The minimum over dimensions."""
    return _over_dimensions(input, dim, keepdim, "Minimum", -1.0)


def maximum(input: Tensor, other: Tensor) -> Nonlinearity:
    """The greater of two tensors, element by element: piece 0 is the first of them, 1 the second."""
    return _of_two(input, other, "Maximum", 1.0)


def minimum(input: Tensor, other: Tensor) -> Nonlinearity:
    """The lesser of two tensors, element by element: piece 0 is the first of them, 1 the second."""
    return _of_two(input, other, "Minimum", -1.0)


def _over_dimensions(input: Tensor, dim: int | Sequence[int], keepdim: bool, kind: str, sign: float) -> Nonlinearity:
    dims = (dim,) if isinstance(dim, int) else tuple(dim) or tuple(range(input.ndim))
    shape = torch.amax(input, dims, keepdim).shape
    return _greatest(dimension_windows(input.shape, dims), shape, kind, sign=sign)


def _of_two(input: Tensor, other: Tensor, kind: str, sign: float) -> Nonlinearity:
    shape = torch.broadcast_shapes(input.shape, other.shape)
    n = prod(shape)

    def operand(input: Tensor, other: Tensor) -> Tensor:
        return torch.cat([input.expand(shape).reshape(-1), other.expand(shape).reshape(-1)])

    return _greatest(np.arange(2 * n).reshape(2, n).T, shape, kind, operand, sign)


def _for_each_axis(value: int | Sequence[int], dims: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


def _refuse_indices(return_indices: bool) -> None:
    if return_indices:
        raise UnsupportedModuleError("it returns the indices of the maxima, which are not piecewise affine")
