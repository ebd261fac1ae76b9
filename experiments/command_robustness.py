"""`splinegeo robustness`: how accurate a run's networks stay under noise and under adversarial attacks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.options import DataDir, Device, Download, Run, Threads, set_threads
from experiments.run_path import check_run_path

if TYPE_CHECKING:
    from experiments.run_folder import RunFolder


def robustness(
    run: Run,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="EPOCH|EVENT,...|all",
            help="Checkpoints, with commas between: epochs, memorised, final or latest; or all.",
            show_default="memorised,final where there are both, else latest",
        ),
    ] = None,
    attack: Annotated[
        str, typer.Option(metavar="apgd-ce|standard", help="APGD on cross-entropy, or AutoAttack's standard ensemble.")
    ] = "apgd-ce",
    epsilon: Annotated[
        str, typer.Option(metavar="NUMBER|a/b", help="Greatest change of a value by the attack.")
    ] = "4/255",
    space: Annotated[
        str,
        typer.Option(
            metavar="pixels|normalised",
            help="What is attacked: pixels on [0, 1], or as the paper's code has it, the normalised inputs.",
        ),
    ] = "pixels",
    noise: Annotated[float, typer.Option(min=0, help="Deviation of Gaussian noise on pixels on [0, 1].")] = 0.3,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Attack the first so many test samples.", show_default="all of the run")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the attack.")] = 0,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Measure test accuracy under Gaussian noise and under an adversarial attack, for checkpoints of a run.

    Results are kept in RUN/robustness.jsonl, one line a checkpoint and setting: what is there already is not attacked
    again, and Ctrl-C loses at most one checkpoint. Needs the extra `attacks`.
    """
    check_run_path(run)
    set_threads(threads)
    import torch

    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.robustness import RobustnessSettings, measured
    from experiments.run_folder import RunFolder
    from experiments.table import text_table

    folder = RunFolder.open(run)
    chosen = RobustnessSettings(attack, _number(epsilon), space, noise, samples or folder.settings.data.n_test, seed)
    dtype = getattr(torch, folder.settings.training.dtype)
    images = load_data(folder.settings.data, data_dir, download).to(choose_device(device), dtype)
    rows = [
        [str(entry["epoch"]), *(f"{entry[name]:.1%}" for name in ("accuracy", "noisy_accuracy", "attacked_accuracy"))]
        for entry in measured(folder, images, _which(folder, checkpoint), chosen)
    ]
    print(f"{chosen.n_samples} test samples, {chosen.description}")
    print(text_table(["epoch", "accuracy", f"under noise of {noise:g}", f"under {attack}"], rows))
    print(f"results: {folder.path / 'robustness.jsonl'}")


def _which(folder: RunFolder, names: str | None) -> Sequence[int | str]:
    if names == "all":
        return list(folder.checkpoints()) or ["latest"]
    if names is not None:
        return [name.strip() for name in names.split(",")]
    events = {event for events in folder.checkpoints().values() for event in events}
    return ["memorised", "final"] if {"memorised", "final"} <= events else ["latest"]


def _number(text: str) -> float:
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"--epsilon takes a number such as 0.0157, or a fraction such as 4/255; got {text!r}"
        ) from None
