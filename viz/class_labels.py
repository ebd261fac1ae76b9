"""Names of the predicted classes, written where each class has room: many classes cannot be told apart by colour."""

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt, find_objects, label

from splinegeo import Partition
from viz.marks import OUTLINE_COLOR, POINT_COLOR

_SAMPLES = 256
# Points: the size of the letters, and of the circle that one or two of them need.
_SIZE = 6.5
_ROOM = 4.2
_HALO = 1.6


def draw_class_labels(ax: Axes, part: Partition) -> None:
    """Write the class into every connected area of it that a name fits into, for the layout the Axes has now."""
    classes, origin, step = _sampled(part)
    scale = abs(ax.transData.transform([step, 0.0])[0] - ax.transData.transform([0.0, 0.0])[0])
    room = _ROOM * ax.figure.dpi / 72.0 / scale
    for name in np.unique(classes[classes >= 0]).tolist():
        areas, _ = label(classes == name)
        for number, box in enumerate(find_objects(areas), start=1):
            # A border of other classes: at the domain's edge a name needs as much room as elsewhere.
            depth = distance_transform_edt(np.pad(areas[box] == number, 1))[1:-1, 1:-1]
            if depth.max() < room * (0.6 + 0.4 * len(str(name))):
                continue
            row, column = np.unravel_index(depth.argmax(), depth.shape)
            x, y = (origin + step * np.array([column + box[1].start, row + box[0].start])).tolist()
            text = ax.text(x, y, str(name), size=_SIZE, color=POINT_COLOR, weight="bold", ha="center", va="center")
            text.set(zorder=6, clip_on=True)
            text.set_path_effects([withStroke(linewidth=_HALO, foreground=OUTLINE_COLOR)])


def _sampled(part: Partition) -> tuple[Int64[np.ndarray, "n m"], Float64[np.ndarray, " 2"], float]:
    """Classes on a grid, rows upwards, -1 outside the domain; the grid's first point, and its step."""
    low, high = part.domain.min(axis=0), part.domain.max(axis=0)
    step = float((high - low).max()) / _SAMPLES
    columns, rows = np.maximum(1, np.floor((high - low) / step)).astype(int).tolist()
    x, y = np.meshgrid(low[0] + step * (np.arange(columns) + 0.5), low[1] + step * (np.arange(rows) + 0.5))
    t = np.column_stack([x.ravel(), y.ravel()])
    regions = part.locate(t)
    inside = np.flatnonzero(regions >= 0)
    outputs = np.einsum("nck,nk->nc", part.slice_maps[regions[inside]], np.column_stack([t, np.ones(len(t))])[inside])
    classes = np.full(len(t), -1)
    classes[inside] = outputs[:, 0] > 0 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return classes.reshape(rows, columns), low + 0.5 * step, step
