"""Methods that change training, each a small object: they compose with any model, loss and optimiser, and each other.

GrokAlign's penalty is `splinegeo.GrokAlign`; here are those it is compared with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.errors import CheckpointError


class Method:
    """The moments of training at which a method may act; this one never does."""

    name: str = ""

    def perturbed(self, x: Tensor) -> Tensor:
        """The inputs that the network is to see instead of a batch."""
        return x

    def before_step(self) -> None:
        """Act on weights and gradients, after the backward pass and before the optimiser's step."""

    def after_epoch(self, accuracy: float) -> None:
        """Take note of the training accuracy that was met on the way through an epoch."""

    def state_dict(self) -> dict[str, Tensor]:
        """Whatever decides what the method does next."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken. Raises CheckpointError when that was of another method or model."""
        check_state(self.name, state, {})


class WeightDecay(Method):
    """Decoupled weight decay for any optimiser: weights times 1 − step size × coefficient (Loshchilov, Hutter 2019).

    With Adam this is AdamW, to the last bit. The optimiser's own weight decay must be 0.
    """

    name = "weight-decay"

    def __init__(self, optimizer: torch.optim.Optimizer, coefficient: float) -> None:
        self.optimizer = optimizer
        self.coefficient = coefficient

    def before_step(self) -> None:
        """Shrink all weights that have a gradient."""
        with torch.no_grad():
            for group in self.optimizer.param_groups:
                factor = 1 - group["lr"] * self.coefficient
                if parameters := [parameter for parameter in group["params"] if parameter.grad is not None]:
                    torch._foreach_mul_(parameters, factor)


class AdversarialNoise(Method):
    """Fresh Gaussian noise on every batch, of deviation max(scale × (1 − train accuracy), floor).

    The deviation is in units of the normalised input; the accuracy is that of the epoch before, 0 in the first one.
    The defaults are those of arXiv 2506.12284. Noise is drawn on the generator's device.
    """

    name = "adversarial"

    def __init__(self, generator: torch.Generator, scale: float = 0.06, floor: float = 0.03) -> None:
        self.generator = generator
        self.scale = scale
        self.floor = floor
        self.accuracy = torch.zeros((), dtype=torch.float64)

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise in the present epoch."""
        # In this order an accuracy of NaN, where targets are no labels, gives the floor.
        return max(self.floor, self.scale * (1 - self.accuracy.item()))

    def perturbed(self, x: Tensor) -> Tensor:
        """The batch with noise."""
        noise = torch.randn(x.shape, generator=self.generator, dtype=x.dtype, device=self.generator.device)
        return x + self.deviation * noise.to(x.device)

    def after_epoch(self, accuracy: float) -> None:
        """Set the deviation of the next epoch."""
        self.accuracy = torch.tensor(accuracy, dtype=torch.float64)

    def state_dict(self) -> dict[str, Tensor]:
        """The accuracy of the epoch before and the state of the noise's generator."""
        return {"accuracy": self.accuracy, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken. Raises CheckpointError when that was of another method."""
        check_state(self.name, state, self.state_dict())
        self.accuracy = state["accuracy"].clone()
        self.generator.set_state(state["generator"])


def check_state(name: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise CheckpointError for a state with other entries, or tensors of another shape, than the method has."""

    def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
        return {key: tuple(tensor.shape) for key, tensor in state.items()}

    if shapes(found) != shapes(expected):
        raise CheckpointError(f"the checkpoint's state of the method {name} is of another method or model")
