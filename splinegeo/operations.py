"""Which calls can be read: by name those that are affine in what depends on the input, and the refusal of others."""

from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn

from splinegeo.errors import UnsupportedModuleError
from splinegeo.piecewise import is_piecewise, takes_two
from splinegeo.torch_calls import describe, is_in_place, name_of
from splinegeo.tracing import Trace

READABLE = (
    "Linear, Conv, ConvTranspose, average, max and adaptive pooling, BatchNorm, padding, Upsample, Flatten and other "
    "reshapings, Dropout, ReLU, LeakyReLU, PReLU, RReLU, ReLU6, Hardtanh, Hardsigmoid, Softshrink, abs, clamp, maxima, "
    "minima, sums, and products with constants"
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PASS_THROUGH_MODULES = frozenset(
    {nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout}
)
_ROW_MAJOR_MODULES = frozenset({nn.Flatten, nn.Unflatten})
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_PROBABILITIES = frozenset({"softmax", "log_softmax", "logsoftmax", "softmax2d"})
_AFFINE_MODULES = frozenset(
    {
        *_PASS_THROUGH_MODULES,
        *_ROW_MAJOR_MODULES,
        *_BATCH_NORMS,
        *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
        *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
        *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
        *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
        *(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d),
        *(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unfold, nn.Fold),
    }
)

CASTS = _names("float double half bfloat16 to type_as cpu cuda")
"""Conversions that are disregarded: a network is read in float64 on the CPU."""
_DROPOUTS = _names("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout")
_PASS_THROUGH = CASTS | _DROPOUTS | _names("contiguous clone data detach requires_grad_")
_ROW_MAJOR = _names("flatten view reshape reshape_as view_as unflatten squeeze unsqueeze ravel")
_OF_FIRST_ARGUMENT = _names(
    "permute transpose swapaxes swapdims movedim moveaxis t T mT expand expand_as broadcast_to repeat "
    "repeat_interleave tile flip fliplr flipud roll rot90 narrow select index_select gather take_along_dim "
    "getitem chunk split tensor_split unbind diagonal tril triu sum mean cumsum diff neg negative positive pos "
    "pad interpolate upsample unfold fold pixel_shuffle pixel_unshuffle channel_shuffle linear conv1d conv2d "
    "conv3d conv_transpose1d conv_transpose2d conv_transpose3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d batch_norm div divide true_divide truediv"
)
_SHAPE_OF_SECOND_ARGUMENT = _names("reshape_as view_as expand_as type_as to")
"""Their second argument gives a shape or a type, whatever its values."""
_SUMS = _names("add sub subtract rsub cat concat concatenate hstack vstack dstack stack")
_PRODUCTS = _names("mul multiply matmul mm bmm mv dot einsum tensordot")
_METADATA = _names(
    "size dim ndimension numel nelement stride is_floating_point get_device is_contiguous zeros_like ones_like "
    "full_like new_zeros new_ones new_full new_tensor shape ndim dtype device layout is_cuda requires_grad"
)
_DIFFERENT_IN_TRAINING = _DROPOUTS | {"batch_norm", "rrelu"}


def is_metadata(node: fx.Node) -> bool:
    """Does the call ask for a shape, a type or a device only, whatever the values?"""
    return name_of(node) in _METADATA


def values_used(node: fx.Node) -> list[fx.Node]:
    """The arguments whose values the call's result depends on: all but those that give a shape or a type only."""
    if is_metadata(node):
        return []
    if name_of(node) not in _SHAPE_OF_SECOND_ARGUMENT or not node.args:
        return node.all_input_nodes
    found: list[fx.Node] = []
    fx.map_arg(node.args[:1], found.append)
    return found


def is_pass_through(trace: Trace, node: fx.Node) -> bool:
    """Does the call return its first argument's values as they are?"""
    if node.op == "call_module":
        return type(trace.submodule(node)) in _PASS_THROUGH_MODULES
    return name_of(node) in _PASS_THROUGH


def is_row_major(trace: Trace, node: fx.Node) -> bool:
    """Does the call only shape its first argument anew, coordinates in the same order?"""
    if node.op == "call_module":
        return type(trace.submodule(node)) in _ROW_MAJOR_MODULES
    return name_of(node) in _ROW_MAJOR


def is_new_tensor(trace: Trace, node: fx.Node) -> bool:
    """Is the call's result certain to lie in memory of its own, apart from that of its arguments?"""
    if is_in_place(trace, node):
        return False
    if node.op == "call_module":
        return not (is_pass_through(trace, node) or is_row_major(trace, node))
    return name_of(node) in _SUMS | _PRODUCTS or is_metadata(node) or is_piecewise(trace, node)


def is_linear(trace: Trace, node: fx.Node) -> bool:
    """Does the call apply a torch.nn.Linear?"""
    return node.op == "call_module" and type(trace.submodule(node)) is nn.Linear


def check_readable(trace: Trace, node: fx.Node, dependent: Collection[fx.Node]) -> None:
    """Raise `UnsupportedModuleError` unless a call is piecewise affine in those of its arguments that are dependent."""
    what = describe(trace, node)
    if node.op == "call_module":
        _check_module(trace, node, what)
        return
    name = name_of(node)
    in_first, in_others = _occurrences(node, dependent)
    if name in _PRODUCTS:
        if in_first + in_others > 1:
            raise UnsupportedModuleError(
                f"{what} multiplies two values that depend on the input: that is not piecewise affine"
            )
    elif name in _OF_FIRST_ARGUMENT | _ROW_MAJOR | _PASS_THROUGH or (is_piecewise(trace, node) and not takes_two(node)):
        if in_others and name not in _SHAPE_OF_SECOND_ARGUMENT:
            raise UnsupportedModuleError(
                f"{what} has an argument other than its first that depends on the input: that is not piecewise affine"
            )
    elif name not in _SUMS and not is_piecewise(trace, node):
        raise _unreadable(what, name)
    _check_options(node, name, what)


def _check_module(trace: Trace, node: fx.Node, what: str) -> None:
    module = trace.submodule(node)
    if type(module) not in _AFFINE_MODULES and not is_piecewise(trace, node):
        raise _unreadable(what, type(module).__name__.lower())
    if isinstance(module, _BATCH_NORMS) and module.running_mean is None:
        raise UnsupportedModuleError(
            f"{what} keeps no running statistics: without them it is not affine in evaluation mode"
        )


def _unreadable(what: str, name: str) -> UnsupportedModuleError:
    if name in _PROBABILITIES:
        return UnsupportedModuleError(
            f"{what} cannot be read as piecewise affine: at the end of a classifier leave it out, the outputs before "
            "it have the same classes"
        )
    return UnsupportedModuleError(f"{what} cannot be read as piecewise affine; readable are {READABLE}")


def _check_options(node: fx.Node, name: str, what: str) -> None:
    types = [value for value in (*node.args, *node.kwargs.values()) if isinstance(value, torch.dtype)]
    if any(not dtype.is_floating_point for dtype in types) or (types and name == "view"):
        raise UnsupportedModuleError(f"{what} converts to {types[0]}: that is not piecewise affine")
    if node.kwargs.get("rounding_mode") is not None:
        raise UnsupportedModuleError(f"{what} rounds its result: that is not piecewise affine")
    if "out" in node.kwargs:
        raise UnsupportedModuleError(f"{what} writes into another tensor (out=): use its result instead")
    training = node.kwargs.get("training")
    if node.target is torch.dropout:
        training = node.args[2] if len(node.args) > 2 else node.kwargs.get("train")
    if name in _DIFFERENT_IN_TRAINING and training:
        raise UnsupportedModuleError(f"{what} is told to act as in training: pass training=self.training")


def _occurrences(node: fx.Node, dependent: Collection[fx.Node]) -> tuple[int, int]:
    """How often dependent values stand in a call's first argument, and in the others."""
    named_first = () if node.args else ("input", "tensors")
    first = [node.args[:1], [node.kwargs.get(key) for key in named_first]]
    others = [node.args[1:], [value for key, value in node.kwargs.items() if key not in named_first]]
    return _count(first, dependent), _count(others, dependent)


def _count(arguments: Any, dependent: Collection[fx.Node]) -> int:
    found: list[fx.Node] = []
    fx.map_arg(arguments, found.append)
    return sum(node in dependent for node in found)
