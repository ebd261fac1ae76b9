"""Enumeration of the linear regions on a slice: stage by stage, the faces of a mesh are cut by the units' zero sets."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, UInt64
from torch import nn

from splinegeo._bits import n_words
from splinegeo._chunks import chunk_bounds, run_chunks, running_sum
from splinegeo._crossings import (
    Births,
    Crossings,
    count_crossings,
    fill_crossings,
    gather_rows,
    interpolate_rows,
    pack_signs,
)
from splinegeo._subdivision import Subdivision, Units, subdivide
from splinegeo.errors import ShapeError
from splinegeo.mesh import Mesh
from splinegeo.network import Affine, Network, read_network
from splinegeo.partition import Partition
from splinegeo.slice import Box, Slice, domain_polygon

# The one tolerance, relative. A unit's sign at a vertex is 0 iff |z| <= TOLERANCE (|W_j| max|h| + |b_j|): 2^10 times the rounding of
# a product of that size, so that values that are zero in exact arithmetic are found zero, yet far below what float32 weights resolve.
TOLERANCE = 2.0**-42
# Crossings of an edge nearer to each other than this multiple of TOLERANCE times the domain's diameter share one vertex.
_CLOSENESS = 4.0
# A face crossed by many units is first cut by a few of them, so that its parts see few units each.
_FIRST_CUT = 16
_MANY_UNITS = 64
# Values of the last stage are computed block by block in a buffer of this size that stays in the cache.
_BLOCK_BYTES = 1 << 22


@dataclass
class _Rows:
    """Values of a stage's units at the vertices: full rows at the older ones, births for the others."""

    older: Float64[np.ndarray, "V n"]
    births: Births | None
    columns: Float64[np.ndarray, "m n"]  # the rows of Wᵀ: what a kink of a unit of the stage before adds


def enumerate_regions(
    model: nn.Module | Network,
    plane: Slice,
    domain: Box | Float64[np.ndarray, "k 2"] | None = None,
    *,
    max_regions: int | None = None,
    progress: bool = False,
    threads: int | None = None,
) -> Partition:
    """The linear regions of a network on a slice, exactly: every region a convex polygon with its activation pattern.

    Args:
        model: a torch module, see `read_network`.
        plane: the slice of the network's input space.
        domain: part of the slice, in slice coordinates: a `Box` or a convex polygon (k, 2); default: a margin about the slice's points.
        progress: show a progress bar.
        threads: threads of the compiled kernels; default: all processors.

    Raises `UnsupportedModuleError`, `InvalidNetworkError`, `InvalidDomainError`, `ShapeError`.
    """
    network = read_network(model)
    if network.n_inputs != len(plane.origin):
        raise ShapeError(f"the network takes {network.n_inputs} inputs, but the slice lies in R^{len(plane.origin)}")
    polygon = domain_polygon(domain, plane)
    threads = threads or os.cpu_count() or 1
    mesh = Mesh.from_polygon(polygon)
    diameter = float(np.linalg.norm(polygon[:, None] - polygon[None, :], axis=-1).max())
    parents: list[Int32[np.ndarray, " F"]] = []
    bits: list[UInt64[np.ndarray, "F words"]] = []

    inputs = plane.origin + polygon @ plane.basis
    rows: _Rows | None = None
    for index, stage in enumerate(network.stages):
        last = index + 1 == len(network.stages)
        if rows is None:
            rows = _Rows(stage.affine(inputs), None, np.empty((0, 0)))
            reach = float(np.linalg.norm(inputs, axis=1).max())
        else:
            rows, reach = _next_rows(rows, network.stages[index - 1].slopes, stage.affine, births)
        weight_norms = np.linalg.norm(stage.affine.weight, axis=1)
        units = Units(index, stage.slopes, TOLERANCE * (weight_norms * reach + np.abs(stage.affine.bias)))
        closeness = _CLOSENESS * TOLERANCE * diameter
        cut, rows, first_parents = _cut_by_stage(mesh, rows, units, closeness, threads, last)
        mesh, births = cut.mesh, cut.births
        parents.append(cut.parents if first_parents is None else first_parents[cut.parents])
        bits.append(cut.bits)
    return Partition(network=network, plane=plane, domain=polygon, mesh=mesh, parents=tuple(parents), bits=tuple(bits))


def _cut_by_stage(
    mesh: Mesh, rows: _Rows, units: Units, closeness: float, threads: int, last: bool
) -> tuple[Subdivision, _Rows, Int32[np.ndarray, " F"] | None]:
    """Cut the mesh by one stage's units; returns the cut, the rows at the vertices before it, and the parents of a preliminary cut."""
    bits = np.zeros((mesh.n_faces, n_words(len(units.slopes))), dtype=np.uint64)
    first_parents = None
    if mesh.n_faces == 1 and len(units.slopes) > _MANY_UNITS:
        few = np.where(np.arange(len(units.slopes)) < _FIRST_CUT, units.tolerance, np.inf)
        crossings = _find_crossings(mesh, rows, few, bits, None, threads)
        cut = subdivide(mesh, crossings, bits, units, closeness, threads, keep_births=True, with_kinks=False)
        rows = _Rows(_full_rows(rows.older, cut.births, rows.columns), None, rows.columns)
        mesh, bits, first_parents = cut.mesh, cut.bits, cut.parents
        rest = np.where(np.arange(len(units.slopes)) < _FIRST_CUT, np.inf, units.tolerance)
        crossings = _find_crossings(mesh, rows, rest, bits, None, threads)
    else:
        if rows.births is not None:
            rows = _Rows(_full_rows(rows.older, rows.births, rows.columns), None, rows.columns)
        crossings = _find_crossings(mesh, rows, units.tolerance, bits, None, threads)
    cut = subdivide(mesh, crossings, bits, units, closeness, threads, keep_births=not last, with_kinks=not last)
    return cut, rows, first_parents


def _next_rows(rows: _Rows, slopes: Float64[np.ndarray, " m"], affine: Affine, births: Births) -> tuple[_Rows, float]:
    """Values of the next stage at the older vertices, by a matrix product, and a bound of the norm of its input over the domain.

    On each face |h| <= max(1, |slope|) |y|, and |y| is convex there, so its maximum is at an older vertex.
    """
    y = rows.older
    reach = float(np.sqrt(np.einsum("ij,ij->i", y, y).max())) * max(1.0, float(np.abs(slopes).max(initial=0.0)))
    h = np.where(y > 0, y, slopes * y)
    return _Rows(affine(h), births, np.ascontiguousarray(affine.weight.T)), reach


def _full_rows(older: np.ndarray, births: Births, columns: np.ndarray) -> np.ndarray:
    rows = np.empty((len(older) + len(births.ends), older.shape[1]))
    rows[: len(older)] = older
    interpolate_rows(rows, births, len(older), columns, 0, len(births.ends))
    return rows


def _find_crossings(
    mesh: Mesh, rows: _Rows, tolerance: np.ndarray, bits: np.ndarray, births: Births | None, threads: int
) -> Crossings:
    """The units that cross each face; with births, the values at younger vertices are computed block by block and not kept."""
    counts = np.empty(mesh.n_faces, dtype=np.int64)
    n_units = rows.older.shape[1]
    words = n_words(n_units)
    row_of = np.arange(len(rows.older), dtype=np.int32)
    positive = np.empty((len(rows.older), words), dtype=np.uint64)
    negative = np.empty_like(positive)
    run_chunks(
        lambda a, b: pack_signs(rows.older, tolerance, a, b, positive, negative),
        chunk_bounds(np.arange(len(rows.older) + 1), threads),
        threads,
    )

    def of_faces(begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        crossing = np.empty((end - begin, words), dtype=np.uint64)
        count_crossings(mesh.offsets, mesh.corners, row_of, positive, negative, begin, end, bits, crossing, counts)
        corners = np.diff(mesh.offsets[begin : end + 1])
        units = np.empty(int(counts[begin:end].sum()), dtype=np.int32)
        values = np.empty(int((counts[begin:end] * corners).sum()))
        fill_crossings(mesh.offsets, mesh.corners, row_of, rows.older, tolerance, crossing, begin, end, units, values)
        return units, values

    blocks = run_chunks(of_faces, chunk_bounds(mesh.offsets, threads), threads)
    return Crossings(
        start=running_sum(counts),
        units=np.concatenate([units for units, _ in blocks]),
        value_start=running_sum(counts * np.diff(mesh.offsets)),
        values=np.concatenate([values for _, values in blocks]),
    )
