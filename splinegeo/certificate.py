"""A certificate of a partition: what must hold of the linear regions of a network on a slice, checked, with figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from splinegeo._bit_checks import bit_figures
from splinegeo._border_checks import border_figures
from splinegeo._convexity_checks import convexity_figures
from splinegeo._corner_checks import corner_figures
from splinegeo._held_checks import held_figures
from splinegeo._map_checks import map_figures
from splinegeo._mesh_checks import mesh_figures
from splinegeo._pattern_checks import (
    Rounding,
    interior_figures,
    neighbour_figures,
    repeated_patterns,
    sample_figures,
    samples_by_default,
)
from splinegeo._side_checks import side_figures
from splinegeo._vertex_checks import vertex_figures
from splinegeo.errors import InvalidArgumentError

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# The sum of the areas is exact to the rounding of a sum.
_AREA = 2.0**-40
# Regions that a report names for each check that they fail.
_NAMED = 8


@dataclass(frozen=True)
class Certificate:
    """What `certify` has found. `ok` says whether everything holds; the figures say how well. Printed, it is a report.

    What differs only where a unit vanishes to rounding, or within rounding of a region's border, counts as a rounding
    and not as a mismatch: there float64 cannot tell.
    """

    n_regions: int
    complete: bool
    area_error: float
    """Difference of the areas' sum from the domain's area (incomplete: from the area inside the outer edges), in shares
    of the domain's area."""
    area_rounding: float
    """What rounding of the coordinates along the domain's border may make of it."""
    least_area: float
    """Area of the smallest region, in shares of the domain's; negative if it is clockwise."""
    largest_dent: float
    """How far a corner would have to move for the deepest one not to dent its region, in shares of the domain's
    diameter: 0 if all are convex. Dents that are roundings do not count."""
    dent_roundings: int
    """Corners that dent their regions by more than `position`, but within rounding: all units that bound the dent
    vanish at the corner, and the chord over it lies in the region."""
    position: float
    """The distance to which a point is known, that at which crossings share a vertex, in shares of the diameter."""
    euler_characteristic: int
    """Vertices - edges + regions."""
    expected_characteristic: int
    """1; incomplete: connected parts less holes."""
    misplaced_edges: int
    """Edges whose label contradicts their place: cracks, or inner edges without a unit."""
    wrong_sides: int
    """Sides of edges that are not once a side, in their direction, of the region that the edge names there."""
    duplicate_patterns: int
    """Regions less different patterns."""
    idle_bits: int
    """Regions with a bit that is 1 though no unit's piece depends on it: `pattern_keys` of equal patterns would
    differ."""
    inner_edges: int
    merged_edges: int
    """Of the inner edges: those across which more than their own unit changes, all of which vanish there."""
    wrong_edges: int
    """Of the inner edges: those across which their own unit does not change, or one does that does not vanish there."""
    interior_mismatches: int
    """Regions at whose interior point the network's forward pass has another pattern."""
    interior_roundings: int
    """The same, but within rounding."""
    largest_mismatch: float
    """Area of the largest mismatching region, in shares of the area."""
    vertices: int
    """Vertices at which the forward pass was compared with the patterns of all regions about them."""
    vertex_mismatches: int
    """Regions whose pattern the forward pass at one of their corners excludes, beyond rounding: as they are convex, a
    region without has its pattern throughout."""
    vertex_roundings: int
    """The same, but narrower than `position`, so that their corners may lie anywhere about them."""
    displaced_edges: int
    """Edges along which an incomplete partition ends, and at whose ends the unit that they name does not vanish."""
    samples: int
    """Random points of the domain, drawn with the seed."""
    sample_misses: int
    """Of the samples: those that a region of another pattern than the forward pass's holds, or none."""
    sample_roundings: int
    """The same, but within rounding."""
    samples_uncovered: int
    """Of the samples: those in the part that an incomplete partition leaves out."""
    compared_maps: int
    """Regions, drawn with the seed, whose affine maps were compared with torch's Jacobian at an interior point."""
    map_error: float
    """Largest difference of A, or of its restriction to the slice, from the Jacobian: in shares of the sizes (Frobenius
    norms) of the products that it is the sum of, as are the next three."""
    offset_error: float
    """Largest difference of B, or of the values at the interior points."""
    centroid_error: float
    """Largest difference of a centroid."""
    radius_error: float
    """Largest difference of a radius."""
    norm_error: float
    """Largest difference of the square of an operator norm, in shares of the squared size."""
    map_rounding: float
    """What rounding may make of these errors; more for a partition that holds float32."""
    map_roundings: int
    """Regions with another Jacobian than torch's only as some units vanish to rounding: they count for what their
    pattern says of them."""
    output_error: float
    """Of those that are right so far: largest difference of the slice maps' values at the interior points from the
    forward pass's, in shares of the largest output; 0 where it is below 2⁻²⁰, or what rounding of the inputs may make
    of them."""
    wrong_areas: int
    """Regions whose area is not that of their polygon."""
    held_maps: int
    """Regions whose slice map was compared with the forward pass at all their corners: all, if the partition has been
    asked for slice maps."""
    wrong_held_maps: int
    """Of these: those with other values, that are not those of their pattern either."""
    compared_corners: int
    """Regions whose corners were counted again: all, but for the most degenerate of meshes."""
    wrong_corners: int
    """Of these: those with another number of corners than their polygon without those on the line through their
    neighbours."""
    suspects: tuple[tuple[str, tuple[int, ...]], ...]
    """The regions that did not pass, by the check's name in the report; the checks that all regions passed are left
    out. For edges the regions beside the wrong ones, for interior points the largest first."""

    @property
    def ok(self) -> bool:
        """Whether everything holds. A mismatch is allowed to regions without area to rounding only."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not hold, a short line each."""
        findings = (
            (
                not self.area_error <= _AREA + self.area_rounding,
                f"the areas miss the domain's by {self.area_error:.2g} of it",
            ),
            (
                not self.least_area >= -self.position,
                f"a region is clockwise, its area {self.least_area:.2g} of the domain's",
            ),
            (
                not self.largest_dent <= self.position,
                f"a region is not convex by {self.largest_dent:.2g} of the diameter",
            ),
            (
                self.euler_characteristic != self.expected_characteristic,
                f"Euler's characteristic is {self.euler_characteristic}, not {self.expected_characteristic}",
            ),
            (self.misplaced_edges > 0, f"{self.misplaced_edges} edges have a label that contradicts their place"),
            (self.wrong_sides > 0, f"{self.wrong_sides} sides of edges are not those of the regions beside them"),
            (self.duplicate_patterns > 0, f"{self.duplicate_patterns} regions repeat a pattern"),
            (self.idle_bits > 0, f"{self.idle_bits} regions have bits on which no unit's piece depends"),
            (
                self.wrong_edges > 0,
                f"{self.wrong_edges} edges separate patterns that differ otherwise than by their unit",
            ),
            (
                not self.largest_mismatch <= self.position,
                f"{self.interior_mismatches} regions have another pattern than the forward pass",
            ),
            (
                self.vertex_mismatches > 0,
                f"{self.vertex_mismatches} regions have another pattern than the forward pass at a corner",
            ),
            (
                self.displaced_edges > 0,
                f"{self.displaced_edges} edges along which the regions end leave the zero set of their unit",
            ),
            (
                self.sample_misses > 0,
                f"{self.sample_misses} of {self.samples} samples lie in a region of another pattern",
            ),
            *(
                (
                    not error <= self.map_rounding,
                    f"{quantity} are not those of torch's Jacobian: {error:.2g}",
                )
                for quantity, error in (
                    ("maps", self.map_error),
                    ("offsets", self.offset_error),
                    ("centroids", self.centroid_error),
                    ("radii", self.radius_error),
                    ("squared norms", self.norm_error),
                )
            ),
            (
                not self.output_error <= 0,
                f"maps miss the forward pass by {self.output_error:.2g} of the largest output, as larger terms cancel",
            ),
            (self.wrong_areas > 0, f"{self.wrong_areas} areas are not those of their regions"),
            (self.wrong_held_maps > 0, f"{self.wrong_held_maps} slice maps are not the network's at the corners"),
            (
                self.wrong_corners > 0,
                f"{self.wrong_corners} of {self.compared_corners} regions have another number of corners",
            ),
        )
        return tuple(text for wrong, text in findings if wrong)

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "NOT OK: " + "; ".join(self.problems)
        regions = f"{self.n_regions} regions" + ("" if self.complete else " of a part of the domain")
        expected = self.expected_characteristic
        lines = (
            ("area error", f"{self.area_error:.1e} of the domain; smallest region {self.least_area:.1e}"),
            ("convexity", f"largest dent {self.largest_dent:.1e} of the diameter, {self.dent_roundings} within "
                          "rounding"),
            ("Euler characteristic", f"{self.euler_characteristic}, expected {expected}"),
            ("edges", f"{self.inner_edges} inner, {self.merged_edges} of merged units, {self.wrong_edges} wrong, "
                      f"{self.misplaced_edges} misplaced; {self.wrong_sides} wrong sides, "
                      f"{self.displaced_edges} displaced"),
            ("patterns", f"{self.duplicate_patterns} repeated, {self.idle_bits} with idle bits"),
            ("interior points", f"{self.interior_mismatches} mismatches, {self.interior_roundings} within rounding"),
            ("vertices", f"{self.vertex_mismatches} regions mismatch at some of {self.vertices} vertices, "
                         f"{self.vertex_roundings} within rounding"),
            ("samples", f"{self.sample_misses} misses of {self.samples}, {self.sample_roundings} within rounding, "
                        f"{self.samples_uncovered} uncovered"),
            ("affine maps", f"of {self.compared_maps} regions: A {self.map_error:.0e}, B {self.offset_error:.0e}, "
                            f"centroid {self.centroid_error:.0e}, radius {self.radius_error:.0e}, "
                            f"norm² {self.norm_error:.0e}; {self.map_roundings} within rounding"),
            ("outputs", f"missed by {self.output_error:.0e} of the largest"),
            ("areas, slice maps", f"{self.wrong_areas} wrong areas; {self.wrong_held_maps} wrong of {self.held_maps} "
                                  "slice maps held"),
            ("corners", f"{self.wrong_corners} wrong of {self.compared_corners} regions"),
        )  # fmt: skip
        where = [] if self.ok else [(f"see {check}", _named(found)) for check, found in self.suspects]
        return "\n".join(
            [f"Certificate of {regions}: {verdict}", *(f"  {name:22}{text}" for name, text in (*lines, *where))]
        )


def _named(regions: tuple[int, ...]) -> str:
    """Some of the regions, for a report."""
    text = ("region " if len(regions) == 1 else "regions ") + ", ".join(map(str, regions[:_NAMED]))
    return text if len(regions) <= _NAMED else f"{text}, ... ({len(regions)} in all)"


def certify(
    partition: "Partition", n_samples: int | None = None, seed: int = 0, *, progress: bool = False
) -> Certificate:
    """Check a partition against its network, independently of how it was made, in bounded memory.

    All regions, edges and vertices: areas, convexity, Euler's characteristic, labels and sides of the mesh; uniqueness
    of the patterns; on every inner edge, that the patterns on both sides differ in the unit that the edge names, and
    where an incomplete partition ends, that it vanishes; the network's forward pass at an interior point of every
    region, and at every vertex against all regions about it; areas and counted corners; slice maps, if the partition
    has been asked for them. A part, drawn with the seed and counted in the report: the forward pass at `n_samples`
    random points (default: 100 000; fewer for networks of more than 2684 units, 2²⁸ by the number of units); maps,
    centroids, radii and norms of up to 256 regions against torch's Jacobian. Raises `InvalidArgumentError` for a
    number of samples or a seed that is no whole number from 0.
    """
    if n_samples is None:
        n_samples = samples_by_default(partition)
    for name, number in (("n_samples", n_samples), ("seed", seed)):
        is_whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not (is_whole and number >= 0):
            raise InvalidArgumentError(f"{name} must be a whole number that is not negative, not {number!r}")
    rounding = Rounding.of(partition)
    figures: dict[str, Any] = {
        "area error": mesh_figures(partition.mesh, partition.domain, partition.complete, rounding.position),
        "sides": side_figures(partition.mesh),
        "convexity": convexity_figures(partition, rounding),
        "edges": neighbour_figures(partition, rounding, progress),
        "interior points": interior_figures(partition, rounding, progress),
        "vertices": vertex_figures(partition, rounding, progress),
        "outer edges": border_figures(partition, rounding),
        "samples": sample_figures(partition, n_samples, seed, rounding, progress),
        "affine maps": map_figures(partition, rounding, seed, progress),
        "areas, slice maps": held_figures(partition, progress),
        "corners": corner_figures(partition, rounding.position, seed),
    }
    repeated = repeated_patterns(partition)
    idle = bit_figures(partition)
    found = {check: of_check.regions for check, of_check in figures.items()}
    found["patterns"] = np.union1d(repeated, idle.regions)
    named = {name: value for of_check in figures.values() for name, value in of_check._asdict().items()}
    del named["regions"]
    return Certificate(
        n_regions=partition.n_regions,
        complete=partition.complete,
        duplicate_patterns=len(repeated),
        idle_bits=idle.idle_bits,
        suspects=tuple((check, tuple(regions.tolist())) for check, regions in found.items() if len(regions)),
        **named,
    )
