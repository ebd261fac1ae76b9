"""The command line: one program `splinegeo`, its commands in files of their own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import typer

from experiments.command_centroids import centroids
from experiments.command_explore import explore
from experiments.command_export_html import export_html
from experiments.command_figure import figures
from experiments.command_figure_curves import figure_3, figure_4, figure_10
from experiments.command_figure_images import figure_5, figure_6, figure_11
from experiments.command_figure_modular import figure_8, figure_9, norm_minimisation
from experiments.command_migrate import migrate
from experiments.command_regions import regions
from experiments.command_robustness import robustness
from experiments.command_table import tables
from experiments.command_train import train
from experiments.usage import CommandGroup, UsageError, usage_line

_STOPPED = 130

app = typer.Typer(
    name="splinegeo",
    cls=CommandGroup,
    help="Spline geometry of deep networks: train with GrokAlign, enumerate linear regions exactly, draw them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # else the lines of docstrings are kept as they are, and break twice
)
app.command("train")(train)
app.command("regions")(regions)
app.command("centroids")(centroids)
app.command("migrate")(migrate)
app.command("export-html")(export_html)
app.command("robustness")(robustness)
app.command("explore")(explore)
figures.command("3")(figure_3)
figures.command("4")(figure_4)
figures.command("5")(figure_5)
figures.command("6")(figure_6)
figures.command("8")(figure_8)
figures.command("9")(figure_9)
figures.command("10")(figure_10)
figures.command("11")(figure_11)
app.command("norm-minimisation")(norm_minimisation)
app.add_typer(figures, name="figure")
app.add_typer(tables, name="table")


def main(report: Callable[[str], object] = lambda message: None) -> None:
    """Run the command line: exit code 0, 1 for an error, 2 for wrong usage, 130 when stopped by Ctrl-C.

    `report` is called with the message of an error.
    """
    # Threads that spin while they wait slow down whatever else runs on the machine, and then each other: it must be set
    # before torch is loaded, which is also why the commands import what they need only when they run.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(prog_name="splinegeo", standalone_mode=False) or 0
    except Exception as error:
        message, code = _explain(error)
        if message is None:
            raise
        if message:
            report(message)
            print(f"splinegeo: {message}", file=sys.stderr)
    if code == _STOPPED:
        # What had to be saved is: a second Ctrl-C, while Python shuts down, is to end it without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


def _explain(error: Exception) -> tuple[str | None, int]:
    """One line for an error that is not a bug, and its exit code; nothing where the help has been printed."""
    if isinstance(error, UsageError):
        return "" if type(error).__name__ == "NoArgsIsHelpError" else usage_line(error), 2
    if isinstance(error, typer.Abort):
        return "", _STOPPED
    from experiments.errors import ExperimentError, SettingsError

    # Imported here it would bring torch along; and where it is not imported, it has not raised the error.
    errors = sys.modules.get("splinegeo.errors")
    if isinstance(error, ExperimentError) or (errors is not None and isinstance(error, errors.SplineGeoError)):
        return " ".join(str(error).split()), 2 if isinstance(error, SettingsError) else 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 1
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.strerror}", 1
    return None, 1
