"""Random small networks of every kind of layer, with random slices and domains, degenerate ones among them."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

import splinegeo as sg

WEIGHTS = ("normal", "integer", "small", "scaled")
MOST_VALUES = 500


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Concatenated(nn.Module):
    """X and body(x) along the channels."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class Absolute(nn.Module):
    """|x|."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


@dataclass(frozen=True, eq=False)
class RandomCase:
    """A network with float64 weights, a slice of its inputs and a domain on it."""

    seed: int
    weights: str
    model: nn.Module
    plane: sg.Slice
    domain: sg.Box | np.ndarray

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.weights} weights, {self.domain}\n{self.model}"


def random_case(seed: int) -> RandomCase:
    generator = np.random.default_rng(seed)
    model, shape = _convolutional(generator) if generator.random() < 0.6 else _dense(generator)
    weights = str(generator.choice(WEIGHTS, p=[0.45, 0.3, 0.1, 0.15]))
    _fill(model, weights, generator)
    size = float(generator.choice([1e-6, 1e-3, 0.3, 1.0, 3.0, 1e3, 1e6], p=[0.05, 0.05, 0.25, 0.3, 0.25, 0.05, 0.05]))
    return RandomCase(seed, weights, model, _plane(shape, weights, generator), _domain(size, generator))


def _plane(shape: tuple[int, ...], weights: str, generator: np.random.Generator) -> sg.Slice:
    """Through random points or grid points, through the origin, or along two axes, on which many units vanish."""
    d = prod(shape)
    kind = generator.integers(4)
    if weights == "integer" and kind < 2:
        axes = np.eye(d)[generator.choice(d, 2, replace=False)]
        return sg.Slice(np.round(generator.standard_normal(d)), axes, input_shape=shape)
    if kind == 2 or d == 2:
        axes = np.linalg.qr(generator.standard_normal((d, 2)))[0].T
        return sg.Slice(np.zeros(d), axes, input_shape=shape)
    return sg.Slice.through_points(generator.standard_normal((3, *shape)))


def _domain(size: float, generator: np.random.Generator) -> sg.Box | np.ndarray:
    if generator.random() < 0.25:
        angles = 2 * np.pi * (np.arange(n := int(generator.integers(3, 8))) + generator.random()) / n
        return size * np.column_stack([np.cos(angles), np.sin(angles)])
    x, y = generator.uniform(-size, size, 2) if generator.random() < 0.3 else (0.0, 0.0)
    return sg.Box(size, (float(x), float(y)))


def _activation(channels: int, generator: np.random.Generator) -> nn.Module:
    kinds: list[nn.Module] = [nn.ReLU(), nn.LeakyReLU(float(generator.choice([0.1, 0.5, -0.2, 2.0])))]
    kinds += [nn.PReLU(channels), nn.ReLU6(), nn.Hardtanh(-0.5, 0.7), nn.Hardsigmoid(), Absolute()]
    kinds += [nn.Softshrink(0.3), nn.Threshold(0.2, 0.2), nn.ReLU(inplace=True)]
    return kinds[generator.integers(len(kinds))]


def _convolution(channels: int, generator: np.random.Generator) -> nn.Conv2d:
    groups = int(generator.choice([1, 1, channels]))
    return nn.Conv2d(
        channels,
        groups * int(generator.integers(1, 4)),
        int(generator.integers(1, 4)),
        stride=int(generator.choice([1, 1, 2])),
        padding=int(generator.integers(3)),
        dilation=int(generator.choice([1, 1, 2])),
        groups=groups,
        bias=bool(generator.integers(2)),
        padding_mode=str(generator.choice(["zeros", "zeros", "reflect", "replicate", "circular"])),
    )


def _pooling(generator: np.random.Generator) -> nn.Module:
    size, stride, ceil_mode = int(generator.integers(2, 4)), int(generator.choice([1, 2])), bool(generator.integers(2))
    kinds: list[nn.Module] = [nn.MaxPool2d(size, stride, ceil_mode=ceil_mode), nn.AdaptiveMaxPool2d((2, 2))]
    kinds += [nn.MaxPool2d(size, stride, 1, dilation=int(generator.choice([1, 2])), ceil_mode=ceil_mode)]
    kinds += [nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False)]
    kinds += [nn.AdaptiveAvgPool2d((2, 3))]
    return kinds[generator.integers(len(kinds))]


def _around(channels: int, width: int, generator: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), _activation(width, generator))


def _block(channels: int, generator: np.random.Generator) -> nn.Module:
    kind = generator.integers(6)
    if kind < 2:
        return _convolution(channels, generator)
    if kind == 2:
        return _pooling(generator)
    if kind == 3:
        return nn.BatchNorm2d(channels)
    if kind == 4:
        return Residual(nn.Sequential(_around(channels, channels, generator), nn.Conv2d(channels, channels, 1)))
    return Concatenated(_around(channels, 2, generator))


def _convolutional(generator: np.random.Generator) -> tuple[nn.Module, tuple[int, ...]]:
    shape = (int(generator.integers(1, 4)), int(generator.integers(6, 10)), int(generator.integers(6, 10)))
    layers: list[nn.Module] = []
    x = torch.zeros(1, *shape)
    while len(layers) < 2 or generator.random() < 0.6:
        block = _block(x.shape[1], generator).eval()
        try:
            y = block(x)
        except (RuntimeError, ValueError):  # the image is too small for it
            continue
        if y.numel() > MOST_VALUES:
            continue
        layers += [block, _activation(y.shape[1], generator)]
        x = y.detach()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(x.numel(), int(generator.integers(1, 5)))), shape


def _dense(generator: np.random.Generator) -> tuple[nn.Module, tuple[int, ...]]:
    d = width = int(generator.integers(2, 8))
    layers: list[nn.Module] = []
    for _ in range(int(generator.integers(1, 5))):
        following = int(generator.integers(3, 14))
        layers += [nn.Linear(width, following, bias=bool(generator.integers(2))), _activation(following, generator)]
        width = following
        if generator.random() < 0.2:
            layers.append(Residual(nn.Sequential(nn.Linear(width, 6), _activation(6, generator), nn.Linear(6, width))))
        if generator.random() < 0.2:
            layers += [nn.Unflatten(1, (1, width)), nn.MaxPool1d(3, int(generator.choice([1, 2]))), nn.Flatten()]
            width = layers[-2](torch.zeros(1, 1, width)).shape[-1]
    return nn.Sequential(*layers, nn.Linear(width, int(generator.integers(1, 5)))), (d,)


def _fill(model: nn.Module, weights: str, generator: np.random.Generator) -> None:
    """Random parameters and running statistics: of integers many sums are equal, and many units vanish together."""
    model.double().eval().requires_grad_(False)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        values = generator.standard_normal(tensor.shape)
        if weights == "integer":
            values = np.round(1.5 * values)
        else:
            values /= max(1, tensor[0].numel() if tensor.ndim > 1 else 4) ** 0.5
            values *= {"normal": 1.0, "small": 1e-3, "scaled": 10 ** generator.uniform(-3, 3)}[weights]
        if name.endswith("running_var"):
            values = 1.0 + np.abs(values)
        tensor.copy_(torch.from_numpy(values))
