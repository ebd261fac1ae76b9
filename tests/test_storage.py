"""Partitions on disk: the same partition back, a write that is all or nothing, and a refusal of foreign files."""

import os
import pickle
import resource
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import MNIST
from partition_files import (
    PARTITIONS,
    assert_same_file_content,
    linear_partition,
    read_arrays,
    refusal,
    results,
    save,
    small_partition,
    write_arrays,
)
from torch import nn

import splinegeo as sg
from splinegeo.affine import Affine
from splinegeo.restriction import has_operators


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(small_partition(), tmp_path_factory.mktemp("saved") / "small.npz")


# --- there and back ---


@pytest.mark.parametrize("name", PARTITIONS)
def test_a_partition_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    partition = PARTITIONS[name]()
    loaded = sg.load_partition(save(partition, tmp_path / "partition.npz"))
    assert_same_file_content(partition, loaded)
    for computed, again in zip(results(partition), results(loaded), strict=True):
        np.testing.assert_array_equal(computed, again)


def test_a_loaded_partition_can_be_saved_again(saved: Path, tmp_path: Path) -> None:
    again = sg.load_partition(save(sg.load_partition(saved), tmp_path / "again.npz"))
    assert_same_file_content(sg.load_partition(saved), again)


def test_the_name_is_taken_as_given(tmp_path: Path) -> None:
    partition = small_partition()
    for name in ("regions", "regions.npz", "regions.v1.partition"):
        partition.save(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["regions", "regions.npz", "regions.v1.partition"]
    assert_same_file_content(partition, sg.load_partition(str(tmp_path / "regions")))


def test_a_saved_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = save(small_partition(), tmp_path / "partition.npz")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_network_given_must_be_the_one_that_was_enumerated(tmp_path: Path) -> None:
    """Another checkpoint of the architecture has arrays of the same shapes."""
    path = save(small_partition(), tmp_path / "partition.npz")
    network = sg.load_partition(path).network
    assert_same_file_content(small_partition(), sg.load_partition(path, network))
    first = network.stages[0].affine
    assert isinstance(first, Affine)
    shifted = replace(network.stages[0], affine=Affine(first.weight, first.bias + 1.0))
    with pytest.raises(sg.PartitionFileError, match="of another network than the one given"):
        sg.load_partition(path, replace(network, stages=(shifted, *network.stages[1:])))


# --- all or nothing ---


@contextmanager
def files_no_longer_than(n_bytes: int) -> Iterator[None]:
    """As on a full disk: the kernel refuses what goes beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 100, 5_000])
def test_a_write_that_fails_leaves_the_old_file(room: int, tmp_path: Path) -> None:
    path = save(linear_partition(), tmp_path / "partition.npz")
    before = path.read_bytes()
    other = small_partition()
    with files_no_longer_than(room), pytest.raises(OSError, match="too large"):
        other.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert sg.load_partition(path).n_regions == 1


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_partition().save(tmp_path / "partition.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        small_partition().save(tmp_path / "nowhere" / "partition.npz")
    with pytest.raises(OSError):  # noqa: PT011
        small_partition().save(tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- refusals ---


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.canary),)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        sg.load_partition(tmp_path / "nothing.npz")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_a_truncated_file(share: float, saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    path = tmp_path / "truncated.npz"
    path.write_bytes(content[: int(share * len(content))])
    refusal(path)


def test_foreign_files(tmp_path: Path) -> None:
    assert "not a partition file" in refusal(MNIST)
    generator = np.random.default_rng(0)
    contents = {
        "noise": generator.bytes(10_000),
        "text": b"layer,unit\n0,1\n",
        "picture": b"\x89PNG\r\n\x1a\n" + generator.bytes(100),
        "zip": b"PK\x03\x04" + generator.bytes(100),
        "npy": b"\x93NUMPY" + generator.bytes(100),
        "pickle": pickle.dumps({"format": "splinegeo partition"}),
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        refusal(path)
    np.save(tmp_path / "array.npy", np.zeros((3, 3)))
    refusal(tmp_path / "array.npy")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    refusal(tmp_path / "checkpoint.pt")
    with zipfile.ZipFile(tmp_path / "members.zip", "w") as archive:
        archive.writestr("format.npy", "no array")
        archive.writestr("readme.txt", "text")
    refusal(tmp_path / "members.zip")
    refusal(tmp_path)


def test_pickled_objects_are_never_loaded(saved: Path, tmp_path: Path) -> None:
    canary = tmp_path / "unpickled"
    arrays = read_arrays(saved)
    for name in ("vertices", "format", "version", "unknown"):
        spoilt = arrays | {name: np.array([Payload(canary)], dtype=object)}
        refusal(write_arrays(spoilt, tmp_path / "pickled.npz"))
        assert not canary.exists()
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Payload(canary)))
    refusal(tmp_path / "pickle.npz")
    assert not canary.exists()


def test_a_newer_version_says_what_to_do(saved: Path, tmp_path: Path) -> None:
    arrays = read_arrays(saved)
    newer = arrays | {"version": arrays["version"] + 1}
    message = refusal(write_arrays(newer, tmp_path / "newer.npz"))
    assert f"version {int(arrays['version']) + 1}" in message
    assert "update" in message


@pytest.mark.parametrize("version", [0, -3, 1.5, float("nan"), "one", [1, 1], 2**70])
def test_a_version_that_makes_no_sense(version: object, saved: Path, tmp_path: Path) -> None:
    arrays = read_arrays(saved) | {"version": np.array(version, dtype=None if version != 2**70 else np.float64)}
    refusal(write_arrays(arrays, tmp_path / "version.npz"))


def test_a_convolutional_network_with_pooling_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose maps are too large for matrices: the file holds no network, and asks for it."""
    monkeypatch.setattr("splinegeo.reading.DENSE_ENTRIES", 0)
    with torch.random.fork_rng():
        torch.manual_seed(45)
        convolved = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 4, 2), nn.ReLU()
        model = nn.Sequential(*convolved, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double()
    plane = sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 1, 6, 6)))
    partition = sg.enumerate_regions(model, plane, sg.Box(1.0))
    assert partition.n_regions > 50
    assert has_operators(partition.network)
    assert len(partition.network.groups) == 2
    path = save(partition, tmp_path / "pooled.npz")
    assert "give load_partition the model" in refusal(path)
    loaded = sg.load_partition(path, model)
    assert_same_file_content(partition, loaded)
    assert loaded.certify(500).ok
    for computed, again in zip(results(partition), results(loaded), strict=True):
        np.testing.assert_allclose(again, computed, rtol=1e-9, atol=1e-11)
    blocks = sg.save_blocks(tmp_path / "blocks", sg.iterate_regions(model, plane, sg.Box(1.0), memory=1 << 16))
    again = sg.load_blocks(tmp_path / "blocks", model)
    assert len(blocks) == len(again) > 1
    keys = {key.tobytes() for block in again for key in block.pattern_keys}
    assert keys == {key.tobytes() for key in partition.pattern_keys}
    assert again.n_regions == partition.n_regions
