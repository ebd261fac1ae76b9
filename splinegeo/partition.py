"""Partition: the linear regions of a network on a slice, and what can be asked of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64, Int32, Int64, Integer, UInt64
from numpy.typing import ArrayLike, DTypeLike
from scipy.sparse import coo_array, csr_array

from splinegeo import region_maps, storage
from splinegeo._bits import unpack
from splinegeo.certificate import Certificate, certify
from splinegeo.decision_boundary import DecisionBoundary, decision_boundary
from splinegeo.errors import InvalidArgumentError, ShapeError
from splinegeo.geoparquet import write_geoparquet
from splinegeo.linear_regions import LinearRegions, merge_equal_maps
from splinegeo.local_centroid import LocalCentroids, local_centroids_in_discs
from splinegeo.local_complexity import LocalComplexity, local_complexity
from splinegeo.locate import Grid, build_grid, locate
from splinegeo.mesh import Mesh
from splinegeo.network import Network
from splinegeo.operator_norms import check_norm, operator_norms
from splinegeo.power_diagram import region_centroids, region_radii
from splinegeo.processors import n_processors
from splinegeo.restricted_maps import BaseRows
from splinegeo.restriction import Restriction
from splinegeo.selection import Selection, region_polygons, regions_in_disc, regions_in_polygon
from splinegeo.slice import Box, Slice, as_numbers, slice_points
from splinegeo.slice_maps import slice_maps
from splinegeo.statistics import RegionStatistics, region_statistics
from splinegeo.tolerance import coordinate_rounding

if TYPE_CHECKING:
    import networkx

# A point on the domain's border, as computed, may miss it by so much of the domain's size.
_ROUNDING = 1e-12
_CENTROID_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class Partition:
    """The activation regions of a network on a convex domain of a slice: convex polygons that share vertices and
    edges.

    Made by `enumerate_regions` or `load_partition`. Region r has the vertices `corners[offsets[r]:offsets[r + 1]]`,
    counter-clockwise. Everything but the mesh and the patterns is computed when it is first asked for.
    """

    network: Network = field(repr=False)
    plane: Slice = field(repr=False)
    domain: Float64[np.ndarray, "k 2"] = field(repr=False)
    """Corners of the domain, counter-clockwise."""
    mesh: Mesh = field(repr=False)
    parents: tuple[Int32[np.ndarray, " F"], ...] = field(repr=False)
    """For each stage: the face before the stage that each of its faces was cut from."""
    bits: tuple[UInt64[np.ndarray, "F words"], ...] = field(repr=False)
    """For each stage: the pattern of its units on each of its faces, one bit a unit."""
    complete: bool = True
    """False if the enumeration stopped at a limit: then the regions cover a part of the domain."""
    dtype: np.dtype = field(default=np.dtype(np.float64), repr=False)
    """Type that slice maps, centroids, radii and norms are held in; see `astype`."""

    def __repr__(self) -> str:
        units = "-".join(str(stage.n_units) for stage in self.network.stages)
        partial = "" if self.complete else ", incomplete"
        return f"Partition({self.n_regions} regions on a slice of R^{len(self.plane.origin)}, units {units}{partial})"

    # the mesh

    @property
    def n_regions(self) -> int:
        """Number of regions R."""
        return self.mesh.n_faces

    @property
    def vertices(self) -> Float64[np.ndarray, "V 2"]:
        """Slice coordinates of the vertices; neighbouring regions share them."""
        return self.mesh.vertices

    @property
    def offsets(self) -> Int64[np.ndarray, "R+1"]:
        """Where each region's corners begin in `corners`."""
        return self.mesh.offsets

    @property
    def corners(self) -> Int32[np.ndarray, " H"]:
        """Vertices of the regions, region after region, counter-clockwise."""
        return self.mesh.corners

    @property
    def edges(self) -> Int32[np.ndarray, "E 2"]:
        """First and second vertex of each edge."""
        return self.mesh.edges

    @property
    def edge_faces(self) -> Int32[np.ndarray, "E 2"]:
        """Region on the left and on the right of each edge, -1 outside the domain."""
        return self.mesh.edge_faces

    @property
    def edge_labels(self) -> Int32[np.ndarray, "E 2"]:
        """Layer and unit whose piece changes along each edge; -1, -1 on the domain's border."""
        return self.mesh.edge_labels

    @cached_property
    def areas(self) -> Float64[np.ndarray, " R"]:
        """Area of each region, in squared input-space units."""
        return self.mesh.areas()

    @cached_property
    def interior_points(self) -> Float64[np.ndarray, "R 2"]:
        """A point inside each region: its centre of area."""
        return self.mesh.interior_points()

    @cached_property
    def adjacency(self) -> csr_array:
        """Regions that share an edge: a symmetric (R, R) sparse matrix of booleans."""
        pairs = self.edge_faces[(self.edge_faces >= 0).all(axis=1)]
        rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
        columns = np.concatenate([pairs[:, 1], pairs[:, 0]])
        shape = (self.n_regions, self.n_regions)
        return coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape).tocsr()

    # patterns

    @cached_property
    def ancestors(self) -> tuple[Int64[np.ndarray, " R"], ...]:
        """For each stage: the stage's face that each region lies in."""
        chain = [np.arange(self.n_regions)] if self.parents else []
        for parents in reversed(self.parents[1:]):
            chain.append(parents[chain[-1]].astype(np.int64))
        return tuple(reversed(chain))

    def pattern(self, r: int) -> list[Integer[np.ndarray, " units"]]:
        """Activation pattern of region r: for each layer, the linear piece of each of its units.

        ReLU and the like: 1 for the units that are positive in the region, else 0; for units with two bounds 0 to 2;
        for a maximum the place of the winner within its window. Raises `IndexError`.
        """
        self._check_region(r)
        active = [
            unpack(words[faces[r] : faces[r] + 1], stage.n_units)
            for stage, words, faces in zip(self.network.stages, self.bits, self.ancestors, strict=True)
        ]
        return [pieces[0] for pieces in self.network.pieces(active)]

    @cached_property
    def pattern_keys(self) -> UInt64[np.ndarray, "R k"]:
        """All patterns as words of 64 units: equal iff the patterns are equal."""
        if not self.bits:
            return np.zeros((self.n_regions, 1), dtype=np.uint64)
        return np.concatenate([words[faces] for words, faces in zip(self.bits, self.ancestors, strict=True)], axis=1)

    # the spline

    def astype(self, dtype: DTypeLike) -> "Partition":
        """The same regions, with slice maps, centroids, radii and norms held in float32 (half the memory) or float64.

        They are computed in float64 and rounded once. Mesh, affine maps, decision boundary and linear regions are
        float64 always. Raises `InvalidArgumentError` for another type.
        """
        try:
            chosen = np.dtype(dtype)
        except TypeError as error:
            raise InvalidArgumentError(f"dtype must be float32 or float64, not {dtype!r}") from error
        if chosen not in (np.float32, np.float64):
            raise InvalidArgumentError(f"dtype must be float32 or float64, not {chosen}")
        return self if chosen == self.dtype else replace(self, dtype=chosen)

    @cached_property
    def slice_maps(self) -> Float[np.ndarray, "R C 3"]:
        """Each region's map on the slice: f(x(t)) = slice_maps[r, :, :2] @ t + slice_maps[r, :, 2]."""
        return slice_maps(self)

    @cached_property
    def restriction(self) -> Restriction:
        """The network on the domain: affine but for the few units that change sign there."""
        return Restriction.of(self)

    @cached_property
    def base_rows(self) -> BaseRows:
        """The maps, in input space, from which those of all regions follow by the restriction."""
        return BaseRows.of(self.restriction)

    def affine_map(self, r: int) -> tuple[Float64[np.ndarray, "C d"], Float64[np.ndarray, " C"]]:
        """A and B of region r in input space: f(x) = A x + B, x flattened. Raises `IndexError`."""
        self._check_region(r)
        return region_maps.affine_map(self, r)

    def centroids(self, regions: ArrayLike | None = None) -> Float[np.ndarray, "n d"]:
        """Centroids μ = Aᵀ1 of the regions (ids or a mask; default: all) in input space, flattened.

        Raises `InvalidArgumentError` or `IndexError` for regions that are no numbers or do not exist.
        """
        chosen = self._check_regions(regions)
        if self.dtype == np.float64:
            return region_centroids(self, chosen)
        chosen = np.arange(self.n_regions) if chosen is None else chosen
        rounded = np.empty((len(chosen), self.network.n_inputs), dtype=self.dtype)
        step = max(1, _CENTROID_BYTES // (8 * self.network.n_inputs))
        for a in range(0, len(chosen), step):
            rounded[a : a + step] = region_centroids(self, chosen[a : a + step])
        return rounded

    @cached_property
    def slice_centroids(self) -> Float[np.ndarray, "R 2"]:
        """Centroids in slice coordinates, μˢ = U (μ − o): the sites of the power diagram restricted to the slice."""
        sums = self.slice_maps[:, :, :2].sum(axis=1, dtype=np.float64)
        return (sums - self.plane.basis @ self.plane.origin).astype(self.dtype, copy=False)

    def radii(self, regions: ArrayLike | None = None) -> Float[np.ndarray, " n"]:
        """Radii τ = ‖μ‖² + 2⟨1, B⟩ of the regions (default: all); raises as `centroids`."""
        return region_radii(self, self._check_regions(regions)).astype(self.dtype, copy=False)

    def operator_norms(self, kind: str = "frobenius", space: str = "input") -> Float[np.ndarray, " R"]:
        """Norm of each region's linear operator: "frobenius" or "spectral", of A ("input") or of A Uᵀ ("slice").

        Raises `InvalidArgumentError` for another kind or space.
        """
        check_norm(kind, space)
        cache = self._norms
        if (kind, space) not in cache:
            # Norms on the slice are those of the slice maps, which must not be rounded twice.
            partition = self._exact if space == "slice" else self
            cache[kind, space] = operator_norms(partition, kind, space).astype(self.dtype, copy=False)
        return cache[kind, space]

    def recall_norms(self, norms: ArrayLike, kind: str = "frobenius", space: str = "input") -> None:
        """Take norms (R,) that `operator_norms` gave for these regions before, so that they are not worked out again.

        Raises `ShapeError` if they are not one for each region, `InvalidArgumentError` as `operator_norms`.
        """
        check_norm(kind, space)
        recalled = as_numbers(norms, "norms").astype(self.dtype)
        if recalled.shape != (self.n_regions,):
            raise ShapeError(
                f"norms of {self.n_regions} regions must have the shape ({self.n_regions},), not {recalled.shape}"
            )
        self._norms[kind, space] = recalled

    # queries

    def locate(self, t: ArrayLike) -> Int64[np.ndarray, " n"]:
        """The region that holds each point of the slice (n, 2); -1 outside the domain. Raises `ShapeError`."""
        slack = max(_ROUNDING * float(np.ptp(self.domain, axis=0).max()), coordinate_rounding(self.domain))
        return locate(self.mesh, self._grid, slice_points(t), slack, n_processors())

    def decision_boundary(self) -> DecisionBoundary:
        """The exact segments on which argmax f changes."""
        return decision_boundary(self._exact)

    def merge_equal_maps(self) -> LinearRegions:
        """Linear regions: neighbouring activation regions with one affine map, joined."""
        return replace(merge_equal_maps(self._exact), partition=self)

    def regions_in_disc(self, center: ArrayLike, radius: float) -> Selection:
        """The regions that meet an open disc of the slice, and their areas inside it.

        Raises `ShapeError` for a center that is not (2,), `InvalidArgumentError` for a radius that is not positive.
        """
        return regions_in_disc(self, center, radius)

    def regions_in_polygon(self, polygon: ArrayLike | Box) -> Selection:
        """The regions that meet a simple polygon (k, 2) of the slice, convex or not, and their areas inside it.

        Raises `InvalidDomainError`.
        """
        return regions_in_polygon(self, polygon)

    def statistics(self, regions: ArrayLike | None = None) -> RegionStatistics:
        """Areas, corners, in-radii and counts by layer of the regions (ids or a mask; default: all).

        Raises `InvalidArgumentError` or `IndexError` for regions that are no numbers or do not exist.
        """
        return region_statistics(self, regions)

    def local_complexity(self, centers: ArrayLike, radius: float) -> LocalComplexity:
        """How many regions, and lines of units, meet the disc about each point (n, 2): what sampling estimates, exactly
        (Humayun et al. 2024).

        Raises `ShapeError` for centers, `InvalidArgumentError` for a radius that make no sense.
        """
        return local_complexity(self, centers, radius)

    def local_centroids(self, centers: ArrayLike, radius: float) -> LocalCentroids:
        """Area-weighted mean centroid of the regions in the disc about each point (n, 2).

        Raises as `local_complexity`, and `InvalidDomainError` for a disc that the partition does not meet.
        """
        return local_centroids_in_discs(self, centers, radius)

    def certify(self, n_samples: int | None = None, seed: int = 0, *, progress: bool = False) -> Certificate:
        """Check the partition against the network's own forward pass and against what must hold of any subdivision.

        Printed, the result is a report: a verdict of one line, then the figures that the fields of `Certificate`
        explain; a failing one names regions. `n_samples` random points are compared besides all vertices and one point
        of each region (default: 100 000, fewer for networks of many units). Raises `InvalidArgumentError`.
        """
        return certify(self, n_samples, seed, progress=progress)

    # other tools

    def to_geoparquet(self, path: str | os.PathLike, columns: Mapping[str, ArrayLike] | None = None) -> None:
        """Write the regions, with area, class, norm and counts, to a GeoParquet file, atomically (extra `geo`).

        `columns` adds numbers of your own, one for each region. Raises `MissingExtraError`, `ShapeError`, OSError.
        """
        write_geoparquet(self, path, columns)

    def to_shapely(self) -> np.ndarray:
        """The regions as an array of shapely polygons."""
        return region_polygons(self, np.arange(self.n_regions))

    def to_networkx(self) -> "networkx.Graph":
        """The adjacency graph: nodes carry `area`, edges their label, layer and unit, as `stage` and `unit`."""
        import networkx

        graph = networkx.Graph()
        graph.add_nodes_from((r, {"area": float(area)}) for r, area in enumerate(self.areas))
        inner = (self.edge_faces >= 0).all(axis=1)
        graph.add_edges_from(
            (int(left), int(right), {"stage": int(stage), "unit": int(unit)})
            for (left, right), (stage, unit) in zip(self.edge_faces[inner], self.edge_labels[inner], strict=True)
        )
        return graph

    def save(self, path: str | os.PathLike) -> None:
        """Write the partition to an .npz file that `load_partition` reads, atomically. Raises OSError."""
        storage.save_partition(self, path)

    @property
    def _exact(self) -> "Partition":
        """What geometry is computed from: slice maps rounded to float32 would move boundaries."""
        return self.astype(np.float64)

    @cached_property
    def _norms(self) -> dict[tuple[str, str], np.ndarray]:
        return {}

    @cached_property
    def _grid(self) -> Grid:
        return build_grid(self.mesh)

    def _check_region(self, r: int) -> None:
        if not isinstance(r, int | np.integer) or isinstance(r, bool):
            raise InvalidArgumentError(f"a region is a whole number, not {r!r}")
        if not 0 <= r < self.n_regions:
            raise IndexError(f"region {r} does not exist: there are {self.n_regions}")

    def _check_regions(self, regions: ArrayLike | None) -> Int64[np.ndarray, " n"] | None:
        if regions is None:
            return None
        chosen = np.atleast_1d(np.asarray(regions))
        if chosen.dtype == bool and chosen.shape == (self.n_regions,):
            return np.nonzero(chosen)[0]
        if chosen.size == 0 and chosen.ndim == 1:
            return np.empty(0, dtype=np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise InvalidArgumentError(
                f"regions must be numbers of regions, (n,), or a mask, ({self.n_regions},), "
                f"not an array of {chosen.dtype} of shape {chosen.shape}"
            )
        if chosen.min() < 0 or chosen.max() >= self.n_regions:
            raise IndexError(f"regions must lie in 0..{self.n_regions - 1}, but reach {chosen.min()}..{chosen.max()}")
        return chosen.astype(np.int64)
