"""The two losses of the GrokAlign paper: squared error on one-hot targets and cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from experiments.errors import SettingsError

Loss = Callable[[Float[Tensor, "n C"], Int64[Tensor, " n"]], Float[Tensor, ""]]
SampleLoss = Callable[[Float[Tensor, "*s n C"], Int64[Tensor, " n"]], Float[Tensor, "*s n"]]


def squared_error(outputs: Float[Tensor, "n C"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over samples and classes of (output − one-hot target)², the reduction of arXiv 2506.12284.

    Raises SettingsError for targets that are no labels.
    """
    if labels.is_floating_point() or labels.ndim != 1:
        raise SettingsError(
            f"squared_error takes labels, whole numbers (n,), not {labels.dtype} of shape {tuple(labels.shape)}: for "
            "other targets take torch.nn.functional.mse_loss"
        )
    targets = functional.one_hot(labels.long(), outputs.shape[1]).to(outputs.dtype)
    return functional.mse_loss(outputs, targets)


def squared_errors(outputs: Float[Tensor, "*s n C"], labels: Int64[Tensor, " n"]) -> Float[Tensor, "*s n"]:
    """Of each sample, the mean over classes of (output − one-hot target)²."""
    targets = functional.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
    return (outputs - targets).square().mean(-1)


def cross_entropy(outputs: Float[Tensor, "n C"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over samples of −log softmax(outputs) at the label, accurate however small it becomes.

    Differentiable once with respect to the outputs.
    """
    return cross_entropies(outputs, labels).mean()


def cross_entropies(outputs: Float[Tensor, "*s n C"], labels: Int64[Tensor, " n"]) -> Float[Tensor, "*s n"]:
    """Of each sample −log softmax(outputs) at the label, with the accuracy of `cross_entropy`."""
    losses: Tensor = _CrossEntropies.apply(outputs, labels)
    return losses


class _CrossEntropies(torch.autograd.Function):
    # p_y − 1 rounds to 0 once p_y does to 1, and training on the remaining rounding noise collapses the softmax. Loss
    # and gradient are therefore written in the other classes' probabilities, which keep their relative accuracy.

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, labels: Tensor) -> Tensor:
        column = labels.expand(outputs.shape[:-1])[..., None]
        margins = (outputs - outputs.gather(-1, column)).scatter(-1, column, -torch.inf)
        log_odds = margins.logsumexp(dim=-1)  # of the wrong classes together against the right one
        losses = torch.logaddexp(log_odds, torch.zeros_like(log_odds))
        others = (margins - losses[..., None]).exp()
        ctx.save_for_backward(others, column)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor, None]:
        others, column = ctx.saved_tensors
        gradient = others.scatter(-1, column, -others.sum(dim=-1, keepdim=True))
        return gradient * grad_losses[..., None], None


LOSSES: dict[str, Loss] = {"squared-error": squared_error, "cross-entropy": cross_entropy}
SAMPLE_LOSSES: dict[str, SampleLoss] = {"squared-error": squared_errors, "cross-entropy": cross_entropies}
"""The same before the mean over samples, of one network or of several."""
