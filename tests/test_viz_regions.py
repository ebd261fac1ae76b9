"""Region plots: the right colour at the right place, seen from the pixels of real partitions."""

import colorsys
import io
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from networks import IDENTITY_PLANE, linear, mlp
from torch import nn

import splinegeo as sg
import viz
from viz.colormaps import srgb_to_oklab
from viz.coverage import coverage_image
from viz.errors import DrawingError
from viz.labels import Label, place_labels
from viz.region_fill import region_sizes
from viz.regions import REGION_VALUES, plot_regions
from viz.scale_bar import ScaleBar, nice_length

mpl.use("Agg")

SIZE = 300  # pixels


@cache
def small_partition() -> sg.Partition:
    """Some hundred regions of a network with biases on [-1, 1]²: no symmetry that could hide a flipped picture."""
    return sg.enumerate_regions(mlp((2, 16, 16, 3), bias=True), IDENTITY_PLANE, sg.Box(1.0))


@cache
def quadrants() -> sg.Partition:
    """Two units x and y: four square regions, told apart by their patterns."""
    model = nn.Sequential(linear([[1, 0], [0, 1]]), nn.ReLU())
    return sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))


@cache
def large_partition() -> sg.Partition:
    """More than 10⁵ regions of the 784-196-196-196-10 network without biases."""
    points = np.random.default_rng(0).normal(size=(3, 784))
    plane = sg.Slice.through_points(points)
    return sg.enumerate_regions(mlp((784, 196, 196, 196, 10)), plane, sg.Box(40.0))


def canvas(size: int = SIZE) -> tuple[Figure, Any]:
    """A figure of `size` pixels whose Axes fill it."""
    figure = Figure(figsize=(size / 100, size / 100), dpi=100)
    FigureCanvasAgg(figure)
    return figure, figure.add_axes((0, 0, 1, 1))


def pixels(figure: Figure) -> np.ndarray:
    """The drawn figure, rows from the bottom up, RGB in [0, 255]."""
    assert isinstance(figure.canvas, FigureCanvasAgg)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3].astype(int)


def at(image: np.ndarray, ax: Any, positions: np.ndarray) -> np.ndarray:
    column, row = np.floor(ax.transData.transform(positions)).astype(int).T
    return image[row, column]


def bytes_of(rgba: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.asarray(rgba)[..., :3]).astype(int)


# colours


def test_each_quadrant_has_the_colour_of_its_own_value() -> None:
    part = quadrants()
    assert part.n_regions == 4
    values = np.array([10.0 * part.pattern(r)[0][0] + part.pattern(r)[0][1] for r in range(4)])
    colors = {(0, 0): "#ff0000", (0, 1): "#00ff00", (1, 0): "#0000ff", (1, 1): "#ffff00"}
    norm = mpl.colors.BoundaryNorm([-0.5, 0.5, 5, 10.5, 11.5], 4)
    figure, ax = canvas()
    plot_regions(part, values, ax, norm=norm, cmap=ListedColormap(list(colors.values())), edges=None, scale_bar=False)
    image = pixels(figure)
    for (x, y), color in colors.items():
        corner = np.array([[x - 0.5, y - 0.5]])
        assert (at(image, ax, corner) == bytes_of(to_rgb(color))).all()


@pytest.mark.parametrize("view", [None, (-0.3, 0.5, -0.1, 0.7), (0.31, 0.35, -0.52, -0.48)])
def test_pixels_hold_the_colour_of_the_region_that_holds_them(view: tuple[float, float, float, float] | None) -> None:
    part = small_partition()
    values = np.random.default_rng(1).permutation(part.n_regions).astype(float)
    figure, ax = canvas()
    fill = plot_regions(part, values, ax, edges=None, scale_bar=False)
    if view is not None:
        ax.set(xlim=view[:2], ylim=view[2:])
    image = pixels(figure)
    corners = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1)
    to_slice = ax.transData.inverted().transform
    offsets = np.array([[0.001, 0.001], [0.999, 0.001], [0.001, 0.999], [0.999, 0.999]])
    regions = np.stack([part.locate(to_slice((corners + o).reshape(-1, 2))).reshape(SIZE, SIZE) for o in offsets])
    inside = (regions == regions[0]).all(axis=0)  # regions are convex: these pixels lie in one of them
    assert inside.mean() > 0.5
    expected = bytes_of(fill.cmap(fill.norm(values)))[regions[0]]
    assert np.abs(image - expected)[inside].max() <= 1


def test_border_pixels_mix_colours_by_exact_area() -> None:
    part = small_partition()
    colors = np.random.default_rng(2).uniform(size=(part.n_regions, 4))
    colors[:, 3] = 1.0
    size, fine = 40, 25
    vertices = (part.vertices + 1) / 2 * size
    image = coverage_image(vertices, part.edges, part.edge_faces, colors, (size, size)).astype(float)
    samples = (np.arange(size * fine) + 0.5) / (size * fine) * 2 - 1
    grid = np.stack(np.meshgrid(samples, samples), axis=-1).reshape(-1, 2)
    sampled = colors[part.locate(grid)].reshape(size, fine, size, fine, 4).mean(axis=(1, 3))
    assert np.abs(image / 255 - sampled).max() < 0.02
    assert np.abs(image / 255 - sampled).mean() < 0.002


def test_regions_far_smaller_than_a_pixel_count_with_their_area() -> None:
    part = large_partition()
    colors = np.zeros((part.n_regions, 4))
    colors[:, 3] = 1.0
    chosen = np.random.default_rng(3).uniform(size=part.n_regions) < 0.5
    colors[chosen, 0] = 1.0
    image = coverage_image((part.vertices + 40) / 80 * 8, part.edges, part.edge_faces, colors, (8, 8))
    share = part.areas[chosen].sum() / part.areas.sum()
    assert image[..., 0].mean() / 255 == pytest.approx(share, abs=2 / 255)
    assert (image[..., 3] == 255).all()


def test_no_seams_between_regions_of_one_colour() -> None:
    part = small_partition()
    figure, ax = canvas()
    plot_regions(part, np.ones(part.n_regions), ax, cmap=ListedColormap(["#3a7d44"]), edges=None, scale_bar=False)
    image = pixels(figure)
    assert (image == bytes_of(to_rgb("#3a7d44"))).all()


def test_outside_a_polygonal_domain_is_the_paper() -> None:
    triangle = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    part = sg.enumerate_regions(mlp((2, 8, 2), bias=True), IDENTITY_PLANE, triangle)
    figure, ax = canvas()
    ax.patch.set_facecolor("#123456")
    plot_regions(part, np.ones(part.n_regions), ax, cmap=ListedColormap(["#ffffff"]), edges=None, scale_bar=False)
    image = pixels(figure)
    assert (at(image, ax, np.array([[0.5, 0.5], [0.02, 0.02]])) == bytes_of(to_rgb("#123456"))).all()
    assert (at(image, ax, np.array([[-0.5, -0.5], [-0.02, -0.02]])) == 255).all()


def test_nothing_is_drawn_when_the_domain_is_out_of_view() -> None:
    figure, ax = canvas()
    plot_regions(small_partition(), "area", ax, scale_bar=False)
    ax.set(xlim=(5, 6), ylim=(5, 6))
    assert (pixels(figure) == 255).all()


def test_a_mappable_can_be_recoloured() -> None:
    part = quadrants()
    figure, ax = canvas()
    fill = plot_regions(part, np.zeros(4), ax, norm=Normalize(0, 1), cmap="gray", edges=None, scale_bar=False)
    assert pixels(figure).max() == 0
    fill.set_array(np.ones(4))
    assert pixels(figure).min() == 255


# values and scales


def test_named_values_are_those_of_the_partition() -> None:
    part = small_partition()
    expected = {"operator_norm": part.operator_norms(), "radius": part.radii(), "area": part.areas}
    assert set(expected) == set(REGION_VALUES)
    for name, values in expected.items():
        fill = plot_regions(part, name, canvas()[1])
        np.testing.assert_array_equal(np.asarray(fill.get_array()), values)
    norms = [np.linalg.norm(part.affine_map(r)[0]) for r in range(part.n_regions)]
    np.testing.assert_allclose(expected["operator_norm"], norms, rtol=1e-9)


def test_scale_is_logarithmic_only_where_the_range_asks_for_it() -> None:
    rng = np.random.default_rng(0)
    wide = viz.shared_norm([rng.uniform(0.01, 0.02, 500), rng.uniform(1, 2, 500)])
    assert isinstance(wide, LogNorm)
    narrow = viz.shared_norm([rng.uniform(1, 2, 500)])
    signed = viz.shared_norm([rng.uniform(-5, 500, 500)])
    for norm in (narrow, signed):
        assert type(norm) is Normalize
    assert wide.vmin == pytest.approx(0.01, rel=0.05)
    assert wide.vmax == pytest.approx(2, rel=0.05)


def test_outliers_do_not_flatten_the_scale_and_its_bar_shows_them() -> None:
    values = np.append(np.linspace(1, 2, 10_000), 1e6)
    norm = viz.shared_norm([values])
    assert norm.vmax == pytest.approx(2, rel=0.01)
    figure = Figure()
    mappable = mpl.cm.ScalarMappable(norm=norm)
    assert viz.draw_color_bar(figure, mappable, figure.add_subplot(), "", [values]).extend == "both"
    assert viz.draw_color_bar(figure, mappable, figure.add_subplot(), "", [np.array([1.5])]).extend == "neither"


def test_color_bar_ticks_are_plain_round_numbers() -> None:
    figure = Figure()
    for norm, expected in (
        (LogNorm(0.04, 1.5), {"0.05", "0.1", "0.2", "0.5", "1"}),
        (LogNorm(0.5, 800), {"1", "10", "100"}),
    ):
        bar = viz.draw_color_bar(figure, mpl.cm.ScalarMappable(norm=norm), figure.add_subplot(), "", [np.array([1.0])])
        low, high = bar.ax.get_ylim()
        ticks = zip(bar.ax.get_yticks(), bar.ax.get_yticklabels(), strict=True)
        assert {label.get_text() for tick, label in ticks if low <= tick <= high} == expected


def test_equal_values_still_have_a_scale() -> None:
    norm = viz.shared_norm([np.full(5, 3.0)])
    assert np.isfinite(norm(np.full(5, 3.0))).all()


def test_the_map_is_uniform_and_ordered_by_lightness_for_every_reader() -> None:
    colors = viz.DUSK(np.linspace(0, 1, 256))[:, :3]
    lab = srgb_to_oklab(colors)
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() < 1.05 * steps.min()
    assert np.diff(lab[:, 0]).min() > 0
    # Severe deuteranomaly and protanomaly after Machado, Oliveira and Fernandes (2009), on linear RGB.
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for matrix in (
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    ):
        luminance = np.clip(linear @ np.array(matrix).T, 0, 1) @ [0.2126, 0.7152, 0.0722]
        assert np.diff(luminance).min() > 0


def test_oklab_agrees_with_published_values() -> None:
    # B. Ottosson's page: white is (1, 0, 0); sRGB red is (0.62796, 0.22486, 0.12585).
    lab = srgb_to_oklab(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(lab, [[1, 0, 0], [0.62796, 0.22486, 0.12585]], atol=1e-4)


# edges


def test_edges_by_stage_have_their_stage_colours() -> None:
    # Units x, y + 2 and x + 2, of which the last two are always on; then y - 0.25 alone.
    first, second = linear([[1, 0], [0, 1], [1, 0]], [0, 2, 2]), linear([[0, 1, 0]], [-2.25])
    part = sg.enumerate_regions(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), IDENTITY_PLANE, sg.Box(1.0))
    assert part.n_regions == 4
    with viz.style("light"):
        figure, ax = canvas(1200)
        plot_regions(part, None, ax, edges="stage", scale_bar=False)
        image = pixels(figure)
    colors = [bytes_of(to_rgb(color)) for color in viz.LIGHT.categories[:2]]
    for position, color in (((0.0, -0.5), colors[0]), ((0.5, 0.25), colors[1])):
        column, row = np.floor(ax.transData.transform(position)).astype(int)
        patch = image[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3)
        darkest = patch[patch.sum(axis=1).argmin()]
        tint, wanted = 255 - darkest, 255 - color  # the line may cover a pixel in part: same hue, fainter
        assert tint @ wanted / (np.linalg.norm(tint) * np.linalg.norm(wanted)) > 0.999
        assert np.linalg.norm(tint) > 0.3 * np.linalg.norm(wanted)


def test_edges_are_dark_over_light_regions_and_light_over_dark_ones() -> None:
    part = quadrants()
    for value, darker in ((1.0, True), (0.0, False)):
        figure, ax = canvas(600)
        plot_regions(part, np.full(4, value), ax, norm=Normalize(0, 1), cmap="gray", scale_bar=False)
        image = pixels(figure)
        column, row = np.floor(ax.transData.transform((0.0, 0.5))).astype(int)
        line = image[row, column - 3 : column + 4].sum(axis=1)
        change = line - image[row, column + 30].sum()
        assert (change.min() < -60 and change.max() <= 0) if darker else (change.max() > 60 and change.min() >= 0)


def test_edges_take_less_ink_the_denser_they_are() -> None:
    def ink(part: sg.Partition, size: int) -> float:
        figure, ax = canvas(size)
        plot_regions(part, None, ax, edges="black", scale_bar=False)
        return 1 - float(pixels(figure)[5:-5, 5:-5].mean()) / 255

    sparse, denser, dense = ink(small_partition(), 600), ink(small_partition(), 150), ink(large_partition(), 150)
    assert 0.005 < sparse < 0.12
    assert denser < 0.2
    assert dense < 0.1  # 2 · 10⁵ hairlines on 150² pixels would be black otherwise
    assert dense < denser


def test_edges_may_be_left_out() -> None:
    figure, ax = canvas()
    plot_regions(small_partition(), None, ax, edges=None, scale_bar=False)
    assert (pixels(figure) == 255).all()


# cost


def lines_run(draw: Callable[[], object]) -> int:
    """Python lines of this package and of matplotlib that a call runs."""
    count = 0
    watched = (str(Path(viz.__file__).parent), str(Path(mpl.__file__).parent))

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_filename.startswith(watched) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        draw()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("file_format", ["png", "pdf"])
def test_a_hundred_thousand_regions_are_drawn_without_a_loop_over_them(file_format: str) -> None:
    part = large_partition()
    assert part.n_regions > 100_000
    values = part.areas + 0.0

    def draw() -> None:
        figure, ax = canvas()
        plot_regions(part, values, ax)
        figure.savefig(io.BytesIO(), format=file_format)

    draw()  # fonts and caches
    assert lines_run(draw) < part.n_regions


# scale bar


@pytest.mark.parametrize(
    ("extent", "length"),
    [(20.0, 2.0), (60.0, 10.0), (2.0, 0.2), (9.2, 2.0), (9.0, 1.0), (0.001, 0.0002), (500.0, 100.0)],
)
def test_scale_bar_lengths_are_round_and_about_a_fifth(extent: float, length: float) -> None:
    assert nice_length(extent) == pytest.approx(length)


def test_scale_bar_is_as_long_as_it_says_and_follows_the_zoom() -> None:
    figure, ax = canvas()
    plot_regions(small_partition(), None, ax, edges=None)
    (bar,) = (child for child in ax.get_children() if isinstance(child, ScaleBar))
    for half, text in ((1.0, "0.2"), (0.1, "0.02")):
        ax.set(xlim=(-half, half), ylim=(-half, half))
        image = pixels(figure)
        texts = [t.get_text() for t in bar.findobj(mpl.text.Text) if t.get_text()]
        assert texts == [text]
        widest = max(int((image[row].sum(axis=1) < 150).sum()) for row in range(SIZE // 4))
        assert widest == pytest.approx(float(text) / (2 * half) * SIZE, abs=4)


# labels


def test_crowded_labels_neither_overlap_nor_leave_the_view() -> None:
    figure, ax = canvas(500)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    anchors = np.random.default_rng(0).normal((0.9, 0.5), 0.06, size=(14, 2)).clip(0.02, 0.98)
    bar = mpl.transforms.Bbox([[300, 150], [360, 180]])
    texts = place_labels(ax, [Label(f"label {i}", (x, y)) for i, (x, y) in enumerate(anchors)], [bar])
    pixels(figure)  # texts know their place once drawn
    boxes = [mpl.text.Text.get_window_extent(text) for text in texts]
    for i, box in enumerate(boxes):
        assert ax.bbox.contains(box.x0, box.y0)
        assert ax.bbox.contains(box.x1, box.y1)
        assert not any(mpl.transforms.Bbox.intersection(box, other) for other in [*boxes[i + 1 :], bar])
    markers = ax.transData.transform(anchors)
    assert not any(box.contains(x, y) for box in boxes for x, y in markers)


# style


def test_style_is_gone_after_its_block_even_after_an_error() -> None:
    before = dict(mpl.rcParams)
    for theme in (viz.DARK, viz.LIGHT):
        with viz.style(theme):
            assert mpl.rcParams["text.color"] == theme.ink
            assert dict(mpl.rcParams) != before
        assert dict(mpl.rcParams) == before
        with pytest.raises(ZeroDivisionError), viz.style(theme):
            raise ZeroDivisionError
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("theme", [viz.LIGHT, viz.DARK])
def test_themes_are_legible_and_their_categories_differ(theme: viz.Theme) -> None:
    def luminance(color: str) -> float:
        rgb = np.array(to_rgb(color))
        return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    assert contrast(theme.ink, theme.paper) > 12
    assert contrast(theme.faint, theme.paper) > 4.5  # WCAG 2, level AA
    lab = srgb_to_oklab(np.array([to_rgb(color) for color in theme.categories]))
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(len(lab))
    assert distances.min() > 0.08
    assert all(colorsys.rgb_to_hsv(*to_rgb(color))[1] > 0.3 for color in theme.categories)


def test_a_theme_of_ones_own_colours_the_plot() -> None:
    with viz.style(viz.Theme("#203040", "#ffffff", "#cccccc", ("#ff0000",))):
        figure, ax = canvas()
        plot_regions(small_partition(), None, ax, edges=None, scale_bar=False)
        assert (pixels(figure)[5:-5, 5:-5] == bytes_of(to_rgb("#203040"))).all()


# bad input


def bad_values(part: sg.Partition) -> list[tuple[object, str]]:
    nan, infinite = np.ones(part.n_regions), np.ones(part.n_regions)
    nan[7], infinite[0] = np.nan, -np.inf
    count = part.n_regions
    return [
        (
            np.ones(count + 1),
            rf"values must have the shape \({count},\), one for each region, but have \({count + 1},\)",
        ),
        (np.ones((count, 2)), rf"but have \({count}, 2\)"),
        (nan, rf"values must be finite, but 1 of {count} are not: the first is nan at region 7"),
        (infinite, "the first is -inf at region 0"),
        ("curvature", "regions have no value named 'curvature': choose one of operator_norm, radius, area"),
    ]


@pytest.mark.parametrize("case", range(5))
def test_values_that_cannot_be_drawn_are_refused_and_leave_the_axes_empty(case: int) -> None:
    values, message = bad_values(small_partition())[case]
    _, ax = canvas()
    with pytest.raises(DrawingError, match=message) as caught:
        plot_regions(small_partition(), values, ax)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not ax.collections


def test_other_bad_input_is_refused_in_one_line() -> None:
    _, ax = canvas()
    empty: Any = SimpleNamespace(n_regions=0)
    with pytest.raises(DrawingError, match="the partition has no regions to draw"):
        plot_regions(empty, None, ax)
    with pytest.raises(DrawingError, match="edges cannot be 'thick'"):
        plot_regions(small_partition(), None, ax, edges="thick")
    with pytest.raises(DrawingError, match="there is no theme 'sepia': choose one of light, dark"), viz.style("sepia"):
        pass
    with pytest.raises(DrawingError, match="at least one value"):
        viz.shared_norm([])
    with pytest.raises(DrawingError, match="NaN or infinite"):
        viz.shared_norm([np.array([1.0, np.nan])])
    assert issubclass(DrawingError, sg.SplineGeoError)


def test_region_sizes_of_squares_are_their_sides() -> None:
    np.testing.assert_allclose(region_sizes(quadrants()), 1.0)


@pytest.mark.parametrize("edges", ["auto", "stage", None])
def test_layouts_leave_room_for_the_domain(edges: str | None) -> None:
    """Layout engines and tight boxes ask every artist for its extent, also where regions reach beyond the view."""
    part = sg.enumerate_regions(mlp((2, 3, 1)), IDENTITY_PLANE, sg.Box(1.0))
    figure = Figure(layout="constrained")
    ax = figure.add_subplot()
    plot_regions(part, part.areas, ax=ax, edges=edges)
    ax.set(xlim=(-0.5, 0.5), ylim=(-0.5, 0.5))
    for artist in ax.collections:
        expected = ax.transData.transform([[-1.0, -1.0], [1.0, 1.0]])
        np.testing.assert_allclose(artist.get_window_extent().get_points(), expected)
    figure.savefig(io.BytesIO(), bbox_inches="tight")
