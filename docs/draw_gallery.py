"""Draws the gallery: `python docs/draw_gallery.py [RUN]` runs the commands of docs/gallery and keeps what they make.

RUN is the run of `make demo` (default: demo, trained when it is not there, about three minutes). What else has to be
trained, the smaller settings of Figure 8 and the tables, goes into RUN/gallery and is reused. Pictures are scaled down
to the width of a page. The explorer needs a screen, if only that of xvfb-run, and the page to share a Chromium; where
there is none, their pictures stay as they are. With --page only the page is written.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gallery_page import GALLERY, IMAGES, REPRODUCTION, entries, page
from PIL import Image

from experiments.run_curves import metric_curve
from experiments.run_folder import RunFolder
from viz.curves import CurvePanel, curves_figure
from viz.saving import save_figure
from viz.style import style
from viz.video import find_ffmpeg

TESTS = Path(__file__).parent.parent / "tests"
PROGRAM = (sys.executable, "-c", "from experiments.cli import main; main()")
WIDEST = 1400
# Frame of the migration that the page shows: between memorisation and generalisation.
FRAME_OF_VIDEO = 0.8
SCREEN = ("xvfb-run", "-a", "-s", "-screen 0 1600x1000x24")
PAGE_SIZE = (1360, 990)
# Where the page to share is clicked: near the first digit.
CLICKED = (340, 660)


def draw_all(run: Path, work: Path) -> None:
    """Run the page's commands and keep their pictures; `work` is a folder for what they leave."""
    splinegeo("figure", "1", run)
    keep(run / "figure1.png", GALLERY / "figure1.png")
    splinegeo("figure", "11", run)
    for n in (1, 2, 3):
        keep(run / f"figure11_{n}.png", REPRODUCTION / f"figure11_{n}.png")
    draw_training(RunFolder.open(run), work / "train")
    keep(work / "train.png", GALLERY / "train.png")
    draw_regions(run, work)
    draw_migration(run, work)
    amplitudes = ("--noise", "0.1,0.2,0.3,0.4,0.5", "--epsilon", "1/255,2/255,4/255,8/255,16/255")
    splinegeo("robustness", run, *amplitudes, "--picture", work / "robustness.png")
    keep(work / "robustness.png", GALLERY / "robustness.png")
    draw_explorer(run, work)
    draw_page(run, work)
    draw_trained(run / "gallery")


def draw_regions(run: Path, work: Path) -> None:
    """Regions and centroids."""
    outputs = ("--out", work / "regions.npz", "--picture", work / "regions.png")
    splinegeo("regions", run, "--checkpoint", "final", "--half-width", 5, *outputs)
    keep(work / "regions.png", GALLERY / "regions.png")
    splinegeo("centroids", run, "--grid", "4x8", "--out", work / "centroids.png")
    keep(work / "centroids.png", GALLERY / "centroids.png")
    local = ("--component", "2", "--local", "--samples", "0-11", "--scale", "image", "--theme", "dark")
    chosen = ("--checkpoint", "0,memorised,final", *local, "--out", work / "centroids_local.png")
    splinegeo("centroids", run, *chosen)
    keep(work / "centroids_local.png", GALLERY / "centroids_local.png")


def draw_migration(run: Path, work: Path) -> None:
    """A frame of the video, and stills."""
    cache = ("--half-width", 10, "--cache", work / "cache")
    splinegeo("migrate", run, *cache, "--out", work / "m.mp4", "--strip", work / "unused.png")
    frame = frame_of(work / "m.mp4", len(RunFolder.open(run).checkpoints()), work)
    keep(frame, GALLERY / "migration_frame.png")
    look = ("--color", "pattern", "--theme", "dark", "--frames", 2, "--still-epochs", "0,memorised,final")
    strip = work / "migration_strip.png"
    splinegeo("migrate", run, *cache, *look, "--out", work / "unused.gif", "--strip", strip)
    keep(strip, GALLERY / "migration_strip.png")


def draw_explorer(run: Path, work: Path) -> None:
    """The window at two checkpoints, or one line that says why not."""
    screen: tuple[str, ...] = ()
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        if shutil.which(SCREEN[0]) is None:
            print("no picture of the explorer: there is no screen, and no xvfb-run")
            return
        screen = SCREEN
    for name, *chosen in (
        ("explorer", "--checkpoint", "memorised", "--select", "6,2"),
        ("explorer_zoom", "--checkpoint", "final", "--half-width", 5, "--select", "0.9,2.2"),
    ):
        splinegeo("explore", run, *chosen, "--screenshot", work / f"{name}.png", screen=screen)
        keep(work / f"{name}.png", IMAGES / f"{name}.png", widest=None)


def draw_page(run: Path, work: Path) -> None:
    """The page to share in a browser, a region clicked, or one line that says why not."""
    sys.path.insert(0, str(TESTS))
    from browser import PROGRAMS, browser

    if not any(shutil.which(name) for name in PROGRAMS):
        print(f"no picture of the page to share: there is no Chromium ({', '.join(PROGRAMS)})")
        return
    splinegeo("export-html", run, "--frames", 6, "--cache", work / "page_cache", "--out", work / "page.html")
    with browser(work / "profile", size=PAGE_SIZE) as chromium:
        chromium.prefer("light")
        chromium.open(work / "page.html")
        chromium.wait("document.body.dataset.renderer && document.body.dataset.shown !== undefined")
        chromium.evaluate("document.getElementById('show-boundary').click()")
        chromium.click(*CLICKED)
        chromium.wait("document.getElementById('region-name').textContent.startsWith('Region')")
        (work / "page.png").write_bytes(chromium.screenshot())
    keep(work / "page.png", IMAGES / "export_html.png", widest=None)


def draw_trained(folder: Path) -> None:
    """What trains networks of its own, in minutes."""
    for n in ("3", "10"):
        splinegeo("figure", n, folder)
        keep(folder / f"figure{n}.png", GALLERY / f"figure{n}.png")
    splinegeo("figure", "8", folder, "--quick")
    keep(folder / "figure8_quick.png", GALLERY / "figure8_quick.png")
    for n, *chosen in (("1", "--methods", "baseline,grokalign"), ("2",)):
        splinegeo("table", n, folder, "--quick", *chosen)
        shutil.copyfile(folder / f"table{n}_quick.md", GALLERY / f"table{n}_quick.md")


def splinegeo(*arguments: object, screen: Sequence[str] = ()) -> None:
    """Run a command as a user does."""
    print("splinegeo", *arguments, flush=True)
    subprocess.run([*screen, *PROGRAM, *map(str, arguments)], check=True)


def draw_training(run: RunFolder, stem: Path) -> None:
    """The metrics of a run as curves."""

    def panel(title: str, label: str, metrics: Sequence[tuple[str, str]], *, log: bool = False) -> CurvePanel:
        return CurvePanel(title, label, [metric_curve(name, [run], metric) for name, metric in metrics], log)

    panels = [
        panel("Accuracy", "share of samples", [("training set", "train_accuracy"), ("test set", "test_accuracy")]),
        panel("Centroid alignment", "cosine", [("training set", "centroid_alignment_mean")]),
        panel("Centroid norm", "norm", [("training set", "centroid_norm_mean")], log=True),
    ]
    with style("light"):
        save_figure(curves_figure(panels), stem, ("png",))


def frame_of(video: Path, n_frames: int, work: Path) -> Path:
    """One frame of a video as a picture."""
    program = find_ffmpeg()
    if program is None:
        sys.exit("the gallery needs ffmpeg: make install-dev")
    path = work / "frame.png"
    chosen = f"select=eq(n\\,{round(FRAME_OF_VIDEO * (n_frames - 1))})"
    arguments = ["-y", "-loglevel", "error", "-i", str(video), "-vf", chosen, "-frames:v", "1", str(path)]
    subprocess.run([program, *arguments], check=True)
    return path


def keep(path: Path, kept: Path, widest: int | None = WIDEST) -> None:
    """Put a picture where the page takes it from, no wider than so many pixels."""
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
    if widest is not None and shown.width > widest:
        size = (widest, round(shown.height * widest / shown.width))
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    shown.save(kept, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, default=Path("demo"))
    parser.add_argument("--page", action="store_true", help="write index.md alone, for the pictures that there are")
    chosen = parser.parse_args()
    GALLERY.mkdir(exist_ok=True)
    if not chosen.page:
        with tempfile.TemporaryDirectory() as folder:
            draw_all(chosen.run, Path(folder))
    (GALLERY / "index.md").write_text(page(entries()), encoding="utf-8")
    sizes = [path.stat().st_size for path in GALLERY.glob("*.png")]
    print(f"{GALLERY}: {len(sizes)} pictures, {np.sum(sizes) / 1e6:.1f} MB")
