"""A continuous piecewise affine network as a chain of stages, and the activation pattern of its layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from splinegeo.affine import AffineMap
from splinegeo.errors import ShapeError
from splinegeo.max_pooling import Tournament
from splinegeo.tolerance import TOLERANCE

if TYPE_CHECKING:
    from torch import nn

# Values of one stage that are held at once: no more than stays in the cache.
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Layer:
    """A piecewise linear layer of the network as its user wrote it."""

    path: str
    """The module's name, such as "features.3"; for a function the name of the module that calls it and its own.

    A second use has "#2" appended.
    """
    kind: str
    """The module's class, such as "ReLU" or "MaxPool2d"; for a function that of the module which does the same."""
    shape: tuple[int, ...]
    """Shape of its units for one sample."""
    tournament: Tournament | None = field(default=None, repr=False)
    """For a layer that takes maxima: its comparisons. Each unit is then one maximum."""

    @property
    def n_units(self) -> int:
        """Number of units."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Stage:
    """An affine map to n coordinates y, each then multiplied by its slope where y <= 0 (ReLU: 0) and by 1 where y > 0.

    A carried coordinate has slope 1: it hands on a value that a later stage needs, and is never cut. The others are the
    units' two-piece parts: one for a ReLU, two for a Hardtanh, the comparisons of one round for max pooling.
    """

    affine: AffineMap
    slopes: Float64[np.ndarray, " n"]
    carried: Bool[np.ndarray, " n"] = field(default=None)  # type: ignore[arg-type]
    """Which coordinates are carried; default: none."""
    layer: int = -1
    """Index of the layer whose units are cut; default: a layer of its own."""
    layer_unit: Int64[np.ndarray, " n"] = field(default=None)  # type: ignore[arg-type]
    """The layer's unit, flattened, that each coordinate belongs to; -1 for carried ones; default: all in order."""

    def __post_init__(self) -> None:
        if self.carried is None:
            object.__setattr__(self, "carried", np.zeros(len(self.slopes), dtype=bool))
        if self.layer_unit is None:
            object.__setattr__(self, "layer_unit", np.arange(len(self.slopes)))

    @property
    def n_units(self) -> int:
        """Number of coordinates n, carried ones included."""
        return len(self.slopes)

    def activate(self, y: Float64[np.ndarray, "... n"]) -> Float64[np.ndarray, "... n"]:
        """The stage's outputs."""
        return np.where(y > 0, y, self.slopes * y) if self.slopes.any() else np.maximum(y, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A continuous piecewise affine network: stages, and the affine map that follows the last of them."""

    stages: tuple[Stage, ...]
    output: AffineMap
    input_shape: tuple[int, ...] = ()
    """Shape of one input; default: (d,)."""
    layers: tuple[Layer, ...] = ()
    """The piecewise linear layers in the order of the stages; default: one for each stage."""
    module: "nn.Module | None" = None
    """The module that was read, in float64 and evaluation mode; None for a network from a file."""

    def __post_init__(self) -> None:
        if not self.input_shape:
            object.__setattr__(self, "input_shape", (self.n_inputs,))
        if not self.layers:
            stages = tuple(Stage(s.affine, s.slopes, s.carried, i, s.layer_unit) for i, s in enumerate(self.stages))
            layers = (
                Layer(f"stage {i}", "two-piece", (int(s.layer_unit.max(initial=-1)) + 1,)) for i, s in enumerate(stages)
            )
            object.__setattr__(self, "stages", stages)
            object.__setattr__(self, "layers", tuple(layers))

    @property
    def n_inputs(self) -> int:
        """Dimension d of the flattened input."""
        return (self.stages[0].affine if self.stages else self.output).n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of outputs C, flattened."""
        return self.output.n_outputs

    def __call__(self, x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n C"]:
        """The network's outputs at flattened inputs, in float64. Raises `ShapeError`."""
        outputs = np.empty((len(x), self.n_outputs))
        for block in self._blocks(x):
            h = x[block]
            for stage in self.stages:
                h = stage.activate(stage.affine(h))
            outputs[block] = self.output(h)
        return outputs

    def patterns(self, x: Float64[np.ndarray, "n d"]) -> list[Integer[np.ndarray, "n units"]]:
        """The activation pattern at flattened inputs: for each layer its units' pieces, see `pieces`.

        Candidates of a maximum that are equal to rounding count as ties. Raises `ShapeError`.
        """
        blocks = []
        for block in self._blocks(x):
            h, active = x[block], []
            for stage in self.stages:
                y = stage.affine(h)
                # a + (b - a) is b to rounding only: equal candidates of a maximum differ by a share of their terms.
                maxima = self.layers[stage.layer].tournament is not None
                active.append(_beyond_ties(stage.affine, h, y) if maxima else y > 0)
                h = stage.activate(y)
            blocks.append(self.pieces(active))
        if not blocks:
            return self.pieces([np.zeros((0, stage.n_units), dtype=bool) for stage in self.stages])
        return [np.concatenate(of_layer) for of_layer in zip(*blocks, strict=True)]

    def pieces(self, active: Sequence[Bool[np.ndarray, "n units_of_stage"]]) -> list[Integer[np.ndarray, "n units"]]:
        """The piece of each layer's units, from which of the stages' coordinates are positive: int8, one array a layer.

        0 or 1 for units with two pieces, 0 to 2 from below for those with two bounds; for a maximum the place of the
        winner within its window, in row-major order, ties to the first (a wider type for more than 128 places).
        """
        pieces: list[Integer[np.ndarray, "n units"]] = []
        for layer, stages, parts in zip(self.layers, self._stages_of_layers, self._parts_of_units, strict=True):
            bits = [active[i][:, self._cut[i]] for i in stages]
            if layer.tournament is not None:
                pieces.append(layer.tournament.winners(bits))
            elif parts is None:
                pieces.append(bits[0].astype(np.int8))
            else:
                order, starts = parts
                pieces.append(np.add.reduceat(bits[0][:, order], starts, axis=1, dtype=np.int8))
        return pieces

    @property
    def groups(self) -> tuple[range, ...]:
        """The runs of stages, as indices, that together make one layer: the rounds of each max pooling with several."""
        return tuple(stages for stages in self._stages_of_layers if len(stages) > 1)

    def deciding(
        self, group: range, active: Sequence[Bool[np.ndarray, "n units_of_stage"]]
    ) -> list[Bool[np.ndarray, "n units_of_stage"]]:
        """Of a group's stages: which coordinates are comparisons that a winner took part in.

        Raises `ValueError` for stages that are not one of `groups`.
        """
        tournament = self.layers[self.stages[group[0]].layer].tournament
        if tournament is None:
            raise ValueError(f"stages {group} are no group: choose one of Network.groups")
        taken = tournament.deciding([part[:, self._cut[i]] for i, part in zip(group, active, strict=True)])
        deciding = [np.zeros(part.shape, dtype=bool) for part in active]
        for i, part, comparisons in zip(group, deciding, taken, strict=True):
            part[:, self._cut[i]] = comparisons
        return deciding

    def canonical(
        self, group: range, active: Sequence[Bool[np.ndarray, "n units_of_stage"]]
    ) -> list[Bool[np.ndarray, "n units_of_stage"]]:
        """Active bits of a group's stages, 0 for carried coordinates and for comparisons that no winner took part in.

        Two points with equal bits before the group lie in one piece of its layer iff their canonical bits are equal.
        """
        return [bits & taken for bits, taken in zip(active, self.deciding(group, active), strict=True)]

    @cached_property
    def _cut(self) -> tuple[slice | Int64[np.ndarray, " cut"], ...]:
        """The cut coordinates of each stage, as a slice where they come first."""
        cuts: list[slice | Int64[np.ndarray, " cut"]] = []
        for stage in self.stages:
            cut = np.flatnonzero(~stage.carried)
            cuts.append(slice(len(cut)) if not stage.carried[: len(cut)].any() else cut)
        return tuple(cuts)

    @cached_property
    def _stages_of_layers(self) -> tuple[range, ...]:
        of_stage = np.array([stage.layer for stage in self.stages], dtype=np.int64)
        starts = np.searchsorted(of_stage, np.arange(len(self.layers) + 1))
        return tuple(range(int(a), int(b)) for a, b in pairwise(starts))

    @cached_property
    def _parts_of_units(self) -> tuple[tuple[Int64[np.ndarray, " cut"], Int64[np.ndarray, " units"]] | None, ...]:
        """For each layer: its cut coordinates by unit, and where each unit's begin; None if coordinate i is unit i."""
        parts: list[tuple[np.ndarray, np.ndarray] | None] = []
        for layer, stages in zip(self.layers, self._stages_of_layers, strict=True):
            units = self.stages[stages[0]].layer_unit[self._cut[stages[0]]]
            order = np.argsort(units, kind="stable")
            starts = np.searchsorted(units[order], np.arange(layer.n_units))
            parts.append(None if np.array_equal(units, np.arange(layer.n_units)) else (order, starts))
        return tuple(parts)

    def _blocks(self, x: Float64[np.ndarray, "n d"]) -> Iterator[slice]:
        if x.ndim != 2 or x.shape[1] != self.n_inputs:
            raise ShapeError(f"inputs must be flattened, (n, {self.n_inputs}), but have the shape {x.shape}")
        widest = max([self.n_inputs, self.n_outputs, *(stage.n_units for stage in self.stages)])
        step = max(1, _BLOCK_BYTES // (8 * widest))
        for begin in range(0, len(x), step):
            yield slice(begin, begin + step)


def _beyond_ties(
    affine: AffineMap, h: Float64[np.ndarray, "n m"], y: Float64[np.ndarray, "n units"]
) -> Bool[np.ndarray, "n units"]:
    """Which of the values y = affine(h) are positive beyond the rounding of the sums that they are.

    The terms of all points lie between those of the least and of the greatest sizes: only where these leave a value
    open, the point's own decide.
    """
    if not len(h):
        return y > 0
    sizes = np.abs(h)
    least, most = TOLERANCE * _terms(affine, np.stack([sizes.min(axis=0), sizes.max(axis=0)]))
    beyond = y > most
    rows = np.flatnonzero(((y > least) & ~beyond).any(axis=1))
    if len(rows):
        beyond[rows] = y[rows] > TOLERANCE * _terms(affine, sizes[rows])
    return beyond


def _terms(affine: AffineMap, sizes: Float64[np.ndarray, "n m"]) -> Float64[np.ndarray, "n units"]:
    """Sizes of the sums of terms that the values at inputs of some sizes are."""
    return affine.bounds(sizes) + np.abs(affine.bias)
