"""The command line as its user meets it: what it prints, writes, refuses, and how it stops."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import splinegeo as sg
from experiments import cli
from experiments.data import LabelledImages
from experiments.errors import TrainingError
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from experiments.run_regions import random_points, regions_of_points, regions_on_slice
from experiments.runs import figure1
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from experiments.table import text_table
from experiments.train_run import saved_epoch
from experiments.training import EpochSummary, Training

# Small, but real MNIST: memorised within a few epochs, drawn within a second.
SMALL = [
    *("--train-samples", "128", "--test-samples", "64", "--batch-size", "32", "--widths", "32,32"),
    *("--loss", "squared-error", "--initial-scale", "1.5", "--learning-rate", "0.003", "--epochs", "60"),
    *("--logs-per-decade", "3", "--threads", "1"),
]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def message(self) -> str:
        """The one line on stderr, below any progress bar."""
        return self.err.strip().splitlines()[-1]


@pytest.fixture
def splinegeo(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run the program in this process, through its entry point."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["splinegeo", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        code = exit_.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, trained by the program in a process of its own."""
    path = tmp_path_factory.mktemp("runs") / "trained"
    command = [sys.executable, "-c", "from experiments.cli import main; main()", "train", str(path), *SMALL]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.parametrize("command", ["explore", "export-html", "migrate", "centroids", "regions", "robustness"])
def test_a_missing_run_is_named_before_anything_slow_is_imported(tmp_path: Path, command: str):
    program = """
import sys
from experiments.cli import main
try:
    main()
finally:
    print(sorted({"torch", "napari", "numba", "matplotlib"} & set(sys.modules)))
"""
    missing = str(tmp_path / "missing")
    found = subprocess.run([sys.executable, "-c", program, command, missing], capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.startswith("splinegeo: there is no run folder")
    assert found.stderr.endswith(f"{missing}\n")
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["train", "regions", "figure"]),
        (
            ["train"],
            [
                "Table 1",
                "--grokalign",
                "--method",
                "--stop-at",
                "--seeds",
                "--resume",
                "--device",
                "--seed",
                "default: 3000",
            ],
        ),
        (["regions"], ["slice", "--checkpoint", "--picture", "--device", "--seed"]),
        (["figure"], ["1", "linear regions at memorisation"]),
        (["figure"], ["2", "PC1", "7", "level 5"]),
        (["table"], ["1", "epochs and seconds until", "2", "alignment of the Jacobian's rows"]),
        (["table", "1"], ["--quick", "--seeds", "--methods", "--losses", "table1.md"]),
        (["figure", "1"], ["figure1.png", "--half-width", "--device", "--seed", "default: demo"]),
    ],
)
def test_help(splinegeo, arguments: list[str], words: list[str]):
    result = splinegeo(*arguments, "--help")
    assert result.code == 0
    flat = " ".join(result.out.replace("│", " ").split())
    for word in words:
        assert word in flat


def test_train_writes_a_run_folder(trained: Path):
    run = RunFolder.open(trained)
    assert run.settings.model.hidden_widths == (32, 32)
    assert run.settings.data.n_train == 128
    final = run.metrics()[-1]
    assert final["epoch"] == 60
    assert final["train_accuracy"] == 1.0
    assert final["test_accuracy"] > 0.5


def test_train_reports_its_run(splinegeo, tmp_path: Path):
    result = splinegeo("train", tmp_path / "run", *SMALL)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["epoch", "train", "test", "centroid", "alignment", "row", "alignment"]
    assert [line.split()[0] for line in lines[2:5]] == ["start", "memorised", "final"]
    final = RunFolder.open(tmp_path / "run").metrics()[-1]
    assert f"{final['test_accuracy']:.1%}" in lines[4]
    assert "60/60" in result.err  # the progress bar reached its end
    assert "train 100.0%, test" in result.err


def test_settings_reach_the_config(splinegeo, tmp_path: Path):
    result = splinegeo(
        *("train", tmp_path / "run", *SMALL, "--epochs", 1, "--bias", "--level", 4, "--weight-decay", 0.5),
        *("--dtype", "float64", "--seed", 11, "--grokalign", 0.25, "--device", "cpu"),
    )
    assert result.code == 0
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert settings["seed"] == 11
    assert settings["model"]["bias"] is True
    expected = {"grokalign_level": 4.0, "grokalign": 0.25, "weight_decay": 0.5, "dtype": "float64", "epochs": 1}
    assert {key: settings["training"][key] for key in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train"], 2, "RUN"),
        (["train", "x", "--epochs", "0"], 2, "--epochs"),
        (["train", "x", "--widths", "20,wide"], 2, "--widths must be whole numbers"),
        (["train", "x", "--colour", "red"], 2, "--colour"),
        (["figure", "17"], 2, "17"),
        (
            ["train", "x", "--loss", "hinge"],
            2,
            "splinegeo: loss must be one of squared-error, cross-entropy",
        ),
        (["train", "x", "--learning-rate", "nan"], 2, "splinegeo: learning rate must be positive and finite, got nan"),
        (["train", "x", "--device", "tpu"], 2, "splinegeo: device must be auto, cpu or cuda; got 'tpu'"),
        (["train", "x", "--train-samples", "5000"], 1, "5000 training samples asked, embedded MNIST has 1024"),
        (
            ["train", "x", "--data", "mnist", "--data-dir", "nowhere"],
            1,
            "there is no MNIST under nowhere: add",
        ),
        (["train", "x", "--logger", "paper"], 2, "splinegeo: logger must be one of tensorboard, wandb; got 'paper'"),
        (["train", "x", "--resume", "--seeds", "0-3"], 2, "with --seeds the same command goes on by itself"),
        (["train", "x", "--batched"], 2, "--batched trains several seeds in one program: name them with --seeds"),
        (["train", "x", "--resume"], 1, "splinegeo: there is no run folder x"),
        (["regions", "x"], 1, "splinegeo: there is no run folder x"),
        (["regions", "."], 1, "splinegeo: . is not a run folder: it has no config.json"),
        (["figure", "1", "/proc/nothing"], 1, "splinegeo: /proc/nothing"),
    ],
)
def test_errors_are_one_line(
    splinegeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
):
    monkeypatch.chdir(tmp_path)
    result = splinegeo(*arguments)
    assert result.code == code
    assert message in result.message
    if message.startswith("splinegeo: "):
        assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_damaged_runs_are_one_line(splinegeo, trained: Path, tmp_path: Path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_bytes((trained / "config.json").read_bytes())
    result = splinegeo("regions", run)
    assert (result.code, result.message) == (1, f"splinegeo: {run} has no checkpoint yet")
    content = (trained / "checkpoints" / "latest.safetensors").read_bytes()
    latest = run / "checkpoints" / "latest.safetensors"
    latest.write_bytes(content[: len(content) // 2])
    for command in (["regions", run], ["train", run, "--resume"], ["figure", "1", run]):
        result = splinegeo(*command)
        assert result.code == 1
        assert result.message.startswith(f"splinegeo: {latest} is truncated or not a safetensors file")
        assert result.err.count("\n") == 1


def test_a_folder_in_use_is_not_trained_over(splinegeo, trained: Path):
    before = (trained / "metrics.jsonl").read_bytes()
    result = splinegeo("train", trained, *SMALL)
    assert (result.code, result.message.split(": ")[2]) == (1, "go on with --resume, or choose another folder")
    result = splinegeo("train", trained, "--resume", "--loss", "squared-error", "--seed", 1)
    assert result.code == 2
    assert "leave out --loss, --seed" in result.message
    assert splinegeo("train", trained, "--resume", "--threads", 1).code == 0  # finished: nothing to do
    assert (trained / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("rate", ["1e15", "1e30"])  # the loss, or what is measured, is no longer finite
@pytest.mark.parametrize("seeds", [(), ("--seeds", "0-1", "--batched")])
def test_divergence_is_one_line(splinegeo, tmp_path: Path, rate: str, seeds: tuple[str, ...]):
    result = splinegeo("train", tmp_path / "run", *SMALL, "--learning-rate", rate, *seeds)
    assert result.code == 1
    assert "training stopped in epoch" in result.message
    assert "the last good checkpoint is of epoch" in result.message


def test_a_network_too_large_to_measure_is_one_line(splinegeo, tmp_path: Path):
    result = splinegeo("train", tmp_path / "run", *SMALL, "--initial-scale", "1e14")
    assert result.code == 1
    assert result.message.endswith("try a smaller scale of the initial weights")


def test_a_seed_that_diverges_does_not_stop_the_others(splinegeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run_epoch = Training.run_epoch

    def failing(training: Training) -> EpochSummary:
        if training.grokalign is not None and training.grokalign.generator.initial_seed() == 1:
            raise TrainingError("the loss became nan with a penalty of 0.0")
        return run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", failing)
    result = splinegeo("train", tmp_path / "runs", *SMALL, "--epochs", "3", "--seeds", "0-2")
    assert result.code == 1
    assert "1 of 3 runs stopped" in result.message
    assert "seed_1: training stopped in epoch 1: the loss became nan" in result.message
    assert [saved_epoch(RunFolder.open(tmp_path / "runs" / f"seed_{seed}")) for seed in range(3)] == [3, 0, 3]


def test_full_disk_is_one_line(splinegeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    result = splinegeo("train", tmp_path / "run", *SMALL)
    assert (result.code, result.message) == (1, f"splinegeo: {tmp_path}/run/config.json: No space left on device")


def test_ctrl_c_says_how_to_resume(splinegeo, tmp_path: Path):
    path = tmp_path / "run"
    command = [sys.executable, "-c", "from experiments.cli import main; main()", "train", str(path), *SMALL]
    command[command.index("--epochs") + 1] = "10000000"  # it ends before the signal on no machine and disk
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (path / "config.json").exists() or saved_epoch(RunFolder.open(path)) < 10:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    saved = saved_epoch(RunFolder.open(path))
    assert err.strip().splitlines()[-1] == (
        f"splinegeo: stopped; {path} is saved up to epoch {saved}, resume with: splinegeo train {path} --resume"
    )


def test_a_second_ctrl_c_ends_at_once_what_the_first_has_stopped(splinegeo, monkeypatch: pytest.MonkeyPatch):
    """Python's own handler would print a traceback while it shuts down."""

    def stopped(**_: object) -> int:
        return 130

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "app", stopped)
    try:
        assert splinegeo("train").code == 130
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, handler)


def test_regions_of_a_run(splinegeo, trained: Path, tmp_path: Path, mnist: LabelledImages):
    picture = tmp_path / "regions.png"
    result = splinegeo("regions", trained, "--checkpoint", "memorised", "--picture", picture)
    assert result.code == 0
    run = RunFolder.open(trained)
    epoch = next(entry["epoch"] for entry in run.metrics() if "memorised" in entry["events"])
    saved = sg.load_partition(trained / "partitions" / f"epoch_{epoch:06d}.npz")
    lines = result.out.splitlines()
    assert lines[0].startswith(f"epoch {epoch}: {saved.n_regions} linear regions on [")
    labels = mnist.y_train[:3].tolist()
    assert [line.split()[:2] for line in lines[4:7]] == [[str(k), str(labels[k])] for k in range(3)]
    assert picture.read_bytes().startswith(b"\x89PNG")
    # The partition is that of the checkpoint's weights: its maps give the network's outputs at the points.
    model = load_model(run, "memorised", mnist)
    x = mnist.x_train[:3]
    for k, found in enumerate(regions_of_points(saved, x)):
        assert found is not None
        weight, offset = saved.affine_map(found.region)
        outputs = weight @ x[k].flatten().numpy() + offset
        np.testing.assert_allclose(outputs, model(x)[k].detach().numpy(), atol=1e-9)
        assert found.norm == pytest.approx(np.linalg.norm(weight), rel=1e-9)
        centroid = weight.sum(axis=0)
        cosine = centroid @ x[k].flatten().numpy() / np.linalg.norm(centroid) / np.linalg.norm(x[k].flatten().numpy())
        assert found.centroid_alignment == pytest.approx(cosine, rel=1e-9)
        assert lines[4 + k].split()[2] == str(found.region)


def test_regions_of_a_small_domain(splinegeo, trained: Path, tmp_path: Path):
    out = tmp_path / "sub" / "part.npz"
    result = splinegeo(
        *("regions", trained, "--half-width", 5, "--points", "3,1,7", "--out", out, "--picture", tmp_path / "a.svg")
    )
    assert result.code == 0
    assert "on [-5.0, 5.0] × [-5.0, 5.0]" in result.out
    assert result.out.count("outside") == 3
    assert sg.load_partition(out).areas.sum() == pytest.approx(100)
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_random_points_depend_on_the_seed(splinegeo, trained: Path, tmp_path: Path, mnist: LabelledImages):
    first, again, other = (random_points(mnist, seed) for seed in (5, 5, 6))
    assert first == again != other
    assert len({int(mnist.y_train[index]) for index in first}) == 3
    result = splinegeo("regions", trained, "--points", "random", "--seed", 5, "--out", tmp_path / "p.npz")
    chosen = random_points(mnist.first(128, 64), 5)
    assert [line.split()[0] for line in result.out.splitlines()[4:7]] == list(map(str, chosen))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--points", "0,1"], 2, "three different training points with numbers from 0 to 127, got 0, 1"),
        (["--points", "0,1,1"], 2, "three different training points"),
        (["--points", "0,1,128"], 2, "three different training points"),
        (["--points", "a,b,c"], 2, "--points takes three numbers"),
        (["--checkpoint", "17"], 1, "has no checkpoint '17': near it are "),
        (["--half-width", "-1"], 1, "half_width"),
        (["--picture", "regions.bmp"], 2, "--picture must end in .png, .pdf or .svg"),
    ],
)
def test_regions_refuses(splinegeo, trained: Path, arguments: list[str], code: int, message: str):
    result = splinegeo("regions", trained, *arguments)
    assert result.code == code
    assert message in result.message


def test_figure_1_draws_and_reuses_a_run(splinegeo, trained: Path, mnist: LabelledImages):
    before = (trained / "metrics.jsonl").read_bytes()
    result = splinegeo("figure", "1", trained, "--threads", 1)
    assert result.code == 0
    assert f"{trained} holds the finished run: nothing to train" in result.out
    assert "training.epochs: " in result.out  # the run is not the figure's own, and it says so
    assert (trained / "metrics.jsonl").read_bytes() == before
    assert (trained / "figure1.png").read_bytes().startswith(b"\x89PNG")
    assert (trained / "figure1.pdf").read_bytes().startswith(b"%PDF")
    header, _, *rows = result.out.splitlines()[-4:]
    assert "row alignment" in header
    run = RunFolder.open(trained)
    entries = {event: entry for entry in run.metrics() for event in entry["events"]}
    for row, event in zip(rows, ("memorised", "final"), strict=True):
        cells = row.split()
        entry = entries[event]
        assert cells[:4] == [event, str(entry["epoch"]), str(entry["step"]), f"{entry['train_accuracy']:.1%}"]
        assert cells[4] == f"{entry['test_accuracy']:.1%}"
        assert float(cells[5]) == pytest.approx(entry["centroid_alignment_mean"], abs=6e-4)
        assert float(cells[7]) == pytest.approx(entry["row_alignment_mean"], abs=6e-4)
    assert int(rows[1].split()[8]) == regions_on_slice(load_model(run, "final", mnist), mnist.x_train[:3]).n_regions


def test_figure_1_of_another_seed(splinegeo, trained: Path):
    result = splinegeo("figure", "1", trained, "--seed", 4)
    assert result.code == 1
    assert result.message == f"splinegeo: {trained} was trained with seed 0: name another folder for seed 4"


def test_figure_1_needs_memorisation(splinegeo, tmp_path: Path):
    assert splinegeo("train", tmp_path / "run", *SMALL, "--epochs", 1).code == 0
    result = splinegeo("figure", "1", tmp_path / "run")
    assert result.code == 1
    assert "has no checkpoint of the event 'memorised'" in result.message


@pytest.mark.usefixtures("saved_when_logged")
def test_figure_1_trains_and_resumes(splinegeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def small_settings(seed: int = 0) -> RunSettings:
        return RunSettings(
            DataSettings(n_train=128, n_test=64),
            ModelSettings((32, 32), initial_scale=1.5),
            TrainingSettings("squared-error", learning_rate=0.003, batch_size=32, epochs=200, logs_per_decade=3),
            seed,
        )

    run_epoch = Training.run_epoch
    left = iter(range(30))

    def interrupted(training: Training) -> EpochSummary:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return run_epoch(training)

    monkeypatch.setattr(figure1, "demo_settings", small_settings)
    monkeypatch.setattr(Training, "run_epoch", interrupted)
    path = tmp_path / "run"
    result = splinegeo("figure", "1", path, "--seed", 2, "--threads", 1)
    saved = saved_epoch(RunFolder.open(path))
    assert 0 < saved <= 30
    assert result.code == 130
    assert result.message.endswith(f"is saved up to epoch {saved}, resume with: splinegeo figure 1 {path}")
    assert not (path / "figure1.png").exists()

    monkeypatch.setattr(Training, "run_epoch", run_epoch)
    result = splinegeo("figure", "1", path, "--threads", 1)
    assert result.code == 0
    assert f"resuming {path} after epoch {saved}" in result.out
    assert "settings of its own" not in result.out
    run = RunFolder.open(path)
    assert run.settings.seed == 2
    assert [entry["epoch"] for entry in run.metrics()][-1] == 200
    assert "nothing to train" in splinegeo("figure", "1", path).out


def test_text_table():
    table = text_table(["", "n"], [["a", "10"], ["long", "7"]])
    assert table.splitlines() == ["       n", "────  ──", "a     10", "long   7"]
