"""Convolutional networks on real images: every region against torch's forward pass and Jacobians."""

import copy
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import mnist_images
from piecewise_zoo import paper_cnn, randomised, resnet
from torch import nn
from torchvision import models

import splinegeo as sg
from splinegeo import operator_norms, restricted_maps
from splinegeo.affine import TorchAffine
from splinegeo.network import read_network
from splinegeo.restriction import has_operators

BENCHMARKED = Path(__file__).parents[1] / "benchmarks" / "convolutional_networks.py"
CIFAR = Path(__file__).parents[2] / "shared" / "data" / "cifar10_1024.npz"
N_JACOBIANS = 4


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Results then depend on nothing but the program."""


@cache
def images() -> np.ndarray:
    """Real images, (n, 3, 32, 32): of CIFAR-10 where the file is at hand, else digits on three shifted channels.

    The digits have a little noise, as photographs have: on their constant ground, windows of a max pooling would tie.
    """
    if CIFAR.exists():
        with np.load(CIFAR, allow_pickle=False) as data:
            return (data["x_train"][:64].astype(np.float64) / 255 - 0.5).transpose(0, 3, 1, 2) / 0.25
    digits = np.pad(mnist_images(64), ((0, 0), (2, 2), (2, 2)), mode="edge")
    noise = 0.1 * np.random.default_rng(0).standard_normal((64, 3, 32, 32))
    return np.stack([np.roll(digits, shift, axis=2) for shift in (0, 1, 2)], axis=1) + noise


def narrow_resnet() -> nn.Module:
    """ResNet-18's depth, strides and skips at an eighth of its width; batch norm as the images leave it."""
    return with_statistics(randomised(resnet((8, 16, 32, 64), normed=True)))


def with_statistics(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, its batch norms with the statistics of the images."""
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        model.train()(torch.from_numpy(images()))
    return model.eval()


def dense_net() -> nn.Module:
    """torchvision's DenseNet with six narrow layers: concatenations, max pooling in the stem, average pooling between.

    Its batch norms stand before the convolutions, and their statistics are those of the images.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.DenseNet(growth_rate=4, block_config=(2, 2, 2), num_init_features=8, bn_size=2, num_classes=10)
        model.features.conv0 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    return with_statistics(randomised(model))


def every_layer() -> nn.Module:
    """The network of the benchmark that has every kind of layer in it."""
    specification = importlib.util.spec_from_file_location("convolutional_networks", BENCHMARKED)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return with_statistics(randomised(module.EveryLayer()))


def full_cnn() -> nn.Module:
    """GrokAlign's network for CIFAR-10 at its full size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return paper_cnn()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "the paper's CNN": (full_cnn, 0.02),
    "ResNet-18, narrow": (narrow_resnet, 0.02),
    "DenseNet, narrow": (dense_net, 0.05),
    "every layer": (every_layer, 0.01),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@cache
def enumerated(name: str) -> tuple[nn.Module, sg.Partition]:
    """A network in float64, and its partition on a square about the first image."""
    make, half_width = NETWORKS[name]
    model = make()
    plane = sg.Slice.through_points(images()[:3])
    square = plane.project(images()[:1])[0] + half_width * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    partition = sg.enumerate_regions(model, plane, square)
    assert has_operators(partition.network)
    return copy.deepcopy(model).double().eval(), partition


def outputs_of_torch(name: str, t: np.ndarray) -> np.ndarray:
    model, partition = enumerated(name)
    with torch.no_grad():
        return model(torch.from_numpy(partition.plane.lift(t).reshape(-1, 3, 32, 32))).numpy()


def outputs_of_maps(partition: sg.Partition, regions: np.ndarray, t: np.ndarray) -> np.ndarray:
    maps = partition.slice_maps[regions]
    return np.einsum("rci,ri->rc", maps[..., :2], t) + maps[..., 2]


def assert_equal_to_rounding(got: np.ndarray, wanted: np.ndarray, share: float = 1e-12) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol=share * np.abs(wanted).max())


@every_network
def test_the_partition_is_certified(name: str) -> None:
    partition = enumerated(name)[1]
    assert partition.n_regions > 50
    assert partition.complete
    certificate = partition.certify(200)
    assert certificate.ok, certificate
    assert certificate.interior_mismatches == certificate.sample_misses == 0
    stages_that_cut = np.unique(partition.edge_labels[(partition.edge_faces >= 0).all(axis=1), 0])
    assert len(stages_that_cut) >= 3, "only the first layers have cut: nothing deep is tested"


@every_network
def test_every_regions_map_gives_torchs_outputs_inside_it(name: str) -> None:
    partition = enumerated(name)[1]
    points = partition.interior_points
    found = outputs_of_maps(partition, np.arange(partition.n_regions), points)
    assert_equal_to_rounding(found, outputs_of_torch(name, points))


@every_network
def test_at_random_points_the_region_there_gives_torchs_outputs(name: str) -> None:
    partition = enumerated(name)[1]
    t = np.random.default_rng(0).uniform(partition.domain.min(axis=0), partition.domain.max(axis=0), (50, 2))
    regions = partition.locate(t)
    assert (regions >= 0).all()
    assert_equal_to_rounding(outputs_of_maps(partition, regions, t), outputs_of_torch(name, t))


@every_network
def test_torchs_jacobians_are_the_maps_centroids_radii_and_norms(name: str) -> None:
    model, partition = enumerated(name)
    largest = np.argsort(partition.areas)[::-1]
    regions = largest[np.linspace(0, len(largest) // 2, N_JACOBIANS).astype(int)]
    inputs = partition.plane.lift(partition.interior_points[regions]).reshape(-1, 3, 32, 32)
    outputs = outputs_of_torch(name, partition.interior_points[regions])
    norms, spectral = partition.operator_norms(), partition.operator_norms("spectral")
    centroids, radii = partition.centroids(regions), partition.radii(regions)
    for i, region in enumerate(regions):
        x = torch.from_numpy(inputs[i : i + 1])
        jacobian = torch.autograd.functional.jacobian(model, x).reshape(10, -1).numpy()
        offset = outputs[i] - jacobian @ inputs[i].reshape(-1)
        matrix, constants = partition.affine_map(int(region))
        assert_equal_to_rounding(matrix, jacobian, 1e-11)
        np.testing.assert_allclose(constants, offset, rtol=0, atol=1e-11 * np.abs(outputs).max())
        assert_equal_to_rounding(centroids[i], jacobian.sum(axis=0), 1e-11)
        radius = np.square(jacobian.sum(axis=0)).sum() + 2 * offset.sum()
        np.testing.assert_allclose(radii[i], radius, rtol=1e-10, atol=1e-11 * np.abs(outputs).max())
        np.testing.assert_allclose(norms[region], np.linalg.norm(jacobian), rtol=1e-10)
        np.testing.assert_allclose(spectral[region], np.linalg.norm(jacobian, 2), rtol=1e-10)


@every_network
def test_streams_of_a_few_regions_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = enumerated(name)[1]
    norms, centroids = partition.operator_norms(), partition.centroids()
    monkeypatch.setattr(restricted_maps, "_STREAM_BYTES", 1 << 20)
    assert_equal_to_rounding(operator_norms.operator_norms(partition), norms)
    assert_equal_to_rounding(partition.centroids(), centroids)


def test_a_bias_free_network_has_radii_of_squared_centroids() -> None:
    partition = enumerated("the paper's CNN")[1]
    centroids = partition.centroids()
    np.testing.assert_allclose(partition.radii(), np.square(centroids).sum(axis=1), rtol=1e-14)


def test_memory_does_not_grow_with_vertices_times_units() -> None:
    """Rows of all units at all vertices were what one held before: far more than what is held now."""
    partition = enumerated("the paper's CNN")[1]
    widest = max(stage.n_units for stage in partition.network.stages)
    held = sum(kinks.rows.nbytes for kinks in partition.restriction.kinks) + partition.restriction.columns.nbytes
    assert held < 8 * widest * len(partition.vertices) / 100
    assert partition.restriction.n_kinks < partition.n_regions / 4


def test_torchvisions_resnet18_is_read_and_a_layer_in_its_stem_is_refused_by_path() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.resnet18(num_classes=10).eval()
    network = read_network(model, (3, 32, 32))
    assert any(isinstance(stage.affine, TorchAffine) for stage in network.stages)
    assert [layer.kind for layer in network.layers[:2]] == ["ReLU", "MaxPool2d"]
    x = images()[:2]
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(torch.from_numpy(x)).numpy()
    assert_equal_to_rounding(network(x.reshape(2, -1)), expected)
    model.conv1 = nn.Sequential(model.conv1, nn.GELU())
    with pytest.raises(sg.UnsupportedModuleError, match=r"'conv1\.1' \(GELU\)"):
        sg.enumerate_regions(model, sg.Slice.through_points(images()[:3]))
