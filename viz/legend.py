"""The legend of a figure: what its marks mean, in as many centred rows as its width asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple

from viz.text import text_width

_SIZE = 7.0
# In units of the font size: the marks before a text, and the space between two entries.
_HANDLE_PAD = 0.6
_SPACING = 1.8
# Screen fonts are hinted to whole pixels: a line may turn out this much wider than its outline.
_HINTING = 1.06


@dataclass(frozen=True, eq=False)
class LegendEntry:
    """One or several marks side by side, and what they mean."""

    marks: tuple[Artist, ...]
    text: str
    length: float = 3.0
    """Room for the marks, in units of the font size."""

    @property
    def width(self) -> float:
        """Inches that the entry takes, with the space to the next."""
        return _HINTING * text_width(self.text, _SIZE) + (self.length + _HANDLE_PAD + _SPACING) * _SIZE / 72.0


def legend_rows(entries: Sequence[LegendEntry], width: float) -> list[list[LegendEntry]]:
    """The entries in rows that fit into `width` inches, as few as in the order given."""
    rows: list[list[LegendEntry]] = []
    filled = 0.0
    for entry in entries:
        if rows and filled + entry.width <= width:
            rows[-1].append(entry)
            filled += entry.width
        else:
            rows.append([entry])
            filled = entry.width
    return rows


def draw_legend(ax: Axes, rows: Sequence[Sequence[LegendEntry]]) -> None:
    """Fill an Axes with the rows of a legend, from the top."""
    ax.axis("off")
    across = ax.get_window_extent().width / ax.figure.dpi
    for index, row in enumerate(rows):
        widths = np.array([entry.width for entry in row])
        gap = _SPACING * _SIZE / 72.0
        lefts = 0.5 * (across - widths.sum() + gap) + np.cumsum(widths) - widths
        # A legend of its own for each entry: within one, all marks would take the same room.
        for entry, left in zip(row, lefts.tolist(), strict=True):
            legend = Legend(
                ax,
                [entry.marks],
                [entry.text],
                handler_map={tuple: HandlerTuple(ndivide=None, pad=0.9)},
                loc="center left",
                bbox_to_anchor=(left / across, 1 - (index + 0.5) / len(rows)),
                fontsize=_SIZE,
                frameon=False,
                handlelength=entry.length,
                handletextpad=_HANDLE_PAD,
                borderpad=0.0,
                borderaxespad=0.0,
            )
            ax.add_artist(legend)
