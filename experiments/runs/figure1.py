"""Figure 1 of arXiv 2506.12284: linear regions about three training points, at memorisation and after generalisation.

The setting is ours, chosen for a clear picture within minutes: squared error, because only there the aligned optimum
has a centroid that points along the input (under cross-entropy the rows of the Jacobian sum to zero).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.recorder import FINAL, MEMORISED
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from experiments.run_regions import regions_on_slice
from experiments.settings import ModelSettings, RunSettings, TrainingSettings
from experiments.table import text_table
from viz.figures import RegionPanel, figure1
from viz.saving import save_figure
from viz.style import style
from viz.text import grouped, percent

POINTS = (0, 1, 2)
"""Training points that the slice goes through: a 5, a 0 and a 4."""
_ALIGNED = 0.5
"""Mean centroid alignment from which on the picture calls a network aligned."""


def demo_settings(seed: int = 0) -> RunSettings:
    """The settings of `make demo`."""
    return RunSettings(
        model=ModelSettings(initial_scale=4.0),
        training=TrainingSettings(loss="squared-error", grokalign=0.05, weight_decay=0.1, epochs=4000),
        seed=seed,
    )


def quick_settings(seed: int = 0) -> RunSettings:
    """A quarter of its epochs: the training set is memorised, and the regions have begun to migrate."""
    settings = demo_settings(seed)
    return replace(settings, training=replace(settings.training, epochs=1000, logs_per_decade=6))


def prefix(settings: RunSettings) -> str:
    """What the titles begin with: that the setting is the quick one, where it is."""
    return "Quick setting: " if settings == quick_settings(settings.seed) else ""


@dataclass(frozen=True)
class Moment:
    """One checkpoint of a run: its line of metrics, and its regions on the slice."""

    metrics: dict[str, Any]
    partition: sg.Partition


def moments(
    run: RunFolder,
    data: LabelledImages,
    half_width: float | None,
    progress: bool = True,
    points: Sequence[int] = POINTS,
) -> list[Moment]:
    """Enumerate the regions of a finished run at memorisation and at its end, on the slice through three points.

    Raises RunFolderError when the run never memorised its training set.
    """
    x = data.x_train[list(points)]
    of_event = {event: entry for entry in run.metrics() for event in entry["events"]}
    for event in (MEMORISED, FINAL):
        if event not in of_event:
            raise RunFolderError(
                f"{run.path} has no checkpoint of the event {event!r}: train it longer in a new folder"
            )
    found = []
    for event in (MEMORISED, FINAL):
        partition = regions_on_slice(load_model(run, event, data), x, half_width, progress)
        found.append(Moment(of_event[event], partition))
    return found


def draw(
    found: list[Moment],
    data: LabelledImages,
    path_stem: Path,
    points: Sequence[int] = POINTS,
    title_prefix: str = "",
) -> list[Path]:
    """Draw the figure and write it as .png and .pdf; returns the paths."""
    chosen = list(points)
    with style("light"):
        panels = [
            RegionPanel.at_points(moment.partition, _title(moment.metrics, title_prefix), _subtitle(moment.metrics))
            for moment in found
        ]
        figure = figure1(data.x_train[chosen].numpy(), data.y_train[chosen].tolist(), panels)
        return save_figure(figure, path_stem, ("png", "pdf"))


def _title(metrics: dict[str, Any], prefix: str) -> str:
    aligned = metrics["centroid_alignment_mean"] >= _ALIGNED
    if MEMORISED in metrics["events"]:
        title = "memorised"
    else:
        title = "generalised and aligned" if aligned else "at the end of training"
    return prefix + title if prefix else title.capitalize()


def _subtitle(metrics: dict[str, Any]) -> str:
    return (
        f"epoch {grouped(metrics['epoch'])} · test accuracy {percent(metrics['test_accuracy'])} · "
        f"alignment {metrics['centroid_alignment_mean']:.2f}".replace("-", "−")
    )


def moments_table(found: list[Moment]) -> str:
    """One line for each moment: the figures that the picture stands for."""
    header = ["", "epoch", "step", "train", "test", "centroid alignment", "centroid norm", "row alignment", "regions"]
    rows = [
        [
            ", ".join(moment.metrics["events"]),
            str(moment.metrics["epoch"]),
            str(moment.metrics["step"]),
            f"{moment.metrics['train_accuracy']:.1%}",
            f"{moment.metrics['test_accuracy']:.1%}",
            f"{moment.metrics['centroid_alignment_mean']:.3f}",
            f"{moment.metrics['centroid_norm_mean']:.3g}",
            f"{moment.metrics['row_alignment_mean']:.3f}",
            f"{moment.partition.n_regions}",
        ]
        for moment in found
    ]
    return text_table(header, rows)
