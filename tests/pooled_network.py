"""A network whose pattern is not one bit a unit: convolution, maxima, a skip connection, bounded and absolute units."""

from functools import cache

import numpy as np
import torch
from networks import one_thread
from torch import Tensor, nn

import splinegeo as sg


class PooledNetwork(nn.Module):
    """(n, 1, 6, 6) -> (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.1), nn.MaxPool2d(2), nn.Flatten())
        self.inner = nn.Sequential(nn.Linear(12, 12), nn.Hardtanh())
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.features(x)
        return self.head(torch.abs(h + self.inner(h) - 0.3))


@cache
def pooled_case() -> tuple[PooledNetwork, sg.Partition]:
    """The network with seeded weights, and its partition on a slice through three random images."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = PooledNetwork().double()
        points = torch.randn(3, 1, 6, 6, dtype=torch.float64)
    return model, sg.enumerate_regions(model, sg.Slice.through_points(points), sg.Box(6.0))


def pooled_patterns(model: PooledNetwork, x: np.ndarray) -> list[np.ndarray]:
    """The piece of every unit of every layer at inputs (n, 1, 6, 6), by torch's own modules."""
    with torch.no_grad(), one_thread():
        convolved = model.features[0](torch.from_numpy(x))
        leaky = model.features[1](convolved)
        pooled, places = nn.functional.max_pool2d(leaky, 2, return_indices=True)
        rows, columns = places // 4 % 2, places % 4 % 2
        h = pooled.flatten(1)
        bounded = model.inner[0](h)
        folded = h + model.inner[1](bounded) - 0.3
    pieces = [convolved > 0, 2 * rows + columns, (bounded > -1).int() + (bounded > 1).int(), folded > 0]
    return [piece.flatten(1).numpy().astype(np.int64) for piece in pieces]
