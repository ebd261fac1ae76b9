"""Freed memory goes back to the system where the C library can give it, and nothing happens elsewhere."""

import ctypes
import mmap
import sys

import numpy as np
import pytest

from splinegeo import _freed_memory
from splinegeo._freed_memory import give_back_freed_memory, give_back_pages


@pytest.mark.parametrize("reason", [OSError, TypeError])
def test_without_such_a_library_nothing_happens(reason: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def missing(name: None) -> None:
        asked.append(name)
        raise reason

    monkeypatch.setattr(ctypes, "CDLL", missing)
    _freed_memory._trim.cache_clear()
    give_back_freed_memory()
    _freed_memory._trim.cache_clear()
    assert asked == [None]


def test_the_library_is_asked_for_all_that_it_can_give(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(_freed_memory, "_trim", lambda: given.append)
    give_back_freed_memory()
    assert given == [0]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_freed_memory, "_PAGE", mmap.PAGESIZE)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux alone")


def written_pages(n: int) -> np.ndarray:
    """Of memory that is this process's own, as arrays are."""
    pages = mmap.mmap(-1, n * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    written = np.frombuffer(pages, dtype=np.uint8)
    written[:] = 7
    return written


@on_linux
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(("begin", "end"), [(0, 8), (1, 7), (3, 5)])
def test_the_pages_within_an_array_go_and_no_others(begin: int, end: int) -> None:
    pages = written_pages(8)
    bytes_more = 100 if end < 8 else 0  # of pages that lie within the array in part, and so stay
    first, last = begin * mmap.PAGESIZE - (bytes_more if begin else 0), end * mmap.PAGESIZE + bytes_more
    give_back_pages(pages[first:last])
    expected = np.full((8, mmap.PAGESIZE), 7)
    expected[begin:end] = 0
    np.testing.assert_array_equal(pages.reshape(8, -1), expected)


@on_linux
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("n_bytes", [0, 10, mmap.PAGESIZE])
def test_an_array_without_a_whole_page_stays(n_bytes: int) -> None:
    pages = written_pages(2)
    give_back_pages(pages[1 : 1 + n_bytes])
    assert pages.min() == 7


@pytest.mark.usefixtures("small_pages")
def test_on_other_systems_pages_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    _freed_memory._advise.cache_clear()
    array = np.full(8 * mmap.PAGESIZE, 7, dtype=np.uint8)
    give_back_pages(array)
    _freed_memory._advise.cache_clear()
    assert array.min() == 7


@on_linux
def test_large_pages_are_not_broken_up() -> None:
    pages = written_pages(3 * (1 << 21) // mmap.PAGESIZE)
    give_back_pages(pages[100:])
    assert (pages == 0).sum() in (1 << 21, 1 << 22)  # one whole page or two, as the memory happens to lie
    assert pages[-100:].all() or pages.ctypes.data % (1 << 21) == 0
