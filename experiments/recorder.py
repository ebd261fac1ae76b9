"""What a training process writes into its run folder, when, and how it takes up again what an earlier one wrote."""

from __future__ import annotations

import time
from collections.abc import Sequence

from experiments.checkpoint import load_weights, read_checkpoint
from experiments.data import LabelledImages
from experiments.errors import CheckpointError, TrainingError
from experiments.loggers import Logger
from experiments.metrics import accuracy_and_loss, training_metrics
from experiments.region_metrics import REGION_METRICS, region_metrics
from experiments.run_folder import RunFolder
from experiments.saving import SavingPace
from experiments.schedule import log_spaced_epochs, sparse_epochs
from experiments.training import EpochSummary, Training
from splinegeo.errors import InvalidNetworkError, SplineGeoError

_NEARLY_MEMORISED = 0.98
_PART = 64
"""Training points that are looked at together when all have to be classified correctly."""

MEMORISED = "memorised"
"""Event: the first epoch after which every training point is classified correctly."""
TARGET = "target"
"""Event: the test accuracy exceeds what the settings stop at."""
FINAL = "final"
"""Event: the last epoch of the run."""
EPOCHS_BETWEEN_TARGET_CHECKS = 10
"""How often the test accuracy is compared with what the settings stop at, as in the code of arXiv 2506.12284."""


class Recorder:
    """Follows one training and keeps its run folder up to date."""

    def __init__(
        self, run: RunFolder, data: LabelledImages, training: Training, loggers: Sequence[Logger] = ()
    ) -> None:
        self.run = run
        self.data = data
        self.training = training
        self.loggers = loggers
        self.seconds = 0.0
        self.measuring_seconds = 0.0
        self.memorised_epoch: int | None = None
        self.target_epoch: int | None = None
        self.saved_epoch = 0
        self.pace = SavingPace()
        self.test_accuracy = 0.0
        self._missed_part = 0

    def resume(self) -> int | None:
        """Restore the latest state, or the one before if that is damaged; returns its epoch, None where there is none.

        Raises CheckpointError when what was saved cannot be resumed from.
        """
        checkpoint = self.run.recover_latest()
        if checkpoint is None:
            return None
        path = self.run.latest_path
        load_weights(self.training.model, checkpoint, path)
        try:
            self.training.load_optimizer_and_methods(checkpoint.tensors)
            self.seconds = float(checkpoint.description["seconds"])
            self.measuring_seconds = float(checkpoint.description.get("measuring_seconds", 0.0))
            self.memorised_epoch = checkpoint.description["memorised_epoch"]
            self.target_epoch = checkpoint.description.get("target_epoch")
        except (CheckpointError, SplineGeoError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be resumed from: {error}") from None
        self.run.rewind(checkpoint.epoch)
        self._remove_early_end()
        metrics = self.run.metrics()
        self.test_accuracy = metrics[-1]["test_accuracy"] if metrics else 0.0
        self.saved_epoch = checkpoint.epoch
        return checkpoint.epoch

    def memorises(self, epoch: int, summary: EpochSummary) -> bool:
        """Whether this is the first epoch after which every training point is classified correctly."""
        # The accuracy met on the way through the epoch costs nothing; another look at the training set would not.
        if self.memorised_epoch is not None or summary.accuracy < _NEARLY_MEMORISED:
            return False
        started = time.perf_counter()
        memorised = self._classifies_all()
        self.measuring_seconds += time.perf_counter() - started
        if memorised:
            self.memorised_epoch = epoch
        return memorised

    def _classifies_all(self) -> bool:
        # A network may miss the same few points for thousands of epochs: the part with one of them is looked at first.
        # The parts are always the same, so that rounding, and the answer, does not depend on where the look began.
        parts = list(zip(self.data.x_train.split(_PART), self.data.y_train.split(_PART), strict=True))
        first = self._missed_part
        for index in (first, *(other for other in range(len(parts)) if other != first)):
            accuracy, _ = accuracy_and_loss(self.training.model, *parts[index], self.training.loss)
            if accuracy < 1.0:
                self._missed_part = index
                return False
        return True

    def reaches_target(self, epoch: int) -> bool:
        """Whether the test accuracy, looked at every ten epochs, exceeds what the settings stop at."""
        target = self.run.settings.training.stop_at
        if target is None or epoch % EPOCHS_BETWEEN_TARGET_CHECKS != 0:
            return False
        started = time.perf_counter()
        self.test_accuracy, _ = accuracy_and_loss(
            self.training.model, self.data.x_test, self.data.y_test, self.training.loss
        )
        self.measuring_seconds += time.perf_counter() - started
        if self.test_accuracy > target:
            self.target_epoch = epoch
        return self.test_accuracy > target

    def record(self, epoch: int, summary: EpochSummary | None) -> None:
        """Write metrics, weights and, last, the state to resume from where it is due: what is ahead of it after a kill,
        resuming undoes.

        Raises TrainingError when weights or metrics are not finite.
        """
        events = [MEMORISED] if epoch == self.memorised_epoch else []
        if epoch == self.target_epoch:
            events.append(TARGET)
        if epoch in (self.target_epoch, self.run.settings.training.epochs):
            events.append(FINAL)
        started = time.perf_counter()
        try:
            metrics = self._measure(epoch, sparse=not events)
        except InvalidNetworkError as error:
            raise TrainingError(str(error)) from None
        self.measuring_seconds += time.perf_counter() - started
        self.test_accuracy = metrics["test_accuracy"]
        progress = {
            "epoch": epoch,
            "step": epoch * len(self.training.batches),
            "seconds": round(self.seconds, 3),
            "measuring_seconds": round(self.measuring_seconds, 3),
            "epoch_loss": summary.loss if summary else None,
            "epoch_penalty": summary.penalty if summary else None,
        }
        self.run.append_metrics({**progress, "events": events, **metrics})
        for logger in self.loggers:
            logger.log(epoch, {name: value for name, value in (progress | metrics).items() if value is not None})
        self.run.save_weights(self.training.weights(), {"epoch": epoch, "events": events})
        if FINAL in events or self.pace.is_due(self.seconds, is_logged=True):
            self.save_latest(epoch)

    def _measure(self, epoch: int, sparse: bool) -> dict[str, float]:
        model, chosen = self.training.model, self.run.settings.training
        metrics = training_metrics(model, self.data, self.training.loss, chosen.metric_points)
        if "regions" in chosen.metrics and (not sparse or self._is_sparse(epoch)):
            metrics |= region_metrics(model, self.data.x_train)
        return metrics

    def _is_sparse(self, epoch: int) -> bool:
        chosen = self.run.settings.training
        return epoch in sparse_epochs(chosen.epochs, chosen.logs_per_decade)

    def _remove_early_end(self) -> None:
        """Make what a run wrote at its last epoch, before it was lengthened, what a longer run would have written."""
        chosen = self.run.settings.training
        stale = {
            entry["epoch"]
            for entry in self.run.metrics()
            if FINAL in entry["events"] and entry["epoch"] not in (chosen.epochs, self.target_epoch)
        }
        if not stale:
            return
        scheduled = log_spaced_epochs(chosen.epochs, chosen.logs_per_decade)
        kept = []
        for entry in self.run.metrics():
            epoch = entry["epoch"]
            if epoch in stale:
                events = [event for event in entry["events"] if event != FINAL]
                path = self.run.checkpoint_path(epoch)
                if not events and epoch not in scheduled:
                    path.unlink(missing_ok=True)
                    continue
                self.run.save_weights(read_checkpoint(path).tensors, {"epoch": epoch, "events": events})
                entry["events"] = events
                if not events and not self._is_sparse(epoch):
                    entry = {name: value for name, value in entry.items() if name not in REGION_METRICS}
            kept.append(entry)
        self.run.replace_metrics(kept)

    def save_latest(self, epoch: int) -> None:
        """Write the state to resume from."""
        description = {
            "epoch": epoch,
            "events": [],
            "seconds": self.seconds,
            "measuring_seconds": self.measuring_seconds,
            "memorised_epoch": self.memorised_epoch,
            "target_epoch": self.target_epoch,
        }
        with self.pace.saving(self.seconds):
            self.run.save_latest(self.training.state(), description)
        self.saved_epoch = epoch

    def progress_text(self, summary: EpochSummary) -> str:
        """Accuracies for the progress bar: training in this epoch, test when last measured."""
        return f"train {summary.accuracy:.1%}, test {self.test_accuracy:.1%}"
