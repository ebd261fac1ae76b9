"""`splinegeo migrate`: the regions of one slice over all checkpoints of a run, as a video and as a strip of stills."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
import typer
from jaxtyping import Float, UInt8

from experiments.options import DataDir, Device, Download

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

    import splinegeo as sg
    from experiments.data import LabelledImages
    from experiments.run_folder import RunFolder

_QUANTILES = 2001
_STILLS = 4
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class FrameTask:
    """What a process needs to find the regions of one checkpoint: the run, the epoch, the three points, the domain."""

    run: Path
    epoch: int
    points: LabelledImages
    """The data set cut down to the slice's points, float64 on the CPU."""
    half_width: float | None
    threads: int


@dataclass(frozen=True)
class FrameSummary:
    """What the frames share in memory: little, as a partition of 10⁵ regions takes 20 MB."""

    partition_path: Path
    n_regions: int
    norm_quantiles: Float[np.ndarray, " q"]
    centroids: Float[np.ndarray, "k 2"]
    domain: Float[np.ndarray, "4 2"]
    reused: bool


@dataclass(frozen=True)
class PictureTask:
    """A cached partition to draw; without a norm by patterns, in the style of a theme."""

    partition_path: Path
    norm: Normalize | None
    pixels: int
    theme: str


def migrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as made by `splinegeo train`.")],
    points: Annotated[
        str, typer.Option(help="Three training points, by number, that the slice goes through; or random.")
    ] = "0,1,2",
    half_width: Annotated[
        float | None,
        typer.Option(help="Show a square of this half-width about the points' mean.", show_default="fits points"),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=2, help="Take so many of the checkpoints, evenly.", show_default="all")
    ] = None,
    color: Annotated[
        str, typer.Option(metavar="norm|pattern", help="Colour regions by their norm, or by activation pattern.")
    ] = "norm",
    out: Annotated[
        Path | None,
        typer.Option(help="Video: .mp4, .webm or .gif.", show_default="RUN/migration.mp4, or .gif without ffmpeg"),
    ] = None,
    strip: Annotated[
        Path | None, typer.Option(help="Strip of stills: .png, .pdf or .svg.", show_default="RUN/migration_strip.png")
    ] = None,
    frames_per_second: Annotated[
        float, typer.Option("--fps", min=0.1, max=60.0, help="Checkpoints shown each second.")
    ] = 6.0,
    width: Annotated[int, typer.Option(min=640, max=3840, help="Width of the video in pixels.")] = 1280,
    theme: Annotated[str, typer.Option(metavar="light|dark", help="Paper of the pictures.")] = "light",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that enumerate and draw.", show_default="one a processor")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of --points random.")] = 0,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
) -> None:
    """Show how the linear regions move over training: one slice at every checkpoint, as a video and a strip of stills.

    The partitions are kept in RUN/migration (about 0.2 MB for each thousand regions) and found again by the next call,
    also after an interruption. Enumeration runs on the CPU in float64; --device is where the data are prepared.
    """
    import torch

    from experiments.command_regions import _numbers
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.run_folder import RunFolder
    from experiments.run_regions import check_points, random_points
    from viz.style import style
    from viz.video import check_video_path, find_ffmpeg, write_video

    video = out or run / ("migration.mp4" if find_ffmpeg() else "migration.gif")
    stills = strip or run / "migration_strip.png"
    if color not in ("norm", "pattern"):
        raise typer.BadParameter(f"--color must be norm or pattern, got {color!r}")
    if stills.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(f"--strip must end in .png, .pdf or .svg, got {stills}")
    check_video_path(video)
    folder = RunFolder.open(run)
    epochs = chosen_epochs(folder, frames)
    images = load_data(folder.settings.data, data_dir, download).to(choose_device(device), torch.float64)
    indices = random_points(images, seed) if points == "random" else check_points(_numbers(points), images)
    of_points = replace(
        images.to(torch.device("cpu"), torch.float64),
        x_train=images.x_train[indices].cpu(),
        y_train=images.y_train[indices].cpu(),
        x_test=images.x_test[:1].cpu(),
        y_test=images.y_test[:1].cpu(),
    )
    processors = os.cpu_count() or 1
    jobs = min(jobs or processors, len(epochs))
    threads = max(1, processors // jobs)
    tasks = [FrameTask(folder.path, epoch, of_points, half_width, threads) for epoch in epochs]
    cache = folder.path / "migration"
    try:
        with style(theme), _processes(jobs) as run_all:
            summaries = list(run_all(find_regions, tasks, "enumerating"))
            reused = sum(summary.reused for summary in summaries)
            print(f"partitions: {len(summaries)} in {cache}, {reused} of them were there")
            norm = None if color == "pattern" else _shared_norm(summaries)
            migration = _migration(folder, of_points, epochs, summaries, norm)
            print(f"strip: {_draw_strip(stills, migration, summaries, folder)}")
            _write(video, migration, summaries, width, theme, frames_per_second, run_all, write_video)
    except KeyboardInterrupt:
        count = len(list(cache.glob("epoch_*.npz")))
        print(f"splinegeo: stopped; {count} partitions are in {cache}, the same command goes on there", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"video: {video} ({len(epochs)} checkpoints)")


def chosen_epochs(folder: RunFolder, frames: int | None) -> list[int]:
    """The epochs of a run's checkpoints, or `frames` of them with the first and the last, evenly in their order.

    Raises RunFolderError if there are fewer than two.
    """
    from experiments.errors import RunFolderError

    epochs = list(folder.checkpoints())
    if len(epochs) < 2:
        there = "no checkpoint yet" if not epochs else "one checkpoint"
        raise RunFolderError(f"{folder.path} has {there}, a migration needs at least two: train it longer")
    if frames is None or frames >= len(epochs):
        return epochs
    return [epochs[index] for index in np.linspace(0, len(epochs) - 1, frames).round().astype(int).tolist()]


def find_regions(task: FrameTask) -> FrameSummary:
    """Enumerate a checkpoint's regions and their norms, or read them from the run's folder `migration`.

    Cached files are named by a hash of the weights, the slice and the domain; damaged ones are made anew. Raises the
    errors of `read_checkpoint` and of `splinegeo.enumerate_regions`.
    """
    import splinegeo as sg
    from experiments.checkpoint import load_weights, read_checkpoint
    from experiments.run_folder import RunFolder
    from experiments.run_model import build_model

    folder = RunFolder.open(task.run)
    checkpoint_path = folder.checkpoint_path(task.epoch)
    model = build_model(folder.settings, task.points)
    load_weights(model, read_checkpoint(checkpoint_path), checkpoint_path)
    model.eval()
    plane = sg.Slice.through_points(task.points.x_train)
    key = hashlib.sha256(checkpoint_path.read_bytes())
    for array in (plane.origin, plane.basis, np.array([task.half_width or 0.0])):
        key.update(np.ascontiguousarray(array).tobytes())
    path = folder.path / "migration" / f"epoch_{task.epoch:06d}_{key.hexdigest()[:16]}.npz"
    cached = _read_cache(path)
    if cached is None:
        domain = None if task.half_width is None else sg.Box(task.half_width)
        partition = sg.enumerate_regions(model, plane, domain, threads=task.threads)
        norms = partition.operator_norms()
        _write_cache(path, partition, norms)
    else:
        partition, norms = cached
    centroids = plane.project(sg.centroids(model, task.points.x_train))
    quantiles = np.quantile(norms, np.linspace(0, 1, _QUANTILES))
    return FrameSummary(path, partition.n_regions, quantiles, centroids, partition.domain, cached is not None)


def _draw_regions(task: PictureTask) -> UInt8[np.ndarray, "pixels pixels 3"]:
    from viz.migration import region_picture
    from viz.style import style

    partition, norms = _from_cache(task.partition_path)
    with style(task.theme):
        return region_picture(partition, None if task.norm is None else norms, task.norm, task.pixels)


def _norms_path(path: Path) -> Path:
    return path.with_suffix(".norms.npy")


def _read_cache(path: Path) -> tuple[sg.Partition, Float[np.ndarray, " R"]] | None:
    import splinegeo as sg

    try:
        partition = sg.load_partition(path)
        norms = np.load(_norms_path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError):  # missing or damaged: a PartitionFileError is a ValueError
        return None
    return (partition, norms) if norms.shape == (partition.n_regions,) and np.isfinite(norms).all() else None


def _from_cache(path: Path) -> tuple[sg.Partition, Float[np.ndarray, " R"]]:
    from experiments.errors import RunFolderError

    cached = _read_cache(path)
    if cached is None:
        raise RunFolderError(f"{path} vanished or was damaged while it was in use: call the command again")
    return cached


def _write_cache(path: Path, partition: sg.Partition, norms: Float[np.ndarray, " R"]) -> None:
    from splinegeo.atomic import write_atomically

    path.parent.mkdir(exist_ok=True)
    partition.save(path)
    content = io.BytesIO()
    np.save(content, norms, allow_pickle=False)
    write_atomically(_norms_path(path), content.getvalue())


def _shared_norm(summaries: Sequence[FrameSummary]) -> Normalize:
    from viz.color_scale import shared_norm

    return shared_norm([summary.norm_quantiles for summary in summaries])


def _migration(
    folder: RunFolder,
    points: LabelledImages,
    epochs: list[int],
    summaries: Sequence[FrameSummary],
    norm: Normalize | None,
) -> Any:
    import splinegeo as sg
    from viz.migration import Migration

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
    )


def _curves(folder: RunFolder) -> list[Any]:
    from viz.migration import Curve

    measures = [
        ("train_accuracy", "train accuracy", True),
        ("test_accuracy", "test accuracy", True),
        ("centroid_alignment_mean", "centroid alignment", False),
    ]
    entries = folder.metrics()
    curves = []
    for key, label, percent in measures:
        pairs = np.array([(entry["epoch"], entry[key]) for entry in entries if entry.get(key) is not None], dtype=float)
        if len(pairs):
            curves.append(Curve(label, pairs[:, 0], pairs[:, 1], percent))
    return curves


def _draw_strip(path: Path, migration: Any, summaries: Sequence[FrameSummary], folder: RunFolder) -> Path:
    """Four checkpoints side by side: the first, the last, and between them evenly."""
    from viz.figures import RegionPanel
    from viz.migration import migration_strip
    from viz.saving import save_figure

    curves = {curve.label: curve for curve in migration.curves}
    events = folder.checkpoints()
    panels = []
    for index in np.unique(np.linspace(0, len(summaries) - 1, _STILLS).round().astype(int)).tolist():
        partition, norms = _from_cache(summaries[index].partition_path)
        epoch = int(migration.epochs[index])
        about = [
            f"{short} {np.interp(epoch, curves[label].epochs, curves[label].values):.{digits}}".replace("-", "−")
            for label, short, digits in (
                ("test accuracy", "test accuracy", "1%"),
                ("centroid alignment", "alignment", "2f"),
            )
            if label in curves
        ]
        title = f"epoch {epoch}" + "".join(f" ({event})" for event in events.get(epoch, []))
        centroids = migration.centroids[index]
        panels.append(RegionPanel(partition, title, " · ".join(about), migration.points, centroids, values=norms))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = migration_strip(migration, panels)
    (written,) = save_figure(figure, path.with_suffix(""), [path.suffix.removeprefix(".")])
    return written


def _write(
    video: Path,
    migration: Any,
    summaries: Sequence[FrameSummary],
    width: int,
    theme: str,
    frames_per_second: float,
    run_all: Callable[..., Iterator[Any]],
    write_video: Callable[..., None],
) -> None:
    from viz.migration import migration_frames, region_pixels

    tasks = [PictureTask(summary.partition_path, migration.norm, region_pixels(width), theme) for summary in summaries]
    pictures = run_all(_draw_regions, tasks, "drawing")
    write_video(video, migration_frames(migration, pictures, width), frames_per_second)


@contextmanager
def _processes(jobs: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Give a function that maps over tasks in order, in this process or in several; stops tidily at Ctrl-C."""
    from tqdm import tqdm

    if jobs == 1:
        yield lambda work, tasks, text: tqdm(map(work, tasks), total=len(tasks), desc=text, unit=" frames", leave=False)
        return
    before = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    # Several processes with as many threads each as there are processors wait for each other more than they work.
    os.environ.update(dict.fromkeys(before, str(max(1, (os.cpu_count() or 1) // jobs))))
    executor = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    try:
        yield lambda work, tasks, text: tqdm(
            _in_order(executor, work, tasks, 3 * jobs), total=len(tasks), desc=text, unit=" frames", leave=False
        )
    finally:
        executor.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _in_order(
    executor: ProcessPoolExecutor, work: Callable[[_Task], _Result], tasks: Sequence[_Task], ahead: int
) -> Iterator[_Result]:
    """Results in the tasks' order, with at most `ahead` of them waiting in memory."""
    left = iter(tasks)
    waiting = [executor.submit(work, task) for task in islice(left, ahead)]
    while waiting:
        result = waiting.pop(0).result()
        waiting.extend(executor.submit(work, task) for task in islice(left, 1))
        yield result


def _ignore_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal: only the first one answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
