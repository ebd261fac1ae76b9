"""The state that a run resumes from: the latest one, and the one before it, should the latest be damaged."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from experiments.checkpoint import Checkpoint, read_checkpoint, read_description, write_checkpoint
from experiments.errors import CheckpointError, DamagedCheckpointError
from splinegeo.atomic import TEMPORARY_SUFFIX

LATEST = "latest"
_PREVIOUS = "previous"


def latest_path(folder: Path) -> Path:
    """Where the latest state is in a folder of checkpoints, or would be."""
    return folder / f"{LATEST}.safetensors"


def previous_path(folder: Path) -> Path:
    """Where the state before it is, or would be."""
    return folder / f"{_PREVIOUS}.safetensors"


def write_latest(folder: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a state; what was the latest becomes the previous one. Whatever ends this, a whole state stays.

    Raises CheckpointError for NaN or infinity, OSError from the disk.
    """
    latest = latest_path(folder)
    if latest.is_file():
        spare = latest.with_name(f"{latest.name}.{_PREVIOUS}{TEMPORARY_SUFFIX}")
        spare.unlink(missing_ok=True)
        try:
            os.link(latest, spare)
        except OSError:  # a file system without links: until the new one is written there is the previous one alone
            os.replace(latest, spare)
        os.replace(spare, previous_path(folder))
    write_checkpoint(latest, tensors, description)


def read_latest_description(folder: Path) -> dict[str, Any] | None:
    """The description of the state that training would resume from; None when nothing has been saved.

    Raises CheckpointError when none can be read.
    """
    damage = None
    for path in (latest_path(folder), previous_path(folder)):
        if path.is_file():
            try:
                return read_description(path)
            except DamagedCheckpointError as error:
                damage = damage or error
    if damage is not None:
        raise damage
    return None


def recover_latest(folder: Path) -> Checkpoint | None:
    """Read the state to resume from; None when training is to begin.

    The previous state takes the place of a latest one that is damaged or gone, which is said on stderr.
    Raises CheckpointError when neither can be read although something was trained: the weights on disk stay.
    """
    latest, previous = latest_path(folder), previous_path(folder)
    damage = None
    if latest.is_file():
        try:
            return read_checkpoint(latest)
        except DamagedCheckpointError as error:
            damage = str(error)
    if previous.is_file():
        try:
            checkpoint = read_checkpoint(previous)
        except DamagedCheckpointError as error:
            damage = damage or str(error)
        else:
            os.replace(previous, latest)
            reason = damage or f"there is no checkpoint {latest}"
            print(f"splinegeo: {reason}; going on from the one before, of epoch {checkpoint.epoch}", file=sys.stderr)
            return checkpoint
    kept = [int(path.stem.removeprefix("epoch_")) for path in folder.glob("epoch_*.safetensors")]
    if damage is None and max(kept, default=0) == 0:
        return None
    weights = f"; the weights on disk, up to epoch {max(kept)}, cannot be resumed from" if kept else ""
    raise CheckpointError(
        f"{damage or f'there is no checkpoint {latest}'}{weights}: train into another folder, or delete {folder} to "
        "begin anew in this one"
    )
