"""How large the terms are that an affine torch function adds up: its matrix, entry by entry without signs, on sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

Power = Literal[1, 2]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# torch's names, without the underscores of operators. Readable calls that are not named only move, add up or average.
_NEGATIONS = _names("neg negative")
_SUMS = _names("add radd sub subtract rsub")
_SCALINGS = _names("mul rmul multiply div divide truediv true_divide")
_CONTRACTIONS = _names("matmul rmatmul mm bmm mv dot einsum tensordot")
_LAYERS = _names("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")


def sums_of_sizes(function: Callable[[Tensor], Tensor], sizes: Tensor, power: Power = 1) -> Tensor:
    """The sums of |W_ji| sizes_i of an affine function h -> h Wᵀ + b, (m,) -> (n,); with power 2: of W_ji² sizes_i.

    The function is carried out with weights without signs (squared), sums for differences, and zeros for constants.
    Calls that follow each other give the product of their |W|, which bounds the |W| of all and is what the rounding in
    between depends on; with power 2 as if the values that a call adds up were independent, and those that it averages
    equal.
    """
    with _WithoutSigns(sizes, power):
        return function(sizes)


class _WithoutSigns(TorchFunctionMode):
    """Carries out torch's calls on the sizes given and on what follows from them; all else is constant."""

    def __init__(self, sizes: Tensor, power: Power) -> None:
        super().__init__()
        self._power = power
        self._sizes = {id(sizes): sizes}  # held, so that no other tensor gets the same id

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operands = [value for value in tree_leaves((args, kwargs)) if id(value) in self._sizes]
        if not operands:
            return func(*args, **kwargs)
        result = self._carry_out(func, operands[0], args, kwargs)
        self._sizes |= {id(value): value for value in tree_leaves(result) if isinstance(value, Tensor)}
        return result

    def _carry_out(self, func: Any, operand: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name in _NEGATIONS:
            return operand
        if name == "batch_norm":
            call = partial(_call_with, func, args, kwargs, operand)
            return operand * self._entries(call(torch.ones_like(operand)) - call(torch.zeros_like(operand)))
        if name in ("interpolate", "upsample") and "bicubic" in (*args, *kwargs.values()):
            return self._bicubic(partial(_call_with, func, args, kwargs, operand), operand)
        if name in _LAYERS:
            args, kwargs = _without("bias", 2, args, kwargs)
        elif name == "pad":
            args, kwargs = _without("value", 3, args, kwargs)
        of_matrices = self._matrix if name in _CONTRACTIONS | _LAYERS else self._zeros
        args, kwargs = tree_map(self._weight if name in _SCALINGS else of_matrices, (args, kwargs))
        if name in _SUMS:
            return self._sum(*args, of_first=name == "rsub", **kwargs)
        return (_sums_of_neighbours if name == "diff" else func)(*args, **kwargs)

    def _entries(self, weights: Any) -> Any:
        return abs(weights) ** self._power

    def _weight(self, value: Any) -> Any:
        is_size = not isinstance(value, Tensor | float | int) or id(value) in self._sizes
        return value if is_size else self._entries(value)

    def _matrix(self, value: Any) -> Any:
        return self._weight(value) if isinstance(value, Tensor) else value

    def _zeros(self, value: Any) -> Any:
        is_constant = isinstance(value, Tensor) and value.is_floating_point() and id(value) not in self._sizes
        return torch.zeros_like(value) if is_constant else value

    def _sum(self, input: Any, other: Any, *, alpha: float = 1.0, of_first: bool = False) -> Tensor:
        first, second = (value if isinstance(value, Tensor) else 0.0 for value in (input, other))
        factor = self._entries(alpha)
        return factor * first + second if of_first else first + factor * second

    def _bicubic(self, call: Callable[[Tensor], Tensor], operand: Tensor) -> Tensor:
        """By the products of the weights along either axis."""
        height, width = operand.shape[-2:]
        down = call(torch.eye(height, dtype=operand.dtype, device="cpu")[None, :, :, None])[0, :, :, 0]
        across = call(torch.eye(width, dtype=operand.dtype, device="cpu")[None, :, None, :])[0, :, 0, :]
        return torch.einsum("...hw,hp,wq->...pq", operand, self._entries(down), self._entries(across))


def _call_with(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], operand: Tensor, other: Tensor) -> Tensor:
    """The call with another tensor in the place of its operand."""
    args, kwargs = tree_map(lambda value: other if value is operand else value, (args, kwargs))
    return func(*args, **kwargs)


def _without(name: str, place: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Arguments without an optional one that is a constant to be added."""
    left = {key: value for key, value in kwargs.items() if key != name}
    return (*args[:place], *(None for _ in args[place : place + 1]), *args[place + 1 :]), left


def _sums_of_neighbours(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """torch.diff with sums."""
    values = torch.cat([part for part in (prepend, input, append) if part is not None], dim)
    for _ in range(n):
        length = values.shape[dim] - 1
        values = values.narrow(dim, 1, length) + values.narrow(dim, 0, length)
    return values
