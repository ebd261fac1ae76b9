"""Calls that write over a view of a tensor which is used afterwards: a trace does not show that the tensor changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from splinegeo.errors import InvalidNetworkError
from splinegeo.operations import is_new_tensor, values_used
from splinegeo.torch_calls import describe, is_in_place
from splinegeo.tracing import Trace

_EXAMPLE_SEED = 0


@dataclass(frozen=True, eq=False, repr=False)
class Overwriting:
    """The calls of a trace, as it is before it is brought into functional form, that may write over what others use."""

    trace: Trace
    suspects: Mapping[fx.Node, Sequence[fx.Node]]
    """For each such call the values that may share its first argument's memory, and are used after it."""

    @classmethod
    def of(cls, trace: Trace) -> "Overwriting":
        """The suspects of a trace; without any there is nothing to check."""
        nodes = list(trace.graph.nodes)
        in_place = [node for node in nodes if is_in_place(trace, node)]
        if not in_place:
            return cls(trace, {})
        position = {node: i for i, node in enumerate(nodes)}
        origins = {node: _origin(trace, node) for node in nodes}
        suspects = {}
        tensors = {node: _tensor(trace, node) for node in nodes}
        for call in in_place:
            target, here = call.all_input_nodes[0], position[call]
            others = [
                node
                for node in nodes[:here]
                if tensors[node] is not tensors[target]  # its names are followed by the functional form
                and origins[node] is origins[target]
                and _used_after(node, position, here)
            ]
            if others:
                suspects[call] = others
        if not suspects:
            return cls(trace, {})
        graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
        graph.output(graph.graph_copy(trace.graph, copies))  # the trace's own is about to be changed
        copied = {copies[call]: [copies[node] for node in others] for call, others in suspects.items()}
        return cls(replace(trace, graph=graph), copied)

    def check(self, input_shape: Sequence[int]) -> None:
        """Raise `InvalidNetworkError` for a call that writes over memory which a value used after it shares."""
        if not self.suspects:
            return
        generator = torch.Generator().manual_seed(_EXAMPLE_SEED)
        sample = torch.randn((1, *input_shape), dtype=torch.float64, generator=generator, device="cpu")
        marking = _Marking(self)
        with suppress(Exception):  # what cannot be carried out is refused where it is read, with its reason
            marking.run(sample)
        if marking.overwritten:
            raise InvalidNetworkError(
                "the network's forward is not what its trace shows: "
                f"{describe(self.trace, marking.overwritten[0])} writes over a part of a tensor that is used again "
                "after it; write it without"
            )


class _Marking(fx.Interpreter):
    """Carries out a trace with its writing; before a suspect writes, marks its target's memory to see who shares it."""

    def __init__(self, overwriting: Overwriting) -> None:
        super().__init__(overwriting.trace.root, graph=overwriting.trace.graph)
        self.suspects = overwriting.suspects
        self.overwritten: list[fx.Node] = []

    def run_node(self, n: fx.Node) -> Any:
        if n in self.suspects:
            target = self.env[n.all_input_nodes[0]]
            if any(_share_memory(target, self.env[other]) for other in self.suspects[n]):
                self.overwritten.append(n)
        return super().run_node(n)


def _origin(trace: Trace, node: fx.Node) -> fx.Node:
    """The call that made the memory that a value may lie in."""
    while node.all_input_nodes and not is_new_tensor(trace, node):
        node = node.all_input_nodes[0]
    return node


def _tensor(trace: Trace, node: fx.Node) -> fx.Node:
    """The call that first gave a tensor: calls that write over it give it again."""
    while is_in_place(trace, node):
        node = node.all_input_nodes[0]
    return node


def _used_after(node: fx.Node, position: Mapping[fx.Node, int], here: int) -> bool:
    return any(position[user] > here and node in values_used(user) for user in node.users)


def _share_memory(target: Any, other: Any) -> bool:
    if not (isinstance(target, Tensor) and target.is_floating_point()):
        return False
    before = target.clone()
    target.fill_(float("nan"))
    shared = any(bool(tensor.isnan().any()) for tensor in _tensors(other))
    target.copy_(before)
    return shared


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
