"""Centroids and radii: the parameters of the power diagram (Balestriero et al. 2019; GrokAlign, Theorems 4, 12, 13), of
the whole network and of every prefix of its stages.

An affine map A x + B of a region has the centroid μ = Aᵀ1 and the radius τ = ‖μ‖² + 2⟨1, B⟩.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from splinegeo.prefix_maps import face_count, pull_back, rows_per_stream
from splinegeo.progress import tell
from splinegeo.region_maps import affine_before, first_affine, isometry, unit_slopes
from splinegeo.restricted_prefixes import PrefixSum, summed_centroids, summed_radii
from splinegeo.restriction import has_operators

if TYPE_CHECKING:
    from splinegeo.partition import Partition
    from splinegeo.slice import Slice

# A stream of summed rows u of the first stage's values y₁, with constants c: 1 · (values) = u · y₁ + c on the faces.
_SummedRows = Iterator[tuple[slice, Float64[np.ndarray, "m units"], Float64[np.ndarray, " m"]]]


def region_centroids(
    partition: "Partition", regions: Int64[np.ndarray, " n"] | None = None
) -> Float64[np.ndarray, "n d"]:
    """Centroid μ = Aᵀ1 of each region in input space, flattened."""
    return preactivation_centroids(partition, len(partition.network.stages), regions)


def region_radii(partition: "Partition", regions: Int64[np.ndarray, " n"] | None = None) -> Float64[np.ndarray, " n"]:
    """Radius τ = ‖μ‖² + 2⟨1, B⟩ of each region; ‖μ‖² for a bias-free network."""
    return preactivation_radii(partition, len(partition.network.stages), regions)


def preactivation_centroids(
    partition: "Partition", stage: int, faces: ArrayLike | None = None
) -> Float64[np.ndarray, "n d"]:
    """Centroids (W A)ᵀ1 of the values that a stage's affine map gives, before its nonlinearity, in input space.

    Args:
        partition: the partition.
        stage: 0..L of L stages; L stands for the network's outputs.
        faces: (n,) faces before the stage (default: all), that is after the stages 0..stage-1: for L the regions.

    Raises `IndexError` for a stage or a face that does not exist.
    """
    chosen = _check_faces(partition, stage, stage, faces)
    if has_operators(partition.network):
        return summed_centroids(partition, PrefixSum.before(partition.restriction, stage), chosen)
    return _centroids(partition, len(chosen), _preactivation_rows(partition, stage, chosen))


def preactivation_radii(
    partition: "Partition", stage: int, faces: ArrayLike | None = None
) -> Float64[np.ndarray, " n"]:
    """Radii ‖μ‖² + 2⟨1, W B + b⟩ of the values before a stage's nonlinearity; see `preactivation_centroids`."""
    chosen = _check_faces(partition, stage, stage, faces)
    if has_operators(partition.network):
        return summed_radii(partition, PrefixSum.before(partition.restriction, stage), chosen)
    return _radii(partition, len(chosen), _preactivation_rows(partition, stage, chosen))


def prefix_centroids(partition: "Partition", stage: int, faces: ArrayLike | None = None) -> Float64[np.ndarray, "n d"]:
    """Centroids μ = (Q W A)ᵀ1 of the map of the stages 0..stage, after the last one's nonlinearity Q, in input space.

    By these and `prefix_radii` the stage's faces divide each face before the stage (DESIGN: the hierarchical power
    diagram), where all its units are convex.

    Args:
        partition: the partition.
        stage: 0..L-1 of L stages.
        faces: (n,) faces after the stage (default: all).

    Raises `IndexError` for a stage or a face that does not exist.
    """
    chosen = _check_faces(partition, stage, stage + 1, faces)
    if has_operators(partition.network):
        return summed_centroids(partition, PrefixSum.after(partition.restriction, stage), chosen)
    return _centroids(partition, len(chosen), _prefix_rows(partition, stage, chosen))


def prefix_radii(partition: "Partition", stage: int, faces: ArrayLike | None = None) -> Float64[np.ndarray, " n"]:
    """Radii τ = ‖μ‖² + 2⟨1, Q (W B + b)⟩ of the map of the stages 0..stage; see `prefix_centroids`."""
    chosen = _check_faces(partition, stage, stage + 1, faces)
    if has_operators(partition.network):
        return summed_radii(partition, PrefixSum.after(partition.restriction, stage), chosen)
    return _radii(partition, len(chosen), _prefix_rows(partition, stage, chosen))


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


def _check_faces(
    partition: "Partition", stage: int, faces_before: int, faces: ArrayLike | None
) -> Int64[np.ndarray, " n"]:
    n_stages = len(partition.network.stages)
    last = n_stages if faces_before == stage else n_stages - 1
    if not 0 <= stage <= last:
        raise IndexError(f"stage {stage} does not exist: choose 0..{last}" if last >= 0 else "the network has no stage")
    n_faces = face_count(partition, faces_before)
    if faces is None:
        return np.arange(n_faces)
    chosen = np.atleast_1d(np.asarray(faces))
    if chosen.dtype == bool:
        chosen = np.nonzero(chosen)[0]
    if chosen.size and (chosen.min() < 0 or chosen.max() >= n_faces):
        raise IndexError(f"faces must lie in 0..{n_faces - 1}, but reach {chosen.min()}..{chosen.max()}")
    return chosen.astype(np.int64)


def _preactivation_rows(partition: "Partition", stage: int, faces: Int64[np.ndarray, " n"]) -> _SummedRows:
    n = affine_before(partition.network, stage).n_outputs
    step = rows_per_stream(partition)
    for a in range(0, len(faces), step):
        chosen = faces[a : a + step]
        rows, constants = pull_back(partition, stage, chosen, np.ones((len(chosen), n)))
        yield slice(a, a + len(chosen)), rows, constants


def _prefix_rows(partition: "Partition", stage: int, faces: Int64[np.ndarray, " n"]) -> _SummedRows:
    step = rows_per_stream(partition)
    for a in range(0, len(faces), step):
        chosen = faces[a : a + step]
        parents = partition.parents[stage][chosen].astype(np.int64)
        rows, constants = pull_back(partition, stage, parents, unit_slopes(partition, stage, chosen))
        yield slice(a, a + len(chosen)), rows, constants


def _centroids(partition: "Partition", n: int, stream: _SummedRows) -> Float64[np.ndarray, "n d"]:
    first = first_affine(partition.network)
    centroids = np.empty((n, partition.network.n_inputs))
    for place, rows, _ in stream:
        centroids[place] = first.transpose(rows)
    return centroids


def _radii(partition: "Partition", n: int, stream: _SummedRows) -> Float64[np.ndarray, " n"]:
    first = first_affine(partition.network)
    reduce = isometry(first)
    radii = np.empty(n)
    for place, rows, constants in stream:
        reduced = reduce(rows)
        radii[place] = np.einsum("nj,nj->n", reduced, reduced) + 2 * (rows @ first.bias + constants)
        tell(place.stop, n)
    return radii
