"""The MLP is torch's own, seeded and scaled."""

import pytest
import torch
from torch import nn

from experiments.errors import SettingsError
from experiments.models import mlp


def test_is_the_papers_network():
    model = mlp((1, 28, 28), 10)
    kinds = [type(module) for module in model]
    assert kinds == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    assert shapes == [(196, 784), (196, 196), (196, 196), (10, 196)]  # and no biases
    assert model(torch.zeros(5, 1, 28, 28)).shape == (5, 10)


@pytest.mark.parametrize(("seed", "scale", "bias"), [(0, 1.0, False), (3, 8.0, True)])
def test_initial_weights_are_torchs_after_its_seed(seed: int, scale: float, bias: bool):
    torch.manual_seed(seed)
    expected = [nn.Linear(784, 20, bias=bias), nn.Linear(20, 7, bias=bias)]
    model = mlp((28, 28), 7, hidden_widths=(20,), bias=bias, initial_scale=scale, seed=seed)
    for linear, reference in zip([m for m in model if isinstance(m, nn.Linear)], expected, strict=True):
        assert torch.equal(linear.weight, reference.weight * scale)
        assert (linear.bias is not None) == bias
        if bias:
            assert torch.equal(linear.bias, reference.bias * scale)


def test_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    mlp((4,), 2, hidden_widths=(3,), seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_seeds_differ_and_types_agree():
    first, again, other = (mlp((6,), 3, hidden_widths=(5,), seed=seed) for seed in (0, 0, 1))
    double = mlp((6,), 3, hidden_widths=(5,), seed=0, dtype=torch.float64)
    for a, b, c, d in zip(*(model.parameters() for model in (first, again, other, double)), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
        assert d.dtype == torch.float64
        assert torch.equal(a.double(), d)


def test_no_hidden_layer_is_a_linear_map():
    model = mlp((2, 3), 4, hidden_widths=())
    assert [type(module) for module in model] == [nn.Flatten, nn.Linear]


def test_impossible_settings():
    with pytest.raises(SettingsError, match="widths must be at least 1"):
        mlp((4,), 2, hidden_widths=(3, 0))
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="positive and finite"):
            mlp((4,), 2, initial_scale=scale)
