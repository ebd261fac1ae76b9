"""Statistics of regions: area, corners, neighbours, in-radius, and counts by layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64
from numpy.typing import ArrayLike

from splinegeo._chunks import chunk_bounds, run_chunks, running_sum
from splinegeo._polygon_measures import count_turns, inscribed_radii
from splinegeo.errors import InvalidArgumentError
from splinegeo.processors import n_processors
from splinegeo.selection import corner_places

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# A vertex within this share of the domain's diameter of the line through its neighbours is no corner: the rounding of
# its coordinates.
_STRAIGHT = 2.0**-46


class Spread(NamedTuple):
    """Least, median, mean and greatest value of a quantity."""

    least: float
    median: float
    mean: float
    greatest: float


@dataclass(frozen=True, eq=False)
class RegionStatistics:
    """Measures of n regions on a slice, one entry a region, and counts by layer, one entry a piecewise linear layer."""

    regions: Int64[np.ndarray, " n"]
    areas: Float64[np.ndarray, " n"]
    """In squared input-space units."""
    n_corners: Int64[np.ndarray, " n"]
    """Corners of each polygon: vertices at which its border turns."""
    n_neighbours: Int64[np.ndarray, " n"]
    """Edges with another region on their other side."""
    in_radii: Float64[np.ndarray, " n"]
    """Radius of the largest circle inside each region."""
    regions_by_layer: Int64[np.ndarray, " layers"]
    """Regions of the network cut off after each layer that these regions lie in; the last number is n."""
    edges_by_layer: Int64[np.ndarray, " layers"]
    """Edges of these regions on zero sets of each layer's units; an edge between two of them counts once."""

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def total_area(self) -> float:
        """Area of all the regions together."""
        return float(self.areas.sum())

    def spread(self, quantity: str) -> Spread:
        """Summary of "areas", "n_corners", "n_neighbours" or "in_radii"; NaN without regions.

        Raises `InvalidArgumentError` for any other name.
        """
        if quantity not in _QUANTITIES:
            raise InvalidArgumentError(f"quantity must be one of {', '.join(_QUANTITIES)}, not {quantity!r}")
        values = getattr(self, quantity)
        if not len(values):
            return Spread(*[float("nan")] * 4)
        return Spread(*(float(measure(values)) for measure in (np.min, np.median, np.mean, np.max)))

    def __str__(self) -> str:
        lines = [f"{len(self)} regions of total area {self.total_area:.6g}"]
        lines.append(f"{'':17}{'least':>11}{'median':>11}{'mean':>11}{'greatest':>11}")
        for quantity, title in _QUANTITIES.items():
            lines.append(f"{title:17}" + "".join(f"{value:>11.4g}" for value in self.spread(quantity)))
        for title, counts in (("regions", self.regions_by_layer), ("edges", self.edges_by_layer)):
            lines.append(f"{title + ' by layer':17}" + "".join(f"{count:>11}" for count in counts))
        return "\n".join(lines)


_QUANTITIES = {"areas": "area", "n_corners": "corners", "n_neighbours": "neighbours", "in_radii": "in-radius"}


def region_statistics(partition: "Partition", regions: ArrayLike | None = None) -> RegionStatistics:
    """Statistics of some regions (ids or a mask; default: all). Raises `IndexError` for regions that do not exist."""
    chosen = partition._check_regions(regions)
    if chosen is None:
        chosen = np.arange(partition.n_regions)
    mesh = partition.mesh
    n_corners = np.empty(len(chosen), dtype=np.int64)
    straight = _STRAIGHT * float(np.ptp(partition.domain, axis=0).max())
    lines = _labels_of_lines(partition)
    count_turns(mesh.vertices, mesh.offsets, mesh.corners, mesh.sides, lines, chosen, straight, n_corners)
    edges = np.unique(mesh.sides[corner_places(mesh.offsets, chosen)] >> 1)
    layers = mesh.edge_labels[edges, 0]
    last_stages = {stage.layer: index for index, stage in enumerate(partition.network.stages)}
    of_layers = [partition.ancestors[stage][chosen] for stage in last_stages.values()]
    return RegionStatistics(
        regions=chosen,
        areas=partition.areas[chosen],
        n_corners=n_corners,
        n_neighbours=_count_neighbours(partition)[chosen],
        in_radii=in_radii(partition, chosen),
        regions_by_layer=np.array([len(np.unique(faces)) for faces in of_layers], dtype=np.int64),
        edges_by_layer=np.bincount(layers[layers >= 0], minlength=len(last_stages)),
    )


def in_radii(partition: "Partition", regions: ArrayLike | None = None) -> Float64[np.ndarray, " n"]:
    """Radius of the largest circle inside each region (default: all), in input-space units."""
    chosen = partition._check_regions(regions)
    if chosen is None:
        chosen = np.arange(partition.n_regions)
    mesh = partition.mesh
    radii = np.empty(len(chosen))
    threads = n_processors()
    run_chunks(
        lambda a, b: inscribed_radii(mesh.vertices, mesh.offsets, mesh.corners, chosen, a, b, radii),
        chunk_bounds(running_sum(np.diff(mesh.offsets)[chosen]), threads),
        threads,
    )
    return radii


def _labels_of_lines(partition: "Partition") -> Int32[np.ndarray, "E 2"]:
    """The edges' labels where edges of one face with one label lie on one line, else -1: a maximum's border may bend,
    where another of its candidates takes over.
    """
    layers = partition.network.layers
    bends = np.array([layer.tournament is not None for layer in layers] + [False])  # the last is that of label -1
    if not bends.any():
        return partition.edge_labels
    return np.where(bends[partition.edge_labels[:, :1]], np.int32(-1), partition.edge_labels)


def _count_neighbours(partition: "Partition") -> Int64[np.ndarray, " R"]:
    faces = partition.edge_faces[(partition.edge_faces >= 0).all(axis=1)]
    return np.bincount(faces.ravel(), minlength=partition.n_regions)
