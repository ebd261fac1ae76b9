"""Other programs that find the regions of a network with two inputs; each function enumerates once and counts them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Run = Callable[[], int]


@dataclass(frozen=True)
class FoldedNetwork:
    """A ReLU network of slice coordinates, float32, on the square [-half_width, half_width]²."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    half_width: float


def load_folded(path: Path) -> FoldedNetwork:
    """What `Workload.save_folded` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        n = sum(name.startswith("weight_") for name in arrays.files)
        return FoldedNetwork(
            [arrays[f"weight_{i}"] for i in range(n)],
            [arrays[f"bias_{i}"] for i in range(n)],
            float(arrays["half_width"]),
        )


def regioncam(network: FoldedNetwork, threads: int) -> Run:
    """regioncam (T. van Laarhoven): a half-edge mesh in Rust, float32, one thread whatever is asked for."""
    import regioncam  # type: ignore[import-not-found]

    layers = [
        (np.ascontiguousarray(weight.T), bias) for weight, bias in zip(network.weights, network.biases, strict=True)
    ]

    def run() -> int:
        regions = regioncam.Regioncam(size=network.half_width)
        for i, (weight, bias) in enumerate(layers):
            if i:
                regions.relu()
            regions.linear(weight, bias)
        return int(regions.num_faces)

    return run


def relucent(network: FoldedNetwork, threads: int) -> Run:
    """relucent (B. Gaines): a search from region to region by linear programs, on worker processes."""
    import relucent  # type: ignore[import-not-found]
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    # The search must not start on a zero set; the slice's origin lies on none of them in practice, but B's might.
    start = np.array([[0.0123, 0.0456]]) * network.half_width

    def run() -> int:
        found = relucent.Complex(model)
        found.bfs(
            start=start, cube_radius=network.half_width, cube_mode="clipped", nworkers=threads, verify=False, verbose=0
        )
        return len(found)

    return run


PEERS: dict[str, Callable[[FoldedNetwork, int], Run]] = {"regioncam": regioncam, "relucent": relucent}
# relucent solves a linear program for every side of every region: only the smallest networks end within minutes.
PEER_WORKLOADS = {"regioncam": ("B", "S", "M", "M31", "L10"), "relucent": ("S",)}
