"""Grids of centroids: what colour stands where, on which scale, and what is refused."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from viz.centroids import CentroidPanel, centroid_colors, centroid_grid, centroid_limits
from viz.errors import DrawingError
from viz.style import style


def images(k: int = 5, shape: tuple[int, ...] = (1, 8, 8)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((k, *shape))


def shown(figure: Figure) -> list[list[np.ndarray]]:
    """The pictures of every grid, in order."""
    return [[np.asarray(image.get_array()) for image in ax.images] for ax in figure.axes if ax.images]


def bar_ends(figure: Figure) -> list[float]:
    bars = [ax for ax in figure.axes if not ax.images]
    FigureCanvasAgg(figure).draw()
    return [ax.get_xlim()[1] for ax in bars]


def test_colors_are_symmetric_about_white():
    values = np.array([[[0.0, 1.0], [-1.0, 0.5]]])
    (colors,) = centroid_colors(values, np.array([1.0]))
    white, red, blue, half = colors.reshape(4, 3).astype(int)
    assert white.min() >= 245
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert red[0] > red[1]
    assert 0 < half[0] - half[2] < 255
    np.testing.assert_array_equal(
        centroid_colors(values, np.array([1.0])), centroid_colors(values[:, None], np.ones(1))
    )


def test_colour_images_have_grey_at_zero():
    values = np.zeros((1, 3, 4, 4))
    values[0, 0, 1, 2] = 2.0
    (colors,) = centroid_colors(values)
    assert colors.shape == (4, 4, 3)
    assert colors[0, 0].tolist() == [128, 128, 128]
    assert colors[1, 2].tolist() == [255, 128, 128]


def test_a_zero_centroid_is_white():
    assert centroid_colors(np.zeros((1, 4, 4))).min() >= 245


def test_every_panel_has_a_scale_of_its_own():
    first, second = images(), 1e-3 * images()
    panels = [CentroidPanel(first, "a"), CentroidPanel(second, "b")]
    figure = centroid_grid(images(), panels, (2, 3))
    _, one, other = shown(figure)
    assert len(one) == len(other) == 5
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)
    ends = bar_ends(figure)
    assert ends[0] == pytest.approx(np.quantile(np.abs(first), 0.998))
    assert ends[1] == pytest.approx(1e-3 * ends[0])


def test_a_shared_scale_pales_the_small():
    panels = [CentroidPanel(images(), "a"), CentroidPanel(1e-3 * images(), "b")]
    figure = centroid_grid(images(), panels, (2, 3), scale="shared")
    _, large, small = shown(figure)
    assert min(picture.min() for picture in small) > 240 / 255
    assert min(picture.min() for picture in large) < 0.3
    ends = bar_ends(figure)
    assert ends[0] == ends[1]


def test_a_scale_for_each_image():
    values = images() * np.array([1.0, 10.0, 100.0, 1e3, 1e-6]).reshape(-1, 1, 1, 1)
    figure = centroid_grid(images(), [CentroidPanel(values, "a")], (2, 3), scale="image")
    _, pictures = shown(figure)
    for picture, original in zip(pictures, shown_alone(images()), strict=True):
        np.testing.assert_allclose(picture, original)
    assert bar_ends(figure) == []


def shown_alone(values: np.ndarray) -> list[np.ndarray]:
    return [
        centroid_colors(values[k : k + 1], centroid_limits(values[k : k + 1]))[0] / 255.0 for k in range(len(values))
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_nothing_overlaps_or_leaves_the_page(theme: str, count: int):
    with style(theme):
        panels = [CentroidPanel(images(), f"epoch {k}", "alignment 0.75 · norm 0.05") for k in range(count)]
        figure = centroid_grid(images(), panels, (2, 3), title="training images")
        FigureCanvasAgg(figure).draw()
        boxes = [
            text.get_window_extent()
            for ax in figure.axes
            for text in (*ax.texts, *(ax.get_xticklabels() if ax.axison else ()))
            if text.get_text()
        ]
        assert len(boxes) == 1 + 2 * count + 3 * count
        page = figure.bbox
        for index, box in enumerate(boxes):
            assert page.x0 <= box.x0
            assert box.x1 <= page.x1
            assert page.y0 <= box.y0
            assert box.y1 <= page.y1
            assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_the_first_image_stands_in_the_upper_left():
    values = np.zeros((4, 8, 8))
    values[0] = 1.0
    figure = centroid_grid(images(4, (8, 8)), [CentroidPanel(values, "a")], (2, 2))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba()).astype(int)
    box = next(ax for ax in figure.axes[1:] if ax.images).get_window_extent()

    def color(across: float, down: float) -> np.ndarray:
        row = picture.shape[0] - int(box.y1 - down * box.height)
        return picture[row, int(box.x0 + across * box.width), :3]

    red = color(0.25, 0.25)
    assert red[0] > red[2] + 50
    assert min(color(0.75, 0.25).min(), color(0.25, 0.75).min(), color(0.75, 0.75).min()) > 240


@pytest.mark.parametrize(
    ("x", "values", "grid", "scale", "message"),
    [
        (images(4, (64,)), images(4, (64,)), (2, 2), "panel", "images must have the shape"),
        (images(4, (2, 8, 8)), images(4, (2, 8, 8)), (2, 2), "panel", r"not \(4, 2, 8, 8\)"),
        (images(4), images(3), (2, 2), "panel", "have the shape"),
        (images(5), images(5), (2, 2), "panel", "a grid of 2x2 does not hold 5 images"),
        (images(4), images(4), (2, 2), "loud", "there is no scale 'loud'"),
        (images(4), np.full((4, 1, 8, 8), np.nan), (2, 2), "panel", "must be finite"),
    ],
)
def test_refusals(x: np.ndarray, values: np.ndarray, grid: tuple[int, int], scale: str, message: str):
    before = dict(mpl.rcParams)
    with pytest.raises(DrawingError, match=message):
        centroid_grid(x, [CentroidPanel(values, "a")], grid, scale=scale)
    assert dict(mpl.rcParams) == before


def test_a_figure_needs_a_network():
    with pytest.raises(DrawingError, match="at least one network"):
        centroid_grid(images(), [], (2, 3))
