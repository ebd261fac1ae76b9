"""Time of a training epoch, ours beside the GrokAlign paper's code, in one process and in turns.

Table 1's setting: 1024 MNIST samples in four batches, 784-196-196-196-10 without biases, cross-entropy, AdamW,
λ = 0.001. On a busy machine the CPU times (of all threads and worker processes) say more than the wall times.

    python benchmarks/training_step.py            # about three minutes on a free core
    python benchmarks/training_step.py --write    # also to benchmarks/TRAINING.md
"""

import argparse
import gc
import os
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from machine import header
from measure import processor_seconds
from official_step import OfficialStep, official_loader
from tables import table
from torch import Tensor, nn
from tqdm import tqdm

from experiments.data import EMBEDDED_MNIST, LabelledImages, embedded_mnist
from experiments.losses import LOSSES
from experiments.methods import WeightDecay
from experiments.models import mlp
from experiments.training import Training
from splinegeo.grokalign import GrokAlign

_RESULTS = Path(__file__).parent / "TRAINING.md"
_APART = "## Measured apart\n"
_LEARNING_RATE, _WEIGHT_DECAY, _BATCH_SIZE = 1e-3, 0.01, 256
_COEFFICIENT = 1e-3
_LOADER_EPOCHS_AT_MOST = 7
"""Epochs that start worker processes take seconds: fewer of them are timed."""
IN_MEMORY, LOADER, OURS, GENERIC = "official step, in memory", "official, DataLoader × 4", "ours", "ours, any Module"
_TARGETS = (
    ("GrokAlign", IN_MEMORY, OURS, 1.9),
    ("GrokAlign", LOADER, OURS, 10.0),
    ("GrokAlign", IN_MEMORY, GENERIC, 1.0),
)


class Opaque(nn.Module):
    """A network in a module of one's own, which is not read as a chain of layers: the way of every other Module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What the network gives."""
        outputs: Tensor = self.network(x)
        return outputs


@dataclass
class Variant:
    """One way to train an epoch, and how long it took each time."""

    method: str
    name: str
    epoch: Callable[[], object]
    epochs_at_most: int = sys.maxsize
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=25, help="timed epochs of each variant after one that warms up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-loader", action="store_true", help="leave out the form with a DataLoader")
    parser.add_argument("--write", action="store_true", help="write benchmarks/TRAINING.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # Four processes, whatever the machine, are what is to be measured.
    warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes")
    command = shlex.join(["python", "benchmarks/training_step.py", *sys.argv[1:]])
    lines = ["# Benchmarks: an epoch of training", "", *header(command), f"- Threads: {arguments.threads}", ""]
    print("\n".join(lines))
    for dtype in (torch.float64, torch.float32):
        # The official loader makes values of this type.
        torch.set_default_dtype(dtype)
        found = section(dtype, arguments.epochs, with_loader=not arguments.no_loader)
        print("\n".join(found), flush=True)
        lines += found
    if arguments.write:
        partial = _RESULTS.with_suffix(".partial")
        partial.write_text("\n".join(lines).rstrip() + "\n" + _measured_apart(), encoding="utf-8")
        os.replace(partial, _RESULTS)


def _measured_apart() -> str:
    """What other programs measured and hands wrote: the end of the page, which stays."""
    page = _RESULTS.read_text(encoding="utf-8") if _RESULTS.exists() else ""
    _, heading, rest = page.partition(_APART)
    return "\n" + heading + rest if heading else ""


def section(dtype: torch.dtype, epochs: int, *, with_loader: bool) -> list[str]:
    """The lines of one floating-point type: times, ratios, and how far the gradients differ."""
    data = embedded_mnist().to(torch.device("cpu"), dtype)
    measured = variants(data, with_loader=with_loader)
    _measure(measured, epochs)
    name = str(dtype).removeprefix("torch.")
    differences = ", ".join(
        f"{way}: {gradient_difference(data, generic=way == GENERIC):.1e}" for way in (OURS, GENERIC)
    )
    return [
        f"## {name}",
        "",
        *_times(measured),
        "",
        *_ratios(measured),
        "",
        "Relative difference of our gradient of loss and penalty from the official step's, for the same weights and "
        f"directions: {differences}.",
        "",
    ]


def variants(data: LabelledImages, *, with_loader: bool) -> list[Variant]:
    """All ways to train an epoch, each with a network of its own from the same seed."""
    batches = list(zip(data.x_train.flatten(1).split(_BATCH_SIZE), data.y_train.split(_BATCH_SIZE), strict=True))
    loader = official_loader(EMBEDDED_MNIST, _BATCH_SIZE) if with_loader else None
    found = []
    for method, coefficient in (("baseline", 0.0), ("GrokAlign", _COEFFICIENT)):
        if loader is not None:
            step = OfficialStep(_network(data), coefficient, _LEARNING_RATE, _WEIGHT_DECAY)
            found.append(Variant(method, LOADER, lambda s=step: s.epoch(loader), _LOADER_EPOCHS_AT_MOST))
        step = OfficialStep(_network(data), coefficient, _LEARNING_RATE, _WEIGHT_DECAY)
        found.append(Variant(method, IN_MEMORY, lambda s=step: s.epoch(batches)))
        for name in (GENERIC, OURS):
            network = Opaque(_network(data)) if name == GENERIC else _network(data)
            found.append(Variant(method, name, _our_training(network, data, coefficient).run_epoch))
    return found


def gradient_difference(data: LabelledImages, *, generic: bool) -> float:
    """‖ours − official‖ / ‖official‖ over all parameters, on one batch with λ = 1, so that both terms count."""
    x, y = data.x_train[:_BATCH_SIZE].flatten(1), data.y_train[:_BATCH_SIZE]
    network = _network(data)
    official = OfficialStep(network, 1.0, _LEARNING_RATE, _WEIGHT_DECAY)
    directions = torch.randn(len(x), data.n_classes, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    parameters = list(network.parameters())
    expected = torch.autograd.grad(official.loss(x.clone(), y, directions), parameters)
    model = Opaque(network) if generic else network
    penalty = GrokAlign(model, 1.0, generator=torch.Generator().manual_seed(5))
    outputs, norm = penalty.outputs_and_penalty(x)
    ours = torch.autograd.grad(LOSSES["cross-entropy"](outputs, y) + norm, parameters)
    difference = torch.cat([(a - b).flatten() for a, b in zip(ours, expected, strict=True)]).norm()
    return (difference / torch.cat([b.flatten() for b in expected]).norm()).item()


def _network(data: LabelledImages) -> nn.Module:
    return mlp((784,), data.n_classes, initial_scale=8.0, dtype=data.x_train.dtype)


def _our_training(network: nn.Module, data: LabelledImages, coefficient: float) -> Training:
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=0.0, fused=True)
    return Training(
        network,
        data.x_train.flatten(1),
        data.y_train,
        LOSSES["cross-entropy"],
        optimizer,
        grokalign=GrokAlign(network, coefficient) if coefficient > 0 else None,
        methods=[WeightDecay(optimizer, _WEIGHT_DECAY)],
        batch_size=_BATCH_SIZE,
    )


def _measure(measured: list[Variant], epochs: int) -> None:
    """Time the variants in turns, so that whatever else the machine does falls on all of them alike."""
    for round_ in tqdm(range(epochs + 1), unit="round", mininterval=5.0):
        for variant in measured:
            if round_ > variant.epochs_at_most:
                continue
            gc.collect()
            wall, cpu = time.perf_counter(), processor_seconds()
            variant.epoch()
            wall, cpu = time.perf_counter() - wall, processor_seconds() - cpu
            if round_ > 0:
                variant.wall.append(wall)
                variant.cpu.append(cpu)


def _times(measured: list[Variant]) -> list[str]:
    lines = []
    for variant in measured:
        numbers = [statistics.median(variant.cpu), min(variant.cpu), statistics.median(variant.wall), min(variant.wall)]
        lines.append(
            [variant.method, variant.name, *[f"{1e3 * value:.1f}" for value in numbers], str(len(variant.cpu))]
        )
    return table(["method", "an epoch of", "CPU ms, median", "CPU ms, min", "wall ms, median", "min", "epochs"], lines)


def _ratios(measured: list[Variant]) -> list[str]:
    by_name = {(variant.method, variant.name): variant for variant in measured}
    lines = []
    for method, slower, faster, target in _TARGETS:
        if (method, slower) in by_name:
            one, other = by_name[method, slower], by_name[method, faster]
            cpu = statistics.median(one.cpu) / statistics.median(other.cpu)
            wall = statistics.median(one.wall) / statistics.median(other.wall)
            verdict = "met" if cpu >= target else "missed"
            lines.append([f"{slower} / {faster}", f"{cpu:.2f} ×", f"{wall:.2f} ×", f"≥ {target:g} ×: {verdict}"])
    return table(["GrokAlign, ratio of medians", "CPU", "wall", "target, by CPU"], lines)


if __name__ == "__main__":
    main()
