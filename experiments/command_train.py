"""`splinegeo train`: train a network with or without GrokAlign, or resume a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments import train_options as options
from experiments.options import Batched, DataDir, Device, Download, Threads, set_threads
from experiments.usage import is_given, refuse_without_effect

if TYPE_CHECKING:
    import torch

    from experiments.data import LabelledImages
    from experiments.run_folder import RunFolder

_BESIDE_THE_SETTINGS = {"run", "resume", "epochs", "logger", "data_dir", "download", "device", "threads"}

Explore = Annotated[
    bool, typer.Option("--explore", help="Watch the regions in a window while the network trains (extra napari).")
]


def train(
    context: typer.Context,
    run: options.Run,
    resume: options.Resume = False,
    data: options.DataSet = "embedded-mnist",
    data_file: options.DataFile = None,
    train_samples: options.TrainSamples = 1024,
    test_samples: options.TestSamples = 1024,
    network: options.Network = "mlp",
    widths: options.Widths = None,
    bias: options.Bias = False,
    initial_scale: options.InitialScale = None,
    loss: options.LossName = "cross-entropy",
    method: options.MethodNames = "grokalign",
    grokalign: options.Coefficient = 1e-3,
    level: options.Level = None,
    learning_rate: options.LearningRate = 1e-3,
    weight_decay: options.WeightDecay = 0.01,
    batch_size: options.BatchSize = 256,
    epochs: options.Epochs = 3000,
    stop_at: options.StopAt = None,
    dtype: options.DType = "float32",
    logs_per_decade: options.LogsPerDecade = None,
    metric_points: options.MetricPoints = None,
    metrics: options.Metrics = None,
    logger: options.LoggerName = None,
    seed: options.Seed = 0,
    seeds: options.Seeds = None,
    batched: Batched = False,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
    explore: Explore = False,
) -> None:
    """Train a ReLU network on images with GrokAlign or another method, and write a run folder.

    The defaults are Table 1 of arXiv 2506.12284: 1024 embedded MNIST samples, a 784-196-196-196-10 network without
    biases, initial weights × 8, cross-entropy, λ = 0.001. RUN receives config.json, metrics.jsonl and checkpoints/
    (safetensors), at epochs spaced equally in the logarithm, at memorisation and at the end. Ctrl-C stops; --resume
    goes on as if it had never stopped, and with more --epochs as if it had been so long from the start. With --seeds,
    the same command takes up again what is not finished.
    """
    if explore:
        from experiments.live_training import train_beside_explorer

        if seeds is not None:
            raise typer.BadParameter("--explore shows one run: leave out --seeds")
        train_beside_explorer(run, sys.argv[1:], data_dir)
        return
    set_threads(threads)
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.errors import TrainingError
    from experiments.loggers import check_logger
    from experiments.run_folder import RunFolder
    from experiments.run_group import parse_seeds, seed_folder
    from experiments.schedule import affordable_logging
    from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
    from experiments.train_run import lengthen

    chosen_device = choose_device(device)
    if batched and logger == "wandb":
        raise typer.BadParameter("a process logs one run to wandb: take --logger tensorboard, or leave out --batched")
    if logger is not None:
        check_logger(logger)
    if resume:
        if seeds is not None:
            raise typer.BadParameter("with --seeds the same command goes on by itself: leave out --resume")
        if given := [name for name in context.params if name not in _BESIDE_THE_SETTINGS and is_given(context, name)]:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise typer.BadParameter(f"with --resume the settings are those of {run}/config.json: leave out {names}")
        folder = RunFolder.open(run)
        if is_given(context, "epochs"):
            lengthen(folder, epochs)
        images = load_data(folder.settings.data, data_dir, download)
    else:
        if "grokalign" not in (methods := _methods(method)):
            refuse_without_effect(context, ["grokalign", "level"], f"with --method {method}: add grokalign to it")
        file = None if data_file is None else str(data_file.resolve())
        of_cnn = network == "cnn"
        settings = RunSettings(
            data=DataSettings(data, train_samples, test_samples, file),
            model=ModelSettings(
                _widths(widths if widths is not None else "32,64,128,128" if of_cnn else "196,196,196"),
                bias,
                initial_scale if initial_scale is not None else 1.0 if of_cnn else 8.0,
                network,
            ),
            training=TrainingSettings(
                loss=loss,
                grokalign=grokalign,
                grokalign_level=level,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                batch_size=batch_size,
                epochs=epochs,
                methods=methods,
                stop_at=stop_at,
                dtype=dtype,
                metrics=() if metrics is None else tuple(name.strip() for name in metrics.split(",")),
            ),
            seed=seed,
        )
        images = load_data(settings.data, data_dir, download)
        affordable_logs, affordable_points = affordable_logging(settings, images.n_classes)
        training = replace(
            settings.training,
            logs_per_decade=logs_per_decade or affordable_logs,
            metric_points=metric_points or affordable_points,
        )
        settings = replace(settings, training=training)
        if seeds is not None:
            if is_given(context, "seed"):
                raise typer.BadParameter("--seed and --seeds exclude each other: leave one out")
            numbers = parse_seeds(seeds)
            wanted = [(seed_folder(run, number), replace(settings, seed=number)) for number in numbers]
            if batched:
                folders = [RunFolder.take_up(*one) for one in wanted]
                train_batch_or_explain_stop(folders, images, chosen_device, "the same command", logger)
            failures = []
            for number, one in zip(numbers, wanted, strict=True):
                print(f"seed {number}:")
                folder = RunFolder.take_up(*one)
                try:
                    if not batched:
                        train_or_explain_stop(folder, images, chosen_device, "the same command", logger)
                except TrainingError as error:  # the other seeds may do better
                    failures.append(f"{folder.path}: {error}")
                    print(failures[-1], file=sys.stderr)
                    continue
                _report(folder)
            if failures:
                raise TrainingError(f"{len(failures)} of {len(numbers)} runs stopped: {'; '.join(failures)}")
            return
        if batched:
            raise typer.BadParameter("--batched trains several seeds in one program: name them with --seeds")
        folder = RunFolder.create(run, settings)
    train_or_explain_stop(folder, images, chosen_device, f"splinegeo train {run} --resume", logger)
    _report(folder)


def train_or_explain_stop(
    run: RunFolder, data: LabelledImages, device: torch.device, resume_command: str, logger: str | None = None
) -> None:
    """Train to the end; on Ctrl-C say up to where the run is saved and how to go on, and exit with code 130.

    `logger` names one of `experiments.loggers` that is to have the metrics as well.
    """
    from experiments.loggers import open_logger
    from experiments.train_run import saved_epoch, train_run

    loggers = [] if logger is None else [open_logger(logger, run, saved_epoch(run) + 1)]
    try:
        train_run(run, data, device, loggers=loggers)
    except KeyboardInterrupt:
        print(
            f"splinegeo: stopped; {run.path} is saved up to epoch {saved_epoch(run)}, resume with: {resume_command}",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    finally:
        for opened in loggers:
            opened.close()


def train_batch_or_explain_stop(
    runs: Sequence[RunFolder],
    data: LabelledImages,
    device: torch.device,
    resume_command: str,
    logger: str | None = None,
) -> None:
    """The same for the runs of several seeds in one program."""
    from experiments.batched_runs import train_batched
    from experiments.loggers import open_logger
    from experiments.train_run import saved_epoch

    loggers = {} if logger is None else {run.path: [open_logger(logger, run, saved_epoch(run) + 1)] for run in runs}
    try:
        train_batched(runs, data, device, loggers=loggers)
    except KeyboardInterrupt:
        epochs = ", ".join(str(saved_epoch(run)) for run in runs)
        print(
            f"splinegeo: stopped; the runs are saved up to epoch {epochs}, resume with: {resume_command}",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    finally:
        for opened in loggers.values():
            opened[0].close()


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError:
        raise typer.BadParameter(f"--widths must be whole numbers with commas between, got {text!r}") from None


def _methods(text: str) -> tuple[str, ...]:
    return () if text.strip() == "none" else tuple(name.strip() for name in text.split(","))


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
    print(f"run folder: {run.path}{_time(run)}")


def _time(run: RunFolder) -> str:
    last = run.metrics()[-1]
    training, measuring = last["seconds"], last.get("measuring_seconds", 0.0)
    total = training + measuring
    return (
        f" ({training:.0f} s of training, {measuring:.0f} s of metrics: {measuring / total:.0%})" if total > 0 else ""
    )
