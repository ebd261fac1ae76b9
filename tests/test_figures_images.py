"""The figures as they look, compared with pictures in tests/baseline: a visible change fails here.

The networks' weights come from numpy's generator, the fonts from matplotlib. After an intended change look at the new
pictures, then keep them: `python -m pytest tests/test_figures_images.py --mpl-generate-path=tests/baseline`.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from networks import mnist_images
from torch import nn

import splinegeo as sg
from viz.centroids import CentroidPanel, centroid_grid
from viz.color_scale import shared_norm
from viz.curves import Curve as PlotCurve
from viz.curves import CurvePanel, curves_figure
from viz.figures import RegionPanel, figure1
from viz.markers import mark_points
from viz.migration import Curve, Migration
from viz.migration_frames import FramePictures, migration_frames, region_picture, region_pixels, window_pixels
from viz.pattern_colors import pattern_colors
from viz.regions import plot_regions
from viz.style import style

DPI = 64
LABELS = [5, 0, 4]


def pictured(test: Callable[[], Figure]) -> Callable[[], Figure]:
    # The root mean square of the difference, of 255: another version's antialiasing stays below.
    compare = pytest.mark.mpl_image_compare(
        baseline_dir="baseline", style="default", tolerance=1.5, savefig_kwargs={"dpi": DPI}
    )
    marked: Callable[[], Figure] = compare(test)
    return marked


def test_pictures_are_compared(request: pytest.FixtureRequest) -> None:
    assert request.config.getoption("--mpl") or request.config.getoption("--mpl-generate-path"), (
        "without --mpl nothing is compared: it belongs into addopts of pyproject.toml"
    )


@cache
def images() -> np.ndarray:
    return mnist_images(8)[:, None]


@cache
def model(scale: float) -> nn.Sequential:
    """A bias-free 784-20-16-10 network."""
    generator = np.random.Generator(np.random.PCG64(1))
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in ((784, 20), (20, 16), (16, 10)):
        linear = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=False, dtype=torch.float64)
        weight = scale * generator.uniform(-1, 1, (n_out, n_in)) / np.sqrt(n_in)
        linear.weight = nn.Parameter(torch.from_numpy(weight))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@cache
def partition(scale: float, half_width: float = 24.0) -> sg.Partition:
    return sg.enumerate_regions(model(scale), sg.Slice.through_points(images()[:3]), sg.Box(half_width))


def panel(scale: float, half_width: float = 24.0) -> RegionPanel:
    part = partition(scale, half_width)
    x = torch.from_numpy(images()[:3])
    centroids = sg.centroids(model(scale), x).numpy()
    return RegionPanel(
        part,
        f"scale {scale:g}",
        "epoch 35 · test accuracy 84.5 %",
        part.plane.points,
        part.plane.project(centroids),
        part.plane.distance(centroids),
    )


@pictured
def test_figure1() -> Figure:
    with style("light"):
        return figure1(images()[:3], LABELS, [panel(2.0), panel(0.7)])


@pictured
def test_figure1_of_patterns_with_points_beyond_the_view() -> Figure:
    still = panel(2.5, 6.0)
    colored = RegionPanel(
        still.partition,
        "patterns",
        "",
        still.points,
        still.centroids,
        still.centroid_distances,
        colors=pattern_colors(still.partition),
    )
    with style("dark"):
        return figure1(images()[:3], LABELS, [colored])


@pictured
def test_regions_without_values_and_edges_by_stage() -> Figure:
    with style("light"):
        figure = Figure(figsize=(3.4, 3.4))
        plot_regions(partition(2.0), None, figure.add_axes((0.03, 0.03, 0.94, 0.94)), edges="stage")
    return figure


@pictured
def test_many_labels_find_free_places() -> Figure:
    with style("light"):
        figure = Figure(figsize=(3.4, 3.4))
        ax = figure.add_axes((0.03, 0.03, 0.94, 0.94))
        plot_regions(partition(2.0), "area", ax)
        turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        points = 5.0 * np.column_stack([np.cos(turn), np.sin(turn)]) + np.array([3.0, 1.0])
        points[7:] *= 9.0
        mark_points(ax, points, 0.2 * points - 2.0, labels=[f"point {k}" for k in range(10)], origin=np.zeros(2))
    return figure


@pictured
def test_centroid_grid() -> Figure:
    x = torch.from_numpy(images())
    panels = [
        CentroidPanel(sg.centroids(model(scale), x).numpy(), f"scale {scale:g}", "alignment 0.02 · norm 0.3")
        for scale in (2.0, 0.7)
    ]
    with style("light"):
        return centroid_grid(images(), panels, (2, 4), title="Training images", subtitle="centroids: component 3")


@pictured
def test_centroid_grid_of_colour_images_in_three_rows() -> Figure:
    waves = np.sin(np.linspace(0, 9, 3 * 12 * 16)).reshape(1, 3, 12, 16) * np.arange(1, 6).reshape(5, 1, 1, 1)
    panels = [CentroidPanel(waves**power, f"Epoch {1000 * power} (memorised, target, final)") for power in (1, 2, 3, 4)]
    with style("dark"):
        return centroid_grid(waves, panels, (2, 3), title="test images", scale="image")


def frame_of(theme: str, *, by_pattern: bool) -> Figure:
    scales = (2.0, 1.2, 0.7)
    parts = [partition(scale) for scale in scales]
    plane = parts[0].plane
    assert plane.points is not None
    norm = None if by_pattern else shared_norm([part.operator_norms() for part in parts])
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    x = torch.from_numpy(images()[:3])
    epochs = np.array([0.0, 1.0, 3.0, 10.0, 40.0])
    shared = Migration(
        images=images()[:3],
        labels=[str(label) for label in LABELS],
        points=plane.points,
        origin=plane.project(np.zeros((1, 784)))[0],
        domain=parts[0].domain,
        epochs=np.array([0, 3, 40]),
        n_regions=np.array([part.n_regions for part in parts]),
        centroids=np.stack([plane.project(sg.centroids(model(scale), x)) for scale in scales]),
        curves=[
            Curve("test accuracy", epochs, np.array([0.1, 0.2, 0.5, 0.8, 0.9]), percent=True),
            Curve("centroid alignment", epochs, np.array([-0.2, 0.0, 0.25, 0.3, 0.7])),
        ],
        norm=norm,
        norm_samples=None if by_pattern else np.concatenate([part.operator_norms() for part in parts]),
        window=1.0,
    )
    pictures = []
    with style(theme):
        for scale, part in zip(scales, parts, strict=True):
            windows = [sg.enumerate_regions(model(scale), plane, point + corners) for point in plane.points]
            drawn = [
                region_picture(cut, None if by_pattern else cut.operator_norms(), norm, pixels, 80)
                for cut, pixels in [(part, region_pixels(80)), *((window, window_pixels(80)) for window in windows)]
            ]
            pictures.append(FramePictures(drawn[0], drawn[1:], [window.n_regions for window in windows]))
        *_, last = migration_frames(shared, pictures, 640)
    figure = Figure(figsize=(last.shape[1] / DPI, last.shape[0] / DPI), dpi=DPI)
    figure.figimage(last)
    return figure


@pictured
def test_migration_frame() -> Figure:
    return frame_of("light", by_pattern=False)


@pictured
def test_migration_frame_of_patterns() -> Figure:
    return frame_of("dark", by_pattern=True)


@pictured
def test_curves() -> Figure:
    steps = np.array([0.0, 1.0, 10.0, 100.0, 300.0, 3000.0, 10_000.0])
    rising = 1 / (1 + np.exp(-np.linspace(-4, 4, 7)))
    panels = [
        CurvePanel("Accuracy", "share", [PlotCurve("baseline", steps, rising), PlotCurve("ours", steps, rising**0.5)]),
        CurvePanel(
            "Norm", "‖J‖", [PlotCurve("ours", steps, np.stack([9 - 8 * rising, 12 - 9 * rising]) * 400)], log=True
        ),
    ]
    with style("light"):
        return curves_figure(panels, note="A smaller setting: 10\u2009000 epochs instead of 48\u2009000.")
