"""The legend of a figure: what its marks mean, in as many centred rows as its width asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple

from viz.text import text_width

_SIZE = 7.0
# In units of the font size: the marks before a text, and the space between two entries.
_HANDLE = 3.0
_HANDLE_PAD = 0.6
_SPACING = 1.8
# Screen fonts are hinted to whole pixels: a line may turn out this much wider than its outline.
_HINTING = 1.06


@dataclass(frozen=True, eq=False)
class LegendEntry:
    """One or several marks side by side, and what they mean."""

    marks: tuple[Artist, ...]
    text: str


def legend_rows(entries: Sequence[LegendEntry], width: float) -> list[list[LegendEntry]]:
    """The entries in rows that fit into `width` inches, as few as in the order given."""
    rows: list[list[LegendEntry]] = []
    filled = 0.0
    for entry in entries:
        own = _HINTING * text_width(entry.text, _SIZE) + (_HANDLE + _HANDLE_PAD + _SPACING) * _SIZE / 72.0
        if rows and filled + own <= width:
            rows[-1].append(entry)
            filled += own
        else:
            rows.append([entry])
            filled = own
    return rows


def draw_legend(ax: Axes, rows: Sequence[Sequence[LegendEntry]]) -> None:
    """Fill an Axes with the rows of a legend, from the top."""
    ax.axis("off")
    for index, row in enumerate(rows):
        legend = Legend(
            ax,
            [entry.marks for entry in row],
            [entry.text for entry in row],
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0.9)},
            loc="center",
            bbox_to_anchor=(0.5, 1 - (index + 0.5) / len(rows)),
            ncols=len(row),
            fontsize=_SIZE,
            frameon=False,
            handlelength=_HANDLE,
            handletextpad=_HANDLE_PAD,
            columnspacing=_SPACING,
            borderpad=0.0,
            borderaxespad=0.0,
        )
        ax.add_artist(legend)
