"""`splinegeo robustness`: how accurate a run's networks stay under noise and under adversarial attacks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.options import DataDir, Device, Download, Run, Threads, set_threads
from experiments.run_path import check_run_path

if TYPE_CHECKING:
    from experiments.robustness import RobustnessSettings
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
        str,
        typer.Option(metavar="NUMBER|a/b[,...]", help="Greatest change of a value by the attack; several with commas."),
    ] = "4/255",
    space: Annotated[
        str,
        typer.Option(
            metavar="pixels|normalised",
            help="What is attacked: pixels on [0, 1], or as the paper's code has it, the normalised inputs.",
        ),
    ] = "pixels",
    noise: Annotated[
        str,
        typer.Option(metavar="NUMBER[,...]", help="Deviation of Gaussian noise on pixels on [0, 1]; several likewise."),
    ] = "0.3",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Attack the first so many test samples.", show_default="all of the run")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the attack.")] = 0,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw accuracy against noise and against ε, a curve for each checkpoint: .png, .pdf or .svg.",
            show_default="none",
        ),
    ] = None,
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
    noises, epsilons = _numbers(noise, "--noise", "0.3"), _numbers(epsilon, "--epsilon", "0.0157")
    if min(noises) < 0:
        raise typer.BadParameter(f"--noise takes no negative deviation, got {noise}")
    if picture is not None and picture.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(f"--picture must end in .png, .pdf or .svg, got {picture}")
    set_threads(threads)
    import torch

    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.robustness import RobustnessSettings, measured
    from experiments.run_folder import RunFolder
    from experiments.table import text_table

    folder = RunFolder.open(run)
    n_samples = samples or folder.settings.data.n_test
    # Each noise with the first ε and each further ε with the first noise: neither depends on the other.
    pairs = [(epsilons[0], deviation) for deviation in noises] + [(radius, noises[0]) for radius in epsilons[1:]]
    chosen = [RobustnessSettings(attack, radius, space, deviation, n_samples, seed) for radius, deviation in pairs]
    dtype = getattr(torch, folder.settings.training.dtype)
    images = load_data(folder.settings.data, data_dir, download).to(choose_device(device), dtype)
    which = _which(folder, checkpoint)
    found = [measured(folder, images, which, one) for one in chosen]
    noisy, attacked = range(len(noises)), [0, *range(len(noises), len(pairs))]
    rows = [
        [
            str(found[0][place]["epoch"]),
            f"{found[0][place]['accuracy']:.1%}",
            *(f"{found[index][place]['noisy_accuracy']:.1%}" for index in noisy),
            *(f"{found[index][place]['attacked_accuracy']:.1%}" for index in attacked),
        ]
        for place in range(len(which))
    ]
    print(f"{n_samples} test samples, {chosen[0].description if len(epsilons) == 1 else chosen[0].method}")
    under_noise = [f"under noise of {noises[0]:g}"] if len(noises) == 1 else [f"noise {value:g}" for value in noises]
    under_attack = [f"under {attack}"] if len(epsilons) == 1 else [f"ε {255 * radius:g}/255" for radius in epsilons]
    print(text_table(["epoch", "accuracy", *under_noise, *under_attack], rows))
    print(f"results: {folder.path / 'robustness.jsonl'}")
    if picture is not None:
        print(f"picture: {_draw(folder, [entry for entries in found for entry in entries], chosen[0], picture)}")


def _draw(folder: RunFolder, entries: Sequence[dict[str, Any]], settings: RobustnessSettings, picture: Path) -> Path:
    from experiments.robustness_figure import robustness_figure
    from viz.saving import save_figure
    from viz.style import style

    with style("light"):
        figure = robustness_figure(folder, entries, settings)
        (path,) = save_figure(figure, picture.with_suffix(""), [picture.suffix.removeprefix(".")])
    return path


def _which(folder: RunFolder, names: str | None) -> Sequence[int | str]:
    if names == "all":
        return list(folder.checkpoints()) or ["latest"]
    if names is not None:
        return [name.strip() for name in names.split(",")]
    events = {event for events in folder.checkpoints().values() for event in events}
    return ["memorised", "final"] if {"memorised", "final"} <= events else ["latest"]


def _numbers(text: str, option: str, example: str) -> list[float]:
    try:
        return list(dict.fromkeys(float(Fraction(part.strip())) for part in text.split(",")))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise typer.BadParameter(
            f"{option} takes a number such as {example}, or a fraction such as 4/255, or several with commas between; "
            f"got {text!r}"
        ) from None
