"""The machine and the versions that figures belong to."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from splinegeo.processors import n_processors

_PACKAGES = ("splinegeo", "numpy", "scipy", "numba", "torch", "regioncam", "relucent")


def header(command: str) -> list[str]:
    """Lines of Markdown: date, command, processor, memory, load and versions."""
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return [
        f"- Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- Command: `{command}`",
        f"- Machine: {processor()}, {n_processors()} cores, {total_memory() / 2**30:.0f} GiB, {platform.system()}",
        f"- Load averages over 1, 5 and 15 minutes at the start: {load}",
        f"- Python {sys.version.split()[0]}; " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
    ]


def described(command: str) -> str:
    """The same in one line."""
    return "; ".join(line.removeprefix("- ").removeprefix("Date: ") for line in header(command))


def processor() -> str:
    """The processor's model name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def total_memory() -> int:
    """Bytes of physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
