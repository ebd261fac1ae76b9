"""The hierarchical power diagram of a deep network on a slice: each layer's diagrams divide the cells of the layers
before it (Balestriero et al. 2019).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from splinegeo.errors import InvalidArgumentError, InvalidNetworkError
from splinegeo.layer_diagram import LayerDiagram, layer_diagrams
from splinegeo.power_diagram_report import PowerDiagramReport, checked_diagrams
from splinegeo.slice import slice_points

if TYPE_CHECKING:
    from splinegeo.partition import Partition


@dataclass(frozen=True, eq=False)
class HierarchicalDiagram:
    """The diagrams of all layers, the first layer's first; the faces of the last one are the partition's regions."""

    layers: tuple[LayerDiagram, ...]
    domain: Float64[np.ndarray, "k 2"]
    report: PowerDiagramReport | None = None
    """The check of the power-diagram property, if it was asked for."""

    def locate(self, t: ArrayLike) -> Int64[np.ndarray, " n"]:
        """The region of each slice point (n, 2) by power distances alone, -1 outside the domain: in each layer the
        nearest site of the diagram that the nearest site of the layer before leads to.

        Raises `ShapeError`, and `InvalidNetworkError` if a layer has units that are not convex.
        """
        points = slice_points(t)
        for layer in self.layers:
            if not layer.applies:
                raise InvalidNetworkError(
                    f"stage {layer.stages[0]} has {layer.concave_units} units with a slope above 1, "
                    "whose regions are no power cells: use Partition.locate"
                )
        faces = np.zeros(len(points), dtype=np.int64)
        for layer in self.layers:
            faces, _ = layer.nearest_sites(points, faces)
        sides = np.roll(self.domain, -1, axis=0) - self.domain
        from_corners = points[:, None] - self.domain
        inside = (sides[:, 0] * from_corners[..., 1] - sides[:, 1] * from_corners[..., 0] >= 0).all(axis=1)
        return np.where(inside, faces, -1)


def hierarchical_diagram(partition: "Partition", *, verify: bool = False) -> HierarchicalDiagram:
    """The power diagrams of all layers of a partition; with `verify` also the report of `verify_power_diagram`.

    Raises `InvalidArgumentError` for a partition that covers a part of its domain only.
    """
    if not partition.complete:
        raise InvalidArgumentError(
            "the partition is incomplete, so its faces are not all sites: enumerate it without a limit"
        )
    if not verify:
        return HierarchicalDiagram(layer_diagrams(partition), partition.domain)
    layers, report = checked_diagrams(partition)
    return HierarchicalDiagram(layers, partition.domain, report)
