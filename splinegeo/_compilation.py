"""The compiled kernels are compiled once on a machine, then cached beside the source; the first time is announced."""

import hashlib
import logging
import sys
from functools import cache
from pathlib import Path

from splinegeo import _faces
from splinegeo.atomic import write_atomically

_log = logging.getLogger("splinegeo")
_MARK = "splinegeo_kernels.txt"


@cache
def announce_compilation() -> None:
    """Say so if the kernels are about to be compiled, which takes a while."""
    folder = _cache_folder()
    if folder is None or not any(folder.glob("_faces.split_faces-*.nbi")):
        _log.warning("splinegeo compiles its kernels, once on this machine: about 20 seconds")


def drop_stale_kernels() -> None:
    """Delete kernels that another version of splinegeo has cached for types that are no more.

    numba compares a cached kernel with its source only after it has read it, and to read it needs the types of its
    arguments: without this an update of splinegeo in its place could end with an error about a missing class.
    """
    folder = _cache_folder()
    if folder is not None:
        keep_kernels_of(folder, _type_names())


def keep_kernels_of(folder: Path, types: str) -> None:
    """Delete the cached kernels in a folder unless they were made for these types, where the folder is writable."""
    mark = folder / _MARK
    digest = hashlib.sha256(types.encode()).hexdigest()
    try:
        if mark.is_file() and mark.read_text("ascii", "replace") == digest:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for kernel in [*folder.glob("*.nbi"), *folder.glob("*.nbc")]:
            kernel.unlink(missing_ok=True)
        write_atomically(mark, digest.encode())
    except OSError:
        pass


def _cache_folder() -> Path | None:
    path = _faces.split_faces.stats.cache_path
    return None if path is None else Path(path)


def _type_names() -> str:
    """Names and fields of the tuples that the loaded modules of splinegeo define, kernels' arguments among them."""
    names = [
        (value.__module__, value.__qualname__, value._fields)
        for name, module in sorted(sys.modules.items())
        if name.startswith("splinegeo.")
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")
        if value.__module__ == name
    ]
    return repr(names)
