"""Figure 3 of arXiv 2506.12284: tangent kernel, inner product and alignment of centroids, and the rate of Theorem 9.

A three-layer network of width 64 with one output, MNIST's zeros against its ones, full-batch gradient descent on the
binary cross-entropy. Theorem 9 says that the tangent kernel drives the inner products ⟨x, μ⟩.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.binary_digits import BinaryDigits
from experiments.binary_training import BinarySettings
from experiments.run_curves import metric_curve
from experiments.run_folder import RecordFolder
from experiments.theorem9 import feature_learning_interval
from viz.curves import Curve, CurvePanel, curves_figure
from viz.text import rounded

RUN = "zeros_against_ones"
_FIRST, _MEAN, _PREDICTED, _MEASURED = "first point", "mean over points", "Theorem 9", "measured"


@dataclass(frozen=True)
class Setting:
    """What all runs of the figure share: the paper's, or a smaller one."""

    description: str
    base: BinarySettings


PAPER = Setting("784-64-64-1 without biases", BinarySettings())
# With fewer steps, or more logs, measuring would take more than 15 % of the time.
QUICK = Setting(
    "QUICK, not the paper's setting: 784-64-64-1 without biases, 1200 steps",
    BinarySettings(steps=1200, logs_per_decade=10),
)


def settings(setting: Setting, data: str, seed: int) -> dict[str, BinarySettings]:
    """The settings of the one run of a seed, by its folder's name."""
    return {RUN: replace(setting.base, data=data, seed=seed)}


def draw(runs: Mapping[str, Sequence[RecordFolder]], setting: Setting, digits: BinaryDigits) -> Figure:
    """Draw the figure from finished runs of all seeds on these digits."""
    found = runs[RUN]
    sign = 1 if digits.y_train[0] > 0 else -1

    def signed(metric: str) -> Curve:
        curve = metric_curve(_FIRST, found, f"{metric}_first")
        return replace(curve, values=sign * curve.values)

    panels = [
        CurvePanel(
            "Tangent kernel",
            "mean of Θ(x, x′)",
            [metric_curve(_FIRST, found, "ntk_first_mean"), metric_curve(_MEAN, found, "ntk_mean")],
        ),
        CurvePanel(
            "Inner product",
            "±⟨x, μ⟩",
            [signed("inner_product"), metric_curve(_MEAN, found, "inner_product_mean")],
        ),
        CurvePanel(
            "Alignment",
            "±cos(x, μ)",
            [signed("alignment"), metric_curve(_MEAN, found, "alignment_mean")],
        ),
        CurvePanel(
            "Growth of the inner product",
            "mean change of ±⟨x, μ⟩ in a step",
            [metric_curve(_PREDICTED, found, "rate_mean"), metric_curve(_MEASURED, found, "change_mean")],
        ),
    ]
    rate = panels[-1].curves[0]
    start, end = feature_learning_interval(rate.steps.tolist(), np.atleast_2d(rate.values).mean(axis=0).tolist())
    figure = curves_figure(panels, step_label="step", note=_note(setting, digits, len(found), start, end))
    # The prediction lies under the measurement: broad and pale, it shows on both sides of it.
    for line in (figure.axes[-1].lines[0], figure.legends[0].get_lines()[2]):
        line.set(linewidth=4, linestyle="-", alpha=0.45)
    for ax in figure.axes:
        ax.axvspan(start, end, color=mpl.rcParams["xtick.color"], alpha=0.14, linewidth=0, zorder=0)
    return figure


def _note(setting: Setting, digits: BinaryDigits, n_seeds: int, start: float, end: float) -> str:
    n_ones = int(digits.y_train.sum())
    return (
        f"MNIST, {len(digits.y_train) - n_ones} zeros against {n_ones} ones, {setting.description}; binary "
        f"cross-entropy, full batch, learning rate {setting.base.learning_rate:g}; ±: + for ones, − for zeros; x′ runs "
        f"over all training points, x over the first or all; shaded: feature learning, steps {rounded(start)} to "
        f"{rounded(end)}, where Theorem 9's rate is at least half its peak; seeds: {n_seeds}"
    )
