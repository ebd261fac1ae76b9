"""One partition as a figure: colours where the regions are, the boundary where the classes meet, the legend of what is
there.
"""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from networks import mnist_images, workload
from numpy.testing import assert_allclose

import splinegeo as sg
from viz.coloring import Coloring, color_regions
from viz.errors import DrawingError
from viz.marks import POINT_COLOR
from viz.region_colors import category_colors, predicted_classes
from viz.region_figure import region_figure
from viz.regions import plot_regions
from viz.style import style


def drawn(figure: Figure, dpi: float = 200.0) -> np.ndarray:
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def colors_at(figure: Figure, image: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The colours of the pixels at slice points, in the figure's first Axes."""
    columns, rows = np.floor(figure.axes[0].transData.transform(t)).astype(int).T
    return image[len(image) - 1 - rows, columns]


def large_regions(part: sg.Partition, n: int) -> np.ndarray:
    """The regions with the widest in-radius: their centres are far from any line."""
    return np.argsort(part.statistics().in_radii)[-n:]


@pytest.mark.parametrize("name", ["class", "stage", "pattern"])
def test_categories_have_their_colours(name: str) -> None:
    part = workload("B").partition
    coloring = color_regions(part, name)
    with style("light"):
        figure = region_figure(part, coloring, "title")
        image = drawn(figure)
    regions = large_regions(part, 12)
    assert coloring.colors is not None
    assert_allclose(colors_at(figure, image, part.interior_points[regions]), 255 * coloring.colors[regions, :3], atol=2)


def test_the_boundary_lies_where_the_classes_meet() -> None:
    part = workload("B").partition
    with style("light"):
        figure = region_figure(part, color_regions(part, "class"), "title", boundary=True)
        plain = region_figure(part, color_regions(part, "class"), "title")
        image, without = drawn(figure), drawn(plain)
    segments = part.decision_boundary().segments
    lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    middles = segments[np.argsort(lengths)[-8:]].mean(axis=1)
    white = 255 * np.array(to_rgb(POINT_COLOR))
    assert_allclose(colors_at(figure, image, middles), np.tile(white, (8, 1)), atol=40)
    assert (np.abs(colors_at(plain, without, middles) - white).max(axis=1) > 80).all()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [str(k) for k in np.unique(predicted_classes(part))]


def test_numbers_have_a_scale_and_points_their_marks() -> None:
    part = workload("S").partition
    labels = ["5", "0", "4"]
    with style("dark"):
        figure = region_figure(part, color_regions(part, "alignment"), "t", points=part.plane.points, labels=labels)
        drawn(figure)
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylabel() == "centroid alignment"
    assert figure.axes[1].get_ylim() == (-1.0, 1.0)
    assert part.plane.points is not None
    assert len(mnist_images(3)) == len(part.plane.points)


def test_a_users_own_numbers_and_colours() -> None:
    part = workload("B").partition
    corners = np.diff(part.offsets)
    with style("light"):
        figure = region_figure(part, color_regions(part, "corners", corners), "title")
        image = drawn(figure)
    mappable = color_regions(part, "corners", corners)
    regions = large_regions(part, 8)
    expected = mappable.region_colors(mappable.norm("automatic"))[regions, :3]
    assert_allclose(colors_at(figure, image, part.interior_points[regions]), 255 * expected, atol=2)
    own = np.column_stack([category_colors(np.arange(part.n_regions)), np.ones(part.n_regions)])
    ax = Figure().add_subplot()
    fill = plot_regions(part, Coloring("mine", colors=own), ax)
    assert_allclose(fill.region_colors(), own)
    with pytest.raises(DrawingError, match="the coloring has 3 colours for"):
        plot_regions(part, Coloring("mine", colors=own[:3]), ax)
    with pytest.raises(DrawingError, match="cannot be coloured by 'age'"):
        color_regions(part, "age")


def test_the_arrows_of_points_beyond_the_view_are_explained() -> None:
    part = workload("B").partition
    high = part.domain.max(axis=0)
    footers = []
    for points in (0.5 * high[None], np.stack([0.5 * high, 1.4 * high])):
        with style("light"):
            figure = region_figure(
                part, color_regions(part, "area"), "title", points=points, labels=["a"] * len(points)
            )
            drawn(figure)
            footers.append(figure.texts[0].get_text())
            box = figure.texts[0].get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.axes[0].bbox.x1
    assert "beyond" not in footers[0]
    assert footers[1] == f"{footers[0]} · arrows: beyond the view by this distance"
