"""Cutting a mesh by the units of one stage: all at once, or by a few of them first where many cross a face."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt64

from splinegeo._bits import n_words
from splinegeo._chunks import Watch
from splinegeo._crossings import Crossings
from splinegeo._groups import whole_families
from splinegeo._subdivision import Subdivision, Units, subdivide
from splinegeo._values import Values, find_crossings
from splinegeo.mesh import Mesh

# A face crossed by many units is first cut by a few of them, so that its parts see few units each.
FIRST_CUT = 16
_MANY_UNITS = 64


@dataclass
class Limit:
    """How many regions to give at most, and whether anything was left out for it."""

    regions: int | None
    reached: bool = False
    families: Int32[np.ndarray, " F"] | None = None
    """Faces that are to stay together, by equal numbers, ascending; None: any may be left out alone."""

    def crop(self, mesh: Mesh, crossings: Crossings, bits: np.ndarray) -> tuple[Mesh, Crossings, np.ndarray]:
        """The first faces, as many as give no more regions than the limit if no units meet inside them; at least one.

        What they give beyond that is cut off at the end.
        """
        if self.regions is None:
            return mesh, crossings, bits
        n_parts = np.cumsum(1 + np.diff(crossings.start))
        n = max(1, int(np.searchsorted(n_parts, self.regions, side="right")))
        if self.families is not None:
            n = max(whole_families(self.families, n), whole_families(self.families, 1, "right"))
        if n == mesh.n_faces:
            return mesh, crossings, bits
        self.reached = True
        cropped = Crossings(
            start=crossings.start[: n + 1],
            units=crossings.units[: crossings.start[n]],
            value_start=crossings.value_start[: n + 1],
            values=crossings.values[: crossings.value_start[n]],
        )
        return mesh.faces(0, n), cropped, bits[:n]


class Begun(NamedTuple):
    """What some units of a stage have done: the faces that were before the stage, and the pattern words so far."""

    units: Bool[np.ndarray, " n"]
    parents: Int32[np.ndarray, " F"]
    bits: UInt64[np.ndarray, "F words"]

    def part(self, begin: int, end: int) -> "Begun":
        """The same for the faces begin..end alone."""
        parents = self.parents[begin:end]
        return Begun(self.units, parents - parents[0], self.bits[begin:end])


class ToCome(NamedTuple):
    """For each face how many units will cross it, and which units cross any face, ascending."""

    counts: Int64[np.ndarray, " F"]
    units: Int32[np.ndarray, " k"]


def cut_by_stage(
    mesh: Mesh,
    values: Values,
    units: Units,
    closeness: float,
    threads: int,
    keep_births: bool,
    limit: Limit,
    watch: Watch,
    begun: Begun | None = None,
) -> tuple[Values, Subdivision]:
    """Cut the mesh by one stage's units, those that have cut already excepted; returns the values at the vertices that
    are older than the cut, too. Births are kept where another stage follows.
    """
    if keep_births or values.parents is None:  # every vertex is older than the next stage's births
        values = values.at_all_vertices(threads)
    if begun is None and mesh.n_faces == 1 and len(units.slopes) > _MANY_UNITS:
        first = np.arange(len(units.slopes)) < FIRST_CUT
        mesh, values, begun = _cut_by(mesh, values, units, first, None, closeness, threads, watch)
        if limit.families is not None:
            limit.families = limit.families[begun.parents]
    crossings, bits = _crossings(mesh, values, units, None, begun, threads, watch)
    mesh, crossings, bits = limit.crop(mesh, crossings, bits)
    cut = subdivide(mesh, crossings, bits, units, closeness, threads, keep_births, keep_births, watch)
    return values, cut if begun is None else cut._replace(parents=begun.parents[cut.parents])


def begin_cut(
    mesh: Mesh,
    values: Values,
    units: Units,
    begun: Begun | None,
    closeness: float,
    threads: int,
    watch: Watch,
) -> tuple[Mesh, Values, Begun]:
    """Cut the mesh by the first few units of a stage that cross it and have not cut it; gives the finer mesh, the
    stage's values at all its vertices, and what has been done of the stage.
    """
    values = values.at_all_vertices(threads)
    chosen = np.zeros(len(units.slopes), dtype=bool)
    chosen[crossings_to_come(mesh, values, units, begun, threads, watch).units[:FIRST_CUT]] = True
    return _cut_by(mesh, values, units, chosen, begun, closeness, threads, watch)


def crossings_to_come(
    mesh: Mesh, values: Values, units: Units, begun: Begun | None, threads: int, watch: Watch
) -> ToCome:
    """The units of a stage that cross faces and have not cut them."""
    crossings, _ = _crossings(mesh, values.at_all_vertices(threads), units, None, begun, threads, watch)
    return ToCome(np.diff(crossings.start), np.unique(crossings.units))


def _cut_by(
    mesh: Mesh,
    values: Values,
    units: Units,
    chosen: Bool[np.ndarray, " n"],
    begun: Begun | None,
    closeness: float,
    threads: int,
    watch: Watch,
) -> tuple[Mesh, Values, Begun]:
    crossings, bits = _crossings(mesh, values, units, chosen, begun, threads, watch)
    coarse = subdivide(mesh, crossings, bits, units, closeness, threads, True, False, watch)
    values = Values(values.older, coarse.births).at_all_vertices(threads)
    if begun is None:
        return coarse.mesh, values, Begun(chosen, coarse.parents, coarse.bits)
    return coarse.mesh, values, Begun(begun.units | chosen, begun.parents[coarse.parents], coarse.bits)


def _crossings(
    mesh: Mesh,
    values: Values,
    units: Units,
    chosen: Bool[np.ndarray, " n"] | None,
    begun: Begun | None,
    threads: int,
    watch: Watch,
) -> tuple[Crossings, UInt64[np.ndarray, "F words"]]:
    """Crossings of the chosen units, or of all, but for those that have cut; and the faces' pattern words with them."""
    tolerance = units.tolerance
    if chosen is not None:
        tolerance = np.where(chosen, tolerance, np.inf)
    if begun is None:
        bits = np.zeros((mesh.n_faces, n_words(len(tolerance))), dtype=np.uint64)
    else:
        tolerance, bits = np.where(begun.units, np.inf, tolerance), begun.bits.copy()
    return find_crossings(mesh, values, tolerance, bits, threads, watch), bits
