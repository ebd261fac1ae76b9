"""Table 1 of arXiv 2506.12284: training until the test accuracy exceeds 85 %, by method and loss.

1024 MNIST samples, the 784-196-196-196-10 network without biases, initial weights × 8, AdamW 1e-3, weight decay 0.01,
batches of 256 in order; GrokAlign with λ = 1e-3 under cross-entropy and 1e-4 under squared error. Epochs are counted
to the first tenth one at which the accuracy exceeds 85 %; seconds are of training alone, without the metrics.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.errors import SettingsError
from experiments.recorder import TARGET
from experiments.run_folder import RunFolder
from experiments.settings import ModelSettings, RunSettings, TrainingSettings

BASELINE = "baseline"
METHODS: dict[str, tuple[str, ...]] = {
    BASELINE: (),
    "grokalign": ("grokalign",),
    "grokfast": ("grokfast",),
    "adversarial": ("adversarial",),
}
COEFFICIENTS = {"cross-entropy": 1e-3, "squared-error": 1e-4}
"""GrokAlign's λ by loss, as in the paper."""
TARGET_ACCURACY = 0.85
_MAX_EPOCHS = 100_000
"""More than any method of the paper needs: the baseline takes about 20 000 under cross-entropy."""


@dataclass(frozen=True)
class Setting:
    """What all runs of the table share: the paper's, or a smaller one."""

    name: str
    description: str
    initial_scale: float
    max_epochs: int
    logs_per_decade: int


PAPER = Setting("table1", "the paper's setting: initial weights × 8", 8.0, _MAX_EPOCHS, 12)
QUICK = Setting(
    "table1_quick",
    "QUICK, not the paper's setting: initial weights × 4 instead of × 8, at most 5000 epochs",
    4.0,
    5_000,
    3,  # measuring as often as in the long runs would take longer than the training
)


def settings(setting: Setting, loss: str, method: str, seed: int) -> RunSettings:
    """The settings of one run. Raises SettingsError for a loss or a method that the table does not have."""
    for what, value, choices in (("loss", loss, COEFFICIENTS), ("method", method, METHODS)):
        if value not in choices:
            raise SettingsError(f"{what} must be one of {', '.join(choices)}; got {value!r}")
    return RunSettings(
        model=ModelSettings(initial_scale=setting.initial_scale),
        training=TrainingSettings(
            loss=loss,
            grokalign=COEFFICIENTS[loss],
            methods=METHODS[method],
            epochs=setting.max_epochs,
            logs_per_decade=setting.logs_per_decade,
            stop_at=TARGET_ACCURACY,
        ),
        seed=seed,
    )


@dataclass(frozen=True)
class Result:
    """How far one run came, in how much training."""

    loss: str
    method: str
    seed: int
    epochs: int
    seconds: float
    test_accuracy: float
    reached: bool


def result(run: RunFolder, method: str) -> Result:
    """What a finished run has come to."""
    last = run.metrics()[-1]
    return Result(
        loss=run.settings.training.loss,
        method=method,
        seed=run.settings.seed,
        epochs=last["epoch"],
        seconds=last["seconds"],
        test_accuracy=last["test_accuracy"],
        reached=TARGET in last["events"],
    )


HEADER = ("loss", "method", "seeds", "epochs to 85 %", "against baseline", "seconds")


def rows(results: Sequence[Result]) -> list[list[str]]:
    """One row for each loss and method that has results.

    Epochs and seconds as mean ± standard deviation over the seeds. "Against baseline" is the mean ± deviation over
    the seeds that both have of baseline epochs / epochs: times fewer epochs than the baseline. Runs that ended before
    85 % count with the epochs they had, and make a lower bound, marked with >; their own ratios are unknown.
    """
    table = []
    for loss in COEFFICIENTS:
        baseline = {r.seed: r for r in results if r.loss == loss and r.method == BASELINE}
        for method in METHODS:
            group = [r for r in results if r.loss == loss and r.method == method]
            if not group:
                continue
            bound = "" if all(r.reached for r in group) else "> "
            pairs = [(baseline[r.seed], r) for r in group if r.reached and r.seed in baseline]
            ratios = [reference.epochs / r.epochs for reference, r in pairs]
            ratio_bound = "" if all(reference.reached for reference, _ in pairs) else "> "
            table.append(
                [
                    loss,
                    method,
                    str(len(group)),
                    bound + mean_and_deviation([r.epochs for r in group], 0),
                    f"{ratio_bound}{mean_and_deviation(ratios, 2)} × fewer" if ratios else "unknown",
                    bound + mean_and_deviation([r.seconds for r in group], 0),
                ]
            )
    return table


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """Mean ± sample standard deviation, or the one value there is."""
    mean = f"{statistics.fmean(values):.{digits}f}".replace("-", "−")
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"
