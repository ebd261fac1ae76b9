"""Checkpoints: named tensors and a description in one safetensors file, written atomically and read with distrust."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from experiments.errors import CheckpointError, DamagedCheckpointError, one_line
from experiments.tensor_file import contents, write_tensor_file

FORMAT = "splinegeo-checkpoint"
VERSION = 1
WEIGHTS_PREFIX = "model."
_METADATA = {"format", "version", "description", "checksum"}


@dataclass(frozen=True)
class Checkpoint:
    """One saved moment of training.

    `tensors` holds the weights under "model." and, where training can be resumed from here, whatever else that needs.
    `description` is JSON: at least `epoch` (int) and `events` (list of str, mostly empty).
    """

    tensors: dict[str, Tensor]
    description: dict

    @property
    def epoch(self) -> int:
        """Number of epochs trained."""
        return int(self.description["epoch"])

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model's state dict."""
        return {
            name.removeprefix(WEIGHTS_PREFIX): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(WEIGHTS_PREFIX)
        }


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], description: Mapping) -> None:
    """Write tensors and their description. Raises CheckpointError for NaN or infinity, OSError from the disk."""
    _refuse_non_finite(path, tensors, "was not written")
    text = json.dumps(description, allow_nan=False)
    metadata = {"format": FORMAT, "version": str(VERSION), "description": text, "checksum": _checksum(text, tensors)}
    write_tensor_file(path, tensors, metadata)


def read_description(path: Path) -> dict:
    """Read a checkpoint's description alone, without its tensors. Raises CheckpointError as `read_checkpoint` does."""
    return _read(path, with_tensors=False).description


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises CheckpointError when the file is missing, foreign, of a newer version, or holds NaN or infinity,
    DamagedCheckpointError when it is truncated or changed.
    """
    checkpoint = _read(path, with_tensors=True)
    _refuse_non_finite(path, checkpoint.tensors, "cannot be used")
    return checkpoint


def load_weights(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Put a checkpoint's weights into a model. Raises CheckpointError when it belongs to another architecture."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint.weights.items()}
    if expected != found:
        name = min(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise CheckpointError(
            f"{path} belongs to another architecture: {name} is {_shape(found.get(name))} in the checkpoint and "
            f"{_shape(expected.get(name))} in the model"
        )
    model.load_state_dict(checkpoint.weights)


def _read(path: Path, with_tensors: bool) -> Checkpoint:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
    except SafetensorError as error:
        raise DamagedCheckpointError(f"{path} is truncated or not a safetensors file ({one_line(error)})") from None
    if metadata.get("format") != FORMAT:
        raise DamagedCheckpointError(f"{path} is a safetensors file, but not a checkpoint of splinegeo")
    if metadata.get("version") != str(VERSION):
        raise CheckpointError(
            f"{path} has version {metadata.get('version')}, this splinegeo reads version {VERSION}: update splinegeo"
        )
    try:
        description = json.loads(metadata["description"])
        if not (isinstance(description["epoch"], int) and isinstance(description["events"], list)):
            raise TypeError
    except (KeyError, TypeError, json.JSONDecodeError):
        raise DamagedCheckpointError(f"{path} has a damaged description") from None
    # Those of older versions have no checksum: its name, too, may have been changed.
    checksum = _checksum(metadata["description"], tensors) if with_tensors else metadata.get("checksum")
    if metadata.get("checksum", checksum) != checksum or metadata.keys() - _METADATA:
        raise DamagedCheckpointError(f"{path} is damaged: its checksum does not match")
    return Checkpoint(tensors, description)


def _checksum(description: str, tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of the description and of all tensors: their names, types, shapes and contents."""
    checksum = zlib.crc32(description.encode())
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(), checksum)
        checksum = zlib.crc32(contents(tensor), checksum)
    return f"{checksum:08x}"


def _refuse_non_finite(path: Path, tensors: Mapping[str, Tensor], consequence: str) -> None:
    for name, tensor in tensors.items():
        # A sum takes over any NaN or infinity, thirty times faster; only where it overflows each number is looked at.
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path} {consequence}: {name} holds NaN or infinite values")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape)) or "a number"
