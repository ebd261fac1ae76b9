"""A run folder as a source of the explorer, and what `splinegeo explore` refuses: no window is opened here."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import small_run

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.explorer_run import open_run
from experiments.partition_cache import PartitionCache
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from viz import napari_window
from viz.errors import DrawingError
from viz.explorer_frame import FrameKey, make_frame
from viz.explorer_source import Growth
from viz.explorer_window import Window
from viz.napari_window import check_can_open


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "run", mnist)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def splinegeo(program):
    def call(*arguments: object) -> tuple[int, str]:
        code, _, err = program(*arguments)
        return code, err

    return call


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(napari_window, "_loses_references", lambda: False)


def test_moments_are_the_checkpoints_with_what_was_measured(run: Path):
    source = open_run(run)
    folder = RunFolder.open(run)
    checkpoints = folder.checkpoints()
    moments = source.moments()
    assert len(moments) == len(checkpoints) > 2
    for moment, (epoch, events), entry in zip(moments, checkpoints.items(), folder.metrics(), strict=True):
        assert moment.title == " · ".join([f"epoch {epoch}", *events])
        assert moment.measures["train"] == entry["train_accuracy"]
        assert moment.measures["test"] == entry["test_accuracy"]
        assert moment.measures["alignment"] == pytest.approx(entry["centroid_alignment_mean"])
    assert source.growth == Growth(False)
    assert source.index_of("final") == len(moments) - 1
    assert source.index_of("0") == 0
    with pytest.raises(RunFolderError, match="no checkpoint 'nowhere'"):
        source.index_of("nowhere")


def test_a_frame_of_a_run_is_what_the_library_finds_for_the_checkpoint(run: Path, mnist: LabelledImages):
    source = open_run(run, points=(5, 9, 12), half_width=8.0)
    moment = source.moments()[2]
    frame = make_frame(source, FrameKey(moment, source.first, source.first.window))
    model = load_model(RunFolder.open(run), list(RunFolder.open(run).checkpoints())[2], mnist)
    x = mnist.x_train[[5, 9, 12]]
    plane = sg.Slice.through_points(x)
    expected = sg.enumerate_regions(model, plane, sg.Box(8.0))
    assert frame.partition.n_regions == expected.n_regions
    np.testing.assert_allclose(frame.points, plane.points, atol=1e-12)
    np.testing.assert_allclose(frame.centroids, plane.project(sg.centroids(model, x)), atol=1e-9)
    assert source.samples.name(9) == f"training point 9 (class {int(mnist.y_train[9])})"


@pytest.mark.parametrize("half_width", [None, 6.0])
def test_what_migrate_has_kept_is_not_enumerated_again(run: Path, half_width: float | None, monkeypatch):
    source = open_run(run, half_width=half_width)
    moment = source.moments()[2]
    key = FrameKey(moment, source.first, source.first.window)
    enumerated = make_frame(source, key).partition
    folder = RunFolder.open(run)
    epoch = list(folder.checkpoints())[2]
    model = load_model(folder, epoch, source.data)
    cache = PartitionCache.of_run(run)
    kept, norms, was_there = cache.find(epoch, model, sg.Slice.through_points(source.data.x_train[:3]), half_width)
    assert not was_there
    monkeypatch.setattr("viz.explorer_frame.enumerate_regions", lambda *_, **__: pytest.fail("enumerated again"))
    monkeypatch.setattr("splinegeo.partition.operator_norms", lambda *_: pytest.fail("worked out again"))
    frame = make_frame(source, key)
    assert frame.partition.n_regions == enumerated.n_regions == kept.n_regions
    np.testing.assert_array_equal(frame.partition.pattern_keys, enumerated.pattern_keys)
    np.testing.assert_array_equal(frame.partition.operator_norms(), norms)
    assert source.partition(moment, source.first.plane, Window((0.0, 0.0), 0.1)) is None
    assert source.partition(source.moments()[1], source.first.plane, source.first.window) is None


def test_a_cache_elsewhere_and_a_damaged_one(run: Path, tmp_path: Path):
    source = open_run(run, cache=tmp_path / "kept")
    moment, plane = source.moments()[0], source.first.plane
    cache = PartitionCache.of_run(run, tmp_path / "kept")
    cache.find(0, load_model(RunFolder.open(run), 0, source.data), plane, None)
    assert source.partition(moment, plane, source.first.window) is not None
    (path,) = (tmp_path / "kept").glob("*.npz")
    path.write_bytes(path.read_bytes()[:1000])
    assert source.partition(moment, plane, source.first.window) is None


def test_a_half_width_must_be_positive(run: Path):
    with pytest.raises(sg.InvalidDomainError, match="positive finite half_width"):
        open_run(run, half_width=-1.0)


def test_newer_weights_than_the_last_checkpoint_are_a_moment_too(run: Path):
    source = open_run(run)
    *kept, (last, _) = RunFolder.open(run).checkpoints().items()
    before = len(source.moments())
    RunFolder.open(run).checkpoint_path(last).unlink()
    moments = source.moments()
    assert len(moments) == before
    assert moments[-1].title == f"epoch {last} · latest"
    assert moments[-1].measures == {}
    newest = source.network(moments[-1])
    x = np.random.default_rng(0).standard_normal((5, 784))
    model = load_model(RunFolder.open(run), "latest", source.data)
    np.testing.assert_allclose(newest(x), model(torch.from_numpy(x)).detach().numpy())
    assert len(kept) == before - 1


def test_the_folder_is_read_again_only_when_it_has_changed(run: Path, monkeypatch: pytest.MonkeyPatch):
    source = open_run(run)
    first = source.moments()
    assert source.moments() is first
    latest = RunFolder.open(run).latest_path
    os.utime(latest, ns=(1, 1))
    again = source.moments()
    assert again is not first
    assert again == first


@pytest.mark.usefixtures("no_display")
def test_without_a_display_it_says_how_to_run_headless(splinegeo, run: Path):
    code, err = splinegeo("explore", run)
    assert code == 1
    assert err == (
        "splinegeo: there is no display for the explorer's window (DISPLAY is not set): on a machine without a screen "
        "start it by: xvfb-run -a splinegeo explore ..."
    )


@pytest.mark.usefixtures("no_display")
def test_training_does_not_begin_without_a_display(splinegeo, tmp_path: Path):
    code, err = splinegeo("train", tmp_path / "run", "--explore")
    assert code == 1
    assert "DISPLAY is not set" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_display")
@pytest.mark.parametrize("display", [":4711", "nonsense", "localhost:99"])
def test_a_display_that_does_not_answer(display: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(DrawingError, match="does not answer"):
        check_can_open()


@pytest.mark.usefixtures("no_display")
def test_without_the_extra_it_is_named(splinegeo, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(napari_window, "find_spec", lambda name: None)
    code, err = splinegeo("explore", run)
    assert (code, err) == (1, "splinegeo: the explorer needs napari: pip install 'splinegeo[napari]'")
    monkeypatch.setattr(napari_window, "find_spec", lambda name: object() if name in ("napari", "qtpy") else None)
    code, err = splinegeo("explore", run)
    assert (code, err) == (1, "splinegeo: the explorer needs Qt beside napari: pip install 'splinegeo[napari]'")


def test_a_qt_that_would_crash_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(napari_window, "version", lambda name: "6.12.0")
    monkeypatch.setattr(napari_window.sys, "version_info", (3, 11, 7, "final", 0))
    monkeypatch.delenv("QT_API", raising=False)
    assert napari_window._loses_references()
    monkeypatch.setattr(napari_window, "version", lambda name: "6.11.3")
    assert not napari_window._loses_references()
    monkeypatch.setattr(napari_window, "version", lambda name: "6.12.0")
    monkeypatch.setattr(napari_window.sys, "version_info", (3, 12, 0, "final", 0))
    assert not napari_window._loses_references()


@pytest.mark.usefixtures("no_display")
def test_what_is_no_run_and_no_partition(splinegeo, run: Path, tmp_path: Path):
    code, err = splinegeo("explore", tmp_path / "nothing")
    assert code == 1
    assert "there is no run folder and no partition file" in err
    (tmp_path / "empty").mkdir()
    code, err = splinegeo("explore", tmp_path / "empty")
    assert code == 1
    assert "is not a run folder: it has no config.json" in err
    code, err = splinegeo("explore", run / "metrics.jsonl")
    assert code == 1
    assert "is not a partition file" in err
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    code, err = splinegeo("explore", run)
    assert code == 1
    assert "has no checkpoint yet" in err


@pytest.mark.usefixtures("no_display")
def test_a_partition_of_a_newer_version(splinegeo, tmp_path: Path):
    from explorer_cases import partition

    path, newer = tmp_path / "p.npz", tmp_path / "newer.npz"
    partition().save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(newer, "w") as new:
        for name in old.namelist():
            if name == "version.npy":
                with new.open(name, "w") as file:
                    np.lib.format.write_array(file, np.array(99))
            else:
                new.writestr(name, old.read(name))
    code, err = splinegeo("explore", newer)
    assert code == 1
    assert "version 99 is newer than" in err


@pytest.mark.usefixtures("no_display")
def test_a_checkpoint_of_another_architecture(splinegeo, run: Path):
    config = json.loads((run / "config.json").read_text())
    config["settings"]["model"]["hidden_widths"] = [16, 8]
    (run / "config.json").write_text(json.dumps(config))
    source = open_run(run)
    with pytest.raises(Exception, match="belongs to another architecture"):
        source.network(source.moments()[0])
    code, err = splinegeo("explore", run)  # no window is opened for it
    assert code == 1
    assert "belongs to another architecture" in err


@pytest.mark.usefixtures("no_display")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--color", "taste"], "--color must be one of norm, radius"),
        (["--select", "here"], "--select takes two numbers"),
        (["--points", "1,2"], "three different training points"),
        (["--values", "x.npy"], "give a partition file, not a run"),
    ],
)
def test_options_that_make_no_sense(splinegeo, run: Path, options: list[str], message: str):
    code, err = splinegeo("explore", run, *options)
    assert code in (1, 2)
    assert message in err


@pytest.mark.usefixtures("no_display")
def test_values_that_are_no_array(splinegeo, tmp_path: Path):
    from explorer_cases import partition

    partition().save(tmp_path / "p.npz")
    (tmp_path / "v.npy").write_text("no array")
    code, err = splinegeo("explore", tmp_path / "p.npz", "--values", tmp_path / "v.npy")
    assert code == 1
    assert "is not a readable .npy file" in err


@pytest.mark.usefixtures("no_display")
def test_explore_shows_one_run(splinegeo, tmp_path: Path):
    code, err = splinegeo("train", tmp_path / "run", "--explore", "--seeds", "0-2")
    assert code == 2
    assert "leave out --seeds" in err
