"""Activation regions joined to linear regions: maximal connected sets on which the network is one affine map."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from splinegeo.tolerance import TOLERANCE

if TYPE_CHECKING:
    from splinegeo.partition import Partition


@dataclass(frozen=True, eq=False)
class LinearRegions:
    """Linear regions as sets of activation regions: `labels` (R,) gives each activation region's linear region."""

    partition: "Partition"
    labels: Int64[np.ndarray, " R"]
    n_regions: int

    @property
    def areas(self) -> Float64[np.ndarray, " n_regions"]:
        """Area of each linear region."""
        return np.bincount(self.labels, weights=self.partition.areas, minlength=self.n_regions)

    def to_shapely(self) -> np.ndarray:
        """One shapely polygon for each linear region; it need not be convex, and may have holes."""
        import shapely

        order = np.argsort(self.labels, kind="stable")
        polygons = self.partition.to_shapely()[order]
        ends = np.cumsum(np.bincount(self.labels, minlength=self.n_regions))
        return np.array([shapely.coverage_union_all(part) for part in np.split(polygons, ends[:-1])])


def merge_equal_maps(partition: "Partition") -> LinearRegions:
    """Join neighbouring activation regions whose maps on the slice are equal, to `TOLERANCE` of the largest map."""
    maps = partition.slice_maps
    faces = partition.edge_faces[(partition.edge_faces >= 0).all(axis=1)]
    reach = np.append(np.abs(partition.vertices).max(axis=0), 1.0)
    scale = float(np.abs(maps * reach).max(initial=0.0))
    equal = np.empty(len(faces), dtype=bool)
    step = 1 << 16
    for a in range(0, len(faces), step):
        pair = faces[a : a + step]
        difference = np.abs(maps[pair[:, 0]] - maps[pair[:, 1]]) * reach
        equal[a : a + step] = difference.max(axis=(1, 2)) <= TOLERANCE * scale
    joined = faces[equal]
    graph = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(partition.n_regions,) * 2)
    n_regions, labels = connected_components(graph, directed=False)
    return LinearRegions(partition, labels.astype(np.int64), int(n_regions))
