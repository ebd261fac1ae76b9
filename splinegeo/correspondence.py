"""Which regions of two partitions of one slice correspond: the same pattern, or shared area."""

import numpy as np
from jaxtyping import Int64
from scipy.sparse import csr_array

from splinegeo._chunks import chunk_bounds, even_chunks, run_chunks, running_sum
from splinegeo._polygon_overlap import Boxes, overlap_pairs, pair_faces
from splinegeo.errors import InvalidArgumentError, ShapeError
from splinegeo.locate import Grid
from splinegeo.mesh import Mesh
from splinegeo.partition import Partition
from splinegeo.processors import n_processors

# Planes whose origins and bases differ by more than this share of the domain are different slices.
_SAME_PLANE = 1e-9
# Overlaps narrower than this share of the domain's diameter are the rounding of a common border.
_NARROW = 2.0**-46


def matching_regions(first: Partition, second: Partition) -> Int64[np.ndarray, "n 2"]:
    """Pairs of a region of the first and one of the second partition with the same activation pattern.

    Ordered by the first region; a pattern is a region's in each partition at most once. The partitions may be those of
    two checkpoints of one architecture, on any slices. Raises `ShapeError` for networks with different stages,
    `InvalidArgumentError` for what is no `Partition`.
    """
    _check_partitions(first, second)
    widths = [[stage.n_units for stage in partition.network.stages] for partition in (first, second)]
    if widths[0] != widths[1]:
        raise ShapeError(
            f"patterns of networks with the units {widths[0]} and {widths[1]} cannot be equal: "
            "compare checkpoints of one architecture"
        )
    keys, others = _as_records(first.pattern_keys), _as_records(second.pattern_keys)
    _, mine, theirs = np.intersect1d(keys, others, assume_unique=True, return_indices=True)
    order = np.argsort(mine)
    return np.stack([mine[order], theirs[order]], axis=1)


def overlap_areas(first: Partition, second: Partition) -> csr_array:
    """Area that each region of the first partition shares with each of the second: a sparse (R₁, R₂) matrix.

    Where the domains are equal the rows sum to the areas of the first, the columns to those of the second partition's
    regions. Overlaps narrower than the rounding of the vertices are left out. Raises `ShapeError` if the partitions do
    not lie on one slice, `InvalidArgumentError` for what is no `Partition`.
    """
    _check_partitions(first, second)
    _check_same_plane(first, second)
    grid = second._grid
    boxes, others = _boxes(first.mesh, grid), _boxes(second.mesh, grid)
    threads = n_processors()
    n_cells = (boxes.last_cell - boxes.first_cell + 1).prod(axis=1)
    bounds = chunk_bounds(running_sum(n_cells), threads)
    counts = np.zeros(first.n_regions, dtype=np.int64)

    def pairs_of(begin: int, end: int) -> np.ndarray:
        arguments = boxes, others, grid.start, grid.faces, grid.shape[0], begin, end, counts
        partners = np.empty(8 * (end - begin), dtype=np.int32)
        n = pair_faces(*arguments, partners)
        if n > len(partners):
            partners = np.empty(n, dtype=np.int32)
            pair_faces(*arguments, partners)
        return partners[:n].copy()

    partners = np.concatenate(run_chunks(pairs_of, bounds, threads))
    faces = np.repeat(np.arange(first.n_regions, dtype=np.int32), counts)
    areas = np.empty(len(partners))
    a, b = first.mesh, second.mesh
    run_chunks(
        lambda begin, end: overlap_pairs(
            a.vertices, a.offsets, a.corners, first.areas, b.vertices, b.offsets, b.corners, second.areas,
            faces, partners, begin, end, areas,
        ),
        even_chunks(len(partners), 1, threads),
        threads,
    )  # fmt: skip
    extent = np.minimum((boxes.high - boxes.low).max(axis=1)[faces], (others.high - others.low).max(axis=1)[partners])
    kept = areas > _NARROW * float(np.ptp(first.domain, axis=0).max()) * extent
    matrix = csr_array((areas[kept], (faces[kept], partners[kept])), shape=(first.n_regions, second.n_regions))
    matrix.sort_indices()
    return matrix


def _check_partitions(first: Partition, second: Partition) -> None:
    for name, partition in (("first", first), ("second", second)):
        if not isinstance(partition, Partition):
            raise InvalidArgumentError(
                f"{name} is a {type(partition).__name__}: give a Partition; enumerate_regions makes one"
            )


def _check_same_plane(first: Partition, second: Partition) -> None:
    planes = first.plane, second.plane
    if planes[0].basis.shape != planes[1].basis.shape:
        sizes = [len(plane.origin) for plane in planes]
        raise ShapeError(f"the partitions lie in R^{sizes[0]} and R^{sizes[1]}: overlaps need one slice")
    reach = max(float(np.abs(partition.domain).max()) for partition in (first, second))
    moved = float(np.linalg.norm(planes[0].origin - planes[1].origin))
    turned = float(np.linalg.norm(planes[0].basis - planes[1].basis))
    if moved + reach * turned > _SAME_PLANE * reach:
        raise ShapeError("the partitions lie on different slices: enumerate both on one Slice")


def _boxes(mesh: Mesh, grid: Grid) -> Boxes:
    points = mesh.vertices[mesh.corners]
    low = np.minimum.reduceat(points, mesh.offsets[:-1])
    high = np.maximum.reduceat(points, mesh.offsets[:-1])
    first_cell, last_cell = (
        np.clip((corner - grid.low) * grid.scale, 0, grid.shape[0] - 1).astype(np.int64) for corner in (low, high)
    )
    return Boxes(low, high, first_cell, last_cell)


def _as_records(keys: np.ndarray) -> np.ndarray:
    """Rows as single values that numpy can sort and compare."""
    rows = np.ascontiguousarray(keys)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(len(rows))
