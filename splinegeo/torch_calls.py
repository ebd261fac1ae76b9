"""What a node of a torch.fx graph calls: its name, whether it writes over its argument, and its value."""

import operator
from typing import Any

import torch
import torch.nn.functional
from torch import fx

from splinegeo.tracing import Trace

_SPACES = (torch, torch.nn.functional, operator)
# Calls of contiguous() are passed through, so that a view may meet a memory layout other than in the user's forward.
_ANY_LAYOUT = {"view": "reshape", "view_as": "reshape_as"}
# y += z and the like write over a tensor, and make another number.
_AUGMENTED: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
_NUMBERS = frozenset({"size", "dim", "ndimension", "numel", "nelement", "stride", "get_device", "shape", "ndim"})


def name_of(node: fx.Node) -> str:
    """torch's name for the function, method or attribute, an in-place variant under the other's; "" if not torch's."""
    if node.op == "call_method":
        return out_of_place(str(node.target))
    if node.op != "call_function" or not callable(node.target):
        return ""
    if node.target is getattr:
        return str(node.args[1])
    target = _AUGMENTED.get(node.target, node.target)
    name = getattr(target, "__name__", "")
    known = any(getattr(space, name, None) is target for space in _SPACES)
    return out_of_place(name) if known else ""


def out_of_place(name: str) -> str:
    """The name of a torch function or method without the underscore of its in-place variant."""
    return name if name.startswith("_") or name == "requires_grad_" else name.rstrip("_")


def describe(trace: Trace, node: fx.Node) -> str:
    """What is called and where, for messages."""
    path = trace.path(node)
    if node.op == "call_module":
        kind = type(trace.submodule(node))
        # torch's quantised layers have the names of those that they stand for.
        quantised = kind.__module__.startswith("torch.ao.")
        return f"layer '{path}' ({'quantised ' if quantised else ''}{kind.__name__})"
    name = name_of(node) or getattr(node.target, "__name__", None) or str(node.target)
    return f"the function '{name.lstrip('_')}' called in layer '{path}'"


def is_in_place(trace: Trace, node: fx.Node) -> bool:
    """Does the call write its result over its first argument?"""
    if node.op == "call_module":
        return bool(getattr(trace.submodule(node), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    if node.target in _AUGMENTED:
        return not _is_number(node.all_input_nodes[0])
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return bool(node.kwargs.get("inplace")) or out_of_place(name) != name


def _is_number(node: fx.Node) -> bool:
    """Does the call give a number or a shape, or reckon with them?"""
    if name_of(node) in _NUMBERS:
        return True
    reckons = getattr(node.target, "__module__", "") == "_operator"
    return reckons and all(_is_number(argument) for argument in node.all_input_nodes)


def carry_out(trace: Trace, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The value of a call or constant, from those of its arguments; never in place."""
    if node.op == "get_attr":
        return trace.constant(node)
    if node.op == "call_module":
        return trace.submodule(node)(*args, **kwargs)
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    if node.op == "call_method":
        name = out_of_place(str(node.target))
        return getattr(args[0], _ANY_LAYOUT.get(name, name))(*args[1:], **kwargs)
    target = _AUGMENTED.get(node.target, node.target)
    name = getattr(target, "__name__", "")
    function = target if out_of_place(name) == name else getattr(torch, out_of_place(name), target)
    return function(*args, **kwargs)
