"""The sum of a stage's values on all its faces, from a network's restriction to the domain: what centroids and radii of
prefixes are made of.

Under the base pattern the sum is one affine function, found by one backward pass; each face adds the kinks on whose
other side it lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo.progress import tell
from splinegeo.region_maps import affine_before
from splinegeo.restricted_maps import combine_kinks

if TYPE_CHECKING:
    from splinegeo.partition import Partition
    from splinegeo.restriction import Restriction


@dataclass(frozen=True, eq=False, repr=False)
class PrefixSum:
    """The sum of the values of a prefix, row · x + constant + kinks · κ with the kinks of its stages."""

    n_stages: int
    """Stages whose kinks it depends on: its faces are those after so many."""
    row: Float64[np.ndarray, " d"]
    constant: float
    kinks: Float64[np.ndarray, " k"]

    @classmethod
    def before(cls, restriction: "Restriction", stage: int) -> "PrefixSum":
        """Of the values that a stage's affine map gives; for the number of stages: of the outputs."""
        n = affine_before(restriction.network, stage).n_outputs
        return cls._pull_back(restriction, stage, np.ones(n), [])

    @classmethod
    def after(cls, restriction: "Restriction", stage: int) -> "PrefixSum":
        """Of the stage's outputs."""
        kinks = 1.0 - restriction.network.stages[stage].slopes[restriction.kinks[stage].units]
        return cls._pull_back(restriction, stage, restriction.slopes(stage), [kinks])

    @classmethod
    def _pull_back(
        cls,
        restriction: "Restriction",
        stage: int,
        row: Float64[np.ndarray, " n"],
        kinks: list[Float64[np.ndarray, " k"]],
    ) -> "PrefixSum":
        """The sum that a row makes of the values before a stage's nonlinearity, and of kinks of the stage."""
        network, n_stages, constant = restriction.network, stage + len(kinks), 0.0
        for index in range(stage, -1, -1):
            affine = affine_before(network, index)
            constant += float(row @ affine.bias)
            row = affine.transpose(row)
            if index:
                units = restriction.kinks[index - 1].units
                kinks.insert(0, row[units] * (1.0 - network.stages[index - 1].slopes[units]))
                row = row * restriction.slopes(index - 1)
        return cls(n_stages, row, constant, np.concatenate([np.empty(0), *kinks]))

    def rows(
        self, partition: "Partition", faces: Int64[np.ndarray, " n"]
    ) -> Iterator[tuple[slice, Float64[np.ndarray, "m d"], Float64[np.ndarray, " m"]]]:
        """The sum on each face as row · x + constant, stream by stream, with the range within `faces`."""
        base, k = partition.base_rows, len(self.kinks)
        top = np.concatenate([np.zeros(3), self.kinks])[None]
        for place, weights in combine_kinks(partition, top, self.n_stages, faces, partition.network.n_inputs):
            of_kinks = weights[:, 0, 3:]
            rows = of_kinks @ base.kinks[:k]
            rows += self.row
            yield place, rows, of_kinks @ base.kink_constants[:k] + self.constant

    def slice_maps(self, partition: "Partition", faces: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
        """The sum on each face as a function on the slice, maps[:, :2] @ t + maps[:, 2]."""
        plane = partition.plane
        on_slice = np.append(plane.basis @ self.row, plane.origin @ self.row + self.constant)
        top = np.concatenate([on_slice, self.kinks])[None]
        maps = np.empty((len(faces), 3))
        for place, weights in combine_kinks(partition, top, self.n_stages, faces):
            maps[place] = weights[:, 0, :3]
        return maps


def summed_centroids(
    partition: "Partition", total: PrefixSum, faces: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, "n d"]:
    """Centroids of a prefix on faces, in input space."""
    centroids = np.empty((len(faces), partition.network.n_inputs))
    for place, rows, _ in total.rows(partition, faces):
        centroids[place] = rows
        _tell_of_all(partition, place, faces)
    return centroids


def summed_radii(partition: "Partition", total: PrefixSum, faces: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Radii ‖row‖² + 2 constant of a prefix on faces."""
    radii = np.empty(len(faces))
    for place, rows, constants in total.rows(partition, faces):
        radii[place] = np.einsum("nd,nd->n", rows, rows) + 2 * constants
        _tell_of_all(partition, place, faces)
    return radii


def _tell_of_all(partition: "Partition", place: slice, faces: Int64[np.ndarray, " n"]) -> None:
    if len(faces) == partition.n_regions:
        tell(place.stop, len(faces))
