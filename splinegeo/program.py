"""A trace in functional form: the calls that depend on the input, in order, and what they give for one sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from splinegeo.errors import InvalidNetworkError, ShapeError, SplineGeoError, UnsupportedModuleError
from splinegeo.nonlinearities import Nonlinearity
from splinegeo.operations import check_readable, is_linear, is_pass_through, is_row_major, values_used
from splinegeo.piecewise import gives_indices, is_piecewise, layer_of
from splinegeo.torch_calls import carry_out, describe, is_in_place, name_of
from splinegeo.tracing import Trace

_EXAMPLE_SEED = 0


@dataclass(frozen=True, eq=False, repr=False)
class Calls:
    """The calls of a forward that its result needs, without in-place effects and without those that change nothing."""

    trace: Trace
    input: fx.Node
    result: fx.Node
    dependent: tuple[fx.Node, ...]
    """Their values depend on the input's values. In order."""
    fixed: tuple[fx.Node, ...]
    """The others: weights, constants, shapes. In order."""


def calls_of(trace: Trace) -> Calls:
    """Bring a trace into functional form.

    Raises `UnsupportedModuleError` for a call that is not piecewise affine, `InvalidNetworkError` for weights that are
    not finite and for a network whose output does not depend on its input.
    """
    source = next(node for node in trace.graph.nodes if node.op == "placeholder")
    output = next(node for node in trace.graph.nodes if node.op == "output")
    if not isinstance(output.args[0], fx.Node):
        kind = type(output.args[0]).__name__.removeprefix("immutable_")
        raise UnsupportedModuleError(f"the network returns a {kind}: wrap it to return one tensor, (n, C)")
    _undo_in_place(trace)
    _take_values_of_extrema(trace)
    needed = _needed_by(output)
    dependent = {source}
    for node in needed:
        if any(argument in dependent for argument in values_used(node)):
            dependent.add(node)
            if node is not output:
                check_readable(trace, node, dependent)
    if output not in dependent:
        raise InvalidNetworkError("the network's output does not depend on its input")
    for node in needed:
        if node in dependent and is_pass_through(trace, node):
            node.replace_all_uses_with(node.all_input_nodes[0])
    needed = [node for node in _needed_by(output) if node is not output]
    calls = Calls(
        trace,
        source,
        output.args[0],
        tuple(node for node in needed if node in dependent and node is not source),
        tuple(node for node in needed if node not in dependent),
    )
    _check_finite(calls)
    return calls


def _undo_in_place(trace: Trace) -> None:
    """Whoever uses a tensor after a call has written over it uses that call's result instead."""
    position = {node: i for i, node in enumerate(trace.graph.nodes)}
    for node in position:
        if is_in_place(trace, node):
            node.all_input_nodes[0].replace_all_uses_with(
                node, delete_user_cb=lambda user, here=position[node]: position[user] > here
            )


def _take_values_of_extrema(trace: Trace) -> None:
    """torch.max over a dimension gives values and indices: let it stand for its values."""
    for node in list(trace.graph.nodes):
        if gives_indices(node):
            for user in list(node.users):
                if name_of(user) == "values" or (name_of(user) == "getitem" and user.args[1] == 0):
                    user.replace_all_uses_with(node)
                elif user.users or user.op == "output":
                    raise UnsupportedModuleError(
                        f"{describe(trace, node)} is used for its indices, which are not piecewise affine: "
                        "use its values alone"
                    )


def _needed_by(output: fx.Node) -> list[fx.Node]:
    needed = {output}
    for node in reversed(output.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return [node for node in output.graph.nodes if node in needed]


def _check_finite(calls: Calls) -> None:
    for node in (*calls.dependent, *calls.fixed):
        if node.op == "call_module":
            module = calls.trace.submodule(node)
            held = [*module.parameters(), *module.buffers()]
        elif node.op == "get_attr":
            held = [calls.trace.constant(node)]
        else:
            continue
        if any(isinstance(t, Tensor) and not _is_finite(t) for t in held):
            raise InvalidNetworkError(f"layer '{calls.trace.path(node)}' has NaN or infinite weights")


def _is_finite(tensor: Tensor) -> bool:
    # The sum is many times cheaper, and never finite where an entry is not; but finite entries can overflow it.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """Calls with what they are for inputs of one shape: constants, piecewise linear layers, values at an example."""

    calls: Calls
    input_shape: tuple[int, ...]
    constants: Mapping[fx.Node, Any]
    layers: Mapping[fx.Node, Nonlinearity]
    example: Mapping[fx.Node, Any]
    """Shapes of the input's and of dependent calls' values for a batch of one sample, as tensors without numbers."""

    def arguments(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A call's arguments, from the values of the dependent calls before it."""
        return _arguments(node, values, self.constants)

    def evaluate(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        """A dependent call's value, from those before it."""
        args, kwargs = self.arguments(node, values)
        if node in self.layers:
            return self.layers[node](*args, **kwargs)
        return carry_out(self.calls.trace, node, args, kwargs)


def program_for(calls: Calls, input_shape: Sequence[int]) -> Program:
    """Evaluate the calls for an input of this shape.

    Raises `ShapeError` or `InvalidNetworkError` where sizes do not fit, and for parameters that cannot be read.
    """
    generator = torch.Generator().manual_seed(_EXAMPLE_SEED)
    sample = torch.randn((1, *input_shape), dtype=torch.float64, generator=generator, device="cpu")
    example: dict[fx.Node, Any] = {calls.input: sample}
    constants: dict[fx.Node, Any] = {}
    layers: dict[fx.Node, Nonlinearity] = {}
    dependent = {calls.input, *calls.dependent}
    wanted = dependent.union(calls.fixed) - {calls.input}
    for node in (node for node in calls.trace.graph.nodes if node in wanted):
        try:
            args, kwargs = _arguments(node, example, constants)
            _check_width(calls, node, (*args, *kwargs.values()), input_shape)
            if node not in dependent:
                constants[node] = _in_float64(carry_out(calls.trace, node, args, kwargs))
            elif is_piecewise(calls.trace, node):
                layers[node] = layer_of(calls.trace, node, args, kwargs, dependent)
                example[node] = layers[node](*args, **kwargs)
            else:
                example[node] = carry_out(calls.trace, node, args, kwargs)
        except SplineGeoError:
            raise
        except Exception as error:  # torch raises errors of many types where sizes do not fit
            raise _misfit(calls, node, input_shape, error) from error
    result = example[calls.result]
    if not isinstance(result, Tensor):
        raise UnsupportedModuleError(
            f"the network returns a {type(result).__name__}: wrap it to return one tensor, (n, C)"
        )
    if result.ndim < 1 or result.shape[0] != 1:
        raise InvalidNetworkError(
            f"the network maps (1, {_sizes(input_shape)}) to {tuple(result.shape)}, not to one row for each sample"
        )
    shapes = {node: tree_map(_without_numbers, value) for node, value in example.items()}
    return Program(calls, tuple(input_shape), constants, layers, shapes)


def _without_numbers(value: Any) -> Any:
    return torch.empty_like(value, device="meta") if isinstance(value, Tensor) else value


def _arguments(
    node: fx.Node, values: Mapping[fx.Node, Any], constants: Mapping[fx.Node, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def lookup(argument: fx.Node) -> Any:
        return values[argument] if argument in values else constants[argument]

    return fx.map_arg(node.args, lookup), fx.map_arg(node.kwargs, lookup)


def _in_float64(value: Any) -> Any:
    return value.to(torch.float64) if isinstance(value, Tensor) and value.is_floating_point() else value


def _check_width(calls: Calls, node: fx.Node, args: tuple[Any, ...], input_shape: Sequence[int]) -> None:
    if not is_linear(calls.trace, node) or not (args and isinstance(args[0], Tensor)):
        return
    layer, width = calls.trace.submodule(node), args[0].shape[-1]
    if width == layer.in_features:
        return
    before = node.all_input_nodes[0]
    while is_row_major(calls.trace, before):
        before = before.all_input_nodes[0]
    if before is calls.input:
        raise ShapeError(
            f"the network takes {layer.in_features} inputs, "
            f"but an input of shape ({_sizes(input_shape)}) holds {prod(input_shape)}"
        )
    raise InvalidNetworkError(
        f"layer '{calls.trace.path(node)}' takes {layer.in_features} inputs, but the layer before it gives {width}"
    )


def _misfit(calls: Calls, node: fx.Node, input_shape: Sequence[int], error: Exception) -> SplineGeoError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    what = describe(calls.trace, node)
    if all(argument is calls.input for argument in node.all_input_nodes if argument not in calls.fixed):
        return ShapeError(f"the network does not take inputs of shape ({_sizes(input_shape)}): {what} says: {reason}")
    return InvalidNetworkError(
        f"{what} does not fit the layers before it, for inputs of shape ({_sizes(input_shape)}): {reason}"
    )


def _sizes(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
