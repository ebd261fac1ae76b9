"""How many of its cores a machine really gives: other tenants share a virtual machine's, and no clock inside tells."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

_LENGTH = 1024
_ROUNDS = 100_000
"""Numbers that stay in a core's nearest cache, and so many rounds that they take some milliseconds."""


class FreeCores:
    """Measures, again and again, the work that all threads do at once, in units of the most that one has ever done."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        # Apart, so that no thread writes to a cache line that another reads.
        room = np.ones((threads, 2, 2 * _LENGTH))
        self._arrays = [(terms[:_LENGTH], sums[:_LENGTH]) for terms, sums in room]
        self._least = np.inf
        self.measure()

    def measure(self) -> float:
        """From 0 to the number of threads: that many if each has a core to itself."""
        begin = time.perf_counter()
        _add_up(*self._arrays[0], _ROUNDS)
        self._least = min(self._least, time.perf_counter() - begin)
        begin = time.perf_counter()
        for job in [self._pool.submit(_add_up, *arrays, _ROUNDS) for arrays in self._arrays]:
            job.result()
        return self._threads * self._least / (time.perf_counter() - begin)


@njit(nogil=True)
def _add_up(terms: np.ndarray, sums: np.ndarray, rounds: int) -> None:
    for _ in range(rounds):
        for i in range(len(terms)):
            sums[i] += 1.5 * terms[i]
