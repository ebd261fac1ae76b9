"""What is measured along training: accuracy, loss, and how well the spline aligns with the training points."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from experiments.data import LabelledImages
from experiments.losses import Loss
from experiments.schedule import MOST_POINTS, kernel_points
from experiments.tangent_kernel import tangent_kernel_mean
from splinegeo.grokalign import jacobian_norm
from splinegeo.jacobian import jacobian

PIXEL_NOISE = 0.3
"""Standard deviation of the noise under which robust accuracy is taken, with pixels on [0, 1]."""
_SAMPLES_PER_PASS = 4096
_JACOBIANS_PER_PASS = 256


def accuracy_and_loss(
    model: nn.Module, x: Float[Tensor, "n ..."], y: Int64[Tensor, " n"], loss: Loss
) -> tuple[float, float]:
    """Share of samples whose largest output is at the label, and the mean loss, of the model in eval mode."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        outputs = torch.cat([model(part) for part in x.split(_SAMPLES_PER_PASS)])
    model.train(was_training)
    return (outputs.argmax(1) == y).sum().item() / len(y), loss(outputs, y).item()


def alignment_metrics(model: nn.Module, x: Float[Tensor, "n ..."], y: Int64[Tensor, " n"]) -> dict[str, float]:
    """Statistics over points of centroid, Jacobian rows and Jacobian norm, as `metric_statistic: value`.

    jacobian_norm (Frobenius, exact) and pc1 (share of σ₁² in Σσᵢ², 0 for a zero Jacobian): mean. Of x and its centroid
    μ, centroid_inner_product (⟨x, μ⟩), centroid_alignment (their cosine) and centroid_norm (‖μ‖): mean, min, max.
    row_alignment (cosine of x and the Jacobian's row of its class): mean, min, max. row_alignment_highest and _lowest:
    means over points of the largest and the smallest cosine over all rows (Table 2 of arXiv 2506.12284).
    """
    columns: dict[str, list[Tensor]] = {}
    for points, labels in zip(x.split(_JACOBIANS_PER_PASS), y.split(_JACOBIANS_PER_PASS), strict=True):
        gram, products, centroid_norms = _row_products(model, points)
        lengths = points.flatten(1).norm(dim=1)
        squares = gram.diagonal(dim1=1, dim2=2)
        total = squares.sum(1)
        row_cosines = _quotient(products, squares.sqrt() * lengths[:, None])
        inner_products = products.sum(1)
        for name, values in (
            ("centroid_inner_product", inner_products),
            ("centroid_alignment", _quotient(inner_products, centroid_norms * lengths)),
            ("centroid_norm", centroid_norms),
            ("row_alignment", row_cosines.gather(1, labels[:, None])[:, 0]),
            ("row_alignment_highest", row_cosines.amax(1)),
            ("row_alignment_lowest", row_cosines.amin(1)),
            ("jacobian_norm", total.sqrt()),
            ("pc1", _quotient(torch.linalg.eigvalsh(gram)[:, -1], total)),
        ):
            columns.setdefault(name, []).append(values)
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    metrics = {f"{name}_mean": values.mean().item() for name, values in joined.items()}
    for name in ("centroid_inner_product", "centroid_alignment", "centroid_norm", "row_alignment"):
        metrics |= {f"{name}_min": joined[name].min().item(), f"{name}_max": joined[name].max().item()}
    return metrics


def _row_products(
    model: nn.Module, x: Float[Tensor, "n ..."]
) -> tuple[Float[Tensor, "n C C"], Float[Tensor, "n C"], Float[Tensor, " n"]]:
    """Products of the Jacobian's rows with each other and with the input, and the norm of their sum, the centroid."""
    inputs = x.flatten(1)
    first = model[1] if type(model) is nn.Sequential and len(model) > 2 and type(model[0]) is nn.Flatten else None
    if type(first) is nn.Linear and 2 * first.out_features < first.in_features:
        # J = UW with the first layer's W, by far the largest: U and the Gram matrix WWᵀ tell all, and J is not formed.
        assert isinstance(model, nn.Sequential)
        weight = first.weight.detach()
        hidden = inputs @ weight.mT
        rows = jacobian(model[2:], hidden if first.bias is None else hidden + first.bias.detach())
        images = rows @ (weight @ weight.mT)
        centroids = rows.sum(1, keepdim=True)
        # Of the sum itself: that of the Gram matrix's entries would lose all digits where the rows nearly cancel.
        norms = (centroids @ weight)[:, 0].norm(dim=1)
        return images @ rows.mT, torch.linalg.vecdot(rows, hidden[:, None]), norms
    rows = jacobian(model, x).flatten(2)
    return rows @ rows.mT, torch.linalg.vecdot(rows, inputs[:, None]), rows.sum(1).norm(dim=1)


def weight_norms(model: nn.Module) -> dict[str, float]:
    """The norm of all parameters together, and of each by its name: weight_norm, weight_norm.1.weight."""
    norms = {f"weight_norm.{name}": p.detach().norm().item() for name, p in model.named_parameters()}
    return {"weight_norm": math.hypot(*norms.values()), **norms}


def robust_accuracy(model: nn.Module, data: LabelledImages, loss: Loss, pixel_noise: float = PIXEL_NOISE) -> float:
    """Test accuracy under Gaussian noise of this deviation on pixels in [0, 1]: the same noise at every call."""
    generator = torch.Generator().manual_seed(0)  # on the CPU whatever the device: the same noise everywhere
    noise = torch.randn(data.x_test.shape, generator=generator, dtype=data.x_test.dtype).to(data.x_test.device)
    _, deviation = data.normalisation(data.x_test)
    return accuracy_and_loss(model, data.x_test + (pixel_noise / deviation) * noise, data.y_test, loss)[0]


def training_metrics(
    model: nn.Module, data: LabelledImages, loss: Loss, n_points: int = MOST_POINTS
) -> dict[str, float]:
    """All metrics of one moment: accuracies and losses on both sets, the rest at the first `n_points` training points.

    The tangent kernel's mean is taken over pairs of the first quarter of these. jacobian_norm_estimate_mean is
    GrokAlign's estimate of jacobian_norm_mean, with the same directions at every call.
    """
    train_accuracy, train_loss = accuracy_and_loss(model, data.x_train, data.y_train, loss)
    test_accuracy, test_loss = accuracy_and_loss(model, data.x_test, data.y_test, loss)
    points = data.x_train[:n_points]
    with torch.no_grad():
        estimates = jacobian_norm(model, points, generator=torch.Generator().manual_seed(0))
    return {
        "train_accuracy": train_accuracy,
        "test_accuracy": test_accuracy,
        "train_loss": train_loss,
        "test_loss": test_loss,
        **alignment_metrics(model, points, data.y_train[:n_points]),
        "jacobian_norm_estimate_mean": estimates.mean().item(),
        "ntk_mean": tangent_kernel_mean(model, points[: kernel_points(len(points))]),
        "robust_accuracy": robust_accuracy(model, data, loss),
        **weight_norms(model),
    }


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1.0), 0.0)
