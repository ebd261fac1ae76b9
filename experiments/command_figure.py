"""`splinegeo figure N`: the figures of the papers, each from a run folder that is trained when it is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.command_train import train_or_explain_stop
from experiments.figure_files import write_figure
from experiments.options import (
    Batched,
    DataDir,
    Device,
    Download,
    FigureFolder,
    Quick,
    QuickRun,
    Seeds,
    Threads,
    quick_folder,
    set_threads,
)
from experiments.train_group import trained
from experiments.usage import CommandGroup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.run_folder import RunFolder
    from experiments.runs.figure2 import Setting
    from experiments.settings import RunSettings


figures = typer.Typer(
    cls=CommandGroup,
    help="Draw a figure of the papers; trains what it needs.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@figures.command("1")
def figure_1(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run folder: trained if new, resumed if it stopped, else reused."),
    ] = Path("demo"),
    quick: QuickRun = False,
    half_width: Annotated[
        float | None,
        typer.Option(help="Draw a square of this half-width about the points' mean.", show_default="fits points"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of a new run.", show_default="0, or that of RUN")
    ] = None,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 1 of arXiv 2506.12284: linear regions at memorisation, and after generalisation and alignment.

    Trains the paper's network on the embedded MNIST subset (squared error, GrokAlign), enumerates the linear regions on
    the slice through the first three training points at both checkpoints, and writes figure1.png and figure1.pdf into
    RUN. A finished run of `splinegeo train` can be drawn as well. Takes a few minutes on two cores; again, seconds.
    """
    set_threads(threads)
    command = f"splinegeo figure 1 {run}{' --quick' if quick else ''}"
    run = quick_folder(run) if quick else run
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.errors import RunFolderError
    from experiments.run_folder import RunFolder
    from experiments.runs.figure1 import demo_settings, draw, moments, moments_table, prefix, quick_settings
    from experiments.settings import differences
    from experiments.train_run import is_finished, saved_epoch

    chosen_device = choose_device(device)
    settings_of_figure = quick_settings if quick else demo_settings
    if (run / "config.json").exists():
        folder = RunFolder.open(run)
        if seed is not None and seed != folder.settings.seed:
            raise RunFolderError(
                f"{run} was trained with seed {folder.settings.seed}: name another folder for seed {seed}"
            )
        if changed := differences(settings_of_figure(folder.settings.seed), folder.settings):
            print(f"{run} has settings of its own (of the figure and of the run: {'; '.join(changed)})")
    else:
        folder = RunFolder.create(run, settings_of_figure(seed or 0))
    images = load_data(folder.settings.data, data_dir, download)
    if is_finished(folder):
        print(f"{run} holds the finished run: nothing to train, drawing from its checkpoints")
    else:
        if epoch := saved_epoch(folder):
            print(f"resuming {run} after epoch {epoch}")
        train_or_explain_stop(folder, images, chosen_device, command)
    found = moments(folder, images, half_width)
    for path in draw(found, images, folder.path / "figure1", title_prefix=prefix(folder.settings)):
        print(f"figure: {path}")
    print(moments_table(found))


@figures.command("2")
def figure_2(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    seeds: Seeds = "0",
    batched: Batched = False,
    data_dir: DataDir = Path("data"),
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 2 of arXiv 2506.12284: PC1 of the Jacobian along training, under weight decay and with GrokAlign.

    Cross-entropy and squared error, 10 000 epochs each: about 15 minutes. Ctrl-C stops, the same command goes on.
    Writes FOLDER/figure2.png and .pdf, or figure2_quick.
    """
    set_threads(threads)
    from experiments.runs import figure2

    setting = figure2.QUICK if quick else figure2.PAPER
    name = "figure2_quick" if quick else "figure2"
    _draw_curves(folder, name, setting, figure2.settings, figure2.draw, seeds, batched, data_dir, device)


@figures.command("7")
def figure_7(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    seeds: Seeds = "0",
    batched: Batched = False,
    data_dir: DataDir = Path("data"),
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 7 of arXiv 2506.12284: Jacobian norms held at level 5 against Jacobian norms minimised.

    Cross-entropy, 10 000 epochs each: about ten minutes. Ctrl-C stops, the same command goes on. Writes
    FOLDER/figure7.png and .pdf, or figure7_quick.
    """
    set_threads(threads)
    from experiments.runs import figure7

    setting = figure7.QUICK if quick else figure7.PAPER
    name = "figure7_quick" if quick else "figure7"
    _draw_curves(folder, name, setting, figure7.settings, figure7.draw, seeds, batched, data_dir, device)


def _draw_curves(
    folder: Path,
    name: str,
    setting: Setting,
    settings: Callable[[Setting, int], dict[str, RunSettings]],
    draw: Callable[[Mapping[str, Sequence[RunFolder]], Setting], Figure],
    seeds: str,
    batched: bool,
    data_dir: Path,
    device: str,
) -> None:
    from experiments.run_group import parse_seeds, seed_folder

    wanted = [
        (run, seed_folder(folder / name / run, seed), chosen)
        for seed in parse_seeds(seeds)
        for run, chosen in settings(setting, seed).items()
    ]
    runs: dict[str, list[RunFolder]] = {}
    for run, finished in trained(wanted, data_dir, device, "the same command", batched):
        runs.setdefault(run, []).append(finished)
    write_figure(folder / name, lambda: draw(runs, setting))
