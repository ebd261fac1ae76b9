"""Playing through the checkpoints of a training, each as soon as it is ready."""

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

from viz.explorer_session import Session
from viz.napari_dock import Dock

_STEP = 280  # milliseconds


class Playback(QObject):
    """Goes on to the next moment while the dock's button is pressed.

    Args:
        session, dock: of the explorer.
        go_to: shows a moment.
        is_shown: whether the moment that was gone to last is on the screen.
    """

    def __init__(
        self, session: Session, dock: Dock, go_to: Callable[[int], None], is_shown: Callable[[], bool]
    ) -> None:
        super().__init__()
        self.session = session
        self.dock = dock
        self._go_to = go_to
        self._is_shown = is_shown
        self._timer = QTimer(self)
        self._timer.setInterval(_STEP)
        self._timer.timeout.connect(self._go_on)
        dock.played.connect(self.play)

    def play(self, playing: bool) -> None:
        """Play, from the beginning if the end is shown; or pause."""
        if playing and self.session.index == len(self.session.moments) - 1:
            self._go_to(0)
        if playing:
            self._timer.start()
        else:
            self._timer.stop()

    def stop(self) -> None:
        """Play no more."""
        self._timer.stop()

    def _go_on(self) -> None:
        following = self.session.index + 1
        if following >= len(self.session.moments):
            self.dock.play.setChecked(False)
        elif self._is_shown() and self.session.is_ready(following):
            self._go_to(following)
