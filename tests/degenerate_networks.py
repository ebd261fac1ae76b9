"""Small networks with frequent coincidences, seeded or named: exact rationals, and the torch modules they stand for."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import gcd
from random import Random

import torch
from exact_oracle import Affine, Kink, Network, Rational, affine
from torch import nn

Domain = tuple[tuple[Rational, Rational], ...]
Line = tuple[Rational, Rational, Rational]
Vector = tuple[Fraction, ...]
Basis = tuple[Vector, ...]
IntegerLayer = tuple[list[list[int]], list[int]]

SQUARE: Domain = ((-1, -1), (1, -1), (1, 1), (-1, 1))
IDENTITY = ((Fraction(1), Fraction(0)), (Fraction(0), Fraction(1)))

DOMAINS: tuple[Domain, ...] = (
    SQUARE,
    ((-3, -3), (3, -3), (3, 3), (-3, 3)),
    ((-3, -1), (3, -1), (3, 2), (-3, 2)),
    ((-4, 0), (4, 0), (4, 1), (-4, 1)),  # the origin on an edge
    ((0, 0), (4, 0), (4, 4), (0, 4)),  # the origin at a corner
    ((0, 0), (4, 0), (0, 4)),
    ((-2, -1), (3, -1), (0, 3)),
    ((2, 0), (1, 2), (-1, 2), (-2, 0), (-1, -2), (1, -2)),
    ((1, 1), (4, 2), (5, 5), (2, 6), (0, 4)),  # the origin outside
)

# Orthonormal pairs of rational vectors: coordinates are appended, permuted and negated to reach other input spaces.
ORTHONORMAL_PAIRS: tuple[Basis, ...] = tuple(
    (tuple(Fraction(x, n) for x in u), tuple(Fraction(x, m) for x in v))
    for u, n, v, m in (
        ((1, 0), 1, (0, 1), 1),
        ((3, 4), 5, (-4, 3), 5),
        ((2, 2, 1), 3, (-2, 1, 2), 3),
        ((2, 3, 6), 7, (3, -6, 2), 7),
        ((1, 1, 1, 1), 2, (1, -1, 1, -1), 2),
        ((3, 4, 0, 0), 5, (0, 0, 5, 12), 13),
    )
)

# 1 to 8 units, the wide layers more often: they hold the coincidences.
WIDTHS = (1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 8, 8)

# Slopes whose pieces differ, exact in binary; -1 makes |z|, 2 a concave unit.
LEAKY_SLOPES = (Fraction(1, 4), Fraction(1, 2), Fraction(-1), Fraction(2))


@dataclass(frozen=True)
class Case:
    """A network, a plane x = origin + t basis and a convex domain on it; expected_regions where the count is known."""

    name: str
    network: Network
    domain: Domain = SQUARE
    origin: Vector = (Fraction(0), Fraction(0))
    basis: Basis = IDENTITY
    expected_regions: int | None = None

    def __str__(self) -> str:
        """The case as an expression that builds it again; of layers wider than 30 units only the sizes."""
        layers = ",\n    ".join(_layer_text(layer) for layer in self.network)
        place = f"domain={_plain(self.domain)}, origin={_plain(self.origin)}, basis={_plain(self.basis)}"
        return f"Case({self.name!r}, (\n    {layers},\n  ), {place})"


def to_module(network: Network) -> nn.Sequential:
    """The float64 torch module of a network. Raises ValueError if a weight is not exactly a float64."""
    modules: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, Kink):
            slope = _exact_float(layer.negative_slope)
            modules.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
            continue
        linear = nn.Linear(len(layer.weight[0]), len(layer.weight), bias=layer.has_bias, dtype=torch.float64)
        with torch.no_grad():
            weight = [[_exact_float(x) for x in row] for row in layer.weight]
            linear.weight.copy_(torch.tensor(weight, dtype=torch.float64))
            if layer.has_bias:
                linear.bias.copy_(torch.tensor([_exact_float(x) for x in layer.bias], dtype=torch.float64))
        modules.append(linear)
    return nn.Sequential(*modules)


def default_network(sizes: Sequence[int], *, bias: bool, seed: int = 0) -> Network:
    """The ReLU network of torch's default float32 nn.Linear initialisation after manual_seed, as exact rationals."""
    layers: list[Affine | Kink] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for inputs, outputs in pairwise(sizes):
            linear = nn.Linear(inputs, outputs, bias=bias)
            layers += [affine(linear.weight.tolist(), linear.bias.tolist() if bias else None), Kink()]
    return tuple(layers[:-1])


def relu_network(*weights_and_biases: tuple[Sequence[Sequence[Rational]], Sequence[Rational] | None]) -> Network:
    """Affine layers with a ReLU between each two."""
    layers: list[Affine | Kink] = []
    for weight, bias in weights_and_biases:
        layers += [affine(weight, bias), Kink()]
    return tuple(layers[:-1])


def lines_network(lines: Sequence[Line]) -> Network:
    """A one-layer ReLU network whose units vanish on the lines a x + b y + c = 0; the read-out adds them up."""
    return relu_network(([line[:2] for line in lines], [line[2] for line in lines]), ([[1] * len(lines)], [0]))


def random_case(seed: int) -> Case:
    """A random integer network of 1 to 4 layers of 1 to 8 units, spoilt in up to three ways, on a random plane."""
    rng = Random(seed)
    domain = rng.choice(DOMAINS)
    origin, basis = _random_plane(rng)
    first_layer = rng.choice((_random_first_layer, _random_first_layer, _pencil, _corner_lines, _grid))
    # Without biases and with the plane through the origin every zero set is a cone with its tip there.
    bias_free = rng.random() < 0.3
    if bias_free:
        first_layer = _random_first_layer
        if rng.random() < 0.7:
            origin = (Fraction(0),) * len(origin)
    magnitude = rng.choice((1, 1, 2, 3))
    slope = Fraction(0) if rng.random() < 0.75 else rng.choice(LEAKY_SLOPES)

    weight, bias = first_layer(rng, domain, origin, basis)
    layers: list[IntegerLayer] = [(weight, bias)]
    for width in [rng.choice(WIDTHS) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]:
        inputs = len(layers[-1][0])
        weight = [[rng.randint(-magnitude, magnitude) for _ in range(inputs)] for _ in range(width)]
        reach = rng.choice((0, 1, 2, 4))
        layers.append((weight, [rng.randint(-reach, reach) for _ in range(width)]))
    names = []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        spoil = rng.choice(SPOILERS)
        spoil(rng, *rng.choice(layers))
        names.append(spoil.__name__.strip("_"))
    if len(layers) > 1 and rng.random() < 0.2:
        position = rng.randrange(1, len(layers))
        _cancel(rng, layers[position - 1], layers[position])
        names.append("cancel")
    outputs = rng.randint(1, 3)
    readout = [[rng.randint(-2, 2) for _ in layers[-1][0]] for _ in range(outputs)]
    layers.append((readout, [rng.randint(-2, 2) for _ in range(outputs)]))

    network: list[Affine | Kink] = []
    for weight, bias in layers:
        network += [affine(weight, None if bias_free else bias), Kink(slope)]
    if rng.random() < 0.9:
        network.pop()
    style = "bias-free" if bias_free else first_layer.__name__.strip("_")
    return Case("-".join([f"seed {seed}", style, *names]), tuple(network), domain, origin, basis)


# --- spoilers: each makes one layer degenerate, in place ---


def _duplicate(rng: Random, weight: list[list[int]], bias: list[int]) -> None:
    source, target = rng.randrange(len(weight)), rng.randrange(len(weight))
    weight[target], bias[target] = list(weight[source]), bias[source]


def _negate_and_scale(rng: Random, weight: list[list[int]], bias: list[int]) -> None:
    source, target, factor = rng.randrange(len(weight)), rng.randrange(len(weight)), rng.choice((-3, -2, -1, 2, 3))
    weight[target], bias[target] = [factor * x for x in weight[source]], factor * bias[source]


def _zero_unit(rng: Random, weight: list[list[int]], bias: list[int]) -> None:
    target = rng.randrange(len(weight))
    weight[target], bias[target] = [0] * len(weight[target]), rng.choice((-1, 0, 0, 1))


def _parallel(rng: Random, weight: list[list[int]], bias: list[int]) -> None:
    source, target = rng.randrange(len(weight)), rng.randrange(len(weight))
    weight[target], bias[target] = list(weight[source]), bias[source] + rng.choice((-2, -1, 1, 2))


def _dead_layer(rng: Random, weight: list[list[int]], bias: list[int]) -> None:
    # Behind a ReLU nothing is positive anywhere; as the first layer, or behind LeakyReLU, on a part of the domain.
    shift = rng.choice((0, 0, 1))
    for i, row in enumerate(weight):
        weight[i], bias[i] = [-abs(x) for x in row], -shift


def _constant_layer(rng: Random, weight: list[list[int]], bias: list[int]) -> None:
    for i, row in enumerate(weight):
        weight[i], bias[i] = [0] * len(row), rng.randint(-1, 2)


def _dead_bias(rng: Random, weight: list[list[int]], bias: list[int]) -> None:
    target = rng.randrange(len(weight))
    bias[target] = -1000


SPOILERS = (_duplicate, _negate_and_scale, _zero_unit, _parallel) * 3 + (_dead_bias, _dead_layer, _constant_layer)


def _cancel(rng: Random, previous: IntegerLayer, layer: IntegerLayer) -> None:
    """Make units of the layer the difference of two proportional units: exactly zero, in floats only up to rounding."""
    factor, count = rng.choice((1, 2, 3)), len(previous[0])
    source, target = rng.randrange(count), rng.randrange(count)
    if source == target:
        return
    previous[0][target] = [factor * x for x in previous[0][source]]
    previous[1][target] = factor * previous[1][source]
    for unit in range(len(layer[0])) if rng.random() < 0.5 else {rng.randrange(len(layer[0]))}:
        row = [0] * count
        row[source], row[target] = -factor, 1
        layer[0][unit], layer[1][unit] = row, 0


# --- planes and first layers ---


def _random_plane(rng: Random) -> tuple[Vector, Basis]:
    if rng.random() < 0.5:
        return (Fraction(0), Fraction(0)), IDENTITY
    pair = rng.choice(ORTHONORMAL_PAIRS)
    size = len(pair[0]) + rng.randint(0, 2)
    order, signs = rng.sample(range(size), size), [rng.choice((-1, 1)) for _ in range(size)]
    basis = []
    for vector in pair:
        padded = [*vector, *[Fraction(0)] * (size - len(vector))]
        basis.append(tuple(signs[i] * padded[order[i]] for i in range(size)))
    return tuple(Fraction(rng.randint(-2, 2)) for _ in range(size)), tuple(basis)


def _from_lines(lines: Sequence[Line], origin: Vector, basis: Basis) -> IntegerLayer:
    """Integer units in the input space whose zero sets meet the plane in the lines a x + b y + c = 0."""
    scale = max(entry.denominator for entry in basis[0]) * max(entry.denominator for entry in basis[1])
    weight, bias = [], []
    for a, b, c in lines:
        row = [int(scale * (a * u + b * v)) for u, v in zip(*basis, strict=True)]
        weight.append(row)
        bias.append(int(scale * c - sum(x * o for x, o in zip(row, origin, strict=True))))
    return weight, bias


def _random_first_layer(rng: Random, domain: Domain, origin: Vector, basis: Basis) -> IntegerLayer:
    """Random integer weights; the biases bring the zero lines near integer points of the domain's bounding box."""
    weight, bias = [], []
    magnitude = rng.choice((1, 2, 3))
    for _ in range(rng.choice(WIDTHS)):
        x, y = _lattice_point(rng, domain)
        row = [rng.randint(-magnitude, magnitude) for _ in origin]
        weight.append(row)
        bias.append(-round(sum(w * (o + x * u + y * v) for w, o, u, v in zip(row, origin, *basis, strict=True))))
    return weight, bias


def _pencil(rng: Random, domain: Domain, origin: Vector, basis: Basis) -> IntegerLayer:
    """Lines concurrent at one or two integer points."""
    centres = [_lattice_point(rng, domain) for _ in range(rng.choice((1, 2)))]
    directions = [(rng.randint(-3, 3), rng.randint(-3, 3)) for _ in range(rng.choice(WIDTHS))]
    through = [rng.choice(centres) for _ in directions]
    lines = [(a, b, -a * x - b * y) for (a, b), (x, y) in zip(directions, through, strict=True)]
    return _from_lines(lines, origin, basis)


def _corner_lines(rng: Random, domain: Domain, origin: Vector, basis: Basis) -> IntegerLayer:
    """Lines through two corners of the domain (a diagonal or an edge), or through a corner and an integer point."""
    lines = []
    for _ in range(rng.choice(WIDTHS)):
        (x, y), (u, v) = rng.sample(domain, 2)
        if rng.random() < 0.4:
            u, v = x + rng.randint(-2, 2), y + rng.randint(-2, 2)
        lines.append(_line_through(*rng.sample([(x, y), (u, v)], 2)))
    return _from_lines(lines, origin, basis)


def _grid(rng: Random, domain: Domain, origin: Vector, basis: Basis) -> IntegerLayer:
    """Lines of an integer grid and of its diagonals: three or four meet at most crossings."""
    normals = rng.choices(((1, 0), (0, 1), (1, 1), (1, -1)), k=rng.choice(WIDTHS))
    lines = [(a, b, -a * x - b * y) for a, b in normals for x, y in [_lattice_point(rng, domain)]]
    return _from_lines(lines, origin, basis)


def _lattice_point(rng: Random, domain: Domain) -> tuple[int, int]:
    x, y = (rng.randint(int(min(values)), int(max(values))) for values in zip(*domain, strict=True))
    return x, y


def named_cases() -> tuple[Case, ...]:
    """The degenerate table of the reference measurements with its true counts, then coincidences one by one."""
    return (*_reference_table(), *_single_coincidences())


def _reference_table() -> tuple[Case, ...]:
    five_lines = [(-2, 1, -1), (-1, -2, -1), (-1, -3, 0), (-3, 3, 0), (-3, 2, 1)]
    four_lines: list[Line] = [(3, -3, 0), (0, 3, 1), (3, -1, 1), (-1, 2, 0)]
    near_copies = ((3, -1, Fraction(1 + 1e-7)), (Fraction(3 + 3e-7), -1, 1), (-3, 1, Fraction(-1 - 1e-7)))
    grid = [line for k in range(-6, 7, 2) for line in ((1, 0, k), (0, 1, k))]
    diagonals = [line for k in range(-3, 4) for line in ((1, -1, k), (1, 1, k))]
    # The first unit lives where x > 0.76, 12 % of the square; the second layer cuts that strip in four.
    dead_layer = relu_network(([[25, 0]], [-19]), ([[1], [1], [1]], [-1, -2, -4]), ([[1, 1, 1]], None))
    eight_lines = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (1, -1, 0), (2, 1, 0), (1, 2, 0), (2, -1, 0), (1, -2, 0)]
    through_origin = relu_network(([line[:2] for line in eight_lines], None), ([[1, -1] * 4], None))
    return (
        Case("bias-free 2-8-1, integer", through_origin, expected_regions=16),
        Case("bias-free 2-8-1, default", default_network((2, 8, 1), bias=False), expected_regions=16),
        Case("two identical units", lines_network([*five_lines, five_lines[2]]), expected_regions=12),
        Case("dead layer over 88 %", dead_layer, expected_regions=5),
        Case("bias-free 2-64-64-64-10", default_network((2, 64, 64, 64, 10), bias=False), expected_regions=398),
        Case("units equal to 1e-7: offset", lines_network([*four_lines, near_copies[0]]), expected_regions=15),
        Case("units equal to 1e-7: turned", lines_network([*four_lines, near_copies[1]])),
        Case("units equal to 1e-7: negated", lines_network([*four_lines, near_copies[2]]), expected_regions=15),
        Case("grid with diagonals", lines_network([*grid, *diagonals]), _square(6), expected_regions=176),
        Case("biased 2-32-32-32-2", default_network((2, 32, 32, 32, 2), bias=True), expected_regions=1180),
    )


def _single_coincidences() -> tuple[Case, ...]:
    fold = ([[1, 0], [-1, 0], [0, 1], [0, -1]], [0, 0, 0, 0])
    fold_again = ([[2, 2, 0, 0], [-2, -2, 0, 0], [0, 0, 2, 2], [0, 0, -2, -2]], [-1, 1, -1, 1])
    absolute_sum = relu_network(fold, ([[1, 1, 1, 1]] * 2, [-1, -2]), ([[1, 1]], [0]))
    folds = relu_network(fold, fold_again, fold_again, ([[1, 1, 1, 1]], [0]))
    hexagon = DOMAINS[7]
    edges_and_diagonals = [_line_through(p, q) for i, p in enumerate(hexagon) for q in hexagon[i + 1 :]]
    square_edges = [_line_through(SQUARE[i - 1], SQUARE[i]) for i in range(4)]
    bundle = [(3, -3, 0), (0, 3, 1), (3, -1, 1), (-1, 2, 0)]
    copies = [tuple((i % 3 + 1) * (-1) ** (i % 7) * c for c in bundle[i % 4]) for i in range(130)]
    pencil = [(x, y, 0) for x in range(1, 7) for y in range(-6, 7) if gcd(x, y) == 1]
    corner_pencil = [(a, -b, a - b) for a in range(1, 8) for b in range(1, 8) if gcd(a, b) == 1]
    integer_grid = [line for k in range(-9, 10) for line in ((1, 0, k), (0, 1, k))]
    near_triple: list[Line] = [(1, 0, 0), (0, 1, 0), (1, 1, Fraction(2.0**-20))]
    zero_layer = ([[1, 1], [0, 0], [0, 0], [0, 0]], [0, 0, 1, -1])
    zero_units = relu_network(zero_layer, ([[1, 0, 1, 0], [0, 1, 0, 1]], [-1, 0]))
    constant = relu_network(([[0, 0], [0, 0]], [1, 2]), ([[1, -1], [2, -1]], [0, 0]), ([[1, 1]], [3]))
    first_kink = (Kink(), affine([[1, 1], [1, -1]], [-1, 0]), Kink(), affine([[1, 1]]))
    two_affine = (affine([[1, 2], [2, -1], [1, 1]]), affine([[1, 1, -1], [1, 0, 1]], [0, 1]), Kink(), affine([[1, 1]]))
    twice = (affine([[1, 2], [-1, 1]]), Kink(Fraction(-1)), Kink(), affine([[1, 1]]))
    # Found by the random cases: behind a dead or cancelled layer there is zero, or rounding without a scale of its own.
    behind_dead = relu_network(
        ([[0, 2], [3, 3]], [2, 0]),
        ([[-1, -1]], [0]),
        ([[1]], [0]),
        ([[1]], [0]),
        ([[1], [-1]], [0, 0]),
        ([[1, 1]], [0]),
    )
    behind_cancelled = relu_network(
        ([[0, 0, -1, 0, 0], [0, 0, 1, 0, 0]], None), ([[1, 1], [0, 1]], None), ([[-1, 1]], None), ([[1]], None),
        ([[0], [1]], None), ([[1, 1]], None),
    )  # fmt: skip
    thirds = tuple(tuple(Fraction(x, 3) for x in row) for row in ((0, -2, -2, 0, 1), (0, -1, 2, 0, 2)))
    return (
        Case("rounding behind a dead layer", behind_dead, hexagon),
        Case("rounding behind a cancelled layer", behind_cancelled, hexagon, (Fraction(0),) * 5, thirds),
        Case("lines along the domain's edges", lines_network(square_edges), expected_regions=1),
        Case("edges and diagonals of a hexagon", lines_network(edges_and_diagonals), hexagon),
        Case("zero units, with and without bias", zero_units, expected_regions=2),
        Case("constant network", constant, expected_regions=1),
        Case("absolute sum: a diamond from concurrent cones", absolute_sum, _square(3), expected_regions=12),
        Case("folds of both axes: 8 by 8 squares", folds, expected_regions=64),
        Case("130 units on 4 lines", lines_network(copies), expected_regions=11),
        Case("a pencil through the origin", lines_network(pencil), expected_regions=2 * len(pencil)),
        Case("a pencil through a corner", lines_network(corner_pencil), expected_regions=len(corner_pencil) + 1),
        Case("a grid of 20 by 20 cells", lines_network(integer_grid), _square(10), expected_regions=400),
        Case("three lines 2**-20 from concurrent", lines_network(near_triple), expected_regions=7),
        Case("deep and bias-free", default_network((2, 16, 16, 16, 16, 16, 3), bias=False, seed=1)),
        Case("no activation", (affine([[1, 2], [3, 4]], [5, 6]),), expected_regions=1),
        Case("activation first", first_kink),
        Case("activation last", two_affine[:-1]),
        Case("two affine layers in a row", two_affine),
        Case("two activations in a row", twice),
    )


def _square(half_width: int) -> Domain:
    return tuple((half_width * x, half_width * y) for x, y in SQUARE)


def _line_through(p: tuple[Rational, Rational], q: tuple[Rational, Rational]) -> Line:
    """The line a x + b y + c = 0 through two points, positive on the left of p -> q."""
    a, b = p[1] - q[1], q[0] - p[0]
    return a, b, -a * p[0] - b * p[1]


def _exact_float(value: Fraction) -> float:
    if Fraction(float(value)) != value:
        raise ValueError(f"{value} is not exactly a float64: the engine would see another network than the oracle")
    return float(value)


def _layer_text(layer: Affine | Kink) -> str:
    if isinstance(layer, Kink):
        return f"Kink({_plain(layer.negative_slope)})"
    if len(layer.weight) > 30:
        return f"affine({len(layer.weight[0])} -> {len(layer.weight)})"
    return f"affine({_plain(layer.weight)}, {_plain(layer.bias) if layer.has_bias else None})"


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_plain(entry) for entry in value) + ("," if len(value) == 1 else "") + ")"
    text = str(value)
    return f"Fraction({text.replace('/', ', ')})" if "/" in text else text
