"""A small run on real MNIST digits, for the tests that need one on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.data import LabelledImages
from experiments.run_folder import RunFolder
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from experiments.train_run import train_run


def small_run(
    path: Path,
    mnist: LabelledImages,
    n_train: int = 64,
    n_test: int = 16,
    widths: Sequence[int] = (16, 16),
    initial_scale: float = 1.5,
    **training: Any,
) -> Path:
    """Train a few epochs under squared error, with a handful of checkpoints; `training` changes its settings."""
    chosen = {"learning_rate": 0.003, "batch_size": 32, "epochs": 20, "logs_per_decade": 1, "dtype": "float64"}
    settings = RunSettings(
        DataSettings(n_train=n_train, n_test=n_test),
        ModelSettings(tuple(widths), initial_scale=initial_scale),
        TrainingSettings(loss="squared-error", **(chosen | training)),
    )
    folder = RunFolder.create(path, settings)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network trains fastest on one
    try:
        train_run(folder, mnist.first(n_train, n_test), torch.device("cpu"), show_progress=False)
    finally:
        torch.set_num_threads(before)
    return path
