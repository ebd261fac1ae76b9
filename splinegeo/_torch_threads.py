"""Torch on one thread for as long as anyone asks for it, whichever threads they are."""

from contextlib import AbstractContextManager

import torch

from splinegeo._process_limit import ProcessLimit


def one_torch_thread() -> AbstractContextManager[None]:
    """Torch on one thread: of small products, several would spend their time waiting for each other.

    The number is the process's, and each thread keeps it from its first use on: everyone brings back what the first has
    found, not the 1 of another who still asks for it.
    """
    return _limit.held()


class _OneThread(ProcessLimit):
    """Keeps the number of threads from before."""

    _before = 0

    def _set(self, first: bool) -> None:
        if first:
            self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def _lift(self, last: bool) -> None:
        torch.set_num_threads(self._before)


_limit = _OneThread()
