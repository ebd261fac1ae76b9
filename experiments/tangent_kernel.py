"""The neural tangent kernel's mean over pairs of points, for any network, without a gradient per sample."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splinegeo.jacobian import evaluation


def tangent_kernel_mean(model: nn.Module, x: Float[Tensor, "n ..."]) -> float:
    """Mean over all pairs of points and over outputs c of Θ_c(x, x′) = ⟨∂f_c(x)/∂θ, ∂f_c(x′)/∂θ⟩ (Jacot et al. 2018).

    The mean of a Gram matrix over all its entries is the squared norm of the mean vector: one backward pass for each
    output, of the mean of that output over the points, gives it exactly. The model counts as in eval mode.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with evaluation(model):
        means = model(x).flatten(1).mean(0)
        total = 0.0
        for mean in means:
            gradients = torch.autograd.grad(mean, parameters, retain_graph=True, materialize_grads=True)
            total += sum(gradient.double().square().sum().item() for gradient in gradients)
    return total / len(means)
