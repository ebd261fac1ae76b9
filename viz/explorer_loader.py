"""Frames and what is worked out of them, made ahead of time in two worker threads, the most wanted first, and kept as
long as there is room.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from splinegeo.progress import followed_by
from viz.explorer_frame import LONG, Frame, FrameKey

# Regions of all frames kept, about 0.7 kB each with what is worked out of them.
_ROOM = 3_000_000
# Seconds between two messages of progress.
_BETWEEN_MESSAGES = 0.1


class Wish(NamedTuple):
    """A frame, with one colouring or the decision boundary worked out."""

    key: FrameKey
    item: str


class _SupersededError(Exception):
    """Something else is wanted more than what is being worked out."""


class FrameLoader:
    """Makes the frames that are wished for in one thread, and works out their quantities of `LONG` in another: a long
    quantity of one frame keeps none waiting.

    What is under way is ended as soon as something else is more urgent; it is taken up again in its turn.

    Args:
        make: makes a frame; called in the thread.
        on_ready: called in a thread with each wish come true and its frame, or with the error that prevented it.
        on_progress: called in a thread, some times a second, with a wish and the share of it that is done.
        room: keep frames of at most so many regions together; those wished for now always stay, but further ones are
            not made ahead of time where they would not fit.
    """

    def __init__(
        self,
        make: Callable[[FrameKey], Frame],
        on_ready: Callable[[Wish, Frame | Exception], None],
        on_progress: Callable[[Wish, float], None] = lambda wish, share: None,
        room: int = _ROOM,
    ) -> None:
        self._make = make
        self._on_ready = on_ready
        self._on_progress = on_progress
        self._room = room
        self._frames: OrderedDict[FrameKey, Frame] = OrderedDict()
        self._wishes: list[Wish] = []
        self._failed: set[Wish] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(following,), name=name, daemon=True)
            for following, name in ((self._next_frame, "splinegeo frames"), (self._next_long, "splinegeo quantities"))
        ]
        for thread in self._threads:
            thread.start()

    def wish(self, wishes: Sequence[Wish]) -> None:
        """Say what is wanted from now on, the most urgent first; what was wished before is dropped.

        A wish that failed is tried again.
        """
        with self._changed:
            self._wishes = list(wishes)
            self._failed.clear()
            self._changed.notify_all()

    def ready(self, key: FrameKey, item: str | None = None) -> Frame | None:
        """The frame if it is made, and the item worked out; None otherwise."""
        with self._changed:
            frame = self._frames.get(key)
            if frame is None or not (item is None or frame.has(item)):
                return None
            self._frames.move_to_end(key)
            return frame

    def close(self, timeout: float = 10.0) -> None:
        """Stop; what is under way is ended at its next chunk, for which at most `timeout` seconds are waited."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout)

    def _next_frame(self) -> Wish | None:
        """The first wish whose frame is to be made, or read off a frame."""
        for wish in self._wishes:
            frame = self._frames.get(wish.key)
            if wish in self._failed or (frame is not None and (frame.has(wish.item) or wish.item in LONG)):
                continue
            return wish if frame is not None or self._has_room_for(wish.key) else None
        return None

    def _next_long(self) -> Wish | None:
        """The first wish for a long quantity of a frame that is there."""
        for wish in self._wishes:
            frame = self._frames.get(wish.key)
            if frame is not None and wish.item in LONG and wish not in self._failed and not frame.has(wish.item):
                return wish
        return None

    def _work(self, following: Callable[[], Wish | None]) -> None:
        while True:
            with self._changed:
                while not self._closed and following() is None:
                    self._changed.wait()
                wish = following()
                if self._closed or wish is None:
                    return
                frame = self._frames.get(wish.key)
            makes_frame = frame is None
            try:
                with followed_by(_Pace(partial(self._go_on, following, wish, makes_frame))):
                    if frame is None:
                        frame = self._make(wish.key)
                    if not makes_frame or wish.item not in LONG:
                        frame.work_out(wish.item)
            except _SupersededError:
                continue
            except Exception as error:  # told to whoever wished, who shows it: the thread must go on
                with self._changed:
                    failed = [other for other in self._wishes if other.key == wish.key] if makes_frame else []
                    self._failed.update([wish, *failed])
                self._on_ready(wish, error)
                continue
            with self._changed:
                self._frames[wish.key] = frame
                self._frames.move_to_end(wish.key)
                self._make_room()
                self._changed.notify_all()
            if frame.has(wish.item):
                self._on_ready(wish, frame)

    def _go_on(self, following: Callable[[], Wish | None], wish: Wish, makes_frame: bool, share: float) -> None:
        """Pass on how far a wish is; raise where it is no longer the most urgent one of its thread."""
        with self._changed:
            now = None if self._closed else following()
        if now is None or (now.key != wish.key if makes_frame else now != wish):
            raise _SupersededError
        if not makes_frame:
            self._on_progress(wish, share)

    def _has_room_for(self, key: FrameKey) -> bool:
        """Whether a frame may be made: the first always, others while there is room for one as large as the first."""
        first = self._wishes[0].key
        if key == first:
            return True
        wished = {wish.key for wish in self._wishes}
        sizes = {made: frame.partition.n_regions for made, frame in self._frames.items() if made in wished}
        return sum(sizes.values()) + sizes.get(first, 0) <= self._room

    def _make_room(self) -> None:
        kept = {wish.key for wish in self._wishes}
        total = sum(frame.partition.n_regions for frame in self._frames.values())
        for key in [key for key in self._frames if key not in kept]:
            if total <= self._room:
                return
            total -= self._frames.pop(key).partition.n_regions


class _Pace:
    """Follows work, and speaks of it only some times a second."""

    def __init__(self, speak: Callable[[float], None]) -> None:
        self._speak = speak
        self._spoken = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._spoken >= _BETWEEN_MESSAGES:
            self._spoken = now
            self._speak(done / total if total else 1.0)
