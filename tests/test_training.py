"""Training against an independent loop, exact resume after interruptions and a real SIGKILL, and what stops a run."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from experiments.checkpoint import read_checkpoint
from experiments.data import LabelledImages
from experiments.device import choose_device
from experiments.errors import CheckpointError, SettingsError, TrainingError
from experiments.losses import cross_entropy, squared_error
from experiments.models import mlp
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from experiments.schedule import log_spaced_epochs
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from experiments.train_run import is_finished, saved_epoch, target_epoch, train_run
from experiments.training import Training
from splinegeo.grokalign import GrokAlign

CPU = torch.device("cpu")
WALL_CLOCK = {"seconds", "measuring_seconds"}


def settings_of(epochs: int, widths: tuple[int, ...] = (32, 32), **training) -> RunSettings:
    chosen = {"loss": "squared-error", "grokalign": 0.01, "batch_size": 64, "logs_per_decade": 4, "epochs": epochs}
    return RunSettings(
        DataSettings(n_train=256, n_test=128),
        ModelSettings(widths, initial_scale=2.0),
        TrainingSettings(**(chosen | training)),
        seed=1,
    )


@pytest.fixture
def few(mnist: LabelledImages) -> LabelledImages:
    """The samples that `settings_of` names."""
    return mnist.first(256, 128)


def numbers(run: RunFolder) -> list[dict]:
    return [{key: value for key, value in entry.items() if key not in WALL_CLOCK} for entry in run.metrics()]


def assert_same_run(left: RunFolder, right: RunFolder) -> None:
    """Bit for bit: metrics but for the clock, every checkpoint, and the state at the end."""
    assert json.dumps(numbers(left)) == json.dumps(numbers(right))
    # Of which epoch the state before the last one is, the clock decides.
    by_the_clock = {"previous.safetensors"}
    names = sorted({path.name for path in left.checkpoint_folder.iterdir()} - by_the_clock)
    assert names == sorted({path.name for path in right.checkpoint_folder.iterdir()} - by_the_clock)
    for name in names:
        one, other = (load_file(run.checkpoint_folder / name) for run in (left, right))
        assert one.keys() == other.keys()
        for key in one:
            assert torch.equal(one[key], other[key]), f"{name}: {key}"


# losses


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_cross_entropy_is_torchs(scale: float):
    generator = torch.Generator().manual_seed(0)
    outputs = (scale * torch.randn(50, 10, dtype=torch.float64, generator=generator)).requires_grad_()
    labels = torch.randint(0, 10, (50,), generator=generator)
    ours, theirs = cross_entropy(outputs, labels), nn.functional.cross_entropy(outputs, labels)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-13)
    gradient, expected = (torch.autograd.grad(loss, outputs)[0] for loss in (ours, theirs))
    assert (gradient - expected).abs().max() < 1e-15
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, labels), outputs)


def test_cross_entropy_keeps_relative_accuracy_when_certain():
    # p_y is 1 to rounding in float32: torch's gradient at the label is 0 or noise there, the exact one is −2e−13.
    outputs = torch.tensor([[30.0, 0.0, 0.7]], requires_grad=True)
    label = torch.tensor([0])
    wrong = math.exp(-30) + math.exp(0.7 - 30)
    loss = cross_entropy(outputs, label)
    assert loss.item() == pytest.approx(math.log1p(wrong), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert gradient[0, 0].item() == pytest.approx(-wrong, rel=1e-5)
    assert gradient[0, 1].item() == pytest.approx(math.exp(-30), rel=1e-5)
    assert nn.functional.cross_entropy(outputs, label).item() == 0.0


def test_cross_entropy_survives_huge_outputs():
    outputs = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    loss = cross_entropy(outputs, torch.tensor([0, 0]))
    assert loss.item() == pytest.approx(5e3)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert gradient.tolist() == [[0.0, 0.0], [-0.5, 0.5]]


def test_squared_error_by_hand():
    outputs = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    assert squared_error(outputs, torch.tensor([0, 1])).item() == pytest.approx((0.25 + 1) / 4)


# the loop


@pytest.mark.parametrize("loss", [squared_error, cross_entropy])
@pytest.mark.parametrize("level", [None, 3.0])
def test_epochs_are_those_of_a_plain_loop(mnist: LabelledImages, loss, level: float | None):
    x, y = mnist.x_train[:150], mnist.y_train[:150]
    coefficient, rate, decay = 0.02, 1e-3, 0.01

    def fresh() -> nn.Sequential:
        return mlp((1, 28, 28), 10, hidden_widths=(20, 15), seed=2, initial_scale=2.0, dtype=torch.float64)

    model = fresh()
    training = Training(
        model,
        x,
        y,
        loss,
        torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=True),
        grokalign=GrokAlign(model, coefficient, level, generator=torch.Generator().manual_seed(7)),
        batch_size=64,  # the last batch of an epoch has 22 samples
    )
    summaries = [training.run_epoch() for _ in range(3)]

    plain = fresh()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=rate, weight_decay=decay, fused=False, foreach=False)
    directions = torch.Generator().manual_seed(7)
    for summary in summaries:
        losses, penalties, correct = 0.0, 0.0, 0
        for start in range(0, 150, 64):
            inputs = x[start : start + 64].clone().requires_grad_()
            labels = y[start : start + 64]
            outputs = plain(inputs)
            v = torch.randn(1, len(inputs), 10, dtype=torch.float64, generator=directions)[0]
            v = v / v.norm(dim=1, keepdim=True)
            (rows,) = torch.autograd.grad(outputs, inputs, v, create_graph=True)
            norm = math.sqrt(10) * rows.flatten(1).norm(dim=1).mean()
            penalty = coefficient * (norm if level is None else (level - norm).abs())
            if loss is squared_error:
                value = (outputs - torch.eye(10, dtype=torch.float64)[labels]).square().mean()
            else:
                value = -outputs.log_softmax(1)[torch.arange(len(labels)), labels].mean()
            optimizer.zero_grad()
            (value + penalty).backward()
            optimizer.step()
            losses += value.item() * len(inputs)
            penalties += penalty.item() * len(inputs)
            correct += int((outputs.argmax(1) == labels).sum())
        assert summary.loss == pytest.approx(losses / 150, rel=1e-9)
        assert summary.penalty == pytest.approx(penalties / 150, rel=1e-9)
        assert summary.accuracy == correct / 150
    for parameter, expected in zip(model.parameters(), plain.parameters(), strict=True):
        assert (parameter - expected).abs().max() < 1e-10 * expected.abs().max()


def test_any_module_and_tensors_train(one_thread):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 2, 6, 6, generator=generator)
    y = (x.mean((1, 2, 3)) > 0).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    training = Training(model, x, y, cross_entropy, optimizer, grokalign=GrokAlign(model, 1e-3), batch_size=32)
    summaries = [training.run_epoch() for _ in range(40)]
    assert summaries[-1].accuracy == 1.0
    assert summaries[-1].loss < 0.2 * summaries[0].loss


# runs


def test_papers_network_memorises_where_the_reference_does(tmp_path: Path, mnist: LabelledImages, one_thread):
    """Squared error, initial weights × 2, λ = 0.01: memorised by epoch 35 with about 84 % on the test set."""
    settings = RunSettings(
        model=ModelSettings(initial_scale=2.0), training=TrainingSettings("squared-error", grokalign=0.01, epochs=40)
    )
    run = RunFolder.create(tmp_path / "run", settings)
    train_run(run, mnist, CPU, show_progress=False)
    (memorised,) = [entry for entry in run.metrics() if "memorised" in entry["events"]]
    assert 25 <= memorised["epoch"] <= 36
    assert memorised["train_accuracy"] == 1.0
    assert 0.82 < memorised["test_accuracy"] < 0.87
    assert memorised["step"] == 4 * memorised["epoch"]
    assert all(entry["train_accuracy"] < 1 for entry in run.metrics() if entry["epoch"] < memorised["epoch"])


def test_what_a_run_writes(tmp_path: Path, few: LabelledImages, one_thread):
    run = RunFolder.create(tmp_path / "run", settings_of(30))
    train_run(run, few, CPU, show_progress=False)
    expected = set(log_spaced_epochs(30, 4))
    entries = run.metrics()
    epochs = [entry["epoch"] for entry in entries]
    memorised = [entry["epoch"] for entry in entries if "memorised" in entry["events"]]
    assert epochs == sorted(expected | set(memorised))
    assert list(run.checkpoints()) == epochs
    assert entries[-1]["events"][-1] == "final"
    assert is_finished(run)
    assert entries[0]["epoch_loss"] is None  # nothing was trained yet
    for entry in entries[1:]:
        assert entry["epoch_loss"] > 0
        assert entry["epoch_penalty"] > 0
    # λ times the mean of estimates whose squares are without bias: somewhat below λ times the exact norm (Jensen).
    assert 0.75 < entries[-1]["epoch_penalty"] / (0.01 * entries[-1]["jacobian_norm_mean"]) < 1.0
    state = read_checkpoint(run.latest_path)
    final = load_file(run.checkpoint_path(30))
    assert all(torch.equal(state.tensors[name], final[name]) for name in final)
    model = load_model(run, "final", few)
    correct = (model(few.x_test).argmax(1) == few.y_test).sum().item()
    assert abs(correct / 128 - entries[-1]["test_accuracy"]) < 0.01  # float64 now, float32 then


def test_training_a_finished_run_changes_nothing(tmp_path: Path, few: LabelledImages, one_thread):
    run = RunFolder.create(tmp_path / "run", settings_of(3))
    train_run(run, few, CPU, show_progress=False)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    train_run(run, few, CPU, show_progress=False)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"grokalign": 0.0},
        {"loss": "cross-entropy", "dtype": "float64"},
        {"loss": "cross-entropy", "grokalign_level": 5.0},
        {"methods": ("grokfast",)},
        {"methods": ("grokfast-ma",)},  # its window of 100 gradients is full after 25 epochs
        {"methods": ("adversarial",)},
        {"methods": ("grokalign", "grokfast", "adversarial"), "weight_decay": 0.0},
    ],
)
@pytest.mark.usefixtures("saved_every_epoch")
def test_interrupted_runs_resume_exactly(
    tmp_path: Path, few: LabelledImages, monkeypatch: pytest.MonkeyPatch, one_thread, training: dict
):
    """Saved after every epoch, so that it resumes both at logged epochs and between them."""
    settings = settings_of(40, **training)
    whole, broken = (RunFolder.create(tmp_path / name, settings) for name in ("whole", "broken"))
    train_run(whole, few, CPU, show_progress=False)
    run_epoch = Training.run_epoch
    for epochs in (0, 1, 12, 20):
        left = [epochs]

        def interrupted(training: Training, left: list[int] = left):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return run_epoch(training)

        monkeypatch.setattr(Training, "run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_run(broken, few, CPU, show_progress=False)
    assert saved_epoch(broken) == 33
    monkeypatch.setattr(Training, "run_epoch", run_epoch)
    train_run(broken, few, CPU, show_progress=False)
    assert_same_run(whole, broken)


# `splinegeo train` on a quick disk, which before its last epoch waits for the kill, should that be late.
WAITING = """
import sys, time
from experiments import saving
from experiments.cli import main
from experiments.training import Training

saving._QUICK_SAVE = float("inf")
left, run_epoch = int(sys.argv.pop(1)), Training.run_epoch

def waiting(training):
    global left
    left -= 1
    if not left:
        time.sleep(600)
    return run_epoch(training)

Training.run_epoch = waiting
main()
"""


@pytest.mark.parametrize(
    ("methods", "thresholds"),
    [
        (("grokalign",), (20, 110)),
        ((), (60,)),
        (("grokfast",), (60,)),
        (("grokfast-ma",), (60,)),
        (("adversarial",), (60,)),
    ],
)
def test_a_killed_process_resumes_exactly(
    tmp_path: Path, few: LabelledImages, one_thread, methods: tuple[str, ...], thresholds: tuple[int, ...]
):
    """SIGKILL at arbitrary moments: every file whole, at most one interval lost, and the same run in the end."""
    epochs = 2 * max(thresholds) + 80
    settings = settings_of(epochs, logs_per_decade=10, methods=methods)
    whole, killed = (RunFolder.create(tmp_path / name, settings) for name in ("whole", "killed"))
    for threshold in thresholds:
        command = [str(epochs - saved_epoch(killed)), "train", str(killed.path), "--resume", "--threads", "1"]
        process = subprocess.Popen(
            [sys.executable, "-c", WAITING, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        try:
            while saved_epoch(killed) < threshold:
                assert process.poll() is None, "the training ended before it could be killed"
                assert time.monotonic() < deadline, "the training does not get on"
                time.sleep(0.02)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
        reached = saved_epoch(killed)
        assert threshold <= reached < epochs
        for path in killed.checkpoint_folder.glob("*.safetensors"):
            read_checkpoint(path)
        for entry in killed.metrics():
            assert entry["epoch"] == 0 or entry["epoch_loss"] > 0
        # What was logged is at most one entry of the schedule ahead of what training resumes from.
        logged = max(killed.checkpoints())
        assert sum(reached < epoch <= logged for epoch in log_spaced_epochs(epochs, 10)) <= 1
    train_run(killed, few, CPU, show_progress=False)
    train_run(whole, few, CPU, show_progress=False)
    assert_same_run(whole, killed)


def test_stops_at_the_target_accuracy(tmp_path: Path, few: LabelledImages, monkeypatch, one_thread):
    settings = settings_of(100, stop_at=0.6)
    run, free = RunFolder.create(tmp_path / "run", settings), RunFolder.create(tmp_path / "free", settings_of(100))
    # Without a target, the accuracy at every tenth epoch: what the rule "first tenth epoch above 60 %" must give.
    accuracies = []
    run_epoch = Training.run_epoch

    def followed(training: Training):
        summary = run_epoch(training)
        training.model.eval()
        accuracies.append((training.model(few.x_test.float()).argmax(1) == few.y_test).float().mean().item())
        return summary

    monkeypatch.setattr(Training, "run_epoch", followed)
    train_run(free, few, CPU, show_progress=False)
    monkeypatch.setattr(Training, "run_epoch", run_epoch)
    expected = next(epoch for epoch in range(10, 101, 10) if accuracies[epoch - 1] > 0.6)
    assert 10 < expected < 100
    train_run(run, few, CPU, show_progress=False)
    last = run.metrics()[-1]
    assert (last["epoch"], last["events"][-2:]) == (expected, ["target", "final"])
    assert last["test_accuracy"] == pytest.approx(accuracies[expected - 1])
    assert is_finished(run)
    assert (target_epoch(run), target_epoch(free)) == (expected, None)
    assert [entry for entry in numbers(free) if entry["epoch"] < expected] == numbers(run)[:-1]
    before = run.metrics_path.read_bytes()
    train_run(run, few, CPU, show_progress=False)
    assert run.metrics_path.read_bytes() == before


def test_a_metrics_line_cut_short_does_not_harm_resuming(tmp_path: Path, few: LabelledImages, one_thread):
    settings = settings_of(10)
    whole, cut = (RunFolder.create(tmp_path / name, settings) for name in ("whole", "cut"))
    train_run(whole, few, CPU, show_progress=False)
    half = RunFolder(cut.path, settings_of(5), {})
    train_run(half, few, CPU, show_progress=False)
    # As after a kill in the middle of the line of an epoch that `latest` does not hold yet.
    with open(cut.metrics_path, "a") as file:
        file.write('{"epoch": 6, "step": 2')
    train_run(cut, few, CPU, show_progress=False)
    assert [e for e in numbers(cut) if e["epoch"] > 5] == [e for e in numbers(whole) if e["epoch"] > 5]


def test_divergence_keeps_the_last_good_checkpoint(tmp_path: Path, few: LabelledImages, one_thread):
    run = RunFolder.create(tmp_path / "run", settings_of(50, learning_rate=1e12))
    with pytest.raises(TrainingError, match=r"in epoch \d+: .*last good checkpoint is of epoch \d+.*lower") as error:
        train_run(run, few, CPU, show_progress=False)
    assert "\n" not in str(error.value)
    saved = saved_epoch(run)
    assert f"checkpoint is of epoch {saved}," in str(error.value)
    assert all(torch.isfinite(tensor).all() for tensor in read_checkpoint(run.latest_path).tensors.values())
    assert not is_finished(run)
    assert all(math.isfinite(entry["train_loss"]) for entry in run.metrics())


def test_state_of_another_model_is_refused(tmp_path: Path, few: LabelledImages, one_thread):
    run = RunFolder.create(tmp_path / "run", settings_of(2))
    train_run(run, few, CPU, show_progress=False)
    other = RunFolder.create(tmp_path / "other", settings_of(4, widths=(32, 31)))
    other.latest_path.write_bytes(run.latest_path.read_bytes())
    with pytest.raises(CheckpointError, match="belongs to another architecture"):
        train_run(other, few, CPU, show_progress=False)
    weights_only = RunFolder.create(tmp_path / "weights_only", settings_of(4))
    weights_only.latest_path.write_bytes(run.checkpoint_path(2).read_bytes())
    with pytest.raises(CheckpointError, match="cannot be resumed from"):
        train_run(weights_only, few, CPU, show_progress=False)


def test_devices():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SettingsError, match="device must be auto, cpu or cuda; got 'tpu'"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no CUDA device is available: use --device cpu or auto"):
            choose_device("cuda")
