"""Runs whose latest state is damaged, in several ways: they go on from the state before, to the same end."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_steps import LOGGED, Walk, WalkSettings, without_seconds
from test_training import CPU, assert_same_run, settings_of

from experiments.checkpoint import read_checkpoint
from experiments.data import LabelledImages
from experiments.errors import CheckpointError
from experiments.latest_state import previous_path
from experiments.run_folder import RecordFolder, RunFolder
from experiments.steps import train_steps
from experiments.train_run import is_finished, lengthen, saved_epoch, train_run
from experiments.training import Training


@pytest.fixture(scope="module")
def few(mnist: LabelledImages) -> LabelledImages:
    return mnist.first(256, 128)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, few: LabelledImages) -> RunFolder:
    """A run of 30 epochs that nothing has happened to."""
    return trained(tmp_path_factory.mktemp("whole") / "run", few, 30)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, few: LabelledImages) -> RunFolder:
    """One that was stopped at epoch 18 of 30, which is logged, after one that is logged too."""
    return trained(tmp_path_factory.mktemp("half") / "run", few, 30, stop_after=18)


def trained(path: Path, few: LabelledImages, epochs: int, stop_after: int | None = None) -> RunFolder:
    run = RunFolder.create(path, settings_of(epochs, (12, 8)))
    run_epoch = Training.run_epoch
    left = iter(range(epochs if stop_after is None else stop_after))

    def stopping(training: Training):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return run_epoch(training)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "run_epoch", stopping)
        # A state at every moment of logging and between none, however slow the disk and the training are.
        patch.setattr("experiments.saving._QUICK_SAVE", math.inf)
        patch.setattr("experiments.saving.SECONDS_BETWEEN_SAVES", math.inf)
        try:
            train_run(run, few, CPU, show_progress=False)
        except KeyboardInterrupt:
            assert stop_after is not None
    torch.set_num_threads(threads)
    return run


def copied(run: RunFolder, path: Path) -> RunFolder:
    return RunFolder.open(Path(shutil.copytree(run.path, path)))


def flipped(content: bytes, place: float) -> bytes:
    at = int(place * (len(content) - 1))
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:100],
    "cut at the end": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "text": lambda content: b"latest",
    "a bit of its length": lambda content: flipped(content, 0.0),
    "a bit in the middle": lambda content: flipped(content, 0.5),
    "a bit at the end": lambda content: flipped(content, 1.0),
    "a block of zeros": lambda content: content[:-512] + bytes(512),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_gives_way_to_the_one_before(
    tmp_path: Path, few: LabelledImages, whole: RunFolder, half: RunFolder, damage: str, one_thread, capsys
):
    run = copied(half, tmp_path / "run")
    before = read_checkpoint(previous_path(run.checkpoint_folder)).epoch
    assert before == 10
    content = run.latest_path.read_bytes()
    run.latest_path.write_bytes(DAMAGES[damage](content))
    assert not is_finished(run)
    train_run(run, few, CPU, show_progress=False)
    err = capsys.readouterr().err
    assert f"latest.safetensors is {'damaged' if 'bit' in damage or 'block' in damage else 'truncated'}" in err or (
        damage == "a bit of its length" and "truncated" in err
    )
    assert f"going on from the one before, of epoch {before}" in err
    assert err.count("\n") == 1
    assert_same_run(whole, run)


@pytest.mark.parametrize("offset", range(9, 900, 27))
def test_no_changed_byte_of_the_header_gets_past(tmp_path: Path, half: RunFolder, offset: int):
    content = bytearray(half.latest_path.read_bytes())
    content[offset] ^= 1 << offset % 7
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_finished_run_is_lengthened_from_the_state_before(
    tmp_path: Path, few: LabelledImages, whole: RunFolder, one_thread, capsys
):
    run = trained(tmp_path / "run", few, 18)
    run.latest_path.unlink()
    assert saved_epoch(run) == 10
    lengthen(run, 30)
    train_run(run, few, CPU, show_progress=False)
    assert "there is no checkpoint" in capsys.readouterr().err
    assert_same_run(whole, run)


def test_with_both_states_lost_nothing_is_overwritten(tmp_path: Path, few: LabelledImages, half: RunFolder):
    run = copied(half, tmp_path / "run")
    weights = {path.name: path.read_bytes() for path in run.checkpoint_folder.glob("epoch_*")}
    metrics = run.metrics_path.read_bytes()
    for path in (run.latest_path, previous_path(run.checkpoint_folder)):
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"latest.safetensors is truncated") as error:
        saved_epoch(run)
    for _ in range(2):
        with pytest.raises(
            CheckpointError, match="up to epoch 18, cannot be resumed from: train into another"
        ) as error:
            train_run(run, few, CPU, show_progress=False)
        assert "\n" not in str(error.value)
        assert {path.name: path.read_bytes() for path in run.checkpoint_folder.glob("epoch_*")} == weights
        assert run.metrics_path.read_bytes() == metrics
        for path in (run.latest_path, previous_path(run.checkpoint_folder)):
            path.unlink(missing_ok=True)
    assert run.locate_checkpoint("latest") == run.checkpoint_path(18)


def test_a_state_of_a_newer_version_is_not_passed_over(tmp_path: Path, few: LabelledImages, half: RunFolder):
    run = copied(half, tmp_path / "run")
    content = run.latest_path.read_bytes()
    run.latest_path.write_bytes(content.replace(b'"version":"1"', b'"version":"2"'))
    with pytest.raises(CheckpointError, match="update splinegeo"):
        train_run(run, few, CPU, show_progress=False)


def test_without_links_on_the_disk(tmp_path: Path, few: LabelledImages, whole: RunFolder, one_thread, monkeypatch):
    def refused(*paths: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refused)
    run = trained(tmp_path / "run", few, 30)
    assert_same_run(whole, run)
    assert read_checkpoint(previous_path(run.checkpoint_folder)).epoch == 18


@pytest.mark.usefixtures("saved_when_logged")
def test_stepwise_runs_too(tmp_path: Path, capsys):
    whole = RecordFolder.take_up(tmp_path / "whole", WalkSettings(seed=3))
    expected = train_steps(whole, Walk(WalkSettings(seed=3)), 20, LOGGED, show_progress=False)
    run = RecordFolder.take_up(tmp_path / "run", WalkSettings(seed=3))
    with pytest.raises(KeyboardInterrupt):
        train_steps(run, Walk(WalkSettings(seed=3), stops_at=13), 20, LOGGED, show_progress=False)
    run.latest_path.write_bytes(flipped(run.latest_path.read_bytes(), 1.0))
    found = train_steps(run, Walk(WalkSettings(seed=3)), 20, LOGGED, show_progress=False)
    assert "its checksum does not match; going on from the one before" in capsys.readouterr().err
    assert without_seconds(found) == without_seconds(expected)
