"""Room for the arrays that compiled loops run along."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

_CACHE_LINE = 64  # bytes
_LARGE_PAGE = 1 << 21


def empty_rows(n_rows: int, length: int) -> Float64[np.ndarray, "n_rows length"]:
    """An array that begins at a cache line: where a vector of eight numbers lies across two, it takes twice as long."""
    return empty_arrays(((n_rows, length), np.float64))[0]


def empty_arrays(*kinds: tuple[Sequence[int], type[np.generic]]) -> list[np.ndarray[Any, Any]]:
    """Arrays of these shapes and types in one piece of memory, which lives as long as any of them; each begins at a
    cache line.
    """
    sizes = [-(-prod(shape) * np.dtype(kind).itemsize // _CACHE_LINE) * _CACHE_LINE for shape, kind in kinds]
    room = _room(sum(sizes))
    begin = 0
    arrays = []
    for (shape, kind), size in zip(kinds, sizes, strict=True):
        arrays.append(room[begin : begin + prod(shape) * np.dtype(kind).itemsize].view(kind).reshape(shape))
        begin += size
    return arrays


def _room(n_bytes: int) -> UInt8[np.ndarray, " n_bytes"]:
    """Memory that begins at a cache line."""
    room = np.empty(n_bytes + _CACHE_LINE, dtype=np.uint8)
    begin = -room.ctypes.data % _CACHE_LINE
    return room[begin : begin + n_bytes]
