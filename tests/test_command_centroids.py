"""`splinegeo centroids`: pictures, images alone and streamed arrays of a real run, and what it refuses."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import splinegeo as sg
from experiments import cli
from experiments.command_centroids import CentroidKind, stream_centroids
from experiments.data import LabelledImages
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from experiments.train_run import train_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    """A small run on real MNIST, float64."""
    training = TrainingSettings(
        loss="squared-error", learning_rate=0.003, batch_size=60, epochs=12, logs_per_decade=1, dtype="float64"
    )
    settings = RunSettings(DataSettings(n_train=300, n_test=20), ModelSettings((32, 32), initial_scale=1.5), training)
    folder = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", settings)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network trains fastest on one
    train_run(folder, mnist.first(300, 20), torch.device("cpu"), show_progress=False)
    torch.set_num_threads(before)
    return folder.path


@pytest.fixture
def splinegeo(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["splinegeo", "centroids", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(exit_.value.code or 0), out, " ".join(err.replace("│", " ").split())

    return call


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


def test_a_failure_leaves_the_old_array(run: Path, tmp_path: Path, mnist: LabelledImages):
    model, x = model_and_images(run, "final", mnist)
    (tmp_path / "c.npy").write_bytes(b"old")
    with pytest.raises(sg.SplineGeoError):
        stream_centroids(tmp_path / "c.npy", CentroidKind("nothing", False, 0.1, 1, 0), model, x[:3])
    assert [path.name for path in tmp_path.iterdir()] == ["c.npy"]
    assert (tmp_path / "c.npy").read_bytes() == b"old"


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
        (["--array", "a.zarr"], 2, "--array must end in .npy"),
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
