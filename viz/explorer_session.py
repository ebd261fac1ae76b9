"""The explorer without its window: what is shown, what is wished for next, and the play of a migration."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Real

from viz.explorer_frame import BOUNDARY, Frame, FrameKey, make_frame
from viz.explorer_loader import FrameLoader, Wish
from viz.explorer_slices import SliceChoice
from viz.explorer_source import Moment, Source
from viz.explorer_window import Window

# What is ready at once: a partition with more regions than this is shown in it until its colouring is worked out.
PROVISIONAL, _MANY = "area", 300_000
# Moments after the shown one, and before it, that are made ready ahead of time.
_AHEAD, _BEHIND = 4, 1


class Session:
    """Follows a source: the moment, slice, window and colouring that are chosen, and the frame for them.

    `on_frame` is called, in a thread of the loader, when something that was asked for is ready (or has failed), and
    `on_progress` some times a second while it is worked out: pass both on to the window's thread, which then asks for
    `frame`, `error` and `progress`. A session may begin before there is a window, which then listens.
    """

    def __init__(
        self,
        source: Source,
        on_frame: Callable[[], None] = lambda: None,
        coloring: str = "norm",
        custom: Mapping[str, Real[np.ndarray, " R"]] | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.source = source
        self.custom = dict(custom or {})
        self.moments: list[Moment] = list(source.moments())
        self.index = max(len(self.moments) - 1, 0)
        self.choice = source.first
        self.window = source.first.window
        self.coloring = coloring
        self.follows = source.growth.goes_on
        self.error: Exception | None = None
        self._on_frame = on_frame
        self._on_progress = on_progress
        self._progress: tuple[Wish, float] | None = None
        self._loader = FrameLoader(lambda key: make_frame(source, key, self.custom), self._ready, self._progressed)

    def listen(self, on_frame: Callable[[], None], on_progress: Callable[[], None]) -> None:
        """Call these from now on; what was ready before is not told again."""
        self._on_frame, self._on_progress = on_frame, on_progress

    @property
    def key(self) -> FrameKey | None:
        """The frame that is asked for; None while there is no moment yet."""
        return FrameKey(self.moments[self.index], self.choice, self.window) if self.moments else None

    @property
    def frame(self) -> Frame | None:
        """The frame that is asked for, with its colouring, if it is ready; a large one with any colouring."""
        if self.key is None:
            return None
        frame = self._loader.ready(self.key, self.coloring)
        provisional = self._loader.ready(self.key, PROVISIONAL)
        if frame is None and provisional is not None and provisional.partition.n_regions > _MANY:
            return provisional
        return frame

    @property
    def progress(self) -> tuple[str, float] | None:
        """What is being worked out of the frame that is asked for, and the share of it that is done."""
        if self._progress is None or self._progress[0].key != self.key or self.frame is None:
            return None
        (key, item), share = self._progress
        done = self._loader.ready(key, item) is not None or item not in (self.coloring, BOUNDARY)
        return None if done else (item, share)

    def is_ready(self, index: int) -> bool:
        """Whether a moment could be shown at once."""
        key = FrameKey(self.moments[index], self.choice, self.window)
        return self._loader.ready(key, self.coloring) is not None

    def go_to(self, index: int) -> None:
        """Ask for another moment."""
        self.index = int(np.clip(index, 0, max(len(self.moments) - 1, 0)))
        self.follows = self.source.growth.goes_on and self.index == len(self.moments) - 1
        self.ask()

    def color_by(self, name: str) -> None:
        """Ask for another colouring."""
        self.coloring = name
        self.ask()

    def cut(self, choice: SliceChoice) -> None:
        """Ask for another slice, and its own window."""
        self.choice, self.window = choice, choice.window
        self.ask()

    def look_at(self, window: Window) -> None:
        """Ask for another window of the slice."""
        self.window = window
        self.ask()

    def resize(self, half_width: float) -> None:
        """Ask for another size of the slice's whole window."""
        whole = Window(self.choice.window.center, half_width)
        choice = self.choice
        self.cut(SliceChoice(choice.plane, whole, choice.title, choice.marked, choice.on_plane))

    def poll(self) -> bool:
        """Look for new moments; whether there are any. If the last one was shown, the new last one is asked for."""
        moments = list(self.source.moments())
        if moments == self.moments:
            return False
        shown = self.moments[self.index] if self.moments else None
        self.moments = moments
        if self.follows or shown not in moments:
            self.index = max(len(moments) - 1, 0)
        else:
            self.index = moments.index(shown)
        self.ask()
        return True

    def ask(self) -> None:
        """Wish for what is chosen, then what is likely to be chosen next."""
        self.error = None
        self._loader.wish(self._wishes())

    def close(self) -> None:
        """Stop the loader's threads."""
        self._loader.close()

    def _wishes(self) -> list[Wish]:
        if self.key is None:
            return []
        wishes = [Wish(self.key, PROVISIONAL), Wish(self.key, self.coloring), Wish(self.key, BOUNDARY)]
        for index in self._neighbours():
            key = FrameKey(self.moments[index], self.choice, self.window)
            wishes += [Wish(key, self.coloring), Wish(key, BOUNDARY)]
        return wishes

    def _neighbours(self) -> Sequence[int]:
        steps = sorted([*range(-_BEHIND, 0), *range(1, _AHEAD + 1)], key=lambda step: (abs(step), -step))
        return [self.index + step for step in steps if 0 <= self.index + step < len(self.moments)]

    def _progressed(self, wish: Wish, share: float) -> None:
        self._progress = (wish, share)
        if wish.key == self.key:
            self._on_progress()

    def _ready(self, wish: Wish, result: Frame | Exception) -> None:
        if wish.key == self.key and wish.item in (PROVISIONAL, self.coloring, BOUNDARY):
            if isinstance(result, Exception):
                self.error = result
            self._on_frame()
