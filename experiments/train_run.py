"""Training a run folder from its settings, from the start or from where it stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn
from tqdm import tqdm

from experiments.data import LabelledImages
from experiments.errors import SettingsError, TrainingError
from experiments.grokfast import GrokfastEMA, GrokfastMA
from experiments.loggers import Logger
from experiments.losses import LOSSES
from experiments.methods import AdversarialNoise, Method, WeightDecay
from experiments.recorder import Recorder
from experiments.run_folder import RunFolder
from experiments.run_lock import training_into
from experiments.run_model import build_model
from experiments.schedule import log_spaced_epochs
from experiments.settings import RunSettings
from experiments.training import EpochSummary, Training
from splinegeo.grokalign import GrokAlign


def saved_epoch(run: RunFolder) -> int:
    """The epoch from which the run would resume: 0 before anything was saved."""
    description = run.latest_description()
    return 0 if description is None else int(description["epoch"])


def is_finished(run: RunFolder) -> bool:
    """Whether the run has reached its last epoch, or the test accuracy that it stops at."""
    return saved_epoch(run) == run.settings.training.epochs or target_epoch(run) is not None


def target_epoch(run: RunFolder) -> int | None:
    """The epoch at which the run met the test accuracy that it stops at; None while it has not."""
    return (run.latest_description() or {}).get("target_epoch")


def lengthen(run: RunFolder, epochs: int) -> None:
    """Let a run go on to more epochs: resumed, it becomes what one of so many epochs from the start would be.

    Logs per decade stay. Raises SettingsError for fewer epochs than the run has, or when it has met its target.
    """
    training = run.settings.training
    if epochs < training.epochs:
        raise SettingsError(f"{run.path} is set to {training.epochs} epochs and can only be lengthened, got {epochs}")
    if target_epoch(run) is not None:
        raise SettingsError(
            f"{run.path} has met its target accuracy of {training.stop_at} in epoch {target_epoch(run)} and is finished"
        )
    run.replace_settings(replace(run.settings, training=replace(training, epochs=epochs)))


def train_run(
    run: RunFolder,
    data: LabelledImages,
    device: torch.device,
    show_progress: bool = True,
    loggers: Sequence[Logger] = (),
) -> None:
    """Train a run to its last epoch or its target, from the start or exactly from its latest checkpoint.

    Metrics and weights are written at epochs spaced equally in the logarithm, when the training set is memorised, and
    at the end; loggers receive the metrics as well. Raises TrainingError when the loss is no longer finite: the last
    good checkpoint stays; RunFolderError when another process trains into the folder.
    """
    with training_into(run):
        _train(run, data, device, show_progress, loggers)


def _train(
    run: RunFolder, data: LabelledImages, device: torch.device, show_progress: bool, loggers: Sequence[Logger]
) -> None:
    settings = run.settings
    data = data.to(device, getattr(torch, settings.training.dtype))
    recorder, first = taken_up(run, data, loggers)
    if is_finished(run):
        return
    training = recorder.training
    scheduled = set(log_spaced_epochs(settings.training.epochs, settings.training.logs_per_decade))
    bar = tqdm(
        total=settings.training.epochs,
        initial=first,
        unit="epoch",
        desc="train",
        disable=not show_progress,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )
    with bar:
        for epoch in range(first + 1, settings.training.epochs + 1):
            started = time.perf_counter()
            try:
                summary = training.run_epoch()
                recorder.seconds += time.perf_counter() - started
                reaches_target = recorded(recorder, epoch, summary, scheduled)
            except TrainingError as error:
                raise explained(error, epoch, recorder) from None
            bar.update()
            bar.set_postfix_str(recorder.progress_text(summary), refresh=reaches_target)
            if reaches_target:
                break


def taken_up(run: RunFolder, data: LabelledImages, loggers: Sequence[Logger] = ()) -> tuple[Recorder, int]:
    """A run's training where it was last saved, or at its start, and how many epochs that is; the data as `assemble`.

    Raises CheckpointError when what was saved cannot be resumed from.
    """
    recorder = Recorder(run, data, assemble(run.settings, data), loggers)
    first = recorder.resume()
    if first is None:
        first = 0
        run.rewind(-1)
        try:
            recorder.record(0, None)
        except TrainingError as error:
            raise TrainingError(f"{error}: try a smaller scale of the initial weights") from None
    return recorder, first


def recorded(recorder: Recorder, epoch: int, summary: EpochSummary, scheduled: Collection[int]) -> bool:
    """Write whatever is due after an epoch; returns whether the run has met the test accuracy that it stops at.

    Raises TrainingError when weights or metrics are not finite.
    """
    memorises, reaches_target = recorder.memorises(epoch, summary), recorder.reaches_target(epoch)
    if memorises or reaches_target or epoch in scheduled:
        recorder.record(epoch, summary)
    elif recorder.pace.is_due(recorder.seconds, is_logged=False):
        recorder.save_latest(epoch)
    return reaches_target


def explained(error: TrainingError, epoch: int, recorder: Recorder) -> TrainingError:
    """The error of an epoch with what is left of the run, and what may help."""
    return TrainingError(
        f"training stopped in epoch {epoch}: {error}; the last good checkpoint is of epoch "
        f"{recorder.saved_epoch}, try a lower learning rate or a smaller scale of the initial weights"
    )


def assemble(settings: RunSettings, data: LabelledImages) -> Training:
    """Put together network, optimiser, penalty and methods of a run; the data are on their device, in their type."""
    model = build_model(settings, data)
    chosen = settings.training
    optimizer = make_optimizer(settings, model.parameters())
    grokalign = None
    if "grokalign" in chosen.methods and chosen.grokalign > 0:
        grokalign = GrokAlign(model, chosen.grokalign, chosen.grokalign_level, generator=_generator(settings))
    methods: list[Method] = []
    if "adversarial" in chosen.methods:
        methods.append(AdversarialNoise(_generator(settings, stream=1)))
    if "grokfast" in chosen.methods:
        methods.append(GrokfastEMA(model))
    if "grokfast-ma" in chosen.methods:
        methods.append(GrokfastMA(model))
    if chosen.weight_decay > 0:
        methods.append(WeightDecay(optimizer, chosen.weight_decay))
    return Training(
        model,
        data.x_train,
        data.y_train,
        LOSSES[chosen.loss],
        optimizer,
        grokalign=grokalign,
        methods=methods,
        batch_size=chosen.batch_size,
    )


def make_optimizer(settings: RunSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of a run, for these parameters."""
    # Its weight decay is a method of its own, so that every optimiser can have it.
    return torch.optim.AdamW(parameters, lr=settings.training.learning_rate, weight_decay=0.0, fused=True)


def _generator(settings: RunSettings, stream: int = 0) -> torch.Generator:
    # On the CPU whatever the device: what is drawn is then the same everywhere.
    return torch.Generator().manual_seed(settings.seed + stream * 2**63)
