"""Figure 10 of arXiv 2506.12284: alignment of centroids when the initial weights, or the output, are scaled.

Figure 3's setting. Large scales keep the tangent kernel near its start: the points are fitted without their centroids
turning towards them. The learning rate is the same at every scale, as in the paper's code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from experiments.binary_digits import BinaryDigits
from experiments.binary_training import BinarySettings
from experiments.run_curves import metric_curve
from experiments.run_folder import RecordFolder
from experiments.runs import figure3
from experiments.runs.figure3 import Setting
from viz.curves import CurvePanel, curves_figure

SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Factors of the weights and of the output. The paper's are not at hand; with its learning rate, 64 diverges."""
_PANELS = {"weights": "Weights scaled", "output": "Output scaled"}

PAPER = figure3.PAPER
QUICK = figure3.QUICK


def settings(setting: Setting, data: str, seed: int) -> dict[str, BinarySettings]:
    """The settings of each run, by its folder's name, such as "unscaled", "weights_2" or "output_0.5"."""
    base = replace(setting.base, data=data, seed=seed)
    found = {}
    for scale in SCALES:
        found[_name("weights", scale)] = replace(base, initial_scale=scale)
        found[_name("output", scale)] = replace(base, output_scale=scale)
    return found


def draw(runs: Mapping[str, Sequence[RecordFolder]], setting: Setting, digits: BinaryDigits) -> Figure:
    """Draw the figure from finished runs of all seeds, by the names that `settings` gives them."""
    panels = []
    for what, title in _PANELS.items():
        by_scale = {f"× {scale:g}": runs[_name(what, scale)] for scale in SCALES}
        alignment = [metric_curve(label, found, "alignment_mean") for label, found in by_scale.items()]
        kernel = [metric_curve(label, found, "ntk_mean") for label, found in by_scale.items()]
        relative = [replace(curve, values=curve.values / curve.values[..., :1]) for curve in kernel]
        panels += [
            CurvePanel(f"{title}: alignment", "mean of ±cos(x, μ)", alignment, ordered=True),
            CurvePanel(f"{title}: kernel", "mean kernel over its start", relative, log=True, ordered=True),
        ]
    n_ones = int(digits.y_train.sum())
    n_seeds = len(next(iter(runs.values())))
    note = (
        f"MNIST, {len(digits.y_train) - n_ones} zeros against {n_ones} ones, {setting.description}; binary "
        f"cross-entropy, full batch, learning rate {setting.base.learning_rate:g} at every scale; alignment and mean "
        f"tangent kernel over the training points, ±: + for ones, − for zeros; seeds: {n_seeds}"
    )
    return curves_figure(panels, step_label="step", note=note)


def _name(what: str, scale: float) -> str:
    return "unscaled" if scale == 1 else f"{what}_{scale:g}"
