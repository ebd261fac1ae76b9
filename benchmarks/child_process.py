"""Measurements in child processes, with limits of time and memory that are enforced from outside."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

_HERE = Path(__file__).parent
_POLL = 0.05
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What a measurement may use: wall seconds, and bytes of resident memory."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Outcome:
    """What a measurement printed; or the reason why there is nothing."""

    values: dict = field(default_factory=dict)
    failure: str = ""


def measure(what: str, threads: int, limits: Limits, arguments: list[str], environment: dict[str, str]) -> Outcome:
    """Run measure.py in a fresh process with so many threads for every library."""
    command = [sys.executable, str(_HERE / "measure.py"), what, "--threads", str(threads), *arguments]
    settings = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads)) | environment
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = [*command, "--begin", str(time.time())]
        process = subprocess.Popen(started, stdout=output, stderr=errors, env=settings, start_new_session=True)
        failure = _watch(process, limits)
        output.seek(0)
        errors.seek(0)
        printed, complaints = output.read().splitlines(), errors.read().strip().splitlines()
    if failure:
        return Outcome(failure=failure)
    if process.returncode != 0 or not printed:
        last = complaints[-1] if complaints else f"exit status {process.returncode}"
        missing = "ModuleNotFoundError" in last or "ImportError" in last
        return Outcome(failure=f"cannot be imported: {last}" if missing else f"failed: {last}")
    return Outcome(json.loads(printed[-1]))


def _watch(process: subprocess.Popen, limits: Limits) -> str:
    """Wait for the process, or end it at a limit and say at which."""
    begin = time.perf_counter()
    try:
        while True:
            try:
                process.wait(_POLL)
                return ""
            except subprocess.TimeoutExpired:
                pass
            if time.perf_counter() - begin > limits.seconds:
                return f"stopped after {limits.seconds:.0f} s"
            if _resident(process.pid) > limits.memory:
                return f"stopped at {limits.memory / 1e9:g} GB of memory"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _resident(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return 1024 * int(line.split()[1])
    except OSError:  # it has just ended, or this system has no /proc
        pass
    return 0
