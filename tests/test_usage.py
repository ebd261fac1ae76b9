"""Wrong usage of the command line: one line that says what is wrong, and no option that is let go in silence."""

import itertools
import re
from pathlib import Path

import pytest
from small_runs import small_run

import splinegeo as sg
from experiments import cli
from experiments.command_figure import figures
from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.run_folder import RunFolder
from experiments.run_model import load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "run", mnist, epochs=60, logs_per_decade=6)


@pytest.fixture(scope="module")
def partition(run: Path, mnist: LabelledImages) -> Path:
    model = load_model(RunFolder.open(run), "final", mnist)
    path = run.parent / "part.npz"
    sg.enumerate_regions(model, sg.Slice.through_points(mnist.x_train[:3])).save(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "3"], "there is no command 'table 3': choose 1 or 2"),
        (["figure", "12"], "there is no command 'figure 12': choose 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 or 11"),
        (["region"], "there is no command 'region': choose train, regions, "),
        (["table", "--quick"], "no such option: --quick; see splinegeo table --help"),
        (["figure", "4", "--fast"], "no such option: --fast; see splinegeo figure 4 --help"),
        (["regions"], "missing argument 'RUN'; see splinegeo regions --help"),
        (["regions", "RUN", "more"], "got unexpected extra argument"),
        (["regions", "RUN", "--checkpoint"], "option '--checkpoint' requires an argument"),
        (["regions", "RUN", "--half-width", "wide"], "'wide'"),
        (["migrate", "RUN", "--jobs", "0"], "--jobs"),
        (["regions", "RUN", "--picture", "a.gif"], "--picture must end in .png, .pdf or .svg, got a.gif"),
    ],
)
def test_wrong_usage_is_one_line(program, run: Path, arguments: list[str], message: str) -> None:
    code, out, err = program(*(run if word == "RUN" else word for word in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("splinegeo: ")
    assert message in err


@pytest.mark.parametrize("arguments", [["table", "3"], ["regions"], ["train", "a", "--bias=3"], ["--hepl"]])
def test_the_line_stands_alone(monkeypatch: pytest.MonkeyPatch, capfd, arguments: list[str]) -> None:
    monkeypatch.setattr("sys.argv", ["some/where/splinegeo", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capfd.readouterr()
    assert end.value.code == 2
    assert out == ""
    assert re.fullmatch(r"splinegeo: [^\n]+\n", err)


def test_a_group_alone_shows_its_commands(program) -> None:
    code, out, err = program("table")
    assert code == 2
    assert "Table 1 of arXiv 2506.12284" in out + err


def test_figures_stand_in_the_order_of_their_numbers(program) -> None:
    code, out, _ = program("figure", "--help")
    numbers = [int(found) for found in re.findall(r"Figure (\d+) of arXiv 2506.12284", out)]
    assert code == 0
    assert numbers == sorted(numbers)
    assert len(numbers) == len(figures.registered_commands) == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["regions", "RUN", "--color-by", "class"], "--color-by has no effect without a picture: add --picture FILE"),
        (["regions", "RUN", "--boundary", "--color-by", "area"], "--color-by and --boundary have no effect without a"),
        (["regions", "RUN", "--out", "a.txt"], "--out must end in .npz, got a.txt"),
        (["regions", "RUN", "--seed", "0"], "--seed has no effect with --points 0,1,2: add --points random"),
        (["migrate", "RUN", "--points", "3,4,5", "--seed", "7"], "--seed has no effect with --points 3,4,5"),
        (["export-html", "RUN", "--seed", "7"], "--seed has no effect with --points 0,1,2"),
        (["explore", "RUN", "--seed", "7"], "--seed has no effect with --points 0,1,2"),
        (["explore", "PARTITION", "--points", "0,1,2"], "--points has no effect on a partition file"),
        (["explore", "PARTITION", "--values", "v.npy", "--color", "norm"], "--color has no effect with --values"),
        (["export-html", "PARTITION", "--frames", "3", "--cache", "c"], "--frames and --cache have no effect on a"),
        (["centroids", "RUN", "--spread", "0.2"], "--spread has no effect without noise: add --local"),
        (["centroids", "RUN", "--seed", "1", "--noise-samples", "9"], "--noise-samples and --seed have no effect with"),
        (
            ["centroids", "RUN", "--no-picture", "--each", "e", "--grid", "2x2"],
            "--grid has no effect with --no-picture",
        ),
        (["centroids", "RUN", "--no-picture", "--array", "a.npy", "--samples", "0"], "--samples has no effect on"),
        (["figure", "6", "--data-sets", "mnist", "--data-file", "c.npz"], "--data-file has no effect with --data-sets"),
        (["train", "new", "--method", "grokfast", "--level", "3"], "--level has no effect with --method grokfast"),
        (["train", "new", "--method", "none", "--grokalign", "0.1"], "--grokalign has no effect with --method none"),
    ],
)
def test_an_option_without_effect_is_refused(
    program,
    run: Path,
    partition: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(run.rglob("*"))
    code, out, err = program(*({"RUN": run, "PARTITION": partition}.get(word, word) for word in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("splinegeo: " + message)
    assert sorted(run.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_of_many_checkpoints_the_nearest_are_named(run: Path) -> None:
    folder = RunFolder.open(run)
    epochs = list(folder.checkpoints())
    gap = next(a for a, b in itertools.pairwise(epochs) if b > a + 1)
    after = epochs[epochs.index(gap) + 1]
    assert len(epochs) > 8
    (final,) = [epoch for epoch, events in folder.checkpoints().items() if "final" in events]
    with pytest.raises(RunFolderError) as found:
        folder.locate_checkpoint(str(gap + 1))
    message = str(found.value)
    assert re.search(rf"has no checkpoint '{gap + 1}': near it are {gap}\D.*{after}\D", message)
    assert f"{final} (final" in message
    assert f"all {len(epochs)} are in {folder.checkpoint_folder}" in message
    with pytest.raises(RunFolderError) as beyond:
        folder.locate_checkpoint("100000")
    assert f"near it are {final} (" in str(beyond.value)
    with pytest.raises(RunFolderError) as unknown:
        folder.locate_checkpoint("aligned")
    assert "near" not in str(unknown.value)
