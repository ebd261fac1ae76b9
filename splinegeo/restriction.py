"""A network on a convex domain of a slice: affine but for the few units that change sign there.

Let a base pattern fix a side of every unit, and let κ be how far a unit is past zero on its other side. A stage's
outputs are then σ(y) = s y + (1 - a) κ, with the base's slope s and the slope a below zero, and the values of every
stage are linear in z(t) = (t₁, t₂, 1, κ₁, …, κ_K), where K units change sign on the domain. One column for each of
them, pushed through the network once, serves all vertices and all regions; of 10⁶ units some hundred change sign about
an image.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from splinegeo._bits import unpack
from splinegeo.affine import Affine
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
    slopes: tuple[Float64[np.ndarray, " n"], ...] = ()
    """For each stage: the base's slope of each coordinate."""

    @classmethod
    def start(cls, network: "Network", plane: "Slice") -> "Restriction":
        """No stage yet: the first affine map on the slice."""
        first = affine_before(network, 0)
        columns = first.linear(np.vstack([plane.basis, np.reshape(plane.origin, (1, -1))]))
        columns[2] += first.bias
        return cls(network, columns)

    @classmethod
    def of(cls, partition: "Partition") -> "Restriction":
        """All stages on a partition's domain: the base is the pattern of a region in its middle, the kinks are the
        units whose pattern is not the same in all regions.
        """
        middle = partition.interior_points - partition.domain.mean(axis=0)
        base = int(np.argmin(np.einsum("ij,ij->i", middle, middle)))
        restriction = cls.start(partition.network, partition.plane)
        for stage, words, faces in zip(partition.network.stages, partition.bits, partition.ancestors, strict=True):
            varying = np.bitwise_or.reduce(words, axis=0) ^ np.bitwise_and.reduce(words, axis=0)
            units = np.flatnonzero(unpack(varying[None], stage.n_units)[0])
            active = unpack(words[faces[base]][None], stage.n_units)[0]
            restriction = restriction.advance(units, active, np.full(len(units), np.inf))
        return restriction

    @property
    def n_kinks(self) -> int:
        """Number of kinks K so far."""
        return sum(len(kinks.units) for kinks in self.kinks)

    def coordinates(self, t: Float64[np.ndarray, "V 2"]) -> Float64[np.ndarray, "V m"]:
        """z at points of the slice."""
        z = np.empty((len(t), len(self.columns)))
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
        columns = np.ascontiguousarray(self.columns[:, candidates])
        magnitudes = np.abs(columns)
        above, elsewhere = np.zeros((2, len(candidates)), dtype=bool)
        blocks = self._blocks(t)
        for _, z in blocks:
            _find_signs(z, columns, magnitudes, tolerance[candidates], above, elsewhere)
        crossing = above & elsewhere
        columns = np.ascontiguousarray(columns[:, crossing])
        values = np.empty((len(t), columns.shape[1]))
        for place, z in blocks:
            values[place] = z @ columns
        active[candidates] = above
        active[candidates[crossing]] = values.mean(axis=0) > 0
        sizes = self._sizes(t[:: -(-len(t) // _SIZE_POINTS)])
        stage = self.network.stages[len(self.kinks)]
        units = candidates[crossing]
        outputs = np.where(values > 0, values, stage.slopes[units] * values)
        sizes[units] = np.abs(outputs).max(axis=0)
        return Undecided(units, values, active, sizes, high)

    def advance(
        self,
        units: Int64[np.ndarray, " k"],
        active: Bool[np.ndarray, " n"],
        reach: Float64[np.ndarray, " k"],
        watch: "Watch | None" = None,
    ) -> "Restriction":
        """The restriction with one more stage, from its units with a kink, the base's sides and the kinks' reach."""
        index = len(self.kinks)
        stage, following = self.network.stages[index], affine_before(self.network, index + 1)
        slopes = np.where(active, 1.0, stage.slopes)
        m, n = self.columns.shape
        columns = np.empty((m + len(units), following.n_outputs))
        step = max(1, _BLOCK_BYTES // (8 * n))
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
        rows = np.ascontiguousarray(self.columns[:, units].T)
        kinks = Kinks(units, np.where(active[units], -1.0, 1.0), rows, reach)
        return Restriction(self.network, columns, (*self.kinks, kinks), (*self.slopes, slopes))

    def _sizes(self, t: Float64[np.ndarray, "v 2"]) -> Float64[np.ndarray, " n"]:
        """The largest sizes of the next stage's outputs at points."""
        stage, z = self.network.stages[len(self.kinks)], self.coordinates(t)
        sizes = np.empty(stage.n_units)
        step = max(1, _BLOCK_BYTES // (8 * len(t)))
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
        step = max(1, _BLOCK_BYTES // (8 * len(middle)))
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
        places = np.split(np.lexsort(cell.T), range(_POINTS, len(t), _POINTS))
        if 8 * len(t) * len(self.columns) <= _HELD_BYTES:
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


def has_operators(network: "Network") -> bool:
    """Whether an affine map of the network is too large to be held as a matrix."""
    return any(not isinstance(affine_before(network, stage), Affine) for stage in range(len(network.stages) + 1))
