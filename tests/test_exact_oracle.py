"""The oracle against brute force: rational forward passes, the formula for line arrangements, hand-made cases."""

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
import torch
from degenerate_networks import (
    DOMAINS,
    LEAKY_SLOPES,
    ORTHONORMAL_PAIRS,
    SQUARE,
    Case,
    Domain,
    Line,
    default_network,
    lines_network,
    named_cases,
    random_case,
    relu_network,
    to_module,
)
from exact_oracle import (
    Affine,
    ExactRegion,
    Kink,
    Network,
    Pattern,
    Point,
    affine,
    affine_map,
    enumerate_exactly,
    narrowest_width,
    polygon_area,
)

SEEDS_PER_BATCH = 50


def forward(network: Network, x: list[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """(pre-activations of all Kink layers, output), by the definition of the layers."""
    before_kinks: list[Fraction] = []
    for layer in network:
        if isinstance(layer, Affine):
            x = [
                sum((w * h for w, h in zip(row, x, strict=True)), b)
                for row, b in zip(layer.weight, layer.bias, strict=True)
            ]
        else:
            before_kinks += x
            x = [z if z > 0 else layer.negative_slope * z for z in x]
    return before_kinks, x


def lift(case: Case, point: Point) -> list[Fraction]:
    return [o + point[0] * u + point[1] * v for o, u, v in zip(case.origin, *case.basis, strict=True)]


def depth_inside(polygon: tuple[Point, ...], point: Point) -> int:
    """1 strictly inside the convex polygon, 0 on its border, -1 outside."""
    x, y = point
    turns = [(u - a) * (y - b) - (v - b) * (x - a) for (a, b), (u, v) in pairwise([*polygon, polygon[0]])]
    return 1 if min(turns) > 0 else 0 if min(turns) == 0 else -1


def barycentre(points: tuple[Point, ...], weights: list[int]) -> Point:
    total = sum(weights)
    x, y = (sum(w * c for w, c in zip(weights, column, strict=True)) / total for column in zip(*points, strict=True))
    return x, y


def exact(case: Case) -> dict[Pattern, ExactRegion]:
    return enumerate_exactly(case.network, case.domain, case.origin, case.basis)


def certify(case: Case, rng: Random, samples_in_domain: int) -> None:
    """Raise AssertionError unless the oracle's regions of the case are what forward passes say they are."""
    regions = exact(case)
    domain_area = abs(polygon_area([(Fraction(x), Fraction(y)) for x, y in case.domain]))
    assert sum(region.area for region in regions.values()) == domain_area, str(case)

    for pattern, region in regions.items():
        assert region.area == polygon_area(region.polygon) > 0, str(case)
        count = len(region.polygon)
        points = [barycentre(region.polygon, [rng.randint(1, 9) for _ in range(count)]) for _ in range(3)]
        for point in points:
            z, output = forward(case.network, lift(case, point))
            assert tuple(int(value > 0) for value in z) == pattern, f"at {point}: {case}"
            assert [m[0] * point[0] + m[1] * point[1] + m[2] for m in region.slice_map] == output, f"at {point}: {case}"

    domain = tuple((Fraction(x), Fraction(y)) for x, y in case.domain)
    for _ in range(samples_in_domain):
        # Small weights put many samples on the coarse rational points, and on the border, where the zero lines meet.
        point = barycentre(domain, [rng.randint(0, 3) for _ in domain[1:]] + [1])
        z, output = forward(case.network, lift(case, point))
        holders = [(pattern, region) for pattern, region in regions.items() if depth_inside(region.polygon, point) >= 0]
        assert holders, f"at {point}: {case}"
        for pattern, region in holders:
            assert all(bit == int(value > 0) for bit, value in zip(pattern, z, strict=True) if value != 0), (
                case,
                point,
            )
            assert [m[0] * point[0] + m[1] * point[1] + m[2] for m in region.slice_map] == output, f"at {point}: {case}"
        inside = [pattern for pattern, region in holders if depth_inside(region.polygon, point) == 1]
        if inside:
            assert len(holders) == 1, f"at {point}: {case}"
            assert inside[0] == tuple(int(value > 0) for value in z), f"at {point}: {case}"


@pytest.mark.parametrize("first_seed", range(0, 250, SEEDS_PER_BATCH))
def test_regions_of_random_cases_are_what_forward_passes_say(first_seed: int) -> None:
    rng = Random(first_seed)
    for seed in range(first_seed, first_seed + SEEDS_PER_BATCH):
        certify(random_case(seed), rng, samples_in_domain=25)


@pytest.mark.parametrize("case", [case for case in named_cases() if "64" not in case.name], ids=lambda case: case.name)
def test_regions_of_named_cases_are_what_forward_passes_say(case: Case) -> None:
    small = sum(len(layer.weight) for layer in case.network if isinstance(layer, Affine)) < 40
    if small:
        certify(case, Random(0), samples_in_domain=50)
    else:
        rows = list(exact(case).items())
        for pattern, region in Random(0).sample(rows, min(len(rows), 20)):
            z, _ = forward(case.network, lift(case, barycentre(region.polygon, [1] * len(region.polygon))))
            assert tuple(int(value > 0) for value in z) == pattern


@pytest.mark.parametrize(
    "case", [c for c in named_cases() if c.expected_regions is not None], ids=lambda case: case.name
)
def test_known_counts(case: Case) -> None:
    assert len(exact(case)) == case.expected_regions


def test_float_network_patterns_agree_with_torch() -> None:
    network = default_network((2, 64, 64, 64, 10), bias=False)
    regions = enumerate_exactly(network, SQUARE)
    centres = [barycentre(region.polygon, [1] * len(region.polygon)) for region in regions.values()]
    hidden = torch.tensor([[float(x), float(y)] for x, y in centres], dtype=torch.float64)
    bits = []
    for module in to_module(network):
        if isinstance(module, torch.nn.ReLU):
            bits.append(hidden > 0)
        hidden = module(hidden)
    assert [tuple(row) for row in torch.cat(bits, dim=1).int().tolist()] == list(regions)


def arrangement_count(lines: list[Line], domain: Domain) -> int:
    """Regions of a line arrangement in a convex polygon: 1 + lines that cross it + sum of (multiplicity - 1) inside."""
    polygon = tuple((Fraction(x), Fraction(y)) for x, y in domain)
    distinct = {}
    for a, b, c in lines:
        lead = Fraction(a or b)
        if lead:
            distinct[a / lead, b / lead, c / lead] = (a, b, c)
    crossing = []
    for a, b, c in distinct.values():
        values = [a * x + b * y + c for x, y in polygon]
        if min(values) < 0 < max(values):
            crossing.append((a, b, c))
    meetings: dict[Point, set[int]] = defaultdict(set)
    for i, (a, b, c) in enumerate(crossing):
        for j, (d, e, f) in enumerate(crossing[:i]):
            determinant = Fraction(a * e - b * d)
            if determinant:
                point = ((b * f - c * e) / determinant, (c * d - a * f) / determinant)
                if depth_inside(polygon, point) == 1:
                    meetings[point] |= {i, j}
    return 1 + len(crossing) + sum(len(lines_there) - 1 for lines_there in meetings.values())


def test_one_layer_counts_follow_the_arrangement_formula() -> None:
    rng = Random(7)
    concurrent = 0
    for _ in range(300):
        domain = rng.choice(DOMAINS)
        triples = range(rng.randint(1, 12))
        lines: list[Line] = [(rng.randint(-2, 2), rng.randint(-2, 2), rng.randint(-2, 2)) for _ in triples]
        count = arrangement_count(lines, domain)
        assert len(enumerate_exactly(lines_network(lines), domain)) == count, (lines, domain)
        generic = arrangement_count([(a, b, c + Fraction(i, 97)) for i, (a, b, c) in enumerate(lines)], domain)
        concurrent += count != generic
    assert concurrent > 100


@pytest.mark.parametrize("units", [1, 3, 8, 20])
def test_bias_free_layer_has_two_regions_a_direction(units: int) -> None:
    network = relu_network(([[i, 1] for i in range(units)], None), ([[1] * units], None))
    assert len(enumerate_exactly(network, SQUARE)) == 2 * units


@pytest.mark.parametrize(("depth", "expected"), [(1, 4), (2, 16), (3, 64)])
def test_each_fold_quadruples_the_regions(depth: int, expected: int) -> None:
    fold = ([[1, 0], [-1, 0], [0, 1], [0, -1]], [0, 0, 0, 0])
    fold_again = ([[2, 2, 0, 0], [-2, -2, 0, 0], [0, 0, 2, 2], [0, 0, -2, -2]], [-1, 1, -1, 1])
    regions = enumerate_exactly(relu_network(fold, *[fold_again] * (depth - 1), ([[1] * 4], [0])), SQUARE)
    assert len(regions) == expected
    assert {region.area for region in regions.values()} == {Fraction(4, expected)}


def test_hand_made_regions_in_full() -> None:
    # |x| as a LeakyReLU of slope -1, cut where it is 1/2, on the unit square about the origin.
    network = (affine([[1, 0]]), Kink(Fraction(-1)), affine([[2]], [-1]), Kink(), affine([[3]], [5]))
    regions = enumerate_exactly(network, SQUARE)
    assert {pattern: region.area for pattern, region in regions.items()} == {(1, 1): 1, (1, 0): 1, (0, 1): 1, (0, 0): 1}
    assert regions[1, 1].slice_map == ((6, 0, 2),)
    assert regions[0, 1].slice_map == ((-6, 0, 2),)
    assert regions[0, 0].slice_map == regions[1, 0].slice_map == ((0, 0, 5),)
    assert set(regions[1, 1].polygon) == {(Fraction(1, 2), -1), (1, -1), (1, 1), (Fraction(1, 2), 1)}


def test_a_unit_that_is_zero_on_a_region_counts_as_off() -> None:
    network = relu_network(([[1, 0]], [0]), ([[1], [-1], [0], [0]], [0, 0, 0, 1]), ([[1, 1, 1, 1]], [0]))
    regions = enumerate_exactly(network, SQUARE)
    assert set(regions) == {(1, 1, 0, 0, 1), (0, 0, 0, 0, 1)}


def test_full_space_maps_restrict_to_the_slice_maps() -> None:
    sliced = [case for case in map(random_case, range(120)) if len(case.origin) > 2]
    assert len(sliced) > 30
    for case in sliced:
        for pattern, region in exact(case).items():
            A, B = affine_map(case.network, pattern, len(case.origin))
            for row, offset, on_slice in zip(A, B, region.slice_map, strict=True):
                products = [
                    sum(a * u for a, u in zip(row, vector, strict=True)) for vector in (*case.basis, case.origin)
                ]
                assert on_slice == (products[0], products[1], products[2] + offset), str(case)


def test_affine_map_refuses_a_pattern_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match="3 bits, the network has 2 units"):
        affine_map(lines_network([(1, 0, 0), (0, 1, 0)]), (1, 0, 1), 2)


@pytest.mark.parametrize(
    "domain",
    [
        [(0, 0), (1, 0)],
        [(0, 0), (1, 0), (2, 0)],
        [(0, 0), (1, 0), (2, 0), (1, 1)],
        [(0, 0), (4, 0), (1, 1), (0, 4)],
        [(0, 3), (-2, -3), (3, 1), (-3, 1), (2, -3)],
    ],
    ids=["segment", "flat", "corner in line", "dent", "pentagram"],
)
def test_domains_that_are_not_strictly_convex_are_refused(domain: Domain) -> None:
    with pytest.raises(ValueError, match="not a strictly convex polygon"):
        enumerate_exactly(lines_network([(1, 0, 0)]), domain)


def test_a_clockwise_domain_is_the_same_domain() -> None:
    network = lines_network([(1, 0, 0), (1, 2, -1)])
    assert set(enumerate_exactly(network, SQUARE)) == set(enumerate_exactly(network, SQUARE[::-1]))


def test_narrowest_width_bounds_a_sliver() -> None:
    regions = enumerate_exactly(lines_network([(1, 0, 0), (1000, 0, -1)]), SQUARE)
    assert 0.0005 <= narrowest_width(regions.values()) <= 0.001


def test_planes_are_exactly_orthonormal() -> None:
    assert len({len(random_case(seed).origin) for seed in range(100)}) >= 5
    for basis in [*ORTHONORMAL_PAIRS, *(random_case(seed).basis for seed in range(100))]:
        gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for u in basis] for v in basis]
        assert gram == [[1, 0], [0, 1]]


def test_random_cases_are_reproducible_varied_and_resolvable() -> None:
    """The coincidences that the suite is about do occur, and no region is too thin for float64 to have a say."""
    seen: dict[str, int] = defaultdict(int)
    widths = []
    for seed in range(500):
        case = random_case(seed)
        assert case == random_case(seed)
        regions = exact(case)
        widths.append(narrowest_width(regions.values()))
        seen["more than one region"] += len(regions) > 1
        seen["more than 50 regions"] += len(regions) > 50
        seen["bias-free through the origin"] += "bias-free" in case.name and not any(case.origin)
        slopes = {layer.negative_slope for layer in case.network if isinstance(layer, Kink)}
        seen["leaky"] += bool(slopes & set(LEAKY_SLOPES))
        seen["a vertex on four lines or more"] += has_concurrent_lines(case, regions)
        seen["a zero line through a corner"] += has_line_through_corner(case, regions)
        seen["a unit zero on a region"] += has_unit_zero_on_a_region(case, regions)
    assert min(widths) > 1e-7
    assert seen["more than one region"] > 400
    assert seen["more than 50 regions"] > 20
    assert min(seen.values()) > 20, dict(seen)


def has_concurrent_lines(case: Case, regions: dict[Pattern, ExactRegion]) -> bool:
    # Where n zero lines meet inside the domain, 2 n regions touch.
    touching: dict[Point, int] = defaultdict(int)
    for region in regions.values():
        for corner in region.polygon:
            touching[corner] += 1
    return max(touching.values()) > 6


def has_line_through_corner(case: Case, regions: dict[Pattern, ExactRegion]) -> bool:
    corners = {(Fraction(x), Fraction(y)) for x, y in case.domain}
    return any(sum(corner in region.polygon for region in regions.values()) > 1 for corner in corners)


def has_unit_zero_on_a_region(case: Case, regions: dict[Pattern, ExactRegion]) -> bool:
    return any(
        0 in forward(case.network, lift(case, barycentre(region.polygon, list(range(1, len(region.polygon) + 1)))))[0]
        for region in regions.values()
    )


@pytest.mark.parametrize("case", [random_case(seed) for seed in range(12)], ids=lambda case: case.name)
def test_the_text_of_a_case_builds_it_again(case: Case) -> None:
    names = {"Case": Case, "affine": affine, "Kink": Kink, "Fraction": Fraction}
    assert eval(str(case), names) == case


def test_weights_that_are_no_float64_are_refused() -> None:
    with pytest.raises(ValueError, match="1/3 is not exactly a float64"):
        to_module((affine([[Fraction(1, 3)]]),))
