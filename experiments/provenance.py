"""Where a run came from: versions, git revision, machine type."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def provenance() -> dict[str, str | int | None]:
    """Versions of Python and of the packages that decide numbers, the code's git revision (or None), and the time."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": str(torch.__version__),  # with its build, which the package's metadata leaves out
        "threads": torch.get_num_threads(),  # the order of a sum, and so its last bit, may depend on it
        **{package: _version(package) for package in ("splinegeo", "numpy", "numba", "safetensors")},
    }


def git_revision() -> str | None:
    """Commit of the checkout that this code runs from, with "+changes" when the tree differs; None without git."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            result = subprocess.run(
                ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.strip()

    # An installed package may lie inside an unrelated repository: only a checkout that tracks this file counts.
    if (
        git("ls-files", "--error-unmatch", Path(__file__).name) is None
        or (revision := git("rev-parse", "HEAD")) is None
    ):
        return None
    return revision + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
