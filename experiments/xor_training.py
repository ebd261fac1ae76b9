"""Training a two-layer ReLU network on XOR clusters with few samples in many dimensions, in the span of its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from experiments.data_span import DataSpan
from experiments.errors import SettingsError, TrainingError
from experiments.models import mlp
from experiments.schedule import affordable_logs
from experiments.xor_data import gaussian_perturbation, xor_clusters

AMPLITUDES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Standard deviations of the Gaussian noise under which the paper's Figure 4 takes the accuracy."""


@dataclass(frozen=True)
class XorSettings:
    """All that decides a run on XOR clusters; the defaults are Figure 4 of arXiv 2506.12284 without GrokAlign."""

    n_points: int = 400
    n_features: int = 40_000
    noise: float = 0.05
    width: int = 2048
    learning_rate: float = 0.1
    weight_decay: float = 0.1
    grokalign: float = 0.0
    """Coefficient λ of the mean Jacobian norm."""
    steps: int = 1000
    logs_per_decade: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("number of steps", self.steps), ("logs", self.logs_per_decade)):
            if value < 1:
                raise SettingsError(f"{name} must be at least 1, got {value}")
        if not (0 < self.learning_rate < math.inf and 0 <= self.weight_decay * self.learning_rate < 1):
            raise SettingsError(
                f"learning rate {self.learning_rate} and weight decay {self.weight_decay} must not be negative, "
                "and their product must be below 1"
            )
        if not 0 <= self.grokalign < math.inf:
            raise SettingsError(f"GrokAlign coefficient must be finite and not negative, got {self.grokalign}")


_SHRINK_AND_MOVE = 30.0
"""What a step costs for each weight of the first layer beside its products, in multiply-adds: measured."""


def affordable_xor_logs(settings: XorSettings) -> int:
    """Logs per decade, at most the settings' own, with which metrics take about MEASURING_SHARE of a run at most."""
    n, h = settings.n_points, settings.width
    r = min(settings.n_features, h + n)
    of_points, of_span = n * n * h, n * r * h  # one product of all points with the first layer
    step = 2 * of_points + _SHRINK_AND_MOVE * r * h + (3 * of_span if settings.grokalign > 0 else 0)
    moment = 1.1 * (of_points + 3 * of_span)
    return affordable_logs(settings.steps, step, moment, settings.logs_per_decade)


@dataclass(frozen=True)
class XorProblem:
    """Samples and initial network in the coordinates of their span; float64, labels ±1.

    Training points have the k coordinates that are not 0 for them, all else the r of the span.
    """

    x: Float[Tensor, "n k"]
    y: Float[Tensor, " n"]
    x_test: Float[Tensor, "m r"]
    y_test: Float[Tensor, " m"]
    perturbation: Float[Tensor, "m r"]
    first_layer: Float[Tensor, "h r"]
    second_layer: Float[Tensor, " h"]


def xor_problem(settings: XorSettings, device: torch.device) -> XorProblem:
    """Draw training and test points, noise and network of a seed, whatever λ, and take them to their span."""
    generator = torch.Generator().manual_seed(settings.seed)
    n, p = settings.n_points, settings.n_features
    x, y = (values.to(device) for values in xor_clusters(n, p, settings.noise, generator))
    x_test, y_test = (values.to(device) for values in xor_clusters(n, p, settings.noise, generator))
    perturbation = gaussian_perturbation(n, p, generator).to(device)
    model = mlp((p,), 1, hidden_widths=(settings.width,), seed=settings.seed, device=device, dtype=torch.float64)
    first_layer, second_layer = (parameter.detach() for parameter in model.parameters())
    span = DataSpan(x, first_layer)
    seen = span.coordinates(torch.cat([x_test, perturbation]))
    return XorProblem(
        x=span.points[:, : span.points_dimension].contiguous(),
        y=y,
        x_test=seen[:n].contiguous(),
        y_test=y_test,
        perturbation=seen[n:].contiguous(),
        first_layer=span.rows,
        second_layer=second_layer[0].clone(),
    )


class XorTraining:
    """Gradient descent with weight decay on mean (f(x) − y)² + λ·mean ‖∇f(x)‖, f(x) = a·ReLU(W x), W in the span.

    With one output, GrokAlign's estimate of the Jacobian's norm is the norm itself. Step for step the weights are those
    of torch.optim.SGD in the full space, up to rounding.
    """

    def __init__(self, problem: XorProblem, settings: XorSettings) -> None:
        self.problem = problem
        self.settings = settings
        self.first_layer = problem.first_layer.clone()
        self.second_layer = problem.second_layer.clone()

    def step(self) -> None:
        """Take one step on all points. Raises TrainingError when the loss is no longer finite."""
        x, y = self.problem.x, self.problem.y
        k = x.shape[1]
        rate, kept = self.settings.learning_rate, 1 - self.settings.learning_rate * self.settings.weight_decay
        hidden = (x @ self.first_layer[:, :k].mT).relu_()
        mask = hidden.sign()
        errors = hidden @ self.second_layer - y
        loss = errors.square().mean().item()
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss}: try a lower learning rate")
        slopes = errors * (2 / len(y))
        active = mask * self.second_layer
        first_gradient = (active * slopes[:, None]).mT @ x
        second_gradient = hidden.mT @ slopes
        if self.settings.grokalign > 0:
            jacobians = active @ self.first_layer
            norms = jacobians.norm(dim=1)
            # d‖J‖ = ⟨J, dJ⟩ / ‖J‖, and 0 where the norm is 0.
            jacobians *= (self.settings.grokalign / (len(y) * norms)).masked_fill_(norms == 0, 0.0)[:, None]
            second_gradient += (mask * (jacobians @ self.first_layer.mT)).sum(0)
            self.first_layer.addmm_(active.mT, jacobians, beta=kept, alpha=-rate)
        else:
            self.first_layer *= kept
        # The loss moves the rows only along the points, which have no other coordinates than these.
        self.first_layer[:, :k] -= rate * first_gradient
        self.second_layer.mul_(kept).sub_(rate * second_gradient)

    def measure(self) -> dict[str, Any]:
        """Loss, accuracies (on test points also under noise), signed centroid alignment, Jacobian and weight norms.

        centroid_alignment_mean: mean of y·cos(x, μ) over training points; centroid_alignment_first: cos(x, μ) at the
        first of them, which the paper's code follows. The noise is the same at every call.
        """
        problem = self.problem
        hidden = problem.x @ self.first_layer[:, : problem.x.shape[1]].mT
        outputs = hidden.relu() @ self.second_layer
        norms = ((hidden > 0) * self.second_layer @ self.first_layer).norm(dim=1)
        # Without biases ⟨x, μ⟩ is f(x).
        scale = norms * problem.x.norm(dim=1)
        cosines = torch.where(scale > 0, outputs / scale, 0.0)
        clean, noise = problem.x_test @ self.first_layer.mT, problem.perturbation @ self.first_layer.mT
        metrics = {
            "train_loss": (outputs - problem.y).square().mean().item(),
            "train_accuracy": _accuracy(outputs, problem.y),
            "test_accuracy": self._test_accuracy(clean),
            "centroid_alignment_mean": (problem.y * cosines).mean().item(),
            "centroid_alignment_first": cosines[0].item(),
            "jacobian_norm_mean": norms.mean().item(),
            "weight_norm": math.hypot(self.first_layer.norm().item(), self.second_layer.norm().item()),
        }
        # The first layer is linear: its response to every amplitude follows from two products.
        robust = {amplitude_metric(a): self._test_accuracy(clean + a * noise) for a in AMPLITUDES}
        return metrics | robust

    def tensors(self) -> dict[str, Tensor]:
        """The weights, the first layer's in coordinates of the span."""
        return {"model.first_layer": self.first_layer, "model.second_layer": self.second_layer}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` gave. Raises KeyError or RuntimeError when they are of another network."""
        # Not copied into, which would stretch a tensor of one row over all.
        self.first_layer = _like(self.first_layer, tensors["model.first_layer"])
        self.second_layer = _like(self.second_layer, tensors["model.second_layer"])

    def _test_accuracy(self, hidden: Float[Tensor, "m h"]) -> float:
        return _accuracy(hidden.relu() @ self.second_layer, self.problem.y_test)


def amplitude_metric(amplitude: float) -> str:
    """The name of the test accuracy under Gaussian noise of this standard deviation."""
    return f"test_accuracy_noise_{amplitude:g}"


def _accuracy(outputs: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    return (outputs.sign() == y).double().mean().item()


def _like(there: Tensor, loaded: Tensor) -> Tensor:
    if loaded.shape != there.shape:
        raise ValueError(f"weights of shape {tuple(loaded.shape)}, expected {tuple(there.shape)}")
    return loaded.to(there)
