"""Torch on one thread while anyone asks for it, and as before for all of them afterwards."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import splinegeo as sg
from splinegeo._torch_threads import one_torch_thread


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def seen_by_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_one_thread_within_and_as_before_afterwards() -> None:
    with one_torch_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == seen_by_a_new_thread() == 2
    with pytest.raises(KeyError), one_torch_thread():
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_who_asks_at_the_same_time_does_not_keep_the_others_number(first_ends_first: bool) -> None:
    begun, ended = threading.Event(), threading.Event()
    inside, outside = [], []

    def other() -> None:
        with one_torch_thread():
            inside.append(torch.get_num_threads())
            begun.set()
            ended.wait()
        outside.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with one_torch_thread():
        thread.start()
        assert begun.wait(60)  # nobody waits for another
        if not first_ends_first:
            ended.set()
            thread.join()
        assert torch.get_num_threads() == 1
    ended.set()
    thread.join()
    assert inside == [1]
    assert outside == [torch.get_num_threads()] == [seen_by_a_new_thread()] == [2]


def test_networks_are_read_so() -> None:
    seen: list[int] = []

    class Watched(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if type(x) is torch.Tensor:
                seen.append(torch.get_num_threads())
            return super().forward(x)

    sg.read_network(Watched(2, 3), (2,))
    assert seen == [1]
    assert torch.get_num_threads() == 2
