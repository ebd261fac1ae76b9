"""Writing that fits: lines broken by their measured width, and numbers in words a reader takes in."""

import re

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Break a text at spaces into lines of at most `width` inches at this font size; a longer word stays whole.

    So do a number with thin spaces and a number with its per cent sign.
    """
    lines: list[str] = []
    for word in re.split(r"[ \n]+(?!%)", text.strip()) if text.strip() else []:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def text_width(text: str, size: float) -> float:
    """Width in inches of a line in matplotlib's current font."""
    return float(TextPath((0, 0), text, size=size, prop=FontProperties()).get_extents().width) / 72.0


def rounded(value: float) -> str:
    """A value to three digits, larger ones to the unit, with thin spaces between thousands."""
    return grouped(round(value)) if abs(value) >= 999.5 else f"{value:.3g}"


def grouped(count: int) -> str:
    """A count with thin spaces between groups of three digits."""
    return f"{count:,}".replace(",", "\u2009")


def percent(share: float, digits: int = 1) -> str:
    """A share in per cent, with a thin space before the sign."""
    return f"{100 * share:.{digits}f}\u2009%"
