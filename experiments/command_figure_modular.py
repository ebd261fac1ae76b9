"""`splinegeo figure 8`, `figure 9` and `norm-minimisation`: networks that learn addition modulo p."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.figure_files import write_figure
from experiments.options import Device, FigureFolder, Quick, Seeds, Threads, set_threads
from experiments.train_group import trained_steps

if TYPE_CHECKING:
    from experiments.runs.figure8 import Setting
    from experiments.steps import StepwiseTraining
    from experiments.transformer_training import AdditionSettings

_Steps = Annotated[
    int | None,
    typer.Option(
        min=1, help="Train this many steps instead; the figure and its file name say so.", show_default="the setting's"
    ),
]


def figure_8(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    steps: _Steps = None,
    seeds: Seeds = "0",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 8 of arXiv 2506.12284: a one-layer transformer on modular addition, without and with GrokAlign.

    48 000 steps each: fifty minutes on one free core without GrokAlign, two hours with it; --quick: three minutes.
    Ctrl-C stops, the same command goes on, and with more --steps it goes on from the runs of fewer. Writes
    FOLDER/figure8.png and .pdf, or figure8_quick, or with --steps figure8_12000_steps and the like.
    """
    from experiments.runs import figure8

    _figure(folder, "figure8", figure8.PAPER, figure8.QUICK, quick, steps, seeds, device, threads)


def figure_9(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    fixed: Annotated[
        str,
        typer.Option(metavar="both|embedding", help="Fix embedding and unembedding (caption) or embedding (code)."),
    ] = "both",
    steps: _Steps = None,
    seeds: Seeds = "0",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 9 of arXiv 2506.12284: Figure 8 with embedding and unembedding that keep their initial values.

    It takes as long as Figure 8. Ctrl-C stops, the same command goes on. Writes FOLDER/figure9.png and .pdf, or
    figure9_quick; with --fixed embedding, figure9_embedding or figure9_embedding_quick.
    """
    from experiments.runs import figure9

    paper, smaller = (figure9.fixed(setting, fixed) for setting in (figure9.PAPER, figure9.QUICK))
    name = "figure9" if fixed == "both" else f"figure9_{fixed}"
    _figure(folder, name, paper, smaller, quick, steps, seeds, device, threads)


def _figure(
    folder: Path,
    name: str,
    paper: Setting,
    smaller: Setting,
    quick: bool,
    steps: int | None,
    seeds: str,
    device: str,
    threads: int | None,
) -> None:
    set_threads(threads)
    from experiments.device import choose_device
    from experiments.runs.figure8 import draw, settings
    from experiments.transformer_training import AdditionTraining

    chosen_device = choose_device(device)

    def training(chosen: AdditionSettings) -> StepwiseTraining:
        return AdditionTraining(chosen, chosen_device)

    whole = smaller if quick else paper
    setting = whole.of_length(steps)
    stem = folder / (f"{name}_quick" if quick else name)
    if setting != whole:
        stem = stem.with_name(f"{stem.name}_{steps}_steps")
    runs = trained_steps(stem, seeds, lambda seed: settings(setting, seed), training)
    write_figure(stem, lambda: draw(runs, setting))


def norm_minimisation(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    seeds: Seeds = "0",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Norm minimisation (arXiv 2511.01938): grokking by gradient descent beside its simulated norm dynamics.

    A two-layer network on addition modulo 37: about three minutes on one free core a seed; --quick: half a minute.
    Ctrl-C stops, the same command goes on. Writes FOLDER/norm_minimisation and norm_minimisation_circles, both .png and
    .pdf, or norm_minimisation_quick, and prints how far the embeddings have become circles.
    """
    set_threads(threads)
    from experiments.device import choose_device
    from experiments.norm_training import DescentSettings, GradientDescent, NormSimulation, SimulationSettings
    from experiments.runs import norm_minimisation as runs
    from experiments.table import text_table

    chosen_device = choose_device(device)

    def training(chosen: SimulationSettings | DescentSettings) -> StepwiseTraining:
        if isinstance(chosen, SimulationSettings):
            return NormSimulation(chosen, chosen_device)
        return GradientDescent(chosen, chosen_device)

    setting = runs.QUICK if quick else runs.PAPER
    stem = folder / ("norm_minimisation_quick" if quick else "norm_minimisation")
    found = trained_steps(stem, seeds, lambda seed: runs.settings(setting, seed), training)
    write_figure(stem, lambda: runs.draw(found, setting))
    write_figure(stem.with_name(f"{stem.name}_circles"), lambda: runs.draw_circles(found, setting))
    print(text_table(runs.HEADER, runs.rows(found)))
