"""A torch module, copied in float64 and evaluation mode, and the graph of what its forward calls (torch.fx)."""

import copy
import inspect
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from splinegeo.errors import InvalidNetworkError, UnsupportedModuleError

THE_NETWORK = "(the network itself)"
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_REPARAMETRIZATIONS = (WeightNorm, SpectralNorm, prune.BasePruningMethod)


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """A module's forward as a graph of calls. Paths are those in `root`, which holds the module as its only child."""

    root: nn.Module
    graph: fx.Graph

    def submodule(self, node: fx.Node) -> nn.Module:
        """The module that a call_module node calls."""
        return self._modules[str(node.target)]

    def constant(self, node: fx.Node) -> Any:
        """What a get_attr node reads."""
        owner, _, name = str(node.target).rpartition(".")
        return getattr(self.root.get_submodule(owner), name)

    def path(self, node: fx.Node) -> str:
        """Path in the user's module of the module that a node calls, or of the one whose forward makes the call."""
        if node.op in ("call_module", "get_attr"):
            return _without_root(str(node.target))
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return _without_root(stack[-1][0]) if stack else THE_NETWORK

    @cached_property
    def _modules(self) -> dict[str, nn.Module]:
        """Of all paths: a reader asks for each module many times."""
        return dict(self.root.named_modules(remove_duplicate=False))


def trace(model: nn.Module) -> Trace:
    """Trace the forward of a module made by `float64_copy`. Raises `UnsupportedModuleError` if that cannot be done."""
    required = _required_inputs(model)
    if len(required) > 1 and not type(model).__module__.startswith("torch.nn."):  # these are refused by their names
        raise UnsupportedModuleError(
            f"the network's forward takes {len(required)} inputs ({', '.join(required)}): wrap it to take one tensor"
        )
    root = _Root(model)
    if _is_chain(model):
        return Trace(root, _graph_of_chain(model))
    tracer = _Tracer()
    try:
        graph = tracer.trace(root)
    except Exception as error:  # a forward may raise anything when it is given symbols in place of numbers
        path = _without_root(tracer.failed) if tracer.failed else THE_NETWORK
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedModuleError(
            f"the forward of layer '{path}' cannot be traced into a fixed graph of torch calls ({reason}): "
            "write it without control flow or item assignment that depends on the input's values"
        ) from error
    return Trace(root, graph)


def _required_inputs(model: nn.Module) -> list[str]:
    """Names of the parameters of a module's forward that have no default."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    return [p.name for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]


class _Root(nn.Module):
    """Holds the model: its forward then has its own default arguments, and a bare layer is traced like any other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


class _Proxy(fx.Proxy):
    """A value of a trace that shows what is added to a tensor itself (y += z): torch.fx's own shows y = y + z, whoever
    else holds y.
    """

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._written(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._written(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._written(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._written(operator.itruediv, other)

    def _written(self, target: Callable[[Any, Any], Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", target, (self, other), {})


class _Tracer(fx.Tracer):
    """torch.fx's tracer, which remembers the innermost module whose forward failed."""

    failed: str | None = None

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed is None:
                self.failed = self.path_of_module(m)
            raise


def _is_chain(module: nn.Module) -> bool:
    """Whether it is a Sequential, maybe of others, of torch's own layers: what its forward calls is then known."""
    if type(module) is nn.Sequential:
        return all(_is_chain(child) for child in module)
    return type(module).__module__.startswith("torch.nn.modules.") and not isinstance(module, _CONTAINERS)


def _graph_of_chain(model: nn.Module) -> fx.Graph:
    """What torch.fx would trace, in a tenth of the time: for a small network most of it goes into reading."""
    graph = fx.Graph()

    def call(path: str, module: nn.Module, x: fx.Node) -> fx.Node:
        if type(module) is not nn.Sequential:
            return graph.call_module(path, (x,))
        for name, child in module._modules.items():
            assert child is not None
            x = call(f"{path}.{name}", child, x)
        return x

    graph.output(call("model", model, graph.placeholder("x")))
    return graph


def _without_root(path: str) -> str:
    return path.removeprefix("model").removeprefix(".") or THE_NETWORK


def float64_copy(model: nn.Module) -> nn.Module:
    """A copy on the CPU in float64 and evaluation mode, without gradients; the model itself is left alone.

    Weight and spectral norms, pruning and other parametrizations are replaced by the weights that they give now. Raises
    `UnsupportedModuleError` for forward hooks, which may change what a module computes, and `InvalidNetworkError` for
    parameters that are not initialised, without values or not real.
    """
    model = _unwrapped(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedModuleError(
            "the network is a TorchScript module, which cannot be traced: give the module it was made from"
        )
    memo: dict[int, Any] = {}
    wrappers = []
    for path, module in model.named_modules():
        if _unwrapped(module) is not module:
            wrappers.append(module)
        _refuse_hooks(module, path or THE_NETWORK)
        for tensor in _tensors(module):
            if isinstance(tensor, UninitializedParameter):
                raise InvalidNetworkError(f"layer '{path}' is lazy and has no weights yet: run the network once")
            if tensor.is_meta:
                raise InvalidNetworkError(
                    f"layer '{path or THE_NETWORK}' is on the meta device and has no weights: load them first"
                )
            if tensor.is_complex():
                raise InvalidNetworkError(
                    f"layer '{path or THE_NETWORK}' has complex weights: only real ones can be read"
                )
            memo.setdefault(id(tensor), _in_float64(tensor))
    try:
        for wrapper in reversed(wrappers):  # from within: the copy holds what is wrapped in the wrappers' place
            memo[id(wrapper)] = copy.deepcopy(_unwrapped(wrapper), memo)
        duplicate = copy.deepcopy(model, memo)
    except Exception as error:  # a module may hold anything: files, locks, generators
        raise InvalidNetworkError(f"the network cannot be copied: {error}") from error
    for module in duplicate.modules():
        module.training = False
    for module in list(duplicate.modules()):
        _resolve(module)
    return duplicate.requires_grad_(False)


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module within those that spread it over devices, or compile it."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif "_orig_mod" in module._modules:  # torch.compile keeps the module there
            module = module.get_submodule("_orig_mod")
        else:
            return module


def _in_float64(tensor: Tensor) -> Tensor:
    dtype = torch.float64 if tensor.is_floating_point() else tensor.dtype
    duplicate = tensor.detach().cpu().to(dtype, copy=True)  # in this order: not every device has float64
    return nn.Parameter(duplicate, requires_grad=False) if isinstance(tensor, nn.Parameter) else duplicate


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Its parameters and buffers, and tensors that are plain attributes, as old-style weight norms keep them."""
    held = chain(module._parameters.values(), module._buffers.values(), vars(module).values())
    return (tensor for tensor in held if isinstance(tensor, Tensor))


def _refuse_hooks(module: nn.Module, path: str) -> None:
    hooks = [
        *module._forward_hooks.values(),
        *(hook for hook in module._forward_pre_hooks.values() if not isinstance(hook, _REPARAMETRIZATIONS)),
    ]
    if hooks and not any(isinstance(tensor, UninitializedParameter) for tensor in _tensors(module)):
        raise UnsupportedModuleError(
            f"layer '{path}' has a forward hook, which may change what it computes: "
            "remove it (handle.remove()) before the network is read"
        )
    if "forward" in vars(module) and _unwrapped(module) is module:
        raise UnsupportedModuleError(
            f"layer '{path}' has a forward of its own set on the object: define it in a class instead"
        )


def _resolve(module: nn.Module) -> None:
    if parametrize.is_parametrized(module):
        # Not parametrize.remove_parametrizations: it edits the class, which the copy shares with the user's module.
        values = {name: getattr(module, name) for name in module.parametrizations}  # type: ignore[union-attr]
        plain_class = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        module.__class__ = plain_class
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
