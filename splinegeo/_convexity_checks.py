"""Figures of a certificate that concern convexity: how deeply regions are dented, and which dents rounding explains."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from splinegeo._chunks import chunk_bounds, run_chunks
from splinegeo._pattern_checks import Rounding, contradicted
from splinegeo._polygon_measures import deepest_dents
from splinegeo.processors import n_processors

if TYPE_CHECKING:
    from splinegeo.mesh import Mesh
    from splinegeo.partition import Partition


class ConvexityFigures(NamedTuple):
    """`regions` are dented; for the others see the fields of the same names of `Certificate`."""

    largest_dent: float
    dent_roundings: int
    regions: Int64[np.ndarray, " n"]


class _Dents(NamedTuple):
    """Corners that dent their regions: one entry each."""

    regions: Int64[np.ndarray, " n"]
    depths: Float64[np.ndarray, " n"]
    corners: Float64[np.ndarray, "n 2"]
    chords: Float64[np.ndarray, "n 2"]
    """Points half-way between the corners before and after."""
    neighbours: Int64[np.ndarray, "2 n"]
    """The regions across the corner's two edges, -1 where there is none."""


def convexity_figures(partition: "Partition", rounding: Rounding) -> ConvexityFigures:
    """Measure dents. One is a rounding if, by the forward pass, all units that bound it vanish at its corner, and the
    chord over it lies in its region.
    """
    mesh = partition.mesh
    depths = np.empty(mesh.n_faces)
    threads = n_processors()
    run_chunks(
        lambda a, b: deepest_dents(mesh.vertices, mesh.offsets, mesh.corners, a, b, depths),
        chunk_bounds(mesh.offsets, threads),
        threads,
    )
    shallow = depths <= rounding.position
    largest = float(depths[shallow].max(initial=0.0))
    dents = _dents(mesh, np.nonzero(~shallow)[0], rounding.position)
    wrong = contradicted(partition, dents.corners, dents.regions, rounding)
    wrong |= contradicted(partition, dents.chords, dents.regions, rounding)
    for neighbours in dents.neighbours:
        inner = neighbours >= 0
        wrong[inner] |= contradicted(partition, dents.corners[inner], neighbours[inner], rounding)
    largest = max(largest, float(dents.depths[wrong].max(initial=0.0)))
    diameter = float(np.ptp(partition.domain, axis=0).max())
    return ConvexityFigures(largest / diameter, int((~wrong).sum()), np.unique(dents.regions[wrong]))


def _dents(mesh: "Mesh", regions: Int64[np.ndarray, " n"], position: float) -> _Dents:
    """The corners that dent some regions by more than the distance `position`."""
    loops = [np.arange(mesh.offsets[region], mesh.offsets[region + 1]) for region in regions]
    before, here, after = (
        np.concatenate([np.empty(0, dtype=np.int64), *(np.roll(loop, by) for loop in loops)]) for by in (1, 0, -1)
    )
    a, b, c = (mesh.vertices[mesh.corners[place]] for place in (before, here, after))
    depths = -_altitudes(a, b, c)
    deep: Bool[np.ndarray, " n"] = depths > position
    of_edges = mesh.sides[np.stack([before, here])[:, deep]]
    return _Dents(
        mesh.face_of_corner[here[deep]],
        depths[deep],
        b[deep],
        (a[deep] + c[deep]) / 2,
        mesh.edge_faces[of_edges >> 1, 1 - (of_edges & 1)],
    )


def _altitudes(
    a: Float64[np.ndarray, "n 2"], b: Float64[np.ndarray, "n 2"], c: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, " n"]:
    """Least altitudes of triangles; positive if a, b, c turn counter-clockwise."""
    (ab, bc), ca = (b - a, c - b), a - c
    doubled = ab[:, 0] * bc[:, 1] - ab[:, 1] * bc[:, 0]
    longest = np.max([np.hypot(*side.T) for side in (ab, bc, ca)], axis=0)
    return np.divide(doubled, longest, out=np.zeros(len(a)), where=longest > 0)
