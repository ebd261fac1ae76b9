"""The engine against the exact oracle: pattern sets, counts, areas, shapes and affine maps, on degenerate networks."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from degenerate_networks import IDENTITY, Case, named_cases, random_case, to_module
from exact_oracle import ExactRegion, Matrix, Pattern, affine_map, enumerate_exactly

import splinegeo as sg

CASES_PER_BATCH = 100
DEFAULT_CASES = 800
LONG_CASES = 6000

AREA_TOLERANCE = 1e-9  # of the domain's area
MAP_TOLERANCE = 1e-9  # of the largest entry of the map, or of 1
# Where two lines meet, the angle between them divides the rounding: corners are known less well than areas.
CORNER_TOLERANCE = 1e-7  # of the domain's diameter


def disagreements(case: Case) -> list[str]:
    """What the engine says otherwise than the oracle, one line each; empty if they agree."""
    exact = enumerate_exactly(case.network, case.domain, case.origin, case.basis)
    partition = engine_partition(case)
    patterns = [concatenated(partition.pattern(r)) for r in range(partition.n_regions)]
    found = []
    if case.expected_regions not in (None, partition.n_regions):
        found.append(f"{partition.n_regions} regions, known to be {case.expected_regions}")
    if partition.n_regions != len(exact):
        found.append(f"{partition.n_regions} regions, exactly {len(exact)}")
    if len(set(patterns)) != len(patterns):
        found.append(f"{len(patterns) - len(set(patterns))} patterns occur more than once")
    if set(patterns) != set(exact):
        found.append(f"missing patterns {sorted(set(exact) - set(patterns))[:3]}")
        found.append(f"patterns of no region {sorted(set(patterns) - set(exact))[:3]}")
    if found:
        return found
    return [
        *shape_disagreements(case, partition, patterns, exact),
        *map_disagreements(case, partition, patterns, exact),
    ]


def engine_partition(case: Case) -> sg.Partition:
    plane = sg.Slice(floats(case.origin), floats(case.basis))
    return sg.enumerate_regions(to_module(case.network), plane, domain=floats(case.domain))


def concatenated(stages: list[np.ndarray]) -> Pattern:
    return tuple(int(piece) for stage in stages for piece in stage)


def shape_disagreements(
    case: Case, partition: sg.Partition, patterns: list[Pattern], exact: dict[Pattern, ExactRegion]
) -> list[str]:
    corners_of_domain = floats(case.domain)
    domain_area = float(sum(region.area for region in exact.values()))
    diameter = max(np.linalg.norm(corner - corners_of_domain, axis=1).max() for corner in corners_of_domain)
    exact_areas = np.array([float(exact[pattern].area) for pattern in patterns])
    errors = np.abs(np.asarray(partition.areas) - exact_areas) / domain_area
    found = [
        f"area of {patterns[r]}: {partition.areas[r]!r}, exactly {exact_areas[r]!r}"
        for r in np.flatnonzero(~(errors <= AREA_TOLERANCE))
    ]
    for r, pattern in enumerate(patterns):
        loop = partition.vertices[partition.corners[partition.offsets[r] : partition.offsets[r + 1]]]
        distance = hausdorff(loop, floats(exact[pattern].polygon)) / diameter
        if not distance <= CORNER_TOLERANCE:
            found.append(f"polygon of {pattern}: {distance:.1e} diameters away from the exact one")
    return found


def map_disagreements(
    case: Case, partition: sg.Partition, patterns: list[Pattern], exact: dict[Pattern, ExactRegion]
) -> list[str]:
    found = []
    for r, pattern in enumerate(patterns):
        A, B = partition.affine_map(r)
        exact_A, exact_B = exact_affine_map(case, pattern, exact[pattern])
        comparisons = (
            ("slice map", partition.slice_maps[r], floats(exact[pattern].slice_map)),
            ("A", A, floats(exact_A)),
            ("B", B, floats(exact_B)),
        )
        for name, got, wanted in comparisons:
            got = np.asarray(got)
            scale = max(1.0, np.abs(wanted).max())
            if got.shape != wanted.shape or not np.abs(got - wanted).max() <= MAP_TOLERANCE * scale:
                found.append(f"{name} of {pattern}: {got.tolist()}, exactly {wanted.tolist()}")
    return found


def exact_affine_map(case: Case, pattern: Pattern, region: ExactRegion) -> tuple[Matrix, tuple[Fraction, ...]]:
    if case.basis == IDENTITY and not any(case.origin):
        # Here the plane is the input space; composing the layers once more would be most of this file's time.
        return tuple(row[:2] for row in region.slice_map), tuple(row[2] for row in region.slice_map)
    return affine_map(case.network, pattern, len(case.origin))


def floats(values: Iterable) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def hausdorff(loop: np.ndarray, exact_polygon: np.ndarray) -> float:
    """Between two convex polygons, (n, 2) and (k, 2), counter-clockwise; the first may have corners in line."""
    return max(excess(loop, exact_polygon), excess(exact_polygon, loop))


def excess(points: np.ndarray, polygon: np.ndarray) -> float:
    """The largest distance of the points (n, 2) to the polygon (k, 2), as far as its edges' lines tell."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.linalg.norm(edges, axis=1)
    edges, starts = edges[lengths > 0] / lengths[lengths > 0, None], polygon[lengths > 0]
    offsets = points[:, None, :] - starts[None]
    return float((edges[:, 1] * offsets[..., 0] - edges[:, 0] * offsets[..., 1]).max())


def check(cases: Iterable[Case]) -> None:
    """Raise AssertionError with the reproducing cases if engine and oracle disagree on any."""
    failures = []
    for case in cases:
        try:
            found = disagreements(case)
        except Exception as error:
            raise AssertionError(f"the engine failed with {error!r} on\n{case}") from error
        if found:
            failures.append("\n".join([*found[:6], f"on {case}"]))
    assert not failures, f"{len(failures)} cases disagree; the first three:\n" + "\n\n".join(failures[:3])


@pytest.mark.parametrize("case", named_cases(), ids=lambda case: case.name)
def test_named_cases(case: Case) -> None:
    check([case])


@pytest.mark.parametrize("first_seed", range(0, DEFAULT_CASES, CASES_PER_BATCH))
def test_random_cases(first_seed: int) -> None:
    check(random_case(seed) for seed in range(first_seed, first_seed + CASES_PER_BATCH))


@pytest.mark.long
@pytest.mark.parametrize("first_seed", range(DEFAULT_CASES, DEFAULT_CASES + LONG_CASES, CASES_PER_BATCH))
def test_many_random_cases(first_seed: int) -> None:
    check(random_case(seed) for seed in range(first_seed, first_seed + CASES_PER_BATCH))
