"""Runs on one thread and on several, in turns, beside what the machine gives to as many processes at once.

Threads can win no more than the machine has to give: processors that are shared with others, and memory that one
thread alone may keep busy, leave less than their number. Independent processes on one thread each show how much.
"""

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from workloads import WORKLOADS, Workload

# A turn repeats short runs for about so many seconds: memory is then as a caller finds it who goes on in one way.
_TURN_SECONDS = 0.5


def in_turns(workload: Workload, threads: int, turns: int, budget: float) -> dict[str, list[float]]:
    """Wall seconds of a warm run, turn by turn: "alone", on one thread; "together", on several; "beside", on one
    thread while other processes do the same, as many in all as there are threads.

    Fewer turns, but two, where so many take longer than the budget of seconds.
    """
    alone, together = enumeration(workload, 1), enumeration(workload, threads)
    with _others(workload, threads - 1) as others:
        for run in (alone, together):
            run()
        begin = time.perf_counter()
        alone()
        repeats = max(1, int(_TURN_SECONDS / (time.perf_counter() - begin)))
        ways = {
            "alone": lambda: _repeated(alone, repeats),
            "together": lambda: _repeated(together, repeats),
            "beside": lambda: _beside(alone, others, repeats),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        begin = time.perf_counter()
        for turn in range(turns):
            for way in sorted(ways, reverse=turn % 2 == 1):
                seconds[way].append(ways[way]())
            if turn > 0 and (time.perf_counter() - begin) * (turn + 2) / (turn + 1) > budget:
                break
    return seconds


def enumeration(workload: Workload, threads: int, read_before: bool = False) -> Callable[[], int]:
    """A function that enumerates a workload's regions and returns their number; it reads the torch module each time, or
    never.
    """
    import splinegeo as sg

    model, plane, domain = workload.model(), workload.plane(), sg.Box(workload.half_width)
    network = sg.read_network(model, plane.input_shape) if read_before else model
    return lambda: sg.enumerate_regions(network, plane, domain, threads=threads).n_regions


def _repeated(run: Callable[[], int], repeats: int) -> float:
    gc.collect()
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - begin) / repeats


def _beside(run: Callable[[], int], others: list[Connection], repeats: int) -> float:
    for other in others:
        other.send(repeats)
    seconds = [_repeated(run, repeats), *(other.recv() for other in others)]
    return sum(seconds) / len(seconds)


@contextmanager
def _others(workload: Workload, n: int) -> Iterator[list[Connection]]:
    """Processes that wait to enumerate a workload on one thread, as often as they are told."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(n):
        ours, theirs = context.Pipe()
        process = context.Process(target=_wait_for_turns, args=(workload.name, theirs), daemon=True)
        process.start()
        ours.recv()  # it is ready
        pipes.append(ours)
        processes.append(process)
    try:
        yield pipes
    finally:
        for pipe in pipes:
            pipe.send(0)
        for process in processes:
            process.join()


def _wait_for_turns(workload: str, pipe: Connection) -> None:
    run = enumeration(WORKLOADS[workload], 1)
    run()
    pipe.send(0)
    while repeats := pipe.recv():
        pipe.send(_repeated(run, repeats))
