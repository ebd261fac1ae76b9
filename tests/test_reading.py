"""Networks of every readable kind: torch's outputs, torch's Jacobians, torch's pieces."""

import numpy as np
import pytest
import torch
from piecewise_zoo import ZOO, Forward, build, paper_cnn, randomised, resnet
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from splinegeo import reading
from splinegeo.affine import Affine, TorchAffine
from splinegeo.network import Network, read_network


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Many small operations: a second thread only waits."""


@pytest.fixture
def operators_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "DENSE_ENTRIES", 0)


def sample(shape: tuple[int, ...], n: int, seed: int = 1) -> Tensor:
    return torch.randn((n, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def outputs_of(model: nn.Module, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(x.clone()).reshape(len(x), -1).numpy()


def jacobians_by_stages(network: Network, x: np.ndarray) -> np.ndarray:
    """(n, C, d): the output's rows pulled back through the stages by the slopes that hold at each point."""
    h, slopes = x, []
    for stage in network.stages:
        y = stage.affine(h)
        slopes.append(np.where(y > 0, 1.0, stage.slopes))
        h = stage.activate(y)
    rows = np.repeat(network.output.transpose(np.eye(network.n_outputs))[None], len(x), axis=0)
    for stage, slope in zip(network.stages[::-1], slopes[::-1], strict=True):
        rows = stage.affine.transpose(rows * slope[:, None, :])
    return rows


def jacobian_of(model: nn.Module, x: Tensor) -> np.ndarray:
    """(C, d), row by row: torch's own batched derivatives of PReLU and RReLU are not to be trusted."""
    rows = torch.autograd.functional.jacobian(lambda v: model(v[None].clone()).reshape(-1), x)
    return rows.reshape(len(rows), -1).numpy()


@pytest.mark.parametrize("name", ZOO)
def test_outputs_and_jacobians_are_those_of_torch(name: str) -> None:
    model, shape = build(name)
    network = read_network(model, shape)
    assert network.input_shape == shape
    x = sample(shape, 20)
    expected = outputs_of(model, x)
    flat = x.reshape(len(x), -1).numpy()
    np.testing.assert_allclose(network(flat), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    of_torch = np.stack([jacobian_of(model, v) for v in x[:3]])
    found = jacobians_by_stages(network, flat[:3])
    rtol = 1e-7 if "ardsigmoid" in name else 1e-10  # torch's gradient of hardsigmoid has 1/6 in single precision
    np.testing.assert_allclose(found, of_torch, rtol=rtol, atol=1e-12 * np.abs(of_torch).max())
    for stage in network.stages:
        assert stage.affine.n_outputs == stage.n_units == len(stage.carried) == len(stage.layer_unit)
        assert (stage.slopes[stage.carried] == 1).all()
        assert ((stage.layer_unit >= 0) == ~stage.carried).all()


@pytest.mark.parametrize("name", ["U-Net", "ResNet with batch norm", "MaxPool2d, overlapping", "clamp", "residual MLP"])
def test_operators_and_matrices_are_the_same_network(name: str, operators_only: None) -> None:
    model, shape = build(name)
    network = read_network(model, shape)
    assert any(isinstance(stage.affine, TorchAffine) for stage in network.stages)
    x = sample(shape, 5)
    flat = x.reshape(len(x), -1).numpy()
    expected = outputs_of(model, x)
    np.testing.assert_allclose(network(flat), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    for stage in network.stages:
        if isinstance(stage.affine, TorchAffine):
            dense = stage.affine.dense()
            h = np.random.default_rng(0).standard_normal((4, dense.n_inputs))
            g = np.random.default_rng(1).standard_normal((4, dense.n_outputs))
            np.testing.assert_allclose(stage.affine(h), dense(h), rtol=0, atol=1e-12)
            np.testing.assert_allclose(stage.affine.linear(h), dense.linear(h), rtol=0, atol=1e-12)
            np.testing.assert_allclose(stage.affine.transpose(g), dense.transpose(g), rtol=0, atol=1e-12)
            np.testing.assert_array_equal(stage.affine.bias, dense.bias)


def pieces_of_torch(model: nn.Module, x: Tensor) -> list[np.ndarray]:
    """Pieces from the inputs of the real modules, in the order of the calls."""
    found: list[np.ndarray] = []

    def note(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        z = arguments[0].clone()
        if isinstance(module, nn.Hardtanh):
            piece = (z > module.min_val).int() + (z > module.max_val).int()
        elif isinstance(module, nn.Hardsigmoid):
            piece = (z > -3).int() + (z > 3).int()
        elif isinstance(module, nn.Softshrink):
            piece = (z > -module.lambd).int() + (z > module.lambd).int()
        elif isinstance(module, nn.Threshold):
            piece = (z > module.threshold).int()
        elif isinstance(module, nn.MaxPool2d):
            piece = places_in_windows(module, z)
        else:
            piece = (z > 0).int()
        found.append(piece.reshape(len(z), -1).numpy())

    kinds = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Hardsigmoid, nn.MaxPool2d)
    kinds = (*kinds, nn.Softshrink, nn.Threshold)
    handles = [m.register_forward_pre_hook(note) for m in model.modules() if isinstance(m, kinds)]
    outputs_of(model, x)
    for handle in handles:
        handle.remove()
    return found


def places_in_windows(pool: nn.MaxPool2d, z: Tensor) -> Tensor:
    """Torch's indices of the maxima, as places within each window in row-major order."""
    sizes = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    kernel, stride, padding, dilation = ((s, s) if isinstance(s, int) else s for s in sizes)
    options = {"dilation": pool.dilation, "ceil_mode": pool.ceil_mode, "return_indices": True}
    _, index = functional.max_pool2d(z, pool.kernel_size, pool.stride, pool.padding, **options)
    rows, columns = index // z.shape[-1], index % z.shape[-1]
    out_rows = torch.arange(index.shape[-2])[:, None]
    out_columns = torch.arange(index.shape[-1])
    down = (rows - (out_rows * stride[0] - padding[0])) // dilation[0]
    across = (columns - (out_columns * stride[1] - padding[1])) // dilation[1]
    return down * kernel[1] + across


@pytest.mark.parametrize(
    "name",
    [
        *("PReLU", "RReLU", "ReLU6", "Hardtanh", "Hardsigmoid", "BatchNorm2d", "Upsample, bilinear"),
        *("Softshrink", "Threshold", "MaxPool2d", "MaxPool2d, overlapping", "MaxPool2d, dilated"),
        *("ResNet", "ResNet with batch norm", "DenseNet", "U-Net", "residual MLP", "the paper's CNN, narrow", "tokens"),
    ],
)
def test_pieces_are_those_of_the_modules_themselves(name: str) -> None:
    model, shape = build(name)
    network = read_network(model, shape)
    x = sample(shape, 30)
    expected = pieces_of_torch(model, x)
    found = network.patterns(x.reshape(len(x), -1).numpy())
    assert [piece.shape for piece in found] == [piece.shape for piece in expected]
    assert [layer.n_units for layer in network.layers] == [piece.shape[1] for piece in found]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.int8
        np.testing.assert_array_equal(one, other)


def test_resnet_18_and_the_papers_cnn_at_their_real_size() -> None:
    for model, n_layers in ((resnet((64, 128, 256, 512), normed=True), 17), (paper_cnn(), 7)):
        network = read_network(randomised(model), (3, 32, 32))
        assert len(network.layers) == n_layers
        x = sample((3, 32, 32), 4)
        expected = outputs_of(model, x)
        flat = x.reshape(4, -1).numpy()
        np.testing.assert_allclose(network(flat), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
        for one, other in zip(network.patterns(flat), pieces_of_torch(model, x), strict=True):
            np.testing.assert_array_equal(one, other)


def test_torchvisions_resnet_18() -> None:
    model = randomised(resnet18(weights=None))
    network = read_network(model, (3, 40, 40))
    x = sample((3, 40, 40), 3)
    expected = outputs_of(model, x)
    np.testing.assert_allclose(
        network(x.reshape(3, -1).numpy()), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max()
    )
    paths = [layer.path for layer in network.layers]
    assert paths[:4] == ["relu", "maxpool", "layer1.0.relu", "layer1.0.relu#2"]
    assert [network.layers[network.stages[group[0]].layer].kind for group in network.groups] == ["MaxPool2d"]
    assert network.groups[0] == range(1, 5)


def test_linear_chains_take_the_weights_bit_for_bit() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5, bias=False), nn.ReLU())
    model.append(nn.Unflatten(1, (5, 1))).append(nn.Flatten()).append(nn.Linear(5, 3))
    functional_model = Forward(
        lambda m, x: m.c(m.b(m.a(x.view(x.size(0), -1)).relu()).relu()), a=model[1], b=model[3], c=model[7]
    )
    for network in (read_network(model, (3, 4)), read_network(functional_model, (3, 4))):
        maps = [*(stage.affine for stage in network.stages), network.output]
        for affine, layer in zip(maps, (model[1], model[3], model[7]), strict=True):
            assert isinstance(affine, Affine)
            np.testing.assert_array_equal(affine.weight, layer.weight.detach().double().numpy())
            bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().double().numpy()
            np.testing.assert_array_equal(affine.bias, bias)


def test_a_convolutions_matrix_holds_its_weights_exactly() -> None:
    conv = nn.Conv2d(2, 3, 2).double()
    network = read_network(nn.Sequential(conv, nn.ReLU()), (2, 3, 3))
    weight = network.stages[0].affine.columns.T.reshape(3, 2, 2, 2, 3, 3)
    for row in range(2):
        for column in range(2):
            expected = np.zeros((3, 2, 3, 3))
            expected[:, :, row : row + 2, column : column + 2] = conv.weight.detach().numpy()
            np.testing.assert_array_equal(weight[:, row, column], expected)
    np.testing.assert_array_equal(
        network.stages[0].affine.bias.reshape(3, 4), conv.bias.detach().numpy()[:, None].repeat(4, 1)
    )


def test_large_products_of_linear_layers_stay_factored() -> None:
    wide = read_network(nn.Sequential(nn.Linear(3000, 5), nn.Linear(5, 3000), nn.ReLU(), nn.Linear(3000, 2)))
    assert isinstance(wide.stages[0].affine, TorchAffine)
    narrow = read_network(nn.Sequential(nn.Linear(30, 5), nn.Linear(5, 30), nn.ReLU(), nn.Linear(30, 2)))
    assert isinstance(narrow.stages[0].affine, Affine)
    big = read_network(nn.Sequential(nn.Linear(3000, 1500), nn.ReLU(), nn.Linear(1500, 2)))
    assert isinstance(big.stages[0].affine, Affine)


def test_what_is_carried_is_what_a_later_stage_needs() -> None:
    model, shape = build("residual MLP")
    network = read_network(model, shape)
    assert [int(stage.carried.sum()) for stage in network.stages] == [6, 6, 6]
    model, shape = build("ResNet")
    network = read_network(model, shape)
    assert [int(stage.carried.sum()) for stage in network.stages] == [0, 256, 0, 256, 0, 256, 0, 96, 0]


def test_layers_are_named_as_in_the_module() -> None:
    inner = Forward(lambda m, x: functional.relu(m.fc(x)).clamp(0, 1).relu(), fc=nn.Linear(3, 3))
    model = nn.Sequential(
        nn.Linear(2, 3), nn.PReLU(), nn.Sequential(inner, nn.Hardtanh()), Forward(lambda m, x: x.abs())
    )
    network = read_network(model, (2,))
    assert [(layer.path, layer.kind) for layer in network.layers] == [
        ("1", "PReLU"),
        ("2.0.relu", "ReLU"),
        ("2.0.clamp", "Clamp"),
        ("2.0.relu#2", "ReLU"),
        ("2.1", "Hardtanh"),
        ("3.abs", "Abs"),
    ]
    assert [layer.shape for layer in network.layers] == [(3,)] * 6
    assert read_network(Forward(lambda m, x: torch.relu(m.fc(x)), fc=nn.Linear(3, 3))).layers[0].path == "relu"


def test_pieces_of_functions() -> None:
    """Maxima of two: which of them; over a dimension: which entry; one bound: within it."""
    x = sample((3, 5), 50)
    flat = x.reshape(50, -1).numpy()

    def pieces(function: object) -> np.ndarray:
        (found,) = read_network(Forward(lambda m, v: function(v)), (3, 5)).patterns(flat)  # type: ignore[operator]
        return found

    np.testing.assert_array_equal(pieces(lambda v: v.amax(2)), x.argmax(2).numpy())
    np.testing.assert_array_equal(pieces(lambda v: v.min(1)[0]), x.argmin(1).numpy())
    np.testing.assert_array_equal(pieces(lambda v: torch.maximum(v[:, 0], v[:, 1])), (x[:, 1] > x[:, 0]).int().numpy())
    np.testing.assert_array_equal(pieces(lambda v: torch.minimum(v[:, 0], v[:, 1])), (x[:, 1] < x[:, 0]).int().numpy())
    np.testing.assert_array_equal(pieces(lambda v: v.clamp(max=0.3)), (flat < 0.3).astype(int))
    np.testing.assert_array_equal(pieces(lambda v: v.clamp(-0.2, 0.3)), (flat > -0.2).astype(int) + (flat > 0.3))
    np.testing.assert_array_equal(pieces(lambda v: torch.maximum(v, torch.ones(5))), (flat > 1).astype(int))
