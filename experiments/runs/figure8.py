"""Figure 8 of arXiv 2506.12284: a one-layer transformer learns modular addition, with and without GrokAlign.

The network and optimiser of arXiv 2301.05217 with learnt embeddings. Alignment is that of the centroids with respect to
the embedded prompts. The Gini coefficients of the Fourier norms tell whether few frequencies carry the embedding and
the map from neurons to logits, as in the algorithm that arXiv 2301.05217 finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from matplotlib.figure import Figure

from experiments.run_curves import metric_curve
from experiments.run_folder import RecordFolder
from experiments.transformer import TransformerSettings
from experiments.transformer_training import AdditionSettings
from viz.companions import add_companions, add_range
from viz.curves import Curve, CurvePanel, curves_figure
from viz.text import grouped

COEFFICIENT = 1e-3
"""λ of GrokAlign in Figures 8 and 9."""
METHODS = {"baseline": "weight decay", "grokalign": "weight decay and GrokAlign"}


@dataclass(frozen=True)
class Setting:
    """What all runs of a figure share: the paper's, or a smaller one."""

    description: str
    base: AdditionSettings = field(default_factory=AdditionSettings)

    def of_length(self, steps: int | None) -> Setting:
        """The same setting with another number of steps, which the figure states; None changes nothing.

        Raises SettingsError for fewer than one step.
        """
        if steps is None or steps == self.base.steps:
            return self
        described = f"{self.description}; here {grouped(steps)} steps"
        return replace(self, description=described, base=replace(self.base, steps=steps))


PAPER = Setting(f"p = 113, 30 % of the pairs for training, {grouped(48_000)} steps")
QUICK = Setting(
    "QUICK, not the paper's setting: p = 47, 50 % of the pairs for training, half as wide, learning rate 0.003, "
    f"{grouped(4800)} steps",
    AdditionSettings(
        TransformerSettings(modulus=47, d_model=64, d_mlp=256, d_head=16),
        train_fraction=0.5,
        learning_rate=3e-3,
        steps=4800,
        logs_per_decade=16,
    ),
)


def settings(setting: Setting, seed: int) -> dict[str, AdditionSettings]:
    """The settings of each run, by its folder's name."""
    base = replace(setting.base, seed=seed)
    return {"baseline": base, "grokalign": replace(base, grokalign=COEFFICIENT)}


def draw(runs: Mapping[str, Sequence[RecordFolder]], setting: Setting) -> Figure:
    """Draw the figure from finished runs of all seeds, by the names that `settings` gives them."""

    def curves(metric: str) -> list[Curve]:
        return [metric_curve(label, runs[name], metric) for name, label in METHODS.items()]

    panels = [
        CurvePanel("Accuracy", "share of pairs", curves("test_accuracy")),
        CurvePanel("Centroid alignment", "cos(x, μ)", curves("centroid_alignment_mean")),
        CurvePanel("Gini of Fourier norms", "Gini coefficient", curves("gini_neuron_logit")),
        CurvePanel("Jacobian norm", "mean ‖J‖, estimated", curves("jacobian_norm_mean"), log=True),
    ]
    figure = curves_figure(panels, step_label="step", note=_note(setting, len(next(iter(runs.values())))))
    accuracy, alignment, gini, _ = figure.axes
    add_companions(accuracy, curves("train_accuracy"), "test", "training")
    add_range(alignment, curves("centroid_alignment_min"), curves("centroid_alignment_max"))
    add_companions(gini, curves("gini_embedding"), "neurons to logits", "embedding")
    return figure


def _note(setting: Setting, n_seeds: int) -> str:
    chosen = setting.base
    frozen = {"none": "all weights learnt", "embedding": "fixed embedding", "both": "fixed embedding and unembedding"}
    return (
        f"One-layer transformer, {frozen[chosen.transformer.fixed]}, a + b "
        f"modulo p, {setting.description}; weight decay {chosen.weight_decay:g}; λ: {COEFFICIENT:g}; alignment: mean "
        f"(thick), least and greatest (dotted) over the training pairs; seeds: {n_seeds}"
    )
