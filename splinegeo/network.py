"""A torch module read as stages: an affine map, then units that are linear on either side of zero."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from splinegeo.errors import InvalidNetworkError, UnsupportedModuleError

_TRANSPARENT = (nn.Identity, nn.Flatten, nn.Dropout, nn.AlphaDropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_READABLE = "Linear, ReLU, LeakyReLU, Flatten, Dropout, Identity and Sequentials of these"


@dataclass(frozen=True, eq=False)
class Affine:
    """h -> h Wᵀ + b in float64."""

    weight: Float64[np.ndarray, "n m"]
    bias: Float64[np.ndarray, " n"]

    def __call__(self, h: Float64[np.ndarray, "... m"]) -> Float64[np.ndarray, "... n"]:
        return h @ self.weight.T + self.bias

    @cached_property
    def columns(self) -> Float64[np.ndarray, "m n"]:
        """The rows of Wᵀ, contiguous."""
        return np.ascontiguousarray(self.weight.T)

    def linear(self, h: Float64[np.ndarray, "... m"]) -> Float64[np.ndarray, "... n"]:
        """h Wᵀ, without the bias."""
        return h @ self.weight.T

    def transpose(self, g: Float64[np.ndarray, "... n"]) -> Float64[np.ndarray, "... m"]:
        """g W, the vector-Jacobian product."""
        return g @ self.weight

    def after(self, inner: "Affine") -> "Affine":
        """The composition: first `inner`, then this map."""
        return Affine(self.weight @ inner.weight, self.weight @ inner.bias + self.bias)


@dataclass(frozen=True, eq=False)
class Stage:
    """An affine map to n units y, each then multiplied by its slope where y <= 0 (ReLU: 0) and by 1 where y > 0."""

    affine: Affine
    slopes: Float64[np.ndarray, " n"]

    @property
    def n_units(self) -> int:
        """Number of units n."""
        return len(self.slopes)

    def activate(self, y: Float64[np.ndarray, "... n"]) -> Float64[np.ndarray, "... n"]:
        """The units' outputs."""
        return np.where(y > 0, y, self.slopes * y)


@dataclass(frozen=True, eq=False)
class Network:
    """A continuous piecewise affine network: stages, and the affine map that follows the last of them."""

    stages: tuple[Stage, ...]
    output: Affine

    @property
    def n_inputs(self) -> int:
        """Dimension d of the flattened input."""
        return (self.stages[0].affine if self.stages else self.output).weight.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs C."""
        return self.output.weight.shape[0]

    def __call__(self, x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n C"]:
        h = x
        for stage in self.stages:
            h = stage.activate(stage.affine(h))
        return self.output(h)

    def patterns(self, x: Float64[np.ndarray, "n d"]) -> list[np.ndarray]:
        """The activation pattern at points, (n, units) int8 for each stage: 1 where a unit is positive, else 0."""
        patterns = []
        h = x
        for stage in self.stages:
            y = stage.affine(h)
            patterns.append((y > 0).astype(np.int8))
            h = stage.activate(y)
        return patterns


def read_network(model: nn.Module) -> Network:
    """Read a torch module as a piecewise affine network.

    Weights are converted to float64; dropout counts as in evaluation mode. Raises `UnsupportedModuleError` for a module that is not
    piecewise affine or not readable, naming its path, and `InvalidNetworkError` for NaN or infinite weights or sizes that do not fit.
    """
    if isinstance(model, Network):
        return model
    if not isinstance(model, nn.Module):
        raise UnsupportedModuleError(f"the network must be a torch.nn.Module, but is a {type(model).__name__}")
    stages: list[Stage] = []
    pending: Affine | None = None
    for path, module in _chain(model, ""):
        if isinstance(module, nn.Linear):
            affine = _read_linear(module, path)
            width = stages[-1].n_units if pending is None and stages else (len(pending.bias) if pending else None)
            if width is not None and width != affine.weight.shape[1]:
                raise InvalidNetworkError(
                    f"layer '{path}' takes {affine.weight.shape[1]} inputs, but the layer before it gives {width}"
                )
            pending = affine if pending is None else affine.after(pending)
        elif isinstance(module, nn.ReLU | nn.LeakyReLU):
            if pending is None:
                if not stages:
                    raise InvalidNetworkError(
                        f"layer '{path}' comes before any linear layer: its input size is unknown"
                    )
                pending = _identity(stages[-1].n_units)
            slope = module.negative_slope if isinstance(module, nn.LeakyReLU) else 0.0
            stages.append(Stage(pending, np.full(len(pending.bias), float(slope))))
            pending = None
        elif not isinstance(module, _TRANSPARENT):
            raise UnsupportedModuleError(
                f"layer '{path}' ({type(module).__name__}) cannot be read as piecewise affine; readable are {_READABLE}"
            )
    if pending is None and not stages:
        raise InvalidNetworkError("the network holds no linear layer")
    return Network(tuple(stages), pending if pending is not None else _identity(stages[-1].n_units))


def _chain(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            yield from _chain(child, f"{path}.{name}" if path else name)
    else:
        yield path or "(the network itself)", module


def _read_linear(module: nn.Linear, path: str) -> Affine:
    weight = module.weight.detach().to("cpu", torch.float64).numpy().copy()
    bias = (
        np.zeros(len(weight)) if module.bias is None else module.bias.detach().to("cpu", torch.float64).numpy().copy()
    )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise InvalidNetworkError(f"layer '{path}' has NaN or infinite weights")
    return Affine(weight, bias)


def _identity(n: int) -> Affine:
    return Affine(np.eye(n), np.zeros(n))
