"""Figure 6 of arXiv 2506.12284: training images and their centroids, without and with GrokAlign, MNIST and CIFAR-10.

Squared error throughout, because under cross-entropy the centroid of the aligned network is zero. MNIST in Figure 1's
setting, CIFAR-10 in Figure 5's; without GrokAlign, the same with weight decay alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from matplotlib.figure import Figure

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.recorder import FINAL
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from experiments.runs import figure5
from experiments.runs.figure1 import demo_settings
from experiments.settings import RunSettings
from viz.centroids import CentroidPanel, centroid_grid
from viz.text import percent

GRID = (4, 8)
"""Rows and columns: the first 32 training images."""
_TITLES = {"weight-decay": "Weight decay", "grokalign": "With GrokAlign"}


@dataclass(frozen=True)
class Setting:
    """What all runs of the figure share: the paper's, or a smaller one."""

    name: str
    mnist_epochs: int
    of_figure5: figure5.Setting


PAPER = Setting("figure6", 4000, figure5.PAPER)
QUICK = Setting("figure6_quick", 1000, figure5.QUICK)


def settings(setting: Setting, data_set: str, seed: int, data_file: str | None) -> dict[str, RunSettings]:
    """The settings of the runs on "mnist" or "cifar10", by method: "weight-decay" and "grokalign"."""
    if data_set == "cifar10":
        return figure5.settings(setting.of_figure5, seed, data_file)
    base = demo_settings(seed)
    return {
        name: replace(base, training=replace(base.training, methods=methods, epochs=setting.mnist_epochs))
        for name, methods in figure5.METHODS.items()
    }


def draw(runs: Mapping[str, RunFolder], data: LabelledImages, title: str) -> Figure:
    """Draw the first training images, and their centroids at the end of each run, by the names of `settings`.

    The data are on their device, in the runs' type. Raises the errors of `load_model` and of `splinegeo.centroids`.
    """
    x = data.x_train[: GRID[0] * GRID[1]]
    panels = []
    for name in figure5.METHODS:
        model = load_model(runs[name], FINAL, data)
        last = runs[name].metrics()[-1]
        alignment = f"{_mean_alignment(model, x):.2f}".replace("-", "−")
        about = f"test accuracy {percent(last['test_accuracy'], 0)} · alignment {alignment}"
        panels.append(CentroidPanel(sg.centroids(model, x).cpu().numpy(), _TITLES[name], about))
    return centroid_grid(x.cpu().numpy(), panels, GRID, title=title, scale="image")


def _mean_alignment(model: torch.nn.Module, x: torch.Tensor) -> float:
    return sg.alignment(model, x).mean().item()
