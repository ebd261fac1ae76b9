"""Clicks and moves of the mouse over a viewer's canvas."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float64

# A press that moves by less (pixels) is a click.
_CLICK = 3.0


class Mouse:
    """Calls `on_click` and `on_move` with places of the world; a drag moves the view, as everywhere in napari."""

    def __init__(
        self,
        viewer: Any,
        on_click: Callable[[Float64[np.ndarray, " 2"]], None],
        on_move: Callable[[Float64[np.ndarray, " 2"]], None],
    ) -> None:
        self.viewer = viewer
        self._on_click = on_click
        self._on_move = on_move
        viewer.mouse_drag_callbacks.append(self._press)
        viewer.mouse_move_callbacks.append(self._move)

    def remove(self) -> None:
        """Listen no longer."""
        self.viewer.mouse_drag_callbacks.remove(self._press)
        self.viewer.mouse_move_callbacks.remove(self._move)

    def _press(self, viewer: Any, event: Any) -> Iterator[None]:
        start = np.array(event.pos)
        position = np.array(event.position[-2:])
        yield
        moved = 0.0
        while event.type == "mouse_move":
            moved = max(moved, float(np.abs(np.array(event.pos) - start).max()))
            yield
        moved = max(moved, float(np.abs(np.array(event.pos) - start).max()))
        if moved < _CLICK:
            self._on_click(position)

    def _move(self, viewer: Any, event: Any) -> None:
        self._on_move(np.array(event.position[-2:]))
