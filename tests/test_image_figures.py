"""Figures 5, 6 and 11: the settings are the paper's, the pictures show the runs' own figures, the commands resume."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cifar10 import expected

import experiments.robustness as robustness_module
import splinegeo as sg
from experiments import cli
from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.robustness import RobustnessSettings
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from experiments.runs import figure1, figure5, figure6, figure11
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings


@pytest.fixture
def splinegeo(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["splinegeo", "figure", *map(str, arguments), "--threads", "1"])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        assert not exit_.value.code, err
        return out

    return call


@pytest.fixture
def cifar_file(tmp_path: Path) -> Path:
    path = tmp_path / "some_cifar.npz"
    np.savez(path, **dict(zip(("x_train", "y_train", "x_test", "y_test"), expected(), strict=True)))
    return path


SMALL = figure5.Setting("figure5_quick", "QUICK, 30 samples", (2, 3, 4), 1e-2, 3, 2, 8, 6, 7)


def test_figure_5_has_the_papers_settings():
    chosen = figure5.settings(figure5.PAPER, 3, None)
    assert list(chosen) == ["weight-decay", "grokalign"]
    for name, run in chosen.items():
        assert run.data == DataSettings("cifar10", 1024, 1024)
        assert run.model == ModelSettings((32, 64, 128, 128), bias=False, initial_scale=1.0, network="cnn")
        training = run.training
        assert (training.learning_rate, training.weight_decay, training.batch_size) == (1e-3, 1e-3, 256)
        assert (training.loss, training.epochs, run.seed) == ("squared-error", 36_000, 3)
        assert training.methods == (("grokalign",) if name == "grokalign" else ())
        assert training.grokalign == 1e-3
    assert RobustnessSettings().epsilon == 4 / 255
    assert figure5.PAPER.epsilon == 4 / 255
    assert "QUICK, not the paper's setting" in figure5.QUICK.description


def test_figure_5_of_fewer_epochs_says_so():
    shorter = figure5.PAPER.of_length(300)
    assert (shorter.name, shorter.epochs) == ("figure5_300_epochs", 300)
    assert shorter.description == f"{figure5.PAPER.description}; here 300 epochs"
    assert {run.training.epochs for run in figure5.settings(shorter, 0, None).values()} == {300}
    assert figure5.PAPER.of_length(None) == figure5.PAPER.of_length(36_000) == figure5.PAPER


def test_figure_5_shows_the_runs(
    splinegeo, tmp_path: Path, cifar_file: Path, monkeypatch: pytest.MonkeyPatch, one_thread
):
    drawn = []
    real = figure5.draw

    def kept(*arguments):
        drawn.append(real(*arguments))
        return drawn[-1]

    monkeypatch.setattr(figure5, "QUICK", SMALL)
    monkeypatch.setattr(figure5, "draw", kept)
    folder = tmp_path / "figures"
    arguments = (5, folder, "--quick", "--seeds", "0-1", "--data-file", cifar_file)
    assert "run 1 of 4" in splinegeo(*arguments)
    assert (folder / "figure5_quick.png").read_bytes().startswith(b"\x89PNG")
    figure = drawn[0]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Training accuracy", "Test accuracy", "Robust accuracy, APGD", "Centroid alignment"]
    note = " ".join(text.get_text() for text in figure.texts)
    assert "CIFAR-10 from some_cifar.npz" in note
    assert "QUICK, 30 samples" in note
    assert "seeds: 2" in note
    runs = [RunFolder.open(folder / "figure5_quick" / "grokalign" / f"seed_{seed}") for seed in (0, 1)]
    _, of_grokalign = figure.axes[1].lines
    epochs = [entry["epoch"] for entry in runs[0].metrics() if "memorised" not in entry["events"]]
    assert of_grokalign.get_xdata().tolist() == epochs
    mean = np.mean([[entry["test_accuracy"] for entry in run.metrics()] for run in runs], axis=0)
    np.testing.assert_allclose(of_grokalign.get_ydata(), mean)
    _, of_grokalign = figure.axes[2].lines
    attacked = [
        [json.loads(line)["attacked_accuracy"] for line in (run.path / "robustness.jsonl").read_text().splitlines()]
        for run in runs
    ]
    np.testing.assert_allclose(of_grokalign.get_ydata(), np.mean(attacked, axis=0))

    # Again: nothing is trained, nothing attacked.
    monkeypatch.setattr(robustness_module, "attacked_accuracy", lambda *_, **__: pytest.fail("attacked again"))
    assert "run 1 of" not in splinegeo(*arguments)


def test_figure_6_shows_centroids_at_the_end(
    splinegeo, tmp_path: Path, cifar_file: Path, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch, one_thread
):
    drawn = {}
    real_grid = figure6.centroid_grid

    def kept(x, panels, grid, *, title, scale):
        drawn[title] = x, panels
        return real_grid(x, panels, grid, title=title, scale=scale)

    real_settings = figure6.settings

    def small(*arguments):
        return {
            name: replace(
                chosen,
                data=replace(chosen.data, n_train=32, n_test=7),
                model=chosen.model if chosen.model.network == "cnn" else ModelSettings((12,), initial_scale=1.0),
                training=replace(chosen.training, epochs=3, logs_per_decade=1),
            )
            for name, chosen in real_settings(*arguments).items()
        }

    monkeypatch.setattr(figure6, "QUICK", replace(figure6.QUICK, of_figure5=SMALL))
    monkeypatch.setattr(figure6, "settings", small)
    monkeypatch.setattr(figure6, "centroid_grid", kept)
    folder = tmp_path / "figures"
    splinegeo(6, folder, "--quick", "--data-file", cifar_file)
    for name in ("mnist", "cifar10"):
        assert (folder / f"figure6_quick_{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / f"figure6_quick_{name}.pdf").read_bytes().startswith(b"%PDF")
    assert list(drawn) == ["Quick setting: MNIST images", "Quick setting: CIFAR-10 images"]
    x, panels = drawn["Quick setting: MNIST images"]
    assert [panel.title for panel in panels] == ["Weight decay", "With GrokAlign"]
    np.testing.assert_allclose(x, mnist.x_train[:32].float().numpy())
    data = mnist.first(32, 7).to(torch.device("cpu"), torch.float32)
    for panel, run in zip(panels, ("weight-decay", "grokalign"), strict=True):
        opened = RunFolder.open(folder / "figure6_quick_mnist" / run / "seed_0")
        model = load_model(opened, "final", data)
        np.testing.assert_array_equal(panel.centroids, sg.centroids(model, data.x_train).numpy())
        assert f"{sg.alignment(model, data.x_train).mean().item():.2f}".replace("-", "−") in panel.subtitle
    assert drawn["Quick setting: CIFAR-10 images"][0].shape == (32, 3, 32, 32)


def test_figure_6_without_grokalign_is_the_same_but_for_that():
    for data_set in ("mnist", "cifar10"):
        without, with_ = figure6.settings(figure6.PAPER, data_set, 0, None).values()
        assert with_.training.methods == ("grokalign",)
        assert replace(with_, training=replace(with_.training, methods=())) == without
        assert without.training.loss == "squared-error"  # else the centroid of the aligned network is zero


def test_figure_11_takes_points_of_its_own(mnist: LabelledImages):
    found = figure11.slices(mnist)
    assert len(found) == 3
    flat = [index for triple in found for index in triple]
    assert len(set(flat)) == 9
    assert not set(flat) & set(figure1.POINTS)
    for triple in found:
        assert len({int(mnist.y_train[index]) for index in triple}) == 3
    assert found[0] == (3, 4, 5)  # a 1, a 9 and a 2
    with pytest.raises(RunFolderError, match="11 training points do not give 3 slices"):
        figure11.slices(mnist.first(11, 1))


def test_figure_11_draws_each_slice_of_a_run(splinegeo, tmp_path: Path, mnist: LabelledImages, one_thread, monkeypatch):
    settings = RunSettings(
        DataSettings(n_train=64, n_test=16),
        ModelSettings((32, 32), initial_scale=1.5),
        TrainingSettings("squared-error", learning_rate=0.003, batch_size=16, epochs=100, logs_per_decade=2),
    )
    monkeypatch.setattr(figure1, "demo_settings", lambda seed=0: settings)
    out = splinegeo(11, tmp_path / "run")
    assert "run 1 of 1" in out
    for number in (1, 2, 3):
        assert (tmp_path / "run" / f"figure11_{number}.png").read_bytes().startswith(b"\x89PNG")
    assert out.count("memorised") == 3
    data = mnist.first(64, 16)
    run = RunFolder.open(tmp_path / "run")
    counts = [
        sg.enumerate_regions(load_model(run, "final", data), sg.Slice.through_points(data.x_train[list(triple)]))
        for triple in figure11.slices(data)
    ]
    rows = [line.split() for line in out.splitlines() if line.startswith("final")]
    assert [int(row[-1]) for row in rows] == [partition.n_regions for partition in counts]
