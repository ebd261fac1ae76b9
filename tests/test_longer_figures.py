"""Figures of more steps or epochs go on from the runs of fewer, to what they would be at once."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_cifar10 import expected
from test_steps import Walk, without_seconds
from test_training import assert_same_run

from experiments.errors import RunFolderError
from experiments.lengthening import begin_from_shorter
from experiments.run_folder import RecordFolder, RunFolder
from experiments.run_lock import training_into
from experiments.runs import figure5, figure8, figure9
from experiments.schedule import log_spaced_epochs
from experiments.steps import train_steps
from experiments.transformer import TransformerSettings
from experiments.transformer_training import AdditionSettings


@dataclass(frozen=True)
class WalkSettings:
    """A random walk of so many steps."""

    seed: int = 0
    size: float = 0.5
    steps: int = 20


TINY = AdditionSettings(TransformerSettings(7, 8, 12, 2, 4), train_fraction=0.5, steps=30, logs_per_decade=4)


def walked(path: Path, steps: int, **settings) -> RecordFolder:
    chosen = WalkSettings(steps=steps, **settings)
    run = RecordFolder.take_up(path, chosen)
    train_steps(run, Walk(chosen), steps, log_spaced_epochs(steps, 4), show_progress=False)
    return run


# 18 is logged by longer runs too; 30 is the setting's length.
@pytest.mark.parametrize(("number", "module", "lengths"), [(8, figure8, (7, 18, 30)), (9, figure9, (29, 30))])
def test_more_steps_are_those_of_a_run_at_once(
    tmp_path: Path,
    program: Callable,
    number: int,
    module,
    lengths: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    one_thread,
):
    tiny = replace(TINY, transformer=replace(TINY.transformer, fixed=module.QUICK.base.transformer.fixed))
    monkeypatch.setattr(module, "QUICK", figure8.Setting("QUICK, a test", tiny))
    common = ("--quick", "--threads", 1, "--device", "cpu", "--steps")
    assert program("figure", number, tmp_path / "whole", *common, lengths[-1])[0] == 0
    for steps in lengths:
        code, out, _ = program("figure", number, tmp_path / "grown", *common, steps)
        assert code == 0
        assert ("goes on from" in out) == (steps != lengths[0])
    names = [f"figure{number}_quick{'' if steps == 30 else f'_{steps}_steps'}" for steps in lengths]
    for method in figure8.METHODS:
        whole, grown = (
            RecordFolder.open_as(tmp_path / folder / names[-1] / method / "seed_0", AdditionSettings)
            for folder in ("whole", "grown")
        )
        assert grown.settings == whole.settings
        assert json.dumps(without_seconds(grown.metrics())) == json.dumps(without_seconds(whole.metrics()))
        left, right = load_file(whole.latest_path), load_file(grown.latest_path)
        assert left.keys() == right.keys()
        assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())
        # The shorter run is still there, as it was.
        shorter = RecordFolder.open_as(tmp_path / "grown" / names[0] / method / "seed_0", AdditionSettings)
        assert shorter.metrics()[-1]["epoch"] == lengths[0] == shorter.settings.steps
    assert (tmp_path / "grown" / f"{names[0]}.png").is_file()


def test_more_epochs_are_those_of_a_run_at_once(
    tmp_path: Path, program: Callable, monkeypatch: pytest.MonkeyPatch, one_thread
):
    images, labels, test_images, test_labels = expected()
    file = tmp_path / "some_cifar.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=test_images, y_test=test_labels)
    small = figure5.Setting("figure5_quick", "QUICK, a test", (2, 3, 4), 1e-2, 9, 4, 8, 6, 7)
    monkeypatch.setattr(figure5, "QUICK", small)
    common = ("--quick", "--data-file", file, "--threads", 1, "--device", "cpu")
    for folder, options in (("whole", ()), ("grown", ("--epochs", 4)), ("grown", ())):
        code, out, _ = program("figure", 5, tmp_path / folder, *common, *options)
        assert code == 0
        assert ("goes on from" in out) == (folder == "grown" and not options)
    for method in figure5.METHODS:
        whole, grown = (
            RunFolder.open(tmp_path / folder / "figure5_quick" / method / "seed_0") for folder in ("whole", "grown")
        )
        assert grown.settings == whole.settings
        assert_same_run(whole, grown)
    assert (tmp_path / "grown" / "figure5_quick.png").read_bytes().startswith(b"\x89PNG")


def test_the_longest_of_the_shorter_runs_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for steps in (3, 9, 40):
        walked(tmp_path / f"walk_{steps}" / "walk" / "seed_0", steps)
    walked(tmp_path / "other" / "walk" / "seed_0", 15, size=0.25)
    walked(tmp_path / "walk_3" / "walk" / "seed_1", 12, seed=1)
    path = tmp_path / "walk" / "walk" / "seed_0"
    source = begin_from_shorter(path, WalkSettings(steps=20), 20)
    assert source == tmp_path / "walk_9" / "walk" / "seed_0"
    assert capsys.readouterr().out == f"{path} goes on from {source}, which has 9 of 20\n"
    assert RecordFolder.open_as(path, WalkSettings).settings == WalkSettings(steps=20)
    assert begin_from_shorter(path, WalkSettings(steps=20), 20) is None  # it has begun
    assert begin_from_shorter(tmp_path / "walk" / "walk" / "seed_2", WalkSettings(seed=2, steps=20), 20) is None
    assert sorted(entry.name for entry in (tmp_path / "walk" / "walk").iterdir()) == ["seed_0"]


def test_what_a_kill_left_of_a_copy_is_made_anew(tmp_path: Path):
    walked(tmp_path / "short" / "walk" / "seed_0", 9)
    path = tmp_path / "long" / "walk" / "seed_0"
    half = path.with_name("seed_0.part")
    shutil.copytree(tmp_path / "short" / "walk" / "seed_0", half)
    (half / "checkpoints" / "latest.safetensors").write_bytes(b"half")
    begin_from_shorter(path, WalkSettings(steps=20), 20)
    assert not half.exists()
    grown, whole = RecordFolder.open_as(path, WalkSettings), walked(tmp_path / "whole", 20)
    found = train_steps(grown, Walk(WalkSettings(steps=20)), 20, log_spaced_epochs(20, 4), show_progress=False)
    assert without_seconds(found) == without_seconds(whole.metrics())


def test_a_run_in_training_is_not_copied(tmp_path: Path):
    source = walked(tmp_path / "short" / "walk" / "seed_0", 9)
    path = tmp_path / "long" / "walk" / "seed_0"
    with training_into(source), pytest.raises(RunFolderError, match="another process is training into"):
        begin_from_shorter(path, WalkSettings(steps=20), 20)
    assert not path.parent.exists()
