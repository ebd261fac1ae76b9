"""Figures 8 and 9 and norm minimisation: the papers' settings, what the curves show, and the commands."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.norm_training import DescentSettings, SimulationSettings, TwoLayerSettings, initial_first_layer
from experiments.run_folder import RecordFolder
from experiments.runs import figure8, figure9, norm_minimisation
from experiments.transformer import TransformerSettings
from experiments.transformer_training import AdditionSettings
from viz.text import grouped

TINY = AdditionSettings(TransformerSettings(7, 8, 12, 2, 4), train_fraction=0.5, steps=5, logs_per_decade=4)
TINY_NETWORK = TwoLayerSettings(modulus=5, hidden_width=24)


@pytest.fixture
def splinegeo(program: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str]]:
    """Run the program in this process: exit code and standard output."""
    return lambda *arguments: program(*arguments)[:2]


def texts(figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def test_settings_are_the_papers():
    for figure, fixed in ((figure8, "none"), (figure9, "both")):
        baseline, aligned = figure.settings(figure.PAPER, 3).values()
        assert baseline == AdditionSettings(TransformerSettings(fixed=fixed), seed=3)
        assert aligned == replace(baseline, grokalign=1e-3)
        assert "QUICK, not the paper's setting" in figure.QUICK.description
        assert f"p = {figure.QUICK.base.transformer.modulus}," in figure.QUICK.description
        assert f"{grouped(figure.QUICK.base.steps)} steps" in figure.QUICK.description
        assert f"learning rate {figure.QUICK.base.learning_rate:g}" in figure.QUICK.description
    shorter = figure8.PAPER.of_length(10_000)
    assert shorter.description.endswith("48\u2009000 steps; here 10\u2009000 steps")
    paper = norm_minimisation.settings(norm_minimisation.PAPER, 2)
    assert paper["simulation"] == SimulationSettings(TwoLayerSettings(37, 512, 0.7, 2), 1e-3, 5000)
    assert paper["descent"].network == paper["simulation"].network
    for setting in (norm_minimisation.PAPER, norm_minimisation.QUICK):
        times = [chosen.steps * chosen.time_per_step for chosen in norm_minimisation.settings(setting, 0).values()]
        assert times[0] == pytest.approx(times[1], rel=0.02)
        assert f"p = {setting.simulation.network.modulus}, {setting.simulation.network.hidden_width} hidden" in (
            setting.description
        )


@pytest.mark.parametrize(("number", "module"), [(8, figure8), (9, figure9)])
def test_figures_8_and_9_train_draw_and_reuse(
    tmp_path: Path, number: int, module, monkeypatch: pytest.MonkeyPatch, splinegeo, one_thread
):
    fixed = module.QUICK.base.transformer.fixed
    tiny = replace(TINY, transformer=replace(TINY.transformer, fixed=fixed))
    monkeypatch.setattr(module, "QUICK", figure8.Setting("QUICK, a test", tiny))
    drawn = []
    real = figure8.draw
    monkeypatch.setattr(figure8, "draw", lambda *given: drawn.append((given[0], real(*given))) or drawn[-1][1])
    command = ("figure", number, tmp_path, "--quick", "--seeds", "0-1", "--threads", 1, "--device", "cpu")
    for again in (False, True):
        code, out = splinegeo(*command)
        assert code == 0
        assert ("run 4 of 4" in out) is not again
    stem = tmp_path / f"figure{number}_quick"
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    runs, figure = drawn[0]
    assert ("fixed embedding and unembedding" if number == 9 else "all weights learnt") in texts(figure)
    assert "QUICK, a test" in texts(figure)
    assert "seeds: 2" in texts(figure)
    accuracy, alignment, gini, jacobian = figure.axes
    logged = [run.metrics() for run in runs["grokalign"]]

    def values(metric: str) -> np.ndarray:
        return np.array([[entry[metric] for entry in entries] for entries in logged])

    for ax, line, expected in (
        (accuracy, 1, values("test_accuracy").mean(0)),
        (accuracy, 3, values("train_accuracy").mean(0)),
        (alignment, 1, values("centroid_alignment_mean").mean(0)),
        (alignment, 4, values("centroid_alignment_min").min(0)),
        (alignment, 5, values("centroid_alignment_max").max(0)),
        (gini, 1, values("gini_neuron_logit").mean(0)),
        (gini, 3, values("gini_embedding").mean(0)),
        (jacobian, 1, values("jacobian_norm_mean").mean(0)),
    ):
        np.testing.assert_allclose(ax.lines[line].get_ydata(), expected)
        assert ax.lines[line].get_color() == accuracy.lines[1].get_color()


def test_fewer_steps_are_named_and_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splinegeo, one_thread):
    monkeypatch.setattr(figure8, "PAPER", figure8.Setting("p = 7, a test", TINY))
    notes = []
    real = figure8.draw
    monkeypatch.setattr(figure8, "draw", lambda *given: notes.append(texts(drawn := real(*given))) or drawn)
    for steps, stem, stated in ((3, "figure8_3_steps", True), (5, "figure8", False)):
        code, _ = splinegeo("figure", 8, tmp_path, "--steps", steps, "--threads", 1, "--device", "cpu")
        assert code == 0
        assert (tmp_path / f"{stem}.png").exists()
        runs = [
            RecordFolder.open_as(tmp_path / stem / name / "seed_0", AdditionSettings)
            for name in ("baseline", "grokalign")
        ]
        assert [run.metrics()[-1]["epoch"] for run in runs] == [steps, steps]
        assert (f"p = 7, a test; here {steps} steps" in notes[-1]) is stated


def test_norm_minimisation_trains_draws_and_reuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splinegeo, one_thread
):
    small = norm_minimisation.Setting(
        "QUICK, a test",
        SimulationSettings(TINY_NETWORK, step_size=1e-2, steps=20),
        DescentSettings(TINY_NETWORK, learning_rate=1e-3, steps=40),
    )
    monkeypatch.setattr(norm_minimisation, "QUICK", small)
    drawn: dict[str, tuple] = {}

    def keep(name: str) -> None:
        real = getattr(norm_minimisation, name)

        def kept(runs, setting):
            drawn[name] = (runs, real(runs, setting))
            return drawn[name][1]

        monkeypatch.setattr(norm_minimisation, name, kept)

    keep("draw")
    keep("draw_circles")
    for again in (False, True):
        code, out = splinegeo("norm-minimisation", tmp_path, "--quick", "--threads", 1, "--device", "cpu")
        assert code == 0
        assert ("run 2 of 2" in out) is not again
        assert "overlap of frequencies" in out
        assert len(out.strip().splitlines()[-3:]) == 3
        assert out.strip().splitlines()[-1].startswith("gradient descent, end")
    for name in ("norm_minimisation_quick", "norm_minimisation_quick_circles"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    runs, curves = drawn["draw"]
    simulation, descent = runs["simulation"][0], runs["descent"][0]
    lines = curves.axes[1].lines
    assert lines[0].get_xdata()[-1] == 20
    # 40 steps of 2 · 0.01 · 0.001 / (1 − 0.9), in steps of 0.01.
    assert lines[1].get_xdata()[-1] == pytest.approx(40 * 2e-4 / 1e-2)
    for line, run in zip(lines, (simulation, descent), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [entry["squared_norm"] for entry in run.metrics()])
    assert "zero loss throughout" in texts(curves)
    _, circles = drawn["draw_circles"]
    assert [ax.get_title() for ax in circles.axes] == [
        "Both, start",
        "Simulated dynamics, end",
        "Gradient descent, end",
    ]
    ends = [initial_first_layer(TINY_NETWORK)]
    ends += [run.load_checkpoint("latest").weights["first_layer"] for run in (simulation, descent)]
    for ax, table in zip(circles.axes, ends, strict=True):
        shown = np.asarray(ax.collections[0].get_offsets())
        assert shown.shape == (5, 2)
        assert (np.linalg.norm(shown, axis=1) <= np.linalg.norm(table.numpy(), axis=1) + 1e-6).all()
        share = np.square(shown).sum() / table.square().sum().item()
        assert f"{100 * share:.0f} % of the squared norm" in ax.get_xlabel()


def test_figure_9_with_the_embedding_alone_fixed(tmp_path: Path, monkeypatch, splinegeo, one_thread):
    monkeypatch.setattr(figure9, "QUICK", figure8.Setting("QUICK, a test", TINY))
    code, _ = splinegeo("figure", 9, tmp_path, "--quick", "--fixed", "embedding", "--threads", 1, "--device", "cpu")
    assert code == 0
    run = RecordFolder.open_as(tmp_path / "figure9_embedding_quick" / "grokalign" / "seed_0", AdditionSettings)
    assert run.settings.transformer.fixed == "embedding"
    assert (tmp_path / "figure9_embedding_quick.png").exists()
    for wrong in ("all", "none"):  # nothing fixed would be Figure 8
        assert splinegeo("figure", 9, tmp_path, "--quick", "--fixed", wrong)[0] == 2


def test_a_run_of_another_figure_is_refused(tmp_path: Path, splinegeo):
    RecordFolder.create(tmp_path / "figure8_quick" / "baseline" / "seed_0", TINY)
    code, _ = splinegeo("figure", 8, tmp_path, "--quick")
    assert code == 1
