"""One BLAS thread for as long as anyone asks for it, whichever threads they are."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController

from splinegeo._process_limit import ProcessLimit


def one_blas_thread() -> AbstractContextManager[None]:
    """Matrix products on the calling thread alone, as chunks already fill the processors: two pools would wait for each
    other, and BLAS's idle threads keep a processor busy for a while after each product that they have shared.

    The limit is the process's: it begins with the first and ends with the last who asks for it.
    """
    return _limit.held()


class _OneThread(ProcessLimit):
    """Set and lifted by one thread of its own: threadpoolctl lets none but the thread that has set a limit lift it."""

    def _begin_anew(self) -> None:
        super()._begin_anew()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="splinegeo-blas")
        self._limiter: AbstractContextManager | None = None

    def _set(self, first: bool) -> None:
        if first:
            self._thread.submit(self._limit).result()

    def _lift(self, last: bool) -> None:
        if last:
            self._thread.submit(self._unlimit).result()

    def _limit(self) -> None:
        self._limiter = _libraries().limit(limits=1, user_api="blas")
        self._limiter.__enter__()

    def _unlimit(self) -> None:
        if self._limiter is not None:
            self._limiter.__exit__(None, None, None)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


_limit = _OneThread()
