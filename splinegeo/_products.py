"""Products of a stage's outputs with the next affine map, without the units that are off.

Rows of neighbouring vertices have almost the same pattern, and a ReLU layer has about half of its units on: a library's
matrix product would spend half of its time on zeros.
"""

import numpy as np
from jaxtyping import Float64

from splinegeo._kernel import fused_kernel, kernel
from splinegeo.affine import Affine
from splinegeo.stages import Stage

_ROWS_PER_PRODUCT = 128
_UNITS_PER_BLOCK = 48
"""Rows and units whose values and weights stay in a core's cache together: measured at widths 196 and 512."""


def product_tiles(n_rows: int) -> list[tuple[int, int]]:
    """Ranges of rows to multiply at once: always the same ones, as the rounding of a product depends on its size."""
    return [(a, min(a + _ROWS_PER_PRODUCT, n_rows)) for a in range(0, n_rows, _ROWS_PER_PRODUCT)]


def multiply_activated(
    stage: Stage, affine: Affine, y: Float64[np.ndarray, "v m"], out: Float64[np.ndarray, "v n"]
) -> Float64[np.ndarray, "2 m"]:
    """Set `out` to affine(h) with h = stage.activate(y), for the rows of one tile; `out` may be `y` itself.

    Returns the largest size of each column of h, and the highest value of each of y.
    """
    if stage.slopes.any():
        h, highest = stage.activate(y), y.max(axis=0)
        out[:] = affine(h)
        return np.stack([np.abs(h).max(axis=0), highest])
    highest = np.full(y.shape[1], -np.inf)
    _highest_values(y, highest)
    sizes = np.maximum(highest, 0.0)
    on = np.flatnonzero(sizes)
    h = np.empty((len(y), len(on)))
    _relu_columns(y, on, h)
    out[:] = affine.bias
    units, outputs = np.empty(_UNITS_PER_BLOCK + 3, dtype=np.int64), np.empty((_UNITS_PER_BLOCK + 3, 4))
    _add_products(h, on, affine.columns, out, units, outputs)
    return np.stack([sizes, highest])


@kernel
def _highest_values(y, highest):
    for r in range(y.shape[0]):
        for j in range(y.shape[1]):
            highest[j] = max(highest[j], y[r, j])


@kernel
def _relu_columns(y, columns, outputs):
    for r in range(y.shape[0]):
        for j in range(columns.shape[0]):
            outputs[r, j] = max(y[r, columns[j]], 0.0)


@kernel
def _add_products(h, on, columns, out, units, outputs):
    """Add h @ columns[on] to `out`, four rows at a time and without the units that are off in all four.

    `units` and `outputs` are room for those that are on, and their values.
    """
    n, m = h.shape
    whole = n - n % 4
    block = units.shape[0] - 3
    for first in range(0, m, block):
        end = min(first + block, m)
        for r in range(0, whole, 4):
            n_on = 0
            for k in range(first, end):
                if h[r, k] + h[r + 1, k] + h[r + 2, k] + h[r + 3, k] > 0.0:
                    units[n_on] = on[k]
                    for i in range(4):
                        outputs[n_on, i] = h[r + i, k]
                    n_on += 1
            while n_on % 4:  # units that add nothing
                units[n_on] = on[first]
                for i in range(4):
                    outputs[n_on, i] = 0.0
                n_on += 1
            for k in range(0, n_on, 4):
                _add_four_units_to_four_rows(units, outputs, k, columns, out, r)
    for r in range(whole, n):
        for k in range(m):
            for j in range(out.shape[1]):
                out[r, j] += h[r, k] * columns[on[k], j]


# Sixteen products for eight loads and four stores: few enough for the registers, enough to keep them at work.
@fused_kernel
def _add_four_units_to_four_rows(units, outputs, k, columns, out, r):
    w0, w1, w2, w3 = columns[units[k]], columns[units[k + 1]], columns[units[k + 2]], columns[units[k + 3]]
    h0, h1, h2, h3 = outputs[k], outputs[k + 1], outputs[k + 2], outputs[k + 3]
    a0, a1, a2, a3 = h0[0], h1[0], h2[0], h3[0]
    b0, b1, b2, b3 = h0[1], h1[1], h2[1], h3[1]
    c0, c1, c2, c3 = h0[2], h1[2], h2[2], h3[2]
    d0, d1, d2, d3 = h0[3], h1[3], h2[3], h3[3]
    a, b, c, d = out[r], out[r + 1], out[r + 2], out[r + 3]
    for j in range(out.shape[1]):
        v0, v1, v2, v3 = w0[j], w1[j], w2[j], w3[j]
        x, y, z, w = a[j], b[j], c[j], d[j]
        a[j] = x + a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3
        b[j] = y + b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3
        c[j] = z + c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3
        d[j] = w + d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
