"""Figure 1 and its parts: what is where, nothing overlaps, files are whole."""

import dataclasses
import io
import os
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from networks import mlp, mnist_images
from torch import nn

import splinegeo as sg
import viz
from viz.errors import DrawingError
from viz.figures import RegionPanel, figure1
from viz.images import image_array
from viz.markers import mark_points
from viz.marks import CENTROID_COLOR, POINT_COLOR, SHAPES, arrowhead
from viz.region_fill import RegionFill
from viz.regions import plot_regions
from viz.saving import save_figure
from viz.scale_bar import ScaleBar
from viz.text import grouped, percent, rounded, text_width, wrapped

mpl.use("Agg")

LABELS = [5, 0, 4]


@cache
def images() -> np.ndarray:
    return mnist_images(3)[:, None]


@cache
def model(scale: float) -> nn.Sequential:
    net = nn.Sequential(nn.Flatten(), *mlp((784, 32, 32, 10)))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(scale)
    return net.double()


@cache
def panel(scale: float) -> RegionPanel:
    part = sg.enumerate_regions(model(scale), sg.Slice.through_points(images()), sg.Box(30.0))
    return RegionPanel.at_points(part, f"scale {scale}", "epoch 35 · test accuracy 84.5 % · alignment 0.05")


def two_panels() -> list[RegionPanel]:
    return [panel(2.0), panel(0.6)]


def region_axes(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if any(isinstance(child, RegionFill) for child in ax.get_children())]


def fill_of(ax: Axes) -> RegionFill:
    return next(child for child in ax.get_children() if isinstance(child, RegionFill))


def marks(ax: Axes, color: str) -> list[Line2D]:
    return [line for line in ax.lines if line.get_markerfacecolor() == color and len(line.get_xdata()) == 1]


def position(line: Line2D) -> np.ndarray:
    return np.array([line.get_xdata()[0], line.get_ydata()[0]])  # type: ignore[index]


def drawn(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, :3].astype(int)


def texts(figure: Figure) -> list[Text]:
    """The texts that can be seen; those of ticks beyond the ends of their axis are not drawn."""
    beyond = set()
    for ax in figure.axes:
        low, high = ax.get_ylim()
        beyond |= {tick.label2 for tick in ax.yaxis.get_major_ticks() if not low <= tick.get_loc() <= high}
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip() and text not in beyond
    ]


# the figure


def test_panels_share_one_logarithmic_scale_and_show_their_own_norms() -> None:
    with viz.style("light"):
        figure = figure1(images(), LABELS, two_panels())
    fills = [fill_of(ax) for ax in region_axes(figure)]
    assert len(fills) == 2
    assert fills[0].norm is fills[1].norm
    assert isinstance(fills[0].norm, LogNorm)
    for fill, drawn_panel, scale in zip(fills, two_panels(), (2.0, 0.6), strict=True):
        norms = np.asarray(fill.get_array())
        region = int(np.argmax(drawn_panel.partition.areas))
        at = drawn_panel.partition.interior_points[[region]]
        x = torch.from_numpy(drawn_panel.partition.plane.lift(at)).requires_grad_()
        rows = [torch.autograd.grad(model(scale)(x)[0, k], x)[0].numpy() for k in range(10)]
        assert norms[region] == pytest.approx(np.linalg.norm(rows), rel=1e-9)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_regions_have_the_colour_that_the_bar_gives_to_their_norm(theme: str) -> None:
    plain = [dataclasses.replace(p, points=None, centroids=None, centroid_distances=None) for p in two_panels()]
    with viz.style(theme):
        figure = figure1(images(), LABELS, plain)
    figure.set_dpi(200)
    image = drawn(figure)
    for ax, drawn_panel in zip(region_axes(figure), plain, strict=True):
        fill = fill_of(ax)
        part = drawn_panel.partition
        largest = np.argsort(part.areas)[-20:]
        column, row = np.floor(ax.transData.transform(part.interior_points[largest])).astype(int).T
        expected = np.rint(255 * np.asarray(fill.to_rgba(fill.get_array()))[largest, :3])
        exact = np.abs(image[row, column] - expected).max(axis=1) <= 1
        assert exact.sum() >= 15  # the scale bar may hide some
    corner = image[2, 2]
    assert (corner == np.rint(255 * np.array(to_rgb({"light": viz.LIGHT, "dark": viz.DARK}[theme].paper)))).all()


def test_images_titles_and_counts_are_shown() -> None:
    with viz.style("light"):
        figure = figure1(images(), LABELS, two_panels())
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 3
    for array, original in zip(shown, images()[:, 0], strict=True):
        low, high = images().min(), images().max()
        np.testing.assert_allclose(np.asarray(array), (original - low) / (high - low), atol=1e-12)
    written = [text.get_text() for text in texts(figure)]
    for drawn_panel in two_panels():
        assert drawn_panel.title in written
        assert any(text.startswith(f"{grouped(drawn_panel.partition.n_regions)} regions") for text in written)
    assert written.count("5") == 3  # beside its image and in both panels
    assert any("from the plane" in text for text in written)


CROWDED = {
    "as it is": {},
    "long subtitle": {
        "subtitle": "a subtitle so long that it cannot stand in one line above its panel, whatever is done"
    },
    "centroids far away": {"centroids": np.array([[300.0, 200.0], [301.0, 190.0], [-4000.0, 5.0]])},
    "all in one place": {"points": np.array([[5.0, 5.0], [5.2, 5.0], [5.0, 5.3]]), "centroids": np.full((3, 2), 6.0)},
    "points in the corners": {"points": np.array([[29.5, 29.5], [-29.5, -29.5], [29.0, -29.0]])},
}


@pytest.mark.parametrize("case", CROWDED)
@pytest.mark.parametrize("n_panels", [1, 2, 3])
def test_no_text_overlaps_another_or_leaves_the_figure(case: str, n_panels: int) -> None:
    panels = [dataclasses.replace(panel(scale), **CROWDED[case]) for scale in (2.0, 0.6, 2.0)[:n_panels]]
    with viz.style("light"):
        figure = figure1(images(), LABELS, panels)
    drawn(figure)
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts(figure)]
    assert len(boxes) > 8
    for (first, a), (second, b) in combinations(boxes, 2):
        common = Bbox.intersection(a, b)
        assert common is None or common.width * common.height < 1.0, (first, second)
    for text, box in boxes:
        assert figure.bbox.padded(0.5).contains(box.x0, box.y0), text
        assert figure.bbox.padded(0.5).contains(box.x1, box.y1), text


def test_wide_tick_labels_widen_the_figure_and_move_nothing() -> None:
    def geometry(factor: float) -> tuple[float, np.ndarray]:
        one = panel(2.0)
        values = np.linspace(1.0, 1.9, one.partition.n_regions) * factor
        with viz.style("light"):
            figure = figure1(images(), LABELS, [dataclasses.replace(one, values=values)])
        places = [ax.get_window_extent().extents / figure.dpi for ax in figure.axes]
        drawn(figure)
        for text in texts(figure):
            assert Text.get_window_extent(text).x1 <= figure.bbox.x1 + 0.5
        return float(figure.get_figwidth()), np.array(places)

    (narrow, places), (wide, moved) = geometry(1.0), geometry(1.234e-7)
    assert wide > narrow
    np.testing.assert_allclose(places, moved, atol=1e-6)


def test_a_figure_without_points_or_images() -> None:
    bare = dataclasses.replace(panel(2.0), points=None, centroids=None, centroid_distances=None)
    with viz.style("light"):
        figure = figure1(np.empty((0, 28, 28)), [], [bare])
    assert not any(ax.images for ax in figure.axes)
    assert drawn(figure).std() > 0


def test_figures_are_not_registered_with_pyplot_and_settings_stay() -> None:
    before, settings = plt.get_fignums(), dict(mpl.rcParams)
    figure1(images(), LABELS, [panel(2.0)])
    assert plt.get_fignums() == before
    assert dict(mpl.rcParams) == settings


# centroids


def test_panel_at_points_has_the_centroids_of_the_network_at_the_points() -> None:
    one = panel(2.0)
    x = torch.from_numpy(images()).requires_grad_()
    (centroids,) = torch.autograd.grad(model(2.0)(x).sum(), x)
    plane = one.partition.plane
    assert one.points is not None
    np.testing.assert_allclose(one.points, plane.project(images()), atol=1e-12)
    np.testing.assert_allclose(one.centroids, plane.project(centroids), atol=1e-9)
    np.testing.assert_allclose(one.centroid_distances, plane.distance(centroids), rtol=1e-9)


def view(half: float = 10.0) -> Axes:
    figure = Figure(figsize=(3, 3))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-half, half), ylim=(-half, half))
    return ax


def test_points_and_centroids_in_view_are_marked_where_they_are_and_joined() -> None:
    ax = view()
    points = np.array([[-5.0, -5.0], [5.0, -3.0], [0.0, 6.0]])
    centroids = np.array([[-1.0, 2.0], [3.0, 1.0], [-6.0, 6.0]])
    mark_points(ax, points, centroids, labels=["a", "b", "c"])
    for color, expected in ((POINT_COLOR, points), (CENTROID_COLOR, centroids)):
        found = marks(ax, color)
        np.testing.assert_array_equal([position(line) for line in found], expected)
        assert [line.get_marker() for line in found] == list(SHAPES[:3])
    joins = [np.asarray(line.get_xydata()) for line in ax.lines if len(line.get_xdata()) == 2]
    np.testing.assert_array_equal(joins, np.stack([points, centroids], axis=1))
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    assert not ax.child_axes


def test_a_centroid_out_of_view_is_pointed_to_from_the_border_with_its_distance() -> None:
    ax = view()
    point, centroid = np.array([[-5.0, -5.0]]), np.array([[400.0, 200.0]])
    mark_points(ax, point, centroid, labels=["a"])
    at_border, arrow = (position(line) for line in marks(ax, CENTROID_COLOR))
    assert np.abs(at_border).max() < 10
    assert np.abs(at_border).max() > 8.5
    way = (centroid - point)[0] / np.linalg.norm(centroid - point)
    np.testing.assert_allclose((at_border - point[0]) / np.linalg.norm(at_border - point[0]), way, atol=1e-9)
    pointing = (arrow - at_border) / np.linalg.norm(arrow - at_border)
    assert pointing @ way > 0.999
    assert np.abs(arrow).max() < 10
    distance = np.linalg.norm(centroid[0] - at_border)
    assert [text.get_text() for text in ax.texts] == ["a", f"{distance:.3g}"]


def test_a_point_out_of_view_is_pointed_to_and_keeps_its_name() -> None:
    ax = view()
    mark_points(ax, np.array([[0.0, -30.0], [1.0, 1.0]]), labels=["seven", "one"])
    at_border = position(marks(ax, POINT_COLOR)[0])
    np.testing.assert_allclose(at_border[0], 0.0, atol=1e-9)
    assert -10 < at_border[1] < -8.5
    distance = at_border[1] + 30
    assert [text.get_text() for text in ax.texts] == [f"seven: {distance:.3g}", "one"]


@pytest.mark.parametrize("place", [(900.0, 3.0), (900.0, 900.0), (-900.0, -900.0), (0.0, 900.0)])
def test_marks_at_the_border_do_not_hide_each_other(place: tuple[float, float]) -> None:
    ax = view()
    points = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.5]])
    mark_points(ax, points, np.array(place) + np.arange(8).reshape(4, 2))
    border = np.array([position(line) for line in marks(ax, CENTROID_COLOR) if line.get_marker() in SHAPES])
    assert len(border) == 4
    inches = ax.transData.transform(border) / ax.figure.dpi
    gaps = np.linalg.norm(inches[:, None] - inches[None], axis=-1) + 9 * np.eye(4)
    assert gaps.min() * 72 > 10  # points; a mark is about 6 wide
    assert np.abs(border).max() < 10


def test_centroids_too_close_to_tell_apart_are_magnified_with_the_directions_of_their_points() -> None:
    ax = view()
    points = np.array([[-5.0, -5.0], [5.0, -3.0], [0.0, 6.0]])
    origin = np.array([1.0, 0.5])
    centroids = origin + 0.004 * (points - origin) / np.linalg.norm(points - origin, axis=1, keepdims=True)
    mark_points(ax, points, centroids, labels=["a", "b", "c"], origin=origin)
    (lens,) = ax.child_axes
    np.testing.assert_array_equal([position(line) for line in marks(lens, CENTROID_COLOR)], centroids)
    apart = lens.transData.transform(centroids)
    assert min(np.linalg.norm(a - b) for a, b in combinations(apart, 2)) * 72 / ax.figure.dpi > 6
    rays = [np.asarray(line.get_xydata()) for line in lens.lines if line.get_linestyle() == "--"]
    assert len(rays) == 3
    for ray, point in zip(rays, points, strict=True):
        np.testing.assert_array_equal(ray[0], origin)
        direction, expected = ray[1] - ray[0], point - origin
        cosine = direction @ expected / (np.linalg.norm(direction) * np.linalg.norm(expected))
        assert cosine == pytest.approx(1, abs=1e-12)
    zoom = ax.viewLim.width / lens.viewLim.width * lens.bbox.width / ax.bbox.width
    (written,) = (text.get_text() for text in lens.texts)
    assert float(written.removeprefix("×").replace("\u2009", "")) == pytest.approx(zoom, rel=0.06)
    box = lens.get_window_extent()
    assert not any(box.contains(*ax.transData.transform(point)) for point in points)


def test_a_lens_far_from_the_origin_has_no_rays_and_equal_centroids_have_no_lens() -> None:
    points = np.array([[-5.0, -5.0], [5.0, -3.0], [0.0, 6.0]])
    centroids = 2.0 + 1e-3 * points
    ax = view()
    mark_points(ax, points, centroids, origin=np.array([-9.0, 9.0]))
    (lens,) = ax.child_axes
    assert not [line for line in lens.lines if line.get_linestyle() == "--"]
    np.testing.assert_array_equal([position(line) for line in marks(lens, CENTROID_COLOR)], centroids)
    same = view()
    mark_points(same, points, np.full((3, 2), 2.0), origin=np.array([-9.0, 9.0]))
    assert not same.child_axes
    assert len(marks(same, CENTROID_COLOR)) == 3


def test_the_scale_bar_gives_way_to_marks() -> None:
    figure = Figure(figsize=(3, 3))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    plot_regions(panel(2.0).partition, None, ax)
    (bar,) = (child for child in ax.get_children() if isinstance(child, ScaleBar))
    before = bar.get_window_extent()
    points = ax.transData.inverted().transform([before.get_points().mean(axis=0), [450, 450]])
    mark_points(ax, points, np.array([[0.0, 0.0], [1.0, 20.0]]))
    drawn(figure)
    after = bar.get_window_extent()
    assert not any(after.contains(*ax.transData.transform(point)) for point in points)
    assert after.x0 > before.x1
    assert ax.bbox.contains(after.x0, after.y0)
    assert ax.bbox.contains(after.x1, after.y1)


# text


def test_subtitles_are_broken_at_spaces_by_their_width() -> None:
    text = "epoch 1\u2009200 · test accuracy 91.5 % · alignment 0.58"
    lines = wrapped(text, 1.5, 7.0)
    assert " ".join(lines) == text
    assert len(lines) > 1
    assert all(text_width(line, 7.0) <= 1.5 for line in lines)
    assert wrapped("", 1.0, 7.0) == []
    assert wrapped("of 40\u2009000 points 30 % there", 0.01, 7.0) == ["of", "40\u2009000", "points", "30 %", "there"]
    assert wrapped("indivisible", 0.1, 7.0) == ["indivisible"]
    assert text_width("wide", 14.0) == pytest.approx(2 * text_width("wide", 7.0), rel=0.02)


def test_distances_have_three_digits_and_no_exponent() -> None:
    values = (0.01234, 1.0, 99.96, 999.4, 999.6, 3971.8)
    assert [rounded(value) for value in values] == ["0.0123", "1", "100", "999", "1\u2009000", "3\u2009972"]


def test_counts_are_grouped_by_thousands() -> None:
    assert [grouped(n) for n in (7, 1234, 1234567)] == ["7", "1\u2009234", "1\u2009234\u2009567"]


def test_shares_are_written_in_per_cent() -> None:
    assert [percent(share) for share in (1.0, 0.4512, 0.0)] == ["100.0\u2009%", "45.1\u2009%", "0.0\u2009%"]
    assert percent(0.285, 0) == "28\u2009%"


# images


def test_colour_images_keep_their_channels() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(2, 3, 8, 6))
    result = image_array(array)
    assert result.shape == (2, 8, 6, 3)
    np.testing.assert_allclose(result[1, 3, 2], (array[1, :, 3, 2] - array.min()) / np.ptp(array))


def test_an_image_of_one_value_is_drawn() -> None:
    assert (image_array(np.full((1, 4, 4), 3.0)) == 0).all()


# files


def small_figure() -> Figure:
    figure = Figure(figsize=(2, 2))
    ax = figure.add_axes((0, 0, 1, 1))
    plot_regions(panel(2.0).partition, "operator_norm", ax)
    return figure


def test_files_are_written_in_every_format_and_twice_the_same(tmp_path: Path) -> None:
    first = save_figure(small_figure(), tmp_path / "fig.v1", ("png", "pdf", "svg"))
    assert [path.name for path in first] == ["fig.v1.png", "fig.v1.pdf", "fig.v1.svg"]
    contents = [path.read_bytes() for path in first]
    for content, start in zip(contents, (b"\x89PNG", b"%PDF", b"<?xml"), strict=True):
        assert content.startswith(start)
    again = save_figure(small_figure(), tmp_path / "again", ("png", "pdf", "svg"))
    assert [path.read_bytes() for path in again] == contents
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in [*first, *again])


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = save_figure(small_figure(), tmp_path / "figure", ["png"])
    old = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for function in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, full)
            with pytest.raises(OSError, match="No space left"):
                save_figure(Figure(), tmp_path / "figure", ["png"])
        assert path.read_bytes() == old
        assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_if_a_format_is_unknown_or_drawing_fails(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match="figures are written as png, pdf, svg, not 'tiff'"):
        save_figure(small_figure(), tmp_path / "figure", ("png", "tiff"))
    with pytest.raises(DrawingError, match="not nothing"):
        save_figure(small_figure(), tmp_path / "figure", ())
    broken: Any = small_figure()
    broken.axes[0].set_title("$\\nonsense{$")
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(broken, tmp_path / "figure", ("png", "pdf"))
    assert not list(tmp_path.iterdir())


def vector_file(part: sg.Partition, file_format: str) -> bytes:
    figure = Figure(figsize=(2.6, 2.6))
    plot_regions(part, "area", figure.add_axes((0, 0, 1, 1)), scale_bar=False)
    buffer = io.BytesIO()
    with mpl.rc_context({"pdf.compression": 0}):
        figure.savefig(buffer, format=file_format, dpi=300)
    return buffer.getvalue()


def test_vector_files_hold_few_regions_as_polygons() -> None:
    part = panel(2.0).partition
    assert part.n_regions < 4000
    svg = vector_file(part, "svg").decode()
    group = svg.split('<g id="RegionFill')[1].split("<g id=")[0]
    polygons = sum(path.split('"')[0].count("M ") for path in group.split('d="')[1:])
    assert polygons == part.n_regions


def test_vector_files_of_dense_regions_stay_small(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(3, 784))
    part = sg.enumerate_regions(mlp((784, 196, 196, 196, 10)), sg.Slice.through_points(points), sg.Box(40.0))
    assert part.n_regions > 100_000
    figure = Figure(figsize=(2.6, 2.6))
    plot_regions(part, np.arange(part.n_regions, dtype=float), figure.add_axes((0, 0, 1, 1)))
    pdf, svg = save_figure(figure, tmp_path / "dense", ("pdf", "svg"))
    assert pdf.stat().st_size < 2_500_000  # a line and a fill for each region would take some 20 MB
    assert svg.stat().st_size < 4_000_000


# bad input


def test_bad_input_to_the_figure_is_refused_in_one_line() -> None:
    one = panel(2.0)
    replace = dataclasses.replace
    cases: list[tuple[Any, Any, Any, str]] = [
        (images(), LABELS, [], "needs at least one panel"),
        (images(), [5, 0], [one], "3 images but 2 labels"),
        (images()[:2], LABELS[:2], [one], "panel 'scale 2.0' has 3 points for 2 images"),
        (images(), LABELS, [replace(one, points=None)], "has centroids but no points"),
        (images(), LABELS, [replace(one, centroids=one.centroids[:2])], "has 2 centroids for 3 images"),  # type: ignore[index]
        (images(), LABELS, [replace(one, values=np.ones(3))], "one for each region"),
        (images(), LABELS, [replace(one, points=np.full((3, 2), np.nan))], "points .* must be finite"),
        (
            images(),
            LABELS,
            [replace(one, centroids=np.zeros((3, 784)))],
            r"centroids of panel 'scale 2.0' must be slice coordinates \(k, 2\)",
        ),
        (images().reshape(3, -1), LABELS, [one], r"images must have the shape .* not \(3, 784\)"),
        (np.ones((3, 2, 8, 8)), LABELS, [one], r"1 or 3 channels, not \(3, 2, 8, 8\)"),
        (np.full((3, 8, 8), np.inf), LABELS, [one], "images must be finite"),
    ]
    for pictures, labels, panels, message in cases:
        with pytest.raises(DrawingError, match=message) as caught:
            figure1(pictures, labels, panels)
        assert "\n" not in str(caught.value)


def test_a_panel_at_points_needs_points_inside_the_domain() -> None:
    part = panel(2.0).partition
    near = sg.enumerate_regions(model(2.0), part.plane, sg.Box(10.0))
    with pytest.raises(DrawingError, match=r"point 0 of the slice lies outside the domain.* Box\(32\.7\)"):
        RegionPanel.at_points(near, "")
    bare = sg.Slice(part.plane.origin, part.plane.basis, part.plane.input_shape)
    unmarked = sg.enumerate_regions(model(2.0), bare, sg.Box(10.0))
    with pytest.raises(DrawingError, match="not drawn through points"):
        RegionPanel.at_points(unmarked, "")


def test_bad_input_to_the_marks_is_refused() -> None:
    with pytest.raises(DrawingError, match="there are 2 points but 1 labels"):
        mark_points(view(), np.zeros((2, 2)), labels=["a"])
    with pytest.raises(DrawingError, match="there are 2 points but 3 centroids"):
        mark_points(view(), np.zeros((2, 2)), np.zeros((3, 2)))


def test_the_legend_names_only_what_is_there() -> None:
    whole = panel(2.0)
    without = dataclasses.replace(whole, centroids=None, centroid_distances=None)
    for drawn_panel, expected in ((whole, True), (without, False)):
        with viz.style("light"):
            names = {text.get_text() for text in texts(figure1(images(), LABELS, [drawn_panel]))}
        assert ("centroids of their regions" in names) is expected
        assert "data points" in names


@pytest.mark.parametrize(
    ("points", "centroids", "colors"),
    [
        (1.0, 1.0, []),
        (9.0, 1.0, [POINT_COLOR]),
        (1.0, 9.0, [CENTROID_COLOR]),
        (9.0, 9.0, [POINT_COLOR, CENTROID_COLOR]),
    ],
)
def test_the_arrows_of_the_legend_are_those_of_the_panels(points: float, centroids: float, colors: list[str]) -> None:
    known = panel(0.6)
    moved = dataclasses.replace(known, points=points * known.points, centroids=centroids * (known.points + 1.0))
    figure = figure1(images(), LABELS, [moved])
    legends = [legend for legend in figure.findobj(Legend) if "beyond" in legend.get_texts()[-1].get_text()]
    tip = arrowhead(np.array([1.0, 0.0])).get_path().vertices
    shown = [
        line.get_markerfacecolor()
        for legend in legends
        for line in legend.findobj(Line2D)
        if line.get_marker() != "none"
        and np.shape(line._marker.get_path().vertices) == np.shape(tip)
        and np.allclose(line._marker.get_path().vertices, tip)
    ]
    assert shown == colors


def test_a_figure_of_colours_has_no_bar() -> None:
    colors = np.random.default_rng(0).uniform(size=(panel(2.0).partition.n_regions, 3))
    with viz.style("light"):
        figure = figure1(images(), LABELS, [dataclasses.replace(panel(2.0), colors=colors)])
    (ax,) = region_axes(figure)
    np.testing.assert_allclose(fill_of(ax).region_colors()[:, :3], colors)
    assert not any("norm" in ax.get_ylabel() for ax in figure.axes)
    both = dataclasses.replace(panel(2.0), colors=colors, values=colors[:, 0])
    for broken in (both, dataclasses.replace(panel(2.0), colors=colors[:-1])):
        with pytest.raises(DrawingError, match=r"panel 'scale 2\.0' needs colours \(\d+, 3\) without values"):
            figure1(images(), LABELS, [broken])
