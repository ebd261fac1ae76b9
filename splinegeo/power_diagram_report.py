"""A check of the power-diagram property on a partition: is every face the power cell of its centroid and radius?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from splinegeo._chunks import even_chunks, run_chunks
from splinegeo._sibling_cells import flip_gains
from splinegeo.face_corners import FacePoints, corners_and_centres
from splinegeo.layer_diagram import LayerDiagram, layer_diagrams
from splinegeo.prefix_maps import StageBlock, face_count
from splinegeo.processors import n_processors
from splinegeo.tolerance import TOLERANCE, partition_tolerances

if TYPE_CHECKING:
    from splinegeo.partition import Partition


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
        checked = f"{self.faces} faces, {self.points} points, {self.comparisons} comparisons"
        found = f"largest violation {largest:.2g} ({self.relative_violation:.2g} of the scale)"
        return f"{name}: {verdict}; {checked}; {found}"


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

    It holds for convex units (ReLU, LeakyReLU with a slope up to 1, Abs, max pooling): GrokAlign, Theorem 12. Layers
    with other units are named in the report. A max pooling in several rounds is one layer; its flips are those of the
    last round. Takes a few times as long as `Partition.slice_maps`.
    """
    return checked_diagrams(partition)[1]


def checked_diagrams(partition: "Partition") -> tuple[tuple[LayerDiagram, ...], PowerDiagramReport]:
    """The power diagrams of all layers, and the report of `verify_power_diagram` on them."""
    flips = [_Flips.of_stage(partition, stage) for stage in range(len(partition.network.stages))]
    diagrams = layer_diagrams(partition, lambda block: flips[block.stage].add(block))
    tolerances = partition_tolerances(partition)
    reports = []
    for diagram in diagrams:
        last = diagram.stages[-1]
        slopes = partition.network.stages[last].slopes
        kinked = slopes != 1
        scale = 2 * float(np.abs(1 - slopes[kinked]) @ tolerances[last][kinked]) / TOLERANCE
        reports.append(_report(diagram, flips[last], scale))
    return diagrams, PowerDiagramReport(tuple(reports))


@dataclass(frozen=True)
class _Flips:
    """What the other piece of one unit of a stage would add, at most, to the sum of its outputs at points of faces."""

    corners: FacePoints
    slopes_below: Float64[np.ndarray, " n"]
    gains: Float64[np.ndarray, " P"]

    @classmethod
    def of_stage(cls, partition: "Partition", stage: int) -> "_Flips":
        corners = corners_and_centres(partition, stage, face_count(partition, stage + 1))
        n = len(corners.points)
        return cls(corners, partition.network.stages[stage].slopes, np.empty(n))

    def add(self, block: StageBlock) -> None:
        """Fill in the points of a block's faces."""
        start = self.corners.start[block.faces.start : block.faces.stop + 1]
        place = slice(int(start[0]), int(start[-1]))
        rows = np.repeat(np.arange(len(start) - 1), np.diff(start))
        points, gains = self.corners.points[place], self.gains[place]
        maps, parents, slopes = block.maps, block.parents, block.slopes
        run_chunks(
            lambda a, b: flip_gains(points, rows, maps, parents, slopes, self.slopes_below, a, b, gains),
            even_chunks(len(rows), 1, n_processors()),
            n_processors(),
        )


def _report(diagram: LayerDiagram, flips: _Flips, scale: float) -> LayerReport:
    if not diagram.applies:
        return LayerReport(diagram.stages, diagram.concave_units, 0, 0, 0, np.nan, np.nan, scale, -1)
    faces, points = flips.corners.faces, flips.corners.points
    own = np.einsum("pk,pk->p", diagram.slice_maps[faces, :2], points) + diagram.slice_maps[faces, 2]
    _, greatest = diagram.nearest_sites(points, diagram.parents[faces])
    by_siblings, by_flips = 2 * np.maximum(greatest - own, 0.0), 2 * np.maximum(flips.gains, 0.0)
    violations = np.maximum(by_siblings, by_flips)
    worst = int(violations.argmax())
    n_siblings = np.diff(diagram.family_start)[diagram.parents[faces]] - 1
    n_flips = int((flips.slopes_below != 1).sum())
    return LayerReport(
        stages=diagram.stages,
        concave_units=0,
        faces=int((np.diff(flips.corners.start) > 0).sum()),
        points=len(points),
        comparisons=int((n_siblings + n_flips).sum()),
        sibling_violation=float(by_siblings.max()),
        flip_violation=float(by_flips.max()),
        scale=scale,
        worst_face=int(faces[worst]) if violations[worst] > 0 else -1,
    )
