"""Groups of runs and the tables made of them: seeds, resuming, what is averaged, what is a bound, what is printed."""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import cli
from experiments.errors import RunFolderError, SettingsError
from experiments.run_folder import RunFolder
from experiments.run_group import parse_seeds, seed_folder
from experiments.runs import table1, table2
from experiments.runs.table1 import Result
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings
from experiments.table import markdown_table


@pytest.fixture
def splinegeo(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run the program in this process: exit code, standard output, last line of standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["splinegeo", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        code = exit_.value.code
        return code if isinstance(code, int) else 0, out, (err.strip().splitlines() or [""])[-1]

    return run


@pytest.fixture
def small_table1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 1 with a network and a target that take a second: everything else is the real table."""
    real = table1.settings

    def small(setting: table1.Setting, loss: str, method: str, seed: int) -> RunSettings:
        chosen = real(setting, loss, method, seed)
        training = replace(chosen.training, stop_at=0.6, epochs=60, batch_size=32, logs_per_decade=1)
        return replace(
            chosen,
            data=DataSettings(n_train=128, n_test=64),
            model=ModelSettings((24,), initial_scale=2.0),
            training=training,
        )

    monkeypatch.setattr(table1, "settings", small)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-9", list(range(10))), ("4", [4]), ("7,0,2-3", [7, 0, 2, 3]), (" 1 - 2 , 5", [1, 2, 5]), ("6-6", [6])],
)
def test_seeds_are_read(text: str, seeds: list[int]):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,", "-1", "3-1", "0-2,2", "1.5", "0--2"])
def test_other_seeds_are_refused(text: str):
    with pytest.raises(SettingsError, match=r"seed"):
        parse_seeds(text)


def test_a_group_takes_up_only_runs_of_its_settings(tmp_path: Path):
    path = seed_folder(tmp_path / "group", 3)
    settings = RunSettings(seed=3)
    assert RunFolder.take_up(path, settings).path == tmp_path / "group" / "seed_3"
    assert RunFolder.take_up(path, settings).settings == settings
    other = replace(settings, training=TrainingSettings(learning_rate=0.5))
    with pytest.raises(
        RunFolderError, match=r"other settings \(asked and there: training.learning_rate: 0.5 and 0.001"
    ):
        RunFolder.take_up(path, other)


def test_settings_of_table_1_are_the_papers():
    for loss, coefficient in (("cross-entropy", 1e-3), ("squared-error", 1e-4)):
        for method in ("baseline", "grokalign", "grokfast", "adversarial"):
            chosen = table1.settings(table1.PAPER, loss, method, 5)
            assert chosen.seed == 5
            assert chosen.model == ModelSettings((196, 196, 196), bias=False, initial_scale=8.0)
            assert chosen.data == DataSettings("embedded-mnist", 1024, 1024)
            training = chosen.training
            assert (training.loss, training.grokalign, training.stop_at) == (loss, coefficient, 0.85)
            assert (training.learning_rate, training.weight_decay, training.batch_size) == (1e-3, 0.01, 256)
            assert training.methods == (() if method == "baseline" else (method,))
    with pytest.raises(
        SettingsError, match="method must be one of baseline, grokalign, grokfast, adversarial; got 'x'"
    ):
        table1.settings(table1.PAPER, "cross-entropy", "x", 0)


def test_settings_of_table_2_go_on_where_table_1_stops():
    aligned, baseline = (table2.settings(table2.PAPER, method, 1) for method in ("grokalign", "baseline"))
    assert (aligned.training.stop_at, aligned.training.epochs) == (None, 10_000)
    assert (baseline.training.stop_at, baseline.training.methods) == (0.889, ())
    of_table1 = table1.settings(table1.PAPER, "cross-entropy", "grokalign", 1)
    assert replace(aligned, training=replace(aligned.training, epochs=1)) == replace(
        of_table1, training=replace(of_table1.training, epochs=1, stop_at=None)
    )


def test_rows_of_table_1_by_hand():
    results = [
        Result("cross-entropy", "baseline", 0, 1000, 10.0, 0.86, True),
        Result("cross-entropy", "baseline", 1, 3000, 30.0, 0.86, True),
        Result("cross-entropy", "grokalign", 0, 500, 9.0, 0.86, True),
        Result("cross-entropy", "grokalign", 1, 500, 11.0, 0.86, True),
        Result("cross-entropy", "grokalign", 2, 800, 16.0, 0.86, True),  # no baseline of this seed
        Result("cross-entropy", "adversarial", 0, 4000, 50.0, 0.70, False),
        Result("squared-error", "baseline", 0, 4000, 50.0, 0.70, False),
        Result("squared-error", "grokalign", 0, 2000, 50.0, 0.86, True),
    ]
    assert table1.rows(results) == [
        ["cross-entropy", "baseline", "2", "2000 ± 1414", "1.00 ± 0.00 × fewer", "20 ± 14"],
        # 1000 / 500 and 3000 / 500
        ["cross-entropy", "grokalign", "3", "600 ± 173", "4.00 ± 2.83 × fewer", "12 ± 4"],
        ["cross-entropy", "adversarial", "1", "> 4000", "unknown", "> 50"],
        ["squared-error", "baseline", "1", "> 4000", "unknown", "> 50"],
        ["squared-error", "grokalign", "1", "2000", "> 2.00 × fewer", "50"],
    ]


def test_negative_means_have_a_minus_sign():
    assert table1.mean_and_deviation([-0.0631], 3) == "−0.063"
    assert table1.mean_and_deviation([-1.0, -3.0], 1) == "−2.0 ± 1.4"


def test_markdown():
    assert markdown_table(["a", "b"], [["x", "1"], ["y", "20"]]).splitlines() == [
        "| a | b |",
        "| :-- | --: |",
        "| x | 1 |",
        "| y | 20 |",
    ]


def test_table_1_trains_reuses_and_writes(splinegeo, tmp_path: Path, small_table1, one_thread):
    folder = tmp_path / "tables"
    command = ("table", 1, folder, "--quick", "--seeds", "0,1", "--methods", "baseline,grokalign", "--threads", 1)
    code, out, _ = splinegeo(*command)
    assert code == 0
    assert f"run 4 of 4: {folder}/table1_quick/cross-entropy/grokalign/seed_1" in out
    runs = {
        (method, seed): RunFolder.open(folder / "table1_quick" / "cross-entropy" / method / f"seed_{seed}")
        for method in ("baseline", "grokalign")
        for seed in (0, 1)
    }
    epochs = {key: run.metrics()[-1]["epoch"] for key, run in runs.items()}
    assert all("target" in run.metrics()[-1]["events"] for run in runs.values())
    text = (folder / "table1_quick.md").read_text()
    assert text.splitlines()[0].startswith("Table 1 of arXiv 2506.12284 · QUICK, not the paper's setting")
    (line,) = [line for line in text.splitlines() if "| grokalign |" in line]
    ratios = [epochs["baseline", seed] / epochs["grokalign", seed] for seed in (0, 1)]
    assert f"| {statistics.fmean(ratios):.2f} ± {statistics.stdev(ratios):.2f} × fewer |" in line
    assert "QUICK" in out
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, again, _ = splinegeo(*command)
    assert code == 0
    assert "run 1 of 4" not in again  # nothing left to train
    assert out.endswith(again)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_batched_table_1_is_the_table_but_for_the_seconds(splinegeo, tmp_path: Path, small_table1, one_thread):
    options = ("--quick", "--seeds", "0,1", "--methods", "baseline,grokalign", "--threads", 1)
    tables = []
    for name, more in (("single", ()), ("batched", ("--batched",))):
        code, out, _ = splinegeo("table", 1, tmp_path / name, *options, *more)
        assert code == 0
        lines = (tmp_path / name / "table1_quick.md").read_text().splitlines()
        tables.append([line.split("|")[:-2] for line in lines if line.startswith("|")])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 4
    folder = tmp_path / "batched" / "table1_quick" / "cross-entropy"
    assert f"run 4 of 4: {folder}/grokalign/seed_0, {folder}/grokalign/seed_1" in out
    code, again, _ = splinegeo("table", 1, tmp_path / "batched", *options)  # finished, however it was trained
    assert code == 0
    assert "run 1 of 4" not in again


def test_table_2_reads_the_last_epoch(splinegeo, tmp_path: Path, small_table1, monkeypatch, one_thread):
    monkeypatch.setattr(
        table2, "QUICK", replace(table2.QUICK, grokalign_epochs=12, baseline_epochs=14, baseline_stops_at=None)
    )
    folder = tmp_path / "tables"
    code, out, _ = splinegeo("table", 2, folder, "--quick", "--threads", 1)
    assert code == 0
    for method, epochs in (("baseline", 14), ("grokalign", 12)):
        last = RunFolder.open(folder / "table2_quick" / method / "seed_0").metrics()[-1]
        assert last["epoch"] == epochs
        lowest = f"{last['row_alignment_lowest_mean']:.3f}".replace("-", "−")
        alignments = f"{last['row_alignment_highest_mean']:.3f} | {lowest}"
        expected = (
            f"| {method} | 1 | {epochs} | {100 * last['test_accuracy']:.1f} % | {alignments} | {last['pc1_mean']:.3f} |"
        )
        assert expected in (folder / "table2_quick.md").read_text().splitlines()
    assert "table: " in out


def test_a_table_over_runs_of_other_settings_is_refused(splinegeo, tmp_path: Path, small_table1):
    path = tmp_path / "table1_quick" / "cross-entropy" / "baseline" / "seed_0"
    RunFolder.create(path, RunSettings())
    code, _, message = splinegeo("table", 1, tmp_path, "--quick")
    assert code == 1
    assert message.startswith(f"splinegeo: {path} was made with other settings (asked and there: data.n_train: 128 and")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "x"], "splinegeo: seeds are numbers and ranges with commas between"),
        (["--methods", "magic"], "splinegeo: method must be one of baseline, grokalign, grokfast, adversarial"),
        (["--losses", "hinge"], "splinegeo: loss must be one of cross-entropy, squared-error; got 'hinge'"),
        (["--device", "tpu"], "splinegeo: device must be auto, cpu or cuda"),
    ],
)
def test_table_1_refuses(splinegeo, tmp_path: Path, arguments: list[str], message: str):
    code, _, line = splinegeo("table", 1, tmp_path / "tables", *arguments)
    assert code == 2
    assert line.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_train_with_several_seeds(splinegeo, tmp_path: Path, one_thread):
    small = ("--train-samples", 64, "--test-samples", 32, "--widths", "8", "--epochs", 3, "--threads", 1)
    command = ("train", tmp_path / "group", "--method", "grokfast,adversarial", *small)
    code, out, _ = splinegeo(*command, "--seeds", "2-3")
    assert code == 0
    for seed in (2, 3):
        run = RunFolder.open(tmp_path / "group" / f"seed_{seed}")
        assert run.settings.seed == seed
        assert run.settings.training.methods == ("grokfast", "adversarial")
        assert run.metrics()[-1]["epoch"] == 3
        assert f"seed {seed}:" in out
    code, _, _ = splinegeo(*command, "--seeds", "2-4")  # the rest of them
    assert code == 0
    assert json.loads((tmp_path / "group" / "seed_4" / "config.json").read_text())["settings"]["seed"] == 4
    code, out, _ = splinegeo(*command, "--seeds", "4-6", "--batched")
    assert code == 0
    assert [f"seed {seed}:" in out for seed in (3, 4, 5, 6)] == [False, True, True, True]
    assert RunFolder.open(tmp_path / "group" / "seed_6").metrics()[-1]["epoch"] == 3
    code, _, _ = splinegeo(*command, "--seeds", "2", "--seed", 1)
    assert code == 2
    assert splinegeo(*command, "--batched")[0] == 2
    assert splinegeo(*command, "--seeds", "7-8", "--batched", "--logger", "wandb")[0] == 2
    assert not (tmp_path / "group" / "seed_7").exists()
    code, _, line = splinegeo("train", tmp_path / "one", "--method", "magic", *small)
    assert (code, line) == (
        2,
        "splinegeo: method must be one of grokalign, grokfast, grokfast-ma, adversarial; got 'magic'",
    )
    assert not (tmp_path / "one").exists()
