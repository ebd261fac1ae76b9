"""Where tensors live."""

from __future__ import annotations

import torch

from experiments.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device; "auto" takes CUDA when there is one.

    Raises SettingsError for another name, or for "cuda" without a usable CUDA device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"device must be auto, cpu or cuda; got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError("no CUDA device is available: use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
