"""Jacobians, centroids and alignments at data points, against torch.func.jacrev and closed forms."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import splinegeo.jacobian as jacobian_module
from splinegeo.errors import InvalidNetworkError, ShapeError, SplineGeoError, UnsupportedModuleError
from splinegeo.grokalign import jacobian_norm
from splinegeo.jacobian import (
    InvalidArgumentError,
    UnknownComponentError,
    alignment,
    centroids,
    explained_variance,
    jacobian,
    local_centroids,
    row_alignment,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products take longer on two threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def mlp(bias: bool) -> nn.Sequential:
    widths = [12, 20, 16, 5]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional() -> nn.Sequential:
    """With everything whose gradient differs between training and evaluation."""
    network = nn.Sequential()
    network.add_module("filters", nn.Conv2d(2, 4, 3, padding=1))
    network.add_module("norm", nn.BatchNorm2d(4))
    network.add_module("rectify", nn.LeakyReLU(0.1, inplace=True))
    network.add_module("pool", nn.MaxPool2d(2))
    network.add_module("drop", nn.Dropout(0.5))
    network.add_module("flatten", nn.Flatten())
    network.add_module("readout", nn.Linear(4 * 3 * 3, 5))
    return network


CASES = {
    "biased": (lambda: mlp(True), (12,)),
    "bias-free": (lambda: mlp(False), (12,)),
    "cnn": (convolutional, (2, 6, 6)),
}


@pytest.fixture(params=[(name, dtype) for name in CASES for dtype in (torch.float64, torch.float32)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    name, dtype = request.param
    make, input_shape = CASES[name]
    torch.manual_seed(3)
    model = make().to(dtype)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return model, torch.randn(7, *input_shape, dtype=dtype)


def reference_jacobian(model: nn.Module, x: Tensor) -> Tensor:
    training = [module for module in model.modules() if module.training]
    model.eval()
    result = torch.func.vmap(torch.func.jacrev(lambda point: model(point[None])[0]))(x).detach()
    for module in training:
        module.training = True
    return result


def assert_close(actual: Tensor, expected: Tensor) -> None:
    tolerance = 1e-12 if expected.dtype == torch.float64 else 2e-5
    assert actual.dtype == expected.dtype
    assert not actual.requires_grad
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_jacobian_equals_jacrev(case: tuple[nn.Module, Tensor]) -> None:
    model, x = case
    assert_close(jacobian(model, x), reference_jacobian(model, x))


def test_jacobian_is_the_affine_map_of_the_region() -> None:
    torch.manual_seed(0)
    model = mlp(bias=False).double()
    x = torch.randn(30, 12, dtype=torch.float64)
    rebuilt = torch.einsum("ncd,nd->nc", jacobian(model, x), x)
    torch.testing.assert_close(rebuilt, model(x).detach(), rtol=1e-12, atol=1e-12)


def test_long_inputs_are_taken_in_passes() -> None:
    torch.manual_seed(0)
    model, x = mlp(True).double(), torch.randn(2 * jacobian_module.SAMPLES_PER_PASS + 3, 12, dtype=torch.float64)
    sizes = []
    handle = model.register_forward_pre_hook(lambda module, arguments: sizes.append(arguments[0].shape[0]))
    whole = jacobian(model, x, samples_per_pass=len(x))
    assert sizes == [len(x)]
    torch.testing.assert_close(jacobian(model, x), whole, rtol=1e-12, atol=1e-12)
    sizes.clear()
    by_centroid = centroids(model, x)
    assert max(sizes) == jacobian_module.SAMPLES_PER_PASS
    handle.remove()
    torch.testing.assert_close(by_centroid, whole.sum(1), rtol=1e-12, atol=1e-12)


def test_centroid_is_the_sum_of_the_rows(case: tuple[nn.Module, Tensor]) -> None:
    model, x = case
    assert_close(centroids(model, x), reference_jacobian(model, x).sum(1))


@pytest.mark.parametrize("length", range(1, 8))
def test_component_centroid_is_that_of_the_map_up_to_the_component(length: int) -> None:
    torch.manual_seed(1)
    model, x = convolutional().double(), torch.randn(4, 2, 6, 6, dtype=torch.float64)
    name = list(dict(model.named_children()))[length - 1]
    head = nn.Sequential(model[:length], nn.Flatten())
    # Before the in-place activation that follows the norm, as after it.
    assert_close(centroids(model, x, component=name), reference_jacobian(head, x).sum(1))


def test_component_may_be_nested_and_the_network_itself() -> None:
    torch.manual_seed(1)
    model, x = nn.Sequential(mlp(True), nn.ReLU()).double(), torch.randn(4, 12, dtype=torch.float64)
    assert_close(centroids(model, x, component="0.2"), reference_jacobian(model[0][:3], x).sum(1))
    assert_close(centroids(model, x, component=""), centroids(model, x))


def test_local_centroid_of_one_unit_is_its_weight_times_the_probability_that_it_is_on() -> None:
    weight, offset = torch.tensor([[0.6, -0.8, 1.2]], dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64)
    unit = nn.Linear(3, 1).double()
    unit.weight.data, unit.bias.data = weight, offset
    # Two samples of different range: each has noise of its own scale.
    x = torch.tensor([[0.5, 0.5, -0.5], [3.0, -1.0, -3.0]], dtype=torch.float64)
    spread, n_samples = 0.4, 4_000
    local = local_centroids(
        nn.Sequential(unit, nn.ReLU()), x, spread, n_samples, generator=torch.Generator().manual_seed(0)
    )
    for point, estimate in zip(x, local, strict=True):
        deviation = spread * float(point.max() - point.min()) * float(weight.norm())
        on = 0.5 * (1 + math.erf(float(weight @ point + offset) / deviation / math.sqrt(2)))
        assert 0.2 < on < 0.8
        five_sigma = 5 * math.sqrt(on * (1 - on) / n_samples)
        ratios = estimate / weight[0]
        torch.testing.assert_close(ratios, ratios[:1].expand(3), rtol=1e-12, atol=0)
        assert abs(float(ratios[0]) - on) < five_sigma


def test_local_centroids_average_the_centroids_at_the_draws(case: tuple[nn.Module, Tensor]) -> None:
    model, x = case
    draws = torch.Generator().manual_seed(5)
    ranges = torch.stack([point.max() - point.min() for point in x]).view(-1, *[1] * (x.ndim - 1))
    noisy = [x + 0.3 * ranges * torch.randn(x.shape, generator=draws, dtype=x.dtype) for _ in range(4)]
    expected = torch.stack([reference_jacobian(model, point).sum(1) for point in noisy]).mean(0)
    assert_close(local_centroids(model, x, 0.3, 4, generator=torch.Generator().manual_seed(5)), expected)


def test_local_centroids_without_noise_and_of_a_component() -> None:
    torch.manual_seed(1)
    model, x = mlp(True).double(), torch.randn(5, 12, dtype=torch.float64)
    assert_close(local_centroids(model, x, spread=0.0, n_samples=3), centroids(model, x))
    expected = centroids(model[:2], x)
    assert_close(local_centroids(model, x, spread=0.0, n_samples=1, component="1"), expected)


def test_local_centroids_follow_the_seed() -> None:
    torch.manual_seed(1)
    model, x = mlp(True), torch.randn(5, 12)
    first, again, other = (local_centroids(model, x, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(9)
    of_global = local_centroids(model, x)
    torch.manual_seed(9)
    assert torch.equal(of_global, local_centroids(model, x))


def test_alignments_are_cosines(case: tuple[nn.Module, Tensor]) -> None:
    model, x = case
    rows = reference_jacobian(model, x).flatten(2)
    cosine = nn.functional.cosine_similarity
    assert_close(alignment(model, x), cosine(x.flatten(1), rows.sum(1)))
    assert_close(row_alignment(model, x), cosine(x.flatten(1)[:, None], rows, dim=2))


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_alignment_of_a_map_made_of_the_input(scale: float) -> None:
    x = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    model = nn.Linear(4, 3, bias=False)
    model.weight.data = scale * torch.cat([2 * x, -x, 0 * x])
    torch.testing.assert_close(alignment(model, x), torch.ones(1))
    torch.testing.assert_close(row_alignment(model, x), torch.tensor([[1.0, -1.0, 0.0]]))
    torch.testing.assert_close(explained_variance(model, x), torch.ones(1))


def test_alignment_is_zero_where_the_input_or_the_centroid_is() -> None:
    model = nn.Linear(4, 2, bias=False)
    x = torch.cat([torch.zeros(1, 4), torch.ones(1, 4)])
    assert alignment(model, x)[0] == 0
    assert torch.equal(row_alignment(model, x)[0], torch.zeros(2))
    model.weight.data.zero_()
    assert torch.equal(alignment(model, x), torch.zeros(2))
    assert torch.equal(row_alignment(model, x), torch.zeros(2, 2))
    assert torch.equal(explained_variance(model, x), torch.zeros(2))


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(x.shape[0], 3)


def test_a_constant_network_has_a_zero_jacobian() -> None:
    x = torch.randn(2, 4)
    assert torch.equal(jacobian(Constant(), x), torch.zeros(2, 3, 4))
    assert torch.equal(centroids(Constant(), x), torch.zeros(2, 4))


def test_explained_variance_is_of_the_singular_values(
    case: tuple[nn.Module, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = case
    squares = torch.linalg.svdvals(reference_jacobian(model, x).flatten(2)).square()
    expected = squares[:, 0] / squares.sum(1)
    assert 0.2 < expected.min() < expected.max() < 0.95
    assert_close(explained_variance(model, x), expected)
    monkeypatch.setattr(jacobian_module, "JACOBIAN_ELEMENTS_PER_PASS", 1)
    assert_close(explained_variance(model, x), expected)


def test_explained_variance_with_more_outputs_than_inputs() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(3, 40).double(), torch.randn(2, 3, dtype=torch.float64)
    squares = torch.linalg.svdvals(model.weight.detach()).square()
    assert_close(explained_variance(model, x), (squares[0] / squares.sum()).expand(2))


MEASUREMENTS = {
    "jacobian": jacobian,
    "centroids": centroids,
    "component": lambda model, x: centroids(model, x, component="rectify"),
    "local": lambda model, x: local_centroids(model, x, generator=torch.Generator().manual_seed(0)),
    "alignment": alignment,
    "row_alignment": row_alignment,
    "explained_variance": explained_variance,
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_the_model_is_left_as_it_was(name: str) -> None:
    torch.manual_seed(2)
    model, x = convolutional(), torch.randn(3, 2, 6, 6, requires_grad=True)
    model.train()
    model.drop.eval()
    model.readout.weight.grad = torch.full_like(model.readout.weight, 7.0)
    model.filters.weight.requires_grad_(False)
    calls = []
    model.pool.register_forward_hook(lambda *arguments: calls.append(1))
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]

    MEASUREMENTS[name](model, x)

    assert calls
    assert [module.training for module in model.modules()] == modes
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(model.readout.weight.grad, torch.full_like(model.readout.weight, 7.0))
    assert x.grad is None
    assert model.readout.bias.grad is None
    assert not model.filters.weight.requires_grad


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurements_do_not_need_the_callers_gradient_mode(name: str) -> None:
    torch.manual_seed(2)
    model, x = convolutional(), torch.randn(3, 2, 6, 6)
    expected = MEASUREMENTS[name](model, x)
    with torch.no_grad():
        assert torch.equal(MEASUREMENTS[name](model, x), expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.equal(MEASUREMENTS[name](model, x.clone()), expected)
        assert torch.is_inference_mode_enabled()


def test_the_mode_is_restored_after_an_error() -> None:
    model = convolutional().train()
    with pytest.raises(ShapeError):
        centroids(model, torch.randn(3, 5, 6, 6))
    with pytest.raises(ShapeError):
        centroids(model, torch.randn(3, 5, 6, 6), component="filters")
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def with_nan_weight() -> nn.Linear:
    model = nn.Linear(4, 2)
    model.weight.data[0, 0] = float("nan")
    return model


FOUR = torch.ones(2, 4)
BAD_CALLS = [
    (lambda: centroids(nn.Linear(4, 2), torch.ones(2, 5)), ShapeError, r"cannot read x of shape \(2, 5\).*give"),
    (lambda: centroids(nn.Linear(4, 2), torch.ones(4)), ShapeError, r"shape \(4,\): give \(n, \*input_shape\)"),
    (lambda: centroids(nn.Linear(4, 2), torch.ones(0, 4)), ShapeError, "at least one sample"),
    (
        lambda: jacobian(nn.Linear(4, 2), torch.ones(2, 3, 4)),
        ShapeError,
        r"to \(2, 3, 2\): its output must be \(n, C\)",
    ),
    (lambda: centroids(nn.Flatten(0), FOUR), ShapeError, r"to \(8,\): its output must be"),
    (lambda: centroids(Pair(), FOUR), ShapeError, "returns a tuple: wrap it"),
    (lambda: centroids(nn.Linear(4, 2), FOUR / 0), InvalidArgumentError, "NaN or infinite values"),
    (lambda: alignment(nn.Linear(4, 2), FOUR * float("nan")), InvalidArgumentError, "NaN or infinite values"),
    (lambda: centroids(nn.Linear(4, 2), FOUR.long()), InvalidArgumentError, "dtype torch.int64: give floating-point"),
    (lambda: centroids(nn.Linear(4, 2), FOUR.double()), InvalidArgumentError, "float64 on cpu but the network is"),
    (lambda: centroids(nn.Linear(4, 2), FOUR.numpy()), InvalidArgumentError, "x is a ndarray: give a torch tensor"),
    (lambda: centroids(with_nan_weight(), FOUR), InvalidNetworkError, "Jacobian is not finite: the weights hold NaN"),
    (lambda: jacobian(nn.Linear(4, 2), FOUR, 0), InvalidArgumentError, "samples_per_pass is 0: give at least 1"),
    (lambda: local_centroids(nn.Linear(4, 2), FOUR, spread=-1), InvalidArgumentError, "spread is -1"),
    (lambda: local_centroids(nn.Linear(4, 2), FOUR, spread=float("nan")), InvalidArgumentError, "spread is nan"),
    (
        lambda: local_centroids(nn.Linear(4, 2), FOUR, n_samples=0),
        InvalidArgumentError,
        "n_samples is 0: give at least 1",
    ),
    (
        lambda: centroids(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), FOUR, component="2"),
        UnknownComponentError,
        "no component '2'; its components: 0, 1$",
    ),
    (lambda: centroids(nn.Linear(4, 2), FOUR, component="a"), UnknownComponentError, "its components: none$"),
    (lambda: centroids(Twice(), FOUR, component="layer"), UnknownComponentError, "called 2 times in a forward pass"),
    (lambda: centroids(nn.Sequential(*[nn.ReLU()] * 2), FOUR, component="1"), UnknownComponentError, "called 2 times"),
    (lambda: centroids(Twice(), FOUR, component="unused"), UnknownComponentError, "called 0 times in a forward pass"),
    (lambda: centroids(Pair(), FOUR, component=""), UnsupportedModuleError, "returns a tuple, not a tensor"),
    (
        lambda: centroids(nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)), FOUR),
        UnsupportedModuleError,
        r"0 \(BatchNorm1d\) has no running statistics: samples mix",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_bad_input_is_named_in_one_line(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        call()
    assert isinstance(raised.value, SplineGeoError)
    assert "\n" not in str(raised.value)


def test_a_large_finite_input_is_not_taken_for_an_infinite_one() -> None:
    x = torch.full((2, 4), 3e38)
    assert torch.isinf(x.sum())
    model = nn.Linear(4, 2)
    torch.testing.assert_close(centroids(model, x), model.weight.detach().sum(0).expand(2, 4))


def test_a_first_layer_that_writes_over_its_input() -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    last = nn.Linear(4, 3)
    in_place, plain = (nn.Sequential(nn.ReLU(inplace=inplace), last) for inplace in (True, False))
    for measure in (
        jacobian,
        centroids,
        alignment,
        row_alignment,
        explained_variance,
        partial(jacobian_norm, exact=True),
    ):
        torch.testing.assert_close(measure(in_place, x), measure(plain, x), rtol=0, atol=0)
        assert torch.equal(x, before)
    torch.testing.assert_close(centroids(in_place, x, component="1"), centroids(plain, x))


def test_a_programming_error_inside_the_network_is_not_hidden() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("a bug of the user's")

    with pytest.raises(KeyError, match="a bug of the user's"):
        centroids(Broken(), FOUR)
