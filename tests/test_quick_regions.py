"""Figures 1 and 11 with --quick: a shorter run beside the whole one, and titles that say so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.run_folder import RunFolder
from experiments.runs import figure1
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings


def small_settings(seed: int = 0) -> RunSettings:
    return RunSettings(
        DataSettings(n_train=64, n_test=16),
        ModelSettings((32, 32), initial_scale=1.5),
        TrainingSettings("squared-error", learning_rate=0.003, batch_size=16, epochs=100, logs_per_decade=2),
        seed,
    )


def test_the_quick_setting_is_the_demo_but_shorter():
    demo, quick = figure1.demo_settings(3), figure1.quick_settings(3)
    assert quick.training.epochs * 4 == demo.training.epochs
    assert figure1.prefix(quick) == "Quick setting: "
    assert figure1.prefix(demo) == ""
    same = replace(demo, training=quick.training)
    assert same == quick


def test_figures_1_and_11_say_that_they_are_quick(
    program: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread
):
    monkeypatch.setattr(figure1, "quick_settings", small_settings)
    titles = []
    real = figure1.figure1

    def kept(images, labels, panels):
        titles.extend(panel.title for panel in panels)
        return real(images, labels, panels)

    monkeypatch.setattr(figure1, "figure1", kept)
    for number in (1, 11):
        code, out, _ = program("figure", number, tmp_path / "demo", "--quick", "--threads", 1, "--device", "cpu")
        assert code == 0
        assert "settings of its own" not in out
    assert RunFolder.open(tmp_path / "demo_quick").settings == small_settings()
    assert not (tmp_path / "demo").exists()
    assert {path.name for path in (tmp_path / "demo_quick").glob("*.png")} == {
        "figure1.png",
        *(f"figure11_{number}.png" for number in (1, 2, 3)),
    }
    assert len(titles) == 8
    assert all(title.startswith("Quick setting: ") for title in titles)
    assert titles[0] == "Quick setting: memorised"
