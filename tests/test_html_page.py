"""The page to share, in a real browser: what it decodes, draws and computes is what the library says."""

import io
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import Browser, browser
from matplotlib.colors import LogNorm
from networks import IDENTITY_PLANE, mlp, mnist_images, points_inside, workload
from partition_files import PARTITIONS
from PIL import Image
from torch import nn

import splinegeo as sg
from viz.color_scale import shared_norm
from viz.colormaps import DUSK
from viz.errors import DrawingError
from viz.html_codec import GRID
from viz.html_frame import PageFrame
from viz.html_page import PageImages, write_page
from viz.region_colors import category_colors, centroid_alignments, predicted_classes

SIZE = (1100, 760)
READY = "document.body.dataset.renderer && document.body.dataset.shown !== undefined"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), size=SIZE) as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium_without_webgl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), "--disable-3d-apis", size=SIZE) as opened:
        yield opened


@cache
def large_convolution() -> sg.Partition:
    """A network whose first map is too large for a matrix."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        convolution = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(12, 4, 4, stride=4), nn.ReLU()
        model = nn.Sequential(*convolution, nn.Flatten(), nn.Linear(256, 5))
    plane = sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 3, 32, 32)))
    return sg.enumerate_regions(model, plane, sg.Box(0.1))


@cache
def page_partition(name: str) -> sg.Partition:
    return large_convolution() if name == "large convolution" else PARTITIONS[name]()


def show(opened: Browser, path: Path, *partitions: sg.Partition, **options) -> None:
    """Write a page and open it, on its first frame."""
    options = {"title": "test"} | options
    write_page(path, [PageFrame(part, f"frame {i}") for i, part in enumerate(partitions)], **options)
    opened.open(path)
    opened.wait(READY)
    if len(partitions) > 1:
        opened.evaluate("splinegeo.goTo(0)")


def screen_points(opened: Browser, t: np.ndarray) -> np.ndarray:
    """Pixels of the window where slice points are drawn."""
    script = """((points) => { const box = document.getElementById("overlay").getBoundingClientRect();
        const { low, size } = splinegeo.description.domain;
        return points.map(([a, b]) => {
          const [x, y] = splinegeo.view.toScreen((a - low[0]) / size * 16777215, (b - low[1]) / size * 16777215);
          return [x + box.left, y + box.top]; }); })"""
    return np.array(opened.evaluate(f"{script}({json.dumps(t.tolist())})"))


def pixels(opened: Browser) -> np.ndarray:
    opened.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    return np.asarray(Image.open(io.BytesIO(opened.screenshot())).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    "name",
    ["small", "S", "B", "leaky biased", "max pooling", "incomplete", "no activation", "scalar", "large convolution"],
)
def test_the_page_reads_what_the_library_knows(chromium: Browser, tmp_path: Path, name: str) -> None:
    part = page_partition(name)
    show(chromium, tmp_path / "page.html", part)
    assert chromium.problems == []
    size = float(np.ptp(part.domain, axis=0).max())
    loops = chromium.evaluate("""(() => { const { mesh } = splinegeo.state.frame; return [[...mesh.offsets],
        Array.from(mesh.corners, (c) => [mesh.x[c], mesh.y[c]])]; })()""")
    np.testing.assert_array_equal(loops[0], part.offsets)
    found = part.domain.min(axis=0) + np.array(loops[1]) * (size / GRID)
    np.testing.assert_allclose(found, part.vertices[part.corners], rtol=0, atol=0.51 * size / GRID)

    expected = {
        "norm": part.operator_norms(),
        "radius": part.radii(),
        "area": part.areas,
        "alignment": centroid_alignments(part),
    }
    for key, values in expected.items():
        shown = chromium.evaluate(f"Array.from(splinegeo.state.frame.values.{key})")
        np.testing.assert_allclose(shown, values, rtol=1.6e-5, atol=1e-30, err_msg=key)
    np.testing.assert_array_equal(chromium.evaluate("[...splinegeo.state.frame.classes]"), predicted_classes(part))
    boundary = chromium.evaluate("splinegeo.state.frame.boundary.map((axis) => [...axis])")
    ends = part.domain.min(axis=0) + np.array(boundary).T * (size / GRID)
    segments = part.decision_boundary().segments.reshape(-1, 2)
    assert ends.shape == segments.shape
    np.testing.assert_allclose(ends, segments, rtol=0, atol=0.51 * size / GRID)

    # Patterns bit by bit where a unit is one bit, centroids number by number, classes at points of the regions.
    generator = np.random.default_rng(0)
    regions = generator.choice(part.n_regions, size=min(20, part.n_regions), replace=False)
    centroids = part.centroids(regions)
    at = points_inside(part, regions, generator)
    outputs = part.network(part.plane.lift(at).reshape(len(at), -1))
    decided = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
    error = chromium.evaluate("splinegeo.description.frames[0].centroidError")
    scale = np.sqrt(np.square(part.centroids()).sum(axis=1).mean())
    for r, centroid, t, klass in zip(regions.tolist(), centroids, at, decided, strict=True):
        if name != "max pooling":
            layers = chromium.evaluate(f"splinegeo.state.frame.network.pattern({r}).map((layer) => layer.active)")
            assert [list(map(int, pieces)) for pieces in part.pattern(r)] == layers
        shown = np.array(chromium.evaluate(f"Array.from(splinegeo.state.frame.network.centroid({r}))"))
        assert np.linalg.norm(shown - centroid) <= (error + 1e-5) * scale
        if name != "large convolution":
            assert chromium.evaluate(f"splinegeo.state.frame.classAt({r}, {t.tolist()})") == klass
    assert (error > 0) == (name == "large convolution")
    assert error < 0.5

    anywhere = part.domain.min(axis=0) + size * generator.random((300, 2))
    located = part.locate(anywhere)
    grid = ((anywhere - part.domain.min(axis=0)) * (GRID / size)).tolist()
    shown = chromium.evaluate(f"{json.dumps(grid)}.map(([x, y]) => splinegeo.state.frame.mesh.locate(x, y))")
    np.testing.assert_array_equal(shown, located)


def fills(opened: Browser, part: sg.Partition, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colours drawn in the middle of the largest regions, and those expected there."""
    opened.evaluate("""for (const id of ["show-edges", "show-points"])
        if (document.getElementById(id).checked) document.getElementById(id).click()""")
    largest = np.argsort(part.areas)[-12:]
    places = np.rint(screen_points(opened, part.interior_points[largest])).astype(int)
    image = pixels(opened)
    return image[places[:, 1], places[:, 0]], np.rint(255 * expected[largest])


@pytest.mark.parametrize("renderer", ["WebGL", "canvas"])
def test_regions_have_their_colours_where_they_are(
    renderer: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = "chromium" if renderer == "WebGL" else "chromium_without_webgl"
    opened: Browser = request.getfixturevalue(name)
    part = PARTITIONS["B"]()
    show(opened, tmp_path / "page.html", part)
    used = opened.evaluate("document.body.dataset.renderer")
    if renderer == "WebGL" and used != "WebGL":
        pytest.skip("this Chromium offers no WebGL2, not even in software")
    assert used == renderer
    assert ("without WebGL" in opened.evaluate("document.getElementById('note').textContent")) == (renderer == "canvas")
    norms = part.operator_norms()
    by_norm = DUSK(np.rint(255 * shared_norm([norms])(norms).data).astype(int))[:, :3]
    shown, expected = fills(opened, part, by_norm)
    np.testing.assert_allclose(shown, expected, rtol=0, atol=9)
    opened.evaluate("""(() => { const choice = document.getElementById("color"); choice.value = "classes";
        choice.dispatchEvent(new Event("change")); })()""")
    shown, expected = fills(opened, part, category_colors(predicted_classes(part)))
    np.testing.assert_allclose(shown, expected, rtol=0, atol=5)
    assert len(np.unique(expected, axis=0)) == 2
    assert opened.problems == []


def luminance(rgb: np.ndarray) -> np.ndarray:
    return (rgb[..., :3] / 255.0) ** 2.2 @ np.array([0.2126, 0.7152, 0.0722])


def edges_over_fills(opened: Browser, part: sg.Partition, edges: np.ndarray) -> np.ndarray:
    """How much lighter (relative luminance) the page is along edges, with them than without; at most beside them."""
    middles = part.vertices[part.edges[edges]].mean(axis=1)
    places = np.rint(screen_points(opened, middles)).astype(int)
    rows, columns = (places[:, axis, None, None] for axis in (1, 0))
    near = np.arange(-1, 2)
    images = []
    for _ in range(2):
        images.append(luminance(pixels(opened)[rows + near[:, None], columns + near]).reshape(len(edges), -1))
        opened.evaluate("document.getElementById('show-edges').click()")
    change = images[0] - images[1]
    return np.take_along_axis(change, np.abs(change).argmax(axis=1)[:, None], axis=1)[:, 0]


@pytest.mark.parametrize("renderer", ["WebGL", "canvas"])
def test_edges_stand_out_and_follow_light_or_dark(
    renderer: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    opened: Browser = request.getfixturevalue("chromium" if renderer == "WebGL" else "chromium_without_webgl")
    part = page_partition("S")
    norms = part.operator_norms()
    fill = luminance(DUSK(np.rint(255 * shared_norm([norms])(norms).data).astype(int), bytes=True))
    inner = np.flatnonzero((part.edge_faces >= 0).all(axis=1))
    beside = fill[part.edge_faces[inner]]
    length = np.linalg.norm(np.diff(part.vertices[part.edges[inner]], axis=1)[:, 0], axis=1)
    kinds = {
        "dark": (beside < 0.06).all(axis=1),
        "between": ((beside > 0.1) & (beside < 0.34)).all(axis=1),
        "light": (beside > 0.4).all(axis=1),
    }
    chosen = {name: inner[of][np.argsort(length[of])[-8:]] for name, of in kinds.items()}
    assert all(len(edges) == 8 for edges in chosen.values())
    for scheme in ("light", "dark"):
        opened.prefer(scheme)
        show(opened, tmp_path / "page.html", part)
        if opened.evaluate("document.body.dataset.renderer") != renderer:
            pytest.skip("this Chromium offers no WebGL2, not even in software")
        opened.evaluate("document.getElementById('show-points').click()")
        assert (edges_over_fills(opened, part, chosen["dark"]) > 0.01).all()
        assert (edges_over_fills(opened, part, chosen["light"]) < -0.01).all()
        between = edges_over_fills(opened, part, chosen["between"])
        assert (between < -0.01).all() if scheme == "light" else (between > 0.01).all()
    opened.prefer("light")
    assert opened.problems == []


@pytest.mark.parametrize("renderer", ["WebGL", "canvas"])
def test_edges_fade_where_they_are_dense(renderer: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    opened: Browser = request.getfixturevalue("chromium" if renderer == "WebGL" else "chromium_without_webgl")
    part = page_partition("S")
    show(opened, tmp_path / "page.html", part)
    if opened.evaluate("document.body.dataset.renderer") != renderer:
        pytest.skip("this Chromium offers no WebGL2, not even in software")
    opened.evaluate("document.getElementById('show-points').click()")
    widths = []
    for spacing in (0.2, 1.0, 2.0, 5.0, 50.0):
        style = opened.evaluate(f"splinegeo.edgeStroke({spacing}, 1)")
        widths.append(style["width"] * style["opacity"])
    assert widths == sorted(widths)
    assert widths[0] < 0.01 * widths[-1]
    inner = np.flatnonzero((part.edge_faces >= 0).all(axis=1))
    length = np.linalg.norm(np.diff(part.vertices[part.edges[inner]], axis=1)[:, 0], axis=1)
    longest = inner[np.argsort(length)[-8:]]
    before = np.abs(edges_over_fills(opened, part, longest)).mean()
    opened.evaluate("splinegeo.view.scale = 0.02 * splinegeo.view.scale; splinegeo.select(null)")
    # The page's own timer is set as it draws and is the shorter one: however long that takes, it is over before.
    opened.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 400)))")
    assert np.abs(edges_over_fills(opened, part, longest)).mean() < 0.3 * before


def test_titles_and_labels_are_text(chromium: Browser, tmp_path: Path) -> None:
    hostile = (
        "</title></script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>&amp;\u2028{{style}}"
    )
    part = workload("S").partition
    images = PageImages(mnist_images(4), [hostile] * 4, hostile)
    frames = [PageFrame(part, hostile, hostile)]
    write_page(
        tmp_path / "page.html", frames, title=hostile, point_labels=[hostile] * 3, images=images, image_shape=(28, 28)
    )
    chromium.open(tmp_path / "page.html")
    chromium.wait(READY)
    chromium.evaluate("splinegeo.select([8e6, 8e6])")
    assert chromium.evaluate("document.title") == hostile
    assert chromium.evaluate("document.getElementById('title').textContent") == hostile
    assert hostile in chromium.evaluate("document.getElementById('pictures').textContent")
    assert chromium.evaluate("window.broken === undefined && document.images.length === 0") is True
    assert chromium.problems == []


def test_the_page_asks_for_nothing_and_may_not(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    show(chromium, path, PARTITIONS["small"]())
    assert chromium.requests == [path.resolve().as_uri()]
    text = path.read_text()
    assert re.findall(r"(?:src|href)\s*=|https?://|@import", text.split('id="description"')[0]) == []
    for attempt in (
        "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')",
        "new Promise((done) => { const image = new Image(); image.onload = () => done('sent');"
        " image.onerror = () => done('refused'); image.src = 'http://127.0.0.1:9/a.png'; })",
        "new Promise((done) => { addEventListener('securitypolicyviolation', () => done('refused'), { once: true });"
        " const script = document.createElement('script'); script.textContent = 'window.injected = 1';"
        " document.body.append(script); })",
    ):
        assert chromium.evaluate(attempt) == "refused"
    assert chromium.evaluate("window.injected") is None
    assert any("Content Security Policy" in problem for problem in chromium.problems)


def test_panning_zooming_and_hovering(chromium: Browser, tmp_path: Path) -> None:
    part = PARTITIONS["B"]()
    show(chromium, tmp_path / "page.html", part)
    region = int(np.argsort(part.areas)[-150])
    # Wheels turn at whole pixels.
    x, y = np.rint(screen_points(chromium, part.interior_points[[region]])[0]).tolist()
    target = np.array([chromium.evaluate(f"splinegeo.sliceAt({x}, {y})")])
    assert part.locate(target)[0] == region
    for _ in range(5):
        chromium.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    assert chromium.evaluate("splinegeo.view.scale / splinegeo.view.fitScale") == pytest.approx(np.exp(0.0016 * 1500))
    np.testing.assert_allclose(screen_points(chromium, target)[0], [x, y], atol=1e-3)  # it stays under the mouse
    chromium.mouse("mouseMoved", x, y)
    chromium.wait("!document.getElementById('hover').hidden")
    hovered = chromium.evaluate("document.getElementById('hover').textContent")
    klass = part.network(part.plane.lift(target[:1])).argmax()
    assert hovered.replace("\u2009", "").startswith(f"region {region} · class {klass} · operator norm")
    chromium.drag((x, y), (x + 80, y - 60))
    np.testing.assert_allclose(screen_points(chromium, target)[0], [x + 80, y - 60], atol=1e-3)
    assert chromium.evaluate("splinegeo.state.selected") == -1  # a drag is no click
    chromium.key("0", 48)
    assert chromium.evaluate("splinegeo.view.scale === splinegeo.view.fitScale") is True
    # Deep zooms go on until a step of the grid is a pixel.
    chromium.evaluate("for (let i = 0; i < 60; i++) splinegeo.view.zoom(2)")
    assert chromium.evaluate("splinegeo.view.scale") == 1
    assert chromium.problems == []


def test_light_and_dark_follow_the_reader(chromium: Browser, tmp_path: Path) -> None:
    show(chromium, tmp_path / "page.html", PARTITIONS["small"]())
    background = "getComputedStyle(document.body).backgroundColor"
    try:
        chromium.prefer("dark")
        assert chromium.evaluate(background) == "rgb(20, 21, 28)"
        chromium.prefer("light")
        assert chromium.evaluate(background) == "rgb(255, 255, 255)"
    finally:
        chromium.prefer("light")


def test_controls_have_names(chromium: Browser, tmp_path: Path) -> None:
    show(chromium, tmp_path / "page.html", PARTITIONS["small"](), PARTITIONS["small"]())
    nodes = chromium.send("Accessibility.getFullAXTree")["nodes"]
    interactive = {"button", "slider", "combobox", "checkbox", "application"}
    named = [(node["role"]["value"], node["name"]["value"]) for node in nodes if node["role"]["value"] in interactive]
    assert len(named) >= 9
    assert all(name.strip() for _, name in named)


def test_inputs_that_are_no_images(chromium: Browser, tmp_path: Path) -> None:
    show(chromium, tmp_path / "page.html", PARTITIONS["B"]())
    chromium.evaluate("splinegeo.select([8e6, 8e6])")
    assert "Inputs of shape (2) are no images" in chromium.evaluate("document.getElementById('pictures').textContent")
    assert chromium.evaluate("document.querySelectorAll('#pictures canvas').length") == 0
    assert chromium.problems == []


def test_the_same_input_gives_the_same_file(tmp_path: Path) -> None:
    part = PARTITIONS["small"]()
    first = write_page(tmp_path / "a.html", [PageFrame(part, "a")], title="t")
    second = write_page(tmp_path / "b.html", [PageFrame(part, "a")], title="t")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert first.total_bytes == second.total_bytes == (tmp_path / "a.html").stat().st_size
    assert first.regions == (part.n_regions,)


def test_refusals(tmp_path: Path) -> None:
    part, path = PARTITIONS["small"](), tmp_path / "page.html"
    frame = PageFrame(part, "a")
    other = sg.enumerate_regions(mlp((2, 5, 3), bias=True), IDENTITY_PLANE, sg.Box(2.0))
    images = workload("S").partition
    for frames, options, message in (
        ([], {}, "at least one partition"),
        ([frame, PageFrame(other, "b")], {}, "'b' has another domain than the first"),
        ([frame, PageFrame(images, "b")], {}, "'b' has another slice than the first"),
        ([frame], {"point_labels": ["x"]}, "goes through 0 points, but there are 1 labels"),
        ([frame], {"image_shape": (28, 28)}, "an image of shape (28, 28) does not hold the 2 numbers"),
        ([frame], {"image_shape": (1, 2)}, "(height, width) or (1 or 3, height, width), not (1, 2)"),
        ([frame], {"images": PageImages(np.zeros((2, 3)), ["a", "b"])}, "inputs of 2 numbers with a label each"),
        ([frame], {"images": PageImages(np.full((1, 2), np.nan), ["a"])}, "images must be finite"),
        ([frame], {"images": PageImages(np.zeros((8_000_001, 2)), ["a"] * 8_000_001)}, "more than 16 MB: give fewer"),
    ):
        with pytest.raises(DrawingError, match=re.escape(message)):
            write_page(path, frames, title="t", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_scale_is_the_librarys(chromium: Browser, tmp_path: Path) -> None:
    part = workload("S").partition
    show(chromium, tmp_path / "page.html", part)
    norm = shared_norm([part.operator_norms()])
    scale = chromium.evaluate("splinegeo.description.scales.norm")
    assert scale["log"] == isinstance(norm, LogNorm)
    np.testing.assert_allclose([scale["low"], scale["high"]], [norm.vmin, norm.vmax], rtol=1e-3)
