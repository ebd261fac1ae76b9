"""What is measured: networks of torch's default initialisation, slices and domains."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    import splinegeo as sg

_MNIST = Path(__file__).parents[1] / "experiments" / "datasets" / "mnist_1024.npz"
_MEAN, _DEVIATION = 0.1307, 0.3081


@dataclass(frozen=True)
class Workload:
    """A ReLU network, seed 0, on the square [-half_width, half_width]²: of the slice through the first three training
    images of MNIST, or, with two inputs, of the input plane itself.
    """

    name: str
    sizes: tuple[int, ...]
    half_width: float
    bias: bool = False

    def model(self) -> "nn.Sequential":
        """The network, float32."""
        import torch
        from torch import nn

        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for n_inputs, n_outputs in pairwise(self.sizes):
            layers += [nn.Linear(n_inputs, n_outputs, bias=self.bias), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def plane(self) -> "sg.Slice":
        """The slice of input space."""
        import splinegeo as sg

        if self.sizes[0] == 2:
            return sg.Slice(np.zeros(2), np.eye(2))
        with np.load(_MNIST) as data:
            images = (data["x_train"][:3].astype(np.float64) / 255 - _MEAN) / _DEVIATION
        return sg.Slice.through_points(images.reshape(3, -1))

    def save_folded(self, path: Path) -> None:
        """Write the network as a function of slice coordinates, for tools that know two-dimensional inputs only: an
        .npz file with float32 `weight_i` (n, m) and `bias_i` (n,), and `half_width`.
        """
        from torch import nn

        plane = self.plane()
        arrays: dict[str, np.ndarray] = {"half_width": np.array(self.half_width)}
        linear_layers = [layer for layer in self.model() if isinstance(layer, nn.Linear)]
        for i, layer in enumerate(linear_layers):
            weight = layer.weight.detach().double().numpy()
            bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().numpy()
            if i == 0:
                weight, bias = weight @ plane.basis.T, bias + weight @ plane.origin
            arrays |= {f"weight_{i}": weight.astype(np.float32), f"bias_{i}": bias.astype(np.float32)}
        np.savez(path, allow_pickle=False, **arrays)


def _square(width: int) -> tuple[int, ...]:
    return (784, width, width, width, 10)


_M, _L, _X = _square(196), _square(512), _square(1600)

ENUMERATION = (
    Workload("B", (2, 32, 32, 32, 2), 1.0, bias=True),
    Workload("S", (784, 64, 64, 10), 10.0),
    Workload("M", _M, 10.0),
    Workload("M31", _M, 31.0),
    Workload("L10", _L, 10.0),
    Workload("L120", _L, 120.0),
)
# From 10^3 to 10^7 regions. Without biases the number of regions on a slice is limited (M: 176 000, however large the
# domain), so the largest network is wider.
CURVE = (
    Workload("M1", _M, 1.0),
    Workload("M3", _M, 3.0),
    Workload("M", _M, 10.0),
    Workload("M31", _M, 31.0),
    Workload("L10", _L, 10.0),
    Workload("L31", _L, 31.0),
    Workload("L120", _L, 120.0),
    Workload("X120", _X, 120.0),
)
WORKLOADS = {workload.name: workload for workload in (*ENUMERATION, *CURVE)}
