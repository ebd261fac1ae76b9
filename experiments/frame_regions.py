"""The regions of one checkpoint of a migration: enumerated or found again, summed up, drawn; each a task of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from experiments.partition_cache import PartitionCache

if TYPE_CHECKING:
    from matplotlib.colors import Normalize
    from torch import nn

    import splinegeo as sg
    from experiments.data import LabelledImages
    from viz.migration_frames import FramePictures

_QUANTILES = 2001


@dataclass(frozen=True)
class FrameTask:
    """What a process needs to find the regions of one checkpoint: the run, the epoch, the three points, the domain."""

    run: Path
    epoch: int
    points: LabelledImages
    """The data set cut down to the slice's points, float64 on the CPU."""
    half_width: float | None
    threads: int
    cache: PartitionCache


@dataclass(frozen=True)
class FrameSummary:
    """What the frames share in memory: little, as a partition of 10⁵ regions takes 20 MB."""

    n_regions: int
    norm_quantiles: Float[np.ndarray, " q"]
    centroids: Float[np.ndarray, "k 2"]
    domain: Float[np.ndarray, "4 2"]
    reused: bool


@dataclass(frozen=True)
class PictureTask:
    """A checkpoint to draw for a video of this width; without a norm by patterns, in the style of a theme."""

    frame: FrameTask
    norm: Normalize | None
    window: float | None
    width: int
    theme: str


def summarise(task: FrameTask) -> FrameSummary:
    """Find a checkpoint's regions and sum them up. Raises as `find_regions`."""
    import splinegeo as sg

    model = network_at(task)
    partition, norms, reused = find_regions(task, model)
    centroids = partition.plane.project(sg.centroids(model, task.points.x_train))
    quantiles = np.quantile(norms, np.linspace(0, 1, _QUANTILES))
    return FrameSummary(partition.n_regions, quantiles, centroids, partition.domain, reused)


def network_at(task: FrameTask) -> nn.Module:
    """The network of the checkpoint. Raises RunFolderError, and CheckpointError as `read_checkpoint` does."""
    from experiments.run_folder import RunFolder
    from experiments.run_model import load_model

    return load_model(RunFolder.open(task.run), task.epoch, task.points)


def find_regions(task: FrameTask, model: nn.Module) -> tuple[sg.Partition, Float[np.ndarray, " R"], bool]:
    """A network's regions on the task's slice, their norms, and whether they were in the cache.

    Raises as `PartitionCache.find`.
    """
    import splinegeo as sg

    plane = sg.Slice.through_points(task.points.x_train)
    return task.cache.find(task.epoch, model, plane, task.half_width, task.threads)


def draw_pictures(task: PictureTask) -> FramePictures:
    """Draw a checkpoint's regions, and those in the windows about the points. Raises as `find_regions`."""
    from viz.migration_frames import FramePictures, region_picture, region_pixels, resolution, window_pixels
    from viz.style import style

    model = network_at(task.frame)
    partition, norms, _ = find_regions(task.frame, model)
    parts = [] if task.window is None else _windows(partition, task.window, task.frame.threads)
    dpi = resolution(task.width)
    with style(task.theme):
        regions = region_picture(partition, None if task.norm is None else norms, task.norm, region_pixels(dpi), dpi)
        windows = [
            region_picture(
                part, None if task.norm is None else part.operator_norms(), task.norm, window_pixels(dpi), dpi
            )
            for part in parts
        ]
    return FramePictures(regions, windows, [part.n_regions for part in parts])


def _windows(partition: sg.Partition, half_width: float, threads: int) -> list[sg.Partition]:
    """The regions of the same network and slice in a square about each of the slice's points."""
    from experiments.run_regions import whole_partition

    points = partition.plane.points
    assert points is not None  # the slice goes through them
    corners = half_width * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return [whole_partition(partition.network, partition.plane, point + corners, threads=threads) for point in points]
