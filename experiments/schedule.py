"""Which epochs of a run are looked at, and how closely, so that looking takes a small share of the time."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.settings import RunSettings

MEASURING_SHARE = 0.15
"""Metrics may take this share of a run's time, unless asked for more."""
MOST_LOGS_PER_DECADE = 12
MOST_POINTS = 1024
_FEWEST_POINTS = 32
# A run is better looked at this often with fewer points than less often with all of them.
_ENOUGH_LOGS_PER_DECADE = 4


@dataclass(frozen=True)
class _Costs:
    """CPU time for each sample in units of a training step without a penalty, measured and rounded up; ten classes."""

    alignment: float
    kernel: float
    norm_estimate: float
    accuracy: float
    step_with_grokalign: float
    """Rounded down."""


# What a moment costs even at a single sample, in the same unit.
_CALLS_COST = 150.0
_COSTS = {"mlp": _Costs(4.0, 6.0, 0.5, 0.4, 1.25), "cnn": _Costs(9.0, 8.0, 3.0, 0.7, 2.5)}


def log_spaced_epochs(last: int, per_decade: int) -> list[int]:
    """Epochs 0, 1, …, last, spaced equally in the logarithm, `per_decade` for each factor of ten, as whole numbers."""
    return _log_spaced(last, per_decade, stride=1)


def sparse_epochs(last: int, per_decade: int) -> list[int]:
    """Those of `log_spaced_epochs`, about two for each factor of ten: for what takes long to measure."""
    return _log_spaced(last, per_decade, stride=max(1, per_decade // 2))


def _log_spaced(last: int, per_decade: int, stride: int) -> list[int]:
    epochs = {0, last}
    step = 0
    while (epoch := round(10 ** (step / per_decade))) < last:
        epochs.add(epoch)
        step += stride
    return sorted(epochs)


def kernel_points(metric_points: int) -> int:
    """At how many of the measured points the tangent kernel is taken."""
    return max(1, metric_points // 4)


def affordable_logs(last: int, step_cost: float, moment_cost: float, most: int, more_moments: int = 0) -> int:
    """Logs per decade, from 1 to `most`, with which moments of measuring take MEASURING_SHARE of so many steps at most.

    Both costs in one unit, from counts of operations and not from the clock, for the reasons of `affordable_logging`.
    """
    budget = MEASURING_SHARE / (1 - MEASURING_SHARE) * last * step_cost
    per_decade = most
    while per_decade > 1 and (len(log_spaced_epochs(last, per_decade)) + more_moments) * moment_cost > budget:
        per_decade -= 1
    return per_decade


def affordable_logging(settings: RunSettings, n_classes: int) -> tuple[int, int]:
    """Logs per decade, and points to measure at, with which metrics take about MEASURING_SHARE of a run at most.

    From counts of operations, never from the clock: the same settings give the same schedule everywhere, and a resumed
    run the metrics of one that was never stopped. The least that there is, one log per decade at 32 points, is more
    than that share of a run of fewer than about sixty epochs.
    """
    n_train, n_test, epochs = settings.data.n_train, settings.data.n_test, settings.training.epochs
    costs = _COSTS[settings.model.network]
    with_penalty = "grokalign" in settings.training.methods and settings.training.grokalign > 0
    epoch_cost = n_train * (costs.step_with_grokalign if with_penalty else 1.0)
    points = min(MOST_POINTS, n_train)
    while True:
        moment = (
            points * (costs.alignment * n_classes / 10 + costs.norm_estimate)
            + kernel_points(points) * costs.kernel * n_classes / 10
            + (n_train + 3 * n_test) * costs.accuracy  # the test set twice, the second time under noise
            + _CALLS_COST
        )
        # One more: where the training set is memorised.
        per_decade = affordable_logs(epochs, epoch_cost, moment, MOST_LOGS_PER_DECADE, more_moments=1)
        if per_decade >= _ENOUGH_LOGS_PER_DECADE or points <= _FEWEST_POINTS:
            return per_decade, points
        points = max(_FEWEST_POINTS, points // 2)
