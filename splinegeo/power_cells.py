"""One layer's regions on a slice constructed from its power diagram alone: every pattern is a site, and the cells are
the facets of an upper envelope of planes. An engine independent of `enumerate_regions`, for few units.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64
from scipy.spatial import HalfspaceIntersection
from torch import nn

from splinegeo._chunks import running_sum
from splinegeo.errors import InvalidNetworkError, ShapeError
from splinegeo.mesh import polygon_area
from splinegeo.network import Network, read_network
from splinegeo.slice import Box, Slice, domain_polygon
from splinegeo.tolerance import stage_tolerances

MOST_UNITS = 12
# A vertex of the envelope lies on every plane that comes this near to it, as a share of the envelope's height.
_INCIDENT = 1e-11
# Cells narrower than this share of the domain's size are no cells: rounding leaves them where planes meet in a line.
_NARROW = 1e-11


@dataclass(frozen=True, eq=False)
class PowerCells:
    """The cells of a layer's power diagram on a slice, clipped to a convex domain.

    Cell r has the corners `vertices[offsets[r]:offsets[r + 1]]`, counter-clockwise, in slice coordinates, and the site
    with `slice_centroids[r]` and `slice_radii[r]`.
    """

    patterns: Int8[np.ndarray, "R n"]
    """1 for the units that are positive in a cell, 0 for the others."""
    slice_centroids: Float64[np.ndarray, "R 2"]
    slice_radii: Float64[np.ndarray, " R"]
    offsets: Int64[np.ndarray, "R+1"]
    vertices: Float64[np.ndarray, "H 2"]

    @property
    def n_cells(self) -> int:
        """Number of cells R."""
        return len(self.patterns)

    @property
    def areas(self) -> Float64[np.ndarray, " R"]:
        """Area of each cell, in squared input-space units."""
        return np.array(
            [polygon_area(self.vertices[a:b]) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]
        )


def power_cells(
    model: nn.Module | Network, plane: Slice, domain: Box | Float64[np.ndarray, "k 2"] | None = None
) -> PowerCells:
    """The regions of a network with one layer of at most 12 convex units, from the power diagram of its 2ⁿ patterns
    (Balestriero et al. 2019): the intersection of half-spaces above all their planes, by scipy's Qhull.

    It takes the layer's power distances only, and no unit's sign. Details below 1e-11 of the domain are lost.

    Raises what `read_network` and `domain_polygon` raise, `ShapeError` for a slice of another space, and
    `InvalidNetworkError` for another number of layers, more units, or units with a slope of 1 or above, which have no
    convex kink.
    """
    network = read_network(model, plane.input_shape)
    if network.n_inputs != len(plane.origin):
        raise ShapeError(f"the network takes {network.n_inputs} inputs, but the slice lies in R^{len(plane.origin)}")
    if len(network.stages) != 1:
        raise InvalidNetworkError(
            f"power cells are constructed for one stage of units, but the network has {len(network.stages)}: "
            "use enumerate_regions, or layer_cells on a region of the layers before"
        )
    stage = network.stages[0]
    functions = stage.affine.linear(np.vstack([plane.basis, plane.origin]))
    functions[2] += stage.affine.bias
    polygon = domain_polygon(domain, plane)
    (tolerance,) = stage_tolerances(network, plane.origin + polygon @ plane.basis)
    return layer_cells(functions.T, stage.slopes, polygon, plane, tolerance)


def layer_cells(
    functions: Float64[np.ndarray, "n 3"],
    slopes: Float64[np.ndarray, " n"],
    polygon: Float64[np.ndarray, "k 2"],
    plane: Slice,
    tolerance: Float64[np.ndarray, " n"] | None = None,
) -> PowerCells:
    """The cells into which a layer divides a convex polygon of the slice, on which its units' values are affine.

    Args:
        functions: gradient and value at t = 0 of each unit's value y on the polygon.
        slopes: what y is multiplied by where y <= 0; below 1.
        polygon: corners, counter-clockwise.
        plane: the slice, whose origin centroids and radii depend on.
        tolerance: units whose |y| nowhere exceeds it, such as carried ones with an infinite one, count as not positive;
            default 0.

    Raises `InvalidNetworkError` for more than 12 other units, or slopes of 1 or above among them.
    """
    values = functions[:, :2] @ polygon.T + functions[:, 2:]
    kinked = np.abs(values).max(axis=1, initial=0.0) > (0.0 if tolerance is None else tolerance)
    if kinked.sum() > MOST_UNITS:
        raise InvalidNetworkError(f"power cells take 2^n patterns: at most {MOST_UNITS} units, not {kinked.sum()}")
    flat = np.nonzero(kinked & ~(slopes < 1))[0]
    if len(flat):
        raise InvalidNetworkError(
            f"power cells need convex units, with slopes below 1, but unit {flat[0]} has {slopes[flat[0]]}"
        )
    patterns = _all_patterns(kinked)
    sites = np.where(patterns, 1.0, slopes) @ functions
    facets = _envelope_facets(sites, polygon)
    chosen = np.array([pattern for pattern, _ in facets], dtype=np.int64)
    centroids = sites[chosen, :2] - plane.basis @ plane.origin
    squares = np.einsum("nd,nd->n", centroids, centroids)
    return PowerCells(
        patterns=patterns[chosen].astype(np.int8),
        slice_centroids=centroids,
        slice_radii=2 * sites[chosen, 2] - float(plane.origin @ plane.origin) + squares,
        offsets=running_sum(np.array([len(corners) for _, corners in facets])),
        vertices=np.concatenate([corners for _, corners in facets]),
    )


def _all_patterns(kinked: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, "2^m n"]:
    """All patterns of the kinked units; the others are never positive."""
    units = np.nonzero(kinked)[0]
    patterns = np.zeros((1 << len(units), len(kinked)), dtype=bool)
    patterns[:, units] = (np.arange(len(patterns))[:, None] >> np.arange(len(units))) & 1
    return patterns


def _envelope_facets(
    sites: Float64[np.ndarray, "s 3"], polygon: Float64[np.ndarray, "k 2"]
) -> list[tuple[int, Float64[np.ndarray, "c 2"]]]:
    """The polygons on which each of the affine functions is the greatest one; those without a width are left out."""
    centre, size = polygon.mean(axis=0), float(np.ptp(polygon, axis=0).max())
    corners = (polygon - centre) / size
    planes = np.column_stack([sites[:, :2] * size, sites[:, :2] @ centre + sites[:, 2]])
    planes -= planes[0]
    height = np.abs(planes[:, :2] @ corners.T + planes[:, 2:]).max()
    planes /= max(height, np.finfo(np.float64).tiny)
    edges = np.roll(corners, -1, axis=0) - corners
    outward = np.column_stack([edges[:, 1], -edges[:, 0]]) / np.linalg.norm(edges, axis=1)[:, None]
    # Rows (normal, offset), normal · p + offset <= 0: above all planes, within the polygon's sides, below a roof y = 2.
    above = np.column_stack([planes[:, :2], -np.ones(len(planes)), planes[:, 2]])
    sides = np.column_stack([outward, np.zeros(len(corners)), -np.einsum("kd,kd->k", outward, corners)])
    inside = np.array([0.0, 0.0, (planes[:, 2].max() + 2) / 2])
    peaks = HalfspaceIntersection(np.vstack([above, sides, [[0.0, 0.0, 1.0, -2.0]]]), inside)
    points = peaks.intersections[np.isfinite(peaks.intersections).all(axis=1)]
    incident = points[:, 2] - planes[:, :2] @ points[:, :2].T - planes[:, 2:] <= _INCIDENT
    facets = [(int(i), _convex_loop(points[incident[i], :2])) for i in np.nonzero(incident.sum(axis=1) >= 3)[0]]
    return [(site, facet * size + centre) for site, facet in facets if len(facet)]


def _convex_loop(points: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "c 2"]:
    """Points in convex position, counter-clockwise, each once; empty if they span no width."""
    if len(points) < 3:
        return np.empty((0, 2))
    centred = points - points.mean(axis=0)
    loop = points[np.argsort(np.arctan2(centred[:, 1], centred[:, 0]))]
    loop = loop[np.linalg.norm(loop - np.roll(loop, 1, axis=0), axis=1) > _INCIDENT]
    diameter = np.linalg.norm(loop[:, None] - loop[None, :], axis=-1).max(initial=0.0)
    return loop if len(loop) >= 3 and polygon_area(loop) > _NARROW * diameter else np.empty((0, 2))
