"""The compiled kernels are compiled once on a machine, then cached beside the source; the first time is announced."""

import logging
from functools import cache
from pathlib import Path

from splinegeo import _faces

_log = logging.getLogger("splinegeo")


@cache
def announce_compilation() -> None:
    """Say so if the kernels are about to be compiled, which takes a while."""
    folder = _faces.split_faces.stats.cache_path
    if folder is None or not any(Path(folder).glob("_faces.split_faces-*.nbi")):
        _log.warning("splinegeo compiles its kernels, once on this machine: about 20 seconds")
