"""The frames of a migration: what moves, what stays, which colours, and that nothing collides."""

from functools import cache

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, to_rgb
from torch import nn

import splinegeo as sg
from viz.color_scale import shared_norm
from viz.colormaps import DUSK, srgb_to_oklab
from viz.errors import DrawingError
from viz.figures import RegionPanel
from viz.migration import (
    Curve,
    Migration,
    compass_positions,
    frame_pixels,
    migration_frames,
    migration_strip,
    pattern_colors,
    region_picture,
    region_pixels,
)
from viz.region_fill import RegionFill
from viz.style import style

WIDTH = 640
EPOCHS = [0, 3, 40]


@cache
def model(scale: float) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 4)]
        net = nn.Sequential(nn.Flatten(), *layers).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(scale)
    return net


@cache
def images() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((3, 1, 4, 4))


@cache
def partition(scale: float) -> sg.Partition:
    return sg.enumerate_regions(model(scale), sg.Slice.through_points(images()))


@cache
def migration(*, by_pattern: bool = False) -> Migration:
    parts = [partition(scale) for scale in (2.0, 1.0, 0.5)]
    plane = parts[0].plane
    assert plane.points is not None
    values = np.concatenate([part.operator_norms() for part in parts])
    centroids = [plane.project(sg.centroids(model(scale), torch.from_numpy(images()))) for scale in (2.0, 1.0, 0.5)]
    epochs = np.array([0.0, 1.0, 3.0, 10.0, 40.0])
    curves = [
        Curve("test accuracy", epochs, np.array([0.1, 0.2, 0.5, 0.8, 0.9]), percent=True),
        Curve("centroid alignment", epochs, np.array([-0.2, 0.0, 0.25, 0.3, 0.7])),
    ]
    origin = plane.project(np.zeros((1, 16)))[0]
    counts = np.array([part.n_regions for part in parts])
    norm = None if by_pattern else shared_norm([values])
    return Migration(
        images(), ["5", "0", "4"], plane.points, origin, parts[0].domain, np.array(EPOCHS), counts,
        np.stack(centroids), curves, norm, values,
    )  # fmt: skip


@cache
def frames(theme: str = "light") -> list[np.ndarray]:
    shared = migration()
    with style(theme):
        pictures = [
            region_picture(partition(scale), partition(scale).operator_norms(), shared.norm, region_pixels(WIDTH))
            for scale in (2.0, 1.0, 0.5)
        ]
        return list(migration_frames(shared, pictures, WIDTH))


def square_of_regions(frame: np.ndarray) -> np.ndarray:
    """The part of a frame where the regions are: the layout's inches at 80 pixels each."""
    return frame[36:356, 16:336].astype(int)


def test_frames_have_the_promised_size():
    assert frame_pixels(WIDTH) == (640, 480)
    assert frame_pixels(1283) == (1280, 960)
    assert [frame.shape for frame in frames()] == [(480, 640, 3)] * 3
    for width in range(640, 3840, 7):
        assert all(side % 2 == 0 for side in frame_pixels(width))


def test_regions_have_the_colours_of_the_shared_scale():
    shared = migration()
    assert shared.norm is not None
    for frame, scale in zip(frames(), (2.0, 1.0, 0.5), strict=True):
        part = partition(scale)
        region = int(part.areas.argmax())
        low, high = part.domain.min(axis=0), part.domain.max(axis=0)
        column, row = ((part.interior_points[region] - low) / (high - low) * 320).astype(int)
        expected = 255 * np.array(DUSK(shared.norm(part.operator_norms()[region])))[:3]
        neighbourhood = square_of_regions(frame)[319 - row - 3 : 319 - row + 4, column - 3 : column + 4].reshape(-1, 3)
        assert np.abs(neighbourhood - expected).max(axis=1).min() <= 4


def test_only_what_moves_changes():
    first, second, third = (frame.astype(int) for frame in frames())
    changed = (np.abs(first - second).max(axis=2) > 0) | (np.abs(second - third).max(axis=2) > 0)
    assert changed[36:356, 16:336].mean() > 0.9  # the regions
    assert not changed[40:90, 420:].any()  # the images
    assert not changed[36:350, 340:400].any()  # the colour bar
    curves = changed[375:450, 45:475]
    assert 0 < curves.any(axis=0).sum() < 80  # cursor and dots at three places of the axis


def test_the_cursor_moves_from_end_to_end():
    ink = np.array([255 * channel for channel in to_rgb("#1b1c24")])

    def cursor(frame: np.ndarray) -> int:
        dark = (np.abs(frame[382:395, 52:476].astype(int) - ink).max(axis=2) < 120).sum(axis=0)
        return int(dark.argmax())

    at = [cursor(frame) for frame in frames()]
    assert at[0] < 5
    assert at[0] < at[1] < at[2]
    assert at[2] > 415


def test_dark_frames_are_dark():
    assert frames("dark")[0][2, 2].max() < 60 < 200 < frames("light")[0][2, 2].min()


def test_equal_patterns_have_equal_colours_across_networks():
    one, other = partition(2.0), partition(1.0)
    colors = {key.tobytes(): color for key, color in zip(one.pattern_keys, pattern_colors(one), strict=True)}
    shared = 0
    for key, color in zip(other.pattern_keys, pattern_colors(other), strict=True):
        if key.tobytes() in colors:
            np.testing.assert_array_equal(colors[key.tobytes()], color)
            shared += 1
    assert shared > 10
    assert len({tuple(color) for color in pattern_colors(one)}) == one.n_regions


def test_neighbours_have_similar_colours():
    part = partition(2.0)
    lab = srgb_to_oklab(pattern_colors(part))
    pairs = part.edge_faces[(part.edge_faces >= 0).all(axis=1)]
    near = np.linalg.norm(lab[pairs[:, 0]] - lab[pairs[:, 1]], axis=1).mean()
    shuffled = np.random.default_rng(0).permutation(part.n_regions)
    far = np.linalg.norm(lab - lab[shuffled], axis=1).mean()
    assert 0 < near < 0.5 * far


def test_pattern_picture_shows_pattern_colours():
    part = partition(2.0)
    picture = region_picture(part, None, None, 320)
    region = int(part.areas.argmax())
    low, high = part.domain.min(axis=0), part.domain.max(axis=0)
    column, row = ((part.interior_points[region] - low) / (high - low) * 320).astype(int)
    np.testing.assert_allclose(picture[319 - row, column], 255 * pattern_colors(part)[region], atol=1.0)


def test_compass_keeps_directions_and_orders_distances():
    positions = np.array([[1e-3, 0.0], [0.0, 1.0], [-10.0, -10.0], [0.0, 0.0]])
    shown = compass_positions(positions, 1e-3, 100.0)
    np.testing.assert_allclose(shown[0], 0, atol=1e-12)
    np.testing.assert_allclose(shown[1], [0, 0.6])
    np.testing.assert_allclose(shown[2] / np.linalg.norm(shown[2]), [-np.sqrt(0.5)] * 2)
    np.testing.assert_array_equal(shown[3], 0)


@pytest.mark.parametrize("by_pattern", [False, True])
def test_strip(by_pattern: bool):
    shared = migration(by_pattern=by_pattern)
    parts = [partition(scale) for scale in (2.0, 0.5)]
    panels = [
        RegionPanel(part, f"epoch {k}", "", shared.points, shared.centroids[k], values=part.operator_norms())
        for k, part in enumerate(parts)
    ]
    figure = migration_strip(shared, panels)
    FigureCanvasAgg(figure).draw()
    fills = [child for ax in figure.axes for child in ax.get_children() if isinstance(child, RegionFill)]
    bars = [ax for ax in figure.axes if "norm of the region" in ax.get_ylabel()]
    assert len(bars) == (0 if by_pattern else 1)
    for fill, part in zip(fills, parts, strict=True):
        if by_pattern:
            np.testing.assert_allclose(fill.region_colors()[:, :3], pattern_colors(part))
        else:
            assert fill.norm is shared.norm
    for ax in bars:
        labels = [text for text in ax.get_yticklabels() if text.get_text()]
        assert labels
        assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in (*labels, ax.yaxis.label))


def test_no_centroids_and_constant_norms_can_be_shown():
    shared = migration()
    still = Migration(
        images(), ["5", "0", "4"], shared.points, shared.origin, shared.domain, np.array([7]), np.array([1]),
        np.broadcast_to(shared.origin, (1, 3, 2)), [], LogNorm(0.1, 1.0),
    )  # fmt: skip
    (frame,) = migration_frames(still, [np.zeros((320, 320, 3), dtype=np.uint8)], WIDTH)
    assert frame.shape == (480, 640, 3)


def test_refusals():
    shared = migration()
    picture = np.zeros((320, 320, 3), dtype=np.uint8)
    with pytest.raises(DrawingError, match="3 frames needs as many pictures, not 2"):
        list(migration_frames(shared, [picture] * 2, WIDTH))
    with pytest.raises(DrawingError, match="3 frames needs as many pictures, not 4"):
        list(migration_frames(shared, [picture] * 4, WIDTH))
    with pytest.raises(DrawingError, match="counts of regions and centroids"):
        Migration(
            images(), ["5", "0", "4"], shared.points, shared.origin, shared.domain, np.array([1, 2]), np.array([1, 2]),
            shared.centroids, [], None,
        )  # fmt: skip
    with pytest.raises(DrawingError, match="3 points but 3 images and 2 labels"):
        Migration(
            images(), ["5", "0"], shared.points, shared.origin, shared.domain, np.array(EPOCHS), shared.n_regions,
            shared.centroids, [], None,
        )  # fmt: skip
