"""Norms of the regions' linear operators."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from splinegeo.errors import InvalidArgumentError
from splinegeo.norm_walk import can_walk, walked_norms
from splinegeo.progress import tell
from splinegeo.region_maps import first_affine, isometry, pull_back
from splinegeo.restricted_maps import reduced_operators
from splinegeo.restriction import has_operators

if TYPE_CHECKING:
    from splinegeo.partition import Partition


def operator_norms(partition: "Partition", kind: str = "frobenius", space: str = "input") -> Float64[np.ndarray, " R"]:
    """Frobenius or spectral norm of each region's A ("input"), or of its restriction A Uᵀ to the slice ("slice").

    In input space the input dimension is never touched: with the QR decomposition W₁ᵀ = Q R, A = u W₁ and u Rᵀ have
    equal norms; where W₁ or a later map is not held as a matrix, the base rows of the restriction take the place of W₁.
    """
    if kind not in ("frobenius", "spectral"):
        raise InvalidArgumentError(f"kind must be 'frobenius' or 'spectral', not {kind!r}")
    if space == "slice":
        return _matrix_norms(partition.slice_maps[:, :, :2], kind)
    if space != "input":
        raise InvalidArgumentError(f"space must be 'input' or 'slice', not {space!r}")
    if can_walk(partition):
        return walked_norms(partition, kind)
    norms = np.empty(partition.n_regions)
    if has_operators(partition.network):
        for place, operators in reduced_operators(partition):
            norms[place] = _matrix_norms(operators, kind)
            tell(place.stop, partition.n_regions)
        return norms
    reduce = isometry(first_affine(partition.network))
    for place, rows, _ in pull_back(partition, np.eye(partition.network.n_outputs)):
        reduced = reduce(rows.reshape(-1, rows.shape[-1]))
        norms[place] = _matrix_norms(reduced.reshape(*rows.shape[:2], -1), kind)
        tell(place.stop, partition.n_regions)
    return norms


def _matrix_norms(matrices: Float64[np.ndarray, "n C m"], kind: str) -> Float64[np.ndarray, " n"]:
    if kind == "frobenius":
        return np.sqrt(np.einsum("nij,nij->n", matrices, matrices))
    if matrices.shape[2] < matrices.shape[1]:
        matrices = matrices.transpose(0, 2, 1)
    gram = matrices @ matrices.transpose(0, 2, 1)
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[:, -1], 0.0))
