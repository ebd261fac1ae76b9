"""Training in a process of its own beside the explorer: frames arrive, and whatever becomes of it is said."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from display_marks import needs_display
from explorer_cases import wait_until

import splinegeo as sg
from experiments import live_training
from experiments.live_training import growth_of, stop, training_process, wait_for_run
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from experiments.train_run import saved_epoch
from viz.explorer_frame import FrameKey, make_frame

SMALL = [
    *("--train-samples", "32", "--test-samples", "16", "--widths", "8,8", "--batch-size", "16"),
    *("--threads", "1", "--logs-per-decade", "3"),
]


def on_display(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that opens a window."""
    pytest.importorskip("napari", reason="napari is not installed: pip install 'splinegeo[napari]'")
    for mark in needs_display:
        test = mark(test)
    return test


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Begin a training, and stop it in the end whatever happens."""
    begun = []

    def training(*options: str) -> Any:
        arguments = ["train", str(tmp_path / "live"), *SMALL, *options, live_training.FLAG]
        begun.append(training_process(arguments, tmp_path / "error.txt"))
        return begun[-1]

    yield training
    for process in begun:
        stop(process, 5.0)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Any], Any]]:
    """A window on a training."""
    from viz.napari_window import open_explorer

    explorers = []

    def window(process: Any) -> Any:
        source = wait_for_run(tmp_path / "live", process, tmp_path, tmp_path / "error.txt")
        explorers.append(open_explorer(source))
        return explorers[-1]

    yield window
    for explorer in explorers:
        explorer.close()
        explorer.viewer.close()


def settle(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Let Qt work until a condition holds."""
    from qtpy.QtWidgets import QApplication

    def holds() -> object:
        QApplication.processEvents()
        return condition()

    wait_until(holds, seconds)


def test_the_last_checkpoint_is_what_the_window_has_to_show(start: Callable[..., Any], tmp_path: Path):
    process = start("--epochs", "60")
    path = tmp_path / "live"
    source = wait_for_run(path, process, tmp_path, tmp_path / "error.txt")
    assert process.wait(240) == 0
    assert source.growth == (False, "training has ended", False)
    moments = source.moments()
    assert moments[-1].title.startswith("epoch 60 · final")
    frame = make_frame(source, FrameKey(moments[-1], source.first, source.first.window))
    model = load_model(RunFolder.open(path), 60, source.data)
    expected = sg.enumerate_regions(model, sg.Slice.through_points(source.data.x_train[:3]))
    assert frame.partition.n_regions == expected.n_regions


def test_a_training_that_cannot_begin_ends_with_its_code(
    start: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    process = start("--train-samples", "5000")
    with pytest.raises(typer.Exit) as exit_:
        wait_for_run(tmp_path / "live", process, tmp_path, tmp_path / "error.txt")
    assert exit_.value.exit_code == 1
    assert "5000" in capfd.readouterr().err


def test_stopping_a_training_keeps_what_it_saved(start: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "live"
    process = start("--epochs", "1000000")
    wait_until(lambda: (path / "checkpoints" / "epoch_000001.safetensors").is_file(), 240)
    assert growth_of(path, process, tmp_path / "error.txt").goes_on
    stop(process, 120)
    assert process.returncode == 130
    growth = growth_of(path, process, tmp_path / "error.txt")
    assert (growth.goes_on, growth.failed) == (False, False)
    assert growth.text == f"training was stopped; go on by: splinegeo train {path} --resume"
    assert RunFolder.open(path).checkpoints()


@on_display
def test_frames_arrive_and_the_end_is_said(start: Callable[..., Any], opened: Callable[[Any], Any]):
    explorer = opened(start("--epochs", "600"))
    seen = []

    def watched() -> bool:
        moment = None if explorer.shown is None else explorer.shown.key.moment.title
        if moment is not None and moment not in seen:
            seen.append(moment)
        return explorer.dock.growth.text() == "training has ended"

    assert explorer.dock.growth.text() in ("in training", "training has ended")
    settle(watched, 240)
    settle(lambda: explorer.is_complete and "final" in explorer.shown.key.moment.title)
    assert explorer.dock.slider.value() == explorer.dock.slider.maximum() == len(explorer.session.moments) - 1 > 4
    assert explorer.dock.moment.text().startswith("epoch 600 · final")
    assert explorer.dock.growth.property("role") == "caption"
    settle(lambda: not explorer._following._timer.isActive())
    model = load_model(explorer.session.source.folder, "final", explorer.session.source.data)
    expected = sg.enumerate_regions(model, explorer.shown.partition.plane)
    np.testing.assert_allclose(np.sort(explorer.shown.partition.areas), np.sort(expected.areas))


@on_display
def test_a_training_that_becomes_infinite_is_said(start: Callable[..., Any], opened: Callable[[Any], Any]):
    # So large a step overflows float32 at once, after the weights of epoch 0 are written.
    explorer = opened(start("--epochs", "2000", "--learning-rate", "1e30"))
    settle(lambda: explorer.dock.growth.property("role") == "problem", 240)
    assert explorer.dock.growth.text().startswith("training stopped in epoch 1: ")
    assert "the last good checkpoint is of epoch 0" in explorer.dock.growth.text()
    assert not explorer.dock.growth.isHidden()
    settle(lambda: explorer.is_complete)
    assert explorer.dock.moment.text() == "epoch 0"


@on_display
def test_a_killed_training_is_said_and_what_it_saved_stays(start: Callable[..., Any], opened: Callable[[Any], Any]):
    process = start("--epochs", "1000000")
    explorer = opened(process)
    settle(lambda: explorer.is_complete and explorer.session.index > 0, 240)
    process.send_signal(signal.SIGKILL)
    settle(lambda: explorer.dock.growth.property("role") == "problem")
    path = explorer.session.source.folder.path
    expected = f"the training process was killed (SIGKILL); go on by: splinegeo train {path} --resume"
    assert explorer.dock.growth.text() == expected
    explorer.go_to(0)
    settle(lambda: explorer.is_complete and explorer.shown.key.moment.title == "epoch 0")


@on_display
def test_the_command_shows_the_training_and_goes_on_when_the_window_is_closed(
    program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    from viz import napari_window

    path = tmp_path / "live"
    work, begun, shown, after_closing = napari_window.work, [], [], []

    def kept(*arguments: Any) -> Any:
        begun.append(training_process(*arguments))
        return begun[-1]

    def watched(explorer: Any) -> None:
        """The real event loop, with a user in it who closes the window at the third moment."""
        end = time.monotonic() + 200

        def look() -> None:
            if explorer.shown is not None and explorer.shown.key.moment.key not in shown:
                shown.append(explorer.shown.key.moment.key)
            if len(shown) >= 3 or time.monotonic() > end:
                timer.stop()
                explorer.viewer.close()
                QApplication.instance().quit()

        timer = QTimer()
        timer.timeout.connect(look)
        timer.start(20)
        work(explorer)
        threading.Thread(target=stop_when_it_has_gone_on, args=(saved_epoch(RunFolder.open(path)),)).start()

    def stop_when_it_has_gone_on(epoch: int) -> None:
        end = time.monotonic() + 60
        while saved_epoch(RunFolder.open(path)) <= epoch and time.monotonic() < end:
            time.sleep(0.05)
        after_closing.append((begun[0].poll(), saved_epoch(RunFolder.open(path)) - epoch))
        begun[0].send_signal(signal.SIGINT)

    monkeypatch.setattr(live_training, "training_process", kept)
    monkeypatch.setattr(napari_window, "work", watched)
    code, _, err = program("train", path, *SMALL, "--epochs", "1000000", live_training.FLAG)
    assert code == 130
    assert len(shown) >= 3
    ((exit_code, epochs),) = after_closing
    assert exit_code is None
    assert epochs > 0
    assert f"the window is closed; {path} trains on, Ctrl-C stops it" in err
