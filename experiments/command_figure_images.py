"""`splinegeo figure 5`, `6` and `11`: figures of CIFAR-10, of centroids as images, and of regions on more slices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from experiments.usage import refuse_without_effect

_Seed = Annotated[int, typer.Option(min=0, help="Seed of the runs.")]
_CifarFile = Annotated[
    Path | None,
    typer.Option(
        "--data-file",
        help="An .npz file of CIFAR-10, or of a part of it, instead of --data-dir.",
        show_default="none",
    ),
]
_Epochs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Train this many epochs instead; the figure and its file name say so.", show_default="the setting's"
    ),
]


def figure_5(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    epochs: _Epochs = None,
    seeds: Seeds = "0",
    batched: Batched = False,
    data_file: _CifarFile = None,
    data_dir: DataDir = Path("data"),
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 5 of arXiv 2506.12284: CIFAR-10, accuracy, robustness to attacks and alignment along training.

    Weight decay against weight decay with GrokAlign, 36 000 epochs each: a day on a CPU, about an hour on a GPU. Needs
    CIFAR-10 and the extra `attacks`. Ctrl-C stops, the same command goes on, and with more --epochs it goes on from the
    runs of fewer. Writes FOLDER/figure5.png and .pdf, or figure5_quick, or with --epochs figure5_300_epochs and so
    on.
    """
    set_threads(threads)
    import torch

    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.lengthening import begin_from_shorter
    from experiments.run_folder import RunFolder
    from experiments.run_group import parse_seeds, seed_folder
    from experiments.runs import figure5

    setting = (figure5.QUICK if quick else figure5.PAPER).of_length(epochs)
    wanted = [
        (run, seed_folder(folder / setting.name / run, seed), chosen)
        for seed in parse_seeds(seeds)
        for run, chosen in figure5.settings(setting, seed, _absolute(data_file)).items()
    ]
    for _, path, chosen in wanted:
        begin_from_shorter(path, chosen, chosen.training.epochs)
    runs: dict[str, list[RunFolder]] = {}
    for run, finished in trained(wanted, data_dir, device, "the same command", batched):
        runs.setdefault(run, []).append(finished)
    images = load_data(wanted[0][2].data, data_dir, download=False).to(choose_device(device), torch.float32)
    write_figure(folder / setting.name, lambda: figure5.draw(runs, setting, images, _source(data_file)))


def figure_6(
    context: typer.Context,
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    seed: _Seed = 0,
    data_sets: Annotated[
        str, typer.Option(metavar="mnist,cifar10", help="Data sets to draw, a picture each.")
    ] = "mnist,cifar10",
    data_file: _CifarFile = None,
    data_dir: DataDir = Path("data"),
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 6 of arXiv 2506.12284: training images and their centroids, without and with GrokAlign.

    Trains on the embedded MNIST subset in Figure 1's setting (minutes) and on CIFAR-10 in Figure 5's, whose runs under
    FOLDER it shares. Ctrl-C stops, the same command goes on. Writes FOLDER/figure6_mnist.png and figure6_cifar10.png,
    with --quick figure6_quick_mnist.png and so on, each also as .pdf.
    """
    set_threads(threads)
    import torch

    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.run_group import seed_folder
    from experiments.runs import figure6

    setting = figure6.QUICK if quick else figure6.PAPER
    names = list(dict.fromkeys(name.strip() for name in data_sets.split(",")))
    if not set(names) <= {"mnist", "cifar10"}:
        raise typer.BadParameter(f"--data-sets takes mnist, cifar10 or both, got {data_sets!r}")
    if "cifar10" not in names:
        refuse_without_effect(context, ["data_file"], f"with --data-sets {data_sets}: add cifar10 to it")
    for name in names:
        of_set = folder / (setting.of_figure5.name if name == "cifar10" else f"{setting.name}_mnist")
        wanted = [
            (run, seed_folder(of_set / run, seed), chosen)
            for run, chosen in figure6.settings(setting, name, seed, _absolute(data_file)).items()
        ]
        runs = dict(trained(wanted, data_dir, device, "the same command"))
        images = load_data(wanted[0][2].data, data_dir, download=False).to(choose_device(device), torch.float32)
        title = f"{'Quick setting: ' if quick else ''}{'CIFAR-10' if name == 'cifar10' else 'MNIST'} images"
        write_figure(folder / f"{setting.name}_{name}", lambda: figure6.draw(runs, images, title))  # noqa: B023


def figure_11(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder of Figure 1: trained if new, resumed if it stopped.")
    ] = Path("demo"),
    quick: QuickRun = False,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 11 of arXiv 2506.12284: Figure 1 on three more slices, each through three other training points.

    Draws a finished run of `splinegeo figure 1` or `splinegeo train`; trains Figure 1's where there is none. Writes
    RUN/figure11_1.png, _2 and _3, each also as .pdf.
    """
    set_threads(threads)
    from experiments.data import load_data
    from experiments.run_folder import RunFolder
    from experiments.runs import figure11
    from experiments.runs.figure1 import demo_settings, quick_settings

    command = f"splinegeo figure 11 {run}{' --quick' if quick else ''}"
    run = quick_folder(run) if quick else run
    of_figure = quick_settings() if quick else demo_settings()
    settings = RunFolder.open(run).settings if (run / "config.json").exists() else of_figure
    ((_, folder),) = trained([("figure11", run, settings)], data_dir, device, command)
    images = load_data(settings.data, data_dir, download)
    for paths, table in figure11.draw(folder, images, folder.path):
        for path in paths:
            print(f"figure: {path}")
        print(table)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _source(data_file: Path | None) -> str:
    return "CIFAR-10" if data_file is None else f"CIFAR-10 from {data_file.name}"
