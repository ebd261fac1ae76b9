"""`splinegeo export-html`: a real run as a page in a real browser, clicked with a real mouse; and what it refuses."""

import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, browser
from small_runs import small_run

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from splinegeo._chunks import Watch
from viz.centroids import centroid_colors

READY = "document.body.dataset.renderer && document.body.dataset.shown !== undefined"
PIXELS = """((name) => { const canvas = [...document.querySelectorAll('#pictures canvas')]
    .find((one) => one.dataset.picture === name);
    return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]; })"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    """Its folder's name is markup."""
    return small_run(tmp_path_factory.mktemp("runs") / "<b>run&amp;", mnist, widths=(24, 24))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), size=(1200, 800)) as opened:
        yield opened


@pytest.fixture
def splinegeo(program):
    return partial(program, "export-html")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.reshape(-1) @ b.reshape(-1) / (np.linalg.norm(a) * np.linalg.norm(b)))


def partition_of(run: Path, epoch: int, mnist: LabelledImages, half_width: float | None = None) -> sg.Partition:
    model = load_model(RunFolder.open(run), epoch, mnist)
    domain = None if half_width is None else sg.Box(half_width)
    return sg.enumerate_regions(model, sg.Slice.through_points(mnist.x_train[:3]), domain)


def values_of_panel(opened: Browser) -> dict[str, str]:
    """What the panel says, by name, as written."""
    script = "[...document.querySelectorAll('#values dt')].map((dt) => [dt.textContent, dt.nextSibling.textContent])"
    return dict(opened.evaluate(script))


def number(text: str) -> float:
    mantissa, _, power = text.replace("−", "-").rpartition("10") if set(text) & set("⁰¹²³⁴⁵⁶⁷⁸⁹") else (text, "", "")
    return float(mantissa.rstrip("·") or 1) * 10.0 ** int(
        power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")) or 0
    )


def check_panel(opened: Browser, part: sg.Partition, t: np.ndarray, mnist: LabelledImages) -> None:
    """Compare the panel with the library for a click at slice coordinates t."""
    region = int(part.locate(t[None])[0])
    assert opened.evaluate("splinegeo.state.selected") == region
    name = opened.evaluate("document.getElementById('region-name').textContent").replace("\u2009", "")
    assert name == f"Region {region}"
    linear, bias = part.affine_map(region)
    x, centroid = part.plane.lift(t[None])[0], linear.sum(axis=0)
    images = mnist.x_train[:64].numpy()
    nearest = int(np.linalg.norm((images - x).reshape(64, -1), axis=1).argmin())
    shown = values_of_panel(opened)
    assert shown["class here"] == str((linear @ x.reshape(-1) + bias).argmax())
    expected = {
        "area": part.areas[region],
        "operator norm ‖A‖": np.linalg.norm(linear),
        "radius τ": centroid @ centroid + 2 * bias.sum(),
        "centroid norm ‖μ‖": np.linalg.norm(centroid),
        "distance of the nearest": np.linalg.norm(images[nearest] - x),
    }
    for key, value in expected.items():
        assert number(shown[key]) == pytest.approx(value, rel=6e-3 if "distance" in key else 6e-4), key
    cosines = {
        "cos (centroid, input here)": cosine(centroid, x),
        "cos (centroid, nearest)": cosine(centroid, images[nearest]),
        "cos (nearest, input here)": cosine(images[nearest], x),
    }
    for key, value in cosines.items():
        assert number(shown[key]) == pytest.approx(value, abs=6e-4), key
    # The pictures, pixel by pixel: the centroid as the library draws it, the image and the input in grey.
    pixels = np.array(opened.evaluate(f"{PIXELS}('centroid μ')")).reshape(28, 28, 4)[..., :3]
    of_library = centroid_colors(centroid.reshape(1, 1, 28, 28))[0].astype(int)
    assert np.abs(pixels - of_library).max() <= 2
    exact = np.array(opened.evaluate("Array.from(splinegeo.panel().centroid)"))
    assert cosine(exact, centroid) > 1 - 1e-9
    for picture, values in (("nearest image", images[nearest]), ("input here", x)):
        gray = np.array(opened.evaluate(f"{PIXELS}('{picture}')")).reshape(28, 28, 4)[..., 0]
        scaled = 255 * (values[0] - values.min()) / np.ptp(values)
        np.testing.assert_allclose(gray, scaled, atol=0.51 if picture == "input here" else 1.01)
    assert f"no. {nearest}, class {int(mnist.y_train[nearest])}" in opened.evaluate(
        "document.getElementById('pictures').textContent"
    )
    rows = opened.evaluate("[...document.querySelectorAll('#patterns div')].map((row) => row.textContent)")
    pattern = part.pattern(region)
    assert len(rows) == len(pattern) == 2
    for row, pieces in zip(rows, pattern, strict=True):
        assert f"{pieces.sum()} of 24 active" in row
    cells = opened.evaluate(
        """[...document.querySelectorAll('#patterns canvas')].map((canvas) => [canvas.width, canvas.height,
            ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data])"""
    )
    for (width, height, *values), pieces in zip(cells, pattern, strict=True):
        opacity = np.array(values).reshape(height, width, 4)[5::10, 5::10, 3].reshape(-1)[:24]
        np.testing.assert_array_equal(opacity > 128, pieces.astype(bool))


def test_a_run_clicked_and_stepped_through(
    splinegeo, chromium: Browser, run: Path, mnist: LabelledImages, tmp_path: Path
) -> None:
    epochs = list(RunFolder.open(run).checkpoints())
    page = tmp_path / "deep" / "page.html"
    code, out, _ = splinegeo(run, "--out", page)
    assert code == 0
    assert out.startswith(f"page: {page} (")
    assert f"{len(epochs)} checkpoints of " in out
    chromium.open(page)
    chromium.wait(READY)
    assert chromium.requests == [page.resolve().as_uri()]
    assert chromium.evaluate("document.getElementById('title').textContent").startswith("<b>run&amp;: hidden")
    assert chromium.evaluate("document.querySelectorAll('header b').length") == 0
    about = chromium.evaluate("document.getElementById('about').textContent").replace("\u2009", "")
    parts = [partition_of(run, epoch, mnist) for epoch in epochs]
    assert about.startswith(f"epoch {epochs[-1]} · {parts[-1].n_regions} regions · ")
    assert " · final · train accuracy " in about

    generator = np.random.default_rng(5)
    for x, y in generator.uniform((150, 120), (650, 620), (4, 2)).round().tolist():
        chromium.click(x, y)
        t = np.array(chromium.evaluate(f"splinegeo.sliceAt({x}, {y})"))
        chromium.wait("splinegeo.state.selected >= 0")
        check_panel(chromium, parts[-1], t, mnist)

    # The slider steps to another checkpoint; what was clicked stays the place, in the region that is there now.
    box = chromium.evaluate("Object.values(document.getElementById('checkpoint').getBoundingClientRect().toJSON())")
    chromium.click(box[0] + 2, box[1] + box[3] / 2)
    chromium.wait("document.body.dataset.shown === '0'")
    assert chromium.evaluate("document.getElementById('checkpoint-name').textContent") == "epoch 0"
    check_panel(chromium, parts[0], t, mnist)
    chromium.key("ArrowRight", 39)
    chromium.wait("document.body.dataset.shown === '1'")
    check_panel(chromium, parts[1], t, mnist)
    chromium.evaluate("""(() => { window.pressed = []; const play = document.getElementById("play");
        new MutationObserver(() => window.pressed.push(play.getAttribute("aria-pressed")))
          .observe(play, { attributeFilter: ["aria-pressed"] }); })()""")
    chromium.key(" ", 32)
    chromium.wait(f"document.body.dataset.shown === '{len(epochs) - 1}' && !splinegeo.state.playing")
    assert chromium.evaluate("window.pressed") == ["true", "false"]
    chromium.key("Escape", 27)
    assert chromium.evaluate("splinegeo.state.selected") == -1
    assert chromium.evaluate("document.getElementById('selected').hidden") is True
    # A click beside the domain selects nothing.
    chromium.click(8, 400)
    assert chromium.evaluate("splinegeo.state.selected") == -1
    # Patterns have one colour at all checkpoints: where a pattern lives on, so does its colour.
    colors: dict[bytes, tuple[int, ...]] = {}
    lived_on = 0
    for index, part in enumerate(parts):
        chromium.evaluate(f"splinegeo.goTo({index})")
        rgb = np.array(chromium.evaluate("[...splinegeo.state.frame.patternColors]")).reshape(-1, 3)
        for key, color in zip(part.pattern_keys, map(tuple, rgb.tolist()), strict=True):
            lived_on += key.tobytes() in colors
            assert colors.setdefault(key.tobytes(), color) == color
    assert lived_on > 20
    assert chromium.problems == []
    assert chromium.requests == [page.resolve().as_uri()]
    assert len(chromium.screenshot()) > 20_000


def test_partitions_are_kept_and_give_the_same_page(splinegeo, run: Path, tmp_path: Path, monkeypatch) -> None:
    options = ["--frames", "2", "--cache", tmp_path / "kept"]
    assert splinegeo(run, "--out", tmp_path / "first.html", *options)[0] == 0
    monkeypatch.setattr(sg, "iterate_regions", lambda *_, **__: pytest.fail("enumerated again"))
    assert splinegeo(run, "--out", tmp_path / "second.html", *options)[0] == 0
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_stopped_within_a_partition_nothing_in_part_is_kept(splinegeo, run: Path, tmp_path: Path, monkeypatch) -> None:
    """`enumerate_regions`, stopped, gives a part of the regions: kept as the whole it would be found again for ever."""
    advance = Watch.advance
    calls = itertools.count()

    def interrupted(watch: Watch, n: int) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        advance(watch, n)

    options = [run, "--out", tmp_path / "page.html", "--cache", tmp_path / "kept"]
    monkeypatch.setattr(Watch, "advance", interrupted)
    code, out, err = splinegeo(*options)
    kept = list((tmp_path / "kept").glob("*.npz"))
    assert code == 130
    assert out == ""
    assert f"stopped; no page was written; {len(kept)} partitions are in" in err
    assert 0 < len(kept) < len(RunFolder.open(run).checkpoints())
    assert not (tmp_path / "page.html").exists()
    assert all(sg.load_partition(path).complete for path in kept)
    monkeypatch.setattr(Watch, "advance", advance)
    assert splinegeo(*options)[0] == 0


def test_chosen_checkpoints_domain_and_points(
    splinegeo, chromium: Browser, run: Path, mnist: LabelledImages, tmp_path: Path
) -> None:
    first, *_, last = RunFolder.open(run).checkpoints()
    options = ["--checkpoints", f"final,{first}", "--half-width", "4", "--images", "8", "--title", "mine"]
    assert splinegeo(run, "--out", tmp_path / "page.html", *options)[0] == 0
    chromium.open(tmp_path / "page.html")
    chromium.wait(READY)
    described = chromium.evaluate("splinegeo.description")
    assert [frame["title"] for frame in described["frames"]] == [f"epoch {first}", f"epoch {last}"]
    assert described["title"] == "mine"
    assert described["shared"]["images"] == 8
    assert described["domain"]["size"] == 8.0
    assert described["frames"][1]["regions"] == partition_of(run, last, mnist, 4.0).n_regions
    assert [point["label"] for point in described["points"]] == [str(label) for label in mnist.y_train[:3].tolist()]
    code, out, _ = splinegeo(run, "--out", tmp_path / "one.html", "--frames", "1", "--points", "random")
    assert code == 0
    assert "1 partition of" in out


def test_a_partition_file(splinegeo, chromium: Browser, run: Path, mnist: LabelledImages, tmp_path: Path) -> None:
    part = partition_of(run, 0, mnist)
    part.save(tmp_path / "part.npz")
    code, out, _ = splinegeo(tmp_path / "part.npz")
    assert code == 0
    assert out.startswith(f"page: {tmp_path / 'part.html'} (")
    chromium.open(tmp_path / "part.html")
    chromium.wait(READY)
    assert chromium.evaluate("document.getElementById('time').hidden") is True
    chromium.click(400, 350)
    t = np.array(chromium.evaluate("splinegeo.sliceAt(400, 350)"))
    assert chromium.evaluate("splinegeo.state.selected") == part.locate(t[None])[0]
    pictures = json.loads(
        chromium.evaluate("JSON.stringify([...document.querySelectorAll('#pictures canvas')].map((one) => one.width))")
    )
    assert pictures == [28, 28, 28]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out", "page.txt"], 2, "--out must end in .html, got page.txt"),
        (["--checkpoints", "7000"], 1, "has no checkpoint '7000': there are 0, 1"),
        (["--checkpoints", " , "], 2, "--checkpoints takes all, or epochs and events"),
        (["--points", "0,1"], 2, "three different training points"),
        (["--half-width", "-1"], 1, "splinegeo: a box needs a positive finite half_width"),
        (["--image-shape", "28"], 2, "--image-shape takes HEIGHTxWIDTH"),
        (["--image-shape", "20x20"], 1, "splinegeo: an image of shape (20, 20) does not hold the 784 numbers"),
        (["--frames", "0"], 2, "--frames"),
    ],
)
def test_refusals_are_one_line(splinegeo, run: Path, arguments: list[str], code: int, message: str) -> None:
    found, _, err = splinegeo(run, *arguments)
    assert found == code
    assert message in err
    assert not list(run.glob("*.html*"))


def test_a_missing_run_and_a_foreign_file(splinegeo, tmp_path: Path) -> None:
    assert splinegeo(tmp_path / "none")[::2] == (
        1,
        f"splinegeo: there is no run folder and no partition file {tmp_path / 'none'}",
    )
    (tmp_path / "foreign.npz").write_bytes(b"no archive")
    code, _, err = splinegeo(tmp_path / "foreign.npz")
    assert code == 1
    assert "foreign.npz" in err
    assert not (tmp_path / "foreign.html").exists()
