"""The two losses of the GrokAlign paper: squared error on one-hot targets and cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Loss = Callable[[Float[Tensor, "n C"], Int64[Tensor, " n"]], Float[Tensor, ""]]


def squared_error(outputs: Float[Tensor, "n C"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over samples and classes of (output − one-hot target)², the reduction of arXiv 2506.12284."""
    targets = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return functional.mse_loss(outputs, targets)


def cross_entropy(outputs: Float[Tensor, "n C"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over samples of −log softmax(outputs) at the label, accurate however small it becomes.

    Differentiable once with respect to the outputs.
    """
    loss: Tensor = _CrossEntropy.apply(outputs, labels)
    return loss


class _CrossEntropy(torch.autograd.Function):
    # p_y − 1 rounds to 0 once p_y does to 1, and training on the remaining rounding noise collapses the softmax. Loss
    # and gradient are therefore written in the other classes' probabilities, which keep their relative accuracy.

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, labels: Tensor) -> Tensor:
        column = labels[:, None]
        margins = (outputs - outputs.gather(1, column)).scatter(1, column, -torch.inf)
        log_odds = margins.logsumexp(dim=1)  # of the wrong classes together against the right one
        losses = torch.logaddexp(log_odds, torch.zeros_like(log_odds))
        others = (margins - losses[:, None]).exp()
        ctx.save_for_backward(others, column)
        return losses.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None]:
        others, column = ctx.saved_tensors
        gradient = others.scatter(1, column, -others.sum(dim=1, keepdim=True))
        return gradient * (grad_loss / len(others)), None


LOSSES: dict[str, Loss] = {"squared-error": squared_error, "cross-entropy": cross_entropy}
