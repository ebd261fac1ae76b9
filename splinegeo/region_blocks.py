"""The linear regions on a slice block by block, for partitions that do not fit into memory, from any block on."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from torch import nn
from tqdm import tqdm

from splinegeo._blas_threads import one_blas_thread
from splinegeo._block_memory import (
    USUAL_PARTS,
    bytes_held,
    bytes_of_network,
    bytes_of_parts,
    bytes_of_result,
    bytes_of_whole,
    faces_of_block,
    parts_of_face,
)
from splinegeo._chunks import Watch
from splinegeo._cutting import FIRST_CUT, Limit
from splinegeo._freed_memory import give_back_freed_memory
from splinegeo._groups import whole_families
from splinegeo._refinement import Refinement
from splinegeo._restricted_memory import bytes_of_columns, may_keep_columns, parts_for_columns, room_of
from splinegeo.affine import Affine
from splinegeo.errors import InvalidArgumentError, PartitionFileError
from splinegeo.mesh import Mesh, polygon_area
from splinegeo.network import Network
from splinegeo.refine import start_refinement
from splinegeo.slice import Box, Slice, is_number

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# Of the memory: the share of the block that the caller holds while the next one is computed; and the smallest share
# that is left for blocks of faces beside these faces.
_GIVEN = 1 / 8
_LEAST_LEFT = 1 / 4
# The network's weights are part of the memory, unless they take more than this share.
_MOST_OF_NETWORK = 1 / 2
# Chords of so many units have room for all their meetings. Where there are more, room is made anew until it is enough.
_MOST_CHORDS = 128
# For the parts of one face there is room for more than there are, in which several threads leave gaps, too.
_ROOM = 3
# But the rows of the faces that a few units have cut are to take no more than this share of the memory.
_MOST_OF_COARSE = 1 / 32
# Of columns and torch's arrays, which come and go, the C library keeps gaps that it cannot give back: of the memory, at
# most this share was found.
_GAPS = 1 / 10
# What threads work in, and such gaps in streams of dense networks, are not counted: so many bytes, of a small memory at
# most this share.
_UNCOUNTED, _MOST_UNCOUNTED = 12 << 20, 3 / 16
# Larger blocks were no faster where they were measured, at widths 512 and 1600.
_LARGEST_BLOCK = 1 << 27
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
    cover it. Work arrays, the network's weights and the block given last take about `memory` bytes together, beside the
    compiled kernels (some 70 MB) and what the weights (float64, twice; of convolutions once, with three copies of the
    largest and some numbers of each unit) take beyond half of it. The less memory, the longer it takes: convolutional
    networks many times as long where it is little more than that. Regions on either side of a block's border share its
    points to rounding.

    Where that is not enough for a single face of the stages before, which is never divided, or, in a max pooling, for
    the faces that are to stay together, it takes what these need: convolutions three columns of the two widest stages
    with torch's copies for one of them, and what the first stage makes of the domain, a pattern bit of each unit for
    each face.

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
        area = polygon_area(polygon)
        memory = max(_MOST_OF_NETWORK * self._memory, self._memory - bytes_of_network(refinement.network))
        if refinement.is_restricted:
            memory -= _GAPS * memory
            refinement = refinement.within(room_of(memory))
            give_back_freed_memory()  # of reading the network
        else:
            memory -= min(_UNCOUNTED, _MOST_UNCOUNTED * memory)
        with tqdm(disable=not self._progress, unit=" faces", leave=False) as bar:
            done = 0.0
            parts = self._parts(refinement, after, (), memory, _GIVEN * memory, Watch(bar))
            del refinement  # from here on, what is held is held by those who account for it
            for block, place, share in parts:
                done += share
                bar.set_postfix_str(f"{n_blocks} blocks, {done / area:.0%} of the domain")
                if block is not None:
                    n_blocks += 1
                    yield block, place
                    del block

    def _parts(
        self, refinement: Refinement, after: Place | None, place: Place, memory: float, given: float, watch: Watch
    ) -> "Iterator[tuple[Partition | None, Place, float]]":
        """Blocks of a refinement with their places, and their areas for the progress bar; None for what is left out."""
        if after == ():
            yield None, place, self._area(refinement.mesh)
            return
        bounds: list[int] = []
        part_of = _cut_part
        while not refinement.finished:
            if _begins(refinement, memory, watch):
                refinement = refinement.begin_stage(watch)
                continue
            if refinement.is_restricted and refinement.mesh.n_faces > 1:
                bounds = _bounds_for_columns(refinement, memory)
                if len(bounds) > 2:
                    part_of = _uncut_part
                    break
                refinement = refinement.with_columns(watch)
            bounds = _bounds(refinement, memory, given if place else np.inf, watch)
            if len(bounds) > 2:
                break
            refinement = refinement.advance(Limit(None), watch)
        if refinement.finished:
            if after is not None:
                raise PartitionFileError(_ANOTHER)
            block = refinement.partition(self._arguments[1], self._start[1], complete=not place)  # never split: all
            del refinement  # while the caller works with the block
            share = self._area(block.mesh)
            yield block, place, share
            return
        n_faces = refinement.mesh.n_faces
        last_left_out, n_before = after[0] if after is not None else (-1, n_faces)
        if n_before != n_faces or last_left_out >= len(bounds) - 1:
            raise PartitionFileError(_ANOTHER)
        if refinement.is_restricted and not (_is_last(refinement) and may_keep_columns(refinement, memory)):
            refinement = refinement.without_columns()
        left = _memory_left(refinement, memory if place else memory - given)
        for i, (begin, end) in enumerate(pairwise(bounds)):
            left_out = after[1:] if after is not None and i == last_left_out else None
            part = (*place, (i, n_faces))
            if i < last_left_out or left_out == ():
                yield None, part, self._area(refinement.mesh.faces(begin, end))
            else:
                give_back_freed_memory()  # of the work on all faces, or on the part before
                yield from self._parts(part_of(refinement, begin, end, watch), left_out, part, left, given, watch)

    def _area(self, mesh: Mesh) -> float:
        """The faces' area where it is shown; measuring takes a while."""
        return float(mesh.areas().sum()) if self._progress else 0.0


def _cut_part(refinement: Refinement, begin: int, end: int, watch: Watch) -> Refinement:
    """Some of the faces, cut by the next stage unless they are one that may take too much memory alone."""
    faces = refinement.part(begin, end)
    may_begin_again = refinement.begun is not None and faces.mesh.n_faces == 1
    return faces if may_begin_again else faces.advance(Limit(None), watch)


def _uncut_part(refinement: Refinement, begin: int, end: int, watch: Watch) -> Refinement:
    """Some of the faces, with fewer units that change sign; whether their columns fit is seen before they are there."""
    return refinement.part(begin, end)


def _bounds_for_columns(refinement: Refinement, memory: float) -> list[int]:
    """Where the faces are to be split before the next stage's columns are computed; first and last included."""
    left = _memory_left(refinement, memory)
    if bytes_of_columns(refinement) <= left:
        return [0, refinement.mesh.n_faces]
    left = _memory_left(refinement.without_columns(), memory)
    return _even_bounds(refinement, parts_for_columns(refinement, left))


def _begins(refinement: Refinement, memory: float, watch: Watch) -> bool:
    """Whether a few units are to cut before the others: where the parts of a single face may take too much memory, and
    then until no face is crossed by so many units that they have no room for all their meetings.
    """
    one = refinement.mesh.n_faces == 1
    if not refinement.can_begin or (not one and refinement.begun is None):
        return False
    if not one and bytes_held(refinement) > _MOST_OF_COARSE * memory:
        return False
    n_crossing = refinement.crossings_to_come(watch)
    if not one:
        return bool(n_crossing.max() > _MOST_CHORDS)
    return bool(n_crossing[0] > FIRST_CUT and _ROOM * bytes_of_parts(refinement, n_crossing)[0] > memory)


def _bounds(refinement: Refinement, memory: float, given: float, watch: Watch) -> list[int]:
    """Where the faces are to be split before the next stage, or within one; first and last included."""
    n_faces = refinement.mesh.n_faces
    if refinement.begun is not None:
        taken = bytes_of_parts(refinement, refinement.crossings_to_come(watch)) + bytes_held(refinement) / n_faces
        return _full_blocks(taken, _memory_left(refinement, memory))
    parts = USUAL_PARTS
    if n_faces == 1 or _fits(refinement, parts, memory, given):
        return [0, n_faces]
    parts = parts_of_face(refinement, watch)
    if _fits(refinement, parts, memory, given):
        return [0, n_faces]
    room = min(_LARGEST_BLOCK, _memory_left(refinement, memory))
    most = faces_of_block(refinement, parts, room)
    if _is_last(refinement) and np.isfinite(given):
        most = min(most, max(1, int(given / bytes_of_result(refinement, parts))))
    return _even_bounds(refinement, -(-n_faces // most))


def _even_bounds(refinement: Refinement, n_parts: int) -> list[int]:
    """Bounds of so many parts of the faces, of fewer where families are to stay together."""
    bounds: list[int] = np.linspace(0, refinement.mesh.n_faces, n_parts + 1).astype(int).tolist()
    families = refinement.families
    if families is not None:
        bounds = sorted({whole_families(families, n) for n in bounds})
    return bounds


def _fits(refinement: Refinement, parts: float, memory: float, given: float) -> bool:
    """Whether all faces can be cut at once, and their parts be given if they are regions."""
    if _is_last(refinement) and refinement.mesh.n_faces * bytes_of_result(refinement, parts) > given:
        return False
    return bytes_of_whole(refinement, parts) <= memory


def _is_last(refinement: Refinement) -> bool:
    return refinement.index + 1 == len(refinement.network.stages)


def _full_blocks(taken: Float64[np.ndarray, " F"], memory: float) -> list[int]:
    """Bounds of blocks that take no more than the memory in all, or are one face that takes more."""
    bounds, room = [0], memory
    for face, needed in enumerate(taken.tolist()):
        if needed > room and face > bounds[-1]:
            bounds.append(face)
            room = memory
        room -= needed
    return [*bounds, len(taken)]


def _memory_left(refinement: Refinement, memory: float) -> float:
    """What is left for blocks of faces beside all of these faces; a part of the memory at least."""
    return max(_LEAST_LEFT * memory, memory - bytes_held(refinement))


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
