"""Figure 4 of arXiv 2506.12284: XOR clusters without and with GrokAlign: alignment, and accuracy under noise.

A two-layer ReLU network under squared error and weight decay, 400 points in 40 000 dimensions. The first layer is
trained in the span of its initial rows and the points, 2448 dimensions, which is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from experiments.run_curves import metric_curve
from experiments.run_folder import RecordFolder
from experiments.xor_training import AMPLITUDES, XorSettings, affordable_xor_logs, amplitude_metric
from viz.curves import CurvePanel, curves_figure
from viz.text import grouped

COEFFICIENTS = {"baseline": 0.0, "grokalign": 1.0}
"""GrokAlign's λ by the name of the run's folder."""
_LABELS = {"baseline": "λ = 0", "grokalign": "λ = 1"}
_TITLES = {"baseline": "Weight decay alone (λ = 0)", "grokalign": "With GrokAlign (λ = 1)"}


@dataclass(frozen=True)
class Setting:
    """What all runs of the figure share: the paper's, or a smaller one."""

    description: str
    base: XorSettings


PAPER = Setting(f"400 points in {grouped(40_000)} dimensions, width {grouped(2048)}", XorSettings())
QUICK = Setting(
    f"QUICK, not the paper's setting: 200 points in {grouped(10_000)} dimensions, width 512, 600 steps",
    XorSettings(n_points=200, n_features=10_000, noise=0.1, width=512, steps=600),
)


def settings(setting: Setting, seed: int) -> dict[str, XorSettings]:
    """The settings of each run, by its folder's name: "baseline" and "grokalign", logged as often as is affordable."""
    chosen = {name: replace(setting.base, grokalign=value, seed=seed) for name, value in COEFFICIENTS.items()}
    return {name: replace(one, logs_per_decade=affordable_xor_logs(one)) for name, one in chosen.items()}


def draw(runs: Mapping[str, Sequence[RecordFolder]], setting: Setting) -> Figure:
    """Draw the figure from finished runs of all seeds, by the names that `settings` gives them."""
    alignment = [metric_curve(label, runs[name], "centroid_alignment_mean") for name, label in _LABELS.items()]
    panels = [CurvePanel("Centroid alignment", "mean of y·cos(x, μ)", alignment)]
    for name, title in _TITLES.items():
        curves = [metric_curve("no noise", runs[name], "test_accuracy")]
        curves += [metric_curve(f"noise {a:g}", runs[name], amplitude_metric(a)) for a in AMPLITUDES]
        panels.append(CurvePanel(title, "test accuracy", curves, ordered=True))
    n_seeds = len(next(iter(runs.values())))
    base = setting.base
    note = (
        f"XOR clusters, {setting.description}; ε {base.noise:g}, squared error, learning rate {base.learning_rate:g}, "
        f"weight decay {base.weight_decay:g}; Gaussian noise of this standard deviation on all coordinates but the two "
        f"that carry the label; alignment at the training points; seeds: {n_seeds}"
    )
    figure = curves_figure(panels, step_label="step", note=note)
    for ax in figure.axes[1:]:
        ax.set_ylim(0.4, 1.02)
    return figure
