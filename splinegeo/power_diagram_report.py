"""A check of the power-diagram property on a partition: is every face the power cell of its centroid and radius?"""

import os
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from splinegeo._chunks import chunk_bounds, run_chunks, running_sum
from splinegeo._sibling_cells import flip_gains, greatest_siblings
from splinegeo.face_corners import FacePoints, corners_and_centres
from splinegeo.layer_diagram import LayerDiagram, layer_diagrams
from splinegeo.prefix_maps import StageBlock, walk_stages
from splinegeo.refine import TOLERANCE

if TYPE_CHECKING:
    from splinegeo.partition import Partition
    from splinegeo.stages import Stage


@dataclass(frozen=True)
class LayerReport:
    """What the check found in one layer. A violation is how much smaller another site's power distance is, squared
    input-space units; relative to `scale`, that of the terms whose differences these distances are.
    """

    stages: range
    concave_units: int
    """Units with a slope above 1; if there are any, the property does not apply and nothing is checked."""
    faces: int
    """Faces whose cell was checked."""
    points: int
    """Points at which they were: the corners of each, which decide for the whole face, and their mean."""
    comparisons: int
    """Distances compared with a face's own: those of its siblings, and of its pattern with any one unit flipped."""
    sibling_violation: float
    flip_violation: float
    scale: float
    worst_face: int
    """The face of the largest violation; -1 if none was found at all."""

    @property
    def applies(self) -> bool:
        """Whether all units are convex."""
        return self.concave_units == 0

    @property
    def relative_violation(self) -> float:
        """The largest violation as a share of `scale`."""
        return max(self.sibling_violation, self.flip_violation) / self.scale if self.scale else 0.0

    @property
    def holds(self) -> bool:
        """Whether no violation exceeds the engine's relative tolerance; True where the property does not apply."""
        return not self.applies or self.relative_violation <= TOLERANCE

    def __str__(self) -> str:
        name = f"stage {self.stages[0]}" if len(self.stages) == 1 else f"stages {self.stages[0]}-{self.stages[-1]}"
        if not self.applies:
            return f"{name}: does not apply, {self.concave_units} units have a slope above 1"
        verdict = "holds" if self.holds else f"is violated, worst in face {self.worst_face}"
        largest = max(self.sibling_violation, self.flip_violation)
        return (
            f"{name}: {verdict}; {self.faces} faces, {self.points} points, {self.comparisons} comparisons, largest violation "
            f"{largest:.2g} ({self.relative_violation:.2g} of the scale)"
        )


@dataclass(frozen=True)
class PowerDiagramReport:
    """The check of all layers."""

    layers: tuple[LayerReport, ...]

    @property
    def holds(self) -> bool:
        """Whether the property holds in every layer that it applies to."""
        return all(layer.holds for layer in self.layers)

    def __str__(self) -> str:
        return "\n".join(str(layer) for layer in self.layers) or "the network has no layer to check"


def verify_power_diagram(partition: "Partition") -> PowerDiagramReport:
    """Check layer by layer that inside each face of the layers before it the layer's patterns are the cells of a power
    diagram: that at every corner of every face its own site is the nearest one in power distance, among those of its
    sibling faces and among those of its pattern with any single unit flipped.

    It holds for convex units (ReLU, LeakyReLU with a slope up to 1, Abs, max pooling): GrokAlign, Theorem 12. Layers with
    other units are named in the report. A max pooling in several rounds is one layer; flips are then of its last round.
    """
    diagrams = layer_diagrams(partition)
    points = [corners_and_centres(partition, diagram.stages[-1], diagram.n_faces) for diagram in diagrams]
    flips = _flips(partition, diagrams, points)
    reports, values_norm = [], _largest_input(partition)
    for diagram, of_faces, (gains, norms) in zip(diagrams, points, flips, strict=True):
        scale, last_scale = reduce(_next_scale, (partition.network.stages[i] for i in diagram.stages), (values_norm, 0.0))[
            0
        ], 0.0
        reports.append(_report(diagram, of_faces, gains, scale))
        values_norm = float(np.sqrt(norms.max(initial=0.0))) + last_scale
    return PowerDiagramReport(tuple(reports))
