"""A module is copied in float64 as it would run in evaluation mode, and is itself left as it was."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from piecewise_zoo import Forward
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, parametrize, prune

from splinegeo import tracing
from splinegeo.errors import InvalidNetworkError, ShapeError, UnsupportedModuleError
from splinegeo.network import read_network


def outputs(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


X = np.random.default_rng(0).standard_normal((30, 6))


def three_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3))


def spectral(model: nn.Sequential) -> None:
    parametrizations.spectral_norm(model[0])


def weight_norm(model: nn.Sequential) -> None:
    parametrizations.weight_norm(model[2])


def orthogonal(model: nn.Sequential) -> None:
    parametrizations.orthogonal(model[2])


def old_weight_norm(model: nn.Sequential) -> None:
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model[0])


def old_spectral_norm(model: nn.Sequential) -> None:
    nn.utils.spectral_norm(model[2])


def pruned(model: nn.Sequential) -> None:
    prune.random_unstructured(model[0], "weight", amount=0.5)
    prune.random_unstructured(model[0], "bias", amount=3)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def own(model: nn.Sequential) -> None:
    parametrize.register_parametrization(model[0], "weight", Doubled())
    parametrize.register_parametrization(model[0], "weight", Doubled())


@pytest.mark.parametrize(
    "change",
    [spectral, weight_norm, orthogonal, old_weight_norm, old_spectral_norm, pruned, own],
    ids=lambda f: f.__name__,
)
def test_parametrizations_give_their_present_weights(change: Callable[[nn.Sequential], None]) -> None:
    model = three_layers()
    plain = outputs(model.double(), X)
    change(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.25)
    model(torch.from_numpy(X))  # hooks of the older kinds renew the weight
    model.eval()
    expected = outputs(model, X)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert np.abs(expected - plain).max() > 1e-3
    network = read_network(model)
    np.testing.assert_allclose(network(X), expected, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    np.testing.assert_array_equal(outputs(model, X), expected)
    assert any(map(parametrize.is_parametrized, model)) == (change in (spectral, weight_norm, orthogonal, own))


def test_a_module_in_training_is_read_as_in_evaluation_and_left_training() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten())
    model.append(nn.Linear(12, 2))
    for _ in range(3):
        model(torch.randn(8, 1, 4, 4))
    twin = copy.deepcopy(model).double().eval()
    before = copy.deepcopy(model.state_dict())
    model[1].eval()
    x = np.random.default_rng(0).standard_normal((20, 16))
    with torch.inference_mode():
        network = read_network(model, (1, 4, 4))
    expected = outputs(twin, x.reshape(20, 1, 4, 4))
    np.testing.assert_allclose(network(x), expected, rtol=1e-12, atol=1e-12)
    assert [module.training for module in model] == [True, False, True, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in model.parameters())
    g = network.output.transpose(np.ones((1, 2)))
    assert np.isfinite(network.stages[0].affine.transpose(g)).all()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_allclose(network(x), expected, rtol=1e-12, atol=1e-12)


def test_a_network_in_double_precision_on_the_cpu_shares_no_memory() -> None:
    model = three_layers().double()
    network = read_network(model)
    expected = outputs(model, X)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_allclose(network(X), expected, rtol=1e-12, atol=1e-12)


class Attributes(nn.Module):
    """Reads a tensor that is neither a parameter nor a buffer, and one that is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.scale = torch.linspace(0.5, 2, 6)
        self.register_buffer("shift", torch.ones(6, dtype=torch.float16))

    def forward(self, x: Tensor, mask: Tensor | None = None, n: int = 2) -> Tensor:
        x = x.float()
        for _ in range(n):
            x = torch.relu(self.fc(x) * self.scale) + self.shift.to(x.dtype)
        return x if mask is None else x * mask


def test_plain_tensors_casts_and_default_arguments() -> None:
    torch.manual_seed(0)
    model = Attributes()
    network = read_network(model, (6,))
    weight, bias = (p.detach().double().numpy() for p in model.fc.parameters())
    h = X
    for _ in range(2):
        h = np.maximum((h @ weight.T + bias) * model.scale.double().numpy(), 0) + 1
    np.testing.assert_allclose(network(X), h, rtol=1e-13)
    assert model.scale.dtype == torch.float32
    assert model.shift.dtype == torch.float16
    assert [layer.path for layer in network.layers] == ["relu", "relu#2"]


def test_tensors_that_a_forward_makes_or_lists_are_read_in_float64() -> None:
    """A product of float64 inputs with float32 numbers would not be carried out."""
    torch.manual_seed(0)
    held = [torch.randn(6, 4), {"last": torch.randn(4, 3)}]

    def forward(m: Forward, x: Tensor) -> Tensor:
        first = torch.relu(x @ held[0])
        return (first @ torch.full((4, 4), 0.1)) @ held[1]["last"] + first @ torch.ones(4, 3).type_as(x)

    model = Forward(forward)
    found = read_network(model, (6,))(X)
    np.testing.assert_allclose(found, outputs(model, X.astype(np.float32)), rtol=1e-4, atol=1e-4)
    first, last = held[0].double().numpy(), held[1]["last"].double().numpy()
    hidden = np.maximum(X @ first, 0)
    tenth = float(torch.tensor(0.1))
    np.testing.assert_allclose(found, (hidden @ np.full((4, 4), tenth)) @ last + hidden @ np.ones((4, 3)), rtol=1e-12)


def test_wrappers_are_looked_through() -> None:
    model = three_layers().double()
    for wrapped in (nn.DataParallel(model), torch.compile(model)):
        np.testing.assert_allclose(read_network(wrapped)(X), outputs(model, X), rtol=1e-12)


def test_wrappers_within_a_network_are_looked_through() -> None:
    """Whichever way round they are, and a module that is used with and without one stays one module."""
    shared = nn.Linear(6, 6)
    body = nn.Sequential(shared, nn.ReLU(), nn.Linear(6, 4))
    plain = nn.Sequential(shared, nn.ReLU(), body, nn.ReLU(), nn.Linear(4, 3)).double()
    expected = outputs(plain, X)
    compiled = torch.compile(nn.DataParallel(body), backend="eager")
    wrapped = nn.Sequential(torch.compile(shared, backend="eager"), nn.ReLU(), nn.Sequential(compiled), *plain[3:])
    network = read_network(nn.DataParallel(torch.compile(wrapped, backend="eager")))
    np.testing.assert_allclose(network(X), expected, rtol=1e-12)
    assert network.module is not None
    assert network.module.get_submodule("0") is network.module.get_submodule("2.0.0")
    compiled.register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedModuleError, match=r"'2\.0' has a forward hook"):
        read_network(wrapped)


def test_layers_take_their_input_by_its_name_too() -> None:
    def forward(m: Forward, x: Tensor) -> Tensor:
        h = m.relu(input=m.norm(input=m.first(input=torch.flatten(input=x, start_dim=1))))
        return m.last(input=torch.cat(tensors=[h, torch.clamp(input=h, min=0.1, max=0.4)], dim=1))

    parts = {"first": nn.Linear(6, 4), "norm": nn.BatchNorm1d(4), "relu": nn.ReLU(), "last": nn.Linear(8, 2)}
    model = Forward(forward, **parts).double().eval()
    np.testing.assert_allclose(read_network(model)(X), outputs(model, X), rtol=1e-12)
    np.testing.assert_allclose(read_network(model, (2, 3))(X), outputs(model, X), rtol=1e-12)
    with pytest.raises(ShapeError, match=r"takes 6 inputs, but an input of shape \(5,\) holds 5"):
        read_network(model, (5,))


def test_calls_in_the_dark_are_not_read() -> None:
    """A result that nothing uses may be anything."""

    def forward(m: Forward, x: Tensor) -> Tensor:
        m.softmax(x)
        y = m.fc(x)
        y.exp()
        return y

    model = Forward(forward, fc=nn.Linear(6, 2), softmax=nn.Softmax(1), unused=nn.LSTM(3, 3))
    assert read_network(model).n_outputs == 2


def test_forward_hooks_are_refused_and_backward_hooks_are_not() -> None:
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        model = nn.Sequential(three_layers(), nn.Sequential(nn.Linear(3, 2)))
        handle = getattr(model[1][0], register)(lambda *_: None)
        with pytest.raises(UnsupportedModuleError, match=r"'1\.0' has a forward hook.*handle\.remove"):
            read_network(model)
        handle.remove()
        model[0][0].register_full_backward_hook(lambda *_: None)
        assert read_network(model).n_outputs == 2
    model = three_layers()
    model[2].forward = lambda x: x[:, :7] ** 2
    with pytest.raises(UnsupportedModuleError, match="'2' has a forward of its own"):
        read_network(model)


def test_modules_that_cannot_be_copied_or_hold_no_real_weights() -> None:
    model = three_layers()
    model[0].lock = threading.Lock()
    with pytest.raises(InvalidNetworkError, match="cannot be copied"):
        read_network(model)
    with pytest.raises(InvalidNetworkError, match="'1' has complex weights"):
        read_network(nn.Sequential(nn.ReLU(), nn.Linear(3, 3, dtype=torch.complex64)), (3,))
    with pytest.raises(InvalidNetworkError, match="'0' is lazy"):
        read_network(nn.Sequential(nn.LazyLinear(3), nn.ReLU()), (3,))


def test_scripted_modules_are_refused() -> None:
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(three_layers())
    with pytest.raises(UnsupportedModuleError, match="TorchScript"):
        read_network(scripted)


def test_several_inputs_are_refused() -> None:
    class TwoInputs(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises(UnsupportedModuleError, match=r"takes 2 inputs \(x, y\): wrap it"):
        read_network(TwoInputs(), (3,))


def test_weights_that_are_not_finite_are_refused_where_they_are_used() -> None:
    model = Forward(lambda m, x: m.a(x) + m.w, a=nn.Linear(3, 3), b=nn.Linear(3, 3), w=torch.ones(3))
    with torch.no_grad():
        model.b.weight[0, 0] = float("nan")
        assert read_network(model).n_outputs == 3
        model.w[1] = float("inf")
        with pytest.raises(InvalidNetworkError, match="'w' has NaN or infinite"):
            read_network(model)
    norm = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    norm[1].running_var[0] = float("nan")
    with pytest.raises(InvalidNetworkError, match="'1' has NaN or infinite"):
        read_network(norm)


SHARED = nn.Linear(4, 4)
CHAINS: dict[str, nn.Module] = {
    "one layer": nn.Linear(4, 2),
    "layers": nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
    "nested, with names": nn.Sequential(
        OrderedDict(body=nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Dropout())), head=nn.Linear(3, 2))
    ),
    "one layer twice": nn.Sequential(SHARED, nn.ReLU(), SHARED),
    "empty": nn.Sequential(),
    "an empty one inside": nn.Sequential(nn.Linear(4, 3), nn.Sequential(), nn.ReLU()),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_graph_of_a_chain_is_what_torch_traces(name: str) -> None:
    model = CHAINS[name]
    assert tracing._is_chain(model)
    root = tracing._Root(model)

    def calls(graph: fx.Graph) -> list[tuple[str, nn.Module | None, list[str]]]:
        return [
            (node.op, root.get_submodule(node.target) if node.op == "call_module" else None, list(map(str, node.args)))
            for node in graph.nodes
        ]

    chain, traced = tracing._graph_of_chain(model), tracing._Tracer().trace(root)
    chain.lint()
    for (op, module, arguments), (op_, module_, arguments_) in zip(calls(chain), calls(traced), strict=True):
        assert (op, module) == (op_, module_)
        assert len(arguments) == len(arguments_)


class OwnForward(nn.Sequential):
    """Not the forward of a Sequential."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class OwnLayer(nn.Linear):
    """Not the forward of a Linear."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + input.sum(1, keepdim=True)


@pytest.mark.parametrize(
    "model",
    [OwnForward(nn.Linear(4, 2)), nn.Sequential(OwnForward(nn.Linear(4, 2))), nn.Sequential(OwnLayer(4, 2), nn.ReLU())],
)
def test_modules_with_a_forward_of_their_own_are_traced(model: nn.Module) -> None:
    assert not tracing._is_chain(model)
    x = np.random.default_rng(0).standard_normal((5, 4))
    network = read_network(model, (4,))
    h = x
    for stage in network.stages:
        h = stage.activate(stage.affine(h))
    np.testing.assert_allclose(network.output(h), outputs(model.double(), x), rtol=0, atol=1e-13)
