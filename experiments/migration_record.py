"""A run's migration as it is drawn: what its frames share, and its stills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.frame_regions import FrameSummary, FrameTask, find_regions, network_at
from experiments.run_folder import RunFolder
from viz.figures import NORM_LABEL, RegionPanel, figure1
from viz.migration import Curve, Migration
from viz.pattern_colors import pattern_colors
from viz.saving import save_figure
from viz.scale_bar import nice_length
from viz.text import grouped, percent

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

_STILLS = 4
# Half-width of the windows about the points, as a share of the points' distance from their mean.
_WINDOW_SHARE = 0.3
_MEASURES = (
    ("train_accuracy", "train accuracy", True),
    ("test_accuracy", "test accuracy", True),
    ("centroid_alignment_mean", "centroid alignment", False),
)


def chosen_epochs(folder: RunFolder, frames: int | None) -> list[int]:
    """The epochs of a run's checkpoints, or `frames` of them with the first and the last, evenly in their order.

    Raises RunFolderError if there are fewer than two.
    """
    epochs = list(folder.checkpoints())
    if len(epochs) < 2:
        there = "no checkpoint yet" if not epochs else "one checkpoint"
        raise RunFolderError(f"{folder.path} has {there}, a migration needs at least two: train it longer")
    if frames is None or frames >= len(epochs):
        return epochs
    return [epochs[index] for index in np.linspace(0, len(epochs) - 1, frames).round().astype(int).tolist()]


def still_epochs(folder: RunFolder, names: str | None, epochs: Sequence[int]) -> list[int]:
    """The epochs of the stills: of the checkpoints named, with commas between, or four of `epochs`, evenly.

    Raises RunFolderError naming the checkpoints that there are.
    """
    if names is None:
        indices = np.unique(np.linspace(0, len(epochs) - 1, _STILLS).round().astype(int))
        return [epochs[index] for index in indices.tolist()]
    checkpoints = folder.checkpoints()
    named = {"latest": max(checkpoints)} | {event: epoch for epoch, events in checkpoints.items() for event in events}
    found = []
    for name in map(str.strip, names.split(",")):
        epoch = named.get(name, int(name) if name.isdecimal() else -1)
        if epoch not in checkpoints:
            folder.locate_checkpoint(name)  # says which there are
        found.append(epoch)
    return found


def window_half_width(points: LabelledImages) -> float:
    """A round half-width for windows about the points of a slice, small beside their distances."""
    plane = sg.Slice.through_points(points.x_train)
    assert plane.points is not None
    return nice_length(_WINDOW_SHARE * float(np.linalg.norm(plane.points, axis=1).mean()))


def migration_of(
    folder: RunFolder,
    points: LabelledImages,
    epochs: Sequence[int],
    summaries: Sequence[FrameSummary],
    norm: Normalize | None,
    window: float | None,
) -> Migration:
    """What the frames of a run's migration share; `points` is the data cut down to the slice's points."""
    plane = sg.Slice.through_points(points.x_train)
    assert plane.points is not None
    return Migration(
        images=points.x_train.numpy(),
        labels=[str(label) for label in points.y_train.tolist()],
        points=plane.points,
        origin=plane.project(np.zeros((1, len(plane.origin))))[0],
        domain=summaries[0].domain,
        epochs=np.array(epochs),
        n_regions=np.array([summary.n_regions for summary in summaries]),
        centroids=np.stack([summary.centroids for summary in summaries]),
        curves=_curves(folder),
        norm=norm,
        norm_samples=np.concatenate([summary.norm_quantiles for summary in summaries]),
        window=window,
    )


def draw_stills(path: Path, migration: Migration, tasks: Sequence[FrameTask], folder: RunFolder) -> Path:
    """Draw checkpoints side by side, as in `figure1`, in the colours of the migration's frames; returns the path.

    Raises the errors of `find_regions`.
    """
    events = folder.checkpoints()
    panels = [_still(migration, task, events.get(task.epoch, [])) for task in tasks]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = figure1(migration.images, migration.labels, panels, value_label=NORM_LABEL, norm=migration.norm)
    (written,) = save_figure(figure, path.with_suffix(""), [path.suffix.removeprefix(".")])
    return written


def _still(migration: Migration, task: FrameTask, events: Sequence[str]) -> RegionPanel:
    model = network_at(task)
    partition, norms, _ = find_regions(task, model)
    curves = {curve.label: curve for curve in migration.curves}
    about = []
    if (curve := curves.get("test accuracy")) is not None:
        about.append(f"test accuracy {percent(curve.at(task.epoch))}")
    if (curve := curves.get("centroid alignment")) is not None:
        about.append(f"alignment {curve.at(task.epoch):.2f}".replace("-", "−"))
    centroids = sg.centroids(model, task.points.x_train)
    colored = {"values": norms} if migration.norm is not None else {"colors": pattern_colors(partition)}
    return RegionPanel(
        partition,
        f"Epoch {grouped(task.epoch)}" + "".join(f" ({event})" for event in events),
        " · ".join(about),
        migration.points,
        partition.plane.project(centroids),
        partition.plane.distance(centroids),
        **colored,
    )


def _curves(folder: RunFolder) -> list[Curve]:
    entries = folder.metrics()
    curves = []
    for key, label, is_percentage in _MEASURES:
        pairs = np.array([(entry["epoch"], entry[key]) for entry in entries if entry.get(key) is not None], dtype=float)
        if len(pairs):
            curves.append(Curve(label, pairs[:, 0], pairs[:, 1], is_percentage))
    return curves
