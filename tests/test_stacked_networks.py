"""Several networks in one program give what each gives by itself: outputs, norms and gradients."""

import pytest
import torch
from torch import nn

from splinegeo.grokalign import GrokAlign
from splinegeo.stacked_networks import stacked_outputs, stacked_outputs_and_norms

N, N_NETWORKS = 30, 3
NETWORKS = {
    "chain": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 9, bias=False), nn.ReLU(), nn.Linear(9, 4, bias=False)),
    "wide chain, by Gram matrix": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(36, 150), nn.LeakyReLU(0.2), nn.Linear(150, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU()
    ),
    "narrow chain": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 2), nn.ReLU(), nn.Linear(2, 4)),
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 4)
    ),
    "tanh": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 9), nn.Tanh(), nn.Linear(9, 4)),
}


def stack(models: list[nn.Module]) -> dict[str, torch.Tensor]:
    return {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models]).requires_grad_()
        for name, _ in models[0].named_parameters()
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n_projections", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_stacked_networks_are_the_networks(name: str, shared: bool, n_projections: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    models = [NETWORKS[name]().to(dtype) for _ in range(N_NETWORKS)]
    x = torch.randn(1 if shared else N_NETWORKS, N, 1, 6, 6, dtype=dtype)
    weights = torch.randn(N_NETWORKS, N, 4, dtype=dtype)
    penalties = [
        GrokAlign(model, 0.7, n_projections=n_projections, generator=torch.Generator().manual_seed(seed))
        for seed, model in enumerate(models)
    ]
    directions = torch.stack([penalty.directions(x[0], 4) for penalty in penalties])
    stacked = stack(models)
    outputs, norms = stacked_outputs_and_norms(models[0], stacked, x, directions)
    ((outputs * weights).sum() + penalties[0].penalty_of(norms).sum()).backward()
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]
    torch.testing.assert_close(stacked_outputs(models[0], stacked, x), outputs, rtol=tolerance, atol=tolerance)
    for index, (model, penalty) in enumerate(zip(models, penalties, strict=True)):
        penalty.generator.manual_seed(index)
        expected, value = penalty.outputs_and_penalty(x[0 if shared else index])
        torch.testing.assert_close(outputs[index], expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(0.7 * norms[index].mean(), value, rtol=tolerance, atol=0)
        ((expected * weights[index]).sum() + value).backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None
            assert (stacked[key].grad[index] - parameter.grad).norm() <= tolerance * parameter.grad.norm()
            assert parameter.grad.norm() > 0


def test_a_network_whose_norm_is_zero_does_not_spoil_the_gradient() -> None:
    torch.manual_seed(0)
    model = NETWORKS["convolutions"]()
    parameters = stack([model, NETWORKS["convolutions"]()])
    with torch.no_grad():
        parameters["4.weight"][0] = 0
    directions = nn.functional.normalize(torch.randn(2, 1, N, 4), dim=-1)
    _, norms = stacked_outputs_and_norms(model, parameters, torch.randn(1, N, 1, 6, 6), directions)
    norms.sum().backward()
    assert torch.equal(norms[0], torch.zeros(N))
    assert all(torch.isfinite(p.grad).all() for name, p in parameters.items() if name.endswith("weight"))
    assert parameters["0.weight"].grad[1].norm() > 0


def test_random_networks_are_refused() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5))
    with pytest.raises(RuntimeError, match="random"):
        stacked_outputs(model, stack([model, model]), torch.randn(1, 3, 5))
    directions = torch.ones(2, 1, 3, 4) / 2
    with pytest.raises(RuntimeError, match="random"):
        stacked_outputs_and_norms(model, stack([model, model]), torch.randn(1, 3, 5), directions)
    outputs, _ = stacked_outputs_and_norms(model.eval(), stack([model, model]), torch.ones(1, 3, 5), directions)
    torch.testing.assert_close(outputs[1], model(torch.ones(3, 5)))
