"""Opening the explorer: what must be there first, the window itself, and a picture of it."""

import importlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Real

from splinegeo.errors import MissingExtraError
from viz.errors import DrawingError
from viz.explorer_session import Session
from viz.explorer_source import Source

if TYPE_CHECKING:
    from viz.napari_explorer import Explorer

_T = TypeVar("_T")

_HEADLESS = "on a machine without a screen start it by: xvfb-run -a splinegeo explore ..."
_WINDOW = (1560, 960)
_SPARE = "layer controls"


def check_can_open() -> None:
    """Raise `MissingExtraError` without napari and Qt, `DrawingError` without a display that answers.

    Qt itself would end the process with a core dump where there is no display.
    """
    if find_spec("napari") is None or find_spec("qtpy") is None:
        raise MissingExtraError("the explorer needs napari: pip install 'splinegeo[napari]'")
    if not any(find_spec(name) for name in ("PySide6", "PyQt6", "PyQt5", "PySide2")):
        raise MissingExtraError("the explorer needs Qt beside napari: pip install 'splinegeo[napari]'")
    if _loses_references():
        raise MissingExtraError(
            f"PySide6 6.12.0 ends Python {sys.version_info.major}.{sys.version_info.minor} after a while (it loses "
            "references to None): pip install 'PySide6<6.12'"
        )
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM") or os.environ.get("WAYLAND_DISPLAY"):
        return
    display = os.environ.get("DISPLAY", "")
    if not display:
        raise DrawingError(f"there is no display for the explorer's window (DISPLAY is not set): {_HEADLESS}")
    if not _answers(display):
        raise DrawingError(f"the display {display} does not answer: {_HEADLESS}")


def load_triton() -> None:
    """Load torch's compiler triton, where it is installed, before a window is there.

    Both it and Mesa's software OpenGL bring an LLVM, and the process crashes if torch loads triton's second, as it does
    for the first optimiser.
    """
    with suppress(ImportError):
        importlib.import_module("triton")


def while_napari_loads(load: Callable[[], _T]) -> _T:
    """What `load` returns, called in a thread while napari is imported in this one; raises what it raises."""
    try:
        check_can_open()
    except (MissingExtraError, DrawingError):
        return load()  # what is wrong with the input is said first, this by `open_explorer`
    load_triton()
    with ThreadPoolExecutor(1, "splinegeo opening") as thread:
        loaded = thread.submit(load)
        _import_napari()
        return loaded.result()


def open_explorer(
    source: Source,
    custom: Mapping[str, Real[np.ndarray, " R"]] | None = None,
    title: str = "splinegeo",
    session: Session | None = None,
) -> "Explorer":
    """Open a napari window with the explorer of a source; `napari.run()` then lets the user work with it.

    `custom` holds the user's own numbers for the regions of a partition, by name; `session` one of both that has begun
    already, so that its frame is made while the window opens. Raises as `check_can_open`.
    """
    check_can_open()
    load_triton()
    import napari
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow

    from viz.napari_dock import WIDTH
    from viz.napari_explorer import Explorer

    viewer = napari.Viewer(title=title, ndisplay=2, show=False)
    explorer = Explorer(viewer, source, custom, session)
    window = explorer.dock.window()
    for dock in window.findChildren(QDockWidget):
        if dock.objectName() == _SPARE:  # what it sets is set by the explorer; the menu Window brings it back
            dock.hide()
    viewer.show()
    window.resize(*_WINDOW)
    assert isinstance(window, QMainWindow)
    window.resizeDocks([explorer.dock_widget, explorer.region_dock], [WIDTH, WIDTH - 40], Qt.Orientation.Horizontal)
    if session is not None:
        QApplication.processEvents()  # the canvas has its size then, which a frame that is ready is fitted into
        explorer.refresh()
    return explorer


def _import_napari() -> None:
    import napari

    _ = napari.Viewer  # napari loads most of itself only when it is asked for this
    importlib.import_module("viz.napari_explorer")


def work(explorer: "Explorer", when_closed: Callable[[], None] | None = None) -> None:
    """Let the user work until the window is closed."""
    import napari

    try:
        napari.run()
    finally:
        explorer.close()
        if when_closed is not None:
            when_closed()


def picture(explorer: "Explorer", path: Path, timeout: float = 300.0) -> Path:
    """Write the window as .png when all that is asked for is shown. Raises `DrawingError` for what went wrong in it."""
    import io
    import time

    from PIL import Image
    from qtpy.QtWidgets import QApplication

    from splinegeo.atomic import write_atomically

    if path.suffix != ".png":
        raise DrawingError(f"a picture of the window is written as .png, not {path.name}")
    end = time.monotonic() + timeout
    while not explorer.is_complete:
        if explorer.session.error is not None:
            raise DrawingError(f"the explorer could not show this: {' '.join(str(explorer.session.error).split())}")
        if time.monotonic() > end:
            raise DrawingError(f"the explorer was not ready after {timeout:g} s: choose a smaller half-width")
        QApplication.processEvents()
        time.sleep(0.01)
    for _ in range(3):
        QApplication.processEvents()
    content = io.BytesIO()
    Image.fromarray(explorer.viewer.screenshot(canvas_only=False)[..., :3]).save(content, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _loses_references() -> bool:
    """Whether Qt's Python binding is the one that counts references wrongly where None can be deallocated."""
    if sys.version_info >= (3, 12) or os.environ.get("QT_API", "pyside6").lower() != "pyside6":
        return False
    try:
        return version("PySide6_Essentials") == "6.12.0"
    except PackageNotFoundError:
        return False


def _answers(display: str) -> bool:
    """Whether an X server takes connections at a name such as :0, :99.0 or host:10."""
    host, _, rest = display.rpartition(":")
    number = rest.split(".")[0]
    if not number.isdecimal():
        return False
    try:
        if host in ("", "unix"):
            for address in (f"/tmp/.X11-unix/X{number}", f"\0/tmp/.X11-unix/X{number}"):
                with socket.socket(socket.AF_UNIX) as server:
                    server.settimeout(3.0)
                    if server.connect_ex(address) == 0:
                        return True
            return False
        with socket.create_connection((host.removeprefix("tcp/"), 6000 + int(number)), timeout=3.0):
            return True
    except OSError:
        return False
