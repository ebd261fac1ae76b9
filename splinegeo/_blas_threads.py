"""One BLAS thread for as long as anyone asks for it, whichever threads they are."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrix products on the calling thread alone, as chunks already fill the processors: two pools would wait for each
    other, and BLAS's idle threads keep a processor busy for a while after each product that they have shared.

    The limit is the process's: it begins with the first and ends with the last who asks for it.
    """
    _limit.begin()
    try:
        yield
    finally:
        _limit.end()


class _Limit:
    """Counts who holds the limit. One thread of its own sets and lifts it, as threadpoolctl lets none but the thread
    that has set a limit lift it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="splinegeo-blas")
        self._limiter: AbstractContextManager | None = None

    def begin(self) -> None:
        with self._lock:
            if not self._holders:
                self._thread.submit(self._set).result()
            self._holders += 1

    def end(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._thread.submit(self._lift).result()

    def _set(self) -> None:
        self._limiter = _libraries().limit(limits=1, user_api="blas")
        self._limiter.__enter__()

    def _lift(self) -> None:
        if self._limiter is not None:
            self._limiter.__exit__(None, None, None)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


_limit = _Limit()


def _renew() -> None:
    global _limit
    _limit = _Limit()


# A forked process has the limit's thread in its books, but not the thread.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
