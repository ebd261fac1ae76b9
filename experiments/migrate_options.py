"""What can be set for a migration, with its help; defaults stand at the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SLICE, _CHECKPOINTS, _PICTURES, _WORK = "Slice", "Checkpoints", "Pictures", "Work"

Window = Annotated[
    float | None,
    typer.Option(
        help="Half-width of the squares about each point that are shown enlarged; 0 shows none.",
        show_default="fits points",
        rich_help_panel=_SLICE,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        min=2, help="Take so many of the checkpoints, evenly.", show_default="all", rich_help_panel=_CHECKPOINTS
    ),
]
Color = Annotated[
    str,
    typer.Option(
        metavar="norm|pattern",
        help="Colour regions by their norm, or by activation pattern.",
        rich_help_panel=_PICTURES,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Video: .mp4, .webm or .gif.",
        show_default="RUN/migration.mp4, or .gif without ffmpeg",
        rich_help_panel=_PICTURES,
    ),
]
Strip = Annotated[
    Path | None,
    typer.Option(
        help="Strip of stills: .png, .pdf or .svg.",
        show_default="RUN/migration_strip.png",
        rich_help_panel=_PICTURES,
    ),
]
StillEpochs = Annotated[
    str | None,
    typer.Option(
        metavar="EPOCH|EVENT,...",
        help="Checkpoints of the strip, with commas between: epochs, memorised, final or latest.",
        show_default="four, evenly",
        rich_help_panel=_PICTURES,
    ),
]
FramesPerSecond = Annotated[
    float,
    typer.Option("--fps", min=0.1, max=60.0, help="Checkpoints shown each second.", rich_help_panel=_PICTURES),
]
Width = Annotated[int, typer.Option(min=640, max=3840, help="Width of the video in pixels.", rich_help_panel=_PICTURES)]
PaperTheme = Annotated[
    str, typer.Option(metavar="light|dark", help="Paper of the pictures.", rich_help_panel=_PICTURES)
]

Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processes that enumerate and draw.", show_default="one a processor", rich_help_panel=_WORK
    ),
]
