"""The look of the explorer's widgets: they take napari's dark theme and add headings, captions and accents."""

from qtpy.QtWidgets import QLabel, QWidget

from viz.marks import CENTROID_COLOR
from viz.style import DARK

ACCENT = CENTROID_COLOR
INK, FAINT, PAPER = DARK.ink, DARK.faint, DARK.paper
CURVES = DARK.categories
CARD = "#1d1f28"
LINE = "#343743"

SHEET = f"""
QWidget#explorer {{ background: {PAPER}; }}
QWidget#explorer > QWidget, QWidget#explorer QStackedWidget, QWidget#explorer QStackedWidget > QWidget {{
  background: transparent;
}}
QWidget#explorer QLabel {{ color: {INK}; background: transparent; font-size: 12px; }}
QWidget#explorer QLabel[role="title"] {{ font-size: 17px; font-weight: 600; }}
QWidget#explorer QLabel[role="heading"] {{ color: {FAINT}; font-size: 10px; font-weight: 700; letter-spacing: 1px; }}
QWidget#explorer QLabel[role="caption"] {{ color: {FAINT}; font-size: 11px; }}
QWidget#explorer QLabel[role="problem"] {{ color: #ffb4a2; font-size: 12px; }}
QWidget#explorer QComboBox, QWidget#explorer QDoubleSpinBox, QWidget#explorer QSpinBox {{
  background: {CARD}; color: {INK}; border: 1px solid {LINE}; border-radius: 4px; padding: 3px 6px; min-height: 20px;
}}
QWidget#explorer QPushButton {{
  background: {CARD}; color: {INK}; border: 1px solid {LINE}; border-radius: 4px; padding: 4px 9px;
}}
QWidget#explorer QPushButton:hover {{ border-color: {ACCENT}; }}
QWidget#explorer QPushButton:checked {{ background: {ACCENT}; color: {PAPER}; border-color: {ACCENT}; }}
QWidget#explorer QPushButton:disabled {{ color: #5b5f6c; }}
QWidget#explorer QCheckBox {{ color: {INK}; spacing: 6px; background: transparent; }}
QWidget#explorer QComboBox:disabled, QWidget#explorer QCheckBox:disabled {{ color: #5b5f6c; }}
QWidget#explorer QListWidget {{ background: {CARD}; border: 1px solid {LINE}; border-radius: 4px; }}
QWidget#explorer QListWidget::item {{ padding: 1px; border: 2px solid transparent; }}
QWidget#explorer QListWidget::item:selected {{ background: {PAPER}; border: 2px solid {ACCENT}; }}
QWidget#explorer QSlider::groove:horizontal {{ height: 4px; background: {LINE}; border-radius: 2px; }}
QWidget#explorer QSlider::sub-page:horizontal {{ background: {ACCENT}; border-radius: 2px; }}
QWidget#explorer QSlider::handle:horizontal {{
  background: {INK}; width: 12px; height: 12px; margin: -4px 0; border-radius: 6px;
}}
QWidget#explorer QProgressBar {{ background: {LINE}; border: none; border-radius: 1px; }}
QWidget#explorer QProgressBar::chunk {{ background: {ACCENT}; border-radius: 1px; }}
QWidget#explorer QFrame[role="rule"] {{ background: {LINE}; max-height: 1px; border: none; }}
QScrollArea#explorer_scroll {{ background: {PAPER}; border: none; }}
"""


def label(text: str = "", role: str = "", parent: QWidget | None = None) -> QLabel:
    """A label in one of the roles that the style sheet knows: title, heading, caption, problem, or none."""
    made = QLabel(text, parent)
    made.setProperty("role", role)
    return made


def set_role(shown: QLabel, role: str) -> None:
    """Give a label another role."""
    if shown.property("role") != role:
        shown.setProperty("role", role)
        style = shown.style()
        style.unpolish(shown)
        style.polish(shown)
