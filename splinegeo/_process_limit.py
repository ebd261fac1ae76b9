"""A limit of the whole process, for as long as anyone asks for it, whichever threads they are."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager


class ProcessLimit(ABC):
    """Counts who holds a limit; nobody waits for another. A forked process, which has none of the threads that may hold
    it, begins anew.
    """

    def __init__(self) -> None:
        self._begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the limit in this block."""
        with self._lock:
            self._set(first=not self._holders)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                self._lift(last=not self._holders)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0

    @abstractmethod
    def _set(self, first: bool) -> None:
        """Somebody asks for the limit, and perhaps nobody held it."""

    @abstractmethod
    def _lift(self, last: bool) -> None:
        """Somebody needs the limit no longer, and perhaps nobody does."""
