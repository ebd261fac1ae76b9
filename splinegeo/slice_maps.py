"""The affine maps of all regions in slice coordinates."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64

from splinegeo import region_maps, restricted_maps
from splinegeo.progress import tell
from splinegeo.restriction import has_operators

if TYPE_CHECKING:
    from splinegeo.partition import Partition


def slice_map_blocks(partition: "Partition") -> Iterator[tuple[slice, Float64[np.ndarray, "m C 3"]]]:
    """Maps of all regions on the slice, f(x(t)) = M[:, :2] t + M[:, 2], block by block with their range."""
    if has_operators(partition.network):
        return restricted_maps.restricted_slice_map_blocks(partition)
    return region_maps.slice_map_blocks(partition)


def slice_maps(partition: "Partition") -> Float[np.ndarray, "R C 3"]:
    """Maps of all regions on the slice, in the partition's type."""
    maps = np.empty((partition.n_regions, partition.network.n_outputs, 3), dtype=partition.dtype)
    for place, block in slice_map_blocks(partition):
        maps[place] = block
        tell(place.stop, partition.n_regions)
    return maps
