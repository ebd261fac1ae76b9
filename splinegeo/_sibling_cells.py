"""Compiled: the greatest of a family of affine functions at points, and what flips of single units would add there."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def greatest_siblings(
    points: np.ndarray,
    parents: np.ndarray,
    family_start: np.ndarray,
    functions: np.ndarray,
    begin: int,
    end: int,
    greatest: np.ndarray,
    values: np.ndarray,
) -> None:
    """For points begin..end: which of the functions of its parent's family is greatest there, and its value."""
    for p in range(begin, end):
        x, y = points[p, 0], points[p, 1]
        best, best_value = -1, -np.inf
        for f in range(family_start[parents[p]], family_start[parents[p] + 1]):
            value = functions[f, 0] * x + functions[f, 1] * y + functions[f, 2]
            if value > best_value:
                best, best_value = f, value
        greatest[p], values[p] = best, best_value


@njit(cache=True, nogil=True)
def flip_gains(
    points: np.ndarray,
    rows: np.ndarray,
    maps: np.ndarray,
    map_of_row: np.ndarray,
    slopes: np.ndarray,
    slopes_below: np.ndarray,
    begin: int,
    end: int,
    gains: np.ndarray,
) -> None:
    """For points begin..end, each in the face of its row: the most that the other piece of one unit would add to the
    sum of the stage's outputs.
    """
    n_units = slopes.shape[1]
    for p in range(begin, end):
        x, y = points[p, 0], points[p, 1]
        row = rows[p]
        of_units = maps[map_of_row[row]]
        gain = -np.inf
        for j in range(n_units):
            value = of_units[0, j] * x + of_units[1, j] * y + of_units[2, j]
            # The two pieces have the slopes 1 and slopes_below[j].
            gain = max(gain, (1.0 + slopes_below[j] - 2.0 * slopes[row, j]) * value)
        gains[p] = gain
