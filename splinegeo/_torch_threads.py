"""Torch on one thread for as long as anyone asks for it, whichever threads they are."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch on one thread: of small products, several would spend their time waiting for each other.

    The number is the process's, and each thread keeps it from its first use on: everyone brings back what the first has
    found, not the 1 of another who still asks for it. Nobody waits.
    """
    _limit.begin()
    try:
        yield
    finally:
        _limit.end()


class _Limit:
    """Counts who holds the limit, and keeps the number of threads from before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before = 0

    def begin(self) -> None:
        with self._lock:
            if not self._holders:
                self._before = torch.get_num_threads()
            self._holders += 1
            torch.set_num_threads(1)

    def end(self) -> None:
        with self._lock:
            self._holders -= 1
            torch.set_num_threads(self._before)


_limit = _Limit()


def _renew() -> None:
    global _limit
    _limit = _Limit()


# A forked process may have the lock held by a thread that it does not have.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
