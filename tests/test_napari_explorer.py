"""The explorer in a real napari window: a real run, real clicks, and what is on the screen against the library.

Needs a display; `make test` starts one (Xvfb with Mesa's software OpenGL).
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from display_marks import needs_display
from explorer_cases import SmallSource
from PIL import Image
from small_runs import small_run
from torch import nn

import splinegeo as sg
from experiments import cli
from experiments.data import LabelledImages
from experiments.explorer_run import RunSource, open_run
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from viz.coloring import Coloring
from viz.explorer_frame import Frame
from viz.explorer_source import Growth

pytest.importorskip("napari", reason="napari is not installed: pip install 'splinegeo[napari]'")
pytestmark = needs_display


def settle(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Let Qt work until a condition holds."""
    import time

    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        QApplication.processEvents()
        time.sleep(0.005)
    for _ in range(3):
        QApplication.processEvents()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "run", mnist)


@pytest.fixture(scope="module")
def window(run: Path) -> Iterator[Any]:
    """One window for all tests of this file; each begins with the whole slice at the last checkpoint."""
    from viz.napari_window import open_explorer

    explorer = open_explorer(open_run(run))
    settle(lambda: explorer.is_complete)
    yield explorer
    explorer.close()
    explorer.viewer.close()


@pytest.fixture
def explorer(window: Any) -> Any:
    window.session.cut(window.session.source.first)
    window.begin(len(window.session.moments) - 1, "norm")
    window.whole_slice()
    window.select(None)
    settle(lambda: window.is_complete and window.shown.key.choice is window.session.source.first)
    settle(lambda: not window._settled.isActive())
    return window


def canvas_of(explorer: Any) -> Any:
    from qtpy.QtOpenGLWidgets import QOpenGLWidget

    (canvas,) = explorer.dock.window().findChildren(QOpenGLWidget)
    return canvas


def pixel_of(explorer: Any, t: np.ndarray) -> tuple[int, int]:
    """Column and row on the canvas of a place of the slice, from the camera alone."""
    row, column = explorer.shown.key.window.to_world(np.asarray(t)[None])[0]
    height, width = explorer.viewer.canvas.size
    center = explorer.viewer.camera.center[-2:]
    zoom = explorer.viewer.camera.zoom
    return round(width / 2 + zoom * (column - center[1])), round(height / 2 + zoom * (row - center[0]))


def click(explorer: Any, t: np.ndarray, drag: int = 0) -> None:
    """Press and release the left button on the canvas at a place of the slice."""
    from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    canvas, (x, y) = canvas_of(explorer), pixel_of(explorer, t)
    QTest.mouseMove(canvas, QPoint(x, y))
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(x, y))
    if drag:
        for step in range(1, 5):
            at = QPointF(x + step * drag // 4, y)
            left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
            move = QMouseEvent(QEvent.Type.MouseMove, at, at, none, left, Qt.KeyboardModifier.NoModifier)
            QApplication.sendEvent(canvas, move)
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(x + drag, y))
    settle(lambda: True)


def large_regions(part: sg.Partition, n: int) -> list[int]:
    return np.argsort(part.areas)[::-1][:n].tolist()


def test_the_layers_of_a_run(explorer: Any, run: Path, mnist: LabelledImages):
    layers = explorer.viewer.layers
    assert [layer.name for layer in layers] == [
        "Regions", "Edges", "Decision boundary", "Selected region", "Centroids", "Data points",
    ]  # fmt: skip
    kinds = {layer.name: type(layer).__name__ for layer in layers}
    assert kinds["Regions"] == "Surface"
    assert "Shapes" not in kinds.values()
    model = load_model(RunFolder.open(run), "final", mnist)
    expected = sg.enumerate_regions(model, sg.Slice.through_points(mnist.x_train[:3]))
    assert explorer.shown.partition.n_regions == expected.n_regions
    assert len(layers["Regions"].data[0]) == len(expected.corners)
    points = explorer.shown.key.window.to_world(expected.plane.project(mnist.x_train[:3]))
    np.testing.assert_allclose(layers["Data points"].data, points, atol=1e-9)
    labels = layers["Data points"].features["label"].tolist()
    assert labels == [str(label) for label in mnist.y_train[:3].tolist()]
    assert f"{expected.n_regions:,}".replace(",", "\u2009") in explorer.dock.about.text()


def test_a_click_selects_and_the_panel_agrees_with_the_library(explorer: Any, run: Path, mnist: LabelledImages):
    from viz.napari_region_panel import pattern_picture

    part = explorer.shown.partition
    model = load_model(RunFolder.open(run), "final", mnist)
    norms = part.operator_norms()
    for region in large_regions(part, 3):
        click(explorer, part.interior_points[region])
        assert explorer.selected == region
        details = explorer.panel.details
        # What was clicked is a pixel; the place is known to half of one.
        assert part.locate(details.place[None])[0] == region
        x = part.plane.lift(details.place[None])
        import torch

        assert details.predicted_class == int(model(torch.from_numpy(x)).argmax())
        assert details.norm == pytest.approx(norms[region])
        assert details.radius == pytest.approx(part.radii([region])[0])
        np.testing.assert_allclose(details.centroid, part.centroids([region])[0], atol=1e-12)
        shown = {name: value.text() for name, value in explorer.panel.numbers.items()}
        assert shown["predicted class"] == str(details.predicted_class)
        assert float(shown["area"].replace("\u2009", "")) == pytest.approx(part.areas[region], rel=6e-3)
        assert float(shown["norm ‖A‖"]) == pytest.approx(norms[region], rel=6e-3)
        assert explorer.panel.title.text() == f"Region {region:,}".replace(",", "\u2009")
        for pieces, expected in zip(details.pattern, part.pattern(region), strict=True):
            np.testing.assert_array_equal(pieces, expected)
        distances = np.linalg.norm(explorer.session.source.samples.x.reshape(64, -1) - x.reshape(-1), axis=1)
        assert details.sample == distances.argmin()
        sample = explorer.session.source.samples.x[details.sample].reshape(-1)
        cosine = sample @ details.centroid / np.linalg.norm(sample) / np.linalg.norm(details.centroid)
        assert f"cos to μ {cosine:.3f}".replace("-", "−") in explorer.panel.captions[0].text()
        assert all(image.pixmap().width() > 60 for image in explorer.panel.images)
        outline = explorer.viewer.layers["Selected region"]
        corners = explorer.shown.key.window.to_world(
            part.vertices[part.corners[part.offsets[region] : part.offsets[region + 1]]]
        )
        room = 4 / explorer.viewer.camera.zoom
        assert (outline.data[0].min(axis=0) >= corners.min(axis=0) - room).all()
        assert (outline.data[0].max(axis=0) <= corners.max(axis=0) + room).all()
        assert np.ptp(outline.data[0], axis=0) == pytest.approx(np.ptp(corners, axis=0), abs=2 * room)
        assert len(pattern_picture(details.pattern[0])) >= 1
    outside = part.domain.max(axis=0) * [1.02, 0.0]
    click(explorer, outside)
    assert explorer.selected is None
    assert not explorer.panel.body.isVisible()


def test_a_drag_selects_nothing(explorer: Any):
    place = explorer.shown.partition.interior_points[large_regions(explorer.shown.partition, 1)[0]]
    click(explorer, place, drag=40)
    assert explorer.selected is None
    explorer.whole_slice()
    click(explorer, place)
    assert explorer.selected is not None


def test_hover_says_region_and_class(explorer: Any, run: Path, mnist: LabelledImages):
    import torch
    from qtpy.QtCore import QPoint
    from qtpy.QtTest import QTest

    part = explorer.shown.partition
    model = load_model(RunFolder.open(run), "final", mnist)
    for region in large_regions(part, 2):
        place = part.interior_points[region]
        QTest.mouseMove(canvas_of(explorer), QPoint(*pixel_of(explorer, place)))
        settle(lambda region=region: explorer.chip.text().startswith(f"region {region} "))
        x = torch.from_numpy(part.plane.lift(place[None]))
        assert explorer.chip.text().endswith(f"class {int(model(x).argmax())}")
        assert explorer.chip.isVisible()
    assert explorer.hover(np.array([1e6, 0.0])) == ""


def test_the_slider_steps_through_training(explorer: Any, run: Path, mnist: LabelledImages):
    folder = RunFolder.open(run)
    epochs = list(folder.checkpoints())
    pictures = []
    for index in (0, 2):
        explorer.dock.slider.setValue(index)
        settle(
            lambda index=index: explorer.is_complete and explorer.shown.key.moment is explorer.session.moments[index]
        )
        expected = sg.enumerate_regions(
            load_model(folder, epochs[index], mnist), sg.Slice.through_points(mnist.x_train[:3])
        )
        assert explorer.shown.partition.n_regions == expected.n_regions
        np.testing.assert_allclose(np.sort(explorer.shown.partition.areas), np.sort(expected.areas))
        assert explorer.dock.moment.text().startswith(f"epoch {epochs[index]}")
        pictures.append(explorer.viewer.screenshot().astype(int))
    assert (np.abs(pictures[0] - pictures[1]).max(axis=2) > 24).mean() > 0.05


@pytest.mark.parametrize("name", ["norm", "radius", "area", "alignment", "class", "stage", "pattern"])
def test_the_screen_shows_each_region_in_its_colour(explorer: Any, name: str):
    combo = explorer.dock.coloring
    combo.setCurrentIndex(combo.findData(name))
    settle(lambda: explorer.shown.has(name) and explorer.coloring is explorer.shown.colorings[name])
    layers = explorer.viewer.layers
    for layer in layers:
        layer.visible = layer.name == "Regions"
    picture = explorer.viewer.screenshot(flash=False)[..., :3].astype(int)
    for layer in layers:
        layer.visible = True
    colors = 255 * explorer.coloring.region_colors(explorer.norm)[:, :3]
    for region in large_regions(explorer.shown.partition, 12):
        x, y = pixel_of(explorer, explorer.shown.partition.interior_points[region])
        assert np.abs(picture[y, x] - colors[region]).max() <= 5, (name, region)
    background = picture[2, 2]
    assert background.max() < 40


def test_scales_and_holding_one(explorer: Any):
    from matplotlib.colors import LogNorm

    explorer.color_by("area")
    settle(lambda: explorer.coloring is explorer.shown.colorings.get("area"))
    assert isinstance(explorer.norm, LogNorm)
    explorer.dock.scale.setCurrentIndex(1)
    assert not isinstance(explorer.norm, LogNorm)
    held = explorer.norm
    explorer.dock.hold.setChecked(True)
    explorer.go_to(1)
    settle(lambda: explorer.is_complete and explorer.shown.key.moment is explorer.session.moments[1])
    assert explorer.norm is held
    explorer.dock.hold.setChecked(False)
    assert (explorer.norm.vmin, explorer.norm.vmax) != (held.vmin, held.vmax)
    explorer.dock.scale.setCurrentIndex(0)


def test_zooming_enumerates_what_is_in_view_and_keeps_its_place_and_colours(explorer: Any, run: Path, mnist):
    whole, norm = explorer.shown.partition, explorer.norm
    region = large_regions(whole, 1)[0]
    place = whole.interior_points[region]
    window = explorer.shown.key.window
    explorer.viewer.camera.center = tuple(window.to_world(place[None])[0])
    explorer.viewer.camera.zoom *= 20
    settle(lambda: explorer.is_complete and explorer.shown.key.window != window)
    near = explorer.shown.key.window
    assert near.half_width < 0.1 * window.half_width
    assert explorer.norm is norm
    model = load_model(RunFolder.open(run), "final", mnist)
    expected = sg.enumerate_regions(model, whole.plane, near.box())
    assert explorer.shown.partition.n_regions == expected.n_regions
    world = np.asarray(explorer.viewer.camera.center[-2:])
    np.testing.assert_allclose(near.to_slice(world), place, atol=1e-3 * near.half_width)
    click(explorer, place)
    np.testing.assert_array_equal(np.concatenate(explorer.panel.details.pattern), np.concatenate(whole.pattern(region)))
    explorer.dock.refine.setChecked(False)
    explorer.viewer.camera.zoom *= 20
    settle(lambda: not explorer._settled.isActive())
    assert explorer.session.window == near
    explorer.dock.refine.setChecked(True)
    explorer.dock.homed.emit()
    settle(lambda: explorer.is_complete and explorer.shown.key.window == window)
    assert explorer.shown.partition is whole


def test_slices_from_thumbnails_classes_and_at_random(explorer: Any, mnist: LabelledImages):
    slices = explorer.dock.slices
    slices.thumbnails.item(7).setSelected(True)  # the fourth: the first one picked gives way
    assert [slices.thumbnails.row(item) for item in slices.picked] == [1, 2, 7]
    slices.cut_samples.click()
    settle(lambda: explorer.is_complete and explorer.shown.key.choice.title == "through 1, 2, 7")
    np.testing.assert_allclose(explorer.shown.partition.plane.distance(mnist.x_train[[1, 2, 7]]), 0, atol=1e-9)
    slices.thumbnails.item(7).setSelected(False)
    assert not slices.cut_samples.isEnabled()
    slices.thumbnails.item(0).setSelected(True)
    slices.kind.setCurrentIndex(1)
    slices.first.setCurrentIndex(slices.first.findData(3))
    slices.second.setCurrentIndex(slices.second.findData(3))
    slices.choose()
    assert "two different classes" in explorer.dock.problem.text()
    slices.second.setCurrentIndex(slices.second.findData(9))
    slices.choose()
    settle(lambda: explorer.is_complete and explorer.shown.key.choice.title == "from 3 to 9")
    assert explorer.dock.problem.text() == ""
    assert not explorer.dock.problem.isVisible()
    slices.kind.setCurrentIndex(2)
    slices.choose()
    settle(lambda: explorer.is_complete and explorer.shown.key.choice.title == "random, seed 0")
    explorer.dock.half_width.setValue(1.5)
    settle(lambda: explorer.is_complete and explorer.shown.key.window.half_width == 1.5)
    slices.kind.setCurrentIndex(0)


def test_play_goes_through_all_checkpoints_and_stops(explorer: Any, monkeypatch: pytest.MonkeyPatch):
    seen = []
    show = explorer._show

    def followed(frame: Frame, coloring: Coloring) -> None:
        show(frame, coloring)
        if not seen or seen[-1] != frame.key.moment.key:
            seen.append(frame.key.moment.key)

    monkeypatch.setattr(explorer, "_show", followed)
    explorer.go_to(0)
    explorer.dock.timeline.show_moments(explorer.session.moments, 0)
    explorer.dock.play.click()
    assert explorer.dock.play.text() == "Pause"
    settle(lambda: not explorer.dock.play.isChecked())
    assert seen == [moment.key for moment in explorer.session.moments]
    assert explorer.dock.play.text() == "Play"


def test_the_timeline_chooses_by_a_click(explorer: Any):
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    timeline = explorer.dock.timeline
    assert [name for name, _ in timeline.curves()] == ["train", "test", "alignment"]
    QTest.mouseClick(timeline, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(3, 50))
    assert explorer.session.index == 0
    QTest.mouseClick(
        timeline, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(timeline.width() - 3, 50)
    )
    assert explorer.session.index == len(explorer.session.moments) - 1


def test_the_view_is_exported_as_a_figure(explorer: Any, tmp_path: Path):
    path = explorer.export(tmp_path / "view.png")
    with Image.open(path) as picture:
        assert min(picture.size) > 1000


def test_an_error_of_the_worker_is_one_line_in_the_dock(window: Any):
    from viz.napari_explorer import Explorer

    source = SmallSource(fails_at=3)
    second = Explorer(window.viewer, source)
    second.go_to(3)
    settle(lambda: "overflow" in second.dock.problem.text())
    assert not second.dock.problem.isHidden()
    second.go_to(2)
    settle(lambda: second.is_complete)
    assert second.dock.problem.text() == ""
    layers = len(window.viewer.layers)
    second.remove()
    assert len(window.viewer.layers) == layers - 6


def test_new_checkpoints_of_a_training_are_followed(window: Any, run: Path, tmp_path: Path, mnist: LabelledImages):
    from viz.napari_explorer import Explorer

    growing = Path(shutil.copytree(run, tmp_path / "run"))
    folder = RunFolder.open(growing)
    epochs = list(folder.checkpoints())
    latest = folder.latest_path.read_bytes()
    aside = {epoch: folder.checkpoint_path(epoch).read_bytes() for epoch in epochs[1:]}
    for epoch in aside:
        folder.checkpoint_path(epoch).unlink()
    folder.latest_path.unlink()
    second = Explorer(window.viewer, RunSource(folder, mnist.first(64, 16), (0, 1, 2), growth=lambda: Growth(True)))
    settle(lambda: second.is_complete)
    assert not second.dock.slider.isEnabled()
    for epoch, content in aside.items():
        folder.checkpoint_path(epoch).write_bytes(content)
    settle(lambda: second.is_complete and len(second.session.moments) == len(epochs))
    assert second.session.index == len(epochs) - 1
    assert second.dock.slider.maximum() == len(epochs) - 1
    folder.latest_path.write_bytes(latest[:100])  # cut short, as by a kill
    settle(lambda: "truncated" in second.dock.problem.text())
    second.remove()


def test_the_command_writes_a_picture_of_the_window(
    window: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "window.png"
    arguments = ["explore", run, "--checkpoint", "0", "--color", "class", "--select", "1,1", "--screenshot", path]
    monkeypatch.setattr(sys, "argv", ["splinegeo", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code, capfd.readouterr().err
    with Image.open(path) as picture:
        assert picture.size[0] > 1000
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 500


def test_a_partition_file_with_numbers_of_ones_own(
    window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    from explorer_cases import partition

    part = partition()
    part.save(tmp_path / "p.npz")
    np.save(tmp_path / "depth.npy", np.arange(part.n_regions))
    arguments = [tmp_path / "p.npz", "--values", tmp_path / "depth.npy", "--screenshot", tmp_path / "s.png"]
    monkeypatch.setattr(sys, "argv", ["splinegeo", "explore", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code, capfd.readouterr().err
    assert (tmp_path / "s.png").stat().st_size > 10_000
    np.save(tmp_path / "depth.npy", np.arange(part.n_regions - 1))
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 1
    assert "one for each region" in capfd.readouterr().err


def test_a_window_opens_on_a_session_that_is_ready(window: Any, run: Path) -> None:
    """A frame that is made before there is a window is shown as one that comes later, with what is selected in it."""
    from viz.explorer_session import Session
    from viz.napari_window import open_explorer, while_napari_loads

    def begun() -> Session:
        session = Session(open_run(run), coloring="area")
        session.go_to(0)
        return session

    session = while_napari_loads(begun)
    settle(lambda: session.frame is not None and session.frame.has("decision boundary"))
    pixels, details = [], []
    for early in (session, None):
        explorer = open_explorer(session.source, session.custom, "early or late", early)
        explorer.begin(0, "area", (1.0, 1.0))
        settle(lambda: explorer.is_complete and not explorer._settled.isActive())  # noqa: B023
        pixels.append(explorer.viewer.screenshot(canvas_only=False)[..., :3].astype(int))
        details.append((explorer.selected, explorer.panel.title.text(), explorer.camera.view.pixel))
        explorer.close()
        explorer.viewer.close()
    assert details[0] == details[1]
    assert details[0][0] is not None
    assert pixels[0].shape == pixels[1].shape
    assert (np.abs(pixels[0] - pixels[1]).max(axis=-1) > 40).mean() < 1e-3


def test_what_is_wrong_is_raised_from_the_thread_that_loads(window: Any) -> None:
    from viz.napari_window import while_napari_loads

    def broken() -> None:
        raise ValueError("no such run")

    with pytest.raises(ValueError, match="no such run"):
        while_napari_loads(broken)


def test_what_arrives_after_the_window_is_closed_is_let_go() -> None:
    """The loader's threads may have spoken, and their word still be on its way, when the window is closed."""
    from qtpy.QtWidgets import QApplication

    from viz.napari_window import open_explorer

    explorer = open_explorer(SmallSource())
    settle(lambda: explorer.is_complete)
    bridge = explorer._bridge
    explorer.viewer.close()
    QApplication.processEvents()
    with pytest.raises(RuntimeError, match="already deleted"):
        explorer.dock.about.text()
    bridge.ready.emit()
    bridge.progressed.emit()
    explorer._on_camera()
    assert not explorer._settled.isActive()


def test_inputs_that_are_no_images_and_a_moment_that_fails(window: Any):
    """In the window of all: picks by number, one colour with its value, and no more work announced after an error."""
    from viz.explorer_source import PartitionSource
    from viz.napari_explorer import Explorer

    torch.manual_seed(0)
    plane = sg.Slice.through_points(torch.randn(3, 10))
    part = sg.enumerate_regions(nn.Linear(10, 3), plane, sg.Box(3.0))
    second = Explorer(window.viewer, PartitionSource(part, "no images"))
    settle(lambda: second.is_complete)
    assert second.dock.slices is not None
    thumbnails = second.dock.slices.thumbnails
    assert [thumbnails.item(i).text() for i in range(thumbnails.count())] == ["0", "1", "2"]
    assert second.dock.slices.picked_text.text() == "points of the slice 0, 1, 2"
    assert second.dock.color_bar.ticks() == [(0.0, f"{part.operator_norms()[0]:.4g}")]
    second.remove()

    third = Explorer(window.viewer, SmallSource(fails_at=1))
    settle(lambda: third.is_complete)
    third.go_to(1)
    settle(lambda: third.dock.problem.text())
    assert "working" not in third.dock.about.text()
    third.go_to(0)
    settle(lambda: third.is_complete and not third.dock.problem.text())
    third.remove()
