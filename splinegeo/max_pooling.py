"""Max pooling as a tournament: rounds of max(a, b) = a + relu(b - a), and the comparisons that decide it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Bool, Int64, Integer

from splinegeo.errors import InvalidNetworkError

Windows = Int64[np.ndarray, "w k"]
Bits = Bool[np.ndarray, "n comparisons"]


@dataclass(frozen=True, eq=False, repr=False)
class Matches:
    """One round: slot i of the next one receives candidate first[i], unless its comparison finds another greater."""

    first: Int64[np.ndarray, " slots"]
    paired: Int64[np.ndarray, " comparisons"]
    """Slots of the next round that are compared; the other slots have a bye."""
    second: Int64[np.ndarray, " comparisons"]
    """The opponent of first[paired]."""
    windows: Int64[np.ndarray, " comparisons"]
    """Window of each comparison."""


@dataclass(frozen=True, eq=False, repr=False)
class Tournament:
    """The rounds that find the maximum of each of several windows; ties go to the earlier place, as in torch."""

    n_windows: int
    candidates: Int64[np.ndarray, " c"]
    """Index of each candidate of the first round among the values that are pooled."""
    places: Int64[np.ndarray, " c"]
    """Each candidate's place within its window."""
    window_size: int
    rounds: tuple[Matches, ...]

    @classmethod
    def of_windows(cls, windows: Windows) -> "Tournament":
        """The tournament of windows (w, k) of indices, -1 at empty places (padding). Raises `InvalidNetworkError`."""
        if not (windows >= 0).any(axis=1).all():
            raise InvalidNetworkError("a max pooling window lies wholly in the padding: its maximum is -infinity")
        places = np.argsort(windows < 0, axis=1, kind="stable")
        windows = np.take_along_axis(windows, places, axis=1)
        present = windows >= 0
        window_size = windows.shape[1]
        fullest = int(present.sum(axis=1).max())
        windows, places, present = windows[:, :fullest], places[:, :fullest], present[:, :fullest]
        slots = _numbered(present)
        rounds = []
        while slots.shape[1] > 1:
            left, right = slots[:, 0::2], slots[:, 1::2]
            if right.shape[1] < left.shape[1]:
                right = np.pad(right, ((0, 0), (0, 1)), constant_values=-1)
            taken = left >= 0
            opponents = right[taken]
            paired = np.flatnonzero(opponents >= 0)
            rounds.append(Matches(left[taken], paired, opponents[paired], np.nonzero(taken)[0][paired]))
            slots = _numbered(taken)
        return cls(len(windows), windows[present], places[present], window_size, tuple(rounds))

    def winners(self, active: Sequence[Bits]) -> Integer[np.ndarray, "n w"]:
        """Place of each window's maximum, from the active bits (second > first) of each round's comparisons.

        The type is int8, or the smallest wider one where windows have more than 128 places.
        """
        places = np.broadcast_to(self.places.astype(self._place_type), (len(active[0]), len(self.places)))
        for matches, bits in zip(self.rounds, active, strict=True):
            following = places[:, matches.first]
            following[:, matches.paired] = np.where(bits, places[:, matches.second], following[:, matches.paired])
            places = following
        return places

    def deciding(self, active: Sequence[Bits]) -> list[Bits]:
        """The comparisons that a winner took part in: those that have to hold for it to be the maximum."""
        deciding: list[Bits] = []
        needed = np.ones((len(active[0]), self.n_windows), dtype=bool)
        for index in range(len(self.rounds) - 1, -1, -1):
            matches = self.rounds[index]
            deciding.append(needed[:, matches.paired])
            bits = active[index] & deciding[-1]
            n_before = len(self.rounds[index - 1].first) if index else len(self.candidates)
            before = np.zeros((len(bits), n_before), dtype=bool)
            before[:, matches.first] = needed
            before[:, matches.first[matches.paired]] &= ~bits
            before[:, matches.second] = bits
            needed = before
        return deciding[::-1]

    def canonical(self, active: Sequence[Bits]) -> list[Bits]:
        """Active bits, 0 for comparisons that no winner took part in: equal iff the winners are equal."""
        return [bits & taken for bits, taken in zip(active, self.deciding(active), strict=True)]

    @property
    def _place_type(self) -> np.dtype:
        return np.min_scalar_type(-self.window_size)


def pooling_windows(
    shape: Sequence[int],
    out_shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Windows:
    """Windows of max pooling over the last dimensions of an array of this shape; their places in row-major order."""
    sizes, out_sizes = shape[-len(kernel) :], out_shape[-len(kernel) :]
    axes = []
    for size, out, k, s, p, d in zip(sizes, out_sizes, kernel, stride, padding, dilation, strict=True):
        places = s * np.arange(out)[:, None] - p + d * np.arange(k)
        axes.append(np.where((places >= 0) & (places < size), places, -1))
    return _combine(shape, axes)


def adaptive_windows(shape: Sequence[int], out_sizes: Sequence[int]) -> Windows:
    """Windows of adaptive max pooling: output i of n covers floor(i size / n) up to ceil((i + 1) size / n)."""
    axes = []
    for size, out in zip(shape[-len(out_sizes) :], out_sizes, strict=True):
        start = np.arange(out) * size // out
        stop = -(-(np.arange(out) + 1) * size // out)
        places = start[:, None] + np.arange(int((stop - start).max()))
        axes.append(np.where(places < stop[:, None], places, -1))
    return _combine(shape, axes)


def dimension_windows(shape: Sequence[int], dims: Sequence[int]) -> Windows:
    """Windows of the maximum over some dimensions of an array of this shape."""
    dims = sorted(dim % len(shape) for dim in dims)
    indices = np.arange(prod(shape)).reshape(tuple(shape))
    last = np.moveaxis(indices, dims, range(-len(dims), 0))
    return last.reshape(-1, prod(shape[dim] for dim in dims))


def _combine(shape: Sequence[int], axes: Sequence[Int64[np.ndarray, "out k"]]) -> Windows:
    """Windows that are products of intervals, from the indices (or -1) along each of the last axes."""
    sizes = shape[-len(axes) :]
    n_out, n_places = prod(len(axis) for axis in axes), prod(axis.shape[1] for axis in axes)
    windows = np.zeros((1, 1), dtype=np.int64)
    inside = np.ones((1, 1), dtype=bool)
    for axis, size in zip(axes, sizes, strict=True):
        out_and_places = (windows.shape[0] * axis.shape[0], windows.shape[1] * axis.shape[1])
        windows = (windows[:, None, :, None] * size + axis[None, :, None, :]).reshape(out_and_places)
        inside = (inside[:, None, :, None] & (axis >= 0)[None, :, None, :]).reshape(out_and_places)
    leading = prod(shape[: -len(axes)])
    offsets = prod(sizes) * np.arange(leading)
    everywhere = np.where(inside, windows + offsets[:, None, None], -1)
    return everywhere.reshape(leading * n_out, n_places)


def _numbered(present: Bool[np.ndarray, "w k"]) -> Int64[np.ndarray, "w k"]:
    return np.where(present, np.cumsum(present.reshape(-1)).reshape(present.shape) - 1, -1)
