"""Training the runs of several seeds in one batched program, each into its own run folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from experiments.batched_training import BatchedTraining
from experiments.data import LabelledImages
from experiments.errors import SettingsError, TrainingError
from experiments.loggers import Logger
from experiments.losses import SAMPLE_LOSSES
from experiments.recorder import Recorder
from experiments.run_folder import RunFolder
from experiments.run_lock import training_into
from experiments.schedule import log_spaced_epochs
from experiments.settings import differences
from experiments.train_run import explained, is_finished, make_optimizer, recorded, taken_up


@dataclass
class _Member:
    """A run in training, and the epochs that it has: a kill may have left some runs behind the others."""

    run: RunFolder
    recorder: Recorder
    epoch: int


def train_batched(
    runs: Sequence[RunFolder],
    data: LabelledImages,
    device: torch.device,
    show_progress: bool = True,
    loggers: Mapping[Path, Sequence[Logger]] | None = None,
) -> None:
    """Train runs whose settings differ in the seed alone, to their last epochs or targets, all in one program.

    Each folder holds in the end what `train_run` would have written, up to rounding, and is taken up from where it was
    last saved; a run that has met its target leaves the batch. The seconds of an epoch are shared equally among its
    runs. `loggers` has those of a run by its path. Raises SettingsError for other settings, RunFolderError when another
    process trains into a folder, and TrainingError, once the others have ended, for runs that could not go on: their
    last good checkpoints stay.
    """
    for run in runs[1:]:
        if changed := differences(replace(run.settings, seed=runs[0].settings.seed), runs[0].settings):
            raise SettingsError(f"{run.path} and {runs[0].path} differ in more than their seed: {'; '.join(changed)}")
    chosen = runs[0].settings.training
    data = data.to(device, getattr(torch, chosen.dtype))
    with ExitStack() as held:
        for run in runs:
            held.enter_context(training_into(run))
        members = [
            _Member(run, *taken_up(run, data, (loggers or {}).get(run.path, ())))
            for run in runs
            if not is_finished(run)
        ]
        # A run of one epoch, or of none left, may have become finished only now.
        members = [member for member in members if not is_finished(member.run)]
        bar = tqdm(
            total=chosen.epochs * len(runs),
            initial=chosen.epochs * (len(runs) - len(members)) + sum(member.epoch for member in members),
            unit="epoch",
            desc="train",
            disable=not show_progress,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
        )
        with bar:
            failures = _train(members, bar)
    if failures:
        raise TrainingError("; ".join(failures))


def _train(members: list[_Member], bar: tqdm) -> list[str]:
    """Train until no run is left; returns what ended those that could not go on."""
    failures = []
    while members:
        settings = members[0].run.settings
        batch = BatchedTraining(
            [member.recorder.training for member in members],
            SAMPLE_LOSSES[settings.training.loss],
            partial(make_optimizer, settings),
        )
        scheduled = set(log_spaced_epochs(settings.training.epochs, settings.training.logs_per_decade))
        leaving: list[_Member] = []
        while not leaving:
            started = time.perf_counter()
            results = batch.run_epoch()
            seconds = (time.perf_counter() - started) / len(members)
            texts = []
            for member, result in zip(members, results, strict=True):
                member.epoch += 1
                try:
                    if isinstance(result, TrainingError):
                        raise result
                    member.recorder.seconds += seconds
                    reaches_target = recorded(member.recorder, member.epoch, result, scheduled)
                except TrainingError as error:
                    failures.append(f"{member.run.path}: {explained(error, member.epoch, member.recorder)}")
                    leaving.append(member)
                    continue
                if reaches_target or member.epoch == settings.training.epochs:
                    leaving.append(member)
                texts.append(member.recorder.progress_text(result))
                bar.update()
            bar.set_postfix_str(f"{len(members)} runs, the first: {texts[0]}" if texts else "", refresh=bool(leaving))
        members = [member for member in members if member not in leaving]
    return failures
