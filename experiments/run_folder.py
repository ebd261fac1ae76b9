"""A run on disk: config.json, metrics.jsonl and checkpoints/*.safetensors."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from experiments.checkpoint import Checkpoint, read_checkpoint, read_description, write_checkpoint
from experiments.errors import DamagedCheckpointError, RunFolderError, SettingsError, TrainingError
from experiments.latest_state import LATEST, latest_path, read_latest_description, recover_latest, write_latest
from experiments.provenance import provenance
from experiments.run_path import check_run_path
from experiments.settings import RunSettings, as_json, differences, from_json
from splinegeo.atomic import TEMPORARY_SUFFIX, write_atomically

FORMAT = "splinegeo-run"
VERSION = 1
_FEW_CHECKPOINTS = 8


class RecordFolder:
    """Reads and writes one run of any experiment; what is trained, its frozen dataclass of settings says.

    `checkpoints/epoch_000035.safetensors` holds the weights after 35 epochs, `checkpoints/latest.safetensors` the
    newest weights together with all that resuming needs, `previous.safetensors` the same of the time before it was last
    written. `metrics.jsonl` has one JSON object a line, ordered by epoch.
    """

    def __init__(self, path: Path, settings: Any, provenance: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self.provenance = provenance

    @classmethod
    def create(cls, path: Path, settings: Any) -> Self:
        """Start a run folder. Raises RunFolderError when something is there already."""
        # A kill before config.json was in place may have left its temporary file: that is still an empty folder.
        if (path / "config.json").exists():
            raise RunFolderError(f"{path} holds a run already: go on with --resume, or choose another folder")
        if path.exists() and not (path.is_dir() and all(entry.suffix == TEMPORARY_SUFFIX for entry in path.iterdir())):
            raise RunFolderError(f"{path} exists and is not an empty folder: choose another folder for the run")
        run = cls(path, settings, provenance())
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "version": VERSION,
            "experiment": type(settings).__name__,
            "settings": as_json(settings),
            "provenance": run.provenance,
        }
        write_atomically(run.config_path, (json.dumps(config, indent=2) + "\n").encode())
        run.checkpoint_folder.mkdir(exist_ok=True)
        return run

    @classmethod
    def open_as(cls, path: Path, settings_type: type) -> Self:
        """Read a run and its settings of a given type.

        Raises RunFolderError when it is missing, foreign, damaged, of another experiment or of a newer version.
        """
        check_run_path(path)
        config_path = path / "config.json"
        try:
            config = json.loads(config_path.read_text("utf-8"))
        except (ValueError, RecursionError):
            raise RunFolderError(f"{config_path} is damaged: it is not JSON") from None
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise RunFolderError(f"{path} is not a run folder of splinegeo: its config.json is of another program")
        if config.get("version") != VERSION:
            raise RunFolderError(
                f"{path} has version {config.get('version')}, this splinegeo reads version {VERSION}: update splinegeo"
            )
        # The first runs did not say that they were the only kind there was.
        if (experiment := config.get("experiment", RunSettings.__name__)) != settings_type.__name__:
            raise RunFolderError(f"{path} is a run of another experiment ({experiment}): name a run folder of this one")
        try:
            settings: Any = from_json(settings_type, config.get("settings"))
        except SettingsError as error:
            raise RunFolderError(f"{config_path} is damaged: {error}") from None
        return cls(path, settings, config.get("provenance", {}))

    @classmethod
    def take_up(cls, path: Path, settings: Any) -> Self:
        """Open the run at `path`, or start it. Raises RunFolderError when it is there with other settings."""
        if not (path / "config.json").exists():
            return cls.create(path, settings)
        run = cls.open_as(path, type(settings))
        if changed := differences(settings, run.settings):
            raise RunFolderError(
                f"{path} was made with other settings (asked and there: {'; '.join(changed)}): choose another folder"
            )
        return run

    @property
    def config_path(self) -> Path:
        """The file of settings and provenance."""
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """The file of metrics."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_folder(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def latest_path(self) -> Path:
        """The checkpoint that training resumes from."""
        return latest_path(self.checkpoint_folder)

    def checkpoint_path(self, epoch: int) -> Path:
        """Where the weights after `epoch` epochs are, or would be."""
        return self.checkpoint_folder / f"epoch_{epoch:06d}.safetensors"

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl. Raises TrainingError for values that are NaN or infinite."""
        odd = [name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)]
        if odd:
            raise TrainingError(f"the network has become so large that {', '.join(odd)} cannot be computed")
        try:
            with open(self.metrics_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(values, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = str(self.metrics_path)
            raise

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl but one cut short by a kill. Raises RunFolderError if another is damaged."""
        if not self.metrics_path.is_file():
            return []
        *lines, _ = self.metrics_path.read_bytes().split(b"\n")
        entries = []
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                if not isinstance(entry["epoch"], int):
                    raise TypeError
            except (ValueError, TypeError, KeyError):
                raise RunFolderError(f"{self.metrics_path} is damaged at line {number}: remove that line") from None
            entries.append(entry)
        return entries

    def replace_metrics(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.jsonl anew."""
        content = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in entries)
        write_atomically(self.metrics_path, content.encode())

    def replace_settings(self, settings: Any) -> None:
        """Write other settings into config.json; the rest of it, and all else of the run, stays."""
        config = json.loads(self.config_path.read_text("utf-8")) | {"settings": as_json(settings)}
        write_atomically(self.config_path, (json.dumps(config, indent=2) + "\n").encode())
        self.settings = settings

    def save_weights(self, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
        """Write a checkpoint of the weights at `description["epoch"]`."""
        write_checkpoint(self.checkpoint_path(description["epoch"]), tensors, description)

    def save_latest(self, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
        """Write the state that training resumes from; the one before stays beside it."""
        write_latest(self.checkpoint_folder, tensors, description)

    def latest_description(self) -> dict[str, Any] | None:
        """The description of the state that training would resume from; None when nothing has been saved.

        Raises CheckpointError when none can be read.
        """
        return read_latest_description(self.checkpoint_folder)

    def recover_latest(self) -> Checkpoint | None:
        """Read the state to resume from, if need be the previous one; None when training is to begin.

        Raises CheckpointError when none can be read although something was trained.
        """
        return recover_latest(self.checkpoint_folder)

    def checkpoints(self) -> dict[int, list[str]]:
        """Epochs of the weights on disk with the events of each (mostly none), in order of epochs."""
        descriptions = [read_description(path) for path in self.checkpoint_folder.glob("epoch_*.safetensors")]
        return dict(sorted((entry["epoch"], entry["events"]) for entry in descriptions))

    def locate_checkpoint(self, which: int | str) -> Path:
        """Path of a checkpoint by its epoch, by its event ("memorised", "final"), or "latest", the newest weights.

        Raises RunFolderError naming the checkpoints that there are, or the nearest of many.
        """
        checkpoints = self.checkpoints()
        if which == LATEST and (checkpoints or self.latest_path.is_file()):
            return self._newest(max(checkpoints, default=-1))
        for epoch, events in checkpoints.items():
            if str(which) == str(epoch) or which in events:
                return self.checkpoint_path(epoch)
        if not checkpoints:
            raise RunFolderError(f"{self.path} has no checkpoint yet")
        raise RunFolderError(f"{self.path} has no checkpoint {str(which)!r}: {self._offer(checkpoints, str(which))}")

    def _offer(self, checkpoints: Mapping[int, list[str]], which: str) -> str:
        """The checkpoints that there are; of many, those with events and the nearest, and where all can be seen."""

        def listed(epochs: Iterable[int]) -> str:
            named = ((epoch, checkpoints[epoch]) for epoch in epochs)
            return ", ".join(f"{epoch} ({', '.join(events)})" if events else str(epoch) for epoch, events in named)

        if len(checkpoints) <= _FEW_CHECKPOINTS:
            return f"there are {listed(checkpoints)}"
        found = []
        if which.isdecimal():
            below = [epoch for epoch in checkpoints if epoch < int(which)][-1:]
            above = [epoch for epoch in checkpoints if epoch > int(which)][:1]
            found = [f"near it are {listed([*below, *above])}"]
        if with_events := [epoch for epoch, events in checkpoints.items() if events]:
            found.append(f"with events {listed(with_events)}")
        return "; ".join([*found, f"all {len(checkpoints)} are in {self.checkpoint_folder}"])

    def _newest(self, epoch: int) -> Path:
        # The state to resume from may be older than the newest weights, or damaged; and these are smaller.
        try:
            if not self.latest_path.is_file() or read_description(self.latest_path)["epoch"] <= epoch:
                return self.checkpoint_path(epoch)
        except DamagedCheckpointError:
            if epoch >= 0:
                return self.checkpoint_path(epoch)
            raise
        return self.latest_path

    def load_checkpoint(self, which: int | str) -> Checkpoint:
        """Read the checkpoint that `locate_checkpoint` finds."""
        return read_checkpoint(self.locate_checkpoint(which))

    def rewind(self, epoch: int) -> None:
        """Remove what was written after `epoch`, and what a kill left half-written: training can go on from there."""
        self.replace_metrics([entry for entry in self.metrics() if entry["epoch"] <= epoch])
        for path in self.checkpoint_folder.glob("epoch_*.safetensors"):
            if path.stem.removeprefix("epoch_").isdigit() and int(path.stem.removeprefix("epoch_")) > epoch:
                path.unlink()
        for path in (*self.path.glob("*" + TEMPORARY_SUFFIX), *self.checkpoint_folder.glob("*" + TEMPORARY_SUFFIX)):
            path.unlink(missing_ok=True)


class RunFolder(RecordFolder):
    """A run of `splinegeo train` and of the figures and tables made of such runs: a network on labelled images."""

    settings: RunSettings

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a run's settings. Raises RunFolderError as `open_as` does."""
        return cls.open_as(path, RunSettings)
