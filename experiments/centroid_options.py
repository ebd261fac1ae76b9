"""What can be set for centroids of a run, with its help; defaults stand at the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_WHICH, _PICTURE, _FILES = "Which centroids", "Picture", "Arrays and single images"

Samples = Annotated[
    str | None,
    typer.Option(
        help="Images by number: 0,3,7 or 0-31.", show_default="the first that fill the grid", rich_help_panel=_WHICH
    ),
]
DataPart = Annotated[
    str, typer.Option("--set", metavar="train|test", help="Images of which set.", rich_help_panel=_WHICH)
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="EPOCH|EVENT,...",
        help="One or several checkpoints, with commas between: epochs, memorised, final or latest.",
        show_default="memorised,final where there are both, else latest",
        rich_help_panel=_WHICH,
    ),
]
Component = Annotated[
    str | None,
    typer.Option(
        help="Centroids of a layer: its name in the network.", show_default="whole network", rich_help_panel=_WHICH
    ),
]
Local = Annotated[
    bool, typer.Option("--local", help="Mean centroids under Gaussian noise on the image.", rich_help_panel=_WHICH)
]
Spread = Annotated[
    float, typer.Option(help="Noise of --local, in widths of the image's range of values.", rich_help_panel=_WHICH)
]
NoiseSamples = Annotated[
    int, typer.Option(min=1, help="Noisy images that --local averages over.", rich_help_panel=_WHICH)
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the noise of --local.", rich_help_panel=_WHICH)]

Picture = Annotated[bool, typer.Option("--picture/--no-picture", help="Draw the grids.", rich_help_panel=_PICTURE)]
Grid = Annotated[
    str | None,
    typer.Option(
        metavar="ROWSxCOLUMNS",
        help="Shape of the grids.",
        show_default="4x8, or fits samples",
        rich_help_panel=_PICTURE,
    ),
]
Scale = Annotated[
    str,
    typer.Option(
        metavar="panel|shared|image",
        help="Colour scale: of each checkpoint, of all, of each image.",
        rich_help_panel=_PICTURE,
    ),
]
PaperTheme = Annotated[str, typer.Option(metavar="light|dark", help="Paper of the picture.", rich_help_panel=_PICTURE)]
Out = Annotated[
    Path | None,
    typer.Option(help="Picture: .png, .pdf or .svg.", show_default="RUN/centroids.png", rich_help_panel=_PICTURE),
]

Each = Annotated[
    Path | None,
    typer.Option(help="Folder for each image alone, as .png and .npy.", show_default="none", rich_help_panel=_FILES),
]
ArrayFile = Annotated[
    Path | None,
    typer.Option(
        help="File (.npy) or Zarr array (.zarr) for the centroids of the whole set; several checkpoints get one each.",
        show_default="none",
        rich_help_panel=_FILES,
    ),
]


def grid_shape(text: str) -> tuple[int, int]:
    """Rows and columns of --grid. Raises typer.BadParameter for anything else."""
    rows, _, columns = text.lower().replace("×", "x").partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise typer.BadParameter(f"--grid takes rows and columns, such as 4x8; got {text!r}")
    return int(rows), int(columns)


def sample_numbers(samples: str | None, n: int, grid: tuple[int, int] | None) -> list[int]:
    """The numbers of --samples, of a set of n; by default the first that fill the grid. Raises typer.BadParameter."""
    if samples is None:
        rows, columns = grid or (4, 8)
        return list(range(min(n, rows * columns)))
    indices: list[int] = []
    for entry in samples.split(","):
        first, dash, last = entry.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise typer.BadParameter(f"--samples takes numbers and ranges, such as 0,3,7 or 0-31; got {samples!r}")
        end = int(last) if dash else int(first)
        if end >= n:
            raise typer.BadParameter(f"--samples: there is no image {end}, the set has 0 to {n - 1}")
        indices.extend(range(int(first), end + 1))
    if not indices:
        raise typer.BadParameter(f"--samples names no image: {samples!r}")
    return indices


def fitting_grid(count: int, samples: str | None, grid: tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns for so many images. Raises typer.BadParameter if --grid has no room for them."""
    if grid is None:
        columns = 8 if samples is None else min(8, -(-count // max(1, round((count / 2) ** 0.5))), count)
        return -(-count // columns), columns
    if grid[0] * grid[1] < count:
        raise typer.BadParameter(f"--grid {grid[0]}x{grid[1]} has no room for {count} samples")
    return grid
