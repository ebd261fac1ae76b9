"""CIFAR-10 from its binary version, torchvision's verified folder and .npz: the same images, no foreign pickle.

The files are written here in CIFAR-10's published formats; their pixels are smooth pictures of a generator.
"""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from experiments.cifar10 import read_cifar10
from experiments.data import CIFAR10_MEAN, CIFAR10_STD, cifar10, load_data
from experiments.errors import DataError, SettingsError
from experiments.settings import DataSettings

N_A_FILE = 7


def batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (n, 32, 32, 3) and labels of each of the six files, all different from each other."""
    generator = np.random.default_rng(0)
    found = {}
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        coarse = generator.integers(0, 256, (N_A_FILE, 8, 8, 3))
        images = coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
        found[name] = images, generator.integers(0, 10, N_A_FILE).astype(np.uint8)
    return found


@pytest.fixture
def binary_folder(tmp_path: Path) -> Path:
    """The binary version: one byte of label, then 1024 bytes each of red, green and blue, row by row."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, (images, labels) in batches().items():
        content = b"".join(
            bytes([label]) + image[..., 0].tobytes() + image[..., 1].tobytes() + image[..., 2].tobytes()
            for image, label in zip(images, labels, strict=True)
        )
        (folder / f"{name}.bin").write_bytes(content)
    return tmp_path


@pytest.fixture
def torchvision_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's folder, with the MD5 sums that it compares set to those of these files."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sums = {}
    for name, (images, labels) in batches().items():
        rows = images.transpose(0, 3, 1, 2).reshape(N_A_FILE, -1)
        content = pickle.dumps({"data": rows, "labels": labels.tolist()})
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": [str(c) for c in range(10)]})
    (folder / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(CIFAR10, "train_list", [[name, value] for name, value in sums.items() if name != "test_batch"])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": hashlib.md5(meta).hexdigest()})
    return tmp_path


def expected() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    parts = batches()
    training = [parts[f"data_batch_{number}"] for number in range(1, 6)]
    x, y = (np.concatenate([part[index] for part in training]) for index in (0, 1))
    return x, y, *parts["test_batch"]


@pytest.mark.parametrize("folder", ["binary_folder", "torchvision_folder"])
def test_both_versions_give_the_images(folder: str, request: pytest.FixtureRequest):
    arrays = read_cifar10(request.getfixturevalue(folder))
    for found, wanted in zip(arrays, expected(), strict=True):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, wanted)


def test_normalised_by_channel(binary_folder: Path):
    data = load_data(DataSettings("cifar10", 30, 5), binary_folder, download=False)
    x_train, y_train, x_test, _ = expected()
    assert data.x_train.shape == (30, 3, 32, 32)
    assert data.y_train.tolist() == y_train[:30].tolist()
    for channel in range(3):
        plane = (x_train[4, :, :, channel] / 255 - CIFAR10_MEAN[channel]) / CIFAR10_STD[channel]
        np.testing.assert_allclose(data.x_train[4, channel].numpy(), plane, atol=1e-12)
    restored = (255 * data.pixels(data.x_test)).round().to(torch.uint8).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(restored.numpy(), x_test[:5])


def test_an_npz_file_holds_the_same(binary_folder: Path):
    path = binary_folder / "cifar.npz"
    np.savez(path, **dict(zip(("x_train", "y_train", "x_test", "y_test"), expected(), strict=True)))
    settings = DataSettings("cifar10", 20, 4, file=str(path))
    from_file = load_data(settings, Path("nowhere"), download=False)
    from_folder = load_data(DataSettings("cifar10", 20, 4), binary_folder, download=False)
    assert torch.equal(from_file.x_train, from_folder.x_train)
    assert torch.equal(from_file.y_test, from_folder.y_test)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_foreign_pickle_is_not_opened(torchvision_folder: Path):
    trace = torchvision_folder / "executed"
    batch = torchvision_folder / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(DataError, match="incomplete or not the original: delete that folder") as error:
        read_cifar10(torchvision_folder)
    assert not trace.exists()
    assert "\n" not in str(error.value)
    pickle.loads(batch.read_bytes())
    assert trace.exists()  # it would have been


def test_missing_and_damaged_files(tmp_path: Path, binary_folder: Path):
    with pytest.raises(DataError, match=r"there is no CIFAR-10 under .*--download.*--data-dir.*--data-file"):
        read_cifar10(tmp_path / "none")
    folder = binary_folder / "cifar-10-batches-bin"
    batch = folder / "data_batch_2.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_2\.bin is damaged: 21510 bytes are not whole records"):
        read_cifar10(binary_folder)
    (folder / "test_batch.bin").unlink()
    batch.unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin is missing: extract the whole"):
        read_cifar10(binary_folder)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": np.zeros((3, 32, 32, 3))}, r"images of shape \(3, 32, 32, 3\) and type float64"),
        ({"x_train": np.zeros((3, 28, 28), np.uint8)}, r"expected \(n, 32, 32, 3\) uint8"),
        ({"y_train": np.array([0, 1, 10])}, r"file\.npz: there are labels from 0 to 10; expected labels from 0 to 9"),
        ({"y_train": np.eye(3, 10, dtype=np.uint8)}, r"labels of shape \(3, 10\)"),
        ({"y_train": np.array([0.0, 1.0, 2.0])}, "type float64; expected"),
        ({"y_test": np.zeros(2, np.uint8)}, r"labels of shape \(2,\)"),
        ({"x_test": None, "y_test": None}, "it lacks x_test, y_test; give x_train, y_train, x_test, y_test"),
        ({"x_test": np.array([{}], dtype=object)}, "is damaged or not an .npz file"),
    ],
)
def test_npz_files_of_other_things(tmp_path: Path, arrays: dict, message: str):
    content = {
        **{name: np.zeros((3, 32, 32, 3), np.uint8) for name in ("x_train", "x_test")},
        **{name: np.zeros(3, np.uint8) for name in ("y_train", "y_test")},
    } | arrays
    path = tmp_path / "file.npz"
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    with pytest.raises(DataError, match=message) as error:
        load_data(DataSettings("cifar10", 1, 1, file=str(path)), tmp_path, download=False)
    assert "\n" not in str(error.value)


def test_no_file_and_no_npz(tmp_path: Path):
    (tmp_path / "file.npz").write_bytes(b"PK\x03\x04 cut short")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name, message in (
        ("none.npz", "there is no data file .*--data-file"),
        ("file.npz", "is damaged or not an"),
        ("text.npz", "not a zip archive"),
        ("array.npy", "not a zip archive"),
    ):
        with pytest.raises(DataError, match=message):
            load_data(DataSettings("cifar10", 1, 1, file=str(tmp_path / name)), tmp_path, download=False)
    with pytest.raises(SettingsError, match="embedded data set is read from no file"):
        DataSettings(file="file.npz")


def test_a_data_file_that_has_moved_is_found_in_the_data_folder(tmp_path: Path):
    content = {f"{name}_{part}": array for part in ("train", "test") for name, array in zip("xy", few(), strict=True)}
    np.savez(tmp_path / "part.npz", **content)
    there, moved = (
        load_data(DataSettings("cifar10", 3, 3, file=str(folder / "part.npz")), tmp_path, download=False)
        for folder in (tmp_path, tmp_path / "elsewhere")
    )
    assert torch.equal(there.x_train, moved.x_train)
    with pytest.raises(DataError, match=r"no data file .*elsewhere/part\.npz, nor .*other/part\.npz: .*--data-dir"):
        load_data(DataSettings("cifar10", 3, 3, file=str(tmp_path / "elsewhere/part.npz")), tmp_path / "other", False)


def few() -> tuple[np.ndarray, np.ndarray]:
    """Three images and their labels."""
    return np.arange(3 * 32 * 32 * 3).reshape(3, 32, 32, 3).astype(np.uint8), np.array([2, 0, 1])


def test_arrays_of_the_whole_set_are_taken_as_they_are():
    data = cifar10(*expected())
    assert (data.name, data.n_classes, len(data.x_train)) == ("CIFAR-10", 10, 5 * N_A_FILE)
