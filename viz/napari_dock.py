"""The explorer's dock: checkpoint, colour, slice and view, from top to bottom."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from viz.coloring import COLORINGS, SCALES
from viz.explorer_samples import Samples
from viz.explorer_source import Growth, Moment
from viz.napari_color_bar import ColorBar
from viz.napari_slice_chooser import SliceChooser
from viz.napari_theme import SHEET, label, set_role
from viz.napari_timeline import Timeline
from viz.text import grouped

WIDTH = 372
_PROGRESS_STEPS = 1000
COLORING_NAMES = {
    "norm": "operator norm",
    "radius": "radius",
    "area": "area",
    "alignment": "centroid alignment",
    "class": "predicted class",
    "stage": "layer",
    "pattern": "activation pattern",
}
assert list(COLORING_NAMES) == list(COLORINGS)


class Dock(QWidget):
    """All controls; they say by signals what the user wants, and are told what is shown."""

    stepped = Signal(int)
    played = Signal(bool)
    recolored = Signal(str)
    rescaled = Signal(str)
    resized = Signal(float)
    homed = Signal()
    exported = Signal()

    def __init__(self, title: str, samples: Samples | None, custom: Sequence[str] = ()) -> None:
        super().__init__()
        self.setObjectName("explorer")
        self.setStyleSheet(SHEET)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(14, 12, 14, 12)
        self._column.setSpacing(7)
        self._add_header(title)
        self._add_timeline()
        self._add_colors(custom)
        self.slices: SliceChooser | None = None
        if samples is not None:
            self._add_heading("SLICE")
            self.slices = SliceChooser(samples)
            self._column.addWidget(self.slices)
        self._add_view()
        self._column.addStretch(1)

    def show_moments(self, moments: Sequence[Moment], index: int) -> None:
        """Show which checkpoints there are and which one is asked for."""
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(len(moments) - 1, 0))
        self.slider.setValue(index)
        self.slider.blockSignals(False)
        several = len(moments) > 1
        for widget in (self.slider, self.play, self.back, self.forward, self.timeline):
            widget.setVisible(several or not moments)
            widget.setEnabled(several)
        self.timeline.show_moments(moments, index)
        self.moment.setText(moments[index].title if moments else "waiting for the first checkpoint")
        self.moment.setVisible(bool(self.moment.text()))

    def show_state(self, n_regions: int, complete: bool, busy: bool, provisional: bool = False) -> None:
        """Show how many regions there are, whether more is on its way, and whether the colours are only for now."""
        text = f"{grouped(n_regions)} region{'' if n_regions == 1 else 's'}" + (
            "" if complete else " (in part: zoom in for all)"
        )
        self._state = "coloured by area, working …" if provisional else "working …" if busy else ""
        self._count = text
        self._say()

    def show_progress(self, progress: tuple[str, float] | None) -> None:
        """Show what is being worked out, and the share of it that is done."""
        self.progress.setVisible(progress is not None)
        if progress is not None:
            name, share = progress
            self.progress.setValue(round(_PROGRESS_STEPS * share))
            self._say(f"{COLORING_NAMES.get(name, name)} {share:.0%}")

    def show_busy(self) -> None:
        """Say that regions are being enumerated."""
        self._state = "working …"
        self.progress.setVisible(False)
        self._say()

    def show_stopped(self) -> None:
        """Say no longer that anything is being worked out."""
        self._state = ""
        self.progress.setVisible(False)
        self._say()

    def _say(self, instead: str = "") -> None:
        state = self._state.replace("working …", instead or "working …")
        self.about.setText("  ·  ".join(text for text in (self._count, state) if text))

    def show_growth(self, growth: Growth) -> None:
        """Show what becomes of the training that is followed."""
        self.growth.setText(growth.text)
        self.growth.setVisible(bool(growth.text))
        set_role(self.growth, "problem" if growth.failed else "caption")

    def show_problem(self, text: str) -> None:
        """Show one line about what went wrong; an empty one hides it."""
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    def show_coloring(self, name: str) -> None:
        """Show by what the regions are coloured."""
        self.coloring.blockSignals(True)
        self.coloring.setCurrentIndex(self.coloring.findData(name))
        self.coloring.blockSignals(False)

    def show_half_width(self, half_width: float) -> None:
        """Show the size of the slice's whole window."""
        self.half_width.blockSignals(True)
        self.half_width.setValue(half_width)
        self.half_width.setSingleStep(max(half_width / 10, 1e-4))
        self.half_width.blockSignals(False)

    def _add_header(self, title: str) -> None:
        self._column.addWidget(label(title, "title"))
        self.moment = label()
        self.about = label("", "caption")
        self._count, self._state = "", ""
        self.progress = QProgressBar()
        self.progress.setRange(0, _PROGRESS_STEPS)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(3)
        self.progress.setVisible(False)
        self.growth, self.problem = label("", "caption"), label("", "problem")
        for line in (self.growth, self.problem):
            line.setWordWrap(True)
            line.setVisible(False)
        for widget in (self.moment, self.about, self.progress, self.growth, self.problem):
            self._column.addWidget(widget)

    def _add_timeline(self) -> None:
        self.timeline = Timeline()
        self.timeline.chosen.connect(self.stepped)
        self._column.addWidget(self.timeline)
        row = QHBoxLayout()
        self.back, self.forward = QPushButton("‹"), QPushButton("›")
        self.play = QPushButton("Play")
        self.play.setCheckable(True)
        self.play.toggled.connect(self._toggle_play)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.valueChanged.connect(self.stepped)
        self.back.clicked.connect(lambda: self.slider.setValue(self.slider.value() - 1))
        self.forward.clicked.connect(lambda: self.slider.setValue(self.slider.value() + 1))
        for button in (self.back, self.forward):
            button.setFixedWidth(28)
        self.play.setFixedWidth(64)
        for widget in (self.play, self.back, self.slider, self.forward):
            row.addWidget(widget)
        self._column.addLayout(row)

    def _toggle_play(self, playing: bool) -> None:
        self.play.setText("Pause" if playing else "Play")
        self.played.emit(playing)

    def _add_colors(self, custom: Sequence[str]) -> None:
        self._add_heading("COLOUR")
        row = QHBoxLayout()
        self.coloring, self.scale = QComboBox(), QComboBox()
        for name, text in COLORING_NAMES.items():
            self.coloring.addItem(text, name)
        for name in custom:
            self.coloring.addItem(name, name)
        self.scale.addItems([f"{scale} scale" for scale in SCALES])
        self.coloring.currentIndexChanged.connect(lambda: self.recolored.emit(self.coloring.currentData()))
        self.scale.currentIndexChanged.connect(lambda index: self.rescaled.emit(SCALES[index]))
        row.addWidget(self.coloring, 3)
        row.addWidget(self.scale, 2)
        self._column.addLayout(row)
        self.color_bar = ColorBar()
        self._column.addWidget(self.color_bar)
        self.hold = QCheckBox("keep this scale at other checkpoints")
        self._column.addWidget(self.hold)

    def _add_view(self) -> None:
        self._add_heading("VIEW")
        row = QHBoxLayout()
        self.half_width = QDoubleSpinBox()
        self.half_width.setRange(1e-6, 1e6)
        self.half_width.setDecimals(3)
        self.half_width.setKeyboardTracking(False)
        self.half_width.valueChanged.connect(self.resized)
        home, export = QPushButton("Whole slice"), QPushButton("Export …")
        home.clicked.connect(self.homed)
        export.clicked.connect(self.exported)
        row.addWidget(label("half-width"))
        row.addWidget(self.half_width, 1)
        row.addWidget(home)
        row.addWidget(export)
        self._column.addLayout(row)
        self.refine = QCheckBox("enumerate anew when zooming")
        self.refine.setChecked(True)
        self._column.addWidget(self.refine)

    def _add_heading(self, text: str) -> None:
        rule = QFrame()
        rule.setProperty("role", "rule")
        rule.setFixedHeight(1)
        self._column.addSpacing(3)
        self._column.addWidget(rule)
        self._column.addWidget(label(text, "heading"))


def scrolling(dock: Dock) -> QScrollArea:
    """The dock in a frame that scrolls where the window is low."""
    area = QScrollArea()
    area.setObjectName("explorer_scroll")
    area.setStyleSheet(SHEET)
    area.setWidget(dock)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setMinimumWidth(WIDTH + area.verticalScrollBar().sizeHint().width())
    return area
