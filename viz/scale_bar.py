"""A scale bar: slices have orthonormal bases, so a length on the picture is a distance in input space."""

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

_SHARE_OF_VIEW = 0.22
_OPACITY = 0.82
_TEXT_SIZE = 6.5
_CORNERS = ("lower left", "lower right", "upper left", "upper right")


def nice_length(extent: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most about a fifth of the extent."""
    target = _SHARE_OF_VIEW * extent
    power = 10.0 ** np.floor(np.log10(target))
    return float(power * max(step for step in (1, 2, 5) if step * power <= target * (1 + 1e-9)))


class ScaleBar(AnchoredOffsetbox):
    """A bar in a corner of an Axes, of a round length, in input-space units, that suits the view at drawing."""

    def __init__(self, ax: Axes) -> None:
        ink = mpl.rcParams["text.color"]
        # A bar of no height in data units: its thickness is that of its outline, whatever the zoom.
        self._bar = Rectangle((0, 0), 0, 0, fill=False, edgecolor=ink, linewidth=1.4, joinstyle="miter")
        self._length_text = TextArea("", textprops={"size": _TEXT_SIZE, "color": ink})
        line = AuxTransformBox(ax.transData)
        line.add_artist(self._bar)
        packed = VPacker(children=[line, self._length_text], align="center", pad=0, sep=2.5)
        super().__init__(_CORNERS[0], child=packed, pad=0.4, borderpad=0.5, frameon=True)
        self.patch.set(facecolor=mpl.rcParams["axes.facecolor"], edgecolor="none", alpha=_OPACITY)
        self.patch.set_boxstyle("round,pad=0,rounding_size=0.25")
        self.set_zorder(6)
        ax.add_artist(self)

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        """The box that it covers, in pixels; asked for before every drawing, it makes the bar suit the view."""
        self._suit_view()
        return super().get_window_extent(renderer)

    def give_way(self, pixels: Float[np.ndarray, "n 2"]) -> None:
        """Move to the corner, of those that hide the fewest of these pixels, that comes first from the lower left."""

        def hidden(corner: str) -> int:
            self.loc = self.codes[corner]
            box = self.get_window_extent()
            return int(((pixels >= np.asarray(box.min)) & (pixels <= np.asarray(box.max))).all(axis=1).sum())

        self.loc = self.codes[min(_CORNERS, key=hidden)]

    def _suit_view(self) -> None:
        assert self.axes is not None
        left, right = self.axes.get_xlim()
        length = nice_length(abs(right - left))
        self._bar.set_width(length)
        self._length_text.set_text(f"{length:g}")
