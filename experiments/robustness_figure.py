"""Accuracy of a run's checkpoints against the deviation of the noise and the radius of the attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.robustness import RobustnessSettings
from experiments.run_folder import RunFolder
from viz.curves import Curve, CurvePanel, curves_figure
from viz.text import grouped

_MARKER = 3.0
_UNITS = {"pixels": "pixels on [0, 1]", "normalised": "normalised units"}


def robustness_figure(run: RunFolder, entries: Sequence[dict[str, Any]], settings: RobustnessSettings) -> Figure:
    """Draw what `measured` found for checkpoints of a run, in the style in force.

    A curve for each checkpoint, over the noises and over the radii among the entries and from the accuracy without
    either; all entries are of one attack, one space and one number of samples, those of the settings.
    """
    events = run.checkpoints()
    labels = {epoch: _label(epoch, events.get(epoch, [])) for epoch in sorted({entry["epoch"] for entry in entries})}

    def curves(amplitude: str, measure: str, factor: float) -> list[Curve]:
        found = []
        for epoch, label in labels.items():
            own = [entry for entry in entries if entry["epoch"] == epoch]
            values = {0.0: own[0]["accuracy"]} | {factor * entry[amplitude]: entry[measure] for entry in own}
            at = sorted(values)
            found.append(Curve(label, np.array(at), np.array([values[position] for position in at])))
        return found

    # Checkpoints have an order; so do their colours, unless two or three are told apart as categories are.
    ordered = len(labels) > 3
    panels = [
        CurvePanel(
            "Gaussian noise",
            "test accuracy",
            curves("noise", "noisy_accuracy", 1.0),
            along="standard deviation, pixels on [0, 1]",
            ordered=ordered,
        ),
        CurvePanel(
            "Attack",
            "test accuracy",
            curves("epsilon", "attacked_accuracy", 255.0),
            along=f"ε in 255ths, {_UNITS[settings.space]}",
            ordered=ordered,
        ),
    ]
    note = f"{grouped(settings.n_samples)} test samples; attack: {settings.method}"
    figure = curves_figure(panels, note=note)
    figure.axes[1].xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 4, 5, 10]))
    for ax in figure.axes:
        ax.set(xlim=(0, ax.get_xlim()[1]), ylim=(-0.03, 1.03))
        for line in ax.lines:
            line.set(marker="o", markersize=_MARKER, clip_on=False)
    return figure


def _label(epoch: int, events: Sequence[str]) -> str:
    return f"epoch {grouped(epoch)}" + (f" ({', '.join(events)})" if events else "")
