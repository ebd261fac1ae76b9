"""Training in a process of its own, and the explorer beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from experiments.explorer_run import RunSource
    from viz.explorer_source import Growth

FLAG = "--explore"
_PROGRAM = "import sys; from experiments.live_training import train_and_report; train_and_report(sys.argv.pop(1))"
_STOPPED = 130
_BETWEEN_LOOKS = 0.1


def train_beside_explorer(run: Path, arguments: Sequence[str], data_dir: Path) -> None:
    """Train `run` by `splinegeo` with these arguments (the flag --explore left out), and watch it in the explorer.

    The training has a process of its own, which goes on to its end when the window is closed. Raises `typer.Exit` with
    its code if it fails, and the errors of `viz.napari_window.check_can_open`.
    """
    from viz.napari_window import check_can_open, open_explorer, work

    check_can_open()
    with tempfile.TemporaryDirectory(prefix="splinegeo-") as folder:
        report = Path(folder) / "error.txt"
        process = training_process(arguments, report)
        try:
            source = wait_for_run(run, process, data_dir, report)
            work(open_explorer(source, title=f"splinegeo: {run}"))
            if process.poll() is None:
                print(f"splinegeo: the window is closed; {run} trains on, Ctrl-C stops it", file=sys.stderr)
            code = process.wait()
        except BaseException:
            stop(process)
            raise
    if code:
        raise typer.Exit(code)


def training_process(arguments: Sequence[str], report: Path) -> subprocess.Popen[bytes]:
    """`splinegeo` with these arguments, in a process of the same terminal: Ctrl-C reaches it too.

    What an error says is written to the file `report` as well.
    """
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, str(report), *(a for a in arguments if a != FLAG)])


def train_and_report(report: str) -> None:
    """The command line in the training's own process; what an error says is written to the file `report`."""
    from experiments.cli import main

    def write(message: str) -> None:
        from splinegeo.atomic import write_atomically  # not before `main`, which must come before torch

        write_atomically(Path(report), message.encode())

    main(write)


def growth_of(run: Path, process: subprocess.Popen[bytes], report: Path) -> Growth:
    """Whether a training goes on, and what has become of it."""
    from viz.explorer_source import Growth

    code = process.poll()
    if code is None:
        return Growth(True, "in training")
    if code == 0:
        return Growth(False, "training has ended")
    resume = f"go on by: splinegeo train {run} --resume"
    if code == _STOPPED:
        return Growth(False, f"training was stopped; {resume}")
    if code < 0:
        return Growth(False, f"the training process was killed ({signal.Signals(-code).name}); {resume}", failed=True)
    said = report.read_text("utf-8") if report.is_file() else f"training ended with exit code {code}, see the terminal"
    return Growth(False, said, failed=True)


def wait_for_run(run: Path, process: subprocess.Popen[bytes], data_dir: Path, report: Path) -> RunSource:
    """The run as a source of the explorer, as soon as its folder is there.

    Raises `typer.Exit` with the process's code if it ends before: it has said why.
    """
    from experiments.data import load_data
    from experiments.explorer_run import RunSource
    from experiments.run_folder import RunFolder

    while not (run / "config.json").is_file():
        if process.poll() is not None:
            raise typer.Exit(process.returncode or 1)
        time.sleep(_BETWEEN_LOOKS)
    folder = RunFolder.open(run)
    # The training process has fetched the data by now, if it was told to.
    data = load_data(folder.settings.data, data_dir, False)
    return RunSource(folder, data, (0, 1, 2), growth=lambda: growth_of(run, process, report))


def stop(process: subprocess.Popen[bytes], patience: float = 30.0) -> None:
    """End a training process as Ctrl-C does, so that it saves; kill it if it takes longer than `patience` seconds."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
