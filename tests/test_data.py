"""The embedded subset is MNIST itself; torchvision's MNIST is read from genuine IDX files; errors are one line."""

import builtins
import gzip
import hashlib
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.data import EMBEDDED_MNIST, embedded_mnist, load_data, torchvision_mnist
from experiments.errors import DataError
from experiments.settings import DataSettings

# Public knowledge about MNIST: the labels with which its training and its test set begin.
FIRST_LABELS = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9]
FIRST_TEST_LABELS = [7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6, 9, 0, 1, 5, 9, 7, 3, 4]


def write_idx(path: Path, array: np.ndarray) -> None:
    """The IDX format of the MNIST page: magic number (type 8 is uint8, then the rank), sizes big-endian, bytes."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """A data folder with the four IDX files of MNIST, holding the embedded samples."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    with np.load(EMBEDDED_MNIST) as arrays:
        for prefix, part in (("train", "train"), ("t10k", "test")):
            write_idx(raw / f"{prefix}-images-idx3-ubyte", arrays[f"x_{part}"])
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", arrays[f"y_{part}"])
    return tmp_path


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_embedded_subset_is_the_beginning_of_mnist():
    data = embedded_mnist()
    assert data.x_train.shape == data.x_test.shape == (1024, 1, 28, 28)
    assert data.y_train[:20].tolist() == FIRST_LABELS
    assert data.y_test[:20].tolist() == FIRST_TEST_LABELS
    assert data.n_classes == 10
    # Every class of handwritten digits occurs in about a tenth of the samples.
    assert (torch.bincount(data.y_train, minlength=10) > 80).all()


def test_normalisation_is_the_papers_and_can_be_inverted():
    data = embedded_mnist()
    with np.load(EMBEDDED_MNIST) as arrays:
        pixels = arrays["x_train"]
    assert data.x_train.min().item() == pytest.approx(-0.1307 / 0.3081, rel=1e-12)
    assert data.x_train.max().item() == pytest.approx((1 - 0.1307) / 0.3081, rel=1e-12)
    restored = (data.pixels(data.x_train) * 255).round().to(torch.uint8)[:, 0].numpy()
    np.testing.assert_array_equal(restored, pixels)
    # mean and deviation of the whole training set, so those of a part are near 0 and 1
    assert abs(data.x_train.mean().item()) < 0.05
    assert abs(data.x_train.std().item() - 1) < 0.05


def test_embedded_file_has_its_attribution_beside_it():
    attribution = (EMBEDDED_MNIST.parent / "ATTRIBUTION.md").read_text()
    for words in ("Yann LeCun", "Corinna Cortes", "Burges", "CC BY-SA 3.0"):
        assert words in attribution


def test_torchvision_reads_genuine_idx_files(idx_folder: Path):
    ours, theirs = embedded_mnist(), torchvision_mnist(idx_folder)
    assert theirs.name == "MNIST"
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_load_data_takes_the_first_samples(idx_folder: Path):
    data = load_data(DataSettings("mnist", 100, 50), idx_folder, download=False)
    assert len(data.x_train) == 100
    assert len(data.y_test) == 50
    assert data.y_train[:20].tolist() == FIRST_LABELS
    with pytest.raises(DataError) as error:
        load_data(DataSettings("embedded-mnist", 1025, 10), idx_folder, download=False)
    assert "1025 training samples asked" in one_line(error)
    assert "1 to 1024" in one_line(error)


def test_moves_to_a_type():
    data = embedded_mnist().first(3, 3).to(torch.device("cpu"), torch.float32)
    assert data.x_train.dtype == data.x_test.dtype == torch.float32
    assert data.y_train.dtype == torch.int64


def test_missing_files_say_how_to_get_them(tmp_path: Path):
    with pytest.raises(DataError, match=r"there is no MNIST under .*--download") as error:
        torchvision_mnist(tmp_path)
    one_line(error)
    assert list(tmp_path.iterdir()) == []  # nothing was fetched or made


def test_damaged_idx_file(idx_folder: Path):
    images = idx_folder / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:5000])
    with pytest.raises(DataError, match="incomplete or damaged") as error:
        torchvision_mnist(idx_folder)
    one_line(error)


def test_one_idx_file_missing(idx_folder: Path):
    (idx_folder / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="incomplete or damaged"):
        torchvision_mnist(idx_folder)


def test_idx_files_of_other_images(idx_folder: Path):
    write_idx(idx_folder / "MNIST" / "raw" / "train-images-idx3-ubyte", np.zeros((1024, 5, 5), dtype=np.uint8))
    with pytest.raises(DataError, match="is not MNIST") as error:
        torchvision_mnist(idx_folder)
    one_line(error)


def test_pickled_folder_is_refused(idx_folder: Path):
    (idx_folder / "MNIST" / "processed").mkdir()
    with pytest.raises(DataError, match="pickled"):
        torchvision_mnist(idx_folder)


def test_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torchvision.datasets

    # A closed port of this machine: the real download code meets a real refusal.
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError, match=r"could not be downloaded.*check the connection") as error:
        torchvision_mnist(tmp_path, download=True)
    assert len(one_line(error)) < 600


class QuietServer(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments) -> None:
        pass


def test_download_fetches_what_is_missing(tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch):
    import torchvision.datasets

    mirror = tmp_path / "mirror"
    mirror.mkdir()
    resources = []
    for path in sorted((idx_folder / "MNIST" / "raw").iterdir()):
        packed = gzip.compress(path.read_bytes())
        (mirror / f"{path.name}.gz").write_bytes(packed)
        resources.append((f"{path.name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    target = tmp_path / "target"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietServer, directory=mirror)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        with pytest.raises(DataError, match="--download"):
            torchvision_mnist(target, download=False)
        assert torch.equal(torchvision_mnist(target, download=True).x_train, embedded_mnist().x_train)
        server.shutdown()


def test_without_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real_import = builtins.__import__

    def without_torchvision(name: str, *arguments, **keywords):
        if name.startswith("torchvision"):
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_torchvision)
    with pytest.raises(DataError, match=r"pip install 'splinegeo\[datasets\]'"):
        torchvision_mnist(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", EMBEDDED_MNIST.read_bytes()[:100_000]])
def test_damaged_embedded_file(tmp_path: Path, content: bytes):
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged .*reinstall splinegeo") as error:
        embedded_mnist(path)
    one_line(error)


def test_missing_embedded_file(tmp_path: Path):
    with pytest.raises(DataError, match="is missing: reinstall splinegeo"):
        embedded_mnist(tmp_path / "none.npz")
