"""Several networks of one architecture in one program: their outputs, and their Jacobian norms as in GrokAlign."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from splinegeo.masked_chain import MaskedChain, read_chain


def stacked_outputs(
    model: nn.Module, parameters: Mapping[str, Float[Tensor, "s ..."]], x: Float[Tensor, "s n ..."]
) -> Float[Tensor, "s n C"]:
    """The outputs of S networks: `model` with the S values that `parameters` holds for each name of a parameter.

    x holds a batch for each network, or one for all of them, (1, n, *input_shape). Differentiable with respect to the
    parameters. Raises RuntimeError for a network that draws random numbers or changes its buffers.
    """
    shared = x.shape[0] == 1

    def outputs(values: dict[str, Tensor], points: Tensor) -> Tensor:
        found: Tensor = functional_call(model, values, (points,))
        return found

    stacked: Tensor = vmap(outputs, in_dims=(0, None if shared else 0))(dict(parameters), x[0] if shared else x)
    return stacked


def stacked_outputs_and_norms(
    model: nn.Module,
    parameters: Mapping[str, Float[Tensor, "s ..."]],
    x: Float[Tensor, "s n ..."],
    directions: Float[Tensor, "s k n C"],
) -> tuple[Float[Tensor, "s n C"], Float[Tensor, "s n"]]:
    """The outputs as `stacked_outputs`, and sqrt(C/k Σ‖vᵢᵀJ‖²) at each point, vᵢ the k unit vectors given for it.

    Of each network what `GrokAlign` takes from it with these directions, up to rounding, by the same hand-written
    gradient where there is one; differentiable once with respect to the parameters. Raises as `stacked_outputs`.
    """
    chain = read_chain(model, x[0])
    # A chain is read without its dropout, which the other way refuses while it draws.
    draws = any(isinstance(module, nn.Dropout) and module.training and module.p > 0 for module in model.modules())
    if chain is not None and not draws:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        weights = [parameters[names[id(weight)]] for weight in chain.weights]
        biases = [None if bias is None else parameters[names[id(bias)]] for bias in chain.biases]
        rows = x.flatten(2) if chain.flattens else x
        outputs, norms = MaskedChain.apply(
            rows[0] if len(x) == 1 else rows, directions, chain.slopes, *weights, *biases
        )
        return outputs, norms
    leaf = x.detach().expand(len(directions), *x.shape[1:]).contiguous().requires_grad_()
    outputs = stacked_outputs(model, parameters, leaf)
    squares = x.new_zeros(leaf.shape[:2])
    for direction in directions.unbind(1):
        (rows,) = torch.autograd.grad(outputs, leaf, direction, retain_graph=True, create_graph=True)
        squares = squares + rows.flatten(2).square().sum(2)
    return outputs, _root(squares * (directions.shape[3] / directions.shape[1]))


def _root(squares: Tensor) -> Tensor:
    """The square root, whose gradient at 0 counts as 0: an infinite one would spoil all others."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
