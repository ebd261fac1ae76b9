"""Work on many tasks, in this process or in several, with a progress bar and a tidy end at Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import Protocol, TypeVar

from splinegeo.processors import n_processors

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Results that may wait in memory for their turn, for each process.
_AHEAD = 3


class RunAll(Protocol):
    """Maps a function over tasks, in their order, under a progress bar with a text."""

    def __call__(self, work: Callable[[_Task], _Result], tasks: Sequence[_Task], text: str) -> Iterator[_Result]:
        """The results, one after the other."""


@contextmanager
def processes(jobs: int, unit: str) -> Iterator[RunAll]:
    """Give a function that maps over tasks in so many processes; 1 works in this one.

    The function and the tasks of several processes must be picklable, and their errors are raised here.
    """
    from tqdm import tqdm

    def shown(results: Iterator[_Result], total: int, text: str) -> Iterator[_Result]:
        yield from tqdm(results, total=total, desc=text, unit=f" {unit}", leave=False)

    if jobs == 1:
        yield lambda work, tasks, text: shown(map(work, tasks), len(tasks), text)
        return
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    # Several processes with as many threads each as there are processors wait for each other more than they work.
    os.environ.update(dict.fromkeys(before, str(max(1, n_processors() // jobs))))
    executor = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    try:
        yield lambda work, tasks, text: shown(_in_order(executor, work, tasks, _AHEAD * jobs), len(tasks), text)
    finally:
        executor.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _in_order(
    executor: ProcessPoolExecutor, work: Callable[[_Task], _Result], tasks: Sequence[_Task], ahead: int
) -> Iterator[_Result]:
    left = iter(tasks)
    waiting = [executor.submit(work, task) for task in islice(left, ahead)]
    while waiting:
        result = waiting.pop(0).result()
        waiting.extend(executor.submit(work, task) for task in islice(left, 1))
        yield result


def _ignore_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal: only the first one answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
