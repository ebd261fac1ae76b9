"""Norms of matrices."""

import numpy as np
from jaxtyping import Float64


def matrix_norms(matrices: Float64[np.ndarray, "n C m"], kind: str) -> Float64[np.ndarray, " n"]:
    """Frobenius or spectral norm of each of n matrices."""
    if kind == "frobenius":
        return np.sqrt(np.einsum("nij,nij->n", matrices, matrices))
    if matrices.shape[2] < matrices.shape[1]:
        matrices = matrices.transpose(0, 2, 1)
    gram = matrices @ matrices.transpose(0, 2, 1)
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[:, -1], 0.0))
