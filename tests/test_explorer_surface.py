"""Regions as triangles, and lines as ribbons: areas, colours and widths against the partition and plane geometry."""

import numpy as np
import pytest
import shapely
from explorer_cases import partition

from viz.class_pieces import class_pieces
from viz.explorer_edges import MOST_EDGES, EdgeLines
from viz.explorer_ribbons import cased_ribbons, ribbons
from viz.explorer_surface import RegionSurface, fan_triangles
from viz.explorer_window import Window
from viz.napari_layers import labels_apart


def triangle_areas(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[triangles[:, k]].astype(np.float64) for k in range(3))
    return 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def test_fans_of_polygons_of_3_to_6_corners():
    offsets = np.array([0, 3, 7, 13])
    assert fan_triangles(offsets).tolist() == [
        [0, 1, 2], [3, 4, 5], [3, 5, 6], [7, 8, 9], [7, 9, 10], [7, 10, 11], [7, 11, 12],
    ]  # fmt: skip
    assert fan_triangles(np.array([0])).shape == (0, 3)


def test_triangles_cover_each_region_exactly_once():
    part = partition()
    assert part.n_regions > 100
    surface = RegionSurface.of(part, Window.around(part.domain))
    areas = triangle_areas(surface.vertices, surface.triangles)
    of_triangle = surface.region_of_vertex[surface.triangles]
    assert (of_triangle == of_triangle[:, :1]).all()  # no triangle is shared: colours are flat
    summed = np.bincount(of_triangle[:, 0], areas, minlength=part.n_regions)
    np.testing.assert_allclose(summed, part.areas, atol=1e-5 * part.areas.max())


def test_triangles_lie_inside_their_regions():
    part = partition()
    window = Window.around(part.domain)
    surface = RegionSurface.of(part, window)
    middles = surface.vertices[surface.triangles].astype(np.float64).mean(axis=1)
    region = surface.region_of_vertex[surface.triangles[:, 0]]
    thick = triangle_areas(surface.vertices, surface.triangles) > 1e-4
    np.testing.assert_array_equal(part.locate(window.to_slice(middles[thick])), region[thick])


def test_values_of_regions_at_vertices():
    part = partition()
    surface = RegionSurface.of(part, Window.around(part.domain))
    values = np.arange(part.n_regions, dtype=float)
    assert surface.per_vertex(values).dtype == np.float32
    np.testing.assert_array_equal(surface.per_vertex(values), surface.region_of_vertex)
    assert surface.per_vertex(np.ones((part.n_regions, 4))).shape == (len(surface.vertices), 4)


def test_ribbons_have_their_width_and_fade_to_nothing_at_both_sides():
    ends = np.array([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 1.0], [1.0, 7.0]]])
    made = ribbons(ends, np.array([[1, 0, 0, 1], [0, 0, 1, 0.5]]), width=6.0, pixel=0.1)
    assert made.vertices.shape == (16, 2)
    opaque = made.colors[:, 3] > 0
    for k, (segment, length) in enumerate(zip(ends, (5.0, 6.0), strict=True)):
        mine = slice(8 * k, 8 * k + 8)
        core = shapely.MultiPoint(made.vertices[mine][opaque[mine]]).convex_hull
        whole = shapely.MultiPoint(made.vertices[mine]).convex_hull
        assert core.area == pytest.approx(length * 0.51, rel=1e-5)  # 6 px less the soft 0.9
        assert whole.area == pytest.approx(length * 0.69, rel=1e-5)
        assert core.centroid.distance(shapely.LineString(segment)) < 1e-6
    assert triangle_areas(made.vertices, made.triangles).sum() == pytest.approx(11 * 0.69, rel=1e-5)
    assert made.colors[8:][opaque[8:], 3].tolist() == [0.5] * 4


def test_ribbons_of_no_length_and_of_none():
    made = ribbons(np.zeros((1, 2, 2)), np.ones((1, 4)), 2.0, 1.0)
    assert np.isfinite(made.vertices).all()
    assert triangle_areas(made.vertices, made.triangles).sum() == 0
    assert len(cased_ribbons(np.empty((0, 2, 2)), (1, 1, 1, 1), (0, 0, 0, 1), 2.0, 1.0).triangles) == 0


def test_the_casing_is_beneath_and_wider():
    made = cased_ribbons(np.array([[[0.0, 0.0], [1.0, 0.0]]]), (1, 1, 1, 1), (0, 0, 0, 1), 2.0, 0.01)
    assert made.colors[:8, :3].max() == 0.0
    assert made.colors[8:, :3].min() == 1.0
    assert np.ptp(made.vertices[:8, 1]) > np.ptp(made.vertices[8:, 1])
    assert made.triangles[6:].min() == 8


def test_edges_in_view_and_their_strength():
    part = partition()
    window = Window.around(part.domain)
    lines = EdgeLines(part, window)
    half = window.half_width
    whole = np.array([[-half, -half], [half, half]])
    fine = half / 5000
    inner = (part.edge_faces >= 0).all(axis=1).sum()
    assert len(lines.in_view(whole, fine)) == inner  # every region is wide at so fine a pixel
    corner = np.array([[-half, -half], [-0.5 * half, -0.5 * half]])
    seen = lines.in_view(corner, fine)
    assert 0 < len(seen) < inner
    boxes = shapely.box(corner[0, 0], corner[0, 1], corner[1, 0], corner[1, 1])
    crossing = [k for k, ends in enumerate(lines.ends) if shapely.LineString(ends).intersects(boxes)]
    assert set(crossing) <= set(seen.tolist())
    coarse = lines.in_view(whole, half / 5)
    assert len(coarse) < inner  # where regions are smaller than some pixels, no lines


def test_edges_are_light_over_dark_regions_and_never_too_many(monkeypatch: pytest.MonkeyPatch):
    part = partition()
    window = Window.around(part.domain)
    lines = EdgeLines(part, window)
    view = np.array([[-1.0, -1.0], [1.0, 1.0]]) * window.half_width
    pixel = window.half_width / 400
    on_light = lines.ribbons(view, pixel, np.zeros(part.n_regions, dtype=bool))
    on_dark = lines.ribbons(view, pixel, np.ones(part.n_regions, dtype=bool))
    n_inner = len(lines.in_view(view, pixel))
    assert on_light.colors[: 8 * n_inner, :3].max() < 0.2
    assert on_dark.colors[: 8 * n_inner, :3].min() > 0.8
    assert len(on_light.vertices) == 8 * (n_inner + len(part.domain))
    assert on_light.colors[:, 3].max() <= 1.0
    assert n_inner <= MOST_EDGES
    monkeypatch.setattr("viz.explorer_edges.MOST_EDGES", 20)
    kept = lines.in_view(view, pixel)
    assert len(kept) == 20
    assert lines.sizes[kept].min() >= np.sort(lines.sizes)[-20]


def test_labels_keep_clear_of_points_and_of_each_other():
    points = np.array([[0.0, 0.0], [0.0, 45.0], [5.0, 2.0], [100.0, 0.0], [100.0, 100.0]])
    # The third point stands where the first one's label would; the second is too far to meet it.
    assert labels_apart(points, 15.0) == [False, True, True, True, True]
    assert labels_apart(points, 1.0) == [True] * 5
    assert labels_apart(np.array([[0.0, 0.0], [1.0, 0.0]]), 15.0) == [True, False]
    assert labels_apart(np.empty((0, 2)), 15.0) == []


def test_triangles_of_classes_have_the_class_that_the_outputs_say():
    part = partition()
    window = Window.around(part.domain)
    pieces = class_pieces(part)
    assert pieces.n_regions > part.n_regions
    surface = RegionSurface.of(pieces, window)
    triangles = surface.vertices[surface.triangles].astype(np.float64)
    thick = triangle_areas(surface.vertices, surface.triangles) > 1e-4
    middles = window.to_slice(triangles.mean(axis=1)[thick])
    maps = part.slice_maps[part.locate(middles)]
    outputs = np.einsum("nck,nk->nc", maps, np.column_stack([middles, np.ones(len(middles))]))
    classes = (outputs[:, 0] > 0).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    piece = surface.region_of_vertex[surface.triangles[thick, 0]]
    np.testing.assert_array_equal(pieces.classes[piece], classes)
