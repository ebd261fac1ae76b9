"""Affine maps h -> h Wᵀ + b in float64: dense matrices, and operators that a torch function carries out."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from splinegeo._rows import empty_rows
from splinegeo.errors import ShapeError
from splinegeo.magnitudes import Power, sums_of_sizes

Rows = Float64[np.ndarray, "... m"]
_BATCH_BYTES = 1 << 27
# Of all the numbers of a forward's calls, so many times are held while it is differentiated: measured.
_COPIES = 2
# Rows that are transposed together, so that both sides of the copy stay in the cache.
_STRIP = 16


class AffineMap(Protocol):
    """What a stage asks of an affine map from R^m to R^n; arrays are float64, leading dimensions are a batch."""

    @property
    def n_inputs(self) -> int:
        """Dimension m."""

    @property
    def n_outputs(self) -> int:
        """Dimension n."""

    @property
    def bias(self) -> Float64[np.ndarray, " n"]:
        """The value b at the origin."""

    @property
    def columns(self) -> Float64[np.ndarray, "m n"] | None:
        """The rows of Wᵀ, contiguous: what each input coordinate adds to the outputs. None where W is not held."""

    def __call__(self, h: Rows) -> Rows:
        """The map's values h Wᵀ + b, (..., m) -> (..., n)."""

    def linear(self, h: Rows) -> Rows:
        """Its linear part h Wᵀ, (..., m) -> (..., n)."""

    def transpose(self, g: Rows) -> Rows:
        """The vector-Jacobian product g W, (..., n) -> (..., m)."""

    def bounds(self, sizes: Rows) -> Rows:
        """Bounds of the outputs' sizes |h Wᵀ| for inputs of sizes |h| up to the given ones: (..., m) -> (..., n)."""

    def bytes_of_rows(self, n_rows: int) -> int:
        """What the linear part of so many vectors takes while it is computed, beside the vectors and the results."""

    def spreads(self, noise: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " n"]:
        """Sizes that independent errors of the inputs, of the given sizes, have in the outputs: added as squares."""


@dataclass(frozen=True, eq=False, repr=False)
class Affine:
    """A dense affine map h -> h Wᵀ + b."""

    weight: Float64[np.ndarray, "n m"]
    bias: Float64[np.ndarray, " n"]

    @property
    def n_inputs(self) -> int:
        """Dimension m."""
        return self.weight.shape[1]

    @property
    def n_outputs(self) -> int:
        """Dimension n."""
        return self.weight.shape[0]

    @cached_property
    def columns(self) -> Float64[np.ndarray, "m n"]:
        """The rows of Wᵀ, contiguous."""
        columns = empty_rows(*self.weight.T.shape)
        for begin in range(0, len(self.weight), _STRIP):
            columns[:, begin : begin + _STRIP] = self.weight[begin : begin + _STRIP].T
        return columns

    def __call__(self, h: Rows) -> Rows:
        """h Wᵀ + b."""
        values = h @ self.weight.T
        values += self.bias
        return values

    def linear(self, h: Rows) -> Rows:
        """h Wᵀ, without the bias."""
        return h @ self.weight.T

    def transpose(self, g: Rows) -> Rows:
        """g W, the vector-Jacobian product."""
        return g @ self.weight

    def bounds(self, sizes: Rows) -> Rows:
        """The sums of |W_ji| sizes_i: the least such bounds."""
        return sizes @ np.abs(self.weight).T

    def bytes_of_rows(self, n_rows: int) -> int:
        """0: the product needs nothing else."""
        return 0

    def spreads(self, noise: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " n"]:
        """Root sums of squares of W's entries times the noise."""
        return np.sqrt(np.square(self.weight) @ np.square(noise))

    def after(self, inner: "Affine") -> "Affine":
        """The composition: first `inner`, then this map."""
        return Affine(self.weight @ inner.weight, self.weight @ inner.bias + self.bias)


@dataclass(frozen=True, eq=False, repr=False)
class TorchAffine:
    """An affine map that a torch function of one float64 vector carries out: for matrices too large to hold.

    Args:
        function: (m,) -> (n,), affine; torch.func differentiates and batches it.
        n_inputs: dimension m.
        numbers_per_row: numbers that one evaluation holds at once; it decides how many rows are evaluated together.
        numbers_unfolded: numbers that torch makes of one input of a convolution, a copy for each weight that meets it.
        numbers_of_weights: numbers of the largest weight, which torch brings into another layout.
    """

    function: Callable[[Tensor], Tensor]
    n_inputs: int
    numbers_per_row: int
    numbers_unfolded: int = 0
    numbers_of_weights: int = 0

    @cached_property
    def bias(self) -> Float64[np.ndarray, " n"]:
        """The value b at the origin."""
        with torch.inference_mode(False), torch.no_grad():
            return self.function(self._origin).numpy().copy()

    @property
    def n_outputs(self) -> int:
        """Dimension n."""
        return len(self.bias)

    @property
    def columns(self) -> None:
        """None: the matrix is not held."""
        return

    def __call__(self, h: Rows) -> Rows:
        """The map's values, by the function itself."""
        return self._batched(torch.func.vmap(self.function), h, self.n_inputs, self.n_outputs)

    def linear(self, h: Rows) -> Rows:
        """Its linear part, by the Jacobian-vector product: no bias ever enters, so none has to cancel."""
        _prepare_forward_mode()

        def along(direction: Tensor) -> Tensor:
            return torch.func.jvp(self.function, (self._origin,), (direction,))[1]

        return self._batched(torch.func.vmap(along), h, self.n_inputs, self.n_outputs)

    def transpose(self, g: Rows) -> Rows:
        """g W, the vector-Jacobian product."""
        with torch.inference_mode(False):
            pull_back = torch.func.vjp(self.function, self._origin)[1]
        return self._batched(torch.func.vmap(lambda row: pull_back(row)[0]), g, self.n_outputs, self.n_inputs)

    def bounds(self, sizes: Rows) -> Rows:
        """The sums of |W_ji| sizes_i, see `sums_of_sizes`."""
        return self._sums_of_sizes(sizes, 1)

    def bytes_of_rows(self, n_rows: int) -> int:
        """About: a call's arguments, its result and an unfolded copy for each row and for the origin; and weights."""
        of_row = _COPIES * self.numbers_per_row + self.numbers_unfolded
        return 8 * ((n_rows + 1) * of_row + self.numbers_of_weights)

    def spreads(self, noise: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " n"]:
        """Root sums of squares of W's entries times the noise, see `sums_of_sizes`."""
        return np.sqrt(self._sums_of_sizes(np.square(noise), 2))

    def dense(self) -> Affine:
        """The same map as a matrix, by its values on the identity: exact where each entry is one product."""
        if self.n_outputs < self.n_inputs:
            return Affine(self._rows_of_identity(self.transpose, self.n_outputs, self.n_inputs), self.bias)
        columns = self._rows_of_identity(self.linear, self.n_inputs, self.n_outputs)
        return Affine(np.ascontiguousarray(columns.T), self.bias)

    def _sums_of_sizes(self, sizes: Rows, power: Power) -> Rows:
        def of_row(row: Tensor) -> Tensor:
            return sums_of_sizes(self.function, row, power)

        return self._batched(torch.func.vmap(of_row), sizes, self.n_inputs, self.n_outputs)

    @property
    def _origin(self) -> Tensor:
        return torch.zeros(self.n_inputs, dtype=torch.float64, device="cpu")

    @property
    def _rows_per_batch(self) -> int:
        return max(1, _BATCH_BYTES // (8 * self.numbers_per_row))

    def _rows_of_identity(self, apply: Callable[[Rows], Rows], n: int, width: int) -> Float64[np.ndarray, "n width"]:
        rows = np.empty((n, width))
        for begin in range(0, n, self._rows_per_batch):
            end = min(begin + self._rows_per_batch, n)
            rows[begin:end] = apply(np.eye(end - begin, n, begin))
        return rows

    def _batched(self, apply: Callable[[Tensor], Tensor], rows: Rows, width: int, out_width: int) -> Rows:
        if rows.shape[-1] != width:
            raise ShapeError(
                f"the affine map takes vectors of {width} numbers, but the array has the shape {rows.shape}"
            )
        # torch warns of arrays that it may not write to, such as broadcast ones.
        flat = np.require(rows.reshape(-1, width), np.float64, ["C", "W"])
        results = np.empty((len(flat), out_width))
        with torch.inference_mode(False), torch.no_grad():
            for begin in range(0, len(flat), self._rows_per_batch):
                batch = torch.from_numpy(flat[begin : begin + self._rows_per_batch])
                results[begin : begin + len(batch)] = apply(batch).numpy()
        return results.reshape(*rows.shape[:-1], out_width)


@cache
def _prepare_forward_mode() -> None:
    """The first Jacobian-vector product of a process compiles rules of torch's own, with a warning that is not ours."""
    nothing = torch.zeros(1, dtype=torch.float64, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.func.jvp(torch.neg, (nothing,), (nothing,))
