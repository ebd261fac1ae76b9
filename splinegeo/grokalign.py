"""GrokAlign (arXiv 2506.12284): the norm of the Jacobian at data points, differentiable, and its penalty on training."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from splinegeo.jacobian import (
    SAMPLES_PER_PASS,
    InvalidArgumentError,
    check_inputs,
    checked_inputs,
    checked_outputs,
    evaluation,
    normal_like,
)


def jacobian_norm(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    n_projections: int = 1,
    generator: torch.Generator | None = None,
    exact: bool = False,
) -> Float[Tensor, " n"]:
    """The Frobenius norm of the Jacobian at each point, differentiable with respect to the parameters.

    The estimate sqrt(C/k Σ‖vᵢᵀJ‖²) from k = `n_projections` random unit vectors for each sample (Hoffman et al. 2019);
    its square is without bias. Directions come from `generator` (default: torch's own). `exact=True` takes all C rows.
    The model counts as in eval mode; where a norm is 0 its gradient is 0. Under no_grad, memory is bounded.

    Raises InvalidArgumentError (n_projections < 1) and the errors of `splinegeo.jacobian`.
    """
    _check_projections(n_projections)
    inputs = checked_inputs(model, x)
    parts = [inputs] if torch.is_grad_enabled() else inputs.split(SAMPLES_PER_PASS)
    return torch.cat([_evaluated_norms(model, part, None if exact else n_projections, generator) for part in parts])


class GrokAlign:
    """The penalty coefficient × mean ‖J‖_F over a batch, or with a level, coefficient × |level − mean ‖J‖_F|.

    `loss = criterion(model(x), y) + penalty(x)` works for every model and loss. The same with one forward pass:
    `outputs, penalty = grokalign.outputs_and_penalty(x)`. Norms are `jacobian_norm`'s estimates with `n_projections`
    directions a sample, drawn from `generator` (default: one of its own, seeded with 0); `state_dict` holds its state,
    so that a run resumes exactly. Gradients reach the parameters; a chain of Linear, (Leaky)ReLU, Flatten, Identity and
    Dropout in nn.Sequentials takes a hand-written gradient, anything else a double backward.

    Raises InvalidArgumentError if the coefficient or the level is negative or not finite, or n_projections < 1.
    """

    def __init__(
        self,
        model: nn.Module,
        coefficient: float = 1e-3,
        level: float | None = None,
        n_projections: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, value in (("coefficient", coefficient), ("level", level)):
            if value is not None and not 0 <= value < float("inf"):
                raise InvalidArgumentError(f"{name} is {value}: give a finite number that is not negative")
        _check_projections(n_projections)
        self.model = model
        self.coefficient = coefficient
        self.level = level
        self.n_projections = n_projections
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator

    def __call__(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
        """The penalty at the inputs, of the model in eval mode; raises as `jacobian_norm`."""
        self._check(x)
        return self._penalty(_evaluated_norms(self.model, x, self.n_projections, self.generator))

    def outputs_and_penalty(self, x: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "n C"], Float[Tensor, ""]]:
        """The outputs model(x) in the model's present mode, and the penalty at x, from one forward pass where possible.

        Active dropout or batch normalisation needs a second pass, in eval mode, for the penalty: both are found by
        their torch.nn classes. A forward method that calls functional dropout itself: call model and penalty apart.
        Raises as `jacobian_norm`.
        """
        self._check(x)
        if any(module.training and isinstance(module, _MODE_DEPENDENT) for module in self.model.modules()):
            return checked_outputs(self.model, x), self(x)
        outputs, norms = _outputs_and_norms(self.model, x, self.n_projections, self.generator)
        return outputs, self._penalty(norms)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the random directions, one uint8 tensor."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken; raises InvalidArgumentError if the state is not one of this generator."""
        try:
            self.generator.set_state(state["generator"])
        except (KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InvalidArgumentError(f"not the state of a GrokAlign generator on this device ({reason})") from error

    def _check(self, x: Tensor) -> None:
        check_inputs(self.model, x)
        # Not on accelerators: reading one value there would hold up every training step.
        if x.device.type == "cpu":
            checked_inputs(self.model, x)

    def _penalty(self, norms: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        mean = norms.mean()
        return self.coefficient * (mean if self.level is None else (self.level - mean).abs())


_MODE_DEPENDENT = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._NormBase,
    nn.RReLU,
    nn.MultiheadAttention,
    nn.RNNBase,
)


def _check_projections(n_projections: int) -> None:
    if n_projections < 1:
        raise InvalidArgumentError(f"n_projections is {n_projections}: give at least 1")


def _evaluated_norms(
    model: nn.Module, x: Tensor, n_projections: int | None, generator: torch.Generator | None
) -> Float[Tensor, " n"]:
    differentiable = torch.is_grad_enabled()
    with evaluation(model):
        _, norms = _outputs_and_norms(model, x, n_projections, generator, differentiable)
    return norms


def _outputs_and_norms(
    model: nn.Module,
    x: Tensor,
    n_projections: int | None,
    generator: torch.Generator | None,
    differentiable: bool | None = None,
) -> tuple[Float[Tensor, "n C"], Float[Tensor, " n"]]:
    """model(x) and the norms, exact if n_projections is None."""
    chain = _read_chain(model, x)
    if chain is not None:
        directions = _directions(x, chain.weights[-1].shape[0], n_projections, generator)
        return _MaskedChain.apply(x, directions, chain.slopes, *chain.weights, *chain.biases)
    leaf = x if x.requires_grad else x.detach().requires_grad_()
    outputs = checked_outputs(model, leaf)
    squares = torch.zeros(x.shape[0])
    for direction in _directions(x, outputs.shape[1], n_projections, generator):
        (row,) = torch.autograd.grad(outputs, leaf, direction, create_graph=True, retain_graph=True)
        squares = squares + row.flatten(1).square().sum(1)
    return outputs, squares
