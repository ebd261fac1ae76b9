"""Norms of the regions' linear operators."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from splinegeo import region_maps, restricted_maps
from splinegeo.errors import InvalidArgumentError
from splinegeo.matrix_norms import matrix_norms
from splinegeo.norm_walk import can_walk, walked_norms
from splinegeo.progress import tell
from splinegeo.restriction import has_operators

if TYPE_CHECKING:
    from splinegeo.partition import Partition


def operator_norms(partition: "Partition", kind: str = "frobenius", space: str = "input") -> Float64[np.ndarray, " R"]:
    """Frobenius or spectral norm of each region's A ("input"), or of its restriction A Uᵀ to the slice ("slice").

    In input space the input dimension is never touched: with the QR decomposition W₁ᵀ = Q R, A = u W₁ and u Rᵀ have
    equal norms; where W₁ or a later map is not held as a matrix, the base rows of the restriction take the place of W₁.
    """
    if space == "slice":
        return matrix_norms(partition.slice_maps[:, :, :2], kind)
    if can_walk(partition):
        return walked_norms(partition, kind)
    if has_operators(partition.network):
        operators = restricted_maps.reduced_operators(partition)
    else:
        reduce = region_maps.isometry(region_maps.first_affine(partition.network))
        operators = region_maps.reduced_operators(partition, reduce)
    norms = np.empty(partition.n_regions)
    for place, block in operators:
        norms[place] = matrix_norms(block, kind)
        tell(place.stop, partition.n_regions)
    return norms


def check_norm(kind: str, space: str) -> None:
    """Raise `InvalidArgumentError` for a kind or a space of norms that does not exist."""
    if kind not in ("frobenius", "spectral"):
        raise InvalidArgumentError(f"kind must be 'frobenius' or 'spectral', not {kind!r}")
    if space not in ("input", "slice"):
        raise InvalidArgumentError(f"space must be 'input' or 'slice', not {space!r}")
