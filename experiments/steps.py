"""Training any experiment step by step into a run folder: logged, saved, and resumed exactly.

The runs of `splinegeo train` have a recorder of their own; this loop is for experiments whose data are not labelled
images, such as XOR clusters or modular addition. `RecordFolder.take_up` makes or opens the folder of their settings.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from torch import Tensor
from tqdm import tqdm

from experiments.errors import CheckpointError, TrainingError
from experiments.run_folder import RecordFolder
from experiments.run_lock import training_into
from experiments.saving import SavingPace


class StepwiseTraining(Protocol):
    """What can be trained step by step; it holds model, optimiser, data and random generators."""

    def step(self) -> None:
        """Train one step. Raises TrainingError when the loss is no longer finite."""
        ...

    def measure(self) -> dict[str, Any]:
        """Measure the metrics at the present step, as JSON values."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that training on needs: weights under "model.", optimiser moments, generator states, by name."""
        ...

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` gave. Raises CheckpointError when they belong to other settings."""
        ...


def train_steps(
    run: RecordFolder,
    training: StepwiseTraining,
    n_steps: int,
    log_steps: Collection[int],
    *,
    save_steps: Collection[int] = (),
    show_progress: bool = True,
) -> list[dict[str, Any]]:
    """Train to `n_steps` from the run's latest state, and return its metrics: one entry for each of `log_steps`.

    An entry's "epoch" is its step and "seconds" the training time until then, without the measuring. At `save_steps`
    the tensors are kept as a checkpoint. Raises TrainingError when a loss is no longer finite (the last good state
    stays), CheckpointError when the latest state cannot be read, RunFolderError when another process trains into it.
    """
    with training_into(run):
        return _train(run, training, n_steps, log_steps, save_steps, show_progress)


def _train(
    run: RecordFolder,
    training: StepwiseTraining,
    n_steps: int,
    log_steps: Collection[int],
    save_steps: Collection[int],
    show_progress: bool,
) -> list[dict[str, Any]]:
    first, seconds = _resume(run, training)
    pace = SavingPace()
    if first is None:
        run.rewind(-1)
        first, seconds = 0, 0.0
        _record(run, training, 0, seconds, log_steps, save_steps)
        _save(run, training, 0, seconds, pace)
    else:
        run.rewind(first)
        # What a shorter run has logged at its end, a longer one has not.
        run.replace_metrics([entry for entry in run.metrics() if entry["epoch"] in log_steps])
    bar = tqdm(
        total=n_steps,
        initial=first,
        unit="step",
        desc="train",
        disable=not show_progress,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )
    with bar:
        for step in range(first + 1, n_steps + 1):
            started = time.perf_counter()
            try:
                training.step()
                seconds += time.perf_counter() - started
                _record(run, training, step, seconds, log_steps, save_steps)
                # Last: what is ahead of the state after a kill, resuming undoes.
                if step == n_steps or pace.is_due(seconds, is_logged=step in log_steps):
                    _save(run, training, step, seconds, pace)
            except TrainingError as error:
                raise TrainingError(f"training stopped in step {step}: {error}; the last good state is kept") from None
            bar.update()
    return run.metrics()


def is_trained(run: RecordFolder, n_steps: int) -> bool:
    """Whether a run has reached `n_steps`."""
    description = run.latest_description()
    return description is not None and int(description["epoch"]) >= n_steps


def _resume(run: RecordFolder, training: StepwiseTraining) -> tuple[int | None, float]:
    checkpoint = run.recover_latest()
    if checkpoint is None:
        return None, 0.0
    try:
        training.load_tensors(checkpoint.tensors)
        return checkpoint.epoch, float(checkpoint.description["seconds"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{run.latest_path} does not fit the run ({' '.join(str(error).split())}): train into another folder"
        ) from None


def _record(
    run: RecordFolder,
    training: StepwiseTraining,
    step: int,
    seconds: float,
    log_steps: Collection[int],
    save_steps: Collection[int],
) -> None:
    if step in log_steps:
        run.append_metrics({"epoch": step, "seconds": round(seconds, 3), **training.measure()})
    if step in save_steps:
        run.save_weights(training.tensors(), _description(step, seconds))


def _save(run: RecordFolder, training: StepwiseTraining, step: int, seconds: float, pace: SavingPace) -> None:
    with pace.saving(seconds):
        run.save_latest(training.tensors(), _description(step, seconds))


def _description(step: int, seconds: float) -> dict[str, Any]:
    return {"epoch": step, "events": [], "seconds": seconds}
