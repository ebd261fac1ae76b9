"""Edges, boundary, outline and marks, drawn anew where they no longer suit what the canvas shows."""

from typing import NamedTuple

import numpy as np
from matplotlib.colors import Normalize

from viz.coloring import Coloring
from viz.explorer_frame import BOUNDARY, Frame
from viz.napari_layers import RegionLayers, View

# Lines are built this far around the view, and anew where a pixel changes by more than this factor.
_BESIDE, _REBUILD = 0.25, 1.12


class _Drawn(NamedTuple):
    frame: Frame
    view: View
    with_boundary: bool
    coloring: Coloring
    norm: Normalize


class LinesInView:
    """Keeps the lines of the layers up to date; they have a width on the screen, so they depend on the zoom."""

    def __init__(self, layers: RegionLayers) -> None:
        self.layers = layers
        self._drawn: _Drawn | None = None

    def update(
        self,
        frame: Frame,
        view: View,
        coloring: Coloring,
        norm: Normalize,
        selected: int | None,
        labels: list[str],
    ) -> None:
        """Draw for a frame, a view and a colouring, unless what is there will do."""
        wanted = _Drawn(frame, view, frame.has(BOUNDARY), coloring, norm)
        if self._drawn is not None and _suits(self._drawn, wanted):
            return
        beside = _BESIDE * (view.rectangle[1] - view.rectangle[0])
        wide = View(np.stack([view.rectangle[0] - beside, view.rectangle[1] + beside]), view.pixel)
        self._drawn = wanted._replace(view=wide)
        is_dark = coloring.is_dark(norm)
        self.layers.show_lines(frame, wide, is_dark, wanted.with_boundary)
        self.layers.show_outline(frame, selected, view.pixel)
        self.layers.size_marks(frame, is_dark, labels, view.pixel)


def _suits(drawn: _Drawn, wanted: _Drawn) -> bool:
    if drawn.frame is not wanted.frame or drawn.with_boundary != wanted.with_boundary:
        return False
    if drawn.coloring is not wanted.coloring or drawn.norm is not wanted.norm:
        return False
    ratio = drawn.view.pixel / wanted.view.pixel
    inside = (wanted.view.rectangle[0] >= drawn.view.rectangle[0]).all()
    inside &= (wanted.view.rectangle[1] <= drawn.view.rectangle[1]).all()
    return bool(inside) and 1 / _REBUILD < ratio < _REBUILD
