"""Compiled loops over chunks of equal weight, on a pool of threads (the kernels release the interpreter's lock)."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Int, Int64, Shaped
from tqdm import tqdm

from splinegeo.progress import current_follower

_CHUNKS_PER_THREAD = 16
_SMALLEST_CHUNK = 1 << 15
_LARGEST_CHUNK = 1 << 18


class OutOfTimeError(Exception):
    """The time limit has passed in the middle of a stage."""


class Watch:
    """Follows long work chunk by chunk: moves a progress bar, and stops the work when its time is over."""

    def __init__(self, bar: tqdm, deadline: float | None = None) -> None:
        self.bar = bar
        self.deadline = deadline
        self._follower = current_follower()  # the pool's threads, which advance, have none of their own
        self._done = self._total = 0

    def start(self, title: str, total: int) -> None:
        """Begin a new piece of work of so many items."""
        self.bar.set_description(title, refresh=False)
        self.bar.reset(total)
        self._done, self._total = 0, total

    def advance(self, n: int) -> None:
        """Count n finished items. Raises `OutOfTimeError` past the deadline."""
        self.bar.update(n)
        self._done += n
        if self._follower is not None:
            self._follower(self._done, self._total)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTimeError


def chunk_bounds(start: Int[np.ndarray, "n+1"], threads: int) -> list[tuple[int, int]]:
    """Ranges of equal weight: `start` is the running sum of the items' weights, its first entry 0."""
    n = len(start) - 1
    n_chunks = _number_of_chunks(n, int(start[-1]), threads)
    targets = np.linspace(0, start[-1], n_chunks + 1)[1:-1]
    inner = np.searchsorted(start, targets)
    return _ranges(np.concatenate([[0], np.clip(inner, 0, n), [n]]))


def even_chunks(n: int, weight: int, threads: int) -> list[tuple[int, int]]:
    """Ranges of n items that all have the same weight."""
    return _ranges(np.linspace(0, n, _number_of_chunks(n, n * weight, threads) + 1).astype(np.int64))


def _number_of_chunks(n: int, weight: int, threads: int) -> int:
    wanted = 1 if threads == 1 else min(_CHUNKS_PER_THREAD * threads, weight // _SMALLEST_CHUNK)
    return max(1, min(n, max(wanted, weight // _LARGEST_CHUNK)))


def _ranges(edges: Int64[np.ndarray, "n+1"]) -> list[tuple[int, int]]:
    """The ranges between ascending edges, without those that are empty."""
    return [(a, b) for a, b in pairwise(edges.tolist()) if a < b]


def run_chunks(
    function: Callable[[int, int], object], bounds: Iterable[tuple[int, int]], threads: int, watch: Watch | None = None
) -> list:
    """Results of `function(begin, end)` for each chunk, in order; errors of a chunk are raised here.

    The calling thread works, too, and chunks are handed out as threads become free.
    """
    bounds = list(bounds)
    results: list = [None] * len(bounds)
    left = iter(range(len(bounds)))  # shared: each thread takes the next one, which the interpreter's lock makes safe

    def work() -> None:
        try:
            for i in left:
                begin, end = bounds[i]
                results[i] = function(begin, end)
                if watch is not None:
                    watch.advance(end - begin)
        finally:
            for _ in left:  # after an error, in whichever thread, there is nothing more to do
                pass

    others = [_pool(threads).submit(work) for _ in range(min(threads, len(bounds)) - 1)]
    try:
        work()
    finally:
        wait([other for other in others if not other.cancel()])
    for other in others:
        if not other.cancelled():
            other.result()
    return results


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="splinegeo")


# A forked process has the pool, but not its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def joined(parts: Sequence[Shaped[np.ndarray, "_ ..."]], threads: int) -> Shaped[np.ndarray, "_ ..."]:
    """The parts, of one type, one after the other; copied on all threads if they are large."""
    start = running_sum(np.array([len(part) for part in parts]))
    whole = np.empty((int(start[-1]), *parts[0].shape[1:]), dtype=parts[0].dtype)

    def copy(begin: int, end: int) -> None:
        first = int(np.searchsorted(start, begin, side="right")) - 1
        for part, at in zip(parts[first:], start[first:].tolist(), strict=False):
            if at >= end:
                break
            a, b = max(begin, at), min(end, at + len(part))
            whole[a:b] = part[a - at : b - at]

    run_chunks(copy, even_chunks(len(whole), whole.nbytes // max(1, len(whole)), threads), threads)
    return whole


def running_sum(counts: Int[np.ndarray, " n"]) -> Int64[np.ndarray, "n+1"]:
    """0 followed by the cumulative sum, in 64 bits whatever the counts' type."""
    start = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:], dtype=np.int64)
    return start
