"""What cannot be read is refused in one line, with its name, its place and a reason."""

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from piecewise_zoo import Forward, randomised
from torch import Tensor, nn
from torch.nn import functional

from splinegeo.errors import InvalidNetworkError, ShapeError, SplineGeoError, UnsupportedModuleError
from splinegeo.network import read_network


def refusal(model: nn.Module, shape: tuple[int, ...] | None, kind: type[SplineGeoError]) -> str:
    with pytest.raises(kind) as caught:
        read_network(model, shape)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


MODULES = [
    *[nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Softplus(), nn.Tanh(), nn.Sigmoid(), nn.ELU(), nn.Hardshrink()],
    *[nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)],
    *[nn.LPPool2d(2, 2), nn.FractionalMaxPool2d(2, 2), nn.CosineSimilarity(), nn.LocalResponseNorm(2)],
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_modules_are_refused_by_path_and_class(module: nn.Module) -> None:
    block = Forward(lambda m, x: m.odd(m.conv(x)), conv=nn.Conv2d(4, 4, 1), odd=module)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Sequential(nn.ReLU(), block))
    message = refusal(model, (2, 4, 4), UnsupportedModuleError)
    assert f"layer '1.1.odd' ({type(module).__name__}) cannot be read as piecewise affine" in message
    assert "LeakyReLU" in message


@pytest.mark.parametrize("module", [nn.Softmax(1), nn.LogSoftmax(1), Forward(lambda m, x: functional.softmax(x, 1))])
def test_of_probabilities_it_says_what_to_do(module: nn.Module) -> None:
    message = refusal(nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), module)), None, UnsupportedModuleError)
    assert "layer '1.1'" in message
    assert "leave it out, the outputs before it have the same classes" in message


def test_a_threshold_that_jumps_is_refused() -> None:
    for layer in (nn.Threshold(0.1, 2.0), Forward(lambda m, x: functional.threshold(x, 0.1, 2.0))):
        message = refusal(nn.Sequential(nn.Linear(3, 4), layer), None, InvalidNetworkError)
        assert "layer '1'" in message
        assert "jumps from 2 to 0.1" in message
    softshrink = nn.Softshrink()
    softshrink.lambd = -1.0
    assert "not negative" in refusal(nn.Sequential(nn.Linear(3, 4), softshrink), None, InvalidNetworkError)


@pytest.mark.filterwarnings("ignore")  # torch says that these layers will go
def test_quantised_layers_are_refused_as_such() -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 4)).eval(), {nn.Linear}, torch.qint8)
    assert "layer '0' (quantised Linear) cannot be read" in refusal(model, (3,), UnsupportedModuleError)


FUNCTIONS: dict[str, Callable[[Any, Tensor], Any]] = {
    "gelu": lambda m, x: functional.gelu(x),
    "logsumexp": lambda m, x: x.logsumexp(1),
    "exp": lambda m, x: torch.exp(x),
    "pow": lambda m, x: x**2,
    "square": lambda m, x: x.square(),
    "sqrt": lambda m, x: (x * x.shape[1]).sqrt(),
    "norm": lambda m, x: x.norm(dim=1),
    "gt": lambda m, x: x * (x > 0),
    "round": lambda m, x: x.round(),
    "floordiv": lambda m, x: x // 2,
    "sign": lambda m, x: x.sign(),
    "sort": lambda m, x: x.sort(1)[0],
    "layer_norm": lambda m, x: functional.layer_norm(x, (4,)),
    "int": lambda m, x: x.int(),
    "item": lambda m, x: x * x.sum().item(),
    "rand_like": lambda m, x: x + torch.rand_like(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_refused_by_name_and_place(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), Forward(FUNCTIONS[name])))
    message = refusal(model, (3,), UnsupportedModuleError)
    assert f"the function '{name}' called in layer '1.1' cannot be read" in message
    message = refusal(Forward(FUNCTIONS[name]), (4,), UnsupportedModuleError)
    assert f"the function '{name}' called in layer '(the network itself)'" in message


NOT_AFFINE: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "a product of activations": (lambda m, x: x * x.flip(1), "'mul'.*multiplies two values"),
    "a product with itself": (lambda m, x: x * x, "'mul'.*multiplies two values"),
    "attention": (lambda m, x: x[:, :, None] @ x[:, None, :], "'matmul'.*multiplies two values"),
    "a sum of products": (lambda m, x: torch.einsum("nc,nc->n", x, x), "'einsum'.*multiplies two values"),
    "a quotient": (lambda m, x: 1 / (x + 9), "'truediv'.*argument other than its first"),
    "a quotient by itself": (lambda m, x: x / x, "'truediv'.*argument other than its first"),
    "weights from the input": (lambda m, x: functional.linear(torch.ones(4), x), "'linear'.*other than its first"),
    "a slope from the input": (lambda m, x: functional.prelu(x, x[0, :1]), "'prelu'.*other than its first"),
    "bounds from the input": (lambda m, x: x.clamp(max=x.mean(1, keepdim=True)), "'clamp'.*other than its first"),
    "whole numbers": (lambda m, x: x.to(torch.int64), "'to'.*int64"),
    "a sum in whole numbers": (lambda m, x: x.sum(1, dtype=torch.int32), "'sum'.*int32"),
    "bits": (lambda m, x: x.view(torch.float16), "'view'.*float16"),
    "rounded division": (lambda m, x: torch.div(x, 2, rounding_mode="floor"), "'div'.*rounds"),
    "dropout at random": (lambda m, x: functional.dropout(x, 0.5), "'dropout'.*training"),
    "dropout at random, by torch": (lambda m, x: torch.dropout(x, 0.5, True), "'dropout'.*training"),
    "a batch's statistics": (
        lambda m, x: functional.batch_norm(x, torch.zeros(4), torch.ones(4), training=True),
        "'batch_norm'.*training",
    ),
    "indices of maxima": (lambda m, x: torch.max(x, 1)[1], "'max'.*indices"),
    "both": (lambda m, x: x.max(1).values + x.max(1).indices, "'max'.*indices"),
    "pooled indices": (
        lambda m, x: functional.max_pool1d(x, 2, return_indices=True)[0],
        "'max_pool1d_with_indices'|'max_pool1d'",
    ),
}


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_uses_that_are_not_piecewise_affine(name: str) -> None:
    function, reason = NOT_AFFINE[name]
    message = refusal(nn.Sequential(nn.Linear(3, 4), Forward(function)), (3,), UnsupportedModuleError)
    assert re.search(reason, message)
    assert "in layer '1'" in message


def test_options_of_modules_that_cannot_be_read() -> None:
    message = refusal(
        nn.Sequential(nn.Conv1d(1, 2, 1), nn.MaxPool1d(2, return_indices=True)), (1, 4), UnsupportedModuleError
    )
    assert "'1' (MaxPool1d)" in message
    message = refusal(
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)), None, UnsupportedModuleError
    )
    assert "'1' (BatchNorm1d) keeps no running statistics" in message
    message = refusal(Forward(lambda m, x: x.clamp(1.0, -1.0)), (3,), InvalidNetworkError)
    assert "'clamp'" in message
    assert "lower bound is greater" in message
    message = refusal(nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(float("inf"))), None, InvalidNetworkError)
    assert "'1' (LeakyReLU)" in message
    assert "finite" in message


CONTROL_FLOW: dict[str, Callable[[Any, Tensor], Any]] = {
    "a branch on the values": lambda m, x: x if x.sum() > 0 else -x,
    "a loop over the batch": lambda m, x: torch.stack([row * 2 for row in x]),
    "an assignment to an item": lambda m, x: operator.setitem(x, 0, 1.0) or x,
    "numpy": lambda m, x: torch.from_numpy(x.numpy()),
    "a length": lambda m, x: x / len(x),
}


@pytest.mark.parametrize("name", CONTROL_FLOW)
def test_forwards_that_cannot_be_traced(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), Forward(CONTROL_FLOW[name]))
    message = refusal(model, (3,), UnsupportedModuleError)
    assert "layer '1'" in message


def _overwritten_view(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    y.view(-1).relu_()
    return y


SELF_CHECK: dict[str, Callable[[Any, Tensor], Any]] = {
    "a view is written over": _overwritten_view,
    "the batch's mean": lambda m, x: m.fc(x) - x.mean(0, keepdim=True).mean(),
    "random numbers": lambda m, x: m.fc(x) + torch.randn(4),
}


@pytest.mark.parametrize("name", SELF_CHECK)
def test_what_a_trace_does_not_show_is_found_by_comparison(name: str) -> None:
    message = refusal(randomised(Forward(SELF_CHECK[name], fc=nn.Linear(3, 4))), (3,), InvalidNetworkError)
    assert "not what its trace shows" in message


def _written_view(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    y[:, :2].relu_()
    return y


def _written_part(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    _, last = y.chunk(2, 1)
    last.clamp_(min=0.0)
    return m.fc.weight[0, 0] * y


def _written_by_a_layer(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    z = m.act(y.unflatten(1, (2, 2)))
    return z.sum(1) - y[:, :2]


def _written_after_dropout(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    return functional.relu(functional.dropout(y, 0.5, m.training), inplace=True) + y


def _written_by_a_sum(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    z = y.view(-1, 2, 2)
    y += functional.relu(-y)
    return z.flatten(1)


OVERWRITTEN = {
    "a sum over a view": (_written_by_a_sum, "'add'"),
    "a slice": (_written_view, "'relu'"),
    "one of two parts": (_written_part, "'clamp'"),
    "a layer in place on a view": (_written_by_a_layer, "layer 'act' (ReLU)"),
    "what dropout returns": (_written_after_dropout, "'relu'"),
}


@pytest.mark.parametrize("name", OVERWRITTEN)
def test_writing_over_views_is_found_where_it_changes_nothing_at_most_inputs(name: str) -> None:
    function, what = OVERWRITTEN[name]
    model = randomised(Forward(function, fc=nn.Linear(3, 4), act=nn.ReLU(inplace=True)))
    with torch.no_grad():
        model.fc.bias.fill_(1e3)
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3)))
    below = torch.linalg.lstsq(model.fc.weight, -2e3 * torch.ones(4, 1, dtype=torch.float64)).solution.T
    assert bool((model.fc(x) > 0).all())
    assert bool((model.fc(below) < 0).any())
    message = refusal(model, (3,), InvalidNetworkError)
    assert "not what its trace shows" in message
    assert what in message


def _rest_is_not_written(m: Any, x: Tensor) -> Tensor:
    first, last = m.fc(x).chunk(2, 1)
    n = first.shape[0]
    first.relu_()
    return torch.cat([first.view(n, -1), last], 1)


def _view_is_used_alone(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    z = y.view(-1, 2, 2)
    functional.relu(z, inplace=True)
    z.clamp_(max=0.5)
    return z.flatten(1) + m.fc(x)


def _two_names(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    same = y
    y += functional.relu(same.flip(1) - 1e3)
    return functional.relu(y) + same


def _three_names(m: Any, x: Tensor) -> Tensor:
    y = m.fc(x)
    first, z = y, y
    z -= functional.relu(y - 1e3)
    z *= 3.0
    between = 2.0 * first
    first.clamp_(max=5e3)
    z /= 2.0
    return first + between.abs() + y


def _input_is_written(m: Any, x: Tensor) -> Tensor:
    given = x
    x += functional.relu(x.flip(1) - 1e3) + 1.0
    return m.fc(given)


def _numbers_have_names_of_their_own(m: Any, x: Tensor) -> Tensor:
    n = x.shape[1]
    k = n
    k += 1
    k *= 2
    total: Any = 0
    total += n * m.fc(x)
    return functional.relu(total) + k


WRITTEN = [
    _rest_is_not_written,
    _view_is_used_alone,
    _two_names,
    _three_names,
    _input_is_written,
    _numbers_have_names_of_their_own,
]


@pytest.mark.parametrize("function", WRITTEN)
def test_writing_over_what_nobody_else_uses_or_by_another_name_is_read(
    function: Callable[[Any, Tensor], Tensor],
) -> None:
    """On both sides of units that vanish far from the inputs at which networks are compared."""
    model = randomised(Forward(function, fc=nn.Linear(3, 4)))
    x = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[25:] *= 1e4
    with torch.no_grad():
        expected = model(x.clone())
    np.testing.assert_allclose(read_network(model, (3,))(x.numpy()), expected.numpy(), rtol=1e-12, atol=1e-12)


RESULTS: dict[str, tuple[Callable[[Any, Tensor], Any], type[SplineGeoError], str]] = {
    "two tensors": (lambda m, x: (x, m.fc(x)), UnsupportedModuleError, "returns a tuple"),
    "a dictionary": (lambda m, x: {"y": m.fc(x)}, UnsupportedModuleError, "returns a dict"),
    "chunks": (lambda m, x: m.fc(x).chunk(2, 1), UnsupportedModuleError, "returns a tuple"),
    "a maximum and its index": (lambda m, x: m.fc(x).max(1), UnsupportedModuleError, "used for its indices"),
    "nothing": (lambda m, x: None, UnsupportedModuleError, "returns a NoneType"),
    "a constant": (lambda m, x: m.fc.weight, InvalidNetworkError, "does not depend on its input"),
    "a number for the batch": (lambda m, x: m.fc(x).sum(), InvalidNetworkError, "one row for each sample"),
    "the batch last": (lambda m, x: m.fc(x).T, InvalidNetworkError, "one row for each sample"),
    "the batch summed": (lambda m, x: m.fc(x).sum(0, keepdim=True), InvalidNetworkError, "each sample by itself"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_are_not_one_row_for_each_sample(name: str) -> None:
    function, kind, reason = RESULTS[name]
    assert reason in refusal(Forward(function, fc=nn.Linear(3, 4)), (3,), kind)


def test_input_shapes() -> None:
    cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    assert "give input_shape" in refusal(cnn, None, InvalidNetworkError)
    assert "inputs of shape (1, 4, 4)" in refusal(cnn, (1, 4, 4), ShapeError)
    assert "'3' takes 16 inputs, but the layer before it gives 36" in refusal(cnn, (3, 5, 5), InvalidNetworkError)
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    assert read_network(mlp).input_shape == (12,)
    assert read_network(mlp, (3, 4)).input_shape == (3, 4)
    assert read_network(mlp[1:], (3, 4)).input_shape == (12,)
    for model in (mlp, mlp[1:]):
        assert "takes 12 inputs, but an input of shape (11,) holds 11" in refusal(model, (11,), ShapeError)
    reshaping = Forward(lambda m, x: m.fc(x.view(x.size(0), -1)), fc=nn.Linear(12, 4))
    assert read_network(reshaping).n_inputs == 12
    assert "its input size is unknown" in refusal(nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), None, InvalidNetworkError)
    pooled = nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, (1, 6)), nn.MaxPool1d(8), nn.Flatten())
    assert "'2' (MaxPool1d)" in refusal(pooled, None, InvalidNetworkError)
