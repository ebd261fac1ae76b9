"""Looking for new checkpoints of a training while the window is open."""

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

from viz.explorer_session import Session
from viz.napari_dock import Dock

_EVERY = 1000  # milliseconds


class Following(QObject):
    """Asks a growing source for new moments every second until it grows no more, and says what has become of it."""

    def __init__(self, session: Session, dock: Dock, on_grown: Callable[[], None]) -> None:
        super().__init__()
        self.session = session
        self.dock = dock
        self._on_grown = on_grown
        self._problem = ""
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY)
        self._timer.timeout.connect(self.look)
        growth = session.source.growth
        self.dock.show_growth(growth)
        if growth.goes_on or growth.text:  # it may have ended since the session has looked
            self._timer.start()

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def look(self) -> None:
        """Look once."""
        try:
            growth = self.session.source.growth  # asked first: what is written until the end is seen in any case
            grown = self.session.poll()
        except Exception as error:  # a checkpoint may be half read while the training replaces it
            self._problem = " ".join(str(error).split())
            self.dock.show_problem(self._problem)
            return
        if self._problem:
            self._problem = ""
            self.dock.show_problem("")
        self.dock.show_growth(growth)
        if not growth.goes_on:
            self.stop()
        if grown:
            self._on_grown()
