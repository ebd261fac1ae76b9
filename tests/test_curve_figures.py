"""Figures 2 and 7: the settings are the paper's, the curves are the runs' metrics, and the commands resume."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import cli
from experiments.errors import RunFolderError
from experiments.run_curves import metric_curve
from experiments.run_folder import RunFolder
from experiments.runs import figure2, figure7
from experiments.settings import DataSettings, ModelSettings, RunSettings


def made_run(path: Path, values: dict[int, float]) -> RunFolder:
    run = RunFolder.create(path, RunSettings())
    for epoch, value in values.items():
        run.append_metrics({"epoch": epoch, "pc1_mean": value})
    return run


def test_curves_join_the_epochs_that_all_runs_have(tmp_path: Path):
    runs = [
        made_run(tmp_path / "a", {0: 0.1, 1: 0.2, 7: 0.3, 10: 0.4}),  # memorised at 7
        made_run(tmp_path / "b", {0: 0.5, 1: 0.6, 10: 0.8}),
    ]
    curve = metric_curve("both", runs, "pc1_mean")
    assert curve.steps.tolist() == [0, 1, 10]
    assert curve.values.tolist() == [[0.1, 0.2, 0.4], [0.5, 0.6, 0.8]]
    with pytest.raises(RunFolderError, match="a has not measured ntk_mean"):
        metric_curve("both", runs, "ntk_mean")


def test_settings_are_the_papers():
    of_figure2 = figure2.settings(figure2.PAPER, 4)
    assert list(of_figure2) == [
        f"{loss}/{method}" for loss in ("cross-entropy", "squared-error") for method in ("baseline", "grokalign")
    ]
    for name, chosen in of_figure2.items():
        loss, method = name.split("/")
        assert (chosen.seed, chosen.model.initial_scale, chosen.training.loss) == (4, 8.0, loss)
        assert chosen.training.methods == (() if method == "baseline" else ("grokalign",))
        assert (chosen.training.stop_at, chosen.training.weight_decay) == (None, 0.01)
    minimised, constrained = figure7.settings(figure7.PAPER, 0).values()
    assert (minimised.training.grokalign_level, constrained.training.grokalign_level) == (None, 5.0)
    assert replace(minimised, training=constrained.training) == constrained
    assert minimised.model.initial_scale == 8.0


@pytest.mark.parametrize(("number", "module"), [(2, figure2), (7, figure7)])
def test_the_command_trains_draws_and_reuses(
    tmp_path: Path, number: int, module, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], one_thread
):
    real, drawn = module.settings, []

    def small(setting, seed: int) -> dict[str, RunSettings]:
        return {
            name: replace(chosen, data=DataSettings(n_train=64, n_test=32), model=ModelSettings((16,)))
            for name, chosen in real(replace(setting, epochs=4, logs_per_decade=2), seed).items()
        }

    def kept(runs, setting):
        figure = draw(runs, setting)
        drawn.append((runs, figure))
        return figure

    draw = module.draw
    monkeypatch.setattr(module, "settings", small)
    monkeypatch.setattr(module, "draw", kept)
    folder = tmp_path / "figures"
    monkeypatch.setattr(
        sys, "argv", ["splinegeo", "figure", str(number), str(folder), "--quick", "--seeds", "0-1", "--threads", "1"]
    )
    for again in (False, True):
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert not exit_.value.code
        assert ("run 1 of" in capfd.readouterr().out) is not again
    assert (folder / f"figure{number}_quick.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / f"figure{number}_quick.pdf").read_bytes().startswith(b"%PDF")
    runs, figure = drawn[0]
    assert "QUICK, not the paper's setting" in " ".join(text.get_text() for text in figure.texts)
    assert "seeds: 2" in " ".join(text.get_text() for text in figure.texts)
    name, (first, second) = next(iter(runs.items()))
    metric = "pc1_mean" if number == 2 else "test_accuracy"
    curve = metric_curve(name, [first, second], metric)
    (line, _) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), curve.values.mean(axis=0))
    assert [seed.settings.seed for seed in (first, second)] == [0, 1]
