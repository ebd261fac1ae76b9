"""Networks, slices and partitions that the geometry tests share; activation patterns from torch's own forward pass."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

import splinegeo as sg

MNIST = Path(__file__).parents[1] / "experiments" / "datasets" / "mnist_1024.npz"
CHUNK = 4096

IDENTITY_PLANE = sg.Slice(np.zeros(2), np.eye(2))


@dataclass(frozen=True, eq=False)
class Workload:
    """A network with float32 weights, a slice of its inputs, a domain on it, and the partition to test."""

    name: str
    model: nn.Sequential
    plane: sg.Slice
    domain: sg.Box | np.ndarray
    partition: sg.Partition


def mnist_images(n: int) -> np.ndarray:
    """The first n training images, (n, 28, 28) float64, normalised as the reference measurements are."""
    with np.load(MNIST) as data:
        return (data["x_train"][:n].astype(np.float64) / 255 - 0.1307) / 0.3081


def mnist_plane() -> sg.Slice:
    return sg.Slice.through_points(mnist_images(3).reshape(3, -1))


def mlp(sizes: Sequence[int], *, bias: bool = False, slope: float = 0.0, seed: int = 0) -> nn.Sequential:
    """Linear layers of torch's default initialisation with ReLU (or LeakyReLU) between them."""
    modules: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for inputs, outputs in pairwise(sizes):
            modules += [nn.Linear(inputs, outputs, bias=bias), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def linear(weight: Sequence[Sequence[float]], bias: Sequence[float] | None = None) -> nn.Linear:
    """A float64 layer with these weights."""
    layer = nn.Linear(len(weight[0]), len(weight), bias=bias is not None, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return layer


def perturbed(model: nn.Sequential, *, scale: float, rank: int, seed: int) -> nn.Sequential:
    """The network with a low-rank matrix of equal norm added to each weight, then scaled, like a trained one."""
    generator = torch.Generator().manual_seed(seed)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for layer in changed:
            if isinstance(layer, nn.Linear):
                left = torch.randn(layer.weight.shape[0], rank, generator=generator)
                right = torch.randn(rank, layer.weight.shape[1], generator=generator)
                low_rank = left @ right
                layer.weight.add_(low_rank * (layer.weight.norm() / low_rank.norm())).mul_(scale)
    return changed


@cache
def trained_network() -> nn.Sequential:
    """784-196-196-196-10 without biases, trained on 1024 MNIST points by squared error until it has memorised them."""
    with np.load(MNIST) as data:
        images, labels = data["x_train"], torch.from_numpy(data["y_train"].astype(np.int64))
    x = torch.from_numpy((images.reshape(len(images), -1) / 255 - 0.1307) / 0.3081).float()
    targets = nn.functional.one_hot(labels, 10).float()
    model = mlp((784, 196, 196, 196, 10))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    with one_thread():
        for _ in range(40):
            for begin in range(0, len(x), 256):
                optimiser.zero_grad()
                nn.functional.mse_loss(model(x[begin : begin + 256]), targets[begin : begin + 256]).backward()
                optimiser.step()
    accuracy = (model(x).argmax(dim=1) == labels).double().mean()
    assert accuracy > 0.99, f"the network of the tests has not memorised its data: accuracy {accuracy:.3f}"
    return model


@cache
def workload(name: str) -> Workload:
    """S, M and B are the reference workloads; the others add biases, leaky units, training, a polygon."""
    model: nn.Sequential
    plane = mnist_plane()
    domain: sg.Box | np.ndarray = sg.Box(10.0)
    match name:
        case "S":
            model = mlp((784, 64, 64, 10))
        case "M":
            model = mlp((784, 196, 196, 196, 10))
        case "B":
            model, plane, domain = mlp((2, 32, 32, 32, 2), bias=True), IDENTITY_PLANE, sg.Box(1.0)
        case "trained":
            model, domain = trained_network(), sg.Box(6.0)
        case "perturbed":
            model = perturbed(mlp((784, 64, 64, 64, 10), bias=True, seed=1), scale=4.0, rank=3, seed=2)
        case "biased":
            model = mlp((784, 64, 64, 10), bias=True, seed=3)
        case "leaky":
            model, domain = mlp((784, 48, 48, 48, 10), slope=0.1, seed=4), sg.Box(20.0, (1.0, -2.0))
        case "leaky biased":
            model = mlp((2, 24, 24, 24, 3), bias=True, slope=0.2, seed=6)
            plane, domain = IDENTITY_PLANE, np.array([[-2.0, -1.0], [1.5, -1.5], [2.0, 1.0], [0.0, 2.0], [-1.5, 1.0]])
        case "concave":
            model = mlp((3, 20, 20, 2), bias=True, slope=1.5, seed=5)
            plane, domain = sg.Slice([0.1, 0.2, -0.1], [[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]), sg.Box(2.0)
        case "scalar":
            model, plane, domain = mlp((2, 16, 16, 1), bias=True, seed=8), IDENTITY_PLANE, sg.Box(2.0)
        case _:
            raise ValueError(f"there is no workload {name!r}")
    return Workload(name, model, plane, domain, sg.enumerate_regions(model, plane, domain))


ALL_WORKLOADS = ("S", "M", "B", "trained", "perturbed", "biased", "leaky", "leaky biased", "concave", "scalar")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: for products of this size its threads only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lifted_chunks(plane: sg.Slice, points: np.ndarray) -> Iterator[torch.Tensor]:
    """Inputs of slice points, some thousands at a time: all at once would be most of a gigabyte."""
    for begin in range(0, len(points), CHUNK):
        yield torch.from_numpy(plane.lift(points[begin : begin + CHUNK]))


def torch_forward(model: nn.Module, plane: sg.Slice, points: np.ndarray) -> np.ndarray:
    """The network's outputs (n, C) at points (n, 2) of the slice by torch in float64."""
    exact = copy.deepcopy(model).double().eval()
    with torch.no_grad(), one_thread():
        return np.concatenate([exact(h).numpy() for h in lifted_chunks(plane, points)])


def torch_patterns(model: nn.Sequential, plane: sg.Slice, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signs of all units at points (n, 2) of the slice by torch in float64, and how far the nearest unit is from zero.

    Returns (n, units) booleans, positive or not, and (n,) the least |y| / (|w| |h| + |b|), near 1e-16 mere rounding.
    """
    exact = copy.deepcopy(model).double().eval()
    patterns, margins = [], []
    with torch.no_grad(), one_thread():
        for h in lifted_chunks(plane, points):
            signs, margin = [], torch.full((len(h),), torch.inf, dtype=torch.float64)
            scale = torch.ones(1)
            for layer in exact:
                if isinstance(layer, nn.Linear):
                    bias = 0.0 if layer.bias is None else layer.bias.abs()
                    scale = h.norm(dim=1, keepdim=True) * layer.weight.norm(dim=1) + bias
                else:
                    signs.append(h > 0)
                    margin = torch.minimum(margin, (h.abs() / scale).amin(dim=1))
                h = layer(h)
            patterns.append(torch.cat(signs, dim=1).numpy())
            margins.append(margin.numpy())
    return np.concatenate(patterns), np.concatenate(margins)


def region_patterns(partition: sg.Partition) -> np.ndarray:
    """(R, units) booleans, one region after another through `Partition.pattern`."""
    none = np.zeros(0, dtype=np.int8)
    return np.array([np.concatenate([none, *partition.pattern(r)]) for r in range(partition.n_regions)]).astype(bool)


def mean_corners(partition: sg.Partition) -> np.ndarray:
    """The mean of each region's corners, (R, 2): inside, as the regions are convex."""
    total = np.add.reduceat(partition.vertices[partition.corners], partition.offsets[:-1])
    return total / np.diff(partition.offsets)[:, None]


def points_inside(partition: sg.Partition, regions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One random point of each of the given regions, (n, 2): random convex weights of the corners."""
    points = np.empty((len(regions), 2))
    for i, r in enumerate(regions):
        loop = partition.vertices[partition.corners[partition.offsets[r] : partition.offsets[r + 1]]]
        points[i] = generator.dirichlet(np.ones(len(loop))) @ loop
    return points


def uniform_points(domain: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Uniform random points (n, 2) in a convex polygon given counter-clockwise."""
    fan = np.stack([np.tile(domain[0], (len(domain) - 2, 1)), domain[1:-1], domain[2:]], axis=1)
    a, b = fan[:, 1] - fan[:, 0], fan[:, 2] - fan[:, 0]
    areas = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    chosen = generator.choice(len(fan), size=n, p=areas / areas.sum())
    u, v = np.sort(generator.random((n, 2)), axis=1).T
    weights = np.stack([u, v - u, 1 - v], axis=1)
    return np.einsum("nk,nkd->nd", weights, fan[chosen])
