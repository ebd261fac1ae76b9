"""Metrics against direct computation with torch.func.jacrev, and against closed forms."""

import math
from time import process_time

import pytest
import torch
from torch import nn

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.losses import cross_entropy, squared_error
from experiments.metrics import (
    accuracy_and_loss,
    alignment_metrics,
    robust_accuracy,
    training_metrics,
    weight_norms,
)
from experiments.models import mlp
from experiments.schedule import log_spaced_epochs
from experiments.settings import RunSettings
from experiments.tangent_kernel import tangent_kernel_mean
from experiments.train_run import assemble


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
        "centroid_inner_product_mean": (centroids * inputs).sum(1).mean(),
        "centroid_inner_product_min": (centroids * inputs).sum(1).min(),
        "centroid_inner_product_max": (centroids * inputs).sum(1).max(),
        "centroid_norm_mean": norms.mean(),
        "centroid_norm_min": norms.min(),
        "centroid_norm_max": norms.max(),
        "row_alignment_mean": of_class.mean(),
        "row_alignment_min": of_class.min(),
        "row_alignment_max": of_class.max(),
        "row_alignment_highest_mean": rows.max(dim=1).values.mean(),
        "row_alignment_lowest_mean": rows.min(dim=1).values.mean(),
        "jacobian_norm_mean": jacobians.square().sum((1, 2)).sqrt().mean(),
        "pc1_mean": (lambda s: s[:, 0].square() / s.square().sum(1))(torch.linalg.svdvals(jacobians)).mean(),
    }
    measured = alignment_metrics(model, x, y)
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value.item(), rel=1e-12), name


@pytest.mark.parametrize("bias", [True, False])
def test_first_layers_of_all_shapes_give_the_same_alignments(mnist: LabelledImages, bias: bool):
    """A narrow first layer, whose Jacobian is not formed, against the same network behind an identity."""
    x, y = mnist.x_train[:40], mnist.y_train[:40]
    model = mlp((1, 28, 28), 10, hidden_widths=(24, 18), bias=bias, seed=1, dtype=torch.float64)
    hidden = alignment_metrics(model, x, y)
    formed = alignment_metrics(nn.Sequential(nn.Identity(), *model), x, y)
    assert hidden == pytest.approx(formed, rel=1e-11)
    # Rows that sum to nearly nothing, as under cross-entropy: the centroid is what is left, not rounding.
    with torch.no_grad():
        model[-1].weight -= (1 - 1e-7) * model[-1].weight.mean(0)
    hidden = alignment_metrics(model, x, y)
    formed = alignment_metrics(nn.Sequential(nn.Identity(), *model), x, y)
    assert hidden["centroid_norm_mean"] < 1e-5 * hidden["jacobian_norm_mean"]
    for name in ("centroid_norm_mean", "centroid_alignment_mean", "centroid_alignment_min"):
        assert hidden[name] == pytest.approx(formed[name], rel=1e-6), name


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
    assert metrics["pc1_mean"] == pytest.approx(1)  # all rows on one line


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
    assert metrics["pc1_mean"] == pytest.approx(sg.explained_variance(model, data.x_train).mean().item(), rel=1e-12)
    # Estimates whose squares have no bias: below the exact norm on average (Jensen), and not by much.
    assert 0.8 < metrics["jacobian_norm_estimate_mean"] / metrics["jacobian_norm_mean"] < 1.05
    assert metrics["robust_accuracy"] == robust_accuracy(model, data, squared_error)
    assert metrics["ntk_mean"] == tangent_kernel_mean(model, data.x_train[:16])
    assert metrics["weight_norm.1.weight"] == pytest.approx(model[1].weight.square().sum().sqrt().item())
    few = training_metrics(model, data, squared_error, 20)
    assert (
        few["row_alignment_mean"]
        == alignment_metrics(model, data.x_train[:20], data.y_train[:20])["row_alignment_mean"]
    )
    assert few["ntk_mean"] == tangent_kernel_mean(model, data.x_train[:5])
    assert few["test_accuracy"] == metrics["test_accuracy"]


@pytest.mark.parametrize("bias", [True, False])
def test_tangent_kernel_mean_is_that_of_the_gram_matrix(mnist: LabelledImages, bias: bool):
    x = mnist.x_train[:40]
    model = mlp((1, 28, 28), 3, hidden_widths=(12, 9), bias=bias, seed=3, dtype=torch.float64)
    kernel = torch.zeros(40, 40, dtype=torch.float64)
    for c in range(3):
        gradients = []  # one for each sample
        for point in x:
            of_sample = torch.autograd.grad(model(point[None])[0, c], list(model.parameters()))
            gradients.append(torch.cat([gradient.flatten() for gradient in of_sample]))
        features = torch.stack(gradients)
        kernel += features @ features.T
    assert tangent_kernel_mean(model, x) == pytest.approx(kernel.mean().item() / 3, rel=1e-11)


def test_tangent_kernel_of_a_linear_map_by_hand():
    # f = Wx: ∂f_c/∂W is x in row c, so that Θ_c(x, x') = ⟨x, x'⟩ for both outputs; unused parameters add nothing.
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    model.register_parameter("unused", nn.Parameter(torch.ones(5)))
    model.train()
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    assert tangent_kernel_mean(model, x) == pytest.approx((5 + 3 + 3 + 9) / 4)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weight_norms_by_hand():
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 6.0]]))
        model.bias.copy_(torch.tensor([3.0]))
    norms = weight_norms(model)
    assert norms == pytest.approx({"weight_norm": 7.0, "weight_norm.weight": math.sqrt(40), "weight_norm.bias": 3.0})


def test_robust_accuracy_falls_with_noise(mnist: LabelledImages):
    # Each test image against its class mean: a linear classifier that is right most of the time.
    means = torch.stack([mnist.x_train[mnist.y_train == c].mean(0).flatten() for c in range(10)])
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, dtype=torch.float64))
    with torch.no_grad():
        model[1].weight.copy_(means)
        model[1].bias.copy_(-means.square().sum(1) / 2)
    clean = accuracy_and_loss(model, mnist.x_test, mnist.y_test, squared_error)[0]
    none, some, much = (robust_accuracy(model, mnist, squared_error, deviation) for deviation in (0.0, 1.0, 30.0))
    assert none == clean > 0.7
    assert 0.2 < some < clean
    assert 0.05 < much < 0.2
    assert robust_accuracy(model, mnist, squared_error, 1.0) == some


def test_measuring_costs_little(mnist: LabelledImages, one_thread):
    """The moments of the default run must take less than 15 % of its time, by CPU time of this process."""
    data = mnist.to(torch.device("cpu"), torch.float32)
    settings = RunSettings()
    training = assemble(settings, data)
    training.run_epoch()

    def seconds(work) -> float:
        started = process_time()
        work()
        return process_time() - started

    # By turns, and the least of each: a burst of other work on the machine slows down both or neither.
    measured, trained = [], []
    for _ in range(6):
        measured.append(seconds(lambda: training_metrics(training.model, data, training.loss)))
        trained += [seconds(training.run_epoch) for _ in range(4)]
    epochs = settings.training.epochs
    moments = len(log_spaced_epochs(epochs, settings.training.logs_per_decade))
    assert moments * min(measured) < 0.15 * (moments * min(measured) + epochs * min(trained))
