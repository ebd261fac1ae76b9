"""Figure 2 of arXiv 2506.12284: PC1 of the Jacobian along training, under weight decay alone and with GrokAlign.

Table 1's network and optimiser under both losses. PC1, σ₁² / Σσᵢ² at the training points, tells how near the Jacobian
is to rank one, as that of the optimum is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from experiments.run_curves import metric_curve
from experiments.run_folder import RunFolder
from experiments.runs import table1
from experiments.runs.table1 import BASELINE, COEFFICIENTS
from experiments.settings import ModelSettings, RunSettings
from viz.curves import CurvePanel, curves_figure
from viz.text import grouped

_TITLES = {"cross-entropy": "Cross-entropy", "squared-error": "Squared error"}
METHODS = {BASELINE: "weight decay", "grokalign": "weight decay and GrokAlign"}


@dataclass(frozen=True)
class Setting:
    """What all runs of a figure share: the paper's, or a smaller one."""

    description: str
    initial_scale: float
    epochs: int
    logs_per_decade: int


PAPER = Setting("initial weights × 8", 8.0, 10_000, 12)
QUICK = Setting(f"QUICK, not the paper's setting: initial weights × 3, {grouped(1500)} epochs", 3.0, 1500, 6)


def settings(setting: Setting, seed: int) -> dict[str, RunSettings]:
    """The settings of each run, by its folder's name: LOSS/METHOD."""
    found = {}
    for loss in COEFFICIENTS:
        for method in METHODS:
            base = table1.settings(table1.PAPER, loss, method, seed)
            training = replace(
                base.training, stop_at=None, epochs=setting.epochs, logs_per_decade=setting.logs_per_decade
            )
            model = ModelSettings(initial_scale=setting.initial_scale)
            found[f"{loss}/{method}"] = replace(base, training=training, model=model)
    return found


def draw(runs: Mapping[str, Sequence[RunFolder]], setting: Setting) -> Figure:
    """Draw the figure from finished runs of all seeds, by the names that `settings` gives them."""
    panels = [
        CurvePanel(
            _TITLES[loss],
            "PC1 of the Jacobian",
            [metric_curve(label, runs[f"{loss}/{method}"], "pc1_mean") for method, label in METHODS.items()],
        )
        for loss in COEFFICIENTS
    ]
    n_seeds = len(next(iter(runs.values())))
    note = (
        f"MNIST, {grouped(1024)} samples, {setting.description}; mean over the training points; "
        f"λ: 0.001 (cross-entropy), 0.0001 (squared error); seeds: {n_seeds}"
    )
    return curves_figure(panels, note=note)
