"""Does torch.compile help the step of a generic module? The same step with and without it, in turns in one process.

torch.compile cannot differentiate a backward pass again, so the projection of the Jacobian is traced into the forward
pass by torch.func.vjp. Needs a C++ compiler. The first step compiles: seconds to minutes, told apart.

    python benchmarks/compiled_step.py            # some minutes on a free core
"""

import argparse
import gc
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from tables import table
from torch import Tensor, nn
from torch.func import functional_call, vjp
from training_step import Opaque

from experiments.data import embedded_mnist
from experiments.losses import cross_entropy
from experiments.models import cnn, mlp
from splinegeo.grokalign import GrokAlign

_SAMPLES = {"mlp": 256, "cnn": 64}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--networks", default="mlp,cnn")
    parser.add_argument("--dtypes", default="float32,float64")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for network, dtype, penalised in itertools.product(
        arguments.networks.split(","), arguments.dtypes.split(","), (True, False)
    ):
        ways = [_step(network, getattr(torch, dtype), penalised, compiled) for compiled in (False, True)]
        first = [_seconds(way, time.perf_counter) for way in ways]
        taken = [[_seconds(way, time.process_time) for way in ways] for _ in range(arguments.steps)]
        plain, compiled = (1e3 * statistics.median(column) for column in zip(*taken, strict=True))
        ratio = statistics.median(one / other for one, other in taken)
        penalty = "with" if penalised else "without"
        lines.append([network, dtype, penalty, f"{plain:.1f}", f"{compiled:.1f}", f"{ratio:.2f} ×", f"{first[1]:.0f}"])
        print(" ".join(lines[-1]), flush=True)
    header = ["", "", "penalty", "as it is, CPU ms", "compiled, CPU ms", "ratio", "first step, wall s"]
    print("\n".join(table(header, lines)))


def _step(network: str, dtype: torch.dtype, penalised: bool, compiled: bool) -> Callable[[], None]:
    """A training step of a network of its own, in a module that is not read as a chain."""
    build = {"mlp": lambda: mlp((1, 28, 28), 10, initial_scale=8.0), "cnn": lambda: cnn((1, 28, 28), 10)}[network]
    model = Opaque(build().to(dtype))
    data = embedded_mnist().first(_SAMPLES[network], 1).to(torch.device("cpu"), dtype)
    x, y = data.x_train, data.y_train
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    grokalign = GrokAlign(model, 1e-3)
    outputs_and_norms = torch.compile(_outputs_and_norms) if compiled else None

    def step() -> None:
        if outputs_and_norms is not None:
            directions = grokalign.directions(x, data.n_classes)[0] if penalised else None
            outputs, norms = outputs_and_norms(model, dict(model.named_parameters()), x, directions)
            penalty = None if norms is None else grokalign.penalty_of(norms)
        elif penalised:
            outputs, penalty = grokalign.outputs_and_penalty(x)
        else:
            outputs, penalty = model(x), None
        loss = cross_entropy(outputs, y)
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _outputs_and_norms(
    model: nn.Module, parameters: dict[str, Tensor], x: Tensor, directions: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    def outputs(points: Tensor) -> Tensor:
        return functional_call(model, parameters, (points,))

    if directions is None:
        return outputs(x), None
    found, backward = vjp(outputs, x)
    (rows,) = backward(directions)
    return found, (rows.flatten(1).square().sum(1) * directions.shape[1]).sqrt()


def _seconds(work: Callable[[], None], clock: Callable[[], float]) -> float:
    gc.collect()
    before = clock()
    work()
    return clock() - before


if __name__ == "__main__":
    main()
