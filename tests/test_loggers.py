"""Loggers: TensorBoard's own event files hold the metrics, wandb is called as it wants, and no failure stops a run."""

import builtins
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from experiments import cli
from experiments.data import LabelledImages
from experiments.errors import SettingsError
from experiments.loggers import Logger, UnfailingLogger, open_logger
from experiments.run_folder import RunFolder
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from experiments.train_run import train_run
from experiments.training import Training
from splinegeo.errors import MissingExtraError

# TensorBoard reads and writes with libraries whose own warnings are not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:google"),
    pytest.mark.filterwarnings("ignore:.*protobuf.*"),
]
CPU = torch.device("cpu")
SETTINGS = RunSettings(
    DataSettings(n_train=64, n_test=32),
    ModelSettings((8,), initial_scale=1.0),
    TrainingSettings("squared-error", batch_size=32, epochs=10, logs_per_decade=2),
)
SMALL = [
    *("--train-samples", "64", "--test-samples", "32", "--batch-size", "32", "--widths", "8", "--epochs", "4"),
    *("--initial-scale", "1", "--loss", "squared-error", "--logs-per-decade", "1", "--threads", "1"),
]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "group" / "run", SETTINGS)


@pytest.fixture
def data(mnist: LabelledImages) -> LabelledImages:
    return mnist.first(64, 32)


def logged(run: RunFolder) -> dict[str, dict[int, float]]:
    """What TensorBoard itself would show."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_the_metrics_of_the_run(run: RunFolder, data: LabelledImages):
    logger = open_logger("tensorboard", run)
    train_run(run, data, CPU, show_progress=False, loggers=[logger])
    logger.close()
    shown = logged(run)
    for name in ("test_accuracy", "centroid_alignment_mean", "jacobian_norm_mean", "weight_norm.1.weight"):
        expected = {entry["epoch"]: entry[name] for entry in run.metrics()}
        assert shown[name] == pytest.approx(expected, rel=1e-6)
    # What was not measured at epoch 0 is not shown there.
    assert min(shown["epoch_loss"]) == 1


@pytest.mark.usefixtures("saved_when_logged")
def test_a_resumed_run_shows_each_step_once(run: RunFolder, data: LabelledImages, monkeypatch: pytest.MonkeyPatch):
    left = iter(range(8))
    run_epoch = Training.run_epoch

    def interrupted(training: Training):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    logger = open_logger("tensorboard", run)
    logger.log(9, {"test_accuracy": 0.5})  # as a process would that was killed before it could save epoch 9
    with pytest.raises(KeyboardInterrupt):
        train_run(run, data, CPU, show_progress=False, loggers=[logger])
    logger.close()
    monkeypatch.setattr(Training, "run_epoch", run_epoch)
    # The latest state is that of the last moment logged.
    again = open_logger("tensorboard", run, first_step=4)
    train_run(run, data, CPU, show_progress=False, loggers=[again])
    again.close()
    expected = {entry["epoch"]: entry["test_accuracy"] for entry in run.metrics()}
    assert logged(run)["test_accuracy"] == pytest.approx(expected, rel=1e-6)


class FakeWandb(ModuleType):
    """Keeps the calls that the real module would receive."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict] = []
        self.calls: list[tuple] = []

    def init(self, **keywords):
        self.started.append(keywords)
        return SimpleNamespace(
            log=lambda metrics, step: self.calls.append((step, metrics)), finish=lambda: self.calls.append(("finish",))
        )


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    module = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_receives_settings_and_metrics(run: RunFolder, data: LabelledImages, wandb: FakeWandb):
    logger = open_logger("wandb", run)
    train_run(run, data, CPU, show_progress=False, loggers=[logger])
    logger.close()
    (started,) = wandb.started
    assert started["project"] == "splinegeo"
    assert started["dir"] == str(run.path)  # where wandb makes its folder "wandb"
    assert started["resume"] == "allow"
    assert started["config"]["training"]["epochs"] == 10
    assert json.dumps(started["config"])
    *calls, last = wandb.calls
    assert last == ("finish",)
    assert [step for step, _ in calls] == [entry["epoch"] for entry in run.metrics()]
    assert calls[-1][1]["test_accuracy"] == run.metrics()[-1]["test_accuracy"]


def test_wandb_knows_a_run_again_and_tells_others_apart(run: RunFolder, tmp_path: Path, wandb: FakeWandb):
    other = RunFolder.create(tmp_path / "other" / "run", SETTINGS)
    for folder in (run, RunFolder.open(run.path), other):
        open_logger("wandb", folder).close()
    first, again, apart = (started["id"] for started in wandb.started)
    assert first == again != apart
    assert first.startswith("run-")


class Breaking:
    """Fails from the second call on."""

    def __init__(self) -> None:
        self.calls = 0

    def log(self, step: int, metrics) -> None:
        self.calls += 1
        if self.calls > 1:
            raise ConnectionError("the network\nis gone")

    def close(self) -> None:
        raise AssertionError("a logger that failed is left alone")


def test_a_failing_logger_does_not_stop_the_run(
    run: RunFolder, data: LabelledImages, capsys: pytest.CaptureFixture[str]
):
    breaking = Breaking()
    logger: Logger = UnfailingLogger("somewhere", lambda: breaking)
    train_run(run, data, CPU, show_progress=False, loggers=[logger])
    logger.close()
    assert breaking.calls == 2
    assert run.metrics()[-1]["epoch"] == 10
    err = capsys.readouterr().err
    assert err == (
        "splinegeo: logging to somewhere failed and has stopped (the network is gone); training goes on, and "
        "metrics.jsonl has everything\n"
    )


def test_a_logger_that_cannot_start_does_not_stop_the_run(
    run: RunFolder, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(**keywords):
        raise PermissionError("no API key configured")

    monkeypatch.setattr(wandb, "init", refuse)
    logger = open_logger("wandb", run)
    logger.log(1, {"a": 1.0})
    logger.close()
    assert capsys.readouterr().err.count("no API key configured") == 1


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_named(run: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch):
    real_import = builtins.__import__

    def without(module: str, *arguments, **keywords):
        if module == "wandb" or module.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(module)
        return real_import(module, *arguments, **keywords)

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard.writer", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=rf"--logger {name} needs: pip install 'splinegeo\[{name}\]'"):
        open_logger(name, run)


def test_an_unknown_logger(run: RunFolder):
    with pytest.raises(SettingsError, match="logger must be one of tensorboard, wandb; got 'paper'"):
        open_logger("paper", run)


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def splinegeo(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["splinegeo", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0)

    assert splinegeo(tmp_path / "run", *SMALL, "--logger", "tensorboard") == 0
    run = RunFolder.open(tmp_path / "run")
    assert set(logged(run)["test_accuracy"]) == {0, 1, 4}
    assert splinegeo(run.path, "--resume", "--epochs", 6, "--logger", "tensorboard") == 0
    assert set(logged(run)["test_accuracy"]) == {0, 1, 4, 6}
    capfd.readouterr()
    assert splinegeo(tmp_path / "other", *SMALL, "--logger", "paper") == 2
    assert capfd.readouterr().err.startswith("splinegeo: logger must be one of")


def test_a_logger_that_cannot_be_imported_says_why_before_anything_is_made(
    program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "__init__.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    code, _, err = program("train", tmp_path / "run", "--logger", "wandb", "--epochs", 1)
    assert code == 1
    assert err == (
        "splinegeo: --logger wandb needs: pip install 'splinegeo[wandb]'; the one that is installed cannot be imported "
        "(No module named 'a_package_that_nobody_has')"
    )
    assert not (tmp_path / "run").exists()
