"""When the state that training resumes from is saved: often enough to lose little, seldom where saving is slow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_SAVES = 10.0
"""Between moments of logging a kill loses at most this much, or one epoch if that takes longer."""
SAVING_SHARE = 0.05
_QUICK_SAVE = 0.05
"""A save of at most so many seconds is made at every moment of logging."""


class SavingPace:
    """Saves at every moment of logging, and every SECONDS_BETWEEN_SAVES.

    Where a save takes longer than _QUICK_SAVE, as with the hundred gradients of Grokfast's window, only once training
    has gone on for so long that the save is SAVING_SHARE of it. What is saved when changes no number of a run.
    """

    def __init__(self) -> None:
        self._saved_at = time.monotonic()
        self._trained = 0.0
        self._took = 0.0

    def is_due(self, trained: float, is_logged: bool) -> bool:
        """Whether to save after so many seconds of training, at a moment of logging or between two."""
        if self._took > _QUICK_SAVE and (trained - self._trained) * SAVING_SHARE < self._took:
            return False
        return is_logged or time.monotonic() - self._saved_at > SECONDS_BETWEEN_SAVES

    @contextmanager
    def saving(self, trained: float) -> Iterator[None]:
        """Time a save, which is made in the block."""
        started = time.perf_counter()
        yield
        self._took = time.perf_counter() - started
        self._trained = trained
        self._saved_at = time.monotonic()
