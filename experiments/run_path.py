"""Whether a path can be a run folder or a partition: asked before anything slow is imported."""

from __future__ import annotations

from pathlib import Path

from experiments.errors import RunFolderError


def check_run_path(path: Path) -> None:
    """Raise RunFolderError unless there is a folder with a config.json."""
    if not path.is_dir():
        raise RunFolderError(f"there is no run folder {path}")
    if not (path / "config.json").is_file():
        raise RunFolderError(f"{path} is not a run folder: it has no config.json")


def check_run_or_file(path: Path) -> None:
    """Raise RunFolderError unless there is a run folder, or a file."""
    if not path.exists():
        raise RunFolderError(f"there is no run folder and no partition file {path}")
    if path.is_dir():
        check_run_path(path)
