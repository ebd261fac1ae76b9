"""The limit on BLAS's threads: set while anyone holds it, and lifted by the last."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info
from torch import nn

import splinegeo as sg
from splinegeo._blas_threads import one_blas_thread
from splinegeo.progress import followed_by


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_has_one_thread_and_gets_its_threads_back() -> None:
    before = blas_threads()
    with one_blas_thread():
        assert blas_threads() == {1}
        with one_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before


@pytest.mark.parametrize("first", [0, 1])
def test_the_last_of_two_threads_lifts_the_limit(first: int) -> None:
    before = blas_threads()
    entered, leave = threading.Barrier(3), [threading.Event(), threading.Event()]
    inside = []

    def hold(i: int) -> None:
        with one_blas_thread():
            entered.wait(60)
            leave[i].wait(60)

    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(hold, i) for i in range(2)]
        entered.wait(60)
        for i in (first, 1 - first):
            inside.append(blas_threads())
            leave[i].set()
            held[i].result()
    assert inside == [{1}, {1}]
    assert blas_threads() == before


def test_an_enumeration_multiplies_on_one_thread() -> None:
    seen: set[int] = set()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
    before = blas_threads()
    with followed_by(lambda done, total: seen.update(blas_threads())):
        sg.enumerate_regions(model, sg.Slice(np.zeros(2), np.eye(2)), sg.Box(4.0))
    assert seen == {1}
    assert blas_threads() == before


def test_a_forked_process_can_limit_again() -> None:
    program = """
import os
from splinegeo._blas_threads import one_blas_thread
with one_blas_thread():
    pass
child = os.fork()
if not child:
    with one_blas_thread():
        pass
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.strip() == "7"
