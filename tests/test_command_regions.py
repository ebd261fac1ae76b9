"""The picture of `splinegeo regions` in other colours than the default's: what is asked is what is drawn."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import small_run

import splinegeo as sg
from experiments.data import LabelledImages
from splinegeo import refine
from splinegeo._chunks import Watch


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "run", mnist, epochs=2)


@pytest.fixture
def splinegeo(program):
    return partial(program, "regions")


def test_colorings_and_boundary(splinegeo, run: Path, tmp_path: Path) -> None:
    pictures = {}
    for name, *options in (
        ("norm",),
        ("boundary", "--boundary"),
        ("class", "--color-by", "class", "--boundary"),
        ("alignment", "--color-by", "alignment"),
    ):
        path = tmp_path / f"{name}.png"
        code, out, _ = splinegeo(run, "--out", tmp_path / "p.npz", "--picture", path, *options)
        assert code == 0
        assert f"picture: {path}" in out
        with Image.open(path) as image:
            pictures[name] = np.asarray(image.convert("RGB")).astype(int)
    shapes = {name: picture.shape for name, picture in pictures.items()}
    assert shapes["boundary"] == shapes["alignment"] != shapes["class"]
    assert (np.abs(pictures["boundary"] - pictures["alignment"]).max(axis=2) > 24).mean() > 0.2


def test_an_unknown_coloring_is_refused(splinegeo, run: Path) -> None:
    code, _, err = splinegeo(run, "--picture", "a.png", "--color-by", "shape")
    assert code == 2
    assert "--color-by must be one of norm, radius, area, alignment, class, stage, pattern, got 'shape'" in err


def test_stopped_it_says_that_the_regions_are_a_part(
    splinegeo, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Watch.advance
    calls = iter(range(100_000))

    def interrupted(watch: Watch, n: int) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        advance(watch, n)

    whole = sg.load_partition(_saved(splinegeo(run, "--out", tmp_path / "whole.npz"), tmp_path / "whole.npz"))
    monkeypatch.setattr(Watch, "advance", interrupted)
    monkeypatch.setattr(refine, "_LAST_REGIONS", 20)
    code, out, err = splinegeo(run, "--out", tmp_path / "part.npz")
    part = sg.load_partition(tmp_path / "part.npz")
    assert code == 130
    assert "stopped; these are the regions of a part of the square" in err
    assert not part.complete
    assert part.n_regions <= 20 < whole.n_regions
    share = part.areas.sum() / whole.areas.sum()
    assert f"{part.n_regions} linear regions on" in out
    assert f"a part: {share:.2%} of the area" in out


def _saved(result: tuple[int, str, str], path: Path) -> Path:
    assert result[0] == 0
    assert ", a part" not in result[1]
    return path
