"""Runs of figures that go on from shorter ones: the copy of such a run, lengthened, is what the longer would become."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from experiments.errors import RunFolderError
from experiments.run_folder import RecordFolder
from experiments.run_lock import training_into
from experiments.settings import differences
from splinegeo.atomic import TEMPORARY_SUFFIX

_LENGTHS = {"steps", "training.epochs"}
_COPIED = ("config.json", "metrics.jsonl", "robustness.jsonl", "checkpoints")


def begin_from_shorter(path: Path, settings: Any, length: int) -> Path | None:
    """Begin the run FOLDER/SETTING/NAME/SEED from the longest of the runs FOLDER/*/NAME/SEED that are shorter.

    Those count whose settings differ in their length alone. The shorter run stays as it is; returns its path, None
    where there is none, or where the run has begun. Raises RunFolderError when another process trains it,
    CheckpointError when its state cannot be read, OSError as the disk does.
    """
    if path.exists():
        return None
    reached = {}
    for config in path.parents[2].glob(f"*/{path.parent.name}/{path.name}/config.json"):
        try:
            run = RecordFolder.open_as(config.parent, type(settings))
        except RunFolderError:  # of another experiment
            continue
        changed = differences(settings, run.settings)
        if len(changed) == 1 and changed[0].split(":")[0] in _LENGTHS:
            description = run.latest_description()
            if description is not None and 0 < description["epoch"] < length:
                reached[run.path] = description["epoch"]
    if not reached:
        return None
    source = max(reached, key=lambda candidate: reached[candidate])
    copy = path.with_name(path.name + TEMPORARY_SUFFIX)
    shutil.rmtree(copy, ignore_errors=True)
    with training_into(RecordFolder.open_as(source, type(settings))):
        copy.mkdir(parents=True)
        for name in _COPIED:
            if (source / name).is_dir():
                shutil.copytree(source / name, copy / name)
            elif (source / name).is_file():
                shutil.copy2(source / name, copy / name)
    RecordFolder.open_as(copy, type(settings)).replace_settings(settings)
    os.replace(copy, path)
    print(f"{path} goes on from {source}, which has {reached[source]} of {length}", flush=True)
    return source
