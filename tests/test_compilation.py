"""Cached kernels of another version are dropped before numba reads them; those of this one stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from splinegeo._compilation import keep_kernels_of

KERNELS = ("_faces.split_faces-41.py311.nbi", "_faces.split_faces-41.py311.1.nbc")


def folder_of_kernels(path: Path) -> Path:
    path.mkdir()
    for name in (*KERNELS, "_faces.cpython-311.pyc"):
        (path / name).write_bytes(b"compiled")
    return path


def kernels(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix in (".nbi", ".nbc")}


def test_kernels_are_kept_for_the_same_types_only(tmp_path: Path) -> None:
    folder = folder_of_kernels(tmp_path / "cache")
    keep_kernels_of(folder, "Room(vertex, edge)")
    assert kernels(folder) == set()  # nothing said for which types these were
    for name in KERNELS:
        (folder / name).write_bytes(b"compiled anew")
    keep_kernels_of(folder, "Room(vertex, edge)")
    assert kernels(folder) == set(KERNELS)
    keep_kernels_of(folder, "Room(vertex, edge, face)")
    assert kernels(folder) == set()
    assert (folder / "_faces.cpython-311.pyc").exists()


def test_a_folder_that_cannot_be_written_is_left(tmp_path: Path) -> None:
    file = tmp_path / "no folder"
    file.write_bytes(b"")
    keep_kernels_of(file, "Room(vertex, edge)")
    assert file.read_bytes() == b""


@pytest.mark.parametrize("stale", [False, True])
def test_importing_splinegeo_drops_stale_kernels(tmp_path: Path, stale: bool) -> None:
    program = "import splinegeo; from splinegeo import _faces; print(_faces.split_faces.stats.cache_path)"

    def imported() -> Path:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        )
        return Path(ended.stdout.strip())

    folder = imported()
    assert tmp_path in folder.parents
    (folder / KERNELS[0]).write_bytes(b"compiled")
    if stale:
        (mark,) = folder.glob("*.txt")
        mark.write_text("of another version")
    assert imported() == folder
    assert (folder / KERNELS[0]).exists() is not stale
