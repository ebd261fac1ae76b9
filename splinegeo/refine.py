"""Enumeration of the linear regions on a slice: stage by stage, the faces of a mesh are cut by the units' zero sets."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
from jaxtyping import Float64
from torch import nn
from tqdm import tqdm

from splinegeo._blas_threads import one_blas_thread
from splinegeo._chunks import OutOfTimeError, Watch
from splinegeo._compilation import announce_compilation
from splinegeo._groups import whole_families
from splinegeo._refinement import Limit, Refinement
from splinegeo.errors import InvalidArgumentError, ShapeError
from splinegeo.network import Network, read_network
from splinegeo.partition import Partition
from splinegeo.slice import Box, Slice, domain_polygon

# Out of time, or interrupted: the regions of about so many faces are still finished, which takes a moment.
_LAST_REGIONS = 10_000
# What a face costs while it is cut, beside the values at its vertices; and how many parts a stage makes of it, at most
# on average in the networks that we have seen.
_FACE_BYTES = 500
_PARTS = 8


def enumerate_regions(
    model: nn.Module | Network,
    plane: Slice,
    domain: Box | Float64[np.ndarray, "k 2"] | None = None,
    *,
    max_regions: int | None = None,
    progress: bool = False,
    time_limit: float | None = None,
    threads: int | None = None,
) -> Partition:
    """The linear regions of a network on a slice, exactly: every region a convex polygon with its activation pattern.

    Args:
        model: a torch module, see `read_network`.
        plane: the slice of the network's input space.
        domain: part of the slice, in slice coordinates: a `Box` or a convex polygon (k, 2); default: a margin about
            the slice's points.
        max_regions: give at most so many regions.
        progress: show a progress bar.
        time_limit: seconds after which to stop.
        threads: threads of the compiled kernels; default: all processors.

    At a limit, or when interrupted from the keyboard, the result is a partition of a part of the domain into true
    regions, and its `complete` is False; unless what was left to do takes a moment only, and nothing is left out.

    Raises `UnsupportedModuleError`, `InvalidNetworkError`, `InvalidDomainError`, `ShapeError`; `InvalidArgumentError`
    for limits and threads that are no whole number from 1, a negative time, or a plane that is no `Slice`.
    """
    _check_count("max_regions", max_regions)
    if time_limit is not None and not time_limit >= 0:
        raise InvalidArgumentError(f"time_limit must be a number of seconds that is not negative, not {time_limit}")
    with ExitStack() as held:
        held.enter_context(one_blas_thread())
        refinement, polygon = _start(model, plane, domain, threads)
        if refinement.is_restricted:
            held.close()  # there torch multiplies, on all its threads
        limit = Limit(max_regions)
        deadline = None if time_limit is None else time.monotonic() + time_limit
        bar = held.enter_context(tqdm(disable=not progress, unit=" faces", leave=False))
        while not refinement.finished:
            try:
                refinement = refinement.advance(limit, Watch(bar, deadline))
            except (OutOfTimeError, KeyboardInterrupt):
                # Nothing is left out yet: small partitions are still finished.
                limit, deadline = Limit(min(_LAST_REGIONS, max_regions or _LAST_REGIONS), limit.reached), None
    if limit.regions is not None and refinement.mesh.n_faces > limit.regions:
        limit.reached = True
        refinement = refinement.part(0, limit.regions)
    return refinement.partition(plane, polygon, complete=not limit.reached)


def iterate_regions(
    model: nn.Module | Network,
    plane: Slice,
    domain: Box | Float64[np.ndarray, "k 2"] | None = None,
    *,
    memory: int = 1 << 30,
    progress: bool = False,
    threads: int | None = None,
) -> Iterator[Partition]:
    """The linear regions of `enumerate_regions`, block by block, for partitions that do not fit into memory.

    Yields partitions of parts of the domain (`complete` is False unless one block holds everything) that together
    cover it; work arrays take about `memory` bytes at a time. Regions on either side of a block's border share its
    points to rounding. Raises as `enumerate_regions`.
    """
    with one_blas_thread():
        refinement, polygon = _start(model, plane, domain, threads)
    with tqdm(disable=not progress, unit=" faces", leave=False) as bar:
        for block, is_whole in _blocks(refinement, memory, Watch(bar)):
            yield block.partition(plane, polygon, complete=is_whole)


def _check_count(name: str, count: int | None) -> None:
    if count is not None and not (isinstance(count, int | np.integer) and count >= 1):
        raise InvalidArgumentError(f"{name} must be a whole number, at least 1, not {count}")


def _blocks(
    refinement: Refinement, memory: int, watch: Watch, is_whole: bool = True
) -> Iterator[tuple[Refinement, bool]]:
    """Finished parts of a refinement, and whether each is all of the domain."""
    if refinement.finished:
        yield refinement, is_whole
        return
    face_bytes = _PARTS * (_FACE_BYTES + refinement.bytes_of_units)
    n_faces = refinement.mesh.n_faces
    n_blocks = min(n_faces, -(-n_faces * face_bytes // memory))
    if n_blocks <= 1:
        yield from _blocks(refinement.advance(Limit(None), watch), memory, watch, is_whole)
        return
    bounds = np.linspace(0, n_faces, n_blocks + 1).astype(int).tolist()
    families = refinement.families
    if families is not None:
        bounds = sorted({whole_families(families, n) for n in bounds})
    is_whole = is_whole and len(bounds) == 2
    for begin, end in pairwise(bounds):
        yield from _blocks(refinement.part(begin, end).advance(Limit(None), watch), memory, watch, is_whole)


def _start(
    model: nn.Module | Network, plane: Slice, domain: Box | np.ndarray | None, threads: int | None
) -> tuple[Refinement, Float64[np.ndarray, "k 2"]]:
    if not isinstance(plane, Slice):
        raise InvalidArgumentError(f"plane is a {type(plane).__name__}: give a Slice; Slice.through_points makes one")
    _check_count("threads", threads)
    network = model if isinstance(model, Network) else read_network(model, plane.input_shape)
    if network.n_inputs != len(plane.origin):
        raise ShapeError(f"the network takes {network.n_inputs} inputs, but the slice lies in R^{len(plane.origin)}")
    polygon = domain_polygon(domain, plane)
    announce_compilation()
    return Refinement.start(network, plane, polygon, threads or os.cpu_count() or 1), polygon
