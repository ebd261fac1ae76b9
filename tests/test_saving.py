"""When states are saved: at every moment of logging where that is quick, else within a share of the training."""

from pathlib import Path

import pytest
import torch
from test_training import CPU, assert_same_run, settings_of

from experiments.checkpoint import read_checkpoint
from experiments.data import LabelledImages
from experiments.run_folder import RunFolder
from experiments.saving import SAVING_SHARE, SavingPace
from experiments.schedule import log_spaced_epochs
from experiments.train_run import saved_epoch, train_run
from experiments.training import Training


class Clock:
    """A clock that goes on when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        for name in ("monotonic", "perf_counter"):
            monkeypatch.setattr(f"experiments.saving.time.{name}", lambda: self.now)


def test_quick_saves_are_made_at_every_moment_of_logging(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    pace = SavingPace()
    for trained in (0.0, 0.01, 0.02, 5.0):
        assert pace.is_due(trained, is_logged=True)
        assert not pace.is_due(trained, is_logged=False)
        with pace.saving(trained):
            clock.now += 0.04
    clock.now += 9.9
    assert not pace.is_due(15.0, is_logged=False)
    clock.now += 0.2
    assert pace.is_due(15.0, is_logged=False)


def test_slow_saves_take_their_share_at_most(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    pace = SavingPace()
    trained = saving = 0.0
    longest = since = 0.0
    for _ in range(2000):
        trained += 0.03
        since += 0.03
        clock.now += 0.03
        if pace.is_due(trained, is_logged=True):
            with pace.saving(trained):
                clock.now += 0.2
            saving += 0.2
            longest, since = max(longest, since), 0.0
    assert saving <= SAVING_SHARE * trained + 0.2
    assert saving >= 0.9 * SAVING_SHARE * trained
    assert longest < 0.2 / SAVING_SHARE + 0.06


@pytest.mark.parametrize("methods", [(), ("grokfast-ma",)])
def test_a_run_with_slow_saves_resumes_exactly(
    tmp_path: Path, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch, one_thread, methods: tuple[str, ...]
):
    """Where saving is put off, a stopped run has metrics and weights ahead of its state: they are made again."""
    few = mnist.first(256, 128)
    whole, slow = (RunFolder.create(tmp_path / name, settings_of(40, methods=methods)) for name in ("whole", "slow"))
    train_run(whole, few, CPU, show_progress=False)
    run_epoch = Training.run_epoch
    left = iter(range(35))

    def stopping(training: Training):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", stopping)
    monkeypatch.setattr("experiments.saving._QUICK_SAVE", -1.0)
    monkeypatch.setattr("experiments.saving.SAVING_SHARE", 1e-9)
    with pytest.raises(KeyboardInterrupt):
        train_run(slow, few, CPU, show_progress=False)
    assert saved_epoch(slow) == 0
    ahead = max(epoch for epoch in log_spaced_epochs(40, 4) if epoch <= 35)
    assert max(slow.checkpoints()) == ahead == slow.metrics()[-1]["epoch"]
    assert slow.locate_checkpoint("latest") == slow.checkpoint_path(ahead)
    monkeypatch.setattr(Training, "run_epoch", run_epoch)
    train_run(slow, few, CPU, show_progress=False)
    assert_same_run(whole, slow)


def test_a_window_of_gradients_is_kept_as_far_as_it_is_filled(tmp_path: Path, mnist: LabelledImages, one_thread):
    few = mnist.first(256, 128)
    for epochs, rows in ((2, 8), (30, 100)):  # four batches an epoch, a window of 100
        run = RunFolder.create(tmp_path / str(epochs), settings_of(epochs, (12, 8), methods=("grokfast-ma",)))
        train_run(run, few, CPU, show_progress=False)
        n_weights = 784 * 12 + 12 * 8 + 8 * 10
        kept = read_checkpoint(run.latest_path).tensors["method.grokfast-ma.gradients"]
        assert kept.shape == (rows, n_weights)
        assert bool((torch.linalg.vector_norm(kept[:8], dim=1) > 0).all())
        weights = read_checkpoint(run.checkpoint_path(epochs)).tensors
        assert all(name.startswith("model.") for name in weights)
