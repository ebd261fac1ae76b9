"""Time of an epoch of several seeds, trained one after another and in one batched program, in turns in one process.

Table 1's setting under cross-entropy. What each network has become differs by rounding alone, which is measured too.

    python benchmarks/batched_seeds.py                # CPU, ten seeds; half a minute on a free core
    python benchmarks/batched_seeds.py --device cuda
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from tables import table

from experiments.batched_training import BatchedTraining
from experiments.data import LabelledImages, embedded_mnist
from experiments.device import choose_device
from experiments.losses import SAMPLE_LOSSES
from experiments.settings import RunSettings, TrainingSettings
from experiments.train_run import assemble, make_optimizer
from experiments.training import Training

_METHODS = {"baseline": (), "GrokAlign": ("grokalign",), "Grokfast, adversarial": ("grokfast", "adversarial")}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=5, help="timed epochs of each way, after one that warms up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    lines = []
    for dtype in ("float64", "float32"):
        data = embedded_mnist().to(device, getattr(torch, dtype))
        for name, methods in _METHODS.items():
            settings = RunSettings(training=TrainingSettings(dtype=dtype, methods=methods))
            alone, batched, difference = _measured(settings, data, arguments.seeds, arguments.epochs)
            ratio = statistics.median(one / other for one, other in zip(alone, batched, strict=True))
            lines.append(
                [
                    dtype,
                    name,
                    f"{1e3 * statistics.median(alone):.0f}",
                    f"{1e3 * statistics.median(batched):.0f}",
                    f"{ratio:.2f} ×",
                    f"{difference:.1e}",
                ]
            )
    unit = "CPU ms" if device.type == "cpu" else "wall ms"
    header = [
        "",
        f"epoch of {arguments.seeds} seeds",
        f"alone, {unit}",
        f"batched, {unit}",
        "ratio",
        "weights differ by",
    ]
    print("\n".join(table(header, lines)))


def _measured(
    settings: RunSettings, data: LabelledImages, n_seeds: int, epochs: int
) -> tuple[list[float], list[float], float]:
    """Seconds of each epoch alone and batched, and the largest relative difference of a weight matrix in the end."""

    def trainings() -> list[Training]:
        return [assemble(replace(settings, seed=seed), data) for seed in range(n_seeds)]

    alone, members = trainings(), trainings()
    loss = SAMPLE_LOSSES[settings.training.loss]
    batched = BatchedTraining(members, loss, partial(make_optimizer, settings))
    seconds: tuple[list[float], list[float]] = ([], [])
    for epoch in range(epochs + 1):
        for ways, taken in zip(([training.run_epoch for training in alone], [batched.run_epoch]), seconds, strict=True):
            elapsed = _seconds(ways, data.x_train.device)
            if epoch > 0:
                taken.append(elapsed)
    pairs = [
        (p.detach(), q.detach())
        for one, other in zip(alone, members, strict=True)
        for p, q in zip(one.model.parameters(), other.model.parameters(), strict=True)
    ]
    return *seconds, max(float((p - q).norm() / p.norm()) for p, q in pairs)


def _seconds(ways: list[Callable[[], object]], device: torch.device) -> float:
    """CPU time of this process, or on an accelerator the wall time: an epoch ends with a transfer to the CPU."""
    gc.collect()
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    before = clock()
    for way in ways:
        way()
    return clock() - before


if __name__ == "__main__":
    main()
