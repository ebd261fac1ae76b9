"""One-dimensional slices: the linear pieces of a network along the straight segment between two inputs."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, Integer
from numpy.typing import ArrayLike
from torch import nn

from splinegeo._bits import pack
from splinegeo._chunks import running_sum
from splinegeo.errors import DegenerateSliceError, ShapeError
from splinegeo.network import Network, Stage, read_network
from splinegeo.slice import as_numbers, finite_numbers
from splinegeo.tolerance import CLOSENESS, TOLERANCE, noise_of_outputs, unit_tolerance

_BATCH_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class SegmentPartition:
    """The P activation regions that the segment x(s) = start + s (end - start), 0 <= s <= 1, passes through, in order.

    Made by `enumerate_segment`. Piece p lies between `breakpoints[p - 1]` and `breakpoints[p]`.
    """

    network: Network = field(repr=False)
    start: Float64[np.ndarray, " d"] = field(repr=False)
    end: Float64[np.ndarray, " d"] = field(repr=False)
    breakpoints: Float64[np.ndarray, " P-1"]
    """Parameters s at which the pattern changes, ascending, in (0, 1)."""
    labels: Int64[np.ndarray, "P-1 2"] = field(repr=False)
    """Layer and unit that change their piece there; the first of several."""
    active: tuple[Bool[np.ndarray, "P units"], ...] = field(repr=False)
    """For each stage of the network: the coordinates that are positive on each piece."""
    outputs: Float64[np.ndarray, "P+1 C"] = field(repr=False)
    """The network's outputs at s = 0, the breakpoints and s = 1; between them it is linear."""

    @property
    def n_pieces(self) -> int:
        """Number of pieces P."""
        return len(self.breakpoints) + 1

    @cached_property
    def nodes(self) -> Float64[np.ndarray, " P+1"]:
        """0, the breakpoints, 1."""
        return np.concatenate([[0.0], self.breakpoints, [1.0]])

    @cached_property
    def lengths(self) -> Float64[np.ndarray, " P"]:
        """Length of each piece in input space."""
        return np.diff(self.nodes) * float(np.linalg.norm(self.end - self.start))

    @cached_property
    def patterns(self) -> list[Integer[np.ndarray, "P units"]]:
        """Activation patterns: for each layer, the linear piece of each of its units (see `Partition.pattern`)."""
        return self.network.pieces(self.active)

    @cached_property
    def pattern_keys(self) -> np.ndarray:
        """All patterns as words of 64 units, (P, k) uint64, comparable with those of a `Partition` of the network."""
        if not self.active:
            return np.zeros((self.n_pieces, 1), dtype=np.uint64)
        return np.concatenate([pack(bits) for bits in self.active], axis=1)

    @cached_property
    def maps(self) -> Float64[np.ndarray, "P C 2"]:
        """Each piece's map along the segment: f(x(s)) = maps[p, :, 0] s + maps[p, :, 1]."""
        network = self.network
        maps = np.empty((self.n_pieces, network.n_outputs, 2))
        widest = max([network.n_outputs, *(stage.n_units for stage in network.stages)])
        step = max(1, _BATCH_BYTES // (8 * 4 * widest))
        for begin in range(0, self.n_pieces, step):
            batch = slice(begin, min(begin + step, self.n_pieces))
            rows = np.stack([self.end - self.start, self.start])[None]
            for stage, active in zip(network.stages, self.active, strict=True):
                rows = stage.affine.linear(rows)
                rows[:, 1] += stage.affine.bias
                rows = rows * np.where(active[batch], 1.0, stage.slopes)[:, None, :]
            rows = network.output.linear(rows)
            rows[:, 1] += network.output.bias
            maps[batch] = rows.transpose(0, 2, 1)
        return maps

    def lift(self, s: ArrayLike) -> Float64[np.ndarray, "n d"]:
        """Inputs x(s), flattened, of parameters (n,). Raises `ShapeError`."""
        parameters = _as_parameters(s)[:, None]
        return (1 - parameters) * self.start + parameters * self.end

    def locate(self, s: ArrayLike) -> Int64[np.ndarray, " n"]:
        """The piece that holds each parameter (n,); -1 outside [0, 1]. Raises `ShapeError`."""
        parameters = _as_parameters(s)
        pieces = np.searchsorted(self.breakpoints, parameters)
        return np.where((parameters >= 0) & (parameters <= 1), pieces, -1)


def enumerate_segment(
    model: nn.Module | Network, start: ArrayLike | torch.Tensor, end: ArrayLike | torch.Tensor
) -> SegmentPartition:
    """The linear pieces of a network along the segment between two inputs, each of shape (*input_shape), exactly.

    Stage by stage as on a plane, with the same tolerance (`splinegeo.tolerance`): a unit's sign at a breakpoint is
    decided once, for both pieces; crossings nearer than 4 · 2⁻⁴² of the segment, or at each of which the other unit
    vanishes, are one breakpoint. Pieces narrower than that may be missing; no others.

    Raises `UnsupportedModuleError`, `InvalidNetworkError`, `ShapeError`; `DegenerateSliceError` if both ends are equal.
    """
    ends = [_as_input(start, "start"), _as_input(end, "end")]
    if ends[0].shape != ends[1].shape:
        raise ShapeError(f"the ends of a segment must have one shape, but have {ends[0].shape} and {ends[1].shape}")
    network = model if isinstance(model, Network) else read_network(model, ends[0].shape)
    x = np.stack([point.reshape(-1) for point in ends])
    if network.n_inputs != x.shape[1]:
        raise ShapeError(f"the network takes {network.n_inputs} inputs, but the segment lies in R^{x.shape[1]}")
    if (x[0] == x[1]).all():
        raise DegenerateSliceError("both ends of the segment are the same point: choose two different inputs")
    pieces = _Pieces(np.array([0.0, 1.0]), np.full((2, 2), -1, dtype=np.int64), ())
    values = (network.stages[0].affine if network.stages else network.output)(x)
    sizes, noise = np.abs(x).max(axis=0), np.zeros(x.shape[1])
    for index, stage in enumerate(network.stages):
        tolerance, noise = unit_tolerance(stage, sizes, noise)
        noise = noise_of_outputs(stage, noise, tolerance, values.max(axis=0))
        pieces, values = _cut(pieces, values, stage, tolerance)
        h = stage.activate(values)
        sizes = np.abs(h).max(axis=0)
        last = index + 1 == len(network.stages)
        values = (network.output if last else network.stages[index + 1].affine)(h)
        for group in network.groups:
            if index == group[-1]:
                pieces, values = _join(pieces, values, network, group)
    return SegmentPartition(network, x[0], x[1], pieces.nodes[1:-1], pieces.labels[1:-1], pieces.active, values)


class _Pieces(NamedTuple):
    """The pieces after some stages: their K ends in order, what changes there, the active coordinates of each stage."""

    nodes: Float64[np.ndarray, " K"]
    labels: Int64[np.ndarray, "K 2"]
    active: tuple[Bool[np.ndarray, "K-1 units"], ...]


class _Crossings(NamedTuple):
    """Sign changes strictly inside pieces, piece after piece and in order; rank r of a piece is its r-th new node."""

    piece: Int64[np.ndarray, " n"]
    unit: Int64[np.ndarray, " n"]
    parameter: Float64[np.ndarray, " n"]
    rank: Int64[np.ndarray, " n"]


def _cut(
    pieces: _Pieces, values: Float64[np.ndarray, "K n"], stage: Stage, tolerance: Float64[np.ndarray, " n"]
) -> tuple[_Pieces, Float64[np.ndarray, "M n"]]:
    """Cut the pieces where the stage's coordinates, whose values at the K nodes are given, change sign."""
    positive, negative = values > tolerance, values < -tolerance
    crossing = (positive[:-1] & negative[1:]) | (negative[:-1] & positive[1:])
    found = _find_crossings(crossing, values, tolerance, np.diff(pieces.nodes))
    n_pieces = len(crossing)
    first_of_node = np.append(True, np.diff(found.piece) | np.diff(found.rank)).astype(bool)[: len(found.piece)]
    piece, unit, s, rank = (entries[first_of_node] for entries in found)
    counts = np.bincount(piece, minlength=n_pieces)
    first_part = np.arange(n_pieces) + running_sum(counts)[:-1]
    old = np.append(first_part, n_pieces + len(piece))
    new = first_part[piece] + rank + 1

    nodes = np.empty(len(pieces.nodes) + len(new))
    nodes[old] = pieces.nodes
    nodes[new] = pieces.nodes[piece] + s * (pieces.nodes[piece + 1] - pieces.nodes[piece])
    labels = np.empty((len(nodes), 2), dtype=np.int64)
    labels[old] = pieces.labels
    labels[new] = np.stack([np.full(len(unit), stage.layer), stage.layer_unit[unit]], axis=1)
    finer = np.empty((len(nodes), values.shape[1]))
    finer[old] = values
    finer[new] = (1 - s[:, None]) * values[piece] + s[:, None] * values[piece + 1]
    finer[first_part[found.piece] + found.rank + 1, found.unit] = 0.0

    parent = np.repeat(np.arange(n_pieces), counts + 1)
    changed = np.zeros((len(parent), values.shape[1]), dtype=bool)
    changed[first_part[found.piece] + found.rank + 1, found.unit] = True
    changed = np.logical_xor.accumulate(changed, axis=0)
    at_start = np.where(crossing, positive[:-1], positive[:-1] | positive[1:])
    active = at_start[parent] ^ changed ^ changed[first_part][parent]
    return _Pieces(nodes, labels, (*(bits[parent] for bits in pieces.active), active)), finer


def _find_crossings(
    crossing: Bool[np.ndarray, "P n"],
    values: Float64[np.ndarray, "K n"],
    tolerance: Float64[np.ndarray, " n"],
    widths: Float64[np.ndarray, " P"],
) -> _Crossings:
    """The crossings of all pieces in order; coincident ones get one parameter and one rank."""
    piece, unit = np.nonzero(crossing)
    a, b = values[piece, unit], values[piece + 1, unit]
    s = a / (a - b)
    order = np.lexsort((s, piece))
    piece, unit, a, b, s = (entries[order] for entries in (piece, unit, a, b, s))
    here, there = slice(None, -1), slice(1, None)
    at_there = (1 - s[there]) * a[here] + s[there] * b[here]
    at_here = (1 - s[here]) * a[there] + s[here] * b[there]
    vanish = (np.abs(at_there) <= tolerance[unit[here]]) & (np.abs(at_here) <= tolerance[unit[there]])
    close = (s[there] - s[here]) * widths[piece[here]] <= CLOSENESS * TOLERANCE
    same_piece = piece[there] == piece[here]
    new_node = np.append(True, ~(same_piece & (vanish | close)))[: len(piece)]
    node = np.cumsum(new_node) - 1
    first = np.nonzero(new_node)[0]
    rank = node - node[np.searchsorted(piece, piece)]
    return _Crossings(piece, unit, s[first][node], rank)


def _join(
    pieces: _Pieces, values: Float64[np.ndarray, "K n"], network: Network, group: range
) -> tuple[_Pieces, Float64[np.ndarray, "M n"]]:
    """Drop the nodes at which only comparisons change that the maxima of a max pooling layer do not depend on."""
    active = list(pieces.active)
    active[group[0] : group[-1] + 1] = network.canonical(group, active[group[0] : group[-1] + 1])
    changes = np.zeros(len(pieces.nodes) - 2, dtype=bool)
    for bits in active:
        changes |= (bits[1:] != bits[:-1]).any(axis=1)
    node, piece = np.concatenate([[True], changes, [True]]), np.append(True, changes)
    joined = _Pieces(pieces.nodes[node], pieces.labels[node], tuple(bits[piece] for bits in active))
    return joined, values[node]


def _as_input(point: ArrayLike | torch.Tensor, name: str) -> Float64[np.ndarray, "..."]:
    array = finite_numbers(point, f"the {name} of a segment")
    if array.ndim == 0:
        raise ShapeError(f"the {name} of a segment must be one input, an array, not a single number")
    return array


def _as_parameters(s: ArrayLike) -> Float64[np.ndarray, " n"]:
    parameters = as_numbers(s, "parameters along a segment")
    if parameters.ndim != 1:
        raise ShapeError(f"parameters along a segment must have the shape (n,), but have {parameters.shape}")
    return parameters
