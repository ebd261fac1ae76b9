"""Figures as files that appear whole or not at all."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from splinegeo.atomic import write_atomically
from viz.errors import DrawingError

# Metadata that would make two files of one figure differ are left out.
_METADATA: dict[str, dict[str, object]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


def save_figure(
    figure: Figure, path_stem: str | os.PathLike, formats: Sequence[str] = ("png", "pdf"), dpi: float = 300.0
) -> list[Path]:
    """Write a figure as `path_stem`.png, .pdf or .svg; returns the paths.

    Vector files hold dense regions as a picture at `dpi`. Every file is complete before it takes its name, so that a
    reader, or a kill, finds the old file or the new one.
    Raises `DrawingError` for a format that is not one of the three, and OSError as the disk does.
    """
    unknown = [name for name in formats if name not in _METADATA]
    if unknown or not formats:
        raise DrawingError(
            f"figures are written as {', '.join(_METADATA)}, not {', '.join(map(repr, unknown)) or 'nothing'}"
        )
    contents = {}
    for name in formats:
        buffer = io.BytesIO()
        with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "splinegeo"}):
            figure.savefig(buffer, format=name, dpi=dpi, facecolor=figure.get_facecolor(), metadata=_METADATA[name])
        contents[Path(f"{os.fspath(path_stem)}.{name}")] = buffer.getvalue()
    for path, content in contents.items():
        write_atomically(path, content)
    return list(contents)
