"""The part of the dock that chooses a slice: three samples from thumbnails, a random plane, or two classes."""

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QListView,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from splinegeo.errors import SplineGeoError
from viz.errors import DrawingError
from viz.explorer_samples import Samples
from viz.explorer_slices import SliceChoice, between_classes, random_slice, through_samples
from viz.images import image_array
from viz.napari_pixmap import pixmap
from viz.napari_theme import label

KINDS = ("through three samples", "between two classes", "random plane")
_THUMBNAIL = 38
# Thumbnails of more samples than this are of no use, and slow.
_MOST_THUMBNAILS = 2000
# The style sheet's borders are not in Qt's size hints.
_ROOM = 6


class SliceChooser(QWidget):
    """Emits `chosen` with a `SliceChoice`, or `failed` with one line."""

    chosen = Signal(object)
    failed = Signal(str)

    def __init__(self, samples: Samples) -> None:
        super().__init__()
        self.samples = samples
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.kind = QComboBox()
        self.kind.addItems([kind for kind in KINDS if samples.classes is not None or "classes" not in kind])
        column.addWidget(self.kind)
        self.pages = QStackedWidget()
        column.addWidget(self.pages)
        pages = {KINDS[0]: self._thumbnail_page, KINDS[1]: self._class_page, KINDS[2]: self._random_page}
        for index in range(self.kind.count()):
            self.pages.addWidget(pages[self.kind.itemText(index)]())
        self.kind.currentIndexChanged.connect(self._turn_page)
        self._turn_page(0)

    def choose(self) -> None:
        """Cut the slice that the widgets say."""
        try:
            self.chosen.emit(self._choice())
        except SplineGeoError as error:
            self.failed.emit(str(error))

    def _choice(self) -> SliceChoice:
        kind = self.kind.currentText()
        if kind == KINDS[0]:
            return through_samples(self.samples, [self.thumbnails.row(item) for item in self.picked])
        if kind == KINDS[1]:
            return between_classes(self.samples, self.first.currentData(), self.second.currentData())
        return random_slice(self.samples, self.seed.value())

    def _turn_page(self, index: int) -> None:
        self.pages.setCurrentIndex(index)
        page = self.pages.widget(index)
        if page is not None:
            self.pages.setFixedHeight(page.sizeHint().height() + _ROOM)

    def _thumbnail_page(self) -> QWidget:
        page, column = _page()
        self.thumbnails = QListWidget()
        self.thumbnails.setViewMode(QListView.ViewMode.IconMode)
        self.thumbnails.setResizeMode(QListView.ResizeMode.Adjust)
        self.thumbnails.setMovement(QListView.Movement.Static)
        self.thumbnails.setUniformItemSizes(True)
        self.thumbnails.setSelectionMode(QAbstractItemView.SelectionMode.MultiSelection)
        self.thumbnails.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        self.thumbnails.setGridSize(QSize(_THUMBNAIL + 8, _THUMBNAIL + 8))
        self.thumbnails.setFixedHeight(4 * (_THUMBNAIL + 8) + 8)
        self._add_thumbnails()
        self.picked: list[QListWidgetItem] = []
        for number in range(min(3, self.thumbnails.count())):
            self.thumbnails.item(number).setSelected(True)
            self.picked.append(self.thumbnails.item(number))
        self.thumbnails.itemSelectionChanged.connect(self._pick)
        column.addWidget(self.thumbnails)
        row = QHBoxLayout()
        self.picked_text = label("", "caption")
        self.cut_samples = QPushButton("Cut")
        self.cut_samples.clicked.connect(self.choose)
        row.addWidget(self.picked_text)
        row.addStretch(1)
        row.addWidget(self.cut_samples)
        column.addLayout(row)
        self._pick()
        return page

    def _add_thumbnails(self) -> None:
        shown = self.samples.x[:_MOST_THUMBNAILS]
        try:
            pictures = np.rint(255 * image_array(shown)).astype(np.uint8)
        except DrawingError:
            for index in range(len(shown)):
                item = QListWidgetItem(str(index))
                item.setToolTip(self.samples.name(index))
                self.thumbnails.addItem(item)
            return
        if pictures.ndim == 3:
            pictures = np.repeat(pictures[..., None], 3, axis=3)
        for index, picture in enumerate(pictures):
            thumbnail = pixmap(picture, _THUMBNAIL)
            icon = QIcon(thumbnail)
            icon.addPixmap(thumbnail, QIcon.Mode.Selected)  # else Qt tints it
            item = QListWidgetItem(icon, "")
            item.setToolTip(self.samples.name(index))
            self.thumbnails.addItem(item)

    def _pick(self) -> None:
        """Keep the three samples that were picked last."""
        selected = self.thumbnails.selectedItems()
        self.picked = [item for item in self.picked if item in selected]
        self.picked += [item for item in selected if item not in self.picked]
        while len(self.picked) > 3:
            dropped = self.picked.pop(0)
            self.thumbnails.blockSignals(True)
            dropped.setSelected(False)
            self.thumbnails.blockSignals(False)
        numbers = [str(self.thumbnails.row(item)) for item in self.picked]
        lacking = 3 - len(numbers)
        more = f" · pick {lacking} more" if lacking else ""
        self.picked_text.setText(f"{self.samples.several} {', '.join(numbers)}{more}")
        if hasattr(self, "cut_samples"):
            self.cut_samples.setEnabled(lacking == 0)

    def _class_page(self) -> QWidget:
        page, column = _page()
        row = QHBoxLayout()
        self.first, self.second = QComboBox(), QComboBox()
        assert self.samples.classes is not None
        for number in np.unique(self.samples.classes).tolist():
            for box in (self.first, self.second):
                box.addItem(str(number), number)
        self.second.setCurrentIndex(min(1, self.second.count() - 1))
        cut = QPushButton("Cut")
        cut.clicked.connect(self.choose)
        for widget in (label("from class"), self.first, label("to"), self.second):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(cut)
        column.addLayout(row)
        return page

    def _random_page(self) -> QWidget:
        page, column = _page()
        row = QHBoxLayout()
        self.seed = QSpinBox()
        self.seed.setRange(0, 999_999)
        another = QPushButton("Another")
        another.clicked.connect(lambda: self.seed.setValue(self.seed.value() + 1))
        another.clicked.connect(self.choose)
        cut = QPushButton("Cut")
        cut.clicked.connect(self.choose)
        for widget in (label("seed"), self.seed):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(another)
        row.addWidget(cut)
        column.addLayout(row)
        return page


def _page() -> tuple[QWidget, QVBoxLayout]:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(6)
    column.setAlignment(Qt.AlignmentFlag.AlignTop)
    return page, column
