"""Activation regions of small networks in exact rational arithmetic: an oracle that shares no code with the engine.

Every quantity is an integer over a common positive denominator, and every vertex is an integer point in homogeneous
coordinates, so no sign is ever rounded and networks with floating-point weights (dyadic rationals) stay affordable.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from operator import mul

Rational = Fraction | int
Pattern = tuple[int, ...]
Point = tuple[Fraction, Fraction]
Matrix = tuple[tuple[Fraction, ...], ...]

_HomogeneousPoint = tuple[int, int, int]
_Piece = tuple[list[_HomogeneousPoint], Pattern]


@dataclass(frozen=True)
class Affine:
    """The layer h -> weight h + bias. weight: (n, m); bias: (n,). Raises ValueError if the sizes do not fit."""

    weight: Matrix
    bias: tuple[Fraction, ...]
    has_bias: bool = True

    def __post_init__(self) -> None:
        if len(self.bias) != len(self.weight) or len({len(row) for row in self.weight}) != 1:
            lengths = [len(row) for row in self.weight]
            raise ValueError(f"the weight has rows of length {lengths}, the bias {len(self.bias)} entries")


@dataclass(frozen=True)
class Kink:
    """The layer z -> max(z, 0) + negative_slope * min(z, 0), unit by unit: ReLU (slope 0) or LeakyReLU."""

    negative_slope: Fraction = Fraction(0)


Network = tuple[Affine | Kink, ...]


@dataclass(frozen=True)
class ExactRegion:
    """A full-dimensional activation region and its map f(x(t)) = slice_map[:, :2] t + slice_map[:, 2].

    polygon: (k, 2), counter-clockwise, no three corners in line; slice_map: (C, 3).
    """

    polygon: tuple[Point, ...]
    area: Fraction
    slice_map: Matrix


def affine(weight: Iterable[Iterable[Rational]], bias: Iterable[Rational] | None = None) -> Affine:
    """An Affine layer from nested rationals. weight: (n, m); bias: (n,) or None for a layer without biases."""
    rows = tuple(tuple(Fraction(entry) for entry in row) for row in weight)
    if bias is None:
        return Affine(rows, (Fraction(0),) * len(rows), has_bias=False)
    return Affine(rows, tuple(Fraction(entry) for entry in bias))


def enumerate_exactly(
    network: Network,
    domain: Sequence[tuple[Rational, Rational]],
    origin: Sequence[Rational] = (0, 0),
    basis: Sequence[Sequence[Rational]] = ((1, 0), (0, 1)),
) -> dict[Pattern, ExactRegion]:
    """Pattern (the bits of all Kink layers, concatenated) -> region, over every region of positive area.

    domain: (k, 2), a strictly convex polygon on the slice; origin: (d,); basis: (2, d), the rows of U in x = o + t U.
    A unit's bit is 1 iff the unit is positive somewhere in the region (DESIGN, section 1). Raises ValueError for a
    domain that is not strictly convex, AssertionError if two regions share a pattern (impossible: each pattern's set is
    convex).
    """
    columns = [*basis, origin]
    map_on_slice = _ScaledMap.from_columns([[Fraction(entry) for entry in column] for column in columns])
    regions: dict[Pattern, ExactRegion] = {}
    layers = [_ScaledAffine.of(layer) if isinstance(layer, Affine) else layer for layer in network]
    pending: list[tuple[list[_HomogeneousPoint], _ScaledMap, int, Pattern]]
    pending = [(_homogeneous_polygon(domain), map_on_slice, 0, ())]
    while pending:
        polygon, current, depth, pattern = pending.pop()
        if depth == len(layers):
            assert pattern not in regions, f"two regions share the pattern {pattern}"
            points = tuple((Fraction(x, w), Fraction(y, w)) for x, y, w in polygon)
            regions[pattern] = ExactRegion(points, polygon_area(points), current.rows())
            continue
        layer = layers[depth]
        if isinstance(layer, _ScaledAffine):
            pending.append((polygon, layer.after(current), depth + 1, pattern))
        else:
            for piece, bits in _split_by_units(polygon, current):
                pending.append((piece, current.kinked(bits, layer.negative_slope), depth + 1, pattern + bits))
    return regions


def affine_map(network: Network, pattern: Pattern, input_size: int) -> tuple[Matrix, tuple[Fraction, ...]]:
    """(A, B) with f(x) = A x + B for inputs of the given pattern, in the full input space. A: (C, d); B: (C,)."""
    identity = [[Fraction(int(i == j)) for i in range(input_size)] for j in range(input_size + 1)]
    current = _ScaledMap.from_columns(identity)
    used = 0
    for layer in network:
        if isinstance(layer, Affine):
            current = _ScaledAffine.of(layer).after(current)
        else:
            width = len(current.columns[0])
            current = current.kinked(pattern[used : used + width], layer.negative_slope)
            used += width
    if used != len(pattern):
        raise ValueError(f"the pattern has {len(pattern)} bits, the network has {used} units")
    rows = current.rows()
    return tuple(row[:-1] for row in rows), tuple(row[-1] for row in rows)


def polygon_area(points: Sequence[Point]) -> Fraction:
    """Signed area of a polygon, positive if counter-clockwise. points: (k, 2)."""
    following = [*points[1:], points[0]]
    return sum((x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True)), Fraction(0)) / 2


def narrowest_width(regions: Iterable[ExactRegion]) -> float:
    """The least area / diameter over the regions: a lower bound (within a factor of two) of the narrowest width."""

    def width(region: ExactRegion) -> float:
        squared = max((x - u) ** 2 + (y - v) ** 2 for x, y in region.polygon for u, v in region.polygon)
        return float(region.area) / float(squared) ** 0.5

    return min(width(region) for region in regions)


@dataclass(frozen=True)
class _ScaledMap:
    """An affine map over the slice (or the input space): columns[k][i] / denominator, the constant column last."""

    columns: list[list[int]]
    denominator: int

    @staticmethod
    def from_columns(columns: Sequence[Sequence[Fraction]]) -> "_ScaledMap":
        denominator = lcm(*(entry.denominator for column in columns for entry in column))
        return _ScaledMap([[int(entry * denominator) for entry in column] for column in columns], denominator)

    def rows(self) -> Matrix:
        return tuple(tuple(Fraction(c, self.denominator) for c in row) for row in zip(*self.columns, strict=True))

    def kinked(self, bits: Pattern, negative_slope: Fraction) -> "_ScaledMap":
        factors = [negative_slope.denominator if bit else negative_slope.numerator for bit in bits]
        columns = [[c * factor for c, factor in zip(column, factors, strict=True)] for column in self.columns]
        return _ScaledMap(columns, self.denominator * negative_slope.denominator)


@dataclass(frozen=True)
class _ScaledAffine:
    """An Affine layer with integer entries over one positive denominator."""

    rows: list[list[int]]
    bias: list[int]
    denominator: int

    @staticmethod
    def of(layer: Affine) -> "_ScaledAffine":
        denominator = lcm(*(entry.denominator for row in (*layer.weight, layer.bias) for entry in row))
        rows = [[int(entry * denominator) for entry in row] for row in layer.weight]
        return _ScaledAffine(rows, [int(entry * denominator) for entry in layer.bias], denominator)

    def after(self, inner: _ScaledMap) -> _ScaledMap:
        if len(inner.columns[0]) != len(self.rows[0]):
            raise ValueError(f"a layer expects {len(self.rows[0])} inputs and gets {len(inner.columns[0])}")
        columns = [[sum(map(mul, row, column)) for row in self.rows] for column in inner.columns]
        columns[-1] = [c + b * inner.denominator for c, b in zip(columns[-1], self.bias, strict=True)]
        return _ScaledMap(columns, inner.denominator * self.denominator)


def _homogeneous_polygon(domain: Sequence[tuple[Rational, Rational]]) -> list[_HomogeneousPoint]:
    points = [(Fraction(x), Fraction(y)) for x, y in domain]
    if polygon_area(points) < 0:
        points.reverse()
    count = len(points)
    turns = [polygon_area([points[i - 2], points[i - 1], points[i]]) for i in range(count)]
    fans = [polygon_area([points[0], points[i], points[i + 1]]) for i in range(1, count - 1)]
    # Left turns alone would admit a polygon that winds round twice; a fan from one corner would not stay positive then.
    if count < 3 or min(turns) <= 0 or min(fans) <= 0:
        raise ValueError(f"the domain {domain} is not a strictly convex polygon")
    return [_reduced(int(x * w), int(y * w), w) for x, y in points for w in [lcm(x.denominator, y.denominator)]]


def _reduced(x: int, y: int, w: int) -> _HomogeneousPoint:
    divisor = gcd(x, y, w) if w > 0 else -gcd(x, y, w)
    return x // divisor, y // divisor, w // divisor


def _split_by_units(polygon: list[_HomogeneousPoint], current: _ScaledMap) -> list[_Piece]:
    """The polygon cut by the zero line of every unit in turn, with the bits of each piece."""
    pieces: list[_Piece] = [(polygon, ())]
    for line in zip(*current.columns, strict=True):
        split: list[_Piece] = []
        for piece, bits in pieces:
            values = [line[0] * x + line[1] * y + line[2] * w for x, y, w in piece]
            if max(values) > 0:
                split.append((piece if min(values) >= 0 else _clip(piece, values), (*bits, 1)))
            if min(values) < 0 or max(values) == 0:
                split.append((piece if max(values) <= 0 else _clip(piece, [-v for v in values]), (*bits, 0)))
        pieces = split
    return pieces


def _clip(polygon: list[_HomogeneousPoint], values: list[int]) -> list[_HomogeneousPoint]:
    """The part of the polygon where the affine function with these homogeneous values at the corners is >= 0."""
    kept: list[_HomogeneousPoint] = []
    for i, (point, value) in enumerate(zip(polygon, values, strict=True)):
        before, value_before = polygon[i - 1], values[i - 1]
        if value * value_before < 0:
            # The combination value * before - value_before * point is where the function is zero, whatever the scales.
            kept.append(_reduced(*(value * a - value_before * b for a, b in zip(before, point, strict=True))))
        if value >= 0:
            kept.append(point)
    return kept
