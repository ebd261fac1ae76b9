"""Curves along training: panels side by side, with one legend, and a band where several runs make one curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from viz.errors import DrawingError
from viz.ordered_colors import ordered_colors
from viz.text import rounded, text_width, wrapped

_PANEL_WIDTH, _PANEL_HEIGHT = 2.5, 2.0
_GAP, _EDGE = 0.14, 0.12
_LEGEND_ROW = 0.15
# In units of the font size.
_HANDLE = 2.6
# Of a longer order the legend names so many curves: the colours of the others lie between theirs.
_MOST_NAMED = 12
_BOTTOM, _TITLE, _LEGEND, _NOTE_LINE = 0.42, 0.28, 0.26, 0.15
# On a screen, hinted letters run up to a twentieth wider than their outlines.
_HINTING = 0.94
# The axis goes on behind the last step, so that half a line's width is not cut off there.
_BEHIND = 1.08
_LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))


@dataclass(frozen=True)
class Curve:
    """One quantity along training: `steps` (n,), and `values` (n,) of one run or (runs, n) of several."""

    label: str
    steps: Float[np.ndarray, " n"]
    values: Float[np.ndarray, "*runs n"]


@dataclass(frozen=True)
class CurvePanel:
    """Curves on one pair of axes; `log` for a logarithmic vertical axis."""

    title: str
    value_label: str
    curves: Sequence[Curve]
    log: bool = False
    along: str = ""
    """What a linear horizontal axis shows; without it, the figure's steps on a logarithmic one."""
    ordered: bool = False
    """The curves stand in the order of a quantity: colours from dark to light tell them apart, and no dash patterns."""


def curves_figure(panels: Sequence[CurvePanel], step_label: str = "epoch", note: str = "") -> Figure:
    """Draw panels side by side over a logarithmic axis of steps, with one legend above and a note beneath.

    Curves of one label have one colour and one dash pattern in all panels; curves of ordered panels, and they alone,
    have ordered colours. Several runs are drawn as their mean with a
    band from the smallest to the largest.
    Raises `DrawingError` without panels, without curves, or for steps and values that do not fit or are not finite.
    """
    if not panels:
        raise DrawingError("the figure needs at least one panel")
    for panel in panels:
        _check(panel)
    looks = _looks(panels)
    figure = Figure(figsize=(_PANEL_WIDTH, _PANEL_HEIGHT))
    handles = {}
    for panel in panels:
        ax = figure.add_axes((0, 0, 1, 1))
        for curve in panel.curves:
            handles[curve.label] = _draw(ax, curve, looks[curve.label])
        _dress(ax, panel, step_label)
    lefts, width = _lay_out(figure)
    lines = wrapped(note, _HINTING * (width - 2 * _EDGE), _note_size())
    base = _BOTTOM + _NOTE_LINE * len(lines) + (0.06 if lines else 0.0)
    named = _named(panels, handles)
    columns = _legend_columns(named, width - 2 * _EDGE)
    n_rows = -(-len(named) // columns)
    height = base + _PANEL_HEIGHT + _TITLE + _LEGEND + _LEGEND_ROW * (n_rows - 1)
    figure.set_size_inches(width, height)
    for ax, left in zip(figure.axes, lefts, strict=True):
        ax.set_position((left / width, base / height, _PANEL_WIDTH / width, _PANEL_HEIGHT / height))
    # matplotlib fills a legend by its columns, and this one is read by its rows.
    by_columns = [label for column in range(columns) for label in named[column::columns]]
    figure.legend(
        [handles[label] for label in by_columns],
        by_columns,
        loc="upper center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        frameon=False,
        handlelength=_HANDLE,
    )
    for index, line in enumerate(lines):
        y = (0.06 + _NOTE_LINE * (len(lines) - 1 - index)) / height
        figure.text(_EDGE / width, y, line, size=_note_size(), color=mpl.rcParams["xtick.color"])
    return figure


def _named(panels: Sequence[CurvePanel], handles: Mapping[str, Line2D]) -> list[str]:
    """The labels of the legend: all, but of a long order some, with its first and its last."""
    ranked = list(dict.fromkeys(curve.label for panel in panels if panel.ordered for curve in panel.curves))
    if len(ranked) <= _MOST_NAMED:
        return list(handles)
    kept = {ranked[index] for index in np.linspace(0, len(ranked) - 1, _MOST_NAMED).round().astype(int)}
    return [label for label in handles if label in kept or label not in ranked]


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """As many columns as fit into `width` inches: all in one row if they do."""
    size = FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
    beside = (_HANDLE + mpl.rcParams["legend.handletextpad"] + mpl.rcParams["legend.columnspacing"]) * size / 72.0
    widths = [text_width(label, size) / _HINTING + beside for label in labels]
    return len(labels) if sum(widths) <= width else max(1, min(len(labels), int(width // max(widths))))


def _lay_out(figure: Figure) -> tuple[list[float], float]:
    """Left ends of the panels and the width of the figure, in inches, that their ticks and labels have room."""
    lefts, taken = [], _EDGE
    for ax in figure.axes:
        tight = ax.get_tightbbox()
        assert tight is not None
        extent = tight.transformed(figure.dpi_scale_trans.inverted())
        lefts.append(taken - extent.x0)
        taken = lefts[-1] + extent.x1 + _GAP
    return lefts, taken - _GAP + _EDGE


def _note_size() -> float:
    return float(mpl.rcParams["font.size"]) - 0.5


def _looks(panels: Sequence[CurvePanel]) -> dict[str, dict[str, Any]]:
    """Colour and dash pattern of each label."""
    ranked = list(dict.fromkeys(curve.label for panel in panels if panel.ordered for curve in panel.curves))
    labels = dict.fromkeys(curve.label for panel in panels for curve in panel.curves)
    looks: dict[str, dict[str, Any]] = {}
    if ranked:
        looks = {label: {"color": color} for label, color in zip(ranked, ordered_colors(len(ranked)), strict=True)}
    colors = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    for index, label in enumerate(label for label in labels if label not in looks):
        dashes = _LINE_STYLES[index % len(_LINE_STYLES)]
        looks[label] = {"color": colors[index % len(colors)], "linestyle": dashes}
    return looks


def _draw(ax: Axes, curve: Curve, look: Mapping[str, Any]) -> Line2D:
    runs = np.atleast_2d(curve.values)
    if len(runs) > 1:
        low, high = runs.min(axis=0), runs.max(axis=0)
        ax.fill_between(curve.steps, low, high, color=look["color"], alpha=0.2, linewidth=0)
    (line,) = ax.plot(curve.steps, runs.mean(axis=0), **look)
    return line


def _dress(ax: Axes, panel: CurvePanel, step_label: str) -> None:
    steps = np.concatenate([curve.steps for curve in panel.curves])
    if not panel.along:
        # Step 0 belongs to the curve: linear up to the first step, logarithmic from there.
        ax.set_xscale("symlog", linthresh=1, linscale=0.4)
        ax.set_xlim(0, _BEHIND * max(1.0, float(steps.max())))
        ax.xaxis.set_major_formatter(FuncFormatter(_written))
        ax.xaxis.set_minor_locator(NullLocator())
    if panel.log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(_written))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.set_title(panel.title)
    ax.set_xlabel(panel.along or step_label)
    ax.set_ylabel(panel.value_label)
    ax.spines[["top", "right"]].set_visible(False)


def _written(value: float, _: object) -> str:
    return rounded(value)


def _check(panel: CurvePanel) -> None:
    if not panel.curves:
        raise DrawingError(f"panel {panel.title!r} has no curve")
    for curve in panel.curves:
        if curve.steps.ndim != 1 or curve.values.shape[-1:] != curve.steps.shape or not 1 <= curve.values.ndim <= 2:
            raise DrawingError(
                f"curve {curve.label!r} of panel {panel.title!r} has steps {curve.steps.shape} and values "
                f"{curve.values.shape}: give (n,) and (n,) or (runs, n)"
            )
        if curve.values.size == 0 or not (np.isfinite(curve.steps).all() and np.isfinite(curve.values).all()):
            raise DrawingError(f"curve {curve.label!r} of panel {panel.title!r} is empty, or holds NaN or infinity")
        if panel.log and curve.values.min() <= 0:
            raise DrawingError(
                f"curve {curve.label!r} of panel {panel.title!r} is not positive: draw it without a logarithm"
            )
