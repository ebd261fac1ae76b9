"""The linear regions on a slice block by block, for partitions that do not fit into memory, from any block on."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from torch import nn
from tqdm import tqdm

from splinegeo._blas_threads import one_blas_thread
from splinegeo._chunks import Watch
from splinegeo._cutting import FIRST_CUT, Limit
from splinegeo._groups import whole_families
from splinegeo._refinement import Refinement
from splinegeo.affine import Affine
from splinegeo.errors import InvalidArgumentError, PartitionFileError
from splinegeo.mesh import Mesh, polygon_area
from splinegeo.network import Network
from splinegeo.refine import start_refinement
from splinegeo.slice import Box, Slice, is_number

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# What a face costs while it is cut, beside the values at its vertices; and how many parts a stage makes of it, at most
# on average in the networks that we have seen.
_FACE_BYTES = 500
_PARTS = 8
# Where faces fill the memory, their blocks take so small a part of it beyond.
_LEAST_LEFT = 4
# Of the pattern words of a stage that is cut.
_COPIES_OF_PATTERNS = 4
_PROBE_SEED = 2
_ANOTHER = "the blocks are of another enumeration: choose another folder"

Place = tuple[tuple[int, int], ...]
"""Of a block: at each splitting of the faces, from the first on, its part and how many faces there were."""


def iterate_regions(
    model: nn.Module | Network,
    plane: Slice,
    domain: Box | Float64[np.ndarray, "k 2"] | None = None,
    *,
    memory: float = 1 << 30,
    progress: bool = False,
    threads: int | None = None,
) -> "RegionBlocks":
    """The linear regions of `enumerate_regions`, block by block, for partitions that do not fit into memory.

    Yields partitions of parts of the domain (`complete` is False unless one block holds everything) that together
    cover it; work arrays take about `memory` bytes at a time. Regions on either side of a block's border share its
    points to rounding.

    Raises `InvalidArgumentError` for a memory that is no number of bytes; all else as `enumerate_regions`, when the
    first block is asked for.
    """
    if not (is_number(memory) and 1 <= memory < np.inf):
        raise InvalidArgumentError(f"memory must be a number of bytes, at least 1, not {memory!r}")
    return RegionBlocks(model, plane, domain, int(memory), progress, threads)


class RegionBlocks(Iterator["Partition"]):
    """What `iterate_regions` returns: an iterator over blocks, which `save_blocks` may begin after one of them."""

    def __init__(
        self,
        model: nn.Module | Network,
        plane: Slice,
        domain: Box | Float64[np.ndarray, "k 2"] | None,
        memory: int,
        progress: bool,
        threads: int | None,
    ) -> None:
        self._arguments = model, plane, domain, threads
        self._memory = memory
        self._progress = progress
        self._blocks: Iterator[tuple[Partition, Place]] | None = None
        self.place: Place = ()
        """The place of the last block that was given."""

    def __next__(self) -> "Partition":
        if self._blocks is None:
            self._blocks = self._all(None, 0)
        block, self.place = next(self._blocks)
        return block

    @property
    def begun(self) -> bool:
        """Whether blocks have been asked for."""
        return self._blocks is not None

    @property
    def network(self) -> Network:
        """The network as it is enumerated."""
        return self._start[0].network

    def begin_after(self, place: Place, n_blocks: int) -> None:
        """Leave out the blocks up to that at a place, `n_blocks` of them, without computing them.

        Asking for the next one raises `PartitionFileError` if there is no such block.
        """
        self._blocks = self._all(place, n_blocks)

    @property
    def source(self) -> dict[str, object]:
        """What decides the blocks: digests of network, slice and domain, values of maps that are not held, memory."""
        refinement, polygon = self._start
        network, plane = refinement.network, self._arguments[1]
        arrays, values = [], []
        generator = np.random.default_rng(_PROBE_SEED)
        for affine in (*(stage.affine for stage in network.stages), network.output):
            if isinstance(affine, Affine):
                arrays += [affine.weight, affine.bias]
            else:
                outputs = affine(generator.standard_normal(affine.n_inputs))
                values += [float(np.linalg.norm(outputs)), float(generator.standard_normal(len(outputs)) @ outputs)]
        for stage in network.stages:
            arrays += [stage.slopes, stage.carried, stage.layer_unit]
        return {
            "network": _digest(*arrays),
            "operators": values,
            "slice": _digest(plane.origin, plane.basis, np.array(plane.input_shape)),
            "domain": _digest(polygon),
            "memory": self._memory,
        }

    @cached_property
    def _start(self) -> tuple[Refinement, Float64[np.ndarray, "k 2"]]:
        with one_blas_thread():
            return start_refinement(*self._arguments)

    def _all(self, after: Place | None, n_blocks: int) -> "Iterator[tuple[Partition, Place]]":
        refinement, polygon = self._start
        plane, area = self._arguments[1], polygon_area(polygon)
        with tqdm(disable=not self._progress, unit=" faces", leave=False) as bar:
            done = 0.0
            for block, place, share in self._parts(refinement, after, (), self._memory, Watch(bar)):
                done += share
                bar.set_postfix_str(f"{n_blocks} blocks, {done / area:.0%} of the domain")
                if block is not None:
                    n_blocks += 1
                    yield block.partition(plane, polygon, complete=not place), place  # never split: all of the domain

    def _parts(
        self, refinement: Refinement, after: Place | None, place: Place, memory: int, watch: Watch
    ) -> Iterator[tuple[Refinement | None, Place, float]]:
        """Blocks of a refinement with their places, and their areas for the progress bar; None for what is left out."""
        if after == ():
            yield None, place, self._area(refinement.mesh)
            return
        bounds: list[int] = []
        while not refinement.finished and len(bounds := _bounds(refinement, memory, watch)) <= 2:
            begins = _is_large(refinement, memory, watch)
            refinement = refinement.begin_stage(watch) if begins else refinement.advance(Limit(None), watch)
        if refinement.finished:
            if after is not None:
                raise PartitionFileError(_ANOTHER)
            yield refinement, place, self._area(refinement.mesh)
            return
        n_faces = refinement.mesh.n_faces
        last_left_out, n_before = after[0] if after is not None else (-1, n_faces)
        if n_before != n_faces or last_left_out >= len(bounds) - 1:
            raise PartitionFileError(_ANOTHER)
        left = _memory_left(refinement, memory)
        for i, (begin, end) in enumerate(pairwise(bounds)):
            left_out = after[1:] if after is not None and i == last_left_out else None
            part = (*place, (i, n_faces))
            if i < last_left_out or left_out == ():
                yield None, part, self._area(refinement.mesh.faces(begin, end))
            else:
                faces = refinement.part(begin, end)
                if refinement.begun is None:
                    faces = faces.advance(Limit(None), watch)
                yield from self._parts(faces, left_out, part, left, watch)

    def _area(self, mesh: Mesh) -> float:
        """The faces' area where it is shown; measuring takes a while."""
        return float(mesh.areas().sum()) if self._progress else 0.0


def _is_large(refinement: Refinement, memory: int, watch: Watch) -> bool:
    """Whether the parts of a single face may take too much memory, and a few units can divide them before."""
    if refinement.mesh.n_faces > 1 or not refinement.can_begin:
        return False
    n_crossing = refinement.crossings_to_come(watch)
    return bool(n_crossing[0] > FIRST_CUT and _bytes_of_parts(refinement, n_crossing).sum() > memory)


def _bounds(refinement: Refinement, memory: int, watch: Watch) -> list[int]:
    """Where the faces are to be split before the next stage, or within one; first and last included."""
    n_faces = refinement.mesh.n_faces
    if refinement.begun is not None:
        taken = _bytes_of_parts(refinement, refinement.crossings_to_come(watch))
        return _full_blocks(taken, _memory_left(refinement, memory))
    face_bytes = _PARTS * (_FACE_BYTES + refinement.bytes_of_units)
    n_blocks = min(n_faces, -(-n_faces * face_bytes // memory))
    if n_blocks > 1:  # the faces are kept while their blocks are computed
        n_blocks = min(n_faces, -(-n_faces * face_bytes // _memory_left(refinement, memory)))
    bounds = np.linspace(0, n_faces, n_blocks + 1).astype(int).tolist()
    families = refinement.families
    if families is not None:
        bounds = sorted({whole_families(families, n) for n in bounds})
    return bounds


def _full_blocks(taken: Float64[np.ndarray, " F"], memory: int) -> list[int]:
    """Bounds of blocks that take no more than the memory in all, or are one face that takes more."""
    bounds, room = [0], float(memory)
    for face, needed in enumerate(taken.tolist()):
        if needed > room and face > bounds[-1]:
            bounds.append(face)
            room = float(memory)
        room -= needed
    return [*bounds, len(taken)]


def _memory_left(refinement: Refinement, memory: int) -> int:
    """What is left for blocks of faces beside all of these faces; a part of the memory at least."""
    return max(memory // _LEAST_LEFT, memory - refinement.bytes_held)


def _bytes_of_parts(refinement: Refinement, n_crossing: Int64[np.ndarray, " F"]) -> Float64[np.ndarray, " F"]:
    """What the parts of each face take while so many units cut it, at most: if all of them meet each other there."""
    k = n_crossing.astype(np.float64)
    n_units = refinement.network.stages[refinement.index].n_units
    return (1 + k * (k + 1) / 2) * (_FACE_BYTES + _COPIES_OF_PATTERNS * n_units / 8)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
