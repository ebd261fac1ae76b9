"""`splinegeo figure 3`, `4` and `10`: figures whose runs are trained step by step, on data that are not ten digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.figure_files import write_figure
from experiments.options import DataDir, Device, Download, FigureFolder, Quick, Seeds, Threads, set_threads
from experiments.train_group import trained_steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.binary_digits import BinaryDigits
    from experiments.binary_training import BinarySettings
    from experiments.run_folder import RecordFolder
    from experiments.steps import StepwiseTraining

_DataSet = Annotated[
    str, typer.Option("--data", help="embedded-mnist (220 zeros and ones) or mnist (1024 of them, by torchvision).")
]


def figure_3(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    seeds: Seeds = "0",
    data: _DataSet = "embedded-mnist",
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 3 of arXiv 2506.12284: tangent kernel, inner product and alignment of centroids, rate of Theorem 9.

    A three-layer network of width 64 on MNIST's zeros against its ones, 4000 steps of full-batch gradient descent:
    half a minute. Ctrl-C stops, the same command goes on. Writes FOLDER/figure3.png and .pdf, or figure3_quick.
    """
    set_threads(threads)
    from experiments.runs import figure3

    setting = figure3.QUICK if quick else figure3.PAPER
    name = "figure3_quick" if quick else "figure3"
    _draw_binary(folder, name, data, data_dir, download, seeds, device, setting, figure3.settings, figure3.draw)


def figure_4(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    seeds: Seeds = "0",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 4 of arXiv 2506.12284: XOR clusters without and with GrokAlign: alignment, and accuracy under noise.

    400 points in 40 000 dimensions, width 2048, 1000 steps in the span of data and weights: about six minutes. Ctrl-C
    stops, the same command goes on. Writes FOLDER/figure4.png and .pdf, or figure4_quick.
    """
    set_threads(threads)
    from functools import lru_cache

    from experiments.device import choose_device
    from experiments.runs import figure4
    from experiments.xor_training import XorSettings, XorTraining, xor_problem

    chosen_device = choose_device(device)
    setting = figure4.QUICK if quick else figure4.PAPER
    # A seed's runs differ in λ alone, and share the problem; the next seed's replaces it in memory.
    problem_of_seed = lru_cache(1)(lambda seed: xor_problem(figure4.settings(setting, seed)["baseline"], chosen_device))

    def training(chosen: XorSettings) -> StepwiseTraining:
        return XorTraining(problem_of_seed(chosen.seed), chosen)

    name = "figure4_quick" if quick else "figure4"
    runs = trained_steps(folder / name, seeds, lambda seed: figure4.settings(setting, seed), training)
    write_figure(folder / name, lambda: figure4.draw(runs, setting))


def figure_10(
    folder: FigureFolder = Path("figures"),
    quick: Quick = False,
    seeds: Seeds = "0",
    data: _DataSet = "embedded-mnist",
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Figure 10 of arXiv 2506.12284: alignment of centroids when initial weights or the output are scaled.

    Figure 3's setting and eight other scales: about three minutes. Ctrl-C stops, the same command goes on. Writes
    FOLDER/figure10.png and .pdf, or figure10_quick.
    """
    set_threads(threads)
    from experiments.runs import figure10

    setting = figure10.QUICK if quick else figure10.PAPER
    name = "figure10_quick" if quick else "figure10"
    _draw_binary(folder, name, data, data_dir, download, seeds, device, setting, figure10.settings, figure10.draw)


def _draw_binary(
    folder: Path,
    name: str,
    data: str,
    data_dir: Path,
    download: bool,
    seeds: str,
    device: str,
    setting: Any,
    settings: Callable[[Any, str, int], dict[str, BinarySettings]],
    draw: Callable[[Mapping[str, Sequence[RecordFolder]], Any, BinaryDigits], Figure],
) -> None:
    from experiments.binary_digits import SAMPLES_SEARCHED, zeros_against_ones
    from experiments.binary_training import BinarySettings, BinaryTraining
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.settings import DataSettings

    chosen_device = choose_device(device)
    searched = SAMPLES_SEARCHED.get(data, 1)
    images = load_data(DataSettings(data, searched, searched), data_dir, download)
    digits = zeros_against_ones(images, BinarySettings().points_per_class)

    def training(chosen: BinarySettings) -> StepwiseTraining:
        return BinaryTraining(digits.to(chosen_device), chosen)

    runs = trained_steps(folder / name, seeds, lambda seed: settings(setting, data, seed), training)
    write_figure(folder / name, lambda: draw(runs, setting, digits))
