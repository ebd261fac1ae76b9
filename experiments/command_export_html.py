"""`splinegeo export-html`: a run's regions over training, or one partition, as a single page that needs no network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cache_options import Cache, CacheGigabytes
from experiments.options import DataDir, Download, RunOrPartition
from experiments.run_path import check_run_or_file
from experiments.slice_options import HalfWidth, Points, PointsSeed, check_points_seed
from experiments.usage import refuse_without_effect

if TYPE_CHECKING:
    from experiments.data import LabelledImages
    from experiments.partition_cache import PartitionCache
    from experiments.run_folder import RunFolder
    from viz.html_frame import PageFrame
    from viz.html_page import PageReport

_FRAMES = 12
_OF_A_RUN = ["checkpoints", "frames", "points", "half_width", "images", "seed", "cache", "cache_gigabytes"]
_OF_A_RUN += ["data_dir", "download"]


def export_html(
    context: typer.Context,
    source: RunOrPartition,
    out: Annotated[
        Path | None, typer.Option(help="Page to write (.html).", show_default="RUN/page.html, or PARTITION.html")
    ] = None,
    checkpoints: Annotated[
        str, typer.Option(metavar="all|EPOCH|EVENT,...", help="Checkpoints, with commas between: epochs or events.")
    ] = "all",
    frames: Annotated[
        int, typer.Option(min=1, help="Take at most so many of the checkpoints, evenly; each adds 1 to 5 MB.")
    ] = _FRAMES,
    points: Points = "0,1,2",
    half_width: HalfWidth = None,
    images: Annotated[
        int, typer.Option(min=3, help="Training images in the page, among which it finds the nearest to a click.")
    ] = 1024,
    image_shape: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH", help="Shape of inputs that are flattened images.", show_default="as the inputs are"
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.", show_default="name of the run")] = None,
    seed: PointsSeed = 0,
    cache: Cache = None,
    cache_gigabytes: CacheGigabytes = 4.0,
    data_dir: DataDir = Path("data"),
    download: Download = False,
) -> None:
    """Write one HTML file that shows the linear regions at every checkpoint: to pan, zoom, step through and click.

    The file works offline and asks no server for anything. A click on a region shows its pattern, area, norm, class and
    centroid. Partitions are kept in RUN/migration and found again, as by `splinegeo migrate`. A
    partition file takes none of the options about checkpoints, points, images and data.
    """
    check_run_or_file(source)
    if source.is_file():
        refuse_without_effect(context, _OF_A_RUN, "on a partition file: leave out, or give a run folder")
    check_points_seed(context, points)
    from viz.html_page import PageImages, write_page

    shape = None if image_shape is None else _shape(image_shape)
    page = out or (source.with_suffix(".html") if source.is_file() else source / "page.html")
    if page.suffix != ".html":
        raise typer.BadParameter(f"--out must end in .html, got {page}")
    if source.is_file():
        name = source.stem
        report = write_page(page, _partition_frame(source), title=title or name, image_shape=shape)
    else:
        from experiments.partition_cache import PartitionCache

        partitions = PartitionCache.of_run(source, cache, cache_gigabytes)
        folder, epochs, data, indices = _open_run(source, checkpoints, frames, points, seed, data_dir, download)
        kept = sorted({*indices, *range(min(images, len(data.x_train)))})
        name = source.resolve().name
        try:
            report = write_page(
                page,
                _run_frames(folder, epochs, data, indices, half_width, partitions),
                title=title or f"{name}: {_about_network(folder)}",
                point_labels=[str(int(data.y_train[index])) for index in indices],
                images=PageImages(
                    data.x_train[kept].numpy(),
                    [f"no. {index}, class {int(data.y_train[index])}" for index in kept],
                    "image",
                ),
                image_shape=shape,
            )
        except KeyboardInterrupt:
            there = f"{partitions.count()} partitions are in {partitions.folder}"
            print(f"splinegeo: stopped; no page was written; {there}, the same command goes on there", file=sys.stderr)
            raise typer.Exit(130) from None
    print(_summary(report))


def _open_run(
    run: Path, checkpoints: str, frames: int, points: str, seed: int, data_dir: Path, download: bool
) -> tuple[RunFolder, list[int], LabelledImages, list[int]]:
    import torch

    from experiments.data import load_data
    from experiments.run_folder import RunFolder
    from experiments.run_regions import slice_points

    folder = RunFolder.open(run)
    epochs = _epochs(folder, checkpoints, frames)
    data = load_data(folder.settings.data, data_dir, download).to(torch.device("cpu"), torch.float64)
    indices = slice_points(points, data, seed)
    return folder, epochs, data, indices


def _epochs(folder: RunFolder, checkpoints: str, frames: int) -> list[int]:
    from experiments.checkpoint import read_description
    from experiments.errors import RunFolderError

    if checkpoints == "all":
        epochs = list(folder.checkpoints())
        if not epochs:
            raise RunFolderError(f"{folder.path} has no checkpoint yet: train it first")
    else:
        names = [name.strip() for name in checkpoints.split(",") if name.strip()]
        if not names:
            raise typer.BadParameter("--checkpoints takes all, or epochs and events with commas between")
        epochs = sorted({int(read_description(folder.locate_checkpoint(name))["epoch"]) for name in names})
    if len(epochs) <= frames:
        return epochs
    if frames == 1:
        return epochs[-1:]
    import numpy as np

    return [epochs[index] for index in np.linspace(0, len(epochs) - 1, frames).round().astype(int).tolist()]


def _run_frames(
    folder: RunFolder,
    epochs: list[int],
    data: LabelledImages,
    indices: list[int],
    half_width: float | None,
    cache: PartitionCache,
) -> Iterator[PageFrame]:
    from tqdm import tqdm

    import splinegeo as sg
    from experiments.run_model import load_model
    from viz.html_frame import PageFrame
    from viz.text import grouped, percent

    plane = sg.Slice.through_points(data.x_train[indices])
    events = folder.checkpoints()
    metrics = {entry["epoch"]: entry for entry in folder.metrics()}
    for epoch in tqdm(epochs, desc="checkpoints", unit="frame", disable=None):
        # The newest weights of a run that is under way are not among its checkpoints.
        which = epoch if epoch in events else "latest"
        partition, _, _ = cache.find(epoch, load_model(folder, which, data), plane, half_width)
        about = [*events.get(epoch, [])]
        for key, label in (("train_accuracy", "train"), ("test_accuracy", "test")):
            value = metrics.get(epoch, {}).get(key)
            if value is not None:
                about.append(f"{label} accuracy {percent(value)}")
        yield PageFrame(partition, f"epoch {grouped(epoch)}", " · ".join(about))


def _partition_frame(path: Path) -> Iterator[PageFrame]:
    from splinegeo import load_partition
    from viz.html_frame import PageFrame

    yield PageFrame(load_partition(path), path.stem)


def _about_network(folder: RunFolder) -> str:
    from experiments.settings import ModelSettings

    model = folder.settings.model
    widths = "-".join(map(str, model.hidden_widths)) if isinstance(model, ModelSettings) else type(model).__name__
    return f"hidden widths {widths}, {folder.settings.data.name}"


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(number) for number in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise typer.BadParameter(f"--image-shape takes HEIGHTxWIDTH or CHANNELSxHEIGHTxWIDTH, got {text!r}")
    return shape


def _summary(report: PageReport) -> str:
    def span(values: tuple[int, ...], scale: float, form: str) -> str:
        low, high = (format(end / scale, form) for end in (min(values), max(values)))
        return low if low == high else f"{low} to {high}"

    count = len(report.regions)
    frames = "1 partition" if count == 1 else f"{count} checkpoints"
    return (
        f"page: {report.path} ({report.total_bytes / 1e6:.1f} MB; {frames} of {span(report.regions, 1, ',.0f')} "
        f"regions, {span(report.frame_bytes, 1e6, '.2f')} MB each)"
    )
