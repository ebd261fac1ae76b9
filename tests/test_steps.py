"""Stepwise training: what is logged and saved, and that a stopped run goes on bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from experiments.errors import CheckpointError, RunFolderError, SettingsError, TrainingError
from experiments.run_folder import RecordFolder, RunFolder
from experiments.settings import RunSettings
from experiments.steps import is_trained, train_steps


@dataclass(frozen=True)
class WalkSettings:
    """A random walk of the weights."""

    seed: int = 0
    size: float = 0.5


class Walk:
    """Adds noise to four numbers; fails at the step it is told to."""

    def __init__(self, settings: WalkSettings, fails_at: int | None = None, stops_at: int | None = None) -> None:
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.weights = torch.zeros(4)
        self.size = settings.size
        self.taken = 0
        self.fails_at = fails_at
        self.stops_at = stops_at

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.fails_at:
            raise TrainingError("the loss is nan")
        if self.taken == self.stops_at:
            raise KeyboardInterrupt
        self.weights = self.weights + self.size * torch.randn(4, generator=self.generator)

    def measure(self) -> dict[str, float]:
        return {"norm": float(self.weights.norm())}

    def tensors(self) -> dict[str, Tensor]:
        return {"model.weights": self.weights, "generator": self.generator.get_state()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self.weights = tensors["model.weights"]
        self.generator.set_state(tensors["generator"])


LOGGED = (0, 1, 2, 5, 10, 20)


def without_seconds(entries: list[dict]) -> list[dict]:
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


def test_logs_and_checkpoints_are_written_at_their_steps(tmp_path) -> None:
    run = RecordFolder.take_up(tmp_path / "walk", WalkSettings())
    walk = Walk(WalkSettings())
    entries = train_steps(run, walk, 20, LOGGED, save_steps=(10, 20), show_progress=False)
    assert [entry["epoch"] for entry in entries] == list(LOGGED)
    assert list(run.checkpoints()) == [10, 20]
    assert torch.equal(run.load_checkpoint(20).weights["weights"], walk.weights)
    assert is_trained(run, 20)
    assert not is_trained(run, 21)


@pytest.mark.parametrize("stops_at", [1, 2, 6, 13, 20])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, stops_at) -> None:
    whole = RecordFolder.take_up(tmp_path / "whole", WalkSettings(seed=3))
    reference = Walk(WalkSettings(seed=3))
    expected = train_steps(whole, reference, 20, LOGGED, show_progress=False)
    run = RecordFolder.take_up(tmp_path / "stopped", WalkSettings(seed=3))
    with pytest.raises(KeyboardInterrupt):
        train_steps(run, Walk(WalkSettings(seed=3), stops_at=stops_at), 20, LOGGED, show_progress=False)
    again = Walk(WalkSettings(seed=3))
    found = train_steps(RecordFolder.take_up(run.path, WalkSettings(seed=3)), again, 20, LOGGED, show_progress=False)
    assert without_seconds(found) == without_seconds(expected)
    assert torch.equal(again.weights, reference.weights)


@pytest.mark.usefixtures("saved_when_logged")
def test_a_failed_step_keeps_the_last_good_state(tmp_path) -> None:
    run = RecordFolder.take_up(tmp_path / "walk", WalkSettings())
    with pytest.raises(TrainingError, match="in step 7: the loss is nan; the last good state is kept"):
        train_steps(run, Walk(WalkSettings(), fails_at=7), 20, LOGGED, show_progress=False)
    assert run.load_checkpoint("latest").epoch == 5


@pytest.mark.usefixtures("saved_when_logged")
def test_metrics_that_are_not_finite_stop_a_run(tmp_path) -> None:
    class Growing(Walk):
        def measure(self) -> dict[str, float]:
            return {"norm": 1.0, "excess": float("inf") if self.taken == 5 else 0.0}

    run = RecordFolder.take_up(tmp_path / "walk", WalkSettings())
    with pytest.raises(TrainingError, match="in step 5: the network has become so large that excess cannot be"):
        train_steps(run, Growing(WalkSettings()), 20, LOGGED, show_progress=False)
    assert run.load_checkpoint("latest").epoch == 2
    assert [entry["epoch"] for entry in run.metrics()] == [0, 1, 2]


def test_a_folder_of_other_settings_or_another_experiment_is_refused(tmp_path) -> None:
    RecordFolder.take_up(tmp_path / "walk", WalkSettings())
    with pytest.raises(RunFolderError, match=r"size: 1.0 and 0.5"):
        RecordFolder.take_up(tmp_path / "walk", WalkSettings(size=1.0))
    with pytest.raises(RunFolderError, match="run of another experiment \\(WalkSettings\\)"):
        RunFolder.open(tmp_path / "walk")
    RunFolder.take_up(tmp_path / "run", RunSettings())
    with pytest.raises(RunFolderError, match="another experiment"):
        RecordFolder.open_as(tmp_path / "run", WalkSettings)


def test_a_latest_state_of_something_else_is_refused(tmp_path) -> None:
    run = RecordFolder.take_up(tmp_path / "walk", WalkSettings())
    run.save_latest({"other": torch.zeros(2)}, {"epoch": 3, "events": [], "seconds": 0.0})
    with pytest.raises(CheckpointError, match="does not fit the run"):
        train_steps(run, Walk(WalkSettings()), 20, LOGGED, show_progress=False)


def test_settings_are_read_with_distrust(tmp_path) -> None:
    run = RecordFolder.take_up(tmp_path / "walk", WalkSettings())
    run.config_path.write_text(run.config_path.read_text().replace('"size": 0.5', '"size": "much"'))
    with pytest.raises(RunFolderError, match="size has the wrong type"):
        RecordFolder.open_as(run.path, WalkSettings)
    assert issubclass(SettingsError, ValueError)
