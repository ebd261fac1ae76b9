"""Room for rows of numbers that compiled loops run along."""

import numpy as np
from jaxtyping import Float64

_CACHE_LINE = 64  # bytes


def empty_rows(n_rows: int, length: int) -> Float64[np.ndarray, "n_rows length"]:
    """An array that begins at a cache line: where a vector of eight numbers lies across two, it takes twice as long."""
    spare = _CACHE_LINE // 8
    room = np.empty(n_rows * length + spare)
    first = -room.ctypes.data % _CACHE_LINE // 8
    return room[first : first + n_rows * length].reshape(n_rows, length)
