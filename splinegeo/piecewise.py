"""Which calls are piecewise linear layers, and the rounds of two-piece units that each of them makes."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from torch import Tensor, fx, nn

from splinegeo import maxima, nonlinearities
from splinegeo.errors import InvalidNetworkError, UnsupportedModuleError
from splinegeo.nonlinearities import Nonlinearity
from splinegeo.torch_calls import describe, name_of
from splinegeo.tracing import Trace

Layers = Callable[..., Nonlinearity]

_DIMENSIONS = (1, 2, 3)
_EXTREMA = ("max", "min")
_OF_TWO = ("maximum", "minimum")

# By the name of torch's function, with that function's arguments.
_FUNCTIONS: dict[str, Layers] = {
    "relu": nonlinearities.relu,
    "leaky_relu": nonlinearities.leaky_relu,
    "rrelu": nonlinearities.rrelu,
    "prelu": nonlinearities.prelu,
    "abs": nonlinearities.absolute,
    "absolute": nonlinearities.absolute,
    "clamp": nonlinearities.clamp,
    "clip": nonlinearities.clamp,
    "clamp_min": nonlinearities.clamp_min,
    "clamp_max": nonlinearities.clamp_max,
    "hardtanh": nonlinearities.hardtanh,
    "relu6": nonlinearities.relu6,
    "hardsigmoid": nonlinearities.hardsigmoid,
    "softshrink": nonlinearities.softshrink,
    "threshold": nonlinearities.threshold,
    "_threshold": nonlinearities.threshold,  # torch.nn.functional's
    "amax": maxima.amax,
    "amin": maxima.amin,
    "maximum": maxima.maximum,
    "minimum": maxima.minimum,
    **{f"max_pool{dims}d": partial(maxima.max_pool, dims) for dims in _DIMENSIONS},
    **{f"adaptive_max_pool{dims}d": partial(maxima.adaptive_max_pool, dims) for dims in _DIMENSIONS},
}


def _max_pool(dims: int, module: Any, input: Tensor) -> Nonlinearity:
    sizes = module.kernel_size, module.stride, module.padding, module.dilation
    return maxima.max_pool(dims, input, *sizes, module.ceil_mode, module.return_indices)


def _adaptive_max_pool(dims: int, module: Any, input: Tensor) -> Nonlinearity:
    return maxima.adaptive_max_pool(dims, input, module.output_size, module.return_indices)


# By the module's class: from the module and its input.
_MODULES: dict[type[nn.Module], Layers] = {
    nn.ReLU: lambda module, input: nonlinearities.relu(input),
    nn.LeakyReLU: lambda module, input: nonlinearities.leaky_relu(input, module.negative_slope),
    nn.RReLU: lambda module, input: nonlinearities.rrelu(input, module.lower, module.upper),
    nn.PReLU: lambda module, input: nonlinearities.prelu(input, module.weight),
    nn.ReLU6: lambda module, input: nonlinearities.relu6(input),
    nn.Hardtanh: lambda module, input: nonlinearities.hardtanh(input, module.min_val, module.max_val),
    nn.Hardsigmoid: lambda module, input: nonlinearities.hardsigmoid(input),
    nn.Softshrink: lambda module, input: nonlinearities.softshrink(input, module.lambd),
    nn.Threshold: lambda module, input: nonlinearities.threshold(input, module.threshold, module.value),
    **{getattr(nn, f"MaxPool{dims}d"): partial(_max_pool, dims) for dims in _DIMENSIONS},
    **{getattr(nn, f"AdaptiveMaxPool{dims}d"): partial(_adaptive_max_pool, dims) for dims in _DIMENSIONS},
}


def is_piecewise(trace: Trace, node: fx.Node) -> bool:
    """Is the call a piecewise linear layer?"""
    if node.op == "call_module":
        return type(trace.submodule(node)) in _MODULES
    return name_of(node) in _FUNCTIONS or name_of(node) in _EXTREMA


def takes_two(node: fx.Node) -> bool:
    """May two arguments of this piecewise linear function depend on the network's input?"""
    return name_of(node) in (*_EXTREMA, *_OF_TWO)


def gives_indices(node: fx.Node) -> bool:
    """Is it torch.max or torch.min over a dimension, which returns values and indices?"""
    return name_of(node) in _EXTREMA and ("dim" in node.kwargs or any(isinstance(a, int) for a in node.args[1:2]))


def layer_of(
    trace: Trace, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], dependent: Collection[fx.Node]
) -> Nonlinearity:
    """The layer that a call makes, from its arguments' values for one sample and the nodes that depend on the input.

    Raises `InvalidNetworkError` or `UnsupportedModuleError`, naming the call, for parameters that cannot be read.
    """
    try:
        if node.op == "call_module":
            module = trace.submodule(node)
            return _MODULES[type(module)](module, *args, **kwargs)
        name = name_of(node)
        if name in _EXTREMA:
            elementwise = "other" in kwargs or any(isinstance(value, Tensor) for value in args[1:2])
            name = f"{name}imum" if elementwise else f"a{name}"
        if name in _OF_TWO:
            return _of_two(name, node, args, kwargs, dependent)
        return _FUNCTIONS[name](*args, **kwargs)
    except (InvalidNetworkError, UnsupportedModuleError) as error:
        raise type(error)(f"{describe(trace, node)} cannot be read: {error}") from error


def _of_two(
    name: str, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], dependent: Collection[fx.Node]
) -> Nonlinearity:
    """The greater or lesser of two tensors; where one of them is a constant, one cut a unit and nothing carried."""
    nodes, values = _both(node.args, node.kwargs), _both(args, kwargs)
    varying = [i for i in range(2) if nodes[i] in dependent]
    if len(varying) == 2:
        return _FUNCTIONS[name](*args, **kwargs)
    bounded = nonlinearities.clamp_min if name == "maximum" else nonlinearities.clamp_max
    layer = bounded(values[varying[0]], values[1 - varying[0]])
    return Nonlinearity(
        name.capitalize(),
        layer.shape,
        lambda *args, **kwargs: layer.operand(_both(args, kwargs)[varying[0]]),
        layer.rounds,
    )


def _both(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    return [*args, *(kwargs[key] for key in ("input", "other") if key in kwargs)]
