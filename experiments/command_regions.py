"""`splinegeo regions`: enumerate the linear regions of a trained network on a slice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.options import DataDir, Device, Download, Run
from experiments.run_path import check_run_path
from experiments.slice_options import HalfWidth, Points, PointsSeed, check_points_seed
from experiments.usage import refuse_without_effect

if TYPE_CHECKING:
    import splinegeo as sg
    from experiments.data import LabelledImages


def regions(
    context: typer.Context,
    run: Run,
    checkpoint: Annotated[
        str, typer.Option(help="Which weights: an epoch, memorised, final or latest.", metavar="EPOCH|EVENT")
    ] = "latest",
    points: Points = "0,1,2",
    half_width: HalfWidth = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Partition file (.npz) to write.", show_default="RUN/partitions/epoch_EPOCH.npz"),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture to draw: .png, .pdf or .svg.", show_default="none")
    ] = None,
    color_by: Annotated[
        str,
        typer.Option(
            metavar="norm|radius|area|alignment|class|stage|pattern", help="What the colours of --picture stand for."
        ),
    ] = "norm",
    boundary: Annotated[bool, typer.Option("--boundary", help="Draw the decision boundary in --picture.")] = False,
    seed: PointsSeed = 0,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
) -> None:
    """Enumerate the linear regions of a run's network on a slice through three training points, exactly.

    Prints what lies around the three points, and saves the partition: `splinegeo.load_partition` reads it. The
    enumeration itself runs on the CPU in float64. Ctrl-C ends it early, with the regions of a part of the square.
    """
    if picture is None:
        refuse_without_effect(context, ["color_by", "boundary"], "without a picture: add --picture FILE")
    check_points_seed(context, points)
    if out is not None and out.suffix != ".npz":
        raise typer.BadParameter(f"--out must end in .npz, got {out}")
    check_run_path(run)
    import torch

    import splinegeo as sg
    from experiments.checkpoint import read_description
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.run_folder import RunFolder
    from experiments.run_model import load_model
    from experiments.run_regions import slice_points
    from viz.coloring import COLORINGS

    if picture is not None and picture.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(f"--picture must end in .png, .pdf or .svg, got {picture}")
    if color_by not in COLORINGS:
        raise typer.BadParameter(f"--color-by must be one of {', '.join(COLORINGS)}, got {color_by!r}")
    folder = RunFolder.open(run)
    epoch = read_description(folder.locate_checkpoint(checkpoint))["epoch"]
    images = load_data(folder.settings.data, data_dir, download).to(choose_device(device), torch.float64)
    indices = slice_points(points, images, seed)
    plane = sg.Slice.through_points(images.x_train[indices])
    domain = None if half_width is None else sg.Box(half_width)
    partition = sg.enumerate_regions(load_model(folder, checkpoint, images), plane, domain, progress=True)
    if out is None:
        out = folder.path / "partitions" / f"epoch_{epoch:06d}.npz"
    out.parent.mkdir(parents=True, exist_ok=True)
    partition.save(out)
    _report(partition, images, indices, epoch)
    print(f"partition: {out}")
    if picture is not None:
        print(f"picture: {_draw(partition, images, indices, epoch, picture, color_by, boundary)}")
    if not partition.complete:
        print("splinegeo: stopped; these are the regions of a part of the square", file=sys.stderr)
        raise typer.Exit(130)


def _report(partition: sg.Partition, images: LabelledImages, indices: list[int], epoch: int) -> None:
    import numpy as np

    from experiments.run_regions import regions_of_points
    from experiments.table import text_table

    norms = partition.operator_norms("frobenius")
    low, high = partition.domain.min(axis=0), partition.domain.max(axis=0)
    square = f"[{low[0]:.1f}, {high[0]:.1f}] × [{low[1]:.1f}, {high[1]:.1f}]"
    part = "" if partition.complete else f", a part: {partition.areas.sum() / (high - low).prod():.2%} of the area"
    print(f"epoch {epoch}: {partition.n_regions} linear regions on {square}{part}")
    print(f"Frobenius norm of the regions' maps: {norms.min():.3g} to {norms.max():.3g}, median {np.median(norms):.3g}")
    rows = []
    for index, found in zip(indices, regions_of_points(partition, images.x_train[indices]), strict=True):
        cells = ["outside", "", "", "", ""]
        if found is not None:
            cells = [
                str(found.region),
                f"{found.area:.3g}",
                f"{found.norm:.3g}",
                f"{found.centroid_alignment:.3f}",
                f"{found.centroid_distance:.3g}",
            ]
        rows.append([str(index), str(int(images.y_train[index])), *cells])
    header = ["training point", "class", "region", "area", "norm", "centroid alignment", "centroid off the slice by"]
    print(text_table(header, rows))


def _draw(
    partition: sg.Partition,
    images: LabelledImages,
    indices: list[int],
    epoch: int,
    picture: Path,
    color_by: str,
    boundary: bool,
) -> Path:
    from viz.coloring import color_regions
    from viz.figures import RegionPanel, figure1
    from viz.region_figure import region_figure
    from viz.saving import save_figure
    from viz.style import style
    from viz.text import grouped

    with style("light"):
        title = f"Epoch {grouped(epoch)}"
        points = partition.plane.project(images.x_train[indices])
        labels = [str(label) for label in images.y_train[indices].tolist()]
        if color_by != "norm" or boundary:
            coloring = color_regions(partition, color_by)
            figure = region_figure(partition, coloring, title, points=points, labels=labels, boundary=boundary)
        else:
            if (partition.locate(points) < 0).any():  # no region, so no centroid, is known there
                panel = RegionPanel(partition, title, points=points)
            else:
                panel = RegionPanel.at_points(partition, title)
            figure = figure1(images.x_train[indices].cpu().numpy(), labels, [panel])
        (path,) = save_figure(figure, picture.with_suffix(""), [picture.suffix.removeprefix(".")])
    return path
