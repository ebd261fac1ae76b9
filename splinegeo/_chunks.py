"""Compiled loops over chunks of equal weight, on a pool of threads (the kernels release the interpreter's lock)."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int, Int64

CHUNKS_PER_THREAD = 4


def chunk_bounds(start: Int[np.ndarray, "n+1"], threads: int) -> list[tuple[int, int]]:
    """Ranges of equal weight: `start` is the running sum of the items' weights, its first entry 0."""
    n = len(start) - 1
    n_chunks = min(n, 1 if threads == 1 else CHUNKS_PER_THREAD * threads)
    if n_chunks <= 1:
        return [(0, n)] if n else []
    targets = np.linspace(0, start[-1], n_chunks + 1)[1:-1]
    inner = np.searchsorted(start, targets)
    edges = np.unique(np.concatenate([[0], np.clip(inner, 0, n), [n]]))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def run_chunks(function: Callable[[int, int], object], bounds: Iterable[tuple[int, int]], threads: int) -> list:
    """Results of `function(begin, end)` for each chunk, in order; errors of a chunk are raised here."""
    bounds = list(bounds)
    if threads == 1 or len(bounds) == 1:
        return [function(begin, end) for begin, end in bounds]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda chunk: function(*chunk), bounds))


def running_sum(counts: Int[np.ndarray, " n"]) -> Int64[np.ndarray, "n+1"]:
    """0 followed by the cumulative sum, in 64 bits whatever the counts' type."""
    start = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:], dtype=np.int64)
    return start
