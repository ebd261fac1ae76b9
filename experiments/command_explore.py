"""`splinegeo explore`: a run or a partition in a napari window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cache_options import Cache
from experiments.options import DataDir, Download, RunOrPartition
from experiments.run_path import check_run_or_file
from experiments.slice_options import HalfWidth, Points, PointsSeed, check_points_seed
from experiments.usage import refuse_without_effect

if TYPE_CHECKING:
    import numpy as np

    from viz.explorer_source import Source

_OF_A_RUN = ["checkpoint", "points", "half_width", "seed", "cache", "data_dir", "download"]


def explore(
    context: typer.Context,
    path: RunOrPartition,
    checkpoint: Annotated[
        str, typer.Option(help="Begin with these weights: an epoch, memorised, final or latest.", metavar="EPOCH|EVENT")
    ] = "latest",
    points: Points = "0,1,2",
    half_width: HalfWidth = None,
    color: Annotated[
        str,
        typer.Option(metavar="NAME", help="Colour by norm, radius, area, alignment, class, stage or pattern."),
    ] = "norm",
    values: Annotated[
        Path | None,
        typer.Option(help="Your own numbers for the regions of PARTITION, a .npy file of one number each: a colour."),
    ] = None,
    screenshot: Annotated[
        Path | None, typer.Option(help="Write the window to this .png and leave.", show_default="none")
    ] = None,
    select: Annotated[
        str | None, typer.Option(help="Select the region at this place X,Y of the slice.", show_default="none")
    ] = None,
    seed: PointsSeed = 0,
    cache: Cache = None,
    data_dir: DataDir = Path("data"),
    download: Download = False,
) -> None:
    """Look at linear regions in a window: step through training, zoom without end, click a region for its centroid.

    Needs a screen and the extra napari (pip install 'splinegeo[napari]'); see docs/explorer.md. A run that is still in
    training is followed. Partitions that `splinegeo migrate` has kept are taken from there.
    """
    check_run_or_file(path)
    if path.is_file():
        refuse_without_effect(context, _OF_A_RUN, "on a partition file: leave out, or give a run folder")
    if values is not None:
        refuse_without_effect(context, ["color"], "with --values, which are the colour: leave out one of them")
    check_points_seed(context, points)
    from viz.coloring import COLORINGS
    from viz.errors import DrawingError
    from viz.explorer_session import Session
    from viz.napari_window import open_explorer, picture, while_napari_loads, work

    if values is None and color not in COLORINGS:
        raise typer.BadParameter(f"--color must be one of {', '.join(COLORINGS)}, got {color!r}")
    place = None if select is None else _place(select)
    if values is not None and path.is_dir():
        raise DrawingError("--values belongs to the regions of one partition: give a partition file, not a run")
    name = color if values is None else values.stem

    def begun() -> Session:
        source, index = _open(path, checkpoint, points, half_width, seed, cache, data_dir, download)
        session = Session(source, coloring=name, custom={} if values is None else {name: _read_values(values)})
        session.go_to(index)
        return session

    session = while_napari_loads(begun)
    try:
        explorer = open_explorer(session.source, session.custom, f"splinegeo: {path}", session)
    except BaseException:
        session.close()
        raise
    explorer.begin(session.index, name, place)
    if screenshot is None:
        work(explorer)
        return
    try:
        print(f"picture: {picture(explorer, screenshot)}")
    finally:
        explorer.close()
        explorer.viewer.close()


def _open(
    path: Path,
    checkpoint: str,
    points: str,
    half_width: float | None,
    seed: int,
    cache: Path | None,
    data_dir: Path,
    download: bool,
) -> tuple[Source, int]:
    from experiments.data import load_data
    from experiments.explorer_run import open_run
    from experiments.run_folder import RunFolder
    from experiments.run_regions import slice_points
    from viz.explorer_source import PartitionSource

    if not path.is_dir():
        return PartitionSource.open(path), 0
    images = load_data(RunFolder.open(path).settings.data, data_dir, download)
    indices = slice_points(points, images, seed)
    source = open_run(path, images, indices, half_width, cache=cache)
    index = source.index_of(checkpoint)
    source.network(source.moments()[index])  # weights that do not fit are better said here than in an empty window
    return source, index


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--select takes two numbers with a comma between, got {text!r}") from None
    return x, y


def _read_values(path: Path) -> np.ndarray[Any, Any]:
    import numpy as np

    from viz.errors import DrawingError

    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError) as error:
        raise DrawingError(f"{path} is not a readable .npy file: {' '.join(str(error).split())}") from None
