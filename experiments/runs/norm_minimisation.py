"""Norm minimisation (arXiv 2511.01938): gradient descent on modular addition beside its simulated norm dynamics.

Both start from the same first layer. The simulation never leaves the zero-loss manifold, so that whatever generalises
there, the norm alone makes it generalise. Time is that of the norm's flow, the same for both (see `norm_dynamics`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from experiments.fourier import circle_projection, dominant_frequency, frequency_statistics
from experiments.norm_training import DescentSettings, SimulationSettings, TwoLayerSettings, initial_first_layer
from experiments.run_curves import metric_curve
from experiments.run_folder import RecordFolder
from viz.circles import CirclePanel, circles_figure
from viz.companions import add_companions
from viz.curves import Curve, CurvePanel, curves_figure

RUNS = {"simulation": "simulated dynamics", "descent": "gradient descent"}


@dataclass(frozen=True)
class Setting:
    """What all runs share: the paper's network and simulation, or a smaller one."""

    description: str
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    descent: DescentSettings = field(default_factory=DescentSettings)


PAPER = Setting("p = 37, 512 hidden units, 70 % of the pairs a ≤ b for training")
_SMALL = TwoLayerSettings(modulus=23, hidden_width=224)
QUICK = Setting(
    "QUICK, not the paper's setting: p = 23, 224 hidden units, 70 % of the pairs a ≤ b for training",
    SimulationSettings(_SMALL, steps=6000),
    DescentSettings(_SMALL, learning_rate=5e-4, steps=60_000),
)


def settings(setting: Setting, seed: int) -> dict[str, SimulationSettings | DescentSettings]:
    """The settings of each run, by its folder's name."""
    simulation, descent = setting.simulation, setting.descent
    return {
        "simulation": replace(simulation, network=replace(simulation.network, seed=seed)),
        "descent": replace(descent, network=replace(descent.network, seed=seed)),
    }


def draw(runs: Mapping[str, Sequence[RecordFolder]], setting: Setting) -> Figure:
    """Draw accuracies and squared norms over time from finished runs of all seeds."""

    def curves(metric: str) -> list[Curve]:
        return [
            _over_time(metric_curve(label, runs[name], metric), runs[name][0], setting) for name, label in RUNS.items()
        ]

    panels = [
        CurvePanel("Accuracy", "share of pairs", curves("test_accuracy")),
        CurvePanel("Squared norm of all weights", "‖W₁‖² + ‖W₂‖²", curves("squared_norm"), log=True),
        CurvePanel("Squared norm of the first layer", "‖W₁‖²", curves("first_layer_squared_norm"), log=True),
    ]
    figure = curves_figure(panels, step_label="time, in steps of the simulation", note=_note(runs, setting))
    add_companions(figure.axes[0], curves("train_accuracy"), "test", "training")
    return figure


def draw_circles(runs: Mapping[str, Sequence[RecordFolder]], setting: Setting) -> Figure:
    """Draw the first seed's embeddings at the start and at both ends, each in the plane of its dominant frequency."""
    panels = []
    for title, table in _embeddings(runs).items():
        frequency = dominant_frequency(table)
        points = circle_projection(table, frequency).numpy()
        share = float(np.square(points).sum() / table.square().sum())
        panels.append(CirclePanel(title.capitalize(), points, frequency, share))
    return circles_figure(panels, note=f"Rows of W₁ in the plane of their strongest frequency; {setting.description}")


HEADER = ("first layer", "spread of the Fourier norms", "cosine between parts", "overlap of frequencies")


def rows(runs: Mapping[str, Sequence[RecordFolder]]) -> list[list[str]]:
    """How far the first seed's embeddings have become circles, as rows for a table under HEADER."""
    return [
        [title, *(f"{value:.3f}" for value in frequency_statistics(table))]
        for title, table in _embeddings(runs).items()
    ]


def _embeddings(runs: Mapping[str, Sequence[RecordFolder]]) -> dict[str, Float[Tensor, "p d_hidden"]]:
    tables = {"both, start": initial_first_layer(runs["simulation"][0].settings.network)}
    for name, label in RUNS.items():
        tables[f"{label}, end"] = runs[name][0].load_checkpoint("latest").weights["first_layer"]
    return tables


def _over_time(curve: Curve, run: RecordFolder, setting: Setting) -> Curve:
    per_step = run.settings.time_per_step / setting.simulation.time_per_step
    return replace(curve, steps=curve.steps * per_step)


def _note(runs: Mapping[str, Sequence[RecordFolder]], setting: Setting) -> str:
    descent = setting.descent
    return (
        f"{setting.description}; simulation: Euler steps of {setting.simulation.step_size:g}, zero loss throughout; "
        f"gradient descent: λ {descent.weight_decay:g}, learning rate {descent.learning_rate:g}, momentum "
        f"{descent.momentum:g}; seeds: {len(runs['simulation'])}"
    )
