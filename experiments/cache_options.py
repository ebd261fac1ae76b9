"""What can be set for the partitions kept on disk, with its help; defaults stand at the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_CACHE = "Partitions kept on disk"

Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder where partitions are kept, for this command and the others that show a run.",
        show_default="RUN/migration",
        rich_help_panel=_CACHE,
    ),
]
CacheGigabytes = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="Size of that folder at most; those not used for longest go first. 0 keeps nothing.",
        rich_help_panel=_CACHE,
    ),
]
