"""Products of a stage's outputs with the next affine map, without the units that are off all over a block of rows.

Rows of neighbouring vertices have almost the same pattern, and a ReLU layer has about half of its units on.
"""

import numpy as np
from jaxtyping import Float64

from splinegeo._kernel import kernel
from splinegeo.affine import Affine
from splinegeo.stages import Stage

_ROWS_PER_PRODUCT = 256
"""Few rows share more units that are off, many need fewer copies of the weights: measured at widths 196 and 512."""


def product_tiles(n_rows: int) -> list[tuple[int, int]]:
    """Ranges of rows to multiply at once: always the same ones, as the rounding of a product depends on its size."""
    return [(a, min(a + _ROWS_PER_PRODUCT, n_rows)) for a in range(0, n_rows, _ROWS_PER_PRODUCT)]


def multiply_activated(
    stage: Stage, affine: Affine, y: Float64[np.ndarray, "v m"], out: Float64[np.ndarray, "v n"]
) -> Float64[np.ndarray, " m"]:
    """Set `out` to affine(h) with h = stage.activate(y), for the rows of one tile; `out` may be `y` itself.

    Returns the largest size of each column of h.
    """
    if stage.slopes.any():
        h = stage.activate(y)
        out[:] = affine(h)
        return np.abs(h).max(axis=0)
    sizes = np.zeros(y.shape[1])
    _largest_outputs(y, sizes)
    on = np.flatnonzero(sizes)
    h = np.empty((len(y), len(on)))
    _relu_columns(y, on, h)
    np.matmul(h, affine.columns[on], out=out)
    out += affine.bias
    return sizes


@kernel
def _largest_outputs(y, sizes):
    for r in range(y.shape[0]):
        for j in range(y.shape[1]):
            sizes[j] = max(sizes[j], y[r, j])


@kernel
def _relu_columns(y, columns, outputs):
    for r in range(y.shape[0]):
        for j in range(columns.shape[0]):
            outputs[r, j] = max(y[r, columns[j]], 0.0)
