"""Figures of a certificate that concern vertices: the forward pass at every corner must allow its region's pattern.

A region is convex and, if its pattern is right, f is affine on it: a unit that keeps its sign at all corners keeps it
on the whole region. So no cut is missed, however small the part that it would cut off, and no corner is misplaced.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from splinegeo._bit_checks import deciding_words
from splinegeo._bits import pack
from splinegeo._pattern_checks import Rounding, batches, depths, points_at_once
from splinegeo.region_maps import first_affine

if TYPE_CHECKING:
    from splinegeo.partition import Partition


class VertexFigures(NamedTuple):
    """`regions` have a wrong corner; for the others see the fields of the same names of `Certificate`."""

    vertices: int
    vertex_mismatches: int
    vertex_roundings: int
    regions: Int64[np.ndarray, " n"]


def vertex_figures(partition: "Partition", rounding: Rounding, progress: bool) -> VertexFigures:
    """Compare the patterns of all regions about every vertex with the network's forward pass there.

    Regions narrower than the rounding of positions count as roundings, as their corners may lie anywhere about them.
    """
    mesh = partition.mesh
    n_vertices = len(mesh.vertices)
    by_vertex = np.argsort(mesh.corners, kind="stable")
    starts = np.searchsorted(mesh.corners, np.arange(n_vertices + 1), sorter=by_vertex)
    deciding = deciding_words(partition)
    root = first_values(partition)
    is_wrong = np.zeros(partition.n_regions, dtype=bool)
    for batch in batches(n_vertices, points_at_once(partition), "vertices", progress):
        vertices = np.arange(n_vertices)[batch]
        places = by_vertex[starts[vertices[0]] : starts[vertices[-1] + 1]]
        rows = mesh.corners[places] - vertices[0]
        regions = mesh.face_of_corner[places]
        wrong = np.zeros(len(places), dtype=bool)
        values = values_at(partition, mesh.vertices[batch], root)
        for index, (y, tolerance) in enumerate(zip(values, rounding.values, strict=True)):
            bits = partition.bits[index][partition.ancestors[index][regions]]
            contradicting = (bits & pack(y < -tolerance)[rows]) | (~bits & pack(y > tolerance)[rows])
            if index in deciding:
                stage, words = deciding[index]
                contradicting &= words[partition.ancestors[stage][regions]]
            wrong |= contradicting.any(axis=1)
        is_wrong[regions[wrong]] = True
    wrong_regions = np.flatnonzero(is_wrong)
    beyond: Bool[np.ndarray, " n"] = np.zeros(len(wrong_regions), dtype=bool)
    if len(wrong_regions):
        beyond = depths(partition, partition.interior_points[wrong_regions], wrong_regions) > rounding.position
    return VertexFigures(n_vertices, int(beyond.sum()), int((~beyond).sum()), wrong_regions[beyond])


def first_values(partition: "Partition") -> Float64[np.ndarray, "3 units"]:
    """The first affine map on the slice: what t₁, t₂ and 1 add to its values. At all vertices it would be most of the
    work, as inputs have many more numbers; at interior points and samples it is the network's own.
    """
    first, plane = first_affine(partition.network), partition.plane
    maps = first.linear(np.vstack([plane.basis, plane.origin]))
    maps[2] += first.bias
    return maps


def values_at(
    partition: "Partition", points: Float64[np.ndarray, "n 2"], root: Float64[np.ndarray, "3 units"]
) -> list[Float64[np.ndarray, "n units"]]:
    """Values of each stage's coordinates at points, by the forward pass from the first affine map's values."""
    stages = partition.network.stages
    values = [points @ root[:2] + root[2]] if stages else []
    for stage, following in pairwise(stages):
        values.append(following.affine(stage.activate(values[-1])))
    return values
