"""Piecewise linear layers as rounds of two-piece units: what is cut, what is kept beside it, how both join again.

Each function makes a layer from its example input and torch's arguments, and raises `InvalidNetworkError` for slopes
and bounds that are not finite, or that make no continuous function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from splinegeo.errors import InvalidNetworkError
from splinegeo.max_pooling import Tournament

Bound = float | Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Round:
    """One stage of a layer. `split` takes the values so far to the coordinates cut at 0 and those kept beside them.

    After each cut coordinate y has become slope · y where y <= 0, `join` takes both to the values of the next round.
    """

    slopes: Float64[np.ndarray, " cut"]
    units: Int64[np.ndarray, " cut"]
    """The layer's unit that each cut coordinate belongs to."""
    split: Callable[[Tensor], tuple[Tensor, Tensor]]
    join: Callable[[Tensor, Tensor], Tensor]
    n_kept: int = 0
    """Number of coordinates kept."""
    plain: bool = False
    """The values are cut as they are, and nothing is kept."""


@dataclass(frozen=True, eq=False, repr=False)
class Nonlinearity:
    """A piecewise linear layer on inputs of one shape: the operand, the rounds in turn, and the shape of the result.

    Without rounds the layer is linear: max pooling with windows of one place.
    """

    kind: str
    shape: tuple[int, ...]
    """Shape of the layer's result, a batch of one sample."""
    operand: Callable[..., Tensor]
    """From the arguments of the layer's call to the vector that the first round splits."""
    rounds: tuple[Round, ...]
    tournament: Tournament | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's result by its rounds: equal to torch's own."""
        values = self.operand(*args, **kwargs)
        for step in self.rounds:
            y, kept = step.split(values)
            values = step.join(torch.where(y > 0, y, torch.from_numpy(step.slopes) * y), kept)
        return values.reshape(self.shape)


def flat_operand(input: Tensor, *_: Any, **__: Any) -> Tensor:
    """The operand of a layer that takes its first argument as it is, flattened."""
    return input.reshape(-1)


def _whole(values: Tensor) -> tuple[Tensor, Tensor]:
    return values, values[:0]


def _cut_only(y: Tensor, kept: Tensor) -> Tensor:
    return y


def _two_piece(input: Tensor, slopes: Float64[np.ndarray, " n"], kind: str) -> Nonlinearity:
    if not np.isfinite(slopes).all():
        raise InvalidNetworkError("its slope must be a finite number")
    step = Round(slopes, np.arange(input.numel()), _whole, _cut_only, plain=True)
    return Nonlinearity(kind, tuple(input.shape), flat_operand, (step,))


def relu(input: Tensor, inplace: bool = False) -> Nonlinearity:
    """max(z, 0)."""
    return _two_piece(input, np.zeros(input.numel()), "ReLU")


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Nonlinearity:
    """Slope · z where z <= 0; any slope."""
    return _two_piece(input, np.full(input.numel(), float(negative_slope)), "LeakyReLU")


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Nonlinearity:
    """LeakyReLU with the mean of its slopes, as in evaluation mode."""
    return replace(leaky_relu(input, (float(lower) + float(upper)) / 2), kind="RReLU")


def prelu(input: Tensor, weight: Tensor) -> Nonlinearity:
    """LeakyReLU with a slope for each channel, the second dimension."""
    channels = weight if weight.numel() == 1 else weight.reshape(-1, *[1] * (input.ndim - 2))
    return _two_piece(input, channels.expand(input.shape).reshape(-1).numpy().copy(), "PReLU")


def absolute(input: Tensor) -> Nonlinearity:
    """|z|: slope -1."""
    return _two_piece(input, np.full(input.numel(), -1.0), "Abs")


def clamp(input: Tensor, min: Bound | None = None, max: Bound | None = None) -> Nonlinearity:
    """lo + relu(z - lo) - relu(z - hi), two cuts a unit; with one bound one cut, and piece 1 lies within the bound."""
    low = None if isinstance(min, float | int) and min == -inf else min
    high = None if isinstance(max, float | int) and max == inf else max
    shape = torch.clamp(input, min, max).shape  # type: ignore[arg-type]
    n = prod(shape)

    def operand(input: Tensor, *_: Any, **__: Any) -> Tensor:
        return input.expand(shape).reshape(-1)

    lo = None if low is None else _bound(low, shape)
    hi = None if high is None else _bound(high, shape)
    if lo is not None and hi is not None:
        if bool((lo > hi).any()):
            raise InvalidNetworkError("its lower bound is greater than its upper bound")
        step = Round(
            np.zeros(2 * n),
            np.tile(np.arange(n), 2),
            lambda values: (torch.cat([values - lo, values - hi]), values[:0]),
            lambda y, _: lo + y[:n] - y[n:],
        )
    elif lo is not None:
        step = Round(np.zeros(n), np.arange(n), lambda values: (values - lo, values[:0]), lambda y, _: lo + y)
    elif hi is not None:
        step = Round(np.zeros(n), np.arange(n), lambda values: (hi - values, values[:0]), lambda y, _: hi - y)
    else:
        return Nonlinearity("Clamp", tuple(shape), operand, ())
    return Nonlinearity("Clamp", tuple(shape), operand, (step,))


def _bound(bound: Bound, shape: Sequence[int]) -> Tensor:
    tensor = torch.as_tensor(bound, dtype=torch.float64, device="cpu").expand(tuple(shape)).reshape(-1)
    if not bool(torch.isfinite(tensor).all()):
        raise InvalidNetworkError("its bounds must be finite numbers")
    return tensor


def clamp_min(input: Tensor, min: Bound) -> Nonlinearity:
    """max(z, bound)."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Bound) -> Nonlinearity:
    """min(z, bound)."""
    return clamp(input, max=max)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Nonlinearity:
    """Clamp to [min_val, max_val]: pieces 0, 1, 2 from below."""
    return replace(clamp(input, min_val, max_val), kind="Hardtanh")


def relu6(input: Tensor, inplace: bool = False) -> Nonlinearity:
    """Clamp to [0, 6]."""
    return replace(clamp(input, 0.0, 6.0), kind="ReLU6")


def hardsigmoid(input: Tensor, inplace: bool = False) -> Nonlinearity:
    """Clamp of z/6 + 1/2 to [0, 1]."""
    return replace(
        clamp(input, 0.0, 1.0), kind="Hardsigmoid", operand=lambda input, *_, **__: (input / 6 + 0.5).reshape(-1)
    )


def softshrink(input: Tensor, lambd: float = 0.5) -> Nonlinearity:
    """z shrunk towards 0 by lambd, and 0 within it: pieces 0, 1, 2 from below."""
    n, bound = input.numel(), float(lambd)
    if not 0 <= bound < inf:
        raise InvalidNetworkError("its bound must be a finite number, not negative")
    # relu(z - lambd) + min(z + lambd, 0), with z + lambd kept for the minimum: exactly 0 between the bounds.
    step = Round(
        np.zeros(2 * n),
        np.tile(np.arange(n), 2),
        lambda values: (torch.cat([values - bound, values + bound]), values + bound),
        lambda y, kept: y[:n] + (kept - y[n:]),
        n_kept=n,
    )
    return Nonlinearity("Softshrink", tuple(input.shape), flat_operand, (step,))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Nonlinearity:
    """max(z, threshold), if the value below the threshold is the threshold itself."""
    if threshold != value:
        raise InvalidNetworkError(f"it jumps from {value:g} to {threshold:g}, and is not continuous")
    return replace(clamp_min(input, threshold), kind="Threshold")
