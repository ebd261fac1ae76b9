"""The explorer in a napari viewer: its session, layers and dock, joined."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Real
from matplotlib.colors import Normalize
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFileDialog

from splinegeo.errors import SplineGeoError
from viz.coloring import Coloring
from viz.explorer_details import class_at, describe_region
from viz.explorer_export import export_view
from viz.explorer_frame import BOUNDARY, Frame
from viz.explorer_session import PROVISIONAL, Session
from viz.explorer_slices import SliceChoice
from viz.explorer_source import Source
from viz.napari_camera import Camera
from viz.napari_chip import Chip
from viz.napari_dock import Dock, scrolling
from viz.napari_following import Following
from viz.napari_layers import RegionLayers
from viz.napari_lines import LinesInView
from viz.napari_mouse import Mouse
from viz.napari_playback import Playback
from viz.napari_region_panel import RegionDetailsPanel

DOCK_NAME, REGION_NAME = "splinegeo explorer", "splinegeo region"
# Milliseconds after the last move of the view in which it has settled.
_SETTLED = 160
_CANVAS = "#14151c"


class _Bridge(QObject):
    """Carries what the loader's threads say into the window's."""

    ready = Signal()
    progressed = Signal()


class Explorer(QObject):
    """Shows a source in a napari viewer.

    Args:
        viewer: a `napari.Viewer`; the explorer adds six layers and a dock to it.
        source: where the networks come from.
        custom: the user's own numbers for the regions of a partition, by name: further choices of colour.
        session: one of this source and these numbers that has begun already; default: a new one.
    """

    def __init__(
        self,
        viewer: Any,
        source: Source,
        custom: Mapping[str, Real[np.ndarray, " R"]] | None = None,
        session: Session | None = None,
    ) -> None:
        super().__init__()
        self.viewer = viewer
        self.layers = RegionLayers(viewer)
        self.camera = Camera(viewer)
        self._lines = LinesInView(self.layers)
        self._bridge = _Bridge()
        self._bridge.ready.connect(self.refresh)
        self._bridge.progressed.connect(self._show_state)
        self.session = Session(source, custom=custom) if session is None else session
        self.session.listen(self._bridge.ready.emit, self._bridge.progressed.emit)
        self.dock = Dock(source.title, source.samples, list(custom or {}))
        self.panel = RegionDetailsPanel()
        self.scale = "automatic"
        self.shown: Frame | None = None
        self.coloring: Coloring | None = None
        self.norm = Normalize(0, 1)
        self._norm_for: object = None
        self.selected: int | None = None
        self._place: Float64[np.ndarray, " 2"] | None = None
        self._fits = True
        self._is_closed = False
        viewer.canvas.background_color_override = _CANVAS
        viewer.canvas.overlays.scale_bar.visible = True
        viewer.canvas.overlays.scale_bar.font_size = 11
        self.dock_widget = viewer.window.add_dock_widget(
            scrolling(self.dock), name=DOCK_NAME, area="right", add_vertical_stretch=False
        )
        self.region_dock = viewer.window.add_dock_widget(
            self.panel, name=REGION_NAME, area="left", add_vertical_stretch=False
        )
        self.chip = Chip(self.dock_widget.window().centralWidget())
        self.mouse = Mouse(viewer, self.select, lambda world: self.chip.show_text(self.hover(world)))
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED)
        self._settled.timeout.connect(self._settle)
        self._playback = Playback(self.session, self.dock, self.go_to, lambda: self.shown is self.session.frame)
        self._following = Following(self.session, self.dock, self._follow)
        self._connect()
        self.dock.show_moments(self.session.moments, self.session.index)
        self.dock.show_half_width(self.session.choice.window.half_width)
        self.dock.show_busy()
        self.session.ask()

    def close(self) -> None:
        """Stop the timers and the loader; the viewer stays."""
        self._is_closed = True
        for clock in (self._settled, self._playback, self._following):
            clock.stop()
        self.session.close()

    def remove(self) -> None:
        """Stop, and take layers, docks and callbacks out of the viewer."""
        self.close()
        self.mouse.remove()
        for event in self.camera.events:
            event.disconnect(self._on_camera)
        self.layers.remove()
        for dock in (self.dock_widget, self.region_dock):
            self.viewer.window.remove_dock_widget(dock)
        self.chip.deleteLater()

    @property
    def is_complete(self) -> bool:
        """Whether all that is asked for is shown."""
        frame = self.session.frame
        return frame is not None and self.shown is frame and frame.has(BOUNDARY) and frame.has(self.session.coloring)

    def begin(self, index: int, coloring: str = "norm", place: tuple[float, float] | None = None) -> None:
        """Begin with a checkpoint, a colouring, and the region at a place (slice coordinates) selected."""
        self._place = None if place is None else np.array(place)
        self.dock.show_coloring(coloring)
        self.session.coloring = coloring
        self.go_to(index)
        if self.shown is not None:  # it was ready before the place was known
            self._describe()

    # what the user wants

    def go_to(self, index: int) -> None:
        """Show another checkpoint as soon as it is ready."""
        self.session.go_to(index)
        self.dock.show_moments(self.session.moments, self.session.index)
        self._ask_and_refresh()

    def color_by(self, name: str) -> None:
        """Colour the regions by another quantity."""
        self.dock.show_coloring(name)
        self.dock.hold.setChecked(False)
        self.session.color_by(name)
        self._ask_and_refresh()

    def rescale(self, scale: str) -> None:
        """Put the colours on another scale: "automatic", "linear" or "logarithmic"."""
        self.scale = scale
        self.dock.hold.setChecked(False)
        self._recolor()

    def cut(self, choice: SliceChoice) -> None:
        """Show another slice."""
        self._fits = True
        self.select(None)
        self.session.cut(choice)
        self.dock.show_half_width(choice.window.half_width)
        self._ask_and_refresh()

    def resize_slice(self, half_width: float) -> None:
        """Show more or less of the slice."""
        self._fits = True
        self.session.resize(half_width)
        self._ask_and_refresh()

    def whole_slice(self) -> None:
        """Zoom out to the whole window of the slice."""
        self._fits = True
        self.session.look_at(self.session.choice.window)
        if self.shown is not None and self.session.frame is self.shown:
            self._fits = False
            self.camera.fit(self.session.choice.window)
        self._ask_and_refresh()

    def select(self, world: Float64[np.ndarray, " 2"] | None) -> None:
        """Select the region at a place of the world, or none."""
        self._place = None if world is None or self.shown is None else self.shown.key.window.to_slice(world)
        self._describe()

    def hover(self, world: Float64[np.ndarray, " 2"]) -> str:
        """What the region at a place of the world is called; empty outside."""
        if self.shown is None:
            return ""
        region = self.shown.locate(world)
        if region < 0:
            return ""
        place = self.shown.key.window.to_slice(world)
        return f"region {region}  ·  class {class_at(self.shown.partition, region, place)}"

    def export(self, path: Path) -> Path:
        """Draw what the canvas shows as a figure: .png, .pdf or .svg. Raises `DrawingError` for another suffix."""
        if self.shown is None or self.coloring is None:
            raise RuntimeError("nothing is shown yet")
        low, high = self.camera.view.rectangle
        corners = self.shown.key.window.to_slice(np.stack([low, high]))
        title = " · ".join(text for text in (self.session.source.title, self.shown.key.moment.title) if text)
        return export_view(path, self.shown, self.coloring, self.norm, corners, self._labels(), title)

    # what the session has ready

    def refresh(self) -> None:
        """Show what is ready of what is asked for."""
        if self._is_closed:  # the loader's last word may come after the window has gone
            return
        if self.session.error is not None:
            self.dock.show_problem(" ".join(str(self.session.error).split()))
            self.dock.play.setChecked(False)
        frame = self.session.frame
        if frame is None:
            if self.session.error is not None:
                self.dock.show_stopped()
            return
        name = self.session.coloring if frame.has(self.session.coloring) else PROVISIONAL
        coloring = frame.colorings[name]
        if frame is not self.shown or coloring is not self.coloring:
            self._show(frame, coloring)
        self._draw_lines()
        self._show_state()

    def _show_state(self) -> None:
        """Say how many regions there are, and what is still being worked out."""
        frame = self.session.frame
        if self._is_closed or frame is None:
            return
        provisional = not frame.has(self.session.coloring)
        part = frame.partition
        self.dock.show_state(part.n_regions, part.complete, not frame.has(BOUNDARY) or provisional, provisional)
        self.dock.show_progress(self.session.progress)

    def _show(self, frame: Frame, coloring: Coloring) -> None:
        before, self.shown = self.shown, frame
        self.coloring = coloring
        self._choose_norm()
        self.layers.show_regions(frame, coloring, self.norm)
        if frame is not before:
            self.layers.show_marks(frame)
            self._move_camera(before, frame)
            self._describe()
        self.dock.show_problem("")
        self.dock.color_bar.show_coloring(coloring, self.norm)

    def _choose_norm(self) -> None:
        """A new scale, unless it is held, or only the window is new: a zoom must not change the colours."""
        assert self.coloring is not None
        assert self.shown is not None
        purpose = (self.shown.key.moment, self.shown.key.choice, self.coloring.label, self.scale)
        if not self.dock.hold.isChecked() and purpose != self._norm_for:
            self._norm_for = purpose
            try:
                self.norm = self.coloring.norm(self.scale)
            except SplineGeoError as error:
                self.norm = self.coloring.norm("automatic")
                self.dock.show_problem(str(error))
        numbers = self.coloring.colors is None and self.coloring.fixed_norm is None
        self.dock.scale.setEnabled(numbers)
        self.dock.hold.setEnabled(numbers)

    def _recolor(self) -> None:
        if self.shown is not None and self.coloring is not None:
            self.dock.show_problem("")
            self._choose_norm()
            self.layers.show_regions(self.shown, self.coloring, self.norm)
            self.dock.color_bar.show_coloring(self.coloring, self.norm)
            self._draw_lines()

    def _labels(self) -> list[str]:
        samples, frame = self.session.source.samples, self.shown
        if samples is None or frame is None or samples.classes is None:
            return [""] * (0 if frame is None else len(frame.points))
        return [str(samples.classes[index]) for index in frame.key.choice.marked]

    def _describe(self) -> None:
        details = None
        if self.shown is not None and self._place is not None:
            details = describe_region(self.shown.partition, self._place, self.session.source.samples)
        self.selected = None if details is None else details.region
        shape = (0,) if self.shown is None else self.shown.partition.plane.input_shape
        self.panel.show_details(details, self.session.source.samples, shape)
        if self.shown is not None:
            self.layers.show_outline(self.shown, self.selected, self.camera.view.pixel)

    # the view

    def _move_camera(self, before: Frame | None, frame: Frame) -> None:
        """Keep the view where it was on the slice, though the world has moved; or show the whole window."""
        if self._fits or before is None or before.key.choice.plane is not frame.key.choice.plane:
            self._fits = False
            self.camera.fit(frame.key.window)
        else:
            self.camera.keep(before.key.window, frame.key.window)

    def _draw_lines(self) -> None:
        if self.shown is not None and self.coloring is not None:
            view = self.camera.view
            self._lines.update(self.shown, view, self.coloring, self.norm, self.selected, self._labels())

    def _settle(self) -> None:
        self._draw_lines()
        if not self.dock.refine.isChecked() or self.shown is None or self.shown is not self.session.frame:
            return
        if self.session.coloring in self.session.custom:  # these numbers are of the shown regions alone
            return
        window = self.shown.key.window
        wanted = window.for_view(self.camera.seen(window), self.session.choice.window)
        if wanted is not None and wanted != self.session.window:
            self.session.look_at(wanted)
            self._ask_and_refresh()

    # wiring

    def _connect(self) -> None:
        self.dock.stepped.connect(self.go_to)
        self.dock.recolored.connect(self.color_by)
        self.dock.rescaled.connect(self.rescale)
        self.dock.resized.connect(self.resize_slice)
        self.dock.hold.toggled.connect(self._recolor)
        self.dock.homed.connect(self.whole_slice)
        self.dock.exported.connect(self._ask_and_export)
        if self.dock.slices is not None:
            self.dock.slices.chosen.connect(self.cut)
            self.dock.slices.failed.connect(self.dock.show_problem)
        for event in self.camera.events:
            event.connect(self._on_camera)
        self.dock.destroyed.connect(self.close)

    def _on_camera(self, event: object = None) -> None:
        if not self._is_closed:
            self._settled.start()

    def _follow(self) -> None:
        self.dock.show_moments(self.session.moments, self.session.index)
        self._ask_and_refresh()

    def _ask_and_refresh(self) -> None:
        if self.session.frame is None:
            self.dock.show_busy()
        self.refresh()

    def _ask_and_export(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self.dock, "Export the view", "regions.png", "Figures (*.png *.pdf *.svg)"
        )
        if not name:
            return
        try:
            self.export(Path(name))
        except (SplineGeoError, OSError) as error:
            self.dock.show_problem(" ".join(str(error).split()))
