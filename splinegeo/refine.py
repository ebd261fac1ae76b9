"""Enumeration of the linear regions on a slice: stage by stage, the faces of a mesh are cut by the units' zero sets."""

import time
from contextlib import ExitStack

import numpy as np
from jaxtyping import Float64
from torch import nn
from tqdm import tqdm

from splinegeo._blas_threads import one_blas_thread
from splinegeo._chunks import OutOfTimeError, Watch
from splinegeo._compilation import announce_compilation
from splinegeo._cutting import Limit
from splinegeo._refinement import Refinement
from splinegeo.errors import InvalidArgumentError, ShapeError
from splinegeo.network import Network, read_network
from splinegeo.partition import Partition
from splinegeo.processors import n_processors
from splinegeo.slice import Box, Slice, domain_polygon, is_number

# Out of time, or interrupted: the regions of about so many faces are still finished, which takes a moment.
_LAST_REGIONS = 10_000


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
        domain: part of the slice, in slice coordinates: a `Box` or a convex polygon (k, 2); default: a square about
            the slice's points, with a margin of half their extent.
        max_regions: give at most so many regions.
        progress: show a progress bar.
        time_limit: seconds after which to stop.
        threads: threads of the compiled kernels; default: as many as processors that this process may use.

    At a limit, or when interrupted from the keyboard, the result is a partition of a part of the domain into true
    regions, and its `complete` is False; unless what was left to do takes a moment only, and nothing is left out.

    Raises `UnsupportedModuleError`, `InvalidNetworkError`, `InvalidDomainError`, `ShapeError`; `InvalidArgumentError`
    for limits and threads that are no whole number from 1, a negative time, or a plane that is no `Slice`.
    """
    _check_count("max_regions", max_regions)
    if time_limit is not None and not (is_number(time_limit) and time_limit >= 0):
        raise InvalidArgumentError(f"time_limit must be a number of seconds that is not negative, not {time_limit!r}")
    with ExitStack() as held:
        held.enter_context(one_blas_thread())
        refinement, polygon = start_refinement(model, plane, domain, threads)
        if refinement.is_restricted:
            held.close()  # there torch multiplies, on all its threads
        limit = Limit(max_regions)
        deadline = None if time_limit is None else time.monotonic() + time_limit
        bar = held.enter_context(tqdm(disable=not progress, unit=" faces", leave=False))
        while True:
            try:
                while not refinement.finished:
                    refinement = refinement.advance(limit, Watch(bar, deadline))
                return _partition(refinement, limit, plane, polygon)
            except (OutOfTimeError, KeyboardInterrupt):
                if not refinement.finished:
                    # Nothing is left out yet: small partitions are still finished.
                    limit, deadline = Limit(min(_LAST_REGIONS, max_regions or _LAST_REGIONS), limit.reached), None


def _partition(refinement: Refinement, limit: Limit, plane: Slice, polygon: Float64[np.ndarray, "k 2"]) -> Partition:
    """The finished faces, or as many as the limit allows."""
    if limit.regions is not None and refinement.mesh.n_faces > limit.regions:
        limit.reached = True
        refinement = refinement.part(0, limit.regions)
    return refinement.partition(plane, polygon, complete=not limit.reached)


def _check_count(name: str, count: int | None) -> None:
    is_whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if count is not None and not (is_whole and count >= 1):
        raise InvalidArgumentError(f"{name} must be a whole number, at least 1, not {count!r}")


def start_refinement(
    model: nn.Module | Network, plane: Slice, domain: Box | np.ndarray | None, threads: int | None
) -> tuple[Refinement, Float64[np.ndarray, "k 2"]]:
    """One face, the domain, and its polygon; raises as `enumerate_regions`."""
    if not isinstance(plane, Slice):
        raise InvalidArgumentError(f"plane is a {type(plane).__name__}: give a Slice; Slice.through_points makes one")
    _check_count("threads", threads)
    network = model if isinstance(model, Network) else read_network(model, plane.input_shape)
    if network.n_inputs != len(plane.origin):
        raise ShapeError(f"the network takes {network.n_inputs} inputs, but the slice lies in R^{len(plane.origin)}")
    polygon = domain_polygon(domain, plane)
    announce_compilation()
    return Refinement.start(network, plane, polygon, threads or n_processors()), polygon
