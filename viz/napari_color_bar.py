"""The colour bar of the dock: a gradient with round ticks, or the names of categories."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from viz.coloring import Coloring
from viz.napari_theme import FAINT, INK, LINE

_BAR_HEIGHT = 12
_ENTRY_HEIGHT = 18
_COLUMNS = 5
_LEAST_GAP = 6
_MOST_DIGITS = 15


class ColorBar(QWidget):
    """Shows the scale of a coloring."""

    def __init__(self) -> None:
        super().__init__()
        self._coloring: Coloring | None = None
        self._norm = Normalize(0, 1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(2 * _ENTRY_HEIGHT)

    def show_coloring(self, coloring: Coloring, norm: Normalize) -> None:
        """Show another coloring."""
        self._coloring, self._norm = coloring, norm
        self.update()

    def ticks(self) -> list[tuple[float, str]]:
        """Places from 0 to 1 along the bar, and what is written there."""
        norm = self._norm
        if norm.vmin is None or norm.vmax is None or not np.isfinite([norm.vmin, norm.vmax]).all():
            return []
        if not norm.vmax > norm.vmin:
            return [(0.0, _written([norm.vmin], 4)[0])]
        if isinstance(norm, LogNorm):
            found = np.asarray(LogLocator(subs=(1.0,)).tick_values(norm.vmin, norm.vmax))
            if np.count_nonzero((found >= norm.vmin) & (found <= norm.vmax)) < 2:
                found = np.asarray(LogLocator(subs=(1.0, 2.0, 5.0)).tick_values(norm.vmin, norm.vmax))
        else:
            found = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(norm.vmin, norm.vmax))
        inside = found[(found >= norm.vmin) & (found <= norm.vmax)]
        return [(float(norm(value)), text) for value, text in zip(inside, _written(inside.tolist()), strict=True)]

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Draw the bar, or the categories."""
        if self._coloring is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        if self._coloring.categories:
            self._paint_categories(painter)
        elif self._coloring.values is not None:
            self._paint_gradient(painter)
        else:
            painter.setPen(QColor(FAINT))
            text = "one colour for each pattern, the same at every checkpoint"
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
        painter.end()

    def _paint_gradient(self, painter: QPainter) -> None:
        assert self._coloring is not None
        width = self.width()
        colors = (255 * self._coloring.cmap(np.linspace(0, 1, width))).astype(int).tolist()
        for column, color in enumerate(colors):
            painter.fillRect(QRectF(column, 0, 1.5, _BAR_HEIGHT), QColor(*color[:3]))
        painter.setPen(QColor(LINE))
        painter.drawRect(QRectF(0.5, 0.5, width - 1, _BAR_HEIGHT - 1))
        metrics = painter.fontMetrics()
        end = -float(_LEAST_GAP)
        for place, text in self.ticks():
            x, half = place * (width - 1), 0.5 * metrics.horizontalAdvance(text)
            left = min(max(x - half, 0.0), width - 2 * half)
            if left < end + _LEAST_GAP:
                continue
            painter.setPen(QColor(FAINT))
            painter.drawLine(round(x), _BAR_HEIGHT, round(x), _BAR_HEIGHT + 3)
            painter.setPen(QColor(INK))
            painter.drawText(round(left), _BAR_HEIGHT + 5 + metrics.ascent(), text)
            end = left + 2 * half

    def _paint_categories(self, painter: QPainter) -> None:
        assert self._coloring is not None
        column = self.width() / min(_COLUMNS, max(len(self._coloring.categories), 1))
        for index, (name, color) in enumerate(self._coloring.categories[: 2 * _COLUMNS]):
            x, y = (index % _COLUMNS) * column, (index // _COLUMNS) * _ENTRY_HEIGHT
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor.fromRgbF(*color[:3]))
            painter.drawRoundedRect(QRectF(x, y + 3, 12, 12), 3, 3)
            painter.setPen(QColor(INK))
            painter.drawText(round(x + 18), round(y + 13), name)


def _written(values: Sequence[float], digits: int = 6) -> list[str]:
    """Numbers with as many digits as tell them apart."""
    texts = [f"{value:.{digits}g}".replace("-", "−") for value in values]
    return texts if len(set(texts)) == len(texts) or digits >= _MOST_DIGITS else _written(values, digits + 1)
