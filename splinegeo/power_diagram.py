"""Centroids and radii of regions: the parameters of the power diagram (Balestriero et al. 2019; GrokAlign, Theorems 4,
12, 13).
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo.region_maps import first_affine, isometry, pull_back

if TYPE_CHECKING:
    from splinegeo.partition import Partition
    from splinegeo.slice import Slice


def region_centroids(
    partition: "Partition", regions: Int64[np.ndarray, " n"] | None = None
) -> Float64[np.ndarray, "n d"]:
    """Centroid μ = Aᵀ1 of each region in input space, flattened."""
    first = first_affine(partition.network)
    n = partition.n_regions if regions is None else len(regions)
    centroids = np.empty((n, partition.network.n_inputs))
    for place, rows, _ in pull_back(partition, np.ones((1, partition.network.n_outputs)), regions):
        centroids[place] = first.transpose(rows[:, 0])
    return centroids


def region_radii(partition: "Partition", regions: Int64[np.ndarray, " n"] | None = None) -> Float64[np.ndarray, " n"]:
    """Radius τ = ‖μ‖² + 2⟨1, B⟩ of each region; ‖μ‖² for a bias-free network."""
    first = first_affine(partition.network)
    reduce = isometry(first)
    radii = np.empty(partition.n_regions if regions is None else len(regions))
    for place, rows, constant in pull_back(partition, np.ones((1, partition.network.n_outputs)), regions):
        reduced = reduce(rows[:, 0])
        offset = rows[:, 0] @ first.bias + constant[:, 0]
        radii[place] = np.einsum("nj,nj->n", reduced, reduced) + 2 * offset
    return radii


def restrict_to_slice(
    centroids: Float64[np.ndarray, "n d"], radii: Float64[np.ndarray, " n"], plane: "Slice"
) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, " n"]]:
    """A power diagram restricted to a slice: μˢ = U (μ − o), τˢ = τ − ‖μ − o‖² + ‖μˢ‖²."""
    centred = centroids - plane.origin
    on_slice = centred @ plane.basis.T
    return on_slice, radii - np.einsum("nd,nd->n", centred, centred) + np.einsum("nd,nd->n", on_slice, on_slice)


def power_distance(
    points: Float64[np.ndarray, "m d"], centroids: Float64[np.ndarray, "n d"], radii: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, "m n"]:
    """Power distance ‖x − μ‖² − τ of each point to each centroid."""
    squared = np.einsum("md,md->m", points, points)[:, None] - 2 * points @ centroids.T
    return squared + np.einsum("nd,nd->n", centroids, centroids) - radii
