"""The floor of a GrokAlign step: its matrix products alone, beside the whole step, in turns in one process.

Table 1's setting, one batch. The products are those of the hand-written gradient (splinegeo/masked_chain.py) with the
shapes that they have there, on operands of their own; the step is one of `splinegeo train`, with loss and optimiser.

    python benchmarks/step_products.py
"""

import argparse
import itertools
import statistics
import time
from functools import partial

import torch
from tables import table
from torch import Tensor

from experiments.data import embedded_mnist
from experiments.settings import RunSettings, TrainingSettings
from experiments.train_run import assemble
from splinegeo.masked_chain import _product, _symmetric_product

_N, _WIDTHS = 256, (784, 196, 196, 196, 10)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for dtype in (torch.float64, torch.float32):
        name = str(dtype).removeprefix("torch.")
        data = embedded_mnist().first(_N, 1).to(torch.device("cpu"), dtype)
        training = assemble(RunSettings(training=TrainingSettings(dtype=name)), data)
        ways = (training.run_epoch, partial(_multiply, *_operands(dtype)))
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(arguments.steps):
            for work, seconds in zip(ways, taken, strict=True):
                before = time.process_time()
                work()
                seconds.append(time.process_time() - before)
        step, products = (statistics.median(seconds) for seconds in taken)
        rate = 2 * _multiply_adds() / products / 1e9
        lines.append([name, f"{1e3 * step:.1f}", f"{1e3 * products:.1f}", f"{products / step:.0%}", f"{rate:.0f}"])
    print("\n".join(table(["", "step, CPU ms", "its products", "share", "10⁹ operations/s of these"], lines)))


def _operands(dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(_N, width, dtype=dtype, generator=generator) for width in _WIDTHS]
    weights = [
        torch.randn(n_out, n_in, dtype=dtype, generator=generator) for n_in, n_out in itertools.pairwise(_WIDTHS)
    ]
    return rows, weights


def _multiply(rows: list[Tensor], weights: list[Tensor]) -> None:
    for layer, weight in enumerate(weights):
        _product(rows[layer], weight.mT)  # forward
        _product(rows[layer + 1].mT, rows[layer])  # the loss's gradient
        if layer > 0:
            _product(rows[layer + 1], weight)  # the direction down
            _product(rows[layer + 1], weight)  # the loss's error down
            _product(rows[layer + 1].mT, rows[layer])  # the norm's gradient
            if layer < len(weights) - 1:
                _product(rows[layer], weight.mT)  # the tangent up
    gram = _symmetric_product(weights[0], weights[0].mT)
    _product(rows[1], gram)
    _product(_symmetric_product(rows[1].mT, rows[1]), weights[0])


def _multiply_adds() -> float:
    """Of `_multiply`; symmetric products count three quarters."""
    layers = [n_in * n_out for n_in, n_out in itertools.pairwise(_WIDTHS)]
    first, hidden, last = layers[0], sum(layers[1:-1]), layers[-1]
    of_rows = 2 * first + 6 * hidden + 5 * last + 1.75 * _WIDTHS[1] ** 2
    return _N * of_rows + 1.75 * _WIDTHS[1] * first


if __name__ == "__main__":
    main()
