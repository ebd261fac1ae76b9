"""What is measured along training: accuracy, loss, and how well the spline aligns with the training points."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from experiments.data import LabelledImages
from experiments.losses import Loss
from splinegeo.jacobian import jacobian

ALIGNMENT_POINTS = 1024
"""Alignments are taken at the first training points only, so that they cost the same for a large training set."""
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
    """Statistics over points of centroid, Jacobian rows and exact Jacobian norm, as `metric_statistic: value`.

    centroid_alignment (cosine of x and its centroid μ) and centroid_norm (‖μ‖): mean, min, max. row_alignment (cosine
    of x and the Jacobian's row of its class): mean, min, max. row_alignment_highest and _lowest: means over points of
    the largest and the smallest cosine over all rows (Table 2 of arXiv 2506.12284). jacobian_norm (Frobenius): mean.
    """
    columns: dict[str, list[Tensor]] = {}
    for points, labels in zip(x.split(_JACOBIANS_PER_PASS), y.split(_JACOBIANS_PER_PASS), strict=True):
        rows = jacobian(model, points).flatten(2)
        inputs = points.flatten(1)
        centroids = rows.sum(1)
        row_cosines = torch.cosine_similarity(rows, inputs[:, None], dim=2)
        for name, values in (
            ("centroid_alignment", torch.cosine_similarity(centroids, inputs, dim=1)),
            ("centroid_norm", centroids.norm(dim=1)),
            ("row_alignment", row_cosines.gather(1, labels[:, None])[:, 0]),
            ("row_alignment_highest", row_cosines.amax(1)),
            ("row_alignment_lowest", row_cosines.amin(1)),
            ("jacobian_norm", rows.flatten(1).norm(dim=1)),
        ):
            columns.setdefault(name, []).append(values)
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    metrics = {f"{name}_mean": values.mean().item() for name, values in joined.items()}
    for name in ("centroid_alignment", "centroid_norm", "row_alignment"):
        metrics |= {f"{name}_min": joined[name].min().item(), f"{name}_max": joined[name].max().item()}
    return metrics


def training_metrics(model: nn.Module, data: LabelledImages, loss: Loss) -> dict[str, float]:
    """All metrics of one moment: accuracies and losses on both sets, alignments at the first training points."""
    train_accuracy, train_loss = accuracy_and_loss(model, data.x_train, data.y_train, loss)
    test_accuracy, test_loss = accuracy_and_loss(model, data.x_test, data.y_test, loss)
    return {
        "train_accuracy": train_accuracy,
        "test_accuracy": test_accuracy,
        "train_loss": train_loss,
        "test_loss": test_loss,
        **alignment_metrics(model, data.x_train[:ALIGNMENT_POINTS], data.y_train[:ALIGNMENT_POINTS]),
    }
