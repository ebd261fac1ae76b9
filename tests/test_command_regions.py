"""The picture of `splinegeo regions` in other colours than the default's: what is asked is what is drawn."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import small_run

from experiments.data import LabelledImages


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
