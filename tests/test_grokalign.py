"""The Jacobian's norm and the GrokAlign penalty: exact values, statistics, gradients, and Theorem 2's closed form."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from splinegeo import masked_chain
from splinegeo.errors import (
    InvalidArgumentError,
    InvalidNetworkError,
    ShapeError,
    SplineGeoError,
    UnsupportedModuleError,
)
from splinegeo.grokalign import GrokAlign, jacobian_norm
from splinegeo.jacobian import alignment, centroids, row_alignment


class Opaque(nn.Module):
    """The same function in a module that cannot be read as a chain: the penalty's generic path, double backward."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def shared_layer() -> nn.Sequential:
    layer, relu = nn.Linear(12, 12), nn.ReLU()
    return nn.Sequential(layer, relu, layer, relu, nn.Linear(12, 3))


def nested() -> nn.Sequential:
    block = nn.Sequential(nn.Linear(10, 9), nn.Dropout(0.5), nn.LeakyReLU(0.3), nn.Identity())
    return nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(12, 10), nn.ReLU()), block, nn.Flatten(), nn.Linear(9, 4)
    )


def plain(*widths: int, bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


CHAINS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "biased": (lambda: plain(12, 9, 8, 5), (12,)),
    "bias-free": (lambda: plain(12, 9, 8, 5, bias=False), (12,)),
    "wide first layer": (lambda: plain(3, 40, 5), (3,)),
    "one layer": (lambda: nn.Linear(12, 5), (12,)),
    "scalar output": (lambda: plain(12, 9, 1), (12,)),
    "two layers, no activation": (lambda: nn.Sequential(nn.Linear(12, 9), nn.Linear(9, 8), *plain(8, 7, 3)), (12,)),
    "activation at the end": (lambda: nn.Sequential(*plain(12, 9, 4), nn.LeakyReLU(0.2)), (12,)),
    "two activations": (lambda: nn.Sequential(nn.Linear(12, 9), nn.LeakyReLU(0.5), nn.ReLU(), nn.Linear(9, 4)), (12,)),
    "two slopes": (lambda: nn.Sequential(nn.Linear(12, 9), *[nn.LeakyReLU(0.5)] * 2, nn.Linear(9, 4)), (12,)),
    "slope 1": (lambda: nn.Sequential(nn.Linear(12, 9), nn.LeakyReLU(1.0), nn.Linear(9, 4)), (12,)),
    "shared layer": (shared_layer, (12,)),
    "nested, image input": (nested, (3, 2, 2)),
}
N = 40  # samples


def make(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    build, input_shape = CHAINS[name]
    torch.manual_seed(4)
    return build().to(dtype), torch.randn(N, *input_shape, dtype=dtype)


def reference_norm(model: nn.Module, x: Tensor) -> Tensor:
    rows = torch.func.vmap(torch.func.jacrev(lambda point: model(point[None])[0]))(x)
    return torch.linalg.matrix_norm(rows.flatten(2)).detach()


def gradients(value: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters()), materialize_grads=True))


def assert_equal_gradients(actual: list[Tensor], expected: list[Tensor], tolerance: float = 1e-12) -> None:
    assert len(actual) == len(expected) > 0
    for a, b in zip(actual, expected, strict=True):
        assert torch.linalg.vector_norm(a - b) <= tolerance * torch.linalg.vector_norm(b)
    assert any(b.abs().max() > 0 for b in expected)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products take longer on two threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each hand-written pass, whether it went through the Gram matrix."""
    taken: list[bool] = []
    backward = masked_chain.MaskedChain.backward

    def recorded(ctx: object, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        taken.append(ctx.by_gram)
        return backward(ctx, *grads)

    monkeypatch.setattr(masked_chain.MaskedChain, "backward", staticmethod(recorded))
    return taken


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CHAINS)
def test_exact_norm_equals_jacrev(name: str, dtype: torch.dtype) -> None:
    model, x = make(name, dtype)
    model.eval()
    expected = reference_norm(model, x)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for network in (model, Opaque(model)):
        norms = jacobian_norm(network, x, exact=True)
        assert norms.dtype == dtype
        assert norms.requires_grad
        torch.testing.assert_close(norms.detach(), expected, rtol=tolerance, atol=0)
        with torch.no_grad():
            torch.testing.assert_close(jacobian_norm(network, x, exact=True), expected, rtol=tolerance, atol=0)


def test_exact_norm_of_a_convolutional_network_in_eval_mode() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
    ).double()
    model[1].running_var.uniform_(0.5, 2)
    x = torch.randn(6, 2, 6, 6, dtype=torch.float64)
    norms = jacobian_norm(model, x, exact=True)
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(norms.detach(), reference_norm(model.eval(), x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("wrap", [lambda model: model, Opaque], ids=["chain", "generic"])
def test_square_of_the_estimate_has_no_bias_and_the_variance_of_uniform_directions(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    n_draws, C = 40_000, 5
    model, x = make("biased")
    J = torch.func.jacrev(lambda point: model(point[None])[0])(x[0]).detach()
    M = J @ J.mT
    estimates = jacobian_norm(wrap(model), x[:1].expand(n_draws, -1), generator=seeded()).detach().square()
    # For v uniform on the sphere: E (vᵀMv)² = (2 tr M² + (tr M)²) / (C (C + 2)).
    exact, second = float(M.trace()), float((M @ M).trace())
    variance = C * (2 * second + exact**2) / (C + 2) - exact**2
    assert abs(float(estimates.mean()) - exact) < 4.5 * math.sqrt(variance / n_draws)
    assert 4.5 * math.sqrt(variance / n_draws) < 0.03 * exact
    assert float(estimates.var()) == pytest.approx(variance, rel=0.05)


def test_more_projections_average_the_squares() -> None:
    model, x = make("biased")
    C, k = 5, 3
    v = torch.randn(k, N, C, generator=seeded(2), dtype=torch.float64)
    v = v / v.norm(dim=-1, keepdim=True)
    J = torch.func.vmap(torch.func.jacrev(lambda point: model(point[None])[0]))(x).detach()
    expected = (C / k * torch.einsum("knc,ncd->knd", v, J).square().sum((0, 2))).sqrt()
    for network in (model, Opaque(model)):
        estimate = jacobian_norm(network, x, n_projections=k, generator=seeded(2)).detach()
        torch.testing.assert_close(estimate, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("projections", [1, 3, None])
@pytest.mark.parametrize("name", CHAINS)
def test_hand_written_gradient_equals_double_backward(name: str, projections: int | None, paths: list[bool]) -> None:
    model, x = make(name)
    options = {"exact": True} if projections is None else {"n_projections": projections}
    weight_of_sample = torch.randn(N, generator=seeded(), dtype=torch.float64)
    values, grads = [], []
    for network in (model, Opaque(model)):
        norms = jacobian_norm(network, x, generator=seeded(1), **options)
        values.append(norms.detach())
        grads.append(gradients(weight_of_sample @ norms, model))
    assert len(paths) == 1
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)
    assert_equal_gradients(*grads)


def test_both_products_with_the_first_layer_are_tested(paths: list[bool]) -> None:
    for name in ("biased", "wide first layer"):
        model, x = make(name)
        jacobian_norm(model, x).sum().backward()
    assert paths == [True, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("level", [None, 2.0, 1e3])
def test_loss_and_penalty_of_the_papers_network(level: float | None, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = plain(784, 196, 196, 196, 10, bias=False).to(dtype)
    x, y = torch.rand(256, 784, dtype=dtype) * 3 - 0.4, torch.arange(256) % 10
    generic = Opaque(model)
    fast, slow = GrokAlign(model, 0.5, level), GrokAlign(generic, 0.5, level)
    outputs, penalty = fast.outputs_and_penalty(x)
    expected_penalty = slow(x)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(outputs, model(x), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(penalty, expected_penalty, rtol=tolerance, atol=0)
    grads = gradients(nn.functional.cross_entropy(outputs, y) + penalty, model)
    expected = gradients(nn.functional.cross_entropy(model(x), y) + expected_penalty, model)
    assert_equal_gradients(grads, expected, tolerance)


@pytest.mark.parametrize("name", CHAINS)
def test_one_forward_pass_gives_the_gradients_of_two(name: str) -> None:
    model, x = make(name)
    model.eval()
    target = torch.randn_like(model(x))

    def loss(outputs: Tensor) -> Tensor:
        return (outputs - target).square().mean()

    two_passes = loss(model(x)) + GrokAlign(Opaque(model), 0.3)(x)
    expected = gradients(two_passes, model)
    for network in (model, Opaque(model)):
        outputs, penalty = GrokAlign(network, 0.3).outputs_and_penalty(x)
        torch.testing.assert_close(loss(outputs) + penalty, two_passes, rtol=1e-12, atol=0)
        assert_equal_gradients(gradients(loss(outputs) + penalty, model), expected)
        outputs, penalty = GrokAlign(network, 0.3).outputs_and_penalty(x)
        assert_equal_gradients(gradients(loss(outputs), model), gradients(loss(model(x)), model))


@pytest.mark.parametrize("name", ["biased", "nested, image input"])
def test_gradient_of_the_inputs_is_that_of_the_loss(name: str) -> None:
    model, x = make(name)
    model.eval()
    for network in (model, Opaque(model)):
        x.grad = None
        x.requires_grad_()
        outputs, penalty = GrokAlign(network).outputs_and_penalty(x)
        (outputs.square().sum() + penalty).backward()
        (expected,) = torch.autograd.grad(model(x).square().sum(), x)
        torch.testing.assert_close(x.grad, expected, rtol=1e-12, atol=1e-12)


def test_gradient_agrees_with_finite_differences() -> None:
    model, x = make("biased")
    weight = model[2].weight
    (gradient,) = torch.autograd.grad(jacobian_norm(model, x, exact=True).mean(), weight)
    step = 1e-6
    for row, column in ((0, 0), (3, 5), (7, 8)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[row, column] += sign * step
            values.append(float(jacobian_norm(model, x, exact=True).detach().mean()))
            with torch.no_grad():
                weight[row, column] -= sign * step
        assert float(gradient[row, column]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("wrap", [lambda model: model, Opaque], ids=["chain", "generic"])
def test_gradient_is_zero_and_finite_where_the_norm_is_zero(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model, x = make("biased")
    with torch.no_grad():
        model[0].bias.fill_(-1.0)
        x[:] = 0.0  # every unit of the first layer is off: the network is constant here
    norms = jacobian_norm(wrap(model), x)
    assert torch.equal(norms, torch.zeros(N, dtype=torch.float64))
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients(norms.sum(), model))
    x[0] = 100.0
    partly = jacobian_norm(wrap(model), x, generator=seeded())
    assert partly[0] > 0
    parameters = list(model.parameters())
    of_first = torch.autograd.grad(partly[0], parameters, retain_graph=True, materialize_grads=True)
    assert_equal_gradients(gradients(partly.sum(), model), list(of_first))


def doubled(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
    return 2 * output


class DoubledLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class DoubledSequential(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def with_forward_attribute() -> nn.Module:
    model = plain(12, 9, 5)
    forward = model[0].forward
    model[0].forward = lambda x: 2 * forward(x)
    return model


def with_hook(register: str, hook: Callable[..., object]) -> nn.Module:
    model = plain(12, 9, 5)
    getattr(model[0], register)(hook)
    return model


UNSAFE = {
    "forward hook": lambda: with_hook("register_forward_hook", doubled),
    "forward pre-hook": lambda: with_hook("register_forward_pre_hook", lambda module, arguments: (3 * arguments[0],)),
    "backward hook": lambda: with_hook("register_full_backward_hook", lambda module, grads, _: (5 * grads[0],)),
    "hook on the container": lambda: nn.Sequential(with_hook("register_forward_hook", doubled)),
    "parametrization": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(12, 5)),
    "spectral norm by hook": lambda: nn.Sequential(
        nn.utils.spectral_norm(nn.Linear(12, 9)), nn.ReLU(), nn.Linear(9, 5)
    ),
    "subclass of Linear": lambda: nn.Sequential(DoubledLinear(12, 9), nn.ReLU(), nn.Linear(9, 5)),
    "subclass of Sequential": lambda: DoubledSequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 5)),
    "forward replaced": with_forward_attribute,
    "activation first": lambda: nn.Sequential(nn.ReLU(), nn.Linear(12, 5)),
    "slope above 1": lambda: nn.Sequential(nn.Linear(12, 9), nn.LeakyReLU(1.5), nn.Linear(9, 5)),
    "negative slope": lambda: nn.Sequential(nn.Linear(12, 9), nn.LeakyReLU(-0.5), nn.Linear(9, 5)),
    "another activation": lambda: nn.Sequential(nn.Linear(12, 9), nn.Softplus(), nn.Linear(9, 5)),
    "no layers": lambda: nn.Sequential(nn.Identity()),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_what_is_no_chain_takes_the_generic_path(name: str, paths: list[bool]) -> None:
    torch.manual_seed(7)
    model = UNSAFE[name]().double().eval()
    x = torch.randn(6, 12, dtype=torch.float64)
    x.requires_grad_()
    outputs = model(x)
    rows = [torch.autograd.grad(outputs[:, c].sum(), x, retain_graph=True)[0] for c in range(outputs.shape[1])]
    norms = jacobian_norm(model, x, exact=True)
    torch.testing.assert_close(norms, torch.stack(rows).square().sum((0, 2)).sqrt(), rtol=1e-12, atol=0)
    if any(True for _ in model.parameters()):
        norms.sum().backward()
    assert paths == []


def test_global_hooks_and_autocast_take_the_generic_path(paths: list[bool]) -> None:
    model, x = make("biased", torch.float32)
    expected = jacobian_norm(model, x, generator=seeded())
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, arguments, output: 2 * output if isinstance(module, nn.Linear) else None
    )
    try:
        actual = jacobian_norm(model, x, exact=True)
    finally:
        handle.remove()
    actual.sum().backward()
    assert (actual / reference_norm(model, x)).min().item() > 2
    with torch.autocast("cpu", torch.bfloat16):
        low_precision = jacobian_norm(model, x, generator=seeded())
    low_precision.sum().backward()
    assert paths == []
    assert 1e-4 < float((low_precision / expected - 1).detach().abs().median()) < 0.05


def test_strided_inputs_and_weights_give_the_same() -> None:
    torch.manual_seed(0)
    model = plain(48, 40, 30, 6)
    wide = torch.randn(64, 96)
    x = wide[:, ::2]
    expected = jacobian_norm(model, x.contiguous(), generator=seeded())
    expected_gradient = gradients(expected.sum(), model)
    model[0].weight.data = torch.cat([model[0].weight.data, torch.ones(40, 5)], 1)[:, :48]
    model[2].weight.data = model[2].weight.data.mT.contiguous().mT
    actual = jacobian_norm(model, x, generator=seeded())
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=0)
    assert_equal_gradients(gradients(actual.sum(), model), expected_gradient, 1e-5)


def test_without_onednn_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, x = plain(48, 40, 30, 6), torch.randn(64, 48)
    results = []
    for enabled in (True, False):
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", enabled)
        norms = jacobian_norm(model, x, generator=seeded())
        results.append((norms.detach(), gradients(norms.sum(), model)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=0)
    assert_equal_gradients(results[0][1], results[1][1], 1e-5)


def test_the_fallback_product_is_found_where_onednn_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *arguments: torch.zeros(2, 2), raising=False)
    masked_chain._has_onednn_linear.cache_clear()
    try:
        assert not masked_chain._has_onednn_linear()
        model, x = make("biased", torch.float32)
        norms = jacobian_norm(model, x, exact=True).detach()
        torch.testing.assert_close(norms, reference_norm(model, x), rtol=1e-5, atol=0)
    finally:
        masked_chain._has_onednn_linear.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [1, 127, 128, 131])
def test_a_symmetric_product_is_the_product(size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    rows, scale = torch.randn(50, size, dtype=dtype), torch.randn(50, 1, dtype=dtype)
    tolerance = 50 * torch.finfo(dtype).eps
    for a, b in ((rows.mT.contiguous(), rows), ((rows * scale).mT, rows)):
        product = masked_chain._symmetric_product(a, b)
        assert (product - (a.double() @ b.double()).to(dtype)).abs().max() <= tolerance * a.norm() * b.norm()


def test_frozen_parameters_get_no_gradient() -> None:
    model, x = make("biased")
    expected = gradients(jacobian_norm(model, x, generator=seeded()).sum(), model)
    model[0].weight.requires_grad_(False)
    model[4].weight.requires_grad_(False)
    (jacobian_norm(model, x, generator=seeded()).sum()).backward()
    assert model[0].weight.grad is None
    assert model[4].weight.grad is None
    torch.testing.assert_close(model[2].weight.grad, expected[2], rtol=1e-12, atol=0)


@pytest.mark.parametrize("level", [None, 0.0, 1.0, 50.0])
def test_penalty_is_the_coefficient_times_the_mean_norm_or_its_distance_from_the_level(level: float | None) -> None:
    model, x = make("biased")
    mean = jacobian_norm(model, x, generator=seeded(0)).mean().item()
    penalty = GrokAlign(model, 0.25, level, generator=seeded(0))(x)
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(0.25 * (mean if level is None else abs(level - mean)), rel=1e-12)
    towards = gradients(penalty, model)[0]
    of_norm = gradients(0.25 * jacobian_norm(model, x, generator=seeded(0)).mean(), model)[0]
    torch.testing.assert_close(towards, of_norm if level is None or mean > level else -of_norm)


def test_active_dropout_concerns_the_outputs_and_not_the_penalty() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 4)).double()
    x = torch.randn(N, 12, dtype=torch.float64)
    without = GrokAlign(model.eval())(x)
    for network in (model, Opaque(model)):
        network.train()
        outputs, penalty = GrokAlign(network).outputs_and_penalty(x)
        torch.testing.assert_close(penalty, without, rtol=1e-12, atol=0)
        again, _ = GrokAlign(network).outputs_and_penalty(x)
        assert not torch.allclose(outputs, again)
        assert all(module.training for module in network.modules())


def test_batch_normalisation_learns_its_statistics_once_a_step() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 4))
    x = torch.randn(N, 12)
    outputs, penalty = GrokAlign(model).outputs_and_penalty(x)
    assert int(model[1].num_batches_tracked) == 1
    torch.testing.assert_close(penalty, GrokAlign(model)(x))
    assert int(model[1].num_batches_tracked) == 1
    torch.testing.assert_close(outputs, model(x))


def test_model_and_gradients_are_left_as_they_were() -> None:
    for network in (plain(12, 9, 5), Opaque(plain(12, 9, 5))):
        x = torch.randn(N, 12)
        GrokAlign(network)(x)
        GrokAlign(network).outputs_and_penalty(x)
        jacobian_norm(network, x)
        assert all(parameter.grad is None for parameter in network.parameters())
        assert all(module.training for module in network.modules())
        assert not x.requires_grad


def test_without_gradients_the_values_are_the_same() -> None:
    for name in ("biased", "wide first layer"):
        model, x = make(name, torch.float32)
        for network in (model, Opaque(model)):
            outputs, penalty = GrokAlign(network).outputs_and_penalty(x)
            with torch.no_grad():
                assert torch.equal(GrokAlign(network)(x), penalty)
                quiet_outputs, quiet_penalty = GrokAlign(network).outputs_and_penalty(x)
            with torch.inference_mode():
                torch.testing.assert_close(GrokAlign(network)(x.clone()), penalty)
            assert torch.equal(quiet_outputs, outputs)
            assert torch.equal(quiet_penalty, penalty)
            assert not quiet_outputs.requires_grad
            assert not quiet_penalty.requires_grad


def test_exact_norms_of_many_samples_are_taken_in_parts_without_gradients() -> None:
    model, _ = make("biased")
    x = torch.randn(600, 12, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(jacobian_norm(model, x, exact=True), reference_norm(model, x), rtol=1e-12, atol=0)


def train(model: nn.Module, grokalign: GrokAlign, optimiser: torch.optim.Optimizer, steps: int) -> None:
    x, y = torch.linspace(-1, 1, N * 12).sin().view(N, 12), torch.arange(N) % 5
    for _ in range(steps):
        optimiser.zero_grad()
        outputs, penalty = grokalign.outputs_and_penalty(x)
        (nn.functional.cross_entropy(outputs, y) + penalty).backward()
        optimiser.step()


def test_training_resumes_bit_for_bit_from_the_saved_state() -> None:
    torch.manual_seed(0)
    whole = plain(12, 9, 5)
    start = {key: value.clone() for key, value in whole.state_dict().items()}
    train(whole, GrokAlign(whole, 0.1, generator=seeded(8)), torch.optim.SGD(whole.parameters(), 0.1), 6)

    first = plain(12, 9, 5)
    first.load_state_dict(start)
    grokalign = GrokAlign(first, 0.1, generator=seeded(8))
    train(first, grokalign, torch.optim.SGD(first.parameters(), 0.1), 3)
    saved = grokalign.state_dict()
    assert saved["generator"].dtype == torch.uint8
    torch.rand(5, generator=grokalign.generator)

    second = plain(12, 9, 5)
    second.load_state_dict(first.state_dict())
    resumed = GrokAlign(second, 0.1)
    resumed.load_state_dict(saved)
    train(second, resumed, torch.optim.SGD(second.parameters(), 0.1), 3)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_directions_are_new_at_each_step_and_the_seeds_alone() -> None:
    model, x = make("biased")
    torch.manual_seed(1)
    first = GrokAlign(model)
    values = [first(x).item() for _ in range(3)]
    assert len(set(values)) == 3
    torch.manual_seed(2)
    second = GrokAlign(model)
    assert [second(x).item() for _ in range(3)] == values
    torch.manual_seed(3)
    of_global = jacobian_norm(model, x)
    torch.manual_seed(3)
    assert torch.equal(of_global, jacobian_norm(model, x))


C, D, ALPHA = 5, 7, 2.5


@pytest.mark.parametrize("loss_name", ["cross-entropy", "squared error"])
def test_theorem_2_the_best_rows_within_a_norm_are_multiples_of_the_input(loss_name: str) -> None:
    rng = np.random.default_rng(0)
    x, label = 0.3 * rng.standard_normal(D), 2
    x_norm = np.linalg.norm(x)
    assert np.sqrt(ALPHA) * x_norm < 1.5
    target = np.eye(C)[label]
    if loss_name == "squared error":
        target = 3 * target  # out of reach within the constraint, which is then active

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        outputs = flat.reshape(C, D) @ x
        if loss_name == "squared error":
            return float(((outputs - target) ** 2).sum()), np.outer(2 * (outputs - target), x).ravel()
        logarithm = np.log(np.exp(outputs - outputs.max()).sum()) + outputs.max()
        return float(logarithm - outputs[label]), np.outer(np.exp(outputs - logarithm) - target, x).ravel()

    within = {"type": "ineq", "fun": lambda flat: ALPHA - flat @ flat, "jac": lambda flat: -2 * flat}
    start = 0.1 * rng.standard_normal(C * D)
    found = minimize(
        loss, start, jac=True, method="SLSQP", constraints=[within], options={"ftol": 1e-15, "maxiter": 500}
    )
    rows = found.x.reshape(C, D)
    if loss_name == "squared error":
        a, b = np.sqrt(ALPHA) / x_norm, 0.0
    else:
        a, b = np.sqrt(ALPHA * (C - 1) / C) / x_norm, -np.sqrt(ALPHA / (C * (C - 1))) / x_norm
    coefficients = np.where(np.arange(C) == label, a, b)
    np.testing.assert_allclose(rows, np.outer(coefficients, x), atol=2e-5)

    model = nn.Linear(D, C, bias=False).double()
    model.weight.data = torch.as_tensor(rows)
    point = torch.as_tensor(x)[None]
    assert jacobian_norm(model, point, exact=True).item() == pytest.approx(np.sqrt(ALPHA), rel=1e-6)
    rows_aligned = row_alignment(model, point)[0]
    assert float(rows_aligned[label]) == pytest.approx(1.0, abs=1e-6)
    if loss_name == "squared error":
        assert float(alignment(model, point)) == pytest.approx(1.0, abs=1e-6)
    else:
        others = torch.arange(C) != label
        torch.testing.assert_close(rows_aligned[others], -torch.ones(C - 1, dtype=torch.float64), rtol=0, atol=1e-6)
        assert float(centroids(model, point).norm()) < 1e-4


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(x.shape[0], 3, dtype=x.dtype)


def test_a_constant_network_has_norm_zero() -> None:
    assert torch.equal(jacobian_norm(Fixed(), torch.ones(2, 4)), torch.zeros(2))


def overflowing() -> nn.Linear:
    model = nn.Linear(4, 2)
    model.weight.data[0, 0] = float("inf")
    return model


FOUR = torch.ones(2, 4)
LINEAR = nn.Linear(4, 2)
BAD_CALLS = [
    (lambda: jacobian_norm(LINEAR, FOUR, n_projections=0), InvalidArgumentError, "n_projections is 0: give at least 1"),
    (lambda: GrokAlign(LINEAR, n_projections=-2), InvalidArgumentError, "n_projections is -2: give at least 1"),
    (lambda: GrokAlign(LINEAR, -1e-3), InvalidArgumentError, "coefficient is -0.001: give a finite number that is not"),
    (lambda: GrokAlign(LINEAR, float("nan")), InvalidArgumentError, "coefficient is nan"),
    (lambda: GrokAlign(LINEAR, level=-1.0), InvalidArgumentError, "level is -1.0: give a finite number that is not"),
    (lambda: GrokAlign(LINEAR, level=float("inf")), InvalidArgumentError, "level is inf"),
    (lambda: GrokAlign(LINEAR).load_state_dict({}), InvalidArgumentError, "not the state of a cpu generator"),
    (
        lambda: GrokAlign(LINEAR).load_state_dict({"generator": torch.zeros(3, dtype=torch.uint8)}),
        InvalidArgumentError,
        "not the state of a cpu generator",
    ),
    (lambda: jacobian_norm(nn.Sequential(nn.Flatten(0), LINEAR), FOUR[:1]), ShapeError, r"its output must be \(n, C\)"),
    (lambda: jacobian_norm(overflowing(), FOUR), InvalidNetworkError, "Jacobian is not finite: the weights hold NaN"),
    (lambda: jacobian_norm(Opaque(overflowing()), FOUR), InvalidNetworkError, "Jacobian is not finite"),
]
for take in (
    jacobian_norm,
    lambda model, x: GrokAlign(model)(x),
    lambda model, x: GrokAlign(model).outputs_and_penalty(x),
):
    BAD_CALLS += [
        (lambda take=take: take(LINEAR, FOUR / 0), InvalidArgumentError, "NaN or infinite values"),
        (lambda take=take: take(LINEAR, FOUR * float("nan")), InvalidArgumentError, "NaN or infinite values"),
        (lambda take=take: take(LINEAR, FOUR.double()), InvalidArgumentError, "float64 on cpu but the network is"),
        (lambda take=take: take(LINEAR, FOUR.long()), InvalidArgumentError, "dtype torch.int64"),
        (lambda take=take: take(LINEAR, torch.ones(2, 5)), ShapeError, r"cannot read x of shape \(2, 5\)"),
        (lambda take=take: take(LINEAR, torch.ones(4)), ShapeError, r"shape \(4,\): give \(n, \*input_shape\)"),
        (lambda take=take: take(LINEAR, torch.ones(2, 3, 4)), ShapeError, r"its output must be \(n, C\)"),
        (
            lambda take=take: take(nn.Sequential(LINEAR, nn.BatchNorm1d(2, track_running_stats=False)), FOUR),
            UnsupportedModuleError,
            "no running statistics: samples mix",
        ),
    ]


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_bad_input_is_named_in_one_line(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        call()
    assert isinstance(raised.value, SplineGeoError)
    assert "\n" not in str(raised.value)


class Attending(nn.Module):
    """Attention over the rows of an input, by torch's own function."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.head = (
            nn.Linear(4, 4),
            nn.Linear(4, 4),
            nn.Linear(4, 4),
            nn.Linear(12, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = nn.functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.head(h.flatten(1))


def test_the_penalty_of_a_network_with_attention_is_that_of_its_jacobian() -> None:
    torch.manual_seed(0)
    model, x = Attending().double(), torch.randn(5, 3, 4, dtype=torch.float64)
    norms = jacobian_norm(model, x, exact=True)
    rows = [torch.autograd.functional.jacobian(model, x[i : i + 1]).flatten().norm() for i in range(5)]
    torch.testing.assert_close(norms, torch.stack(rows), rtol=1e-12, atol=0)
    GrokAlign(model)(x).backward()
    gradient = model.query.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0
