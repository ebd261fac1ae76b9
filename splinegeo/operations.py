"""Which calls of a traced network can be read, and as what: affine maps, piecewise linear layers, questions about shapes."""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from splinegeo import maxima, nonlinearities
from splinegeo.errors import InvalidNetworkError, UnsupportedModuleError
from splinegeo.nonlinearities import Nonlinearity
from splinegeo.tracing import Trace

READABLE = (
    "Linear, Conv, ConvTranspose, average, max and adaptive pooling, BatchNorm, padding, Upsample, Flatten and other reshapings, "
    "Dropout, ReLU, LeakyReLU, PReLU, RReLU, ReLU6, Hardtanh, Hardsigmoid, abs, clamp, maxima, minima, sums, and products with constants"
)

DIMENSIONS = (1, 2, 3)

PASS_THROUGH_MODULES = frozenset(
    {nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout}
)
CASTS = frozenset({"float", "double", "half", "bfloat16", "to", "type_as", "cpu", "cuda"})
PASS_THROUGH = CASTS | {
    "contiguous",
    "clone",
    "data",
    "detach",
    "requires_grad_",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_alpha_dropout",
}

ROW_MAJOR_MODULES = frozenset({nn.Flatten, nn.Unflatten})
ROW_MAJOR = frozenset({"flatten", "view", "reshape", "reshape_as", "view_as", "unflatten", "squeeze", "unsqueeze", "ravel"})
"""They rename coordinates but keep their order."""

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_AFFINE_MODULES = frozenset(
    {
        *(getattr(nn, f"{name}{dims}d") for dims in DIMENSIONS for name in ("Conv", "ConvTranspose", "AvgPool", "AdaptiveAvgPool")),
        *(getattr(nn, f"{name}{dims}d") for dims in DIMENSIONS for name in ("BatchNorm", "ConstantPad", "ZeroPad")),
        *(getattr(nn, f"{name}{dims}d") for dims in DIMENSIONS for name in ("ReflectionPad", "ReplicationPad", "CircularPad")),
        *(nn.Linear, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d),
        *(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unfold, nn.Fold),
        *ROW_MAJOR_MODULES,
        *PASS_THROUGH_MODULES,
    }
)

# Linear in the first argument; the second of the "_as" methods gives a shape only.
_OF_FIRST = ROW_MAJOR | PASS_THROUGH | frozenset(
    "permute transpose swapaxes swapdims movedim moveaxis t expand expand_as broadcast_to repeat repeat_interleave tile flip "
    "fliplr flipud roll rot90 narrow select index_select gather take_along_dim getitem chunk split tensor_split unbind diagonal "
    "tril triu sum mean neg negative positive pos cumsum diff pad interpolate upsample unfold fold pixel_shuffle pixel_unshuffle "
    "channel_shuffle batch_norm div divide true_divide truediv linear T mT".split()
) | {f"{name}{dims}d" for dims in DIMENSIONS for name in ("conv", "conv_transpose", "avg_pool", "adaptive_avg_pool")}  # fmt: skip
_SHAPE_OF_SECOND = frozenset({"reshape_as", "view_as", "expand_as", "type_as", "to"})
_SUMS = frozenset("add sub subtract rsub cat concat concatenate hstack vstack dstack stack".split())
_PRODUCTS = frozenset("mul multiply matmul mm bmm mv dot einsum tensordot".split())
_EXTREMA = frozenset({"max", "min"})

# Answers that the shape of a tensor gives, whatever its values.
_METADATA = frozenset(
    "size dim ndimension numel nelement stride is_floating_point get_device is_contiguous zeros_like ones_like full_like "
    "new_zeros new_ones new_full new_tensor shape ndim dtype device layout is_cuda requires_grad".split()
)

_PIECEWISE_FUNCTIONS: dict[str, Callable[..., Nonlinearity]] = {
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
    "amax": maxima.amax,
    "amin": maxima.amin,
    "maximum": maxima.maximum,
    "minimum": maxima.minimum,
    **{f"max_pool{dims}d": partial(maxima.max_pool, dims) for dims in DIMENSIONS},
    **{f"adaptive_max_pool{dims}d": partial(maxima.adaptive_max_pool, dims) for dims in DIMENSIONS},
}


def _read_max_pool(dims: int, m: Any, input: Tensor) -> Nonlinearity:
    return maxima.max_pool(dims, input, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices)


def _read_adaptive_max_pool(dims: int, m: Any, input: Tensor) -> Nonlinearity:
    return maxima.adaptive_max_pool(dims, input, m.output_size, m.return_indices)


_PIECEWISE_MODULES: dict[type[nn.Module], Callable[[Any, Tensor], Nonlinearity]] = {
    nn.ReLU: lambda m, input: nonlinearities.relu(input),
    nn.LeakyReLU: lambda m, input: nonlinearities.leaky_relu(input, m.negative_slope),
    nn.RReLU: lambda m, input: nonlinearities.rrelu(input, m.lower, m.upper),
    nn.PReLU: lambda m, input: nonlinearities.prelu(input, m.weight),
    nn.ReLU6: lambda m, input: nonlinearities.relu6(input),
    nn.Hardtanh: lambda m, input: nonlinearities.hardtanh(input, m.min_val, m.max_val),
    nn.Hardsigmoid: lambda m, input: nonlinearities.hardsigmoid(input),
    **{getattr(nn, f"MaxPool{dims}d"): partial(_read_max_pool, dims) for dims in DIMENSIONS},
    **{getattr(nn, f"AdaptiveMaxPool{dims}d"): partial(_read_adaptive_max_pool, dims) for dims in DIMENSIONS},
}


def name_of(node: fx.Node) -> str:
    """torch's name for what a node calls or the attribute it reads, an in-place variant under the name of the other; "" if not torch's."""
    if node.op == "call_method":
        return _out_of_place(str(node.target))
    if node.op != "call_function" or not callable(node.target):
        return ""
    if node.target is getattr:
        return str(node.args[1])
    name = node.target.__name__
    known = any(getattr(space, name, None) is node.target for space in (torch, F, operator))
    return _out_of_place(name) if known else ""


def _out_of_place(name: str) -> str:
    return name.rstrip("_") if not name.startswith("_") and name != "requires_grad_" else name


def is_in_place(trace: Trace, node: fx.Node) -> bool:
    """Does the call write its result over its first argument?"""
    if node.op == "call_module":
        module = trace.submodule(node)
        return bool(getattr(module, "inplace", False)) and type(module) not in PASS_THROUGH_MODULES
    if node.op not in ("call_function", "call_method") or name_of(node) in PASS_THROUGH:
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.startswith("_"))


def is_metadata(node: fx.Node) -> bool:
    """Does the call ask for a shape, a type or a device only?"""
    return name_of(node) in _METADATA


def is_pass_through(trace: Trace, node: fx.Node) -> bool:
    """Does the call return its first argument's values as they are?"""
    if node.op == "call_module":
        return type(trace.submodule(node)) in PASS_THROUGH_MODULES
    return name_of(node) in PASS_THROUGH


def is_row_major(trace: Trace, node: fx.Node) -> bool:
    """Does the call only rename coordinates, in the same order?"""
    if node.op == "call_module":
        return type(trace.submodule(node)) in ROW_MAJOR_MODULES
    return name_of(node) in ROW_MAJOR


def is_dimensional_extremum(node: fx.Node) -> bool:
    """Is it torch.max or torch.min over a dimension, which returns values and indices?"""
    return name_of(node) in _EXTREMA and ("dim" in node.kwargs or any(isinstance(a, int) for a in node.args[1:2]))


def describe(trace: Trace, node: fx.Node) -> str:
    """What is called and where, for messages."""
    path = trace.path(node)
    if node.op == "call_module":
        return f"layer '{path}' ({type(trace.submodule(node)).__name__})"
    name = name_of(node) or getattr(node.target, "__name__", None) or str(node.target)
    return f"the function '{name}' called in layer '{path}'"


def is_piecewise(trace: Trace, node: fx.Node) -> bool:
    """Is the call a piecewise linear layer?"""
    if node.op == "call_module":
        return type(trace.submodule(node)) in _PIECEWISE_MODULES
    return name_of(node) in _PIECEWISE_FUNCTIONS or name_of(node) in _EXTREMA


def check_readable(trace: Trace, node: fx.Node, dependent: set[fx.Node]) -> None:
    """Raise `UnsupportedModuleError` unless a call on values that depend on the input is piecewise affine in them."""
    if node.op == "call_module":
        _check_module(trace.submodule(node), describe(trace, node))
        return
    name, what = name_of(node), describe(trace, node)
    first, others = _occurrences(node, dependent)
    if name in _SUMS or name in _EXTREMA or name in ("maximum", "minimum"):
        pass
    elif name in _PRODUCTS:
        if first + others > 1:
            raise UnsupportedModuleError(f"{what} multiplies two values that depend on the input, which is not piecewise affine")
    elif name in _OF_FIRST or name in _PIECEWISE_FUNCTIONS:
        if others and name not in _SHAPE_OF_SECOND:
            raise UnsupportedModuleError(f"{what} is not piecewise affine: an argument other than its first depends on the input")
    else:
        raise UnsupportedModuleError(f"{what} cannot be read as piecewise affine; readable are {READABLE}")
    types = [argument for argument in (*node.args, *node.kwargs.values()) if isinstance(argument, torch.dtype)]
    if any(not dtype.is_floating_point for dtype in types) or (types and name == "view"):
        raise UnsupportedModuleError(f"{what} converts to {types[0]}, which is not piecewise affine")
    if node.kwargs.get("rounding_mode") is not None or "out" in node.kwargs:
        raise UnsupportedModuleError(f"{what} rounds its result or writes it into another tensor: write it without")
    if _flag(node, name):
        raise UnsupportedModuleError(f"{what} is in training mode (training=True): pass training=self.training")


def _check_module(module: nn.Module, what: str) -> None:
    if type(module) not in _AFFINE_MODULES and type(module) not in _PIECEWISE_MODULES:
        raise UnsupportedModuleError(f"{what} cannot be read as piecewise affine; readable are {READABLE}")
    if isinstance(module, _BATCH_NORMS) and module.running_mean is None:
        raise UnsupportedModuleError(f"{what} keeps no running statistics, so that it is not affine in evaluation mode")


def _flag(node: fx.Node, name: str) -> bool:
    """Is a function that behaves differently in training called as in training?"""
    if name == "dropout" and node.target is torch.dropout:
        return bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("train"))
    return name in ("batch_norm", "rrelu", *PASS_THROUGH) and bool(node.kwargs.get("training"))


def _occurrences(node: fx.Node, dependent: set[fx.Node]) -> tuple[int, int]:
    """How often values that depend on the input stand in a call's first argument, and in the others."""
    named_first = () if node.args else ("input", "tensors")
    first = (node.args[:1], [node.kwargs.get(key) for key in named_first])
    others = (node.args[1:], [value for key, value in node.kwargs.items() if key not in named_first])
    counts = []
    for arguments in (first, others):
        found: list[bool] = []
        fx.map_arg(arguments, lambda argument, found=found: found.append(argument in dependent))
        counts.append(sum(found))
    return counts[0], counts[1]


def carry_out(trace: Trace, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The value of a call that is not piecewise linear, never in place."""
    if node.op == "get_attr":
        return trace.constant(node)
    if node.op == "call_module":
        return trace.submodule(node)(*args, **kwargs)
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    if node.op == "call_method":
        return getattr(args[0], _out_of_place(str(node.target)))(*args[1:], **kwargs)
    name = getattr(node.target, "__name__", "")
    if name.endswith("_") and hasattr(torch, _out_of_place(name)):
        return getattr(torch, _out_of_place(name))(*args, **kwargs)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def layer_of(trace: Trace, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], dependent: set[fx.Node]) -> Nonlinearity:
    """The piecewise linear layer that a call makes, from the values of its arguments for a batch of one sample."""
    if node.op == "call_module":
        module = trace.submodule(node)
        return _build(trace, node, partial(_PIECEWISE_MODULES[type(module)], module), args, kwargs)
    name = name_of(node)
    if name in _EXTREMA:
        takes_two = "other" in kwargs or (len(args) > 1 and isinstance(args[1], Tensor))
        name = name + "imum" if takes_two else "a" + name
    if name in ("maximum", "minimum"):
        operands = [*node.args, *(node.kwargs[key] for key in ("input", "other") if key in node.kwargs)]
        values = [*args, *(kwargs[key] for key in ("input", "other") if key in kwargs)]
        fixed = [i for i, operand in enumerate(operands) if operand not in dependent]
        if len(fixed) == 1:
            return _with_constant(trace, node, name, values, fixed[0])
    return _build(trace, node, _PIECEWISE_FUNCTIONS[name], args, kwargs)


def _with_constant(trace: Trace, node: fx.Node, name: str, values: list[Any], fixed: int) -> Nonlinearity:
    """The maximum or minimum with a constant: one cut a unit and nothing carried."""
    bounded = nonlinearities.clamp_min if name == "maximum" else nonlinearities.clamp_max
    layer = _build(trace, node, bounded, (values[1 - fixed], values[fixed]), {})

    def operand(*args: Any, **kwargs: Any) -> Tensor:
        both = [*args, *(kwargs[key] for key in ("input", "other") if key in kwargs)]
        return layer.operand(both[1 - fixed])

    return Nonlinearity(name.capitalize(), layer.shape, operand, layer.rounds)


def _build(
    trace: Trace, node: fx.Node, build: Callable[..., Nonlinearity], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Nonlinearity:
    try:
        return build(*args, **kwargs)
    except (InvalidNetworkError, UnsupportedModuleError) as error:
        raise type(error)(f"{describe(trace, node)} cannot be read: {error}") from error
