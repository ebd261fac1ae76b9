"""Values of a stage's units at the mesh's vertices, and from them the units that cross each face."""

import threading
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt64

from splinegeo._bits import n_words
from splinegeo._chunks import Watch, chunk_bounds, even_chunks, joined, run_chunks, running_sum
from splinegeo._crossings import (
    Births,
    Crossings,
    count_crossings,
    family_blocks,
    fill_crossings,
    find_in_blocks,
    independent_births,
    interpolate_rows,
    pack_signs,
)
from splinegeo._rows import empty_rows
from splinegeo.mesh import Mesh

# Rows of a block of faces are computed in a buffer of about this size, which stays in the cache.
_BLOCK_BYTES = 1 << 21
# What a block weighs in chunks: sixteen of them are handed to a thread at a time, fewer where there are few.
_BLOCK_WEIGHT = 1 << 14
# A face is crossed by about as many units as it has corners, or by fewer; there is more room where that is not enough.
_VALUES_PER_CORNER = 4


@dataclass(frozen=True)
class Values:
    """A stage's values at the vertices: rows at the older ones, and the births from which the younger ones' rows
    follow.

    `columns` are the rows of the stage's Wᵀ: what a kink of a unit of the stage before adds. `parents` are the faces
    that the mesh's faces were cut from when the younger vertices were born.
    """

    older: Float64[np.ndarray, "V n"]
    births: Births | None = None
    columns: Float64[np.ndarray, "m n"] = field(default_factory=lambda: np.empty((0, 0)))
    parents: Int32[np.ndarray, " F"] | None = None

    def at_all_vertices(self, threads: int) -> "Values":
        """The same values with a row for every vertex."""
        if self.births is None:
            return self
        n_older = len(self.older)
        rows = empty_rows(n_older + len(self.births.ends), self.older.shape[1])
        run_chunks(
            lambda a, b: np.copyto(rows[a:b], self.older[a:b]),
            even_chunks(n_older, rows.shape[1], threads),
            threads,
        )
        births, n_units = self.births, rows.shape[1]
        on_edges = even_chunks(births.n_on_edges, n_units, threads)
        for bounds in (on_edges, _ranges_inside_faces(births, n_older, n_units, threads)):
            run_chunks(lambda a, b: interpolate_rows(rows, births, n_older, self.columns, a, b), bounds, threads)
        return Values(rows)


def find_crossings(
    mesh: Mesh,
    values: Values,
    tolerance: Float64[np.ndarray, " n"],
    bits: UInt64[np.ndarray, "F words"],
    threads: int,
    watch: Watch,
) -> Crossings:
    """The units that cross each face, and their values at its corners; `bits` gets the units that are positive
    somewhere in a face.

    With births, the rows of younger vertices are computed block by block and not kept.
    """
    counts = np.empty(mesh.n_faces, dtype=np.int64)
    if values.births is None:
        blocks = _from_rows(mesh, values.older, tolerance, bits, counts, threads)
    else:
        blocks = _from_births(mesh, values, tolerance, bits, counts, threads, watch)
    return Crossings(
        start=running_sum(counts),
        units=joined([units for units, _ in blocks], threads),
        value_start=running_sum(counts * np.diff(mesh.offsets)),
        values=joined([values for _, values in blocks], threads),
    )


def _from_rows(
    mesh: Mesh, rows: np.ndarray, tolerance: np.ndarray, bits: np.ndarray, counts: np.ndarray, threads: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    row_of = np.arange(len(rows), dtype=np.int32)
    positive = np.empty((len(rows), n_words(rows.shape[1])), dtype=np.uint64)
    negative = np.empty_like(positive)
    run_chunks(
        lambda a, b: pack_signs(rows, tolerance, a, b, positive, negative),
        even_chunks(len(rows), rows.shape[1], threads),
        threads,
    )
    return run_chunks(
        lambda a, b: _of_faces(mesh, rows, row_of, positive, negative, tolerance, bits, counts, a, b),
        chunk_bounds(positive.shape[1] * mesh.offsets, threads),
        threads,
    )


def _from_births(
    mesh: Mesh,
    values: Values,
    tolerance: np.ndarray,
    bits: np.ndarray,
    counts: np.ndarray,
    threads: int,
    watch: Watch,
) -> list[tuple[np.ndarray, np.ndarray]]:
    n_units = values.older.shape[1]
    ends = _family_blocks(mesh, values.parents, max(256, _BLOCK_BYTES // (8 * n_units)))
    most_faces, most_corners = int(np.diff(ends).max()), int(np.diff(mesh.offsets[ends]).max())
    n_rows = min(most_corners, len(mesh.vertices))
    work = threading.local()

    def of_blocks(first: int, last: int) -> list[tuple[np.ndarray, np.ndarray]]:
        if not hasattr(work, "rows"):
            work.rows = empty_rows(n_rows, n_units)
            work.positive = np.empty((n_rows, n_words(n_units)), dtype=np.uint64)
            work.negative = np.empty_like(work.positive)
            work.crossing = np.empty((most_faces, n_words(n_units)), dtype=np.uint64)
            work.row_of = np.empty(len(mesh.vertices), dtype=np.int32)
            work.seen = np.full(len(mesh.vertices), -1, dtype=np.int32)
        found = []
        n_faces = int(ends[last] - ends[first])
        room = 1 + int(_VALUES_PER_CORNER * (mesh.offsets[ends[last]] - mesh.offsets[ends[first]]))
        while first < last:
            units, at_corners = np.empty(room, dtype=np.int32), np.empty(room)
            done, n, n_values = find_in_blocks(
                mesh.offsets, mesh.corners, ends, first, last, values.older, values.births, values.columns, tolerance,
                work.row_of, work.seen, work.rows, work.positive, work.negative, work.crossing, bits, counts, units,
                at_corners,
            )  # fmt: skip
            found.append((units[:n], at_corners[:n_values]))
            first, room = done, room if done > first else 2 * room
        watch.advance(n_faces)
        return found

    watch.start("values", mesh.n_faces)
    found = run_chunks(of_blocks, even_chunks(len(ends) - 1, _BLOCK_WEIGHT, threads), threads)
    return [part for parts in found for part in parts]


def _ranges_inside_faces(births: Births, n_older: int, n_units: int, threads: int) -> list[tuple[int, int]]:
    """Ranges of the births inside faces that do not build on each other, as long as chunks of so many units."""
    first, n = births.n_on_edges, len(births.ends)
    length = max((end - begin for begin, end in even_chunks(n - first, n_units, threads)), default=1)
    starts = np.empty((n - first) // length + 1, dtype=np.int64)
    found = independent_births(births, n_older + first, length, starts)
    edges = [first, *starts[:found][::-1].tolist(), n]
    return [(a, b) for a, b in pairwise(edges) if a < b]


def _family_blocks(mesh: Mesh, parents: np.ndarray | None, corners_per_block: int) -> Int64[np.ndarray, " blocks+1"]:
    """Where blocks of faces with about so many corners end, the first entry 0: each has whole families, all children of
    the faces they were cut from.
    """
    parents = np.arange(mesh.n_faces, dtype=np.int32) if parents is None else parents
    ends = np.zeros(mesh.n_faces + 1, dtype=np.int64)
    n = family_blocks(parents, mesh.offsets, corners_per_block, ends[1:])
    return ends[: n + 1]


def _of_faces(
    mesh: Mesh,
    rows: np.ndarray,
    row_of: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    tolerance: np.ndarray,
    bits: np.ndarray,
    counts: np.ndarray,
    begin: int,
    end: int,
) -> tuple[np.ndarray, np.ndarray]:
    crossing = np.empty((end - begin, positive.shape[1]), dtype=np.uint64)
    count_crossings(mesh.offsets, mesh.corners, row_of, positive, negative, begin, end, bits, crossing, counts)
    n_corners = np.diff(mesh.offsets[begin : end + 1])
    units = np.empty(int(counts[begin:end].sum()), dtype=np.int32)
    values = np.empty(int((counts[begin:end] * n_corners).sum()))
    fill_crossings(mesh.offsets, mesh.corners, row_of, rows, tolerance, crossing, begin, end, units, values)
    return units, values
