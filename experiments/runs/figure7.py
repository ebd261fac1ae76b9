"""Figure 7 of arXiv 2506.12284: Jacobian norms held at a level against Jacobian norms minimised.

Table 1's network and optimiser under cross-entropy. GrokAlign minimises λ‖J‖ or, constrained, λ·|5 − ‖J‖|.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from experiments.run_curves import metric_curve
from experiments.run_folder import RunFolder
from experiments.runs import table1
from experiments.runs.figure2 import Setting
from experiments.settings import ModelSettings, RunSettings
from viz.curves import CurvePanel, curves_figure
from viz.text import grouped

LEVEL = 5.0
"""Level of the mean Jacobian norm in the paper."""
_LABELS = {"minimised": "norm minimised", "constrained": f"norm held at {LEVEL:g}"}
_METRICS = (
    ("test_accuracy", "Test accuracy", "share of samples", False),
    ("jacobian_norm_mean", "Jacobian norm", "Frobenius norm", True),
    ("pc1_mean", "PC1 of the Jacobian", "σ₁² / Σσᵢ²", False),
)

PAPER = Setting("initial weights × 8", 8.0, 10_000, 12)
# Until the norm has fallen to the level, both variants do the same.
QUICK = Setting(f"QUICK, not the paper's setting: initial weights × 3, {grouped(1500)} epochs", 3.0, 1500, 6)


def settings(setting: Setting, seed: int) -> dict[str, RunSettings]:
    """The settings of each run, by its folder's name: "minimised" and "constrained"."""
    base = table1.settings(table1.PAPER, "cross-entropy", "grokalign", seed)
    return {
        name: replace(
            base,
            model=ModelSettings(initial_scale=setting.initial_scale),
            training=replace(
                base.training,
                stop_at=None,
                epochs=setting.epochs,
                logs_per_decade=setting.logs_per_decade,
                grokalign_level=level,
            ),
        )
        for name, level in (("minimised", None), ("constrained", LEVEL))
    }


def draw(runs: Mapping[str, Sequence[RunFolder]], setting: Setting) -> Figure:
    """Draw the figure from finished runs of all seeds, by the names that `settings` gives them."""
    panels = [
        CurvePanel(title, unit, [metric_curve(label, runs[name], metric) for name, label in _LABELS.items()], log)
        for metric, title, unit, log in _METRICS
    ]
    n_seeds = len(next(iter(runs.values())))
    note = (
        f"MNIST, {grouped(1024)} samples, cross-entropy, {setting.description}; mean over the training points; "
        f"λ: 0.001; seeds: {n_seeds}"
    )
    return curves_figure(panels, note=note)
