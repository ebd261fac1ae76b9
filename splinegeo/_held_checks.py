"""Figures of a certificate that concern what a partition holds beside mesh and patterns: areas, and slice maps if they
have been asked for.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from splinegeo._map_checks import computed_slice_maps
from splinegeo._pattern_checks import batches, points_at_once
from splinegeo._vertex_checks import first_values, values_at
from splinegeo.mesh import following_corners
from splinegeo.stages import Stage
from splinegeo.tolerance import ever_active, sampled_inputs, stage_tolerances

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# The rounding of an area, in shares of the products that it is the sum of.
_AREA = 2.0**-40
# A map at a vertex is a sum of terms as large as those of the outputs, of which displaced vertices change some.
_DISPLACED = 16.0
# Maps that were computed twice differ by less than this share of the partition's largest.
_COMPUTED_TWICE = 2.0**-32
_NUMBERS = 1 << 23


class HeldFigures(NamedTuple):
    """`regions` have a wrong area or map; for the others see the fields of the same names of `Certificate`."""

    wrong_areas: int
    held_maps: int
    wrong_held_maps: int
    regions: Int64[np.ndarray, " n"]


def held_figures(partition: "Partition", progress: bool) -> HeldFigures:
    """Compare all areas with the polygons, and all slice maps that are held with the forward pass at the vertices.

    A map that is not the network's at a corner is still right if it is that of the region's pattern, computed again: so
    on regions narrower than rounding, and where units vanish to rounding.
    """
    of_areas = np.flatnonzero(_wrong_areas(partition))
    if "slice_maps" not in vars(partition):
        return HeldFigures(len(of_areas), 0, 0, of_areas)
    suspects = np.flatnonzero(_differs_at_a_corner(partition, progress))
    of_maps = suspects[~_as_computed_again(partition, suspects)]
    return HeldFigures(len(of_areas), partition.n_regions, len(of_maps), np.union1d(of_areas, of_maps))


def _wrong_areas(partition: "Partition") -> Bool[np.ndarray, " R"]:
    """By the trapezia under the sides, about the loop's lowest corner: the mesh's own are sums of triangles."""
    mesh = partition.mesh
    points, starts = mesh.vertices[mesh.corners], mesh.offsets[:-1]
    points = points - np.minimum.reduceat(points, starts, axis=0)[mesh.face_of_corner]
    following = points[following_corners(mesh.offsets)]
    trapezia = (points[:, 0] - following[:, 0]) * (points[:, 1] + following[:, 1])
    allowed = _AREA * np.add.reduceat(np.abs(trapezia), starts)
    return ~(np.abs(partition.areas - np.add.reduceat(trapezia, starts) / 2) <= allowed)


def _differs_at_a_corner(partition: "Partition", progress: bool) -> Bool[np.ndarray, " R"]:
    """Whether a region's held map has other values at one of its corners than the forward pass, beyond rounding."""
    mesh, network = partition.mesh, partition.network
    by_vertex = np.argsort(mesh.corners, kind="stable")
    starts = np.searchsorted(mesh.corners, np.arange(len(mesh.vertices) + 1), sorter=by_vertex)
    root, allowed = first_values(partition), _DISPLACED * _output_tolerance(partition)
    if partition.dtype != np.float64:
        allowed = allowed * (float(np.finfo(partition.dtype).eps) / float(np.finfo(np.float64).eps))
    differs = np.zeros(partition.n_regions, dtype=bool)
    n_points = max(1, min(points_at_once(partition), _NUMBERS // (8 * 3 * network.n_outputs)))
    for batch in batches(len(mesh.vertices), n_points, "slice maps", progress):
        t = mesh.vertices[batch]
        values = values_at(partition, t, root)
        outputs = network.output(network.stages[-1].activate(values[-1])) if values else t @ root[:2] + root[2]
        places = by_vertex[starts[batch.start] : starts[min(batch.stop, len(mesh.vertices))]]
        regions, vertices = mesh.face_of_corner[places], mesh.corners[places] - batch.start
        maps = partition.slice_maps[regions].astype(np.float64)
        found = np.einsum("ncd,nd->nc", maps[:, :, :2], t[vertices]) + maps[:, :, 2]
        differs[regions[~(np.abs(found - outputs[vertices]) <= allowed).all(axis=1)]] = True
    return differs


def _output_tolerance(partition: "Partition") -> Float64[np.ndarray, " C"]:
    """What rounding may make of each output, as of the value of a unit."""
    network = partition.network
    outputs = Stage(network.output, np.ones(network.n_outputs))
    extended = replace(network, stages=(*network.stages, outputs))
    active = [*ever_active(partition), np.ones(network.n_outputs, dtype=bool)]
    return stage_tolerances(extended, sampled_inputs(partition), active)[-1]


def _as_computed_again(partition: "Partition", regions: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether held maps are those of their regions' patterns, computed again."""
    maps = partition.slice_maps
    alike = np.zeros(len(regions), dtype=bool)
    if not len(regions):
        return alike
    largest = np.abs(maps).max(axis=(0, 1))
    share = _COMPUTED_TWICE if partition.dtype == np.float64 else 16 * float(np.finfo(partition.dtype).eps)
    for batch in batches(len(regions), max(1, _NUMBERS // maps[0].size), "", progress=False):
        again = computed_slice_maps(partition, regions[batch])
        alike[batch] = (np.abs(maps[regions[batch]] - again) <= share * largest).all(axis=(1, 2))
    return alike
