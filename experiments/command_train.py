"""`splinegeo train`: train a network with or without GrokAlign, or resume a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from experiments import train_options as options
from experiments.options import DataDir, Device, Download, Threads, set_threads

if TYPE_CHECKING:
    import torch

    from experiments.data import LabelledImages
    from experiments.run_folder import RunFolder

_OF_THE_MACHINE = {"run", "resume", "data_dir", "download", "device", "threads"}


def train(
    context: typer.Context,
    run: options.Run,
    resume: options.Resume = False,
    data: options.DataSet = "embedded-mnist",
    train_samples: options.TrainSamples = 1024,
    test_samples: options.TestSamples = 1024,
    widths: options.Widths = "196,196,196",
    bias: options.Bias = False,
    initial_scale: options.InitialScale = 8.0,
    loss: options.LossName = "cross-entropy",
    grokalign: options.Coefficient = 1e-3,
    level: options.Level = None,
    learning_rate: options.LearningRate = 1e-3,
    weight_decay: options.WeightDecay = 0.01,
    batch_size: options.BatchSize = 256,
    epochs: options.Epochs = 3000,
    dtype: options.DType = "float32",
    logs_per_decade: options.LogsPerDecade = 12,
    seed: options.Seed = 0,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Train a ReLU network on MNIST with GrokAlign, and write a run folder.

    The defaults are Table 1 of arXiv 2506.12284: 1024 embedded MNIST samples, a 784-196-196-196-10 network without
    biases, initial weights × 8, cross-entropy, λ = 0.001. RUN receives config.json, metrics.jsonl and checkpoints/
    (safetensors), at epochs spaced equally in the logarithm, at memorisation and at the end. Ctrl-C stops; --resume
    goes on as if it had never stopped.
    """
    set_threads(threads)
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.run_folder import RunFolder
    from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings

    chosen_device = choose_device(device)
    if resume:
        given = [
            name
            for name in context.params
            if name not in _OF_THE_MACHINE
            and (source := context.get_parameter_source(name))
            and source.name != "DEFAULT"
        ]
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise typer.BadParameter(f"with --resume the settings are those of {run}/config.json: leave out {names}")
        folder = RunFolder.open(run)
        images = load_data(folder.settings.data, data_dir, download)
    else:
        settings = RunSettings(
            data=DataSettings(data, train_samples, test_samples),
            model=ModelSettings(_widths(widths), bias, initial_scale),
            training=TrainingSettings(
                loss=loss,
                grokalign=grokalign,
                grokalign_level=level,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                batch_size=batch_size,
                epochs=epochs,
                dtype=dtype,
                logs_per_decade=logs_per_decade,
            ),
            seed=seed,
        )
        images = load_data(settings.data, data_dir, download)
        folder = RunFolder.create(run, settings)
    train_or_explain_stop(folder, images, chosen_device, f"splinegeo train {run} --resume")
    _report(folder)


def train_or_explain_stop(run: RunFolder, data: LabelledImages, device: torch.device, resume_command: str) -> None:
    """Train to the end; on Ctrl-C say up to where the run is saved and how to go on, and exit with code 130."""
    from experiments.train_run import saved_epoch, train_run

    try:
        train_run(run, data, device)
    except KeyboardInterrupt:
        print(
            f"splinegeo: stopped; {run.path} is saved up to epoch {saved_epoch(run)}, resume with: {resume_command}",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError:
        raise typer.BadParameter(f"--widths must be whole numbers with commas between, got {text!r}") from None


def _report(run: RunFolder) -> None:
    from experiments.table import text_table

    rows = [
        [
            ", ".join(entry["events"]) or "start",
            str(entry["epoch"]),
            f"{entry['train_accuracy']:.1%}",
            f"{entry['test_accuracy']:.1%}",
            f"{entry['centroid_alignment_mean']:.2f}",
            f"{entry['row_alignment_mean']:.2f}",
        ]
        for entry in run.metrics()
        if entry["events"] or entry["epoch"] == 0
    ]
    print(text_table(["", "epoch", "train", "test", "centroid alignment", "row alignment"], rows))
    print(f"run folder: {run.path}")
