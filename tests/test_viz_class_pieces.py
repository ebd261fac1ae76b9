"""Regions cut at the decision boundary: checked by the network's own forward pass and by shapely."""

import numpy as np
import pytest
import shapely
import torch
from matplotlib.figure import Figure
from networks import linear, mlp, torch_forward, workload
from test_viz_region_figure import colors_at, drawn
from torch import nn

import splinegeo as sg
from viz.class_pieces import ClassPieces, class_pieces
from viz.coloring import color_regions
from viz.region_figure import region_figure
from viz.regions import plot_regions
from viz.style import style

PLANE = sg.Slice(np.zeros(2), np.eye(2))


def polygons(pieces: ClassPieces) -> list[shapely.Polygon]:
    ends = zip(pieces.offsets[:-1], pieces.offsets[1:], strict=True)
    return [shapely.Polygon(pieces.vertices[pieces.corners[a:b]]) for a, b in ends]


def of_one_region(weight: list[list[float]], bias: list[float] | None = None) -> sg.Partition:
    return sg.enumerate_regions(linear(weight, bias), PLANE, sg.Box(1.0))


@pytest.mark.parametrize("n_outputs", [1, 2, 10, 40])
def test_each_piece_has_one_class_and_they_fill_the_domain(n_outputs: int) -> None:
    model = mlp([2, 24, 24, n_outputs], bias=True, seed=n_outputs).double()
    part = sg.enumerate_regions(model, PLANE, sg.Box(2.0))
    pieces = class_pieces(part)
    shapes = polygons(pieces)
    assert pieces.areas.min() > 0
    np.testing.assert_allclose(pieces.areas, [shape.area for shape in shapes], rtol=1e-9, atol=1e-12)
    per_region = np.bincount(pieces.regions, pieces.areas, minlength=part.n_regions)
    np.testing.assert_allclose(per_region, part.areas, rtol=1e-9)
    # Points a little off the corners, inside: nearly at the boundary, where the region's centre says nothing.
    inside = np.concatenate(
        [0.999 * np.array(p.exterior.coords[:-1]) + 0.001 * np.array(p.centroid.coords) for p in shapes]
    )
    owners = np.repeat(np.arange(len(shapes)), np.diff(pieces.offsets))
    outputs = torch_forward(model, PLANE, inside)
    expected = outputs[:, 0] > 0 if n_outputs == 1 else outputs.argmax(axis=1)
    margin = np.abs(outputs[:, 0]) if n_outputs == 1 else np.diff(np.sort(outputs, axis=1)[:, -2:]).ravel()
    certain = margin > 1e-9
    assert certain.mean() > 0.95
    np.testing.assert_array_equal(pieces.classes[owners][certain], expected[certain])


def test_the_classes_on_the_two_sides_of_the_decision_boundary() -> None:
    part = workload("B").partition
    pieces = class_pieces(part)
    assert pieces.n_regions > part.n_regions
    tree = shapely.STRtree(polygons(pieces))
    boundary = part.decision_boundary()
    along = boundary.segments[:, 1] - boundary.segments[:, 0]
    lengths = np.linalg.norm(along, axis=1)
    long = lengths > 1e-3 * np.median(lengths)
    assert long.mean() > 0.9
    aside = 1e-7 * np.column_stack([-along[long, 1], along[long, 0]]) / lengths[long, None]
    middle = boundary.segments[long].mean(axis=1)
    sides = []
    for sign in (-1, 1):
        asked, found = tree.query(shapely.points(middle + sign * aside), predicate="within")
        np.testing.assert_array_equal(asked, np.arange(len(middle)))
        sides.append(pieces.classes[found])
    np.testing.assert_array_equal(np.sort(np.column_stack(sides), axis=1), boundary.classes[long])


def test_a_class_in_the_middle_of_a_region() -> None:
    # At no corner of the square is the third output the greatest.
    part = of_one_region([[1, 0], [-1, 0], [0, 0], [0, 1], [0, -1]], [0, 0, 0.5, 0, 0])
    pieces = class_pieces(part)
    areas = dict(zip(pieces.classes.tolist(), pieces.areas.tolist(), strict=True))
    assert areas == pytest.approx({2: 1.0, 0: 0.75, 1: 0.75, 3: 0.75, 4: 0.75})


def test_of_equal_outputs_the_first_is_the_class() -> None:
    pieces = class_pieces(of_one_region([[1, 0], [0, 0], [1, 0], [0, 0]]))
    assert sorted(zip(pieces.classes.tolist(), pieces.areas.tolist(), strict=True)) == [(0, 2.0), (1, 2.0)]
    (one,) = class_pieces(of_one_region([[0, 0], [0, 0], [0, 0]])).classes
    assert one == 0


@pytest.mark.parametrize("boundary", [False, True])
def test_pixels_have_the_class_that_the_network_predicts_there(boundary: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    torch.manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    part = sg.enumerate_regions(model, PLANE, sg.Box(1.0))
    coloring = color_regions(part, "class")
    with style("light"):
        figure = region_figure(part, coloring, "title", boundary=boundary)
        image = drawn(figure)
    t = np.random.default_rng(0).uniform(-0.95, 0.95, (4000, 2))
    edges = shapely.MultiLineString([*part.decision_boundary().segments, *part.vertices[part.edges]])
    bar = (t[:, 0] < 0) & (t[:, 1] < -0.7)
    t = t[(shapely.distance(shapely.points(t), edges) > 0.03) & ~bar]
    predicted = torch_forward(model, PLANE, t).argmax(axis=1)
    wrong = predicted != coloring.values[part.locate(t)].astype(int)  # type: ignore[index]
    assert wrong.any()  # by their regions' centres some would be coloured otherwise
    colors = np.array([color for _, color in coloring.categories])[predicted, :3]
    np.testing.assert_allclose(colors_at(figure, image, t), 255 * colors, atol=3)


def voronoi(n: int, seed: int = 0) -> sg.Partition:
    """One region whose classes are the Voronoi cells of n points."""
    sites = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    return of_one_region((2 * sites).tolist(), (-(sites**2).sum(axis=1)).tolist())


def test_many_classes_are_named_in_the_picture() -> None:
    part = voronoi(60)
    with style("light"):
        figure = region_figure(part, color_regions(part, "class"), "title")
    (ax,) = figure.axes
    present = np.unique(class_pieces(part).classes)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(legend) == 22
    assert legend[-1] == f"and {len(present) - 21} more"
    assert legend[:-1] == sorted(legend[:-1], key=int)
    named = {text.get_text(): text.get_position() for text in ax.texts if text.get_text().isdecimal()}
    assert len(named) > 30
    for name, place in named.items():
        assert (part.slice_maps[0] @ [*place, 1.0]).argmax() == int(name)
    figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y0 > 0
    assert ax.get_legend().get_window_extent().x1 < figure.bbox.x1


def test_few_classes_are_told_by_the_legend_alone() -> None:
    part = voronoi(10)
    with style("light"):
        figure = region_figure(part, color_regions(part, "class"), "title")
    present = np.unique(class_pieces(part).classes)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [str(k) for k in present]
    assert not [text for text in figure.axes[0].texts if text.get_text() in {str(k) for k in range(10)}]


@pytest.mark.parametrize("name", ["class", "norm", "alignment", "stage", "pattern"])
def test_a_plot_takes_the_names_of_the_colourings(name: str) -> None:
    part = sg.enumerate_regions(mlp([2, 8, 8, 3], bias=True, seed=4), PLANE, sg.Box(2.0))
    by_name, by_coloring = (
        plot_regions(part, values, Figure().add_subplot()) for values in (name, color_regions(part, name))
    )
    np.testing.assert_array_equal(by_name.region_colors(), by_coloring.region_colors())
    assert len(np.unique(by_name.region_colors(), axis=0)) > 1
