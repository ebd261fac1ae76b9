"""Grokfast (Lee et al. 2024, arXiv 2405.20233): slow components of the gradients amplified, as methods of training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.errors import CheckpointError
from experiments.methods import Method, check_state


class GrokfastEMA(Method):
    """Adds `factor` times the gradients' exponential moving average: m ← memory·m + (1 − memory)·g, g ← g + factor·m.

    The average starts at the first gradient. The defaults are those of arXiv 2506.12284.
    """

    name = "grokfast"

    def __init__(self, model: nn.Module, memory: float = 0.8, factor: float = 0.1) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.memory = memory
        self.factor = factor
        self.averages: dict[str, Tensor] = {}

    def before_step(self) -> None:
        """Update the averages and add them to the gradients."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter.grad is None:
                    continue
                if name in self.averages:
                    self.averages[name].lerp_(parameter.grad, 1 - self.memory)
                else:
                    self.averages[name] = parameter.grad.clone()
                parameter.grad.add_(self.averages[name], alpha=self.factor)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, by the names of their parameters."""
        return dict(self.averages)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken. Raises CheckpointError when that was of another model."""
        if not state.keys() <= self.parameters.keys():
            raise CheckpointError(f"the checkpoint's state of the method {self.name} is of another method or model")
        check_state(self.name, state, {name: self.parameters[name] for name in state})
        self.averages = {name: tensor.to(self.parameters[name], copy=True) for name, tensor in state.items()}


class GrokfastMA(Method):
    """Adds `factor` times the mean of the last `window` gradients, from the moment that there are so many.

    The defaults are those of arXiv 2405.20233. Keeps `window` gradients in memory and in checkpoints.
    """

    name = "grokfast-ma"

    def __init__(self, model: nn.Module, window: int = 100, factor: float = 5.0) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        first = self.parameters[0]
        size = sum(p.numel() for p in self.parameters)
        self.gradients = torch.zeros(window, size, dtype=first.dtype, device=first.device)
        self.total = torch.zeros_like(self.gradients[0])
        self.count = 0
        self.factor = factor

    def before_step(self) -> None:
        """Put the gradients into the window and add its mean to them."""
        window = len(self.gradients)
        with torch.no_grad():
            gradient = torch.cat(
                [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self.parameters]
            )
            oldest = self.gradients[self.count % window]
            self.total += gradient - oldest
            oldest.copy_(gradient)
            self.count += 1
            if self.count % window == 0:  # the running sum would otherwise gather rounding errors without bound
                self.total = self.gradients.sum(0)
            if self.count < window:
                return
            parts = self.total.split([p.numel() for p in self.parameters])
            for parameter, part in zip(self.parameters, parts, strict=True):
                if parameter.grad is not None:
                    parameter.grad.add_(part.view_as(parameter), alpha=self.factor / window)

    def state_dict(self) -> dict[str, Tensor]:
        """The gradients in the window, their running sum, and the number of gradients so far."""
        return {"gradients": self.gradients[: self.count], "total": self.total, "count": torch.tensor(self.count)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state_dict` was taken. Raises CheckpointError when that was of another model or window."""
        there = len(state["gradients"]) if "gradients" in state and state["gradients"].ndim else 0
        # Older versions kept the rows that are not filled yet as well.
        full = there == len(self.gradients)
        count = int(state["count"]) if "count" in state and state["count"].numel() == 1 else 0
        expected = self.state_dict() | {"gradients": self.gradients if full else self.gradients[:count]}
        check_state(self.name, state, expected)
        self.gradients.zero_()[:there].copy_(state["gradients"])
        self.total = state["total"].to(self.total, copy=True)
        self.count = int(state["count"])
