"""XOR clusters: training in the span of data and weights is plain training in the full space, step for step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import splinegeo as sg
from experiments.data_span import DataSpan
from experiments.errors import CheckpointError, SettingsError, TrainingError
from experiments.run_folder import RecordFolder
from experiments.schedule import log_spaced_epochs
from experiments.steps import train_steps
from experiments.xor_data import gaussian_perturbation, xor_clusters
from experiments.xor_training import (
    AMPLITUDES,
    XorSettings,
    XorTraining,
    affordable_xor_logs,
    amplitude_metric,
    xor_problem,
)

CPU = torch.device("cpu")
# Far more dimensions than points and rows together, as in the paper; and fewer, where the span is the whole space.
WIDE = XorSettings(n_points=20, n_features=300, noise=0.1, width=30, steps=40, seed=3)
NARROW = replace(WIDE, n_features=24)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_clusters_are_signs_with_the_product_of_the_first_two_as_label() -> None:
    x, y = xor_clusters(400, 1000, 0.05, seeded())
    assert x.dtype == y.dtype == torch.float64
    assert set(x[:, :2].unique().tolist()) == set(y.unique().tolist()) == {-1.0, 1.0}
    assert set(x[:, 2:].unique().tolist()) == {-0.05, 0.05}
    torch.testing.assert_close(y, x[:, 0] * x[:, 1])
    # All four clusters, each near a quarter of the points; noise without a mean.
    corners = 2 * (x[:, 0] > 0) + (x[:, 1] > 0)
    assert torch.bincount(corners, minlength=4).min() > 60
    assert x[:, 2:].mean().abs() < 0.05 * 5 / (400 * 998) ** 0.5
    assert not torch.equal(x, xor_clusters(400, 1000, 0.05, seeded(1))[0])


def test_perturbation_spares_the_label() -> None:
    noise = gaussian_perturbation(50, 400, seeded())
    assert noise[:, :2].abs().max() == 0
    assert noise[:, 2:].std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("points", "features", "noise"), [(0, 10, 0.1), (5, 2, 0.1), (5, 10, 0.0)])
def test_impossible_clusters(points: int, features: int, noise: float) -> None:
    with pytest.raises(SettingsError, match=f"got {points} points, {features} features, noise {noise}"):
        xor_clusters(points, features, noise, seeded())


@pytest.mark.parametrize("p", [200, 25, 6])
def test_span_keeps_products_and_lifts_back(p: int) -> None:
    points, rows = (torch.randn(n, p, generator=seeded(n), dtype=torch.float64) for n in (8, 20))
    span = DataSpan(points, rows)
    assert span.dimension == min(28, p)
    assert span.points_dimension == min(8, p)
    assert span.points[:, span.points_dimension :].abs().sum() == 0
    everything, coordinates = torch.cat([points, rows]), torch.cat([span.points, span.rows])
    torch.testing.assert_close(coordinates @ coordinates.mT, everything @ everything.mT, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(span.lift(coordinates), everything, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(span.coordinates(everything), coordinates, rtol=1e-12, atol=1e-12)
    # Of a point outside, a layer of the span's rows sees the projection.
    outside = torch.randn(5, p, generator=seeded(9), dtype=torch.float64)
    torch.testing.assert_close(span.coordinates(outside) @ span.rows.mT, outside @ rows.mT, rtol=1e-12, atol=1e-12)


def test_span_of_repeated_points() -> None:
    points = torch.randn(3, 50, generator=seeded(), dtype=torch.float64).repeat(2, 1)
    rows = torch.cat([points[:1], torch.randn(4, 50, generator=seeded(1), dtype=torch.float64)])
    span = DataSpan(points, rows)
    torch.testing.assert_close(span.lift(span.points), points, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(span.lift(span.rows), rows, rtol=1e-12, atol=1e-12)


def plain_training(settings: XorSettings) -> tuple[nn.Sequential, torch.optim.Optimizer, Tensor, Tensor]:
    """Network, optimiser and data in the full space, drawn again from the seed."""
    generator = seeded(settings.seed)
    x, y = xor_clusters(settings.n_points, settings.n_features, settings.noise, generator)
    torch.manual_seed(settings.seed)
    model = nn.Sequential(
        nn.Linear(settings.n_features, settings.width, bias=False),
        nn.ReLU(),
        nn.Linear(settings.width, 1, bias=False),
    ).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return model, optimizer, x, y


def plain_step(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, coefficient: float
) -> float:
    """One step with the penalty by double backward, as the paper's code takes it."""
    leaf = x.clone().requires_grad_()
    outputs = model(leaf)
    loss = nn.functional.mse_loss(outputs[:, 0], y)
    (jacobians,) = torch.autograd.grad(outputs.sum(), leaf, create_graph=True)
    optimizer.zero_grad()
    (loss + coefficient * jacobians.norm(dim=1).mean()).backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("coefficient", [0.0, 1.0])
@pytest.mark.parametrize("base", [WIDE, NARROW], ids=["wide", "narrow"])
def test_steps_in_the_span_are_steps_in_the_full_space(base: XorSettings, coefficient: float) -> None:
    settings = replace(base, grokalign=coefficient)
    model, optimizer, x, y = plain_training(settings)
    initial = model[0].weight.detach().clone()
    training = XorTraining(xor_problem(settings, CPU), settings)
    span = DataSpan(x, initial)
    for _ in range(settings.steps):
        before = training.measure()["train_loss"]
        assert before == pytest.approx(plain_step(model, optimizer, x, y, coefficient), rel=1e-11)
        training.step()
    lifted = span.lift(training.first_layer)
    assert (lifted - model[0].weight).norm() <= 1e-12 * model[0].weight.norm()
    assert (training.second_layer - model[2].weight[0]).norm() <= 1e-12 * model[2].weight.norm()
    assert (lifted - initial).norm() > 0.1 * initial.norm()


def test_metrics_are_those_of_the_full_space() -> None:
    settings = replace(WIDE, grokalign=1.0, n_points=60)
    model, optimizer, x, y = plain_training(settings)
    generator = seeded(settings.seed)
    shape = (settings.n_points, settings.n_features)
    xor_clusters(*shape, settings.noise, generator)
    x_test, y_test = xor_clusters(*shape, settings.noise, generator)
    perturbation = gaussian_perturbation(*shape, generator)
    training = XorTraining(xor_problem(settings, CPU), settings)
    for _ in range(30):
        plain_step(model, optimizer, x, y, 1.0)
        training.step()
    metrics = training.measure()
    aligned = sg.alignment(model, x)
    assert metrics["centroid_alignment_mean"] == pytest.approx((y * aligned).mean().item(), rel=1e-10)
    assert metrics["centroid_alignment_first"] == pytest.approx(aligned[0].item(), rel=1e-10)
    norms = sg.jacobian_norm(model, x, exact=True)
    assert metrics["jacobian_norm_mean"] == pytest.approx(norms.mean().item(), rel=1e-10)
    total = torch.cat([parameter.flatten() for parameter in model.parameters()]).norm().item()
    assert metrics["weight_norm"] == pytest.approx(total, rel=1e-12)
    with torch.no_grad():
        accuracies = [
            (model(x_test + a * perturbation)[:, 0].sign() == y_test).double().mean().item() for a in (0.0, *AMPLITUDES)
        ]
        assert metrics["train_accuracy"] == (model(x)[:, 0].sign() == y).double().mean().item()
    assert [metrics["test_accuracy"], *[metrics[amplitude_metric(a)] for a in AMPLITUDES]] == accuracies
    assert len(set(accuracies)) > 2


def test_a_run_taken_up_again_is_the_run_never_stopped(tmp_path: Path, one_thread: None) -> None:
    settings = replace(WIDE, grokalign=1.0)
    problem = xor_problem(settings, CPU)
    whole, halves = (RecordFolder.take_up(tmp_path / name, settings) for name in ("whole", "halves"))
    logs = [0, 7, 20, 33, 40]

    def without_times(entries: list[dict]) -> list[dict]:
        return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]

    expected = train_steps(whole, XorTraining(problem, settings), 40, logs, show_progress=False)
    train_steps(halves, XorTraining(problem, settings), 23, logs, show_progress=False)
    resumed = train_steps(halves, XorTraining(problem, settings), 40, logs, show_progress=False)
    assert without_times(resumed) == without_times(expected)
    other = replace(settings, width=31)
    with pytest.raises(CheckpointError, match="does not fit the run"):
        train_steps(halves, XorTraining(xor_problem(other, CPU), other), 40, logs, show_progress=False)


def test_logs_are_what_a_share_of_the_time_pays_for() -> None:
    paper = XorSettings()
    assert affordable_xor_logs(replace(paper, grokalign=1.0)) == paper.logs_per_decade
    without = affordable_xor_logs(paper)
    # Products alone, in 400 × 2048 multiply-adds: a moment takes training points, test points and noise through all
    # 2448 dimensions, a step the points twice through their own 400. The weights' decay, which they leave out, is as
    # much as a third of a step.
    assert 5 <= without < 12
    assert len(log_spaced_epochs(1000, without)) * 3 * 2448 < 0.15 / 0.85 * 1000 * (2 * 400) * 4 / 3
    lengths = (1, 30, 100, 300, 1000, 3000, 10_000)
    longer = [affordable_xor_logs(replace(paper, steps=steps)) for steps in lengths]
    assert longer[0] == 1
    assert longer == sorted(longer)
    assert affordable_xor_logs(replace(paper, logs_per_decade=2)) == 2


def test_divergence_stops() -> None:
    settings = replace(WIDE, learning_rate=100.0, weight_decay=0.0)
    training = XorTraining(xor_problem(settings, CPU), settings)

    def many_steps() -> None:
        for _ in range(300):
            training.step()

    with pytest.raises(TrainingError, match="the loss became"):
        many_steps()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"learning_rate": -0.1}, "learning rate -0.1"),
        ({"weight_decay": 20.0}, "weight decay 20.0"),
        ({"grokalign": -1.0}, "GrokAlign coefficient"),
    ],
)
def test_impossible_settings(changes: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        XorSettings(**changes)
