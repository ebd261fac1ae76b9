"""A network on a convex domain of a slice: affine but for the few units that change sign there.

Let a base pattern fix a side of every unit, and let κ be how far a unit is past zero on its other side. A stage's
outputs are then σ(y) = s y + (1 - a) κ, with the base's slope s and the slope a below zero, and the values of every
stage are linear in z(t) = (t₁, t₂, 1, κ₁, …, κ_K), where K units change sign on the domain. One column for each of
them, pushed through the network once, serves all vertices and all regions; of 10⁶ units some hundred change sign about
an image.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from splinegeo._bits import unpack
from splinegeo._freed_memory import give_back_freed_memory
from splinegeo.affine import Affine, AffineMap
from splinegeo.region_maps import affine_before

if TYPE_CHECKING:
    from splinegeo._chunks import Watch
    from splinegeo.partition import Partition
    from splinegeo.slice import Slice
    from splinegeo.stages import Network

_BLOCK_BYTES = 1 << 26
# z at all points is held if it takes no more, else computed twice.
_HELD_BYTES = 1 << 29
# Points that share a bound, and points of a block.
_NEIGHBOURS = 128
_POINTS = 1 << 13
# Points at which the sizes of units that keep their sign are taken: they scale tolerances, and vary slowly.
_SIZE_POINTS = 1 << 6
# Where the room for work arrays is bounded: how many blocks of values are in use at the same time, and how many bounds
# of each unit near each group of neighbours.
_BLOCKS_OF_ROOM = 4
_BOUNDS = 6
# The bounds of a unit's values are sums whose rounding stays far below this share of their terms.
_ROUNDING = 2.0**-40


@dataclass(frozen=True, eq=False, repr=False)
class Kinks:
    """The units of one stage that are positive on a part of the domain only."""

    units: Int64[np.ndarray, " k"]
    signs: Float64[np.ndarray, " k"]
    """1: inactive in the base, κ = max(y, 0); -1: active in the base, κ = max(-y, 0)."""
    rows: Float64[np.ndarray, "k m"]
    """The units' values: y = rows @ z, with z up to the kinks of the stages before."""
    reach: Float64[np.ndarray, " k"]
    """The largest κ on the domain, or more."""


class Undecided(NamedTuple):
    """The units of a stage that are positive at some points only, their values there, and the sides of all units."""

    units: Int64[np.ndarray, " k"]
    values: Float64[np.ndarray, "V k"]
    active: Bool[np.ndarray, " n"]
    """Whether a unit is positive; for those above: on average."""
    sizes: Float64[np.ndarray, " n"]
    """The largest size of each unit's output, of those that keep their sign at some points only."""
    highest: Float64[np.ndarray, " n"]
    """The greatest value of each unit, or more."""


@dataclass(frozen=True, eq=False, repr=False)
class Restriction:
    """The first stages of a network on a domain, and the values that the next affine map gives as functions of z."""

    network: "Network"
    columns: Float64[np.ndarray, "m n"]
    """Values before the next stage's nonlinearity, or the outputs: z @ columns."""
    kinks: tuple[Kinks, ...] = ()
    active: tuple[Bool[np.ndarray, " n"], ...] = ()
    """For each stage: which coordinates are active in the base."""
    is_behind: bool = False
    """Whether the columns are still those before the last stage's nonlinearity, to be pushed through it."""
    room: int | None = None
    """Bytes that work arrays are to take beside columns, about; None: as many as are fast."""

    @classmethod
    def start(cls, network: "Network", plane: "Slice", room: int | None = None) -> "Restriction":
        """No stage yet: the first affine map on the slice."""
        first = affine_before(network, 0)
        columns = first.linear(np.vstack([plane.basis, np.reshape(plane.origin, (1, -1))]))
        columns[2] += first.bias
        return cls(network, columns, room=room)

    @classmethod
    def of(cls, partition: "Partition") -> "Restriction":
        """All stages on a partition's domain: the base is the pattern of a region in its middle, the kinks are the
        units whose pattern is not the same in all regions.
        """
        middle = partition.interior_points - partition.domain.mean(axis=0)
        base = int(np.argmin(np.einsum("ij,ij->i", middle, middle)))
        restriction = cls.start(partition.network, partition.plane)
        for stage, words, faces in zip(partition.network.stages, partition.bits, partition.ancestors, strict=True):
            units, active = varying_units(words, stage.n_units), unpack(words[faces[base]][None], stage.n_units)[0]
            restriction = restriction.advance(units, active, np.full(len(units), np.inf))
        return restriction

    @property
    def n_kinks(self) -> int:
        """Number of kinks K so far."""
        return sum(len(kinks.units) for kinks in self.kinks)

    def coordinates(self, t: Float64[np.ndarray, "V 2"]) -> Float64[np.ndarray, "V m"]:
        """z at points of the slice."""
        z = np.empty((len(t), 3 + self.n_kinks))
        z[:, :2], z[:, 2] = t, 1.0
        m = 3
        for kinks in self.kinks:
            y = z[:, :m] @ kinks.rows.T
            y *= kinks.signs
            np.maximum(y, 0.0, out=z[:, m : m + len(kinks.units)])
            m += len(kinks.units)
        return z

    def undecided(self, t: Float64[np.ndarray, "V 2"], tolerance: Float64[np.ndarray, " n"]) -> Undecided:
        """The units of the next stage that are positive at one of the points, by more than their tolerance, and not at
        another.

        Bounds decide nearly all units, first on the whole domain, then near each other; the rest are evaluated.
        """
        low, high = self._bounds(t)
        active = low > tolerance
        candidates = np.flatnonzero(~active & (high > tolerance))
        del low
        blocks = self._blocks(t)
        above, elsewhere = np.zeros((2, len(candidates)), dtype=bool)
        step = self._candidates_at_once(len(candidates))
        for a in range(0, len(candidates), step):
            chosen = candidates[a : a + step]
            columns = np.ascontiguousarray(self.columns[:, chosen])
            magnitudes = np.abs(columns)
            for _, z in blocks:
                _find_signs(z, columns, magnitudes, tolerance[chosen], above[a : a + step], elsewhere[a : a + step])
        units = candidates[above & elsewhere]
        columns = np.ascontiguousarray(self.columns[:, units])
        values = np.empty((len(t), len(units)))
        for place, z in blocks:
            values[place] = z @ columns
        active[candidates] = above
        active[units] = values.mean(axis=0) > 0
        sizes = self._sizes(t[:: -(-len(t) // _SIZE_POINTS)])
        stage = self.network.stages[len(self.kinks)]
        sizes[units] = np.maximum(values.max(axis=0), np.abs(stage.slopes[units]) * -values.min(axis=0))
        return Undecided(units, values, active, sizes, high)

    def advance(
        self,
        units: Int64[np.ndarray, " k"],
        active: Bool[np.ndarray, " n"],
        reach: Float64[np.ndarray, " k"],
        watch: "Watch | None" = None,
    ) -> "Restriction":
        """The restriction with one more stage, from its units with a kink, the base's sides and the kinks' reach."""
        return self.noted(units, active, reach).pushed(watch)

    def noted(
        self, units: Int64[np.ndarray, " k"], active: Bool[np.ndarray, " n"], reach: Float64[np.ndarray, " k"]
    ) -> "Restriction":
        """The same stage with its kinks, the columns left behind: how many they will be is known before they are."""
        rows = np.ascontiguousarray(self.columns[:, units].T)
        kinks = Kinks(units, np.where(active[units], -1.0, 1.0), rows, reach)
        return replace(self, kinks=(*self.kinks, kinks), active=(*self.active, active), is_behind=True)

    def pushed(self, watch: "Watch | None" = None) -> "Restriction":
        """The restriction with its columns pushed through the last stage's nonlinearity and the next affine map."""
        if self.room is not None:
            give_back_freed_memory()
        index, units = len(self.kinks) - 1, self.kinks[-1].units
        stage, following = self.network.stages[index], affine_before(self.network, index + 1)
        slopes = self.slopes(index)
        m, n = self.columns.shape
        columns = np.empty((m + len(units), following.n_outputs))
        step = self._rows_at_once(n, following)
        if watch is not None:
            watch.start(f"stage {index + 2}: columns", len(columns))
        for a in range(0, len(columns), step):
            b = min(a + step, len(columns))
            block = np.zeros((b - a, n))
            old = max(0, min(b, m) - a)
            np.multiply(self.columns[a : a + old], slopes, out=block[:old])
            new = units[a + old - m : b - m] if b > m else units[:0]
            block[np.arange(old, b - a), new] = 1.0 - stage.slopes[new]
            columns[a:b] = following.linear(block)
            if watch is not None:
                watch.advance(b - a)
        columns[2] += following.bias
        if self.room is not None:
            give_back_freed_memory()
        return replace(self, columns=columns, is_behind=False)

    def slopes(self, stage: int) -> Float64[np.ndarray, " n"]:
        """The base's slope of each coordinate of a stage."""
        return np.where(self.active[stage], 1.0, self.network.stages[stage].slopes)

    @property
    def _block_bytes(self) -> int:
        return _BLOCK_BYTES if self.room is None else self.room // _BLOCKS_OF_ROOM

    def _rows_at_once(self, n: int, following: AffineMap) -> int:
        """How many columns' coefficients are pushed together."""
        if self.room is None:
            return max(1, _BLOCK_BYTES // (8 * n))
        none, one = (following.bytes_of_rows(k) + 8 * k * (n + following.n_outputs) for k in (0, 1))
        return max(1, (self.room - none) // (one - none))

    def _candidates_at_once(self, n: int) -> int:
        """Of how many units the columns are copied, with their sizes and the bounds of one block of points."""
        of_each = 8 * (2 * len(self.columns) + _NEIGHBOURS + _BOUNDS * (self.points_at_once // _NEIGHBOURS + 1))
        return max(1, n) if self.room is None else max(_NEIGHBOURS, self.room // of_each)

    @property
    def points_at_once(self) -> int:
        """Points whose z are computed together."""
        most = _POINTS if self.room is None else self.room // (8 * (3 + self.n_kinks))
        return max(_NEIGHBOURS, min(_POINTS, most))

    def _sizes(self, t: Float64[np.ndarray, "v 2"]) -> Float64[np.ndarray, " n"]:
        """The largest sizes of the next stage's outputs at points."""
        stage, z = self.network.stages[len(self.kinks)], self.coordinates(t)
        sizes = np.empty(stage.n_units)
        step = max(1, self._block_bytes // (8 * len(t)))
        for a in range(0, len(sizes), step):
            y = z @ self.columns[:, a : a + step]
            sizes[a : a + step] = np.abs(np.where(y > 0, y, stage.slopes[a : a + step] * y)).max(axis=0)
        return sizes

    def _bounds(self, t: Float64[np.ndarray, "V 2"]) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """Least and greatest values of the next stage's units that z allows in a box: rigorous, not tight."""
        reach = [kinks.reach for kinks in self.kinks]
        z_low = np.concatenate([t.min(axis=0), [1.0], *(np.zeros_like(part) for part in reach)])
        z_high = np.concatenate([t.max(axis=0), [1.0], *reach])
        middle, half = (z_low + z_high) / 2, (z_high - z_low) / 2
        n = self.columns.shape[1]
        centre, spread = np.empty(n), np.empty(n)
        step = max(1, self._block_bytes // (8 * len(middle)))
        for a in range(0, n, step):
            block = self.columns[:, a : a + step]
            centre[a : a + step] = middle @ block
            block = np.abs(block)
            spread[a : a + step] = half @ block + _ROUNDING * ((np.abs(middle) + half) @ block)
        return centre - spread, centre + spread

    def _blocks(self, t: Float64[np.ndarray, "V 2"]) -> "Blocks":
        """z at the points, block by block of neighbours, to be iterated over more than once."""
        side = max(1.0, np.sqrt(len(t) / _NEIGHBOURS))
        cell = np.floor((t - t.min(axis=0)) / np.maximum(np.ptp(t, axis=0), np.finfo(float).tiny) * side)
        places = np.split(np.lexsort(cell.T), range(self.points_at_once, len(t), self.points_at_once))
        if 8 * len(t) * len(self.columns) <= (_HELD_BYTES if self.room is None else self.room):
            return [(place, self.coordinates(t[place])) for place in places]
        return Recomputed(self, t, places)


Block = tuple[Int64[np.ndarray, " v"], Float64[np.ndarray, "v m"]]
Blocks = Iterable[Block]


@dataclass(frozen=True, eq=False, repr=False)
class Recomputed:
    """Blocks too many to be held."""

    restriction: Restriction
    t: Float64[np.ndarray, "V 2"]
    places: list[Int64[np.ndarray, " v"]]

    def __iter__(self) -> Iterator[Block]:
        for place in self.places:
            yield place, self.restriction.coordinates(self.t[place])


def _find_signs(
    z: Float64[np.ndarray, "v m"],
    columns: Float64[np.ndarray, "m n"],
    magnitudes: Float64[np.ndarray, "m n"],
    tolerance: Float64[np.ndarray, " n"],
    above: Bool[np.ndarray, " n"],
    elsewhere: Bool[np.ndarray, " n"],
) -> None:
    """Note which units are positive, and which are not, at some of the points: by bounds for neighbours together, by
    values where a bound leaves it open and no other point has shown both.
    """
    starts = range(0, len(z), _NEIGHBOURS)
    low, high = np.minimum.reduceat(z, starts, axis=0), np.maximum.reduceat(z, starts, axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    centre = middle @ columns
    spread = half @ magnitudes + _ROUNDING * ((np.abs(middle) + half) @ magnitudes)
    surely_above, surely_not = centre - spread > tolerance, centre + spread <= tolerance
    above |= surely_above.any(axis=0)
    elsewhere |= surely_not.any(axis=0)
    is_open = ~(surely_above | surely_not)
    for row, start in enumerate(starts):
        units = np.flatnonzero(is_open[row] & ~(above & elsewhere))
        y = z[start : start + _NEIGHBOURS] @ columns[:, units]
        positive = y > tolerance[units]
        above[units] |= positive.any(axis=0)
        elsewhere[units] |= ~positive.all(axis=0)


def varying_units(words: UInt64[np.ndarray, "F words"], n_units: int) -> Int64[np.ndarray, " k"]:
    """The units of a stage that are active on some faces and not on others, from the faces' pattern words."""
    varying = np.bitwise_or.reduce(words, axis=0) ^ np.bitwise_and.reduce(words, axis=0)
    return np.flatnonzero(unpack(varying[None], n_units)[0])


def has_operators(network: "Network") -> bool:
    """Whether an affine map of the network is too large to be held as a matrix."""
    return any(not isinstance(affine_before(network, stage), Affine) for stage in range(len(network.stages) + 1))
