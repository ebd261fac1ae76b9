"""Run folders and checkpoints: what is written is read back, what is damaged or foreign is refused in one line."""

import itertools
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import experiments.provenance
from experiments.checkpoint import load_weights, read_checkpoint, read_description, write_checkpoint
from experiments.errors import CheckpointError, ExperimentError, RunFolderError, SettingsError, TrainingError
from experiments.models import mlp
from experiments.provenance import git_revision
from experiments.run_folder import RunFolder
from experiments.schedule import log_spaced_epochs
from experiments.settings import DataSettings, ModelSettings, RunSettings, TrainingSettings, differences
from splinegeo.atomic import write_atomically

SETTINGS = RunSettings(
    DataSettings(n_train=64),
    ModelSettings((5, 4), bias=True, initial_scale=2.0),
    TrainingSettings(grokalign_level=5.0, epochs=7),
    seed=3,
)


def one_line(error: pytest.ExceptionInfo[ExperimentError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def small_model(widths: tuple[int, ...] = (5,)) -> torch.nn.Module:
    return mlp((3,), 2, hidden_widths=widths)


def save_model(run: RunFolder, epoch: int, events: list[str], model: torch.nn.Module | None = None) -> None:
    tensors = {"model." + name: tensor for name, tensor in (model or small_model()).state_dict().items()}
    run.save_weights(tensors, {"epoch": epoch, "events": events})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", SETTINGS)


def test_settings_survive_the_disk(run: RunFolder):
    assert RunFolder.open(run.path).settings == SETTINGS
    config = json.loads((run.path / "config.json").read_text())
    assert config["settings"]["seed"] == 3
    assert config["settings"]["model"]["hidden_widths"] == [5, 4]
    assert config["provenance"]["torch"] == torch.__version__
    assert "git_revision" in config["provenance"]
    assert (run.path / "checkpoints").is_dir()


def test_a_folder_in_use_is_not_taken(run: RunFolder, tmp_path: Path):
    with pytest.raises(RunFolderError, match="choose another folder"):
        RunFolder.create(run.path, SETTINGS)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="choose another folder"):
        RunFolder.create(tmp_path / "file", SETTINGS)
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", SETTINGS)


def test_a_kill_before_the_first_file_leaves_an_empty_folder(tmp_path: Path):
    (tmp_path / "config.json.part").write_text('{"format": "spl')
    run = RunFolder.create(tmp_path, SETTINGS)
    run.rewind(-1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "config.json", "metrics.jsonl"]


def config_with(run: RunFolder, change) -> None:
    config = json.loads(run.config_path.read_text())
    change(config)
    run.config_path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="other"), "not a run folder of splinegeo"),
        (lambda c: c.update(version=2), "version 2, this splinegeo reads version 1: update"),
        (lambda c: c.pop("settings"), "is damaged"),
        (lambda c: c["settings"].pop("seed"), "missing or unknown entries: seed"),
        (lambda c: c["settings"]["training"].update(colour="red"), "missing or unknown entries: colour"),
        (
            lambda c: c["settings"]["training"].update(epochs="many"),
            "epochs has the wrong type: 'many'",
        ),
        (lambda c: c["settings"]["training"].update(epochs=True), "settings.training.epochs has the wrong type"),
        (lambda c: c["settings"]["training"].update(epochs=0), "number of epochs must be at least 1"),
        (lambda c: c["settings"]["model"].update(hidden_widths=[5, 2.5]), "hidden_widths has the wrong type"),
        (lambda c: c["settings"].update(model=None), "settings.model has missing or unknown entries"),
    ],
)
def test_foreign_or_damaged_config(run: RunFolder, change, message: str):
    config_with(run, change)
    with pytest.raises(RunFolderError, match=message) as error:
        RunFolder.open(run.path)
    assert str(run.path) in one_line(error)


@pytest.mark.parametrize("content", [b"", b'{"format": "splinegeo-run", ', b"\xff\xfe", b"[1, 2]", b"[" * 100_000])
def test_config_that_is_not_ours(run: RunFolder, content: bytes):
    run.config_path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"damaged|another program") as error:
        RunFolder.open(run.path)
    one_line(error)


def test_no_run_folder(tmp_path: Path):
    with pytest.raises(RunFolderError, match="there is no run folder"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(RunFolderError, match=r"no config\.json"):
        RunFolder.open(tmp_path)


def test_metrics_line_by_line(run: RunFolder):
    assert run.metrics() == []
    entries = [{"epoch": epoch, "loss": 0.1 * epoch + 1e-17, "events": []} for epoch in range(5)]
    for entry in entries:
        run.append_metrics(entry)
    assert run.metrics() == entries  # floats come back bit for bit
    with pytest.raises(TrainingError, match="so large that loss cannot be computed"):
        run.append_metrics({"epoch": 5, "loss": float("nan")})
    assert run.metrics() == entries


def test_a_last_line_cut_short_is_repaired(run: RunFolder):
    for epoch in range(4):
        run.append_metrics({"epoch": epoch})
    content = run.metrics_path.read_bytes()
    run.metrics_path.write_bytes(content[:-5])
    assert [entry["epoch"] for entry in run.metrics()] == [0, 1, 2]
    run.rewind(2)
    run.append_metrics({"epoch": 3})
    assert run.metrics_path.read_bytes() == content


@pytest.mark.parametrize("line", ["{}", "not json", '{"epoch": "one"}', "[]", "3"])
def test_a_damaged_line_in_the_middle_is_named(run: RunFolder, line: str):
    run.append_metrics({"epoch": 0})
    with open(run.metrics_path, "a") as file:
        file.write(line + "\n")
    run.append_metrics({"epoch": 2})
    with pytest.raises(RunFolderError, match="damaged at line 2: remove that line"):
        run.metrics()


def test_rewind_removes_what_came_later(run: RunFolder):
    for epoch in (0, 1, 5, 9):
        run.append_metrics({"epoch": epoch})
        save_model(run, epoch, [])
    (run.checkpoint_folder / "epoch_000012.safetensors.part").write_bytes(b"half")
    run.rewind(5)
    assert [entry["epoch"] for entry in run.metrics()] == [0, 1, 5]
    assert sorted(path.name for path in run.checkpoint_folder.iterdir()) == [
        f"epoch_00000{epoch}.safetensors" for epoch in (0, 1, 5)
    ]


def test_checkpoints_are_found_by_epoch_and_event(run: RunFolder):
    with pytest.raises(RunFolderError, match="has no checkpoint yet"):
        run.locate_checkpoint("latest")
    save_model(run, 12, ["memorised"])
    save_model(run, 3, [])
    save_model(run, 40, ["final"])
    assert run.checkpoints() == {3: [], 12: ["memorised"], 40: ["final"]}
    assert run.locate_checkpoint("memorised") == run.locate_checkpoint(12) == run.checkpoint_path(12)
    assert run.locate_checkpoint("3") == run.checkpoint_path(3)
    with pytest.raises(RunFolderError, match=r"no checkpoint 'aligned': there are 3, 12 \(memorised\), 40 \(final\)"):
        run.locate_checkpoint("aligned")
    for epoch, newest in ((39, run.checkpoint_path(40)), (40, run.checkpoint_path(40)), (41, run.latest_path)):
        run.save_latest({}, {"epoch": epoch, "events": []})
        assert run.locate_checkpoint("latest") == newest
    run.latest_path.write_bytes(b"damaged")
    assert run.locate_checkpoint("latest") == run.checkpoint_path(40)


def test_tensors_come_back_exactly(tmp_path: Path):
    tensors = {
        "model.weight": torch.randn(4, 3).T,  # not contiguous
        "optimizer.0.step": torch.tensor(7.0),
        "optimizer.0.moment": torch.randn(2, dtype=torch.float64) * 1e-300,
        "grokalign.generator": torch.Generator().manual_seed(3).get_state(),
    }
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, tensors, {"epoch": 5, "events": ["memorised"], "seconds": 0.1})
    checkpoint = read_checkpoint(path)
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert checkpoint.tensors[name].dtype == tensor.dtype
        assert torch.equal(checkpoint.tensors[name], tensor)
    assert checkpoint.weights.keys() == {"weight"}
    assert checkpoint.epoch == 5
    assert read_description(path) == {"epoch": 5, "events": ["memorised"], "seconds": 0.1}


def checkpoint_of(tmp_path: Path, model: torch.nn.Module) -> Path:
    path = tmp_path / "a.safetensors"
    tensors = {"model." + name: tensor for name, tensor in model.state_dict().items()}
    write_checkpoint(path, tensors, {"epoch": 5, "events": []})
    return path


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_truncated_checkpoint(tmp_path: Path, kept: float):
    path = checkpoint_of(tmp_path, small_model())
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    for read in (read_checkpoint, read_description):
        with pytest.raises(CheckpointError, match=r"a\.safetensors is truncated or not a safetensors file") as error:
            read(path)
        one_line(error)


def test_foreign_checkpoints(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of splinegeo"):
        read_checkpoint(path)
    save_file({}, path, metadata={"format": "splinegeo-checkpoint", "version": "2"})
    with pytest.raises(CheckpointError, match="version 2, this splinegeo reads version 1"):
        read_checkpoint(path)
    for description in ("", "{}", '{"epoch": 1.5, "events": []}', "[]"):
        save_file({}, path, {"format": "splinegeo-checkpoint", "version": "1", "description": description})
        with pytest.raises(CheckpointError, match="damaged description"):
            read_checkpoint(path)
    torch.save({"weight": torch.zeros(2)}, path)  # a pickle is never opened as one
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none")


def test_another_architecture_is_named(tmp_path: Path):
    path = checkpoint_of(tmp_path, small_model((5,)))
    checkpoint = read_checkpoint(path)
    model = small_model((6,))
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(CheckpointError, match=r"another architecture: 1\.weight is 5×3 in the checkpoint and 6×3"):
        load_weights(model, checkpoint, path)
    with pytest.raises(CheckpointError, match=r"3\.weight is 2×5 in the checkpoint and 5×5 in the model"):
        load_weights(small_model((5, 5)), checkpoint, path)
    with pytest.raises(CheckpointError, match=r"1\.bias is absent in the checkpoint and 5 in the model"):
        load_weights(mlp((3,), 2, hidden_widths=(5,), bias=True), checkpoint, path)
    for parameter, value in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
    same = small_model((5,))
    with torch.no_grad():
        same[1].weight.zero_()
    load_weights(same, checkpoint, path)
    assert torch.equal(same[1].weight, small_model((5,))[1].weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float):
    weight = torch.zeros(3)
    weight[1] = value
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"was not written: model\.weight holds NaN or infinite values"):
        write_checkpoint(path, {"model.weight": weight}, {"epoch": 1, "events": []})
    assert list(tmp_path.iterdir()) == []
    metadata = {"format": "splinegeo-checkpoint", "version": "1", "description": '{"epoch": 1, "events": []}'}
    save_file({"model.weight": weight}, path, metadata)
    with pytest.raises(CheckpointError, match=r"cannot be used: model\.weight holds NaN or infinite values"):
        read_checkpoint(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_log_spaced_epochs():
    assert log_spaced_epochs(100, 1) == [0, 1, 10, 100]
    assert log_spaced_epochs(5, 100) == [0, 1, 2, 3, 4, 5]
    assert log_spaced_epochs(1, 3) == [0, 1]
    epochs = log_spaced_epochs(4000, 20)
    assert epochs == sorted(set(epochs))
    late = [b / a for a, b in itertools.pairwise(epochs[:-1]) if a > 200]
    assert all(abs(ratio - 10 ** (1 / 20)) < 0.01 for ratio in late)
    assert epochs[-1] == 4000


def test_git_revision_is_gits_own():
    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        folder = Path(experiments.provenance.__file__).parent
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)

    revision = git_revision()
    tracked = shutil.which("git") is not None and git("ls-files", "--error-unmatch", "provenance.py").returncode == 0
    if not tracked or git("rev-parse", "HEAD").returncode != 0:
        assert revision is None
    else:
        assert revision is not None
        assert revision.removesuffix("+changes") == git("rev-parse", "HEAD").stdout.strip()
        assert revision.endswith("+changes") == bool(git("status", "--porcelain", "--untracked-files=no").stdout)


def test_differences_are_named():
    other = RunSettings(SETTINGS.data, SETTINGS.model, TrainingSettings(grokalign_level=5.0, epochs=9), seed=4)
    assert differences(SETTINGS, SETTINGS) == []
    assert differences(SETTINGS, other) == ["training.epochs: 7 and 9", "seed: 3 and 4"]


def test_a_data_file_is_the_same_in_another_folder():
    here, there, other = (RunSettings(DataSettings("cifar10", file=file)) for file in ("/a/x.npz", "/b/x.npz", "/a/y"))
    assert differences(here, there) == []
    assert differences(here, other) == ["data.file: /a/x.npz and /a/y"]
    assert differences(here, RunSettings(DataSettings("cifar10"))) == ["data.file: /a/x.npz and None"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataSettings(name="cifar"), "data set must be one of embedded-mnist, mnist, cifar10; got 'cifar'"),
        (lambda: DataSettings(n_test=0), "test samples must be at least 1"),
        (lambda: ModelSettings((5, 0)), "hidden width must be at least 1"),
        (lambda: ModelSettings(initial_scale=float("nan")), "scale of the initial weights must be positive"),
        (lambda: TrainingSettings(loss="hinge"), "loss must be one of squared-error, cross-entropy; got 'hinge'"),
        (lambda: TrainingSettings(dtype="float16"), "dtype must be one of"),
        (lambda: TrainingSettings(grokalign=-1.0), "GrokAlign coefficient must be finite and not negative, got -1.0"),
        (lambda: TrainingSettings(weight_decay=float("inf")), "weight decay must be finite"),
        (lambda: TrainingSettings(learning_rate=0.0), "learning rate must be positive"),
        (lambda: TrainingSettings(grokalign_level=0.0), "GrokAlign level must be positive"),
        (lambda: TrainingSettings(batch_size=0), "batch size must be at least 1"),
        (lambda: TrainingSettings(logs_per_decade=0), "logs per decade must be at least 1"),
        (lambda: RunSettings(seed=-1), "seed must be from 0"),
    ],
)
def test_impossible_settings(make, message: str):
    with pytest.raises(SettingsError, match=message) as error:
        make()
    one_line(error)
