"""`splinegeo centroids`: the centroids of a run's networks at its images, as pictures and as arrays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from experiments import centroid_options as options
from experiments.options import DataDir, Device, Download, Run, Threads, set_threads
from experiments.run_path import check_run_path
from experiments.usage import refuse_without_effect

if TYPE_CHECKING:
    from torch import Tensor, nn

    from experiments.centroid_kind import CentroidKind
    from experiments.run_folder import RunFolder


def centroids(
    context: typer.Context,
    run: Run,
    samples: options.Samples = None,
    part: options.DataPart = "train",
    checkpoint: options.Checkpoint = None,
    component: options.Component = None,
    local: options.Local = False,
    spread: options.Spread = 0.15,
    noise_samples: options.NoiseSamples = 30,
    seed: options.Seed = 0,
    picture: options.Picture = True,
    grid: options.Grid = None,
    scale: options.Scale = "panel",
    theme: options.PaperTheme = "light",
    out: options.Out = None,
    each: options.Each = None,
    array: options.ArrayFile = None,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Draw training images and their centroids side by side, for one or several checkpoints of a run.

    The centroid of an image is the sum of the rows of the network's Jacobian there: the site of its region in the power
    diagram. In an aligned network it looks like the image. With --array the centroids of the whole set are streamed to
    disk; interrupted, the same command goes on.
    """
    if not local:
        refuse_without_effect(context, ["spread", "noise_samples", "seed"], "without noise: add --local")
    if not picture:
        refuse_without_effect(context, ["grid", "scale", "theme", "out"], "with --no-picture: leave out one of them")
    if not picture and each is None:
        refuse_without_effect(context, ["samples"], "on --array, which has the whole set: add --each FOLDER")
    check_run_path(run)
    set_threads(threads)
    path = run / "centroids.png" if out is None else out
    _check(path, scale, part, something=picture or each is not None or array is not None)
    shape = None if grid is None else options.grid_shape(grid)
    import torch

    from experiments.centroid_array import check_array_path
    from experiments.centroid_kind import CentroidKind
    from experiments.centroid_pictures import check_images, draw_grids, write_each
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.run_folder import RunFolder
    from experiments.run_model import load_model
    from viz.text import grouped

    if array is not None:
        check_array_path(array)
    folder = RunFolder.open(run)
    dtype = getattr(torch, folder.settings.training.dtype)
    names = [name.strip() for name in checkpoint.split(",")] if checkpoint else _default_checkpoints(folder)
    moments = [_epoch_and_events(folder, name) for name in names]
    images = load_data(folder.settings.data, data_dir, download).to(choose_device(device), dtype)
    x_all = images.x_train if part == "train" else images.x_test
    indices = options.sample_numbers(samples, len(x_all), shape)
    shape = options.fitting_grid(len(indices), samples, shape)
    x = x_all[indices]
    if picture or each is not None:
        check_images(x.cpu().numpy(), run)
    kind = CentroidKind(component, local, spread, noise_samples, seed)
    found = []
    for name, (epoch, _) in zip(names, moments, strict=True):
        model = load_model(folder, name, images)
        if picture or each is not None:
            found.append(kind.of(model, x))
        if array is not None:
            target = array if len(names) == 1 else array.with_stem(f"{array.stem}_epoch_{epoch:06d}")
            print(f"array: {_stream(target, kind, model, x_all)}")
    shown = x.cpu().numpy()
    if picture:
        titles = [
            f"Epoch {grouped(epoch)}" + (f" ({', '.join(events)})" if events else "") for epoch, events in moments
        ]
        what = f"{'Training' if part == 'train' else 'Test'} images"
        drawn = draw_grids(path, shown, found, titles, shape, what, kind.described(), scale, theme)
        print(f"picture: {drawn}")
    if each is not None:
        count = write_each(each, shown, found, [epoch for epoch, _ in moments], indices)
        print(f"images alone: {count} as .png and .npy in {each}")


def _check(picture: Path, scale: str, part: str, *, something: bool) -> None:
    if picture.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(f"--out must end in .png, .pdf or .svg, got {picture}")
    if scale not in ("panel", "shared", "image"):
        raise typer.BadParameter(f"--scale must be panel, shared or image, got {scale!r}")
    if part not in ("train", "test"):
        raise typer.BadParameter(f"--set must be train or test, got {part!r}")
    if not something:
        raise typer.BadParameter("--no-picture leaves nothing to write: add --array or --each")


def _default_checkpoints(folder: RunFolder) -> list[str]:
    events = {event for events in folder.checkpoints().values() for event in events}
    return ["memorised", "final"] if {"memorised", "final"} <= events else ["latest"]


def _epoch_and_events(folder: RunFolder, name: str) -> tuple[int, list[str]]:
    from experiments.checkpoint import read_description

    description = read_description(folder.locate_checkpoint(name))
    return description["epoch"], description["events"]


def _stream(path: Path, kind: CentroidKind, model: nn.Module, x: Tensor) -> Path:
    """Stream the centroids to disk; at Ctrl-C say how far they are, and exit with code 130."""
    from experiments.centroid_array import progress_of, stream_centroids, unfinished

    try:
        return stream_centroids(path, kind, model, x)
    except KeyboardInterrupt:
        there = f"{progress_of(path)} of {len(x)} centroids are in {unfinished(path)}"
        print(f"splinegeo: stopped; {there}, the same command goes on there", file=sys.stderr)
        raise typer.Exit(130) from None
