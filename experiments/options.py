"""Options that several commands share, and what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as made by `splinegeo train`.")]
RunOrPartition = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|PARTITION",
        help="Run folder, as made by `splinegeo train`, or partition file, as made by `splinegeo regions`.",
    ),
]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto (CUDA when there is one), cpu or cuda.", metavar="auto|cpu|cuda")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads on the CPU.", show_default="as many as torch takes")]
DataDir = Annotated[
    Path,
    typer.Option(help="Folder of torchvision's data sets, or of a run's data file; the embedded one needs none."),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch a missing data set into --data-dir.")]

FigureFolder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Where run folders and figures go; reused and resumed.")
]
Quick = Annotated[bool, typer.Option("--quick", help="A smaller setting that takes minutes; the figure says so.")]
QuickRun = Annotated[bool, typer.Option("--quick", help="A quarter of the epochs, in RUN_quick; the figure says so.")]
Batched = Annotated[
    bool, typer.Option("--batched", help="Train the seeds in one program, for GPUs; on a CPU it saves no time.")
]
Seeds = Annotated[str, typer.Option(metavar="0-9|0,3,5", help="Seeds to train; several make a band.")]


def quick_folder(run: Path) -> Path:
    """The run folder of the quick setting beside that of the whole one."""
    return run.with_name(f"{run.name}_quick")


def set_threads(threads: int | None) -> None:
    """Let torch use this many threads on the CPU; None leaves its own choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
