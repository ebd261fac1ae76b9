"""The viewer's camera: what of the world is on the canvas, and how it stays there when the world moves."""

from typing import Any

import numpy as np

from viz.explorer_window import Window
from viz.napari_layers import View

# Share of the canvas that the whole window fills.
_FILL = 0.94


class Camera:
    """The camera of a napari viewer, in the world of a window."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer

    @property
    def events(self) -> tuple[Any, ...]:
        """What happens when the canvas shows something else."""
        events = self.viewer.camera.events
        return events.zoom, events.center, self.viewer.canvas.events.size

    @property
    def view(self) -> View:
        """What the canvas shows."""
        height, width = self.viewer.canvas.size
        pixel = 1.0 / self.viewer.camera.zoom
        center = np.asarray(self.viewer.camera.center[-2:])
        half = 0.5 * pixel * np.array([height, width])
        return View(np.stack([center - half, center + half]), pixel)

    def fit(self, window: Window) -> None:
        """Show the whole of a window, in its own world."""
        self.viewer.camera.center = (0.0, 0.0)
        self.viewer.camera.zoom = _FILL * min(self.viewer.canvas.size) / (2 * window.half_width)

    def keep(self, before: Window, after: Window) -> None:
        """Show the same place of the slice in the world of another window."""
        center = before.to_slice(np.asarray(self.viewer.camera.center[-2:]))
        self.viewer.camera.center = tuple(after.to_world(center))

    def seen(self, window: Window) -> Window:
        """The square of the slice that the canvas shows, in the world of a window."""
        rectangle = self.view.rectangle
        center = window.to_slice(rectangle.mean(axis=0))
        half_width = 0.5 * float((rectangle[1] - rectangle[0]).min()) * _FILL
        return Window((float(center[0]), float(center[1])), half_width)
