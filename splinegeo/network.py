"""A torch module read as a continuous piecewise affine network, exactly."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from splinegeo._torch_threads import one_torch_thread
from splinegeo.affine import Affine, AffineMap, TorchAffine
from splinegeo.errors import InvalidNetworkError, UnsupportedModuleError
from splinegeo.operations import CASTS, is_linear, is_row_major
from splinegeo.overwriting import Overwriting
from splinegeo.piecewise import is_piecewise
from splinegeo.program import Calls, calls_of, program_for
from splinegeo.reading import read_stages
from splinegeo.stages import Layer, Network, Stage
from splinegeo.tracing import float64_copy, trace

__all__ = ["Affine", "AffineMap", "Layer", "Network", "Stage", "TorchAffine", "read_network"]

_CHECK_SEED = 1
_CHECK_SAMPLES = 2
# Rounding of a deep float64 network stays far below this share of its largest value; a misread call does not.
_CHECK_TOLERANCE = 1e-9


def read_network(model: nn.Module | Network, input_shape: Sequence[int] | None = None) -> Network:
    """Read a torch module as a continuous piecewise affine network, exactly, in float64 on the CPU.

    What is read is the module's forward as torch.fx traces it for one sample, in evaluation mode; conversions to other
    floating types and devices are disregarded. The module itself is left as it is. The result is compared with the
    module's own forward at two random inputs.

    Args:
        model: maps (n, *input_shape) to (n, ...), each sample independently of the others.
        input_shape: shape of one input; may be left out where a Linear layer, or one after a Flatten, reads it first.

    Raises `UnsupportedModuleError` for a layer or function that is not piecewise affine or not readable, naming its
    path, `InvalidNetworkError` for NaN or infinite weights, sizes that do not fit each other or an unknown input shape,
    and `ShapeError` for an input shape that does not fit the network.
    """
    if isinstance(model, Network):
        return model
    if not isinstance(model, nn.Module):
        raise UnsupportedModuleError(f"the network must be a torch.nn.Module, but is a {type(model).__name__}")
    with torch.inference_mode(False), torch.no_grad(), one_torch_thread():
        duplicate = float64_copy(model)
        traced = trace(duplicate)
        overwriting = Overwriting.of(traced)
        calls = calls_of(traced)
        program = program_for(calls, _shape_of_input(calls, input_shape))
        with KeepFloat64():
            overwriting.check(program.input_shape)
        network = read_stages(program)
        _refuse_empty(network)
        _compare_forward(network, duplicate)
    return replace(network, module=duplicate)


def _shape_of_input(calls: Calls, given: Sequence[int] | None) -> tuple[int, ...]:
    """The shape given, or that which the first Linear layer asks for; flattened where that layer takes it so only."""
    readers = [node for node in calls.dependent if calls.input in node.all_input_nodes]
    direct = {calls.trace.submodule(node).in_features for node in readers if is_linear(calls.trace, node)}
    if given is not None:
        shape = tuple(int(n) for n in given)
        flat = len(readers) == 1 and direct == {prod(shape)} and shape[-1:] != (prod(shape),)
        return (prod(shape),) if flat else shape
    while len(readers) == 1 and is_row_major(calls.trace, readers[0]):
        readers = [node for node in calls.dependent if readers[0] in node.all_input_nodes]
    if not calls.dependent:
        raise InvalidNetworkError("the network holds no linear layer")
    for node in readers:
        if is_linear(calls.trace, node):
            layer: Any = calls.trace.submodule(node)
            return (layer.in_features,)
    if any(is_piecewise(calls.trace, node) for node in readers):
        name = calls.trace.path(readers[0])
        raise InvalidNetworkError(
            f"layer '{name}' comes before any linear layer: its input size is unknown; give input_shape"
        )
    raise InvalidNetworkError("the shape of the network's input is unknown: give input_shape, for instance (3, 32, 32)")


def _refuse_empty(network: Network) -> None:
    for layer in network.layers:
        if not layer.n_units:
            raise InvalidNetworkError(f"layer '{layer.path}' ({layer.kind}) has no units: leave it out")
    if not network.n_outputs:
        raise InvalidNetworkError("the network has no outputs: it must map (n, ...) to (n, C) with C at least 1")


def _compare_forward(network: Network, model: nn.Module) -> None:
    """Raise `InvalidNetworkError` where the network and the module differ: a trace does not show all of a forward."""
    x = np.random.default_rng(_CHECK_SEED).standard_normal((_CHECK_SAMPLES, network.n_inputs))
    try:
        with KeepFloat64():
            expected = model(torch.from_numpy(x.copy()).reshape(_CHECK_SAMPLES, *network.input_shape))
    except Exception as error:  # whatever the module's own code raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidNetworkError(
            f"the network's forward fails on a batch of {_CHECK_SAMPLES} inputs: {reason}"
        ) from error
    with np.errstate(all="ignore"):
        found, scale = _outputs_and_scale(network, x)
    if tuple(expected.shape[:1]) != (_CHECK_SAMPLES,) or expected.numel() != found.size:
        raise InvalidNetworkError(
            f"the network maps a batch of {_CHECK_SAMPLES} inputs to {tuple(expected.shape)}: "
            "its output must be (n, ...), each sample by itself"
        )
    reference = expected.numpy().reshape(found.shape)
    if not (np.isfinite(found).all() and np.isfinite(reference).all()):
        raise InvalidNetworkError("the network's outputs are not finite: its weights overflow")
    if float(np.abs(found - reference).max(initial=0.0)) > _CHECK_TOLERANCE * scale:
        raise InvalidNetworkError(
            "the network's forward is not what its trace shows: it writes over a tensor that is used elsewhere, mixes "
            "the samples of a batch, or is random; write it without"
        )


def _outputs_and_scale(network: Network, x: np.ndarray) -> tuple[np.ndarray, float]:
    """The network's outputs, and the largest number among them and all coordinates between its stages."""
    h, scale = x, 0.0
    for stage in network.stages:
        h = stage.activate(stage.affine(h))
        scale = max(scale, float(np.abs(h).max(initial=0.0)))
    outputs = network.output(h)
    return outputs, max(scale, float(np.abs(outputs).max(initial=0.0)))


class KeepFloat64(TorchFunctionMode):
    """Keeps numbers in float64 on the CPU, whatever types and devices the module makes or converts them to."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in CASTS and func is getattr(torch.Tensor, func.__name__, None):
            return args[0]
        return func(*tree_map(_in_float64, args), **tree_map(_in_float64, kwargs or {}))


def _in_float64(value: Any) -> Any:
    """Tensors that a forward makes or holds in other floating types are read so."""
    narrow = isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64
    return value.double() if narrow else value
