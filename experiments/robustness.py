"""Accuracy of a run's checkpoints under noise and attack, kept in the run folder so that it is measured once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from tqdm import tqdm

from experiments.attacks import EPSILON, attacked_accuracy
from experiments.checkpoint import read_description
from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.losses import LOSSES, Loss
from experiments.metrics import PIXEL_NOISE, accuracy_and_loss, robust_accuracy
from experiments.run_folder import RunFolder
from experiments.run_model import load_model
from splinegeo.atomic import write_atomically

FILE = "robustness.jsonl"
# What each measure depends on: an accuracy that is known is not measured again for another noise or attack.
_DEPENDS_ON = {
    "accuracy": ("n_samples",),
    "noisy_accuracy": ("n_samples", "noise"),
    "attacked_accuracy": ("n_samples", "attack", "epsilon", "space", "seed"),
}


@dataclass(frozen=True)
class RobustnessSettings:
    """What the networks are exposed to: see `attacked_accuracy`, and `robust_accuracy` for the noise."""

    attack: str = "apgd-ce"
    epsilon: float = EPSILON
    space: str = "pixels"
    noise: float = PIXEL_NOISE
    n_samples: int = 1024
    seed: int = 0

    @property
    def method(self) -> str:
        """The attack's name in words."""
        return {"apgd-ce": "APGD on cross-entropy", "standard": "AutoAttack's standard ensemble"}[self.attack]

    @property
    def description(self) -> str:
        """The attack in words."""
        units = "pixels on [0, 1]" if self.space == "pixels" else "normalised units, clipped to [0, 1]"
        return f"{self.attack}, ε = {self.epsilon * 255:g}/255 in {units}"


def measured(
    run: RunFolder, data: LabelledImages, which: Sequence[int | str], settings: RobustnessSettings
) -> list[dict[str, Any]]:
    """Accuracies at checkpoints (epochs, events or "latest"), in their order: measured, or read where they were before.

    Each is a dictionary of epoch, accuracy, noisy_accuracy, attacked_accuracy and the settings. The data are on their
    device, in the type of the run. Raises the errors of `load_model` and of `attacked_accuracy`.
    """
    exposed = data.first(len(data.x_train), settings.n_samples)
    loss = LOSSES[run.settings.training.loss]
    known = _read(run)
    found = []
    for name in tqdm(which, desc="robustness", unit="checkpoint", disable=None):
        key = {"epoch": read_description(run.locate_checkpoint(name))["epoch"], **asdict(settings)}
        entry = next((other for other in known if other.items() >= key.items()), None)
        if entry is None:
            entry = key | _measures(load_model(run, name, data), exposed, loss, settings, _measured_before(known, key))
            known.append(entry)
            content = "".join(json.dumps(other, allow_nan=False) + "\n" for other in known)
            write_atomically(run.path / FILE, content.encode())
        found.append(entry)
    return found


def _measured_before(known: Sequence[dict[str, Any]], key: dict[str, Any]) -> dict[str, float]:
    found = {}
    for measure, names in _DEPENDS_ON.items():
        wanted = {name: key[name] for name in ("epoch", *names)}.items()
        if (entry := next((other for other in known if other.items() >= wanted), None)) is not None:
            found[measure] = entry[measure]
    return found


def _measures(
    model: nn.Module, data: LabelledImages, loss: Loss, settings: RobustnessSettings, known: dict[str, float]
) -> dict[str, float]:
    def attacked() -> float:
        return attacked_accuracy(
            model,
            data,
            attack=settings.attack,
            epsilon=settings.epsilon,
            space=settings.space,
            seed=settings.seed,
        )

    ways = {
        "accuracy": lambda: accuracy_and_loss(model, data.x_test, data.y_test, loss)[0],
        "noisy_accuracy": lambda: robust_accuracy(model, data, loss, settings.noise),
        "attacked_accuracy": attacked,
    }
    return {name: known[name] if name in known else way() for name, way in ways.items()}


def _read(run: RunFolder) -> list[dict[str, Any]]:
    path = run.path / FILE
    if not path.is_file():
        return []
    try:
        entries = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if not all(isinstance(entry, dict) and isinstance(entry["epoch"], int) for entry in entries):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RunFolderError(f"{path} is damaged: delete it, it is measured anew") from None
    return entries
