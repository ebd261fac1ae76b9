"""`splinegeo migrate`: a real run as a video and a strip, its cache, going on after damage, and what it refuses."""

import os
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import small_run

import splinegeo as sg
from experiments import frame_regions
from experiments.data import LabelledImages
from experiments.migration_record import chosen_epochs, still_epochs
from experiments.partition_cache import PartitionCache
from experiments.run_folder import RunFolder
from experiments.run_model import load_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "run", mnist)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, for a test alone."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def splinegeo(program):
    return partial(program, "migrate")


def quick(run: Path) -> list[object]:
    """Options of a small video in this process."""
    return [run, "--out", run / "m.gif", "--width", "640", "--jobs", "1"]


def test_video_strip_and_cache(splinegeo, run: Path, mnist: LabelledImages):
    epochs = list(RunFolder.open(run).checkpoints())
    code, out, _ = splinegeo(*quick(run))
    assert code == 0
    assert f"partitions: {len(epochs)}, 0 of them were in {run / 'migration'}" in out
    with Image.open(run / "m.gif") as video:
        assert (video.n_frames, video.size) == (len(epochs), (640, 480))
        first = np.asarray(video.convert("RGB")).astype(int)
        video.seek(len(epochs) - 1)
        last = np.asarray(video.convert("RGB")).astype(int)
    assert (np.abs(first - last).max(axis=2) > 24)[36:356, 16:336].mean() > 0.2
    with Image.open(run / "migration_strip.png") as strip:
        assert strip.size[0] > 2000
    # What is cached is what the library finds for the checkpoint's weights.
    assert len(list((run / "migration").glob("*.npz"))) == len(epochs)
    for epoch in (epochs[0], epochs[-1]):
        (path,) = (run / "migration").glob(f"epoch_{epoch:06d}_*.npz")
        cached = sg.load_partition(path)
        model = load_model(RunFolder.open(run), epoch, mnist)
        expected = sg.enumerate_regions(model, sg.Slice.through_points(mnist.x_train[:3]))
        assert cached.n_regions == expected.n_regions > 50
        np.testing.assert_array_equal(cached.pattern_keys, expected.pattern_keys)
        norms = np.load(path.with_suffix(".norms.npy"))
        direct = [np.linalg.norm(cached.affine_map(region)[0]) for region in range(0, cached.n_regions, 17)]
        np.testing.assert_allclose(norms[::17], direct, rtol=1e-8)


def test_the_cache_is_found_again_and_mended(splinegeo, run: Path, monkeypatch: pytest.MonkeyPatch):
    assert splinegeo(*quick(run), "--frames", "3")[0] == 0
    before = (run / "m.gif").read_bytes()
    files = sorted((run / "migration").glob("*.npz"))
    assert len(files) == 3
    content = files[1].read_bytes()
    files[1].write_bytes(content[: len(content) // 2])
    files[2].with_suffix(".norms.npy").unlink()
    enumerated = []
    iterate_regions = sg.iterate_regions

    def counted(*arguments, **options):
        enumerated.append(arguments)
        return iterate_regions(*arguments, **options)

    monkeypatch.setattr(sg, "iterate_regions", counted)
    code, out, _ = splinegeo(*quick(run), "--frames", "3")
    assert code == 0
    assert "partitions: 3, 1 of them were in" in out
    whole = [arguments for arguments in enumerated if arguments[2] is None]
    assert len(whole) == 2  # the others are windows about the points
    assert (run / "m.gif").read_bytes() == before
    assert sg.load_partition(files[1]).n_regions > 50


def test_other_slices_have_files_of_their_own(splinegeo, run: Path):
    for options in (["--half-width", "3"], ["--points", "5,6,7"]):
        code, out, _ = splinegeo(*quick(run), "--frames", "2", *options)
        assert code == 0
        assert "0 of them were in" in out
    assert len(list((run / "migration").glob("*.npz"))) == 4
    small = [part for path in (run / "migration").glob("*.npz") if (part := sg.load_partition(path)).domain.max() == 3]
    assert len(small) == 2


def test_retrained_weights_are_not_taken_for_the_old(splinegeo, run: Path):
    assert splinegeo(*quick(run), "--frames", "2")[0] == 0
    folder = RunFolder.open(run)
    first, *_, last = folder.checkpoints()
    shutil.copy(folder.checkpoint_path(last), folder.checkpoint_path(first))
    description = folder.load_checkpoint(str(last))
    folder.save_weights(
        {f"model.{name}": 2 * tensor for name, tensor in description.weights.items()}, {"epoch": first, "events": []}
    )
    code, out, _ = splinegeo(*quick(run), "--frames", "2")
    assert code == 0
    assert "partitions: 2, 1 of them were in" in out


def test_several_processes_make_the_same_video(splinegeo, run: Path, tmp_path: Path):
    assert splinegeo(*quick(run), "--frames", "2", "--color", "pattern", "--theme", "dark")[0] == 0
    shutil.rmtree(run / "migration")
    code, out, _ = splinegeo(
        *(run, "--out", tmp_path / "other.gif", "--width", "640", "--jobs", "2", "--frames", "2"),
        *("--color", "pattern", "--theme", "dark", "--strip", tmp_path / "strip.svg"),
    )
    assert code == 0
    assert "0 of them were in" in out
    assert (tmp_path / "other.gif").read_bytes() == (run / "m.gif").read_bytes()
    assert (tmp_path / "strip.svg").read_text().startswith("<?xml")


def test_an_interruption_says_how_to_go_on(splinegeo, run: Path, monkeypatch: pytest.MonkeyPatch):
    summarise = frame_regions.summarise
    left = iter(range(2))

    def interrupted(task):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return summarise(task)

    monkeypatch.setattr(frame_regions, "summarise", interrupted)
    code, _, err = splinegeo(*quick(run))
    assert code == 130
    assert err.endswith(f"splinegeo: stopped; 2 partitions are in {run / 'migration'}, the same command goes on there")
    assert not (run / "m.gif").exists()
    monkeypatch.setattr(frame_regions, "summarise", summarise)
    code, out, _ = splinegeo(*quick(run))
    assert code == 0
    assert "2 of them were in" in out


def test_chosen_epochs(run: Path):
    folder = RunFolder.open(run)
    epochs = list(folder.checkpoints())
    assert chosen_epochs(folder, None) == epochs == chosen_epochs(folder, 100)
    assert chosen_epochs(folder, 2) == [epochs[0], epochs[-1]]
    three = chosen_epochs(folder, 3)
    assert three[0] == epochs[0] < three[1] < three[2] == epochs[-1]


def test_stills_of_chosen_checkpoints(splinegeo, run: Path, monkeypatch: pytest.MonkeyPatch):
    folder = RunFolder.open(run)
    epochs = list(folder.checkpoints())
    assert still_epochs(folder, None, epochs) == [epochs[index] for index in (0, 1, 2, 3)[: len(epochs)]]
    assert still_epochs(folder, f"final, {epochs[0]}", epochs) == [epochs[-1], epochs[0]]
    assert still_epochs(folder, "latest", epochs) == [epochs[-1]]
    code, _, _ = splinegeo(*quick(run), "--frames", "2", "--still-epochs", "0,final")
    assert code == 0
    with Image.open(run / "migration_strip.png") as strip:
        two = strip.size[0]
    assert splinegeo(*quick(run), "--frames", "2", "--still-epochs", "0,0,final")[0] == 0
    with Image.open(run / "migration_strip.png") as strip:
        assert strip.size[0] == pytest.approx(two + (2.62 + 0.16) * 300, abs=5)


def test_a_full_cache_keeps_what_fits_and_the_video_is_the_same(splinegeo, run: Path, tmp_path: Path):
    assert splinegeo(*quick(run), "--frames", "3")[0] == 0
    whole = (run / "m.gif").read_bytes()
    sizes = sorted(path.stat().st_size for path in (run / "migration").iterdir())
    limit = 1.2 * (sizes[-1] + sizes[0]) / 1e9
    cache = tmp_path / "cache"
    (tmp_path / "cache").mkdir()
    (cache / "epoch_000000_notes.npz").write_bytes(b"a user's own")
    code, _, _ = splinegeo(*quick(run), "--frames", "3", "--cache", cache, "--cache-gigabytes", limit)
    assert code == 0
    assert (run / "m.gif").read_bytes() == whole
    assert sum(path.stat().st_size for path in cache.iterdir()) <= 1e9 * limit
    assert len(list(cache.glob("*.npz"))) == 2  # one partition, and the user's file
    assert splinegeo(*quick(run), "--frames", "2", "--cache", tmp_path / "none", "--cache-gigabytes", "0")[0] == 0
    assert not (tmp_path / "none").exists()


def test_the_cache_forgets_what_was_not_used_for_longest(run: Path, tmp_path: Path, mnist: LabelledImages):
    model = load_model(RunFolder.open(run), 0, mnist)
    part = sg.enumerate_regions(model, sg.Slice.through_points(mnist.x_train[:3]))
    norms = part.operator_norms()
    keep_all = PartitionCache(tmp_path, 10**9, time.time())
    paths = [keep_all.path(epoch, "0123456789abcdef" * 4) for epoch in range(3)]
    for age, path in zip((300, 200, 100), paths, strict=True):
        assert keep_all.write(path, part, norms)
        for file in tmp_path.glob(f"{path.stem}*"):
            os.utime(file, (time.time() - age,) * 2)
    (tmp_path / f"{paths[1].name}.77.part").write_bytes(b"what a kill left")
    os.utime(tmp_path / f"{paths[1].name}.77.part", (0, 0))
    limit = sum(path.stat().st_size for path in tmp_path.iterdir()) + 1000
    cache = PartitionCache(tmp_path, limit, time.time() - 10)
    assert cache.read(paths[0], model) is not None  # so it is the newest now
    new = cache.path(7, "0123456789abcdef" * 4)
    assert cache.write(new, part, norms)
    assert not paths[1].exists()
    assert not list(tmp_path.glob("*.part"))
    for path in (paths[0], paths[2], new):
        loaded, loaded_norms = cache.read(path, model)  # type: ignore[misc]
        assert loaded.n_regions == part.n_regions
        np.testing.assert_array_equal(loaded_norms, norms)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--points", "0,1"], 2, "three different training points"),
        (["--points", "a,b,c"], 2, "--points takes three numbers"),
        (["--frames", "1"], 2, "--frames"),
        (["--color", "area"], 2, "--color must be norm or pattern, got 'area'"),
        (["--strip", "a.gif"], 2, "--strip must end in .png, .pdf or .svg"),
        (["--out", "a.avi"], 1, "splinegeo: videos are written as .mp4, .webm, .gif, not a.avi"),
        (["--half-width", "-2", "--jobs", "1"], 1, "splinegeo: a box needs a positive finite half_width"),
        (["--still-epochs", "0,17"], 1, "has no checkpoint '17': there are 0"),
        (["--window", "-1"], 2, "--window must be a half-width, or 0 for none, got -1"),
        (["--theme", "pink"], 1, "splinegeo: there is no theme 'pink'"),
    ],
)
def test_refusals_are_one_line(splinegeo, run: Path, arguments: list[str], code: int, message: str):
    found, _, err = splinegeo(run, *arguments)
    assert found == code
    assert message in err
    assert not (run / "migration").exists()
    assert not list(run.glob("migration*"))


def test_a_run_with_too_few_checkpoints(splinegeo, run: Path):
    for path in (run / "checkpoints").iterdir():
        if path.name != "epoch_000000.safetensors":
            path.unlink()
    assert splinegeo(run)[::2] == (
        1,
        f"splinegeo: {run} has one checkpoint, a migration needs at least two: train it longer",
    )
    (run / "checkpoints" / "epoch_000000.safetensors").unlink()
    assert "has no checkpoint yet" in splinegeo(run)[2]


def test_a_checkpoint_of_another_architecture(splinegeo, run: Path):
    folder = RunFolder.open(run)
    path = folder.checkpoint_path(0)
    folder.save_weights({"model.1.weight": torch.ones(3, 784)}, {"epoch": 0, "events": []})
    code, _, err = splinegeo(run, "--jobs", "1")
    assert code == 1
    assert f"splinegeo: {path} belongs to another architecture" in err
