"""`splinegeo centroids`: pictures, images alone and streamed arrays of a real run, and what it refuses."""

import dataclasses
import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import small_run

import splinegeo as sg
from experiments import data
from experiments.centroid_array import progress_of, stream_centroids
from experiments.centroid_kind import CentroidKind
from experiments.data import LabelledImages
from experiments.run_folder import RunFolder
from experiments.run_model import build_model, load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "run", mnist, 300, 20, widths=(32, 32), batch_size=60, epochs=12)


@pytest.fixture
def splinegeo(program):
    return partial(program, "centroids")


def model_and_images(run: Path, which: str, mnist: LabelledImages) -> tuple[torch.nn.Module, torch.Tensor]:
    return load_model(RunFolder.open(run), which, mnist), mnist.x_train


def test_picture_of_two_checkpoints(splinegeo, run: Path, tmp_path: Path):
    code, out, _ = splinegeo(run, "--checkpoint", "0,final", "--grid", "2x3", "--out", tmp_path / "a.png")
    assert (code, out.strip()) == (0, f"picture: {tmp_path / 'a.png'}")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 1500


def test_each_image_alone(splinegeo, run: Path, tmp_path: Path, mnist: LabelledImages):
    code, _, _ = splinegeo(
        *(run, "--checkpoint", "final", "--samples", "7,2-3", "--each", tmp_path / "each", "--out", tmp_path / "a.png")
    )
    assert code == 0
    model, x = model_and_images(run, "final", mnist)
    for index in (7, 2, 3):
        values = np.load(tmp_path / "each" / f"centroid_{index:05d}_epoch_000012.npy")
        leaf = x[index : index + 1].clone().requires_grad_()
        expected = torch.autograd.grad(model(leaf).sum(), leaf)[0][0]
        np.testing.assert_allclose(values, expected.numpy(), rtol=0, atol=1e-12)
        np.testing.assert_array_equal(np.load(tmp_path / "each" / f"image_{index:05d}.npy"), x[index].numpy())
        with Image.open(tmp_path / "each" / f"centroid_{index:05d}_epoch_000012.png") as picture:
            assert picture.size == (224, 224)
            row, column = np.unravel_index(np.abs(values[0]).argmax(), (28, 28))
            red, _, blue = picture.getpixel((int(column) * 8 + 4, int(row) * 8 + 4))
        assert abs(red - blue) > 60
        assert (red > blue) == (values[0, row, column] > 0)
    assert len(list((tmp_path / "each").iterdir())) == 12


def test_array_of_the_whole_set_is_memory_mappable(splinegeo, run: Path, tmp_path: Path, mnist: LabelledImages):
    code, out, _ = splinegeo(
        *(run, "--checkpoint", "0,final", "--samples", "0", "--array", tmp_path / "c.npy", "--out", tmp_path / "a.png")
    )
    assert code == 0
    for which, epoch in (("0", 0), ("final", 12)):
        path = tmp_path / f"c_epoch_{epoch:06d}.npy"
        assert f"array: {path}" in out
        mapped = np.load(path, mmap_mode="r")
        assert isinstance(mapped, np.memmap)
        assert mapped.shape == (300, 1, 28, 28)
        model, x = model_and_images(run, which, mnist)
        np.testing.assert_array_equal(mapped, sg.centroids(model, x[:300]).numpy())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "c_epoch_000000.npy", "c_epoch_000012.npy"]


def test_array_of_local_component_centroids(splinegeo, run: Path, tmp_path: Path, mnist: LabelledImages):
    code, _, _ = splinegeo(
        *(run, "--checkpoint", "final", "--samples", "0", "--local", "--noise-samples", "3", "--component", "2"),
        *("--seed", "5", "--set", "test", "--array", tmp_path / "c.npy", "--out", tmp_path / "a.svg"),
    )
    assert code == 0
    model, _ = model_and_images(run, "final", mnist)
    x = mnist.x_test[:20]
    generator = torch.Generator().manual_seed(5)
    expected = sg.local_centroids(model, x, 0.15, 3, "2", generator)
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), expected.numpy())
    assert not np.allclose(expected.numpy(), sg.centroids(model, x, "2").numpy())
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_streaming_draws_the_noise_of_one_call(run: Path, tmp_path: Path, mnist: LabelledImages):
    model, x = model_and_images(run, "final", mnist)
    kind = CentroidKind(None, True, 0.2, 2, 3)
    path = stream_centroids(tmp_path / "c.npy", kind, model, x[:300])
    expected = sg.local_centroids(model, x[:300], 0.2, 2, generator=torch.Generator().manual_seed(3))
    # 300 samples are more than one batch: their noise must go on, not begin anew.
    np.testing.assert_array_equal(np.load(path)[:256], expected[:256].numpy())
    np.testing.assert_array_equal(np.load(path)[256:], expected[256:].numpy())


@pytest.mark.parametrize("name", ["c.npy", "c.zarr"])
def test_an_interrupted_array_goes_on_where_it_stopped(
    run: Path, tmp_path: Path, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch, name: str
):
    model, x = model_and_images(run, "final", mnist)
    kind = CentroidKind(None, True, 0.2, 2, 3)
    expected = stream_centroids(tmp_path / "whole.npy", kind, model, x)
    batches = stopping_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        stream_centroids(tmp_path / name, kind, model, x)
    assert not (tmp_path / name).exists()
    assert progress_of(tmp_path / name) == 512
    batches.clear()
    monkeypatch.undo()
    batches = stopping_after(monkeypatch, 100)
    stream_centroids(tmp_path / name, kind, model, x)
    assert batches == [256, 256]
    np.testing.assert_array_equal(read_array(tmp_path / name), np.load(expected))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "whole.npy"])


@pytest.mark.parametrize("change", ["network", "inputs", "kind", "records", "array"])
def test_an_array_of_other_numbers_or_a_damaged_one_begins_anew(
    run: Path, tmp_path: Path, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch, change: str
):
    model, x = model_and_images(run, "final", mnist)
    kind = CentroidKind()
    stopping_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        stream_centroids(tmp_path / "c.npy", kind, model, x)
    monkeypatch.undo()
    if change == "network":
        model, _ = model_and_images(run, "0", mnist)
    elif change == "inputs":
        x = x.flip(0)
    elif change == "kind":
        kind = CentroidKind("2")
    elif change == "records":
        (tmp_path / "c.npy.part.json").write_text('{"key": 3')
    else:
        (tmp_path / "c.npy.part").write_bytes(b"no array")
    batches = stopping_after(monkeypatch, 100)
    stream_centroids(tmp_path / "c.npy", kind, model, x)
    assert sum(batches) == 1024
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), sg.centroids(model, x, kind.component).numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["c.npy"]


def stopping_after(monkeypatch: pytest.MonkeyPatch, count: int) -> list[int]:
    """Let Ctrl-C come after so many batches; returns the sizes of those that are done."""
    batch = CentroidKind.batch
    done: list[int] = []

    def counted(self, model, x, noise):
        if len(done) == count:
            raise KeyboardInterrupt
        values = batch(self, model, x, noise)
        done.append(len(values))
        return values

    monkeypatch.setattr(CentroidKind, "batch", counted)
    return done


def read_array(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    return np.asarray(pytest.importorskip("zarr").open_array(path, mode="r")[:])


def test_zarr_array_of_the_whole_set(splinegeo, run: Path, tmp_path: Path, mnist: LabelledImages):
    zarr = pytest.importorskip("zarr")
    target = tmp_path / "c.zarr"
    arguments = (run, "--checkpoint", "final", "--array", target, "--no-picture")
    assert splinegeo(*arguments)[:2] == (0, f"array: {target}\n")
    array = zarr.open_array(target, mode="r")
    assert (array.shape, array.chunks) == ((300, 1, 28, 28), (256, 1, 28, 28))
    assert dict(array.attrs) == {"component": None, "local": False, "spread": 0.15, "noise_samples": 30, "seed": 0}
    model, x = model_and_images(run, "final", mnist)
    np.testing.assert_array_equal(array[:], sg.centroids(model, x[:300]).numpy())
    # Again, with another network: the new array takes the old one's place.
    arguments = (run, "--checkpoint", "0", "--array", target, "--no-picture")
    assert splinegeo(*arguments)[0] == 0
    model, _ = model_and_images(run, "0", mnist)
    np.testing.assert_array_equal(read_array(target), sg.centroids(model, x[:300]).numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["c.zarr"]


def test_zarr_is_asked_for_when_it_is_missing(splinegeo, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    code, _, err = splinegeo(run, "--array", tmp_path / "c.zarr", "--no-picture")
    assert (code, err) == (1, "splinegeo: Zarr arrays need the package zarr: pip install 'splinegeo[zarr]'")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_says_how_to_go_on(splinegeo, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stopping_after(monkeypatch, 1)
    code, _, err = splinegeo(*(run, "--checkpoint", "final", "--array", tmp_path / "c.npy", "--no-picture"))
    there = f"256 of 300 centroids are in {tmp_path / 'c.npy.part'}"
    assert code == 130
    assert err.endswith(f"splinegeo: stopped; {there}, the same command goes on there")


def test_a_failure_leaves_the_old_array(run: Path, tmp_path: Path, mnist: LabelledImages):
    model, x = model_and_images(run, "final", mnist)
    (tmp_path / "c.npy").write_bytes(b"old")
    with pytest.raises(sg.SplineGeoError):
        stream_centroids(tmp_path / "c.npy", CentroidKind("nothing", False, 0.1, 1, 0), model, x[:3])
    assert [path.name for path in tmp_path.iterdir()] == ["c.npy"]
    assert (tmp_path / "c.npy").read_bytes() == b"old"


def test_inputs_that_are_no_images(
    splinegeo, run: Path, tmp_path: Path, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch
):
    flat = dataclasses.replace(mnist.first(300, 20), x_train=mnist.x_train[:300].flatten(1))
    monkeypatch.setattr(data, "load_data", lambda *_: flat)
    out = tmp_path / "a.png"
    code, _, err = splinegeo(run, "--checkpoint", "final", "--out", out)
    assert code == 1
    assert err == (
        f"splinegeo: the inputs of {run} have the shape 784, which is no image (height×width, or 1 or 3 channels of "
        "it): write their centroids as an array, with --array FILE --no-picture"
    )
    assert not out.exists()
    code, _, _ = splinegeo(run, "--checkpoint", "final", "--no-picture", "--array", tmp_path / "c.npy")
    assert code == 0
    assert np.load(tmp_path / "c.npy").shape == (300, 784)


def test_colour_images_side_by_side(
    splinegeo, run: Path, tmp_path: Path, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch
):
    """Inputs of another image shape, three channels of unequal sides with as many values."""
    shaped = dataclasses.replace(
        mnist.first(300, 20), x_train=mnist.x_train[:300].flatten(1)[:, :768].reshape(300, 3, 16, 16)
    )
    monkeypatch.setattr(data, "load_data", lambda *_: shaped)
    settings = RunFolder.open(run).settings
    folder = RunFolder.create(tmp_path / "colour", settings)
    weights = {f"model.{k}": v for k, v in build_model(settings, shaped).state_dict().items()}
    folder.save_weights(weights, {"epoch": 3, "events": []})
    code, out, _ = splinegeo(
        *(folder.path, "--checkpoint", "3", "--samples", "0-5", "--each", tmp_path / "each", "--theme", "dark")
    )
    assert code == 0
    assert f"picture: {folder.path / 'centroids.png'}" in out
    assert np.load(tmp_path / "each" / "centroid_00000_epoch_000003.npy").shape == (3, 16, 16)
    with Image.open(tmp_path / "each" / "centroid_00000_epoch_000003.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (224, 224))


def test_a_checkpoint_of_another_architecture(splinegeo, run: Path, tmp_path: Path):
    other = Path(shutil.copytree(run, tmp_path / "run"))
    folder = RunFolder.open(other)
    folder.save_weights({"model.1.weight": torch.ones(3, 784)}, {"epoch": 0, "events": []})
    code, _, err = splinegeo(other, "--checkpoint", "0")
    assert code == 1
    assert f"splinegeo: {folder.checkpoint_path(0)} belongs to another architecture: 1.weight is 3×784" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--component", "9"], 1, "splinegeo: the network has no component '9'; its components: 0, 1, 2, 3, 4, 5"),
        (["--checkpoint", "final,17"], 1, "has no checkpoint '17': there are 0,"),
        (["--grid", "4by8"], 2, "--grid takes rows and columns, such as 4x8; got '4by8'"),
        (["--grid", "2x2", "--samples", "0-9"], 2, "--grid 2x2 has no room for 10 samples"),
        (["--samples", "0-300"], 2, "there is no image 300, the set has 0 to 299"),
        (["--samples", "a"], 2, "--samples takes numbers and ranges"),
        (["--samples", "5-3"], 2, "--samples names no image"),
        (["--scale", "loud"], 2, "--scale must be panel, shared or image"),
        (["--set", "all"], 2, "--set must be train or test"),
        (["--out", "a.bmp"], 2, "--out must end in .png, .pdf or .svg"),
        (["--array", "a.h5"], 1, "splinegeo: arrays are written as .npy or .zarr, not a.h5"),
        (["--no-picture"], 2, "--no-picture leaves nothing to write"),
        (["--local", "--spread", "-1"], 1, "splinegeo: spread is -1"),
        (["--theme", "pink"], 1, "splinegeo: there is no theme 'pink'"),
    ],
)
def test_refusals_are_one_line(
    splinegeo, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], code: int, message: str
):
    monkeypatch.chdir(tmp_path)
    found, _, err = splinegeo(run, *arguments)
    assert found == code
    assert message in err
    assert not (run / "centroids.png").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_checkpoints(splinegeo, run: Path, tmp_path: Path):
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    (tmp_path / "empty" / "config.json").write_text(json.dumps(json.loads((run / "config.json").read_text())))
    code, _, err = splinegeo(tmp_path / "empty")
    assert (code, err) == (1, f"splinegeo: {tmp_path / 'empty'} has no checkpoint yet")
