"""What can be set for a slice through training points, with its help; defaults stand at the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.usage import refuse_without_effect

_SLICE = "Slice"

Points = Annotated[
    str,
    typer.Option(
        help="Three training points, by number, that the slice goes through; or random.", rich_help_panel=_SLICE
    ),
]
HalfWidth = Annotated[
    float | None,
    typer.Option(
        help="Half-width of the square about the points' mean.", show_default="fits points", rich_help_panel=_SLICE
    ),
]
PointsSeed = Annotated[int, typer.Option(min=0, help="Seed of --points random.", rich_help_panel=_SLICE)]


def check_points_seed(context: typer.Context, points: str) -> None:
    """Refuse --seed of points that are not drawn at random. Raises typer.BadParameter."""
    if points != "random":
        refuse_without_effect(context, ["seed"], f"with --points {points}: add --points random")
