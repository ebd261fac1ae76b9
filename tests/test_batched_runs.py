"""Seeds trained in one program: each folder holds what a run by itself writes, stopped and resumed or not."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from experiments.batched_runs import train_batched
from experiments.batched_training import BatchedTraining
from experiments.data import LabelledImages
from experiments.errors import RunFolderError, SettingsError, TrainingError
from experiments.latest_state import previous_path
from experiments.run_folder import RunFolder
from experiments.run_lock import training_into
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from experiments.train_run import is_finished, saved_epoch, target_epoch, train_run

CPU = torch.device("cpu")
WALL_CLOCK = {"seconds", "measuring_seconds"}
SEEDS = (0, 1, 5)


def settings_of(epochs: int, network: str = "mlp", **training) -> RunSettings:
    chosen = {"loss": "squared-error", "grokalign": 0.01, "batch_size": 60, "logs_per_decade": 4, "metric_points": 64}
    return RunSettings(
        DataSettings(n_train=256, n_test=128),
        ModelSettings((32, 24) if network == "mlp" else (3, 4, 8), initial_scale=2.0, network=network),
        TrainingSettings(**(chosen | {"epochs": epochs, "dtype": "float64"} | training)),
    )


@pytest.fixture
def few(mnist: LabelledImages) -> LabelledImages:
    return mnist.first(256, 128)


def folders(path: Path, settings: RunSettings) -> list[RunFolder]:
    return [RunFolder.take_up(path / f"seed_{seed}", replace(settings, seed=seed)) for seed in SEEDS]


def numbers(run: RunFolder) -> list[dict]:
    return [{key: value for key, value in entry.items() if key not in WALL_CLOCK} for entry in run.metrics()]


def assert_equal_runs(left: RunFolder, right: RunFolder, tolerance: float) -> None:
    """The same events at the same epochs, the same numbers up to a tolerance, the same checkpoints and states.

    The state before the latest is that of the save before the last one, and when that was is for the clock to say.
    """
    for one, other in zip(numbers(left), numbers(right), strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if isinstance(value, float):
                assert other[key] == pytest.approx(value, rel=tolerance, abs=tolerance), key
            else:
                assert other[key] == value, key
    names = sorted(path.name for path in left.checkpoint_folder.iterdir())
    assert names == sorted(path.name for path in right.checkpoint_folder.iterdir())
    for name in set(names) - {previous_path(left.checkpoint_folder).name}:
        one, other = (load_file(run.checkpoint_folder / name) for run in (left, right))
        assert one.keys() == other.keys()
        for key in one:
            torch.testing.assert_close(one[key], other[key], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"loss": "cross-entropy", "grokalign_level": 5.0},
        {"methods": ()},
        {"methods": ("grokfast",), "loss": "cross-entropy"},
        {"methods": ("grokfast-ma",), "epochs": 22},  # its window of 100 gradients is full after 20 epochs
        {"methods": ("adversarial",)},
        {"methods": ("grokalign", "grokfast", "adversarial"), "weight_decay": 0.0},
        {"network": "cnn", "loss": "cross-entropy", "epochs": 2},
        {"network": "cnn", "methods": ("adversarial",), "epochs": 2},
    ],
)
def test_batched_runs_are_the_single_runs(tmp_path: Path, few: LabelledImages, one_thread, training: dict):
    settings = settings_of(**({"epochs": 12} | training))
    batched, single = folders(tmp_path / "batched", settings), folders(tmp_path / "single", settings)
    train_batched(batched, few, CPU, show_progress=False)
    for run in single:
        train_run(run, few, CPU, show_progress=False)
    for one, other in zip(single, batched, strict=True):
        assert_equal_runs(one, other, 1e-8)
    weights = [
        load_file(run.latest_path)["model.1.weight" if "network" not in training else "model.0.weight"]
        for run in batched
    ]
    assert not torch.equal(weights[0], weights[1])


def test_float32_runs_are_the_single_runs(tmp_path: Path, few: LabelledImages, one_thread):
    settings = settings_of(3, dtype="float32")
    batched, single = folders(tmp_path / "batched", settings), folders(tmp_path / "single", settings)
    train_batched(batched, few, CPU, show_progress=False)
    for one, other in zip(single, batched, strict=True):
        train_run(one, few, CPU, show_progress=False)
        assert_equal_runs(one, other, 1e-3)


@pytest.mark.parametrize("methods", [("grokalign",), ("grokfast", "adversarial")])
@pytest.mark.usefixtures("saved_every_epoch")
def test_stopped_batches_resume_exactly(tmp_path: Path, few: LabelledImages, monkeypatch, one_thread, methods):
    """One run is even thrown back behind the others, as by a kill between the saves of two runs."""
    settings = settings_of(20, methods=methods)
    whole, broken = folders(tmp_path / "whole", settings), folders(tmp_path / "broken", settings)
    train_batched(whole, few, CPU, show_progress=False)
    run_epoch = BatchedTraining.run_epoch
    for epochs, behind in ((0, None), (3, 1), (5, None)):
        left = [epochs]

        def interrupted(training: BatchedTraining, left: list[int] = left):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return run_epoch(training)

        before = None if behind is None else broken[behind].latest_path.read_bytes()
        monkeypatch.setattr(BatchedTraining, "run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_batched(broken, few, CPU, show_progress=False)
        if before is not None:
            broken[behind].latest_path.write_bytes(before)
    assert [saved_epoch(run) for run in broken] == [8, 5, 8]
    monkeypatch.setattr(BatchedTraining, "run_epoch", run_epoch)
    train_batched(broken, few, CPU, show_progress=False)
    for one, other in zip(whole, broken, strict=True):
        assert json.dumps(numbers(one)) == json.dumps(numbers(other))
        for path in (*one.checkpoint_folder.glob("epoch_*"), one.latest_path):
            expected, found = load_file(path), load_file(other.checkpoint_folder / path.name)
            assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_a_single_run_goes_on_where_a_batch_stopped(tmp_path: Path, few: LabelledImages, one_thread):
    whole, mixed = (folders(tmp_path / name, settings_of(12)) for name in ("whole", "mixed"))
    train_batched(
        [
            RunFolder(run.path, replace(run.settings, training=replace(run.settings.training, epochs=5)), {})
            for run in mixed
        ],
        few,
        CPU,
        show_progress=False,
    )
    for one, other in zip(whole, mixed, strict=True):
        train_run(one, few, CPU, show_progress=False)
        train_run(other, few, CPU, show_progress=False)
        assert_equal_runs(one, other, 1e-9)


def test_a_run_that_meets_its_target_leaves_the_batch(tmp_path: Path, few: LabelledImages, monkeypatch, one_thread):
    settings = settings_of(80, stop_at=0.6)
    batched, single = folders(tmp_path / "batched", settings), folders(tmp_path / "single", settings)
    sizes = []
    run_epoch = BatchedTraining.run_epoch

    def counted(training: BatchedTraining):
        sizes.append(len(training.trainings))
        return run_epoch(training)

    monkeypatch.setattr(BatchedTraining, "run_epoch", counted)
    train_batched(batched, few, CPU, show_progress=False)
    for run in single:
        train_run(run, few, CPU, show_progress=False)
    ends = [target_epoch(run) for run in single]
    assert None not in ends
    assert len(set(ends)) > 1
    assert [target_epoch(run) for run in batched] == ends
    assert sizes == [sum(end > epoch for end in ends) for epoch in range(max(ends))]
    for one, other in zip(single, batched, strict=True):
        assert_equal_runs(one, other, 1e-7)
    before = [run.metrics_path.read_bytes() for run in batched]
    train_batched(batched, few, CPU, show_progress=False)
    assert [run.metrics_path.read_bytes() for run in batched] == before


@pytest.mark.usefixtures("saved_when_logged")
def test_a_run_that_diverges_does_not_harm_the_others(tmp_path: Path, few: LabelledImages, monkeypatch, one_thread):
    settings = settings_of(10)
    batched, single = folders(tmp_path / "batched", settings), folders(tmp_path / "single", settings)
    run_epoch, epochs = BatchedTraining.run_epoch, []

    def spoilt(training: BatchedTraining):
        epochs.append(len(training.trainings))
        if len(epochs) == 4:
            with torch.no_grad():
                next(training.trainings[1].model.parameters()).fill_(math.inf)
        return run_epoch(training)

    monkeypatch.setattr(BatchedTraining, "run_epoch", spoilt)
    with pytest.raises(
        TrainingError, match=r"seed_1: training stopped in epoch 4: .* checkpoint is of epoch 3"
    ) as error:
        train_batched(batched, few, CPU, show_progress=False)
    assert "\n" not in str(error.value)
    assert epochs == [3] * 4 + [2] * 6
    assert [is_finished(run) for run in batched] == [True, False, True]
    assert saved_epoch(batched[1]) == 3
    for index in (0, 2):
        train_run(single[index], few, CPU, show_progress=False)
        assert_equal_runs(single[index], batched[index], 1e-9)


def test_other_settings_and_a_held_folder_are_refused(tmp_path: Path, few: LabelledImages):
    one = RunFolder.take_up(tmp_path / "one", settings_of(3))
    other = RunFolder.take_up(tmp_path / "other", replace(settings_of(3, weight_decay=0.5), seed=1))
    with pytest.raises(SettingsError, match=r"differ in more than their seed: training.weight_decay: 0.5 and 0.01"):
        train_batched([one, other], few, CPU, show_progress=False)
    with training_into(one), pytest.raises(RunFolderError, match="another process"):
        train_batched([one], few, CPU, show_progress=False)
