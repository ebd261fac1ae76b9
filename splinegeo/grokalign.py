"""GrokAlign (arXiv 2506.12284): the Jacobian's norm at data points, differentiable, and its penalty in training."""

from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from splinegeo.errors import InvalidArgumentError, InvalidNetworkError
from splinegeo.jacobian import (
    SAMPLES_PER_PASS,
    check_finite,
    check_inputs,
    check_module,
    checked_inputs,
    checked_outputs,
    differentiable_tensor,
    evaluation,
    input_gradient,
    normal_like,
)
from splinegeo.masked_chain import MaskedChain, read_chain


def jacobian_norm(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    n_projections: int = 1,
    generator: torch.Generator | None = None,
    exact: bool = False,
) -> Float[Tensor, " n"]:
    """The Frobenius norm of the Jacobian at each point, differentiable with respect to the parameters.

    The estimate sqrt(C/k Σ‖vᵢᵀJ‖²) from k = `n_projections` random unit vectors a sample (Hoffman et al. 2019), whose
    square has no bias; `exact=True` takes all C rows. Directions come from `generator` (default: torch's own). The
    model counts as in eval mode; where a norm is 0 its gradient is 0. Under no_grad, samples are taken in small parts.

    Raises InvalidArgumentError (n_projections < 1) and the errors of `splinegeo.jacobian`.
    """
    _check_projections(n_projections)
    inputs = checked_inputs(model, x)
    parts = [inputs] if torch.is_grad_enabled() else inputs.split(SAMPLES_PER_PASS)
    norms = torch.cat([_norms(model, part, None if exact else n_projections, generator) for part in parts])
    if not bool(torch.isfinite(norms).all()):
        raise InvalidNetworkError("the Jacobian is not finite: the weights hold NaN or infinite values, or overflow")
    return norms


class GrokAlign:
    """The penalty coefficient × mean ‖J‖_F over a batch, or with a level, coefficient × |level − mean ‖J‖_F|.

    `loss = criterion(model(x), y) + penalty(x)` works for every model and loss. The same with one forward pass:
    `outputs, penalty = grokalign.outputs_and_penalty(x)`. Norms are `jacobian_norm`'s estimates with `n_projections`
    directions a sample, drawn from `generator` (default: one of its own, seeded with 0); `state_dict` holds its state,
    so that a run resumes exactly. A chain of Linear, ReLU, LeakyReLU, Flatten, Identity and Dropout in nn.Sequentials
    takes a hand-written gradient, which cannot be differentiated again; every other model, a double backward.

    Raises InvalidArgumentError if the coefficient or the level is negative or not finite, or n_projections < 1, and
    UnsupportedModuleError if the model is no torch.nn.Module.
    """

    def __init__(
        self,
        model: nn.Module,
        coefficient: float = 1e-3,
        level: float | None = None,
        n_projections: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        check_module(model)
        for name, value in (("coefficient", coefficient), ("level", level)):
            if value is not None and not (isinstance(value, Real) and 0 <= value < float("inf")):
                raise InvalidArgumentError(f"{name} is {value}: give a finite number that is not negative")
        _check_projections(n_projections)
        self.model = model
        self.coefficient = coefficient
        self.level = level
        self.n_projections = n_projections
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator

    def __call__(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
        """The penalty at the inputs, of the model in eval mode; raises as `jacobian_norm`."""
        x = self._checked(x)
        return self.penalty_of(_norms(self.model, x, self.n_projections, self.generator))

    def outputs_and_penalty(self, x: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "n C"], Float[Tensor, ""]]:
        """The outputs model(x) in the model's present mode, and the penalty at x, from one forward pass where possible.

        Active dropout or batch normalisation needs a second pass, in eval mode, for the penalty: both are found by
        their torch.nn classes. If a forward method calls functional dropout itself, call the model and this apart.
        Raises as `jacobian_norm`.
        """
        x = self._checked(x)
        if any(module.training and isinstance(module, _MODE_DEPENDENT) for module in self.model.modules()):
            return checked_outputs(self.model, x), self(x)
        outputs, norms = _outputs_and_norms(self.model, x, self.n_projections, self.generator, torch.is_grad_enabled())
        return outputs, self.penalty_of(norms)

    def penalty_of(self, norms: Float[Tensor, "*s n"]) -> Float[Tensor, "*s"]:
        """The penalty of a batch with these Jacobian norms."""
        mean = norms.mean(-1)
        return self.coefficient * (mean if self.level is None else (self.level - mean).abs())

    def directions(self, x: Float[Tensor, "n ..."], n_outputs: int) -> Float[Tensor, "k n C"]:
        """Draw the random unit vectors of one estimate at the inputs, as every call does."""
        return _directions(x, n_outputs, self.n_projections, self.generator)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the random directions, as one uint8 tensor."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken; raises InvalidArgumentError if that was another kind of generator."""
        try:
            self.generator.set_state(state["generator"])
        except (KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InvalidArgumentError(f"not the state of a {self.generator.device} generator ({reason})") from error

    def _checked(self, x: Tensor) -> Tensor:
        check_inputs(self.model, x)
        # Not on accelerators: to read a value there would hold up every training step.
        if x.device.type == "cpu":
            check_finite(x)
        return differentiable_tensor(x)


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


def _norms(
    model: nn.Module, x: Tensor, n_projections: int | None, generator: torch.Generator | None
) -> Float[Tensor, " n"]:
    differentiable = torch.is_grad_enabled()
    with evaluation(model):
        return _outputs_and_norms(model, x, n_projections, generator, differentiable)[1]


def _outputs_and_norms(
    model: nn.Module, x: Tensor, n_projections: int | None, generator: torch.Generator | None, differentiable: bool
) -> tuple[Float[Tensor, "n C"], Float[Tensor, " n"]]:
    """The outputs in the model's present mode, and the norms: exact ones if n_projections is None."""
    chain = read_chain(model, x)
    if chain is not None:
        directions = _directions(x, chain.weights[-1].shape[0], n_projections, generator)
        with torch.set_grad_enabled(differentiable):
            rows = x.flatten(1) if chain.flattens else x
            outputs, norms = MaskedChain.apply(rows, directions, chain.slopes, *chain.weights, *chain.biases)
            return outputs, norms
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no second derivative
            outputs = checked_outputs(model, leaf)
        directions = _directions(x, outputs.shape[1], n_projections, generator)
        squares = x.new_zeros(x.shape[0])
        for direction in directions:
            row = input_gradient(outputs, leaf, direction, retain_graph=True, create_graph=differentiable)
            squares = squares + row.flatten(1).square().sum(1)
        squares = squares * (directions.shape[2] / directions.shape[0])
        # sqrt has an infinite slope at 0: the norm's subgradient there is 0.
        positive = squares > 0
        norms = torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
    return (outputs, norms) if differentiable else (outputs.detach(), norms.detach())


def _directions(
    x: Tensor, n_outputs: int, n_projections: int | None, generator: torch.Generator | None
) -> Float[Tensor, "k n C"]:
    """Unit vectors in the output space: random for each sample, or every axis if n_projections is None."""
    if n_projections is None:
        axes = torch.eye(n_outputs, dtype=x.dtype, device=x.device)
        return axes[:, None, :].expand(n_outputs, x.shape[0], n_outputs)
    return nn.functional.normalize(normal_like((n_projections, x.shape[0], n_outputs), x, generator), dim=-1)
