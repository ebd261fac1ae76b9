"""A forward read as stages: one for each round of each piecewise linear layer, values needed later carried along."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from splinegeo.affine import Affine, AffineMap, TorchAffine
from splinegeo.nonlinearities import Round
from splinegeo.operations import is_linear, is_row_major
from splinegeo.program import Program
from splinegeo.stages import Layer, Network, Stage
from splinegeo.torch_calls import name_of
from splinegeo.tracing import THE_NETWORK

# A matrix of so many entries (32 MB) is held, and so many in all; larger maps stay operators. Linear layers are held.
DENSE_ENTRIES = 1 << 22
DENSE_ENTRIES_IN_ALL = 1 << 26


@dataclass(frozen=True, eq=False, repr=False)
class _State:
    """The coordinates between two stages: those of a layer's round, cut and kept, then carried values, flattened."""

    program: Program
    layer: fx.Node | None
    """The layer whose round the stage before ends with; None: the network's input."""
    index: int
    """Which of its rounds."""
    n_cut: int
    n_kept: int
    carried: tuple[fx.Node, ...]

    @property
    def round(self) -> Round:
        assert self.layer is not None
        return self.program.layers[self.layer].rounds[self.index]

    @property
    def size(self) -> int:
        return self.n_cut + self.n_kept + sum(_count(self.program.example[node]) for node in self.carried)

    def values(self, h: Tensor) -> dict[fx.Node, Any]:
        """The values that coordinates after activation stand for; between a layer's rounds, its values so far."""
        program = self.program
        if self.layer is None:
            return {program.calls.input: h.reshape(1, *program.input_shape)}
        joined = self.round.join(h[: self.n_cut], h[self.n_cut : self.n_cut + self.n_kept])
        layer = program.layers[self.layer]
        last = self.index + 1 == len(layer.rounds)
        values = {self.layer: joined.reshape(layer.shape) if last else joined}
        begin = self.n_cut + self.n_kept
        for node in self.carried:
            end = begin + _count(program.example[node])
            values[node] = _restore(program.example[node], iter(h[begin:end].split(_sizes(program.example[node]))))
            begin = end
        return values

    def coordinates(self, values: Mapping[fx.Node, Any]) -> Tensor:
        """Coordinates before activation, from the values that the stage's affine map has computed."""
        assert self.layer is not None
        if self.index == 0:
            args, kwargs = self.program.arguments(self.layer, values)
            y, kept = self.round.split(self.program.layers[self.layer].operand(*args, **kwargs))
        else:
            y, kept = self.round.split(values[self.layer])
        return torch.cat([y, kept, *(t.reshape(-1) for node in self.carried for t in _tensors(values[node]))])


@dataclass(frozen=True, eq=False, repr=False)
class _Segment:
    """The affine part of a forward between two states: a function of one vector."""

    program: Program
    before: _State
    calls: tuple[fx.Node, ...]
    after: _State | None
    """None: the network's output."""

    def __call__(self, h: Tensor) -> Tensor:
        values = self.before.values(h)
        for node in self.calls:
            values[node] = self.program.evaluate(node, values)
        return values[self.program.calls.result].reshape(-1) if self.after is None else self.after.coordinates(values)

    @property
    def n_outputs(self) -> int:
        return _count(self.program.example[self.program.calls.result]) if self.after is None else self.after.size

    def affine(self, room: int) -> AffineMap:
        """The weights of a chain of Linear layers; else a matrix if it is small and fits the room, or an operator."""
        exact = self._linear_chain()
        if exact is not None:
            return exact
        held = self.before.size + self.n_outputs + sum(_count(self.program.example[node]) for node in self.calls)
        rooms = [self._unfolded_and_weights(node) for node in self.calls]
        unfolded, weights = (max((room[i] for room in rooms), default=0) for i in range(2))
        operator = TorchAffine(self, self.before.size, held, unfolded, weights)
        return operator.dense() if self.before.size * self.n_outputs <= min(DENSE_ENTRIES, room) else operator

    def _unfolded_and_weights(self, node: fx.Node) -> tuple[int, int]:
        """Of a call: the numbers that torch's convolution makes of its input, one for each weight that one meets; and
        those of its weight.
        """
        if node.op == "call_module":
            weight = getattr(self.program.calls.trace.submodule(node), "weight", None)
        else:
            weight = next(
                (self.program.constants[n] for n in node.all_input_nodes[1:] if n in self.program.constants), 0
            )
        if not isinstance(weight, Tensor):
            return 0, 0
        result = self.program.example[node]
        if not isinstance(result, Tensor) or weight.ndim < 3 or result.ndim != weight.ndim:
            return 0, weight.numel()
        groups = max(1, _channels(self.program.example, node) // weight.shape[1])
        return groups * prod(weight.shape[1:]) * prod(result.shape[2:]), weight.numel()

    def _linear_chain(self) -> Affine | None:
        """The product of Linear layers applied to the whole state, or identity; None for all else, and if large."""
        program, calls = self.program, self.program.calls
        if self.before.layer is None:
            value = calls.input
        elif self.before.round.plain and not self.before.carried:
            value = self.before.layer
        else:
            return None
        chain: Affine | None = None
        n_factors = 0
        for node in self.calls:
            if node.args[:1] != (value,):
                return None
            if is_linear(calls.trace, node):
                layer = calls.trace.submodule(node)
                if layer.in_features != _count(program.example[value]):
                    return None
                factor = _dense_linear(layer)
                n_factors += factor.weight.size
                if chain is not None and factor.n_outputs * chain.n_inputs > max(DENSE_ENTRIES, n_factors):
                    return None
                chain = factor if chain is None else factor.after(chain)
            elif not is_row_major(calls.trace, node):
                return None
            value = node
        if not self._ends_with(value):
            return None
        if chain is None and self.n_outputs**2 <= DENSE_ENTRIES:
            return Affine(np.eye(self.n_outputs), np.zeros(self.n_outputs))
        return chain

    def _ends_with(self, value: fx.Node) -> bool:
        """Are the segment's outputs the coordinates of one value as they are?"""
        if self.after is None or self.after.layer is None:
            return self.program.calls.result is value
        return self.after.round.plain and not self.after.carried and self.after.layer.args[:1] == (value,)


def _channels(example: Mapping[fx.Node, Any], node: fx.Node) -> int:
    value = example.get(node.all_input_nodes[0])
    return value.shape[1] if isinstance(value, Tensor) and value.ndim > 1 else 1


def _dense_linear(layer: Any) -> Affine:
    weight = np.ascontiguousarray(layer.weight.numpy())
    return Affine(weight, np.zeros(len(weight)) if layer.bias is None else layer.bias.numpy())


def read_stages(program: Program) -> Network:
    """The chain of stages that a program is."""
    calls = program.calls
    last_use = _last_uses(program)
    position = {node: i for i, node in enumerate((calls.input, *calls.dependent))}
    state = _State(program, None, 0, prod(program.input_shape), 0, ())
    stages: list[Stage] = []
    layers: list[Layer] = []
    seen: Counter[str] = Counter()
    pending: list[fx.Node] = []
    room = DENSE_ENTRIES_IN_ALL
    for node in calls.dependent:
        layer = program.layers.get(node)
        if layer is None or not layer.rounds:
            pending.append(node)
            continue
        here = position[node]
        carried = tuple(value for value in position if position[value] < here < last_use[value])
        for index, step in enumerate(layer.rounds):
            n_cut, n_kept = len(step.slopes), step.n_kept
            after = _State(program, node, index, n_cut, n_kept, carried)
            affine = _Segment(program, state, tuple(pending), after).affine(room)
            room -= affine.weight.size if isinstance(affine, Affine) else 0
            stages.append(_stage(affine, step, after.size, len(layers)))
            state, pending = after, []
        layers.append(Layer(_layer_path(program, node, seen), layer.kind, layer.shape[1:], layer.tournament))
    output = _Segment(program, state, tuple(pending), None).affine(room)
    return Network(tuple(stages), output, program.input_shape, tuple(layers))


def _stage(affine: AffineMap, step: Round, n: int, layer: int) -> Stage:
    n_cut = len(step.slopes)
    carried = np.arange(n) >= n_cut
    slopes, units = np.ones(n), np.full(n, -1)
    slopes[:n_cut], units[:n_cut] = step.slopes, step.units
    return Stage(affine, slopes, carried, layer, units)


def _last_uses(program: Program) -> dict[fx.Node, int]:
    """Position of the last call that uses each value; the network's result is used after all calls."""
    calls = program.calls
    last_use = {calls.input: 0}
    for i, node in enumerate(calls.dependent, start=1):
        last_use[node] = i
        last_use |= {argument: i for argument in node.all_input_nodes if argument in last_use}
    last_use[calls.result] = len(calls.dependent) + 1
    return last_use


def _layer_path(program: Program, node: fx.Node, seen: Counter[str]) -> str:
    path = program.calls.trace.path(node)
    if node.op != "call_module":
        path = name_of(node) if path == THE_NETWORK else f"{path}.{name_of(node)}"
    seen[path] += 1
    return path if seen[path] == 1 else f"{path}#{seen[path]}"


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of a value: itself, or those of a tuple, such as chunks."""
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in _tensors(part)]


def _sizes(value: Any) -> list[int]:
    return [tensor.numel() for tensor in _tensors(value)]


def _count(value: Any) -> int:
    return sum(_sizes(value))


def _restore(example: Any, parts: Iterator[Tensor]) -> Any:
    """A value like the example, from the flattened tensors of another sample."""
    if isinstance(example, Tensor):
        return next(parts).reshape(example.shape)
    return tuple(_restore(part, parts) for part in example)
