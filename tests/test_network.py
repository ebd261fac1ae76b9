"""Networks read from torch modules: torch's function and patterns, and a refusal by name of what is not affine."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, linear, mlp, region_patterns
from torch import nn

import splinegeo as sg


def seeded(*modules: nn.Module) -> nn.Sequential:
    """The modules in a row, with weights and biases from one seed, large enough that each unit matters."""
    model = nn.Sequential(*modules)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


relu, tied = nn.ReLU(), nn.Linear(5, 5)

# name: (network, number of units of each stage)
READABLE: dict[str, tuple[nn.Module, list[int]]] = {
    "two layers": (seeded(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), [7]),
    "one linear layer": (nn.Linear(5, 3), []),
    "linear layers only": (seeded(nn.Linear(5, 4), nn.Linear(4, 6), nn.Linear(6, 3, bias=False)), []),
    "linear layers in a row": (
        seeded(nn.Linear(5, 4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Linear(3, 2)),
        [6],
    ),
    "bias-free": (seeded(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)), [7]),
    "some biases": (
        seeded(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6, bias=False), nn.ReLU(), nn.Linear(6, 3)),
        [7, 6],
    ),
    "leaky": (seeded(nn.Linear(5, 7), nn.LeakyReLU(0.3), nn.Linear(7, 6), nn.LeakyReLU(), nn.Linear(6, 3)), [7, 6]),
    "slopes of all kinds": (
        seeded(
            nn.Linear(5, 7), nn.LeakyReLU(-1.0), nn.Linear(7, 6), nn.LeakyReLU(2.0), nn.Linear(6, 3), nn.LeakyReLU(1.0)
        ),
        [7, 6, 3],
    ),
    "ends in an activation": (seeded(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3), nn.ReLU()), [7, 3]),
    "two activations in a row": (seeded(nn.Linear(5, 7), nn.LeakyReLU(-0.5), nn.ReLU(), nn.Linear(7, 3)), [7, 7]),
    "in place": (seeded(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)), [7]),
    "nested": (
        seeded(
            nn.Sequential(nn.Linear(5, 7), nn.Sequential(nn.ReLU(), nn.Identity())), nn.Sequential(), nn.Linear(7, 3)
        ),
        [7],
    ),
    "flattened, with dropout": (
        seeded(
            nn.Flatten(), nn.Dropout(0.9), nn.Linear(5, 7), nn.Identity(), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3)
        ),
        [7],
    ),
    "one activation used twice": (seeded(nn.Linear(5, 7), relu, nn.Linear(7, 6), relu, nn.Linear(6, 3)), [7, 6]),
    "tied weights": (seeded(tied, nn.ReLU(), tied, nn.ReLU(), tied), [5, 5]),
    "one activation used twice, nested": (
        seeded(nn.Sequential(nn.Linear(5, 7), relu), nn.Sequential(nn.Linear(7, 6), relu)),
        [7, 6],
    ),
    "double precision": (seeded(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double(), [7]),
    "half precision": (seeded(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).half(), [7]),
    "bfloat16": (seeded(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).bfloat16(), [7]),
    "one output": (seeded(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1)), [7]),
    "one hundred and thirty units": (seeded(nn.Linear(5, 130), nn.ReLU(), nn.Linear(130, 2)), [130]),
}


def torch_outputs_and_signs(model: nn.Module, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Outputs in float64 and evaluation mode, and the signs of every activation's inputs in the order of the calls."""
    exact = copy.deepcopy(model).double().eval()
    signs: list[np.ndarray] = []
    for module in exact.modules():
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.register_forward_pre_hook(lambda _, inputs: signs.append((inputs[0] > 0).numpy().astype(np.int8)))
    with torch.no_grad():
        return exact(torch.from_numpy(x)).numpy(), signs


@pytest.mark.parametrize("name", READABLE)
def test_a_network_is_read_as_the_function_that_torch_computes(name: str) -> None:
    model, units = READABLE[name]
    network = sg.read_network(model)
    x = np.random.default_rng(0).standard_normal((500, 5))
    outputs, signs = torch_outputs_and_signs(model, x)
    assert [stage.n_units for stage in network.stages] == units
    assert (network.n_inputs, network.n_outputs) == (5, outputs.shape[1])
    np.testing.assert_allclose(network(x), outputs, rtol=1e-12, atol=1e-12 * np.abs(outputs).max())
    patterns = network.patterns(x)
    assert [pattern.dtype for pattern in patterns] == [np.int8] * len(units)
    for pattern, sign in zip(patterns, signs, strict=True):
        np.testing.assert_array_equal(pattern, sign)


@pytest.mark.parametrize("name", READABLE)
def test_regions_have_the_patterns_that_torch_computes(name: str) -> None:
    model, _ = READABLE[name]
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 2)))[0].T
    plane = sg.Slice(np.full(5, 0.1), basis)
    partition = sg.enumerate_regions(model, plane, sg.Box(3.0))
    x = plane.lift(partition.interior_points)
    outputs, signs = torch_outputs_and_signs(model, x)
    patterns = region_patterns(partition)
    np.testing.assert_array_equal(patterns, np.concatenate(signs, axis=1) if signs else np.zeros((1, 0)))
    coordinates = np.column_stack([partition.interior_points, np.ones(partition.n_regions)])
    values = np.einsum("nck,nk->nc", partition.slice_maps, coordinates)
    np.testing.assert_allclose(values, outputs, rtol=1e-9, atol=1e-12 * np.abs(outputs).max())


def test_reading_leaves_the_module_and_the_random_state_alone() -> None:
    model = seeded(nn.Linear(2, 7), nn.Dropout(0.5), nn.ReLU(), nn.Linear(7, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(2.0))
    assert model.training
    assert all(module.training for module in model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    expected = torch_outputs_and_signs(seeded(nn.Linear(2, 7), nn.ReLU(), nn.Linear(7, 3)), np.ones((1, 2)))[0]
    np.testing.assert_allclose(partition.network(np.ones((1, 2))), expected, rtol=1e-12)


def test_a_network_that_was_read_is_taken_as_it_is() -> None:
    network = sg.read_network(mlp((2, 6, 2), bias=True))
    assert sg.read_network(network) is network
    assert sg.enumerate_regions(network, IDENTITY_PLANE, sg.Box(1.0)).network is network


class Doubled(nn.Sequential):
    """Runs its layers as a Sequential does, then does something of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) ** 2


class Squared(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) ** 2


class Soft(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(x)


class Sine(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x)


def named_as(module: nn.Module) -> tuple[str, ...]:
    """What a message may call it: its class, or for a class of the user's own the function that its forward calls."""
    functions = {Sine: ("sin",), Soft: ("softplus",), Doubled: ("pow",), Squared: ("pow",)}
    return (type(module).__name__, *functions.get(type(module), ()))


@pytest.mark.parametrize(
    "module",
    [
        *[nn.GELU(), nn.Softmax(dim=1), nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.ELU(), nn.Softplus(), nn.LayerNorm(3)],
        *[nn.Bilinear(3, 3, 3), nn.LSTM(3, 3), nn.GLU(), Sine(), Soft()],
        *[Doubled(nn.Linear(3, 3)), Squared(3, 3)],
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_what_is_not_piecewise_affine_is_refused_by_name(module: nn.Module) -> None:
    models = {
        "(the network itself)": module,
        "2": nn.Sequential(nn.Linear(2, 3), nn.ReLU(), module, nn.Linear(3, 2)),
        "body.block.odd": named(
            first=nn.Linear(2, 3), body=named(act=nn.ReLU(), block=named(odd=module)), last=nn.Linear(3, 2)
        ),
    }
    for path, model in models.items():
        for read in (sg.read_network, lambda m: sg.enumerate_regions(m, IDENTITY_PLANE, sg.Box(1.0))):
            with pytest.raises(sg.UnsupportedModuleError) as caught:
                read(model)
            message = str(caught.value)
            assert path in message
            assert any(name in message for name in named_as(module))
            assert "\n" not in message
            assert isinstance(caught.value, TypeError)


def test_batch_normalisation_is_read_as_in_evaluation_mode_or_refused() -> None:
    """Never as if it were not there."""
    model = seeded(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3)).train()
    with torch.no_grad():
        model[1].running_mean.add_(0.5)
        model[1].running_var.mul_(3.0)
    x = np.random.default_rng(0).standard_normal((100, 5))
    outputs, _ = torch_outputs_and_signs(model, x)
    try:
        network = sg.read_network(model)
    except sg.UnsupportedModuleError as error:
        assert "'1' (BatchNorm1d)" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(network(x), outputs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", [lambda x: x, None, 3, "network", {"weight": 1}, torch.zeros(3, 3), nn.Linear])
def test_what_is_no_module(model: object) -> None:
    with pytest.raises(sg.UnsupportedModuleError, match=r"torch\.nn\.Module"):
        sg.read_network(model)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_weights_that_are_not_finite_are_refused_by_layer(bad: float, parameter: str) -> None:
    model = named(first=nn.Linear(2, 3), act=nn.ReLU(), head=named(last=nn.Linear(3, 2)))
    with torch.no_grad():
        getattr(model.head.last, parameter).view(-1)[1] = bad
    with pytest.raises(sg.InvalidNetworkError, match=r"'head\.last'.*NaN or infinite") as caught:
        sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    assert isinstance(caught.value, ValueError)


def test_a_slope_that_is_not_finite_is_refused() -> None:
    with pytest.raises(sg.InvalidNetworkError, match=r"finite|NaN"):
        sg.read_network(nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(float("nan")), nn.Linear(3, 2)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(), "no linear layer"),
        (nn.Sequential(nn.Flatten(), nn.Dropout()), "no linear layer|input_shape"),
        (nn.Identity(), "no linear layer"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), r"'0' comes before any linear layer"),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 2)), r"'2' takes 4 inputs.*gives 3"),
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 2)), r"'1' takes 4 inputs.*gives 3"),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.ReLU(), nn.Linear(2, 2)), r"'3' takes 2 inputs.*gives 3"),
        (nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.Linear(3, 2)), "'0'"),
    ],
    ids=["empty", "no layer", "identity", "activation first", "misfit", "misfit in a row", "misfit later", "lazy"],
)  # fmt: skip
def test_networks_that_do_not_fit_together(model: nn.Module, message: str) -> None:
    with pytest.raises(sg.SplineGeoError, match=message) as caught:
        sg.read_network(model)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_networks_of_nothing_are_refused() -> None:
    hollow = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 0), nn.ReLU(), nn.Linear(0, 2))
    with pytest.raises(sg.InvalidNetworkError, match=r"layer '3' \(ReLU\) has no units"):
        sg.enumerate_regions(hollow, IDENTITY_PLANE, sg.Box(1.0))
    with pytest.raises(sg.InvalidNetworkError, match="no outputs"):
        sg.enumerate_regions(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 0)), IDENTITY_PLANE, sg.Box(1.0))
    with pytest.raises(sg.InvalidNetworkError, match="no outputs"):
        sg.enumerate_segment(nn.Linear(2, 0), [0.0, 0.0], [1.0, 0.0])


@pytest.mark.parametrize(("inputs", "plane"), [(5, IDENTITY_PLANE), (784, sg.Slice(np.zeros(2352), np.eye(2, 2352)))])
def test_a_network_of_another_input_size_than_the_slice(inputs: int, plane: sg.Slice) -> None:
    with pytest.raises(sg.ShapeError, match=rf"takes {inputs} inputs.*\b{len(plane.origin)}\b"):
        sg.enumerate_regions(nn.Linear(inputs, 3), plane, sg.Box(1.0))


@pytest.mark.parametrize("exponent", [-60, 40])
def test_powers_of_two_as_factors_change_nothing(exponent: int) -> None:
    """Every tolerance is relative: a bias-free network times a power of two has the same partition, bit for bit."""
    model, scaled = mlp((3, 20, 20, 20, 2)), mlp((3, 20, 20, 20, 2))
    with torch.no_grad():
        for parameter in scaled.parameters():
            parameter.mul_(2.0**exponent)
    plane = sg.Slice([0.1, 0.0, 0.3], np.eye(2, 3))
    partition, other = (sg.enumerate_regions(m, plane, sg.Box(1.0)) for m in (model, scaled))
    assert partition.n_regions > 50
    np.testing.assert_array_equal(other.vertices, partition.vertices)
    np.testing.assert_array_equal(other.corners, partition.corners)
    np.testing.assert_array_equal(other.pattern_keys, partition.pattern_keys)


def test_values_beyond_float64_are_no_reason_for_a_wrong_answer() -> None:
    """A diverged network, 14 layers near the largest float32: the regions of the network unscaled, or a refusal."""
    sizes = (2, *[4] * 13, 2)
    model, diverged = mlp(sizes), mlp(sizes)
    with torch.no_grad():
        for parameter in diverged.parameters():
            parameter.mul_(2.0**120)
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    assert partition.n_regions > 4
    try:
        with np.errstate(all="ignore"):
            other = sg.enumerate_regions(diverged, IDENTITY_PLANE, sg.Box(1.0))
    except sg.SplineGeoError:
        return
    np.testing.assert_array_equal(other.pattern_keys, partition.pattern_keys)


def test_units_that_are_constant_cut_nothing() -> None:
    model = nn.Sequential(
        linear([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [1.0, 0.0, -1.0]), nn.ReLU(), linear([[1.0, 1.0, 1.0]])
    )
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    assert partition.n_regions == 1
    np.testing.assert_array_equal(partition.pattern(0)[0], [1, 0, 0])
    np.testing.assert_array_equal(partition.slice_maps, [[[0.0, 0.0, 1.0]]])


def test_a_default_device_of_the_users_is_disregarded() -> None:
    model = mlp((2, 8, 8, 3), bias=True, seed=4)
    expected = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    torch.set_default_device("meta")
    try:
        found = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
        certificate = found.certify(100)
    finally:
        torch.set_default_device(None)
    assert certificate.ok, str(certificate)
    assert certificate.compared_maps > 0
    np.testing.assert_array_equal(found.pattern_keys, expected.pattern_keys)
