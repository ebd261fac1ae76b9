"""Figure 5 of arXiv 2506.12284: accuracy, adversarial robustness and alignment on CIFAR-10, without and with GrokAlign.

The first 1024 training and test images, the bias-free convolutional network, squared error, AdamW 1e-3 with weight
decay 1e-3, batches of 256, λ = 1e-3. Robust accuracy is under APGD on cross-entropy with ε = 4/255 in pixels; the
paper's code attacks the normalised inputs with that ε. It also shuffles its batches and clips gradients at 1: here
batches keep their order, as in the paper's other experiments, and nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from experiments.attacks import EPSILON
from experiments.data import LabelledImages
from experiments.robustness import RobustnessSettings, measured
from experiments.run_curves import metric_curve
from experiments.run_folder import RunFolder
from experiments.schedule import sparse_epochs
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from viz.curves import Curve, CurvePanel, curves_figure
from viz.text import grouped

METHODS: dict[str, tuple[str, ...]] = {"weight-decay": (), "grokalign": ("grokalign",)}
_LABELS = {"weight-decay": "weight decay", "grokalign": "weight decay and GrokAlign"}
_METRICS = (
    ("train_accuracy", "Training accuracy", "share of samples"),
    ("test_accuracy", "Test accuracy", "share of samples"),
    ("centroid_alignment_mean", "Centroid alignment", "cosine"),
)


@dataclass(frozen=True)
class Setting:
    """What all runs of the figure share: the paper's, or a smaller one."""

    name: str
    description: str
    widths: tuple[int, ...]
    """Filters of each pair of convolutions, then the width of the head."""
    grokalign: float
    epochs: int
    logs_per_decade: int
    metric_points: int
    attacked_samples: int
    n_samples: int = 1024
    """Training samples, and as many test samples."""
    epsilon: float = EPSILON
    """Radius of the attack, in pixels on [0, 1]."""

    def of_length(self, epochs: int | None) -> Setting:
        """The same setting with another number of epochs, which the figure and its name state; None changes nothing."""
        if epochs is None or epochs == self.epochs:
            return self
        described = f"{self.description}; here {grouped(epochs)} epochs"
        return replace(self, name=f"{self.name}_{epochs}_epochs", description=described, epochs=epochs)


PAPER = Setting(
    "figure5",
    f"{grouped(1024)} samples, filters 32, 64, 128, {grouped(36_000)} epochs, λ = 0.001",
    (32, 64, 128, 128),
    1e-3,
    36_000,
    12,
    1024,
    1024,
)
# With fewer epochs, more logs or more points, measuring would take over 15 % of the time of the run without GrokAlign.
QUICK = Setting(
    "figure5_quick",
    "QUICK, not the paper's setting: 256 samples, filters 8, 16, 32, 400 epochs, λ = 0.01",
    (8, 16, 32, 64),
    1e-2,
    400,
    4,
    64,
    128,
    256,
    1 / 255,
)


def settings(setting: Setting, seed: int, data_file: str | None) -> dict[str, RunSettings]:
    """The settings of each run, by its folder's name: "weight-decay" and "grokalign"."""
    return {
        name: RunSettings(
            DataSettings("cifar10", setting.n_samples, setting.n_samples, data_file),
            ModelSettings(setting.widths, initial_scale=1.0, network="cnn"),
            TrainingSettings(
                loss="squared-error",
                grokalign=setting.grokalign,
                weight_decay=1e-3,
                epochs=setting.epochs,
                logs_per_decade=setting.logs_per_decade,
                metric_points=setting.metric_points,
                methods=methods,
            ),
            seed,
        )
        for name, methods in METHODS.items()
    }


def draw(runs: Mapping[str, Sequence[RunFolder]], setting: Setting, data: LabelledImages, source: str) -> Figure:
    """Draw the figure from finished runs of all seeds, by the names that `settings` gives them.

    Attacks about two checkpoints for each factor of ten in epochs, or reads what that gave before. The data are on
    their device, in the runs' type; `source` says what they are. Raises the errors of `measured`.
    """
    panels = [
        CurvePanel(title, unit, [metric_curve(_LABELS[name], runs[name], metric) for name in METHODS])
        for metric, title, unit in _METRICS
    ]
    epochs = sparse_epochs(setting.epochs, setting.logs_per_decade)
    exposure = RobustnessSettings(epsilon=setting.epsilon, n_samples=setting.attacked_samples)
    curves = []
    for name in METHODS:
        values = [[entry["attacked_accuracy"] for entry in measured(run, data, epochs, exposure)] for run in runs[name]]
        curves.append(Curve(_LABELS[name], np.array(epochs, dtype=float), np.array(values)))
    panels.insert(2, CurvePanel("Robust accuracy, APGD", "share of samples", curves))
    n_seeds = len(next(iter(runs.values())))
    note = (
        f"{source}, squared error, {setting.description}; weight decay 0.001; {exposure.description}, on "
        f"{grouped(setting.attacked_samples)} test images; seeds: {n_seeds}"
    )
    return curves_figure(panels, note=note)
