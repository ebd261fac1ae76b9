"""The curve of time over regions, as a picture."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tables import Row

_COLORS = {"M": "#0072B2", "L": "#D55E00", "X": "#009E73"}
_STREAMED = "streamed"


def draw_curve(rows: Sequence[Row], widths: dict[str, int], path: Path) -> None:
    """Processor seconds on one thread over the number of regions, both logarithmic, with lines of equal cost a region.

    `widths` are the units in each hidden layer of the networks, by the first letter of the workloads' names.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    reach = np.array([3e2, 2e7])
    for cost, label in ((1e-6, "1 µs a region"), (1e-5, "10 µs")):
        axes.plot(reach, cost * reach, color="0.8", lw=1, zorder=0)
        x = 2e6  # the line rises: to the right of a point on it there is room below
        axes.annotate(label, (x, cost * x), xytext=(6, -11), textcoords="offset points", color="0.45", fontsize=8)
    for network, color in _COLORS.items():
        for streamed in (False, True):
            points = sorted(
                (row.regions, median(row.cpu))
                for row in rows
                if not row.failure and row.workload.startswith(network) and (_STREAMED in row.engine) == streamed
            )
            if points:
                label = f"784-{'-'.join(3 * [str(widths[network])])}-10" + (", in blocks" if streamed else "")
                style = {"marker": "s", "mfc": "white", "ls": ":"} if streamed else {"marker": "o"}
                axes.plot(*np.transpose(points), color=color, label=label, ms=6, lw=1.5, **style)
    axes.set(xscale="log", yscale="log", xlim=reach, xlabel="regions", ylabel="processor seconds, one thread")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=160)
