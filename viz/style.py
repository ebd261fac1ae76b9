"""The project's look, light and dark, as a context manager: no setting of matplotlib outlives it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from cycler import cycler

from viz.errors import DrawingError


@dataclass(frozen=True)
class Theme:
    """Colours of a figure: its paper, its ink, fainter ink for what is secondary, and colours for categories."""

    paper: str
    ink: str
    faint: str
    categories: tuple[str, ...]


# The categories differ for all common forms of colour blindness (after M. Okabe and K. Ito, 2008).
LIGHT = Theme("#ffffff", "#1b1c24", "#666a76", ("#0072b2", "#d55e00", "#009e73", "#a0489a", "#b98600", "#56b4e9"))
DARK = Theme("#14151c", "#eceef4", "#a0a5b4", ("#56b4e9", "#f28b4b", "#2fc79a", "#d98fd3", "#f0c94a", "#5b8def"))
THEMES = {"light": LIGHT, "dark": DARK}


@contextmanager
def style(theme: str | Theme = "light") -> Iterator[None]:
    """The project's style for what is drawn inside the `with` block: "light", "dark" or a `Theme` of your own.

    Everything in this package takes its colours from matplotlib's settings, so that any other style sheet works too.
    Raises `DrawingError` for an unknown theme.
    """
    if isinstance(theme, str):
        if theme not in THEMES:
            raise DrawingError(f"there is no theme {theme!r}: choose one of {', '.join(THEMES)}")
        theme = THEMES[theme]
    with mpl.rc_context(_settings(theme)):
        yield


def _settings(theme: Theme) -> dict[Any, Any]:
    return {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "mathtext.fontset": "dejavusans",
        "font.size": 7.5,
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.labelsize": 7.5,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "figure.facecolor": theme.paper,
        "figure.edgecolor": theme.paper,
        "figure.dpi": 150,
        "savefig.dpi": 300,
        "savefig.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.linewidth": 0.6,
        "axes.prop_cycle": cycler(color=theme.categories),
        "text.color": theme.ink,
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "lines.linewidth": 1.2,
        "patch.linewidth": 0.6,
        "image.interpolation": "nearest",
        "pdf.fonttype": 42,
        "svg.hashsalt": "splinegeo",
    }
