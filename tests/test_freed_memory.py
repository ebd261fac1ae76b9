"""Freed memory goes back to the system where the C library can give it, and nothing happens elsewhere."""

import ctypes

import pytest

from splinegeo import _freed_memory
from splinegeo._freed_memory import give_back_freed_memory


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
