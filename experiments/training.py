"""One network in training: an epoch at a time, and all that must be kept to go on exactly from where it stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from experiments.checkpoint import WEIGHTS_PREFIX
from experiments.errors import CheckpointError, SettingsError, TrainingError
from experiments.losses import Loss
from experiments.methods import Method
from splinegeo.grokalign import GrokAlign
from splinegeo.jacobian import checked_outputs

_OPTIMIZER_PREFIX = "optimizer."
_PENALTY_PREFIX = "grokalign."
_METHOD_PREFIX = "method."


@dataclass(frozen=True)
class EpochSummary:
    """Means over one epoch's batches, each taken before the step on that batch."""

    loss: float
    penalty: float
    accuracy: float
    """NaN where the targets are no labels."""


class Training:
    """A model with its samples, loss, optimiser, optional GrokAlign penalty and other methods.

    Samples stay on the device as tensors and are taken in batches in their order, as in the code of arXiv 2506.12284.
    Any module (n, *input_shape) -> (n, C), any loss of outputs and targets and any torch optimiser whose state is
    tensors will do. Targets `y` are labels, whole numbers (n,) from 0 to C − 1, or floating-point numbers (n, ...).

    Raises SettingsError for tensors that do not fit each other, a batch size below 1, or a penalty on another model.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Float[Tensor, "n ..."],
        y: Int64[Tensor, " n"] | Float[Tensor, "n ..."],
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        *,
        grokalign: GrokAlign | None = None,
        methods: Sequence[Method] = (),
        batch_size: int = 256,
    ) -> None:
        y = _targets(x, y)
        if batch_size < 1:
            raise SettingsError(f"the batch size must be at least 1, got {batch_size}")
        if grokalign is not None and grokalign.model is not model:
            raise SettingsError("the GrokAlign penalty is on another model than the one to train: give both the same")
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.grokalign = grokalign
        self.methods = list(methods)
        self.n_samples = len(x)
        self.largest_label = None if y.is_floating_point() else int(y.max())
        self.batches = list(zip(x.split(batch_size), y.split(batch_size), strict=True))

    def run_epoch(self) -> EpochSummary:
        """Take one step on every batch.

        Raises TrainingError when the loss or the weights are no longer finite, SettingsError for a label that the model
        has no output for, and the errors of `splinegeo.jacobian` for a model that is not (n, ...) -> (n, C).
        """
        self.model.train()
        losses: list[Tensor] = []
        penalties: list[Tensor] = []
        correct: list[Tensor] = []
        for x, y in self.batches:
            for method in self.methods:
                x = method.perturbed(x)
            if self.grokalign is None:
                outputs, penalty = checked_outputs(self.model, x), None
            else:
                outputs, penalty = self.grokalign.outputs_and_penalty(x)
            if self.largest_label is not None and self.largest_label >= outputs.shape[1]:
                raise SettingsError(
                    f"the largest label is {self.largest_label}, the model has {outputs.shape[1]} outputs: labels run "
                    "from 0 to one less than there are outputs"
                )
            loss = self.loss(outputs, y)
            (loss if penalty is None else loss + penalty).backward()
            for method in self.methods:
                method.before_step()
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.detach() * len(x))
            if penalty is not None:
                penalties.append(penalty.detach() * len(x))
            if self.largest_label is not None:
                correct.append((outputs.detach().argmax(1) == y).sum())
        # One transfer an epoch: reading a value sooner would hold up an accelerator at every step.
        summary = EpochSummary(
            loss=torch.stack(losses).sum().item() / self.n_samples,
            penalty=torch.stack(penalties).sum().item() / self.n_samples if penalties else 0.0,
            accuracy=torch.stack(correct).sum().item() / self.n_samples if correct else math.nan,
        )
        if not (math.isfinite(summary.loss) and math.isfinite(summary.penalty)):
            raise TrainingError(f"the loss became {summary.loss} with a penalty of {summary.penalty}")
        # A sum takes over any NaN or infinity, ten times faster than looking at each weight.
        sums = torch.stack([parameter.detach().sum() for parameter in self.model.parameters()])
        if not bool(torch.isfinite(sums).all()):
            raise TrainingError("a step made weights NaN or infinite")
        for method in self.methods:
            method.after_epoch(summary.accuracy)
        return summary

    def weights(self) -> dict[str, Tensor]:
        """The model's weights under the names that a checkpoint gives them."""
        return {WEIGHTS_PREFIX + name: tensor for name, tensor in self.model.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """Weights, the optimiser's moments and the states of penalty and methods: all that decides the next epoch."""
        tensors = self.weights()
        for index, entries in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER_PREFIX}{index}.{name}": tensor for name, tensor in entries.items()}
        if self.grokalign is not None:
            tensors |= {_PENALTY_PREFIX + name: tensor for name, tensor in self.grokalign.state_dict().items()}
        for method in self.methods:
            tensors |= {_method_prefix(method) + name: tensor for name, tensor in method.state_dict().items()}
        return tensors

    def load_optimizer_and_methods(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state` kept beside the weights. Raises CheckpointError when some of it does not fit."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(_OPTIMIZER_PREFIX):
                index, key = name.removeprefix(_OPTIMIZER_PREFIX).split(".", 1)
                moments.setdefault(int(index), {})[key] = tensor
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        fits = moments.keys() <= set(range(len(parameters))) and all(
            tensor.ndim == 0 or _belongs_to(parameters[index].shape, tensor.shape)
            for index, entries in moments.items()
            for tensor in entries.values()
        )
        if not fits:
            raise CheckpointError("the checkpoint's optimiser state is of another model")
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if self.grokalign is not None:
            self.grokalign.load_state_dict(_beneath(_PENALTY_PREFIX, tensors))
        for method in self.methods:
            method.load_state_dict(_beneath(_method_prefix(method), tensors))


def _targets(x: Tensor, y: Tensor) -> Int64[Tensor, " n"] | Float[Tensor, "n ..."]:
    """The targets, labels as the 64-bit numbers that torch indexes by."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise SettingsError(f"samples and targets must be tensors, got {type(x).__name__} and {type(y).__name__}")
    if not (x.ndim and y.ndim and len(x) == len(y) > 0):
        raise SettingsError(
            f"there must be as many targets as samples, and at least one; x has shape {tuple(x.shape)}, "
            f"y {tuple(y.shape)}"
        )
    if y.is_floating_point():
        return y
    if y.ndim > 1 or y.is_complex():
        raise SettingsError(
            f"y has shape {tuple(y.shape)} and type {y.dtype}: give labels as whole numbers (n,), or targets as "
            "floating-point numbers"
        )
    if int(y.min()) < 0:
        raise SettingsError(f"labels begin at 0, the smallest one is {int(y.min())}")
    return y.long()


def _belongs_to(parameter: torch.Size, state: torch.Size) -> bool:
    # Adafactor keeps a mean over each row and each column, of length 1 along the other.
    return len(state) == len(parameter) and all(k in (n, 1) for n, k in zip(parameter, state, strict=True))


def _method_prefix(method: Method) -> str:
    return f"{_METHOD_PREFIX}{method.name}."


def _beneath(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
