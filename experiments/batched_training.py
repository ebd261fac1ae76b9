"""Several trainings that differ in their seeds alone, an epoch of all of them in one batched program."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from experiments.errors import TrainingError
from experiments.losses import SampleLoss
from experiments.training import EpochSummary, Training
from splinegeo.stacked_networks import stacked_outputs, stacked_outputs_and_norms


class BatchedTraining:
    """Trains several `Training`s of one architecture on the same batches, each exactly as it would train by itself.

    Up to rounding: products of all networks are batched products of stacked weights, and one optimiser takes all their
    steps. The trainings' own models, optimisers, penalties and methods stay theirs and up to date, so that each can be
    measured and saved after any epoch, and others can be batched without it. `loss` is their loss before its mean over
    samples; `make_optimizer` makes one like theirs for all parameters.
    """

    def __init__(
        self,
        trainings: Sequence[Training],
        loss: SampleLoss,
        make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    ) -> None:
        self.trainings = list(trainings)
        self.loss = loss
        self.model = trainings[0].model
        self.batches = trainings[0].batches
        self.n_samples = trainings[0].n_samples
        with torch.no_grad():
            self.n_outputs = self.model(self.batches[0][0][:1]).shape[1]
        self.parameters = [dict(training.model.named_parameters()) for training in trainings]
        self.stacked = {}
        for name in self.parameters[0]:
            stack = torch.stack([parameters[name].detach() for parameters in self.parameters])
            # The networks' own weights are from now on parts of the stack.
            for parameters, part in zip(self.parameters, stack, strict=True):
                parameters[name].data = part
            self.stacked[name] = stack.requires_grad_()
        self.optimizer = make_optimizer([p for parameters in self.parameters for p in parameters.values()])
        for training, parameters in zip(trainings, self.parameters, strict=True):
            for parameter in parameters.values():
                self.optimizer.state[parameter] = training.optimizer.state[parameter]

    def run_epoch(self) -> list[EpochSummary | TrainingError]:
        """Take one step on every batch; for each training its summary, or why it cannot go on.

        A loss or weights that are no longer finite end that training alone.
        """
        for training in self.trainings:
            training.model.train()
        losses, penalties, correct = [], [], []
        for x, y in self.batches:
            outputs, penalty = self._outputs_and_penalty(self._inputs(x))
            loss = self.loss(outputs, y).mean(-1)
            (loss + penalty).sum().backward()
            self._step()
            losses.append(loss.detach() * len(x))
            penalties.append(penalty.detach() * len(x))
            correct.append((outputs.detach().argmax(-1) == y).sum(-1))
        # One transfer an epoch, as in Training.
        totals = torch.stack([torch.stack(values).sum(0).double() for values in (losses, penalties, correct)], dim=1)
        finite = torch.stack([p.detach().flatten(1).sum(1) for p in self.stacked.values()]).isfinite().all(0)
        results: list[EpochSummary | TrainingError] = []
        for training, values, is_finite in zip(self.trainings, totals.tolist(), finite.tolist(), strict=True):
            summary = EpochSummary(*(value / self.n_samples for value in values))
            if not (math.isfinite(summary.loss) and math.isfinite(summary.penalty)):
                results.append(TrainingError(f"the loss became {summary.loss} with a penalty of {summary.penalty}"))
            elif not is_finite:
                results.append(TrainingError("a step made weights NaN or infinite"))
            else:
                for method in training.methods:
                    method.after_epoch(summary.accuracy)
                results.append(summary)
        return results

    def _inputs(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "s n ..."]:
        """What each network sees of a batch, or with a first axis of length 1 what all of them see."""
        seen = []
        for training in self.trainings:
            inputs = x
            for method in training.methods:
                inputs = method.perturbed(inputs)
            seen.append(inputs)
        return x[None] if all(inputs is x for inputs in seen) else torch.stack(seen)

    def _outputs_and_penalty(self, x: Float[Tensor, "s n ..."]) -> tuple[Float[Tensor, "s n C"], Float[Tensor, " s"]]:
        penalties = [training.grokalign for training in self.trainings if training.grokalign is not None]
        if not penalties:
            outputs = stacked_outputs(self.model, self.stacked, x)
            return outputs, outputs.new_zeros(len(outputs))
        directions = torch.stack([penalty.directions(x[0], self.n_outputs) for penalty in penalties])
        outputs, norms = stacked_outputs_and_norms(self.model, self.stacked, x, directions)
        # The same settings in all of them.
        return outputs, penalties[0].penalty_of(norms)

    def _step(self) -> None:
        for index, (training, parameters) in enumerate(zip(self.trainings, self.parameters, strict=True)):
            for name, parameter in parameters.items():
                gradients = self.stacked[name].grad
                parameter.grad = None if gradients is None else gradients[index]
            for method in training.methods:
                method.before_step()
        self.optimizer.step()
        self.optimizer.zero_grad()
        for stack in self.stacked.values():
            stack.grad = None
