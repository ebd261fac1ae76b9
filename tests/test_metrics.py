"""Metrics against direct computation with torch.func.jacrev, and against closed forms."""

import pytest
import torch
from torch import nn

from experiments.data import LabelledImages
from experiments.losses import cross_entropy, squared_error
from experiments.metrics import ALIGNMENT_POINTS, accuracy_and_loss, alignment_metrics, training_metrics
from experiments.models import mlp


def test_alignments_agree_with_jacrev(mnist: LabelledImages):
    # 300 points: more than one pass, the last one incomplete.
    x, y = mnist.x_train[:300], mnist.y_train[:300]
    model = mlp((1, 28, 28), 10, hidden_widths=(24, 18), bias=True, seed=1, dtype=torch.float64)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda point: model(point[None])[0]))(x).reshape(300, 10, 784)
    inputs = x.reshape(300, 784)
    centroids = torch.einsum("ncd->nd", jacobians)

    def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(-1) / (a.square().sum(-1).sqrt() * b.square().sum(-1).sqrt())

    alignment = cosine(centroids, inputs)
    rows = torch.stack([cosine(jacobians[:, c], inputs) for c in range(10)], dim=1)
    of_class = torch.stack([rows[i, label] for i, label in enumerate(y)])
    norms = centroids.square().sum(1).sqrt()
    expected = {
        "centroid_alignment_mean": alignment.mean(),
        "centroid_alignment_min": alignment.min(),
        "centroid_alignment_max": alignment.max(),
        "centroid_norm_mean": norms.mean(),
        "centroid_norm_min": norms.min(),
        "centroid_norm_max": norms.max(),
        "row_alignment_mean": of_class.mean(),
        "row_alignment_min": of_class.min(),
        "row_alignment_max": of_class.max(),
        "row_alignment_highest_mean": rows.max(dim=1).values.mean(),
        "row_alignment_lowest_mean": rows.min(dim=1).values.mean(),
        "jacobian_norm_mean": jacobians.square().sum((1, 2)).sqrt().mean(),
    }
    measured = alignment_metrics(model, x, y)
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value.item(), rel=1e-12), name


def test_perfectly_aligned_linear_map():
    x = torch.tensor([[3.0, 4.0], [6.0, 8.0]], dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False, dtype=torch.float64))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.3, 0.4], [-0.3, -0.4], [0.6, 0.8]]))
    metrics = alignment_metrics(model, x, torch.tensor([0, 1]))
    assert metrics["centroid_alignment_mean"] == pytest.approx(1)
    assert metrics["centroid_norm_mean"] == pytest.approx(1)  # ‖(0.6, 0.8)‖
    assert metrics["row_alignment_max"] == pytest.approx(1)
    assert metrics["row_alignment_min"] == pytest.approx(-1)
    assert metrics["row_alignment_highest_mean"] == pytest.approx(1)
    assert metrics["row_alignment_lowest_mean"] == pytest.approx(-1)
    assert metrics["jacobian_norm_mean"] == pytest.approx(1.5**0.5)  # 0.25 + 0.25 + 1


def test_a_zero_network_is_not_nan():
    model = mlp((4,), 3, hidden_widths=(5,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    metrics = alignment_metrics(model, torch.ones(2, 4), torch.tensor([0, 1]))
    assert set(metrics.values()) == {0.0}


def test_accuracy_and_loss_by_hand():
    x = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0]])
    y = torch.tensor([0, 1, 0, 0])
    accuracy, loss = accuracy_and_loss(nn.Identity(), x, y, squared_error)
    assert accuracy == 0.75
    # (2−1)², (2−1)², 0, and (0−1)² + 1² over 4 × 2 entries
    assert loss == pytest.approx(4 / 8)
    _, entropy = accuracy_and_loss(nn.Identity(), x, y, cross_entropy)
    assert entropy == pytest.approx(nn.functional.cross_entropy(x, y).item(), rel=1e-6)


def test_measuring_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    first = accuracy_and_loss(model, x, y, squared_error)
    state = torch.get_rng_state()
    assert accuracy_and_loss(model, x, y, squared_error) == first  # dropout is off while measuring
    alignment_metrics(model, x, y)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_training_metrics_joins_both_sets(mnist: LabelledImages):
    data = mnist.first(64, 32)
    model = mlp((1, 28, 28), 10, hidden_widths=(16,), dtype=torch.float64)
    metrics = training_metrics(model, data, squared_error)
    assert (metrics["train_accuracy"], metrics["train_loss"]) == accuracy_and_loss(
        model, data.x_train, data.y_train, squared_error
    )
    assert (metrics["test_accuracy"], metrics["test_loss"]) == accuracy_and_loss(
        model, data.x_test, data.y_test, squared_error
    )
    assert metrics["row_alignment_mean"] == alignment_metrics(model, data.x_train, data.y_train)["row_alignment_mean"]
    assert ALIGNMENT_POINTS == 1024  # the whole training set of the paper
