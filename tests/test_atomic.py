"""Files that appear whole or not at all, written in one piece or as a stream."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from splinegeo.atomic import TEMPORARY_SUFFIX, replacing_file, write_atomically


def streamed(path: Path, content: bytes) -> None:
    with replacing_file(path) as file:
        for i in range(0, len(content), 3):
            file.write(content[i : i + 3])


both = pytest.mark.parametrize("write", [write_atomically, streamed])


@both
def test_a_new_file_and_one_in_its_place(write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second, longer", b""):
        write(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with replacing_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        (temporary,) = set(tmp_path.iterdir()) - {path}
        assert temporary.suffix == TEMPORARY_SUFFIX
        assert str(os.getpid()) in temporary.name  # another process writes to a file of its own
    assert path.read_bytes() == b"new"


def test_threads_that_write_the_same_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing_file(path) as file:
        file.write(b"mine")
        other = threading.Thread(target=write_atomically, args=(path, b"the other's"))
        other.start()
        other.join()
        assert path.read_bytes() == b"the other's"
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("no")])
def test_whatever_is_raised_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def write() -> None:
        with replacing_file(path) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@both
def test_what_cannot_be_written(write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        write(tmp_path / "nowhere" / "file", b"content")
    assert missing.value.filename == str(tmp_path / "nowhere")
    (tmp_path / "no_folder").touch()
    with pytest.raises(NotADirectoryError) as no_folder:
        write(tmp_path / "no_folder" / "file", b"content")
    assert no_folder.value.filename == str(tmp_path / "no_folder" / "file")
    (tmp_path / "no_folder").unlink()
    with pytest.raises(IsADirectoryError):
        write(tmp_path, b"content")
    assert not list(tmp_path.iterdir())
    assert not list(tmp_path.parent.glob(f"*{TEMPORARY_SUFFIX}"))
