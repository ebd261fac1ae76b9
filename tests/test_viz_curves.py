"""Curves: the lines hold the numbers, several runs make mean and band, and what cannot be drawn is refused."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from viz.curves import Curve, CurvePanel, curves_figure
from viz.errors import DrawingError
from viz.ordered_colors import ordered_colors
from viz.style import LIGHT, style

STEPS = np.array([0.0, 1.0, 10.0, 100.0])
RISING = np.array([0.1, 0.2, 0.5, 0.9])


def test_lines_hold_the_values():
    with style("light"):
        figure = curves_figure(
            [
                CurvePanel("left", "share", [Curve("a", STEPS, RISING), Curve("b", STEPS[:3], RISING[:3] / 2)]),
                CurvePanel("right", "norm", [Curve("b", STEPS, 100 * RISING)], log=True),
            ],
            note="what it shows " * 20,
        )
    left, right = figure.axes
    for line, (x, y) in zip(left.lines, ((STEPS, RISING), (STEPS[:3], RISING[:3] / 2)), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), y)
    assert (left.get_title(), left.get_ylabel(), left.get_xlabel()) == ("left", "share", "epoch")
    assert (left.get_yscale(), right.get_yscale()) == ("linear", "log")
    # The last step lies within the axis, by more than half a line's width.
    lower, upper = left.get_xlim()
    assert (lower, left.transData.transform([upper, 0])[0]) == (0, pytest.approx(left.bbox.x1))
    assert left.bbox.x1 - left.transData.transform([100, 0])[0] > 0.5 * left.lines[0].get_linewidth() / 72 * 150
    # One label, one look, in every panel; different labels differ in colour and in dashes.
    a, b = left.lines
    assert (to_hex(a.get_color()), to_hex(b.get_color())) == LIGHT.categories[:2]
    assert right.lines[0].get_color() == b.get_color()
    assert a.get_linestyle() != b.get_linestyle()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_ordered_curves_have_ordered_colours_and_plain_lines():
    curves = [Curve(f"× {k}", STEPS, RISING / k) for k in (1, 2, 4, 8, 16)]
    with style("light"):
        figure = curves_figure(
            [
                CurvePanel("methods", "v", [Curve("a", STEPS, RISING), Curve("b", STEPS, RISING)]),
                CurvePanel("scales", "v", curves, ordered=True),
                CurvePanel("scales again", "v", curves[:3], ordered=True),
            ]
        )
    methods, scales, again = ([line.get_color() for line in ax.lines] for ax in figure.axes)
    assert methods == list(LIGHT.categories[:2])
    assert scales == ordered_colors(5)
    assert again == scales[:3]
    assert {line.get_linestyle() for ax in figure.axes[1:] for line in ax.lines} == {"-"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "a",
        "b",
        *(f"× {k}" for k in (1, 2, 4, 8, 16)),
    ]


@pytest.mark.parametrize("n", [9, 43])
def test_a_legend_too_long_for_one_row_is_read_row_by_row(n: int):
    labels = [f"epoch {k}\u2009000" for k in range(n)]
    panel = CurvePanel("t", "v", [Curve(label, STEPS, RISING) for label in labels], ordered=True)
    with style("light"):
        figure = curves_figure([panel], note="a note")
        FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y1 >= box.y1 > box.y0 > figure.axes[0].title.get_window_extent().y1 - 1
    boxes = [text.get_window_extent() for text in legend.texts]
    rows = [round((box.y1 - one.y1) / (0.12 * figure.dpi)) for one in boxes]
    placed = [(row, one.x0, text.get_text()) for row, one, text in zip(rows, boxes, legend.texts, strict=True)]
    shown = [text for _, _, text in sorted(placed)]
    assert shown == sorted(shown, key=labels.index)
    assert (shown[0], shown[-1], len(shown)) == (labels[0], labels[-1], min(n, 12))
    colors = {text.get_text(): line.get_color() for text, line in zip(legend.texts, legend.get_lines(), strict=True)}
    assert all(colors[text] == figure.axes[0].lines[labels.index(text)].get_color() for text in shown)


def test_several_runs_make_mean_and_band():
    runs = np.stack([RISING, RISING + 0.1, RISING - 0.4])
    figure = curves_figure([CurvePanel("t", "v", [Curve("a", STEPS, runs)])])
    (ax,) = figure.axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), RISING - 0.1)
    (band,) = ax.collections
    vertices = band.get_paths()[0].vertices
    for step, value in zip(STEPS, RISING, strict=True):
        at = vertices[vertices[:, 0] == step, 1]
        assert (at.min(), at.max()) == (pytest.approx(value - 0.4), pytest.approx(value + 0.1))
    assert not curves_figure([CurvePanel("t", "v", [Curve("a", STEPS, RISING[None])])]).axes[0].collections


def test_nothing_overlaps_and_nothing_is_cut():
    panels = [CurvePanel(f"panel {k}", "a value", [Curve("a", STEPS, RISING)]) for k in range(3)]
    with style("light"):
        figure = curves_figure(panels, note="a note of some length " * 12)
        figure.canvas.draw()
        boxes = [ax.get_tightbbox() for ax in figure.axes]
        boxes.append(figure.legends[0].get_window_extent())
        boxes.extend(text.get_window_extent() for text in figure.texts)
    page = figure.bbox
    for index, box in enumerate(boxes):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
        for other in boxes[:index]:
            assert box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 + 1 or other.y1 <= box.y0 + 1


def test_wide_tick_labels_make_room_for_themselves():
    values = np.array([1.0, 1.001, 1.002, 1.003])
    panels = [CurvePanel("t", "a value", [Curve("a", STEPS, values)]) for _ in range(3)]
    with style("light"):
        narrow = curves_figure([CurvePanel("t", "a value", [Curve("a", STEPS, RISING)])] * 3)
        wide = curves_figure(panels)
        wide.canvas.draw()
        boxes = [ax.get_tightbbox() for ax in wide.axes]
    assert wide.get_figwidth() > narrow.get_figwidth()
    assert boxes[0].x0 >= 0
    assert boxes[-1].x1 <= wide.bbox.x1
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert {round(ax.bbox.width) for ax in wide.axes} == {round(ax.bbox.width) for ax in narrow.axes}


def test_ticks_are_grouped_numbers():
    panel = CurvePanel("t", "v", [Curve("a", 100 * STEPS, 2e4 * RISING)], log=True)
    with style("light"):
        figure = curves_figure([panel])
        figure.canvas.draw()
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "10", "100", "1\u2009000", "10\u2009000"]
    assert "5\u2009000" in [text.get_text() for text in ax.get_yticklabels()]


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "at least one panel"),
        ([CurvePanel("t", "v", [])], "panel 't' has no curve"),
        ([CurvePanel("t", "v", [Curve("a", STEPS, RISING[:2])])], r"steps \(4,\) and values \(2,\)"),
        ([CurvePanel("t", "v", [Curve("a", STEPS, RISING * np.nan)])], "NaN"),
        ([CurvePanel("t", "v", [Curve("a", STEPS[:0], RISING[:0])])], "is empty"),
        ([CurvePanel("t", "v", [Curve("a", STEPS, RISING - 0.1)], log=True)], "is not positive"),
    ],
)
def test_what_cannot_be_drawn(panels: list[CurvePanel], message: str):
    with pytest.raises(DrawingError, match=message):
        curves_figure(panels)
