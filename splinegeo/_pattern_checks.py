"""Figures of a certificate that concern patterns: uniqueness, neighbours, interior points, sampled points."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from tqdm import tqdm

from splinegeo._bits import unpack
from splinegeo._chunks import running_sum
from splinegeo.mesh import following_corners
from splinegeo.selection import corner_places
from splinegeo.tolerance import merging_distance, partition_tolerances, stage_tolerances

if TYPE_CHECKING:
    from splinegeo.partition import Partition

_POINTS_PER_BATCH = 4096
_EDGES_PER_BATCH = 1 << 15
# Fewer of them where a network is so wide that their patterns would take more than this.
_BATCH_BYTES = 1 << 28
# Fewer points where a stage is so wide that their values would not stay in the cache.
_VALUE_BYTES = 1 << 24
_SAMPLES = 100_000
_SAMPLED_VALUES = 1 << 28
# A unit vanishes at a vertex that merging coincident crossings has moved by CLOSENESS * TOLERANCE diameters only up to
# 8 of its tolerances, for a diameter is at most twice the reach; an edge has two such ends.
_DISPLACED = 16.0


class Rounding(NamedTuple):
    """What is known no better: the values of each stage's coordinates, and positions on the slice."""

    values: list[Float64[np.ndarray, " units"]]
    position: float

    @classmethod
    def of(cls, partition: "Partition") -> "Rounding":
        """The engine's tolerances, at a displaced vertex."""
        return cls._displaced(partition, partition_tolerances(partition))

    @classmethod
    def at(cls, partition: "Partition", points: Float64[np.ndarray, "n 2"]) -> "Rounding":
        """The same from the sizes of values at some points alone: smaller, if anything."""
        inputs = partition.plane.origin + points @ partition.plane.basis
        return cls._displaced(partition, stage_tolerances(partition.network, inputs))

    @classmethod
    def _displaced(cls, partition: "Partition", tolerances: list[Float64[np.ndarray, " units"]]) -> "Rounding":
        return cls([_DISPLACED * tolerance for tolerance in tolerances], merging_distance(partition.domain))


class NeighbourFigures(NamedTuple):
    """`regions` lie beside a wrong edge; for the others see the fields of the same names of `Certificate`."""

    inner_edges: int
    merged_edges: int
    wrong_edges: int
    regions: Int64[np.ndarray, " n"]


class InteriorFigures(NamedTuple):
    """`regions` are the mismatches, the largest first; for the others see the fields of the same names of
    `Certificate`.
    """

    interior_mismatches: int
    interior_roundings: int
    largest_mismatch: float
    regions: Int64[np.ndarray, " n"]


class SampleFigures(NamedTuple):
    """`regions` hold samples that they should not; for the others see the fields of the same names of `Certificate`."""

    samples: int
    sample_misses: int
    sample_roundings: int
    samples_uncovered: int
    regions: Int64[np.ndarray, " n"]


def repeated_patterns(partition: "Partition") -> Int64[np.ndarray, " n"]:
    """Regions whose pattern one before them has."""
    prefix = np.zeros(1, dtype=np.int64)  # number of the pattern so far of each face before the stage
    for parents, words in zip(partition.parents, partition.bits, strict=True):
        rows = np.column_stack([prefix[parents].astype(np.uint64), words])
        records = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(len(rows))
        _, prefix = np.unique(records, return_inverse=True)
    _, first = np.unique(prefix, return_index=True)
    is_first = np.zeros(partition.n_regions, dtype=bool)
    is_first[first] = True
    return np.flatnonzero(~is_first)


def neighbour_figures(partition: "Partition", rounding: Rounding, progress: bool) -> NeighbourFigures:
    """Compare the patterns on both sides of every inner edge."""
    inner = np.nonzero((partition.edge_faces >= 0).all(axis=1))[0]
    n_merged, wrong = 0, [np.empty(0, dtype=np.int64)]
    n_units = [stage.n_units for stage in partition.network.stages]
    n_edges = _at_once(_EDGES_PER_BATCH, max(n_units, default=1))
    n_compared = _at_once(_POINTS_PER_BATCH, 16 * sum(n_units))
    for batch in batches(len(inner), n_edges, "neighbours", progress):
        edges = inner[batch]
        plain = _differ_in_label(partition, edges)
        for others in np.array_split(edges[~plain], 1 + (~plain).sum() // n_compared):
            if len(others):
                in_label, alone = _compare_units(partition, others)
                several = others[in_label & ~alone]
                merged = _vanish(partition, several, rounding)
                n_merged += int(merged.sum())
                wrong += [others[~in_label], several[~merged]]
    edges = np.concatenate(wrong)
    return NeighbourFigures(len(inner), n_merged, len(edges), np.unique(partition.edge_faces[edges]).astype(np.int64))


def interior_figures(partition: "Partition", rounding: Rounding, progress: bool) -> InteriorFigures:
    """Compare each region's pattern with the network's forward pass at its interior point."""
    n_roundings, mismatches = 0, [np.empty(0, dtype=np.int64)]
    for batch in batches(partition.n_regions, points_at_once(partition), "interior points", progress):
        regions = np.arange(partition.n_regions)[batch]
        wrong, rounded = compare_with_forward(partition, partition.interior_points[batch], regions, rounding)
        n_roundings += len(rounded)
        mismatches.append(regions[wrong])
    found = np.concatenate(mismatches)
    found = found[np.argsort(-partition.areas[found], kind="stable")]
    largest = float(partition.areas[found].max(initial=0.0)) / float(partition.areas.sum())
    return InteriorFigures(len(found), n_roundings, largest, found)


def sample_figures(
    partition: "Partition", n_samples: int, seed: int, rounding: Rounding, progress: bool
) -> SampleFigures:
    """Compare the pattern of the region that holds a random point with the network's forward pass there."""
    generator = np.random.default_rng(seed)
    n_roundings, n_uncovered, misses = 0, 0, [np.empty(0, dtype=np.int64)]
    for batch in batches(n_samples, points_at_once(partition), "samples", progress):
        points = _uniform_points(partition.domain, len(range(n_samples)[batch]), generator)
        regions = partition.locate(points)
        found = regions >= 0
        n_uncovered += int((~found).sum())
        wrong, rounded = compare_with_forward(partition, points[found], regions[found], rounding)
        n_roundings += len(rounded)
        misses.append(regions[found][wrong])
    missed = np.concatenate(misses)
    n_misses = len(missed)
    if partition.complete:
        n_misses, n_uncovered = n_misses + n_uncovered, 0
    return SampleFigures(n_samples, n_misses, n_roundings, n_uncovered, np.unique(missed))


def samples_by_default(partition: "Partition") -> int:
    """100 000, or as many as their values before nonlinearities are some hundred millions of numbers."""
    n_units = sum(stage.n_units for stage in partition.network.stages)
    return min(_SAMPLES, max(1, _SAMPLED_VALUES // max(1, n_units)))


def points_at_once(partition: "Partition") -> int:
    """Points whose patterns, by the forward pass and of their regions, are compared together."""
    n_units = [stage.n_units for stage in partition.network.stages]
    of_values = max(1, _VALUE_BYTES // (8 * max(n_units, default=1)))
    return _at_once(min(_POINTS_PER_BATCH, of_values), 4 * sum(n_units))


def _at_once(most: int, bytes_each: int) -> int:
    return max(1, min(most, _BATCH_BYTES // max(1, bytes_each)))


def batches(n: int, size: int, title: str, progress: bool) -> Iterator[slice]:
    for begin in tqdm(range(0, n, size), desc=title, disable=not progress, leave=False):
        yield slice(begin, begin + size)


def _uniform_points(
    polygon: Float64[np.ndarray, "k 2"], n: int, generator: np.random.Generator
) -> Float64[np.ndarray, "n 2"]:
    """Uniform random points of a convex polygon, by its triangles from the first corner."""
    spokes = polygon[1:] - polygon[0]
    areas = spokes[:-1, 0] * spokes[1:, 1] - spokes[:-1, 1] * spokes[1:, 0]
    triangle = generator.choice(len(areas), size=n, p=areas / areas.sum())
    u = generator.random((n, 2))
    u = np.where(u.sum(axis=1, keepdims=True) > 1, 1 - u, u)
    return polygon[0] + u[:, :1] * spokes[triangle] + u[:, 1:] * spokes[triangle + 1]


def active_units(partition: "Partition", regions: Int64[np.ndarray, " n"]) -> list[Bool[np.ndarray, "n units"]]:
    """Active coordinates of each stage on some regions."""
    return [
        unpack(words[faces[regions]], stage.n_units)
        for stage, words, faces in zip(partition.network.stages, partition.bits, partition.ancestors, strict=True)
    ]


def _differ_in_label(partition: "Partition", edges: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether the patterns beside an edge differ in one coordinate, and that is one of the edge's unit."""
    left, right = partition.edge_faces[edges].T
    labels = partition.edge_labels[edges]
    n_ones = np.zeros(len(edges), dtype=np.int64)
    in_label = np.zeros(len(edges), dtype=bool)
    for stage, words, faces in zip(partition.network.stages, partition.bits, partition.ancestors, strict=True):
        difference = words[faces[left]] ^ words[faces[right]]
        n_ones += np.bitwise_count(difference).sum(axis=1, dtype=np.int64)
        rows, columns = np.nonzero(difference)
        # A single bit is a power of two, whose logarithm is exact; of several bits the result is not used.
        bit = np.log2(difference[rows, columns].astype(np.float64)).astype(np.int64)
        coordinate = np.minimum(64 * columns + bit, stage.n_units - 1)
        in_label[rows] = (labels[rows, 0] == stage.layer) & (labels[rows, 1] == stage.layer_unit[coordinate])
    return in_label & (n_ones == 1)


def _compare_units(
    partition: "Partition", edges: Int64[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Whether an edge's unit differs between its regions; whether one unit differs only."""
    left, right = partition.edge_faces[edges].T
    pieces = [partition.network.pieces(active_units(partition, regions)) for regions in (left, right)]
    n_units = np.zeros(len(edges), dtype=np.int64)
    in_label = np.zeros(len(edges), dtype=bool)
    for layer, (one, other) in enumerate(zip(*pieces, strict=True)):
        differ = one != other
        n_units += differ.sum(axis=1)
        rows = np.nonzero(partition.edge_labels[edges, 0] == layer)[0]
        in_label[rows] = differ[rows, partition.edge_labels[edges[rows], 1]]
    return in_label, n_units == 1


def _vanish(partition: "Partition", edges: Int64[np.ndarray, " n"], rounding: Rounding) -> Bool[np.ndarray, " n"]:
    """Whether all units that differ across an edge vanish half-way along it: there it contradicts neither pattern."""
    midpoints = partition.vertices[partition.edges[edges]].mean(axis=1)
    vanish = np.ones(len(edges), dtype=bool)
    for batch in batches(len(edges), points_at_once(partition), "", progress=False):
        values = stage_values(partition, midpoints[batch])
        for regions in partition.edge_faces[edges[batch]].T:
            vanish[batch] &= ~_contradict(partition, active_units(partition, regions), values, rounding)
    return vanish


def contradicted(
    partition: "Partition",
    points: Float64[np.ndarray, "n 2"],
    regions: Int64[np.ndarray, " n"],
    rounding: Rounding,
) -> Bool[np.ndarray, " n"]:
    """Whether the forward pass at points has values that some regions' patterns exclude, beyond rounding."""
    found = np.zeros(len(points), dtype=bool)
    for batch in batches(len(points), points_at_once(partition), "", progress=False):
        active = active_units(partition, regions[batch])
        found[batch] = _contradict(partition, active, stage_values(partition, points[batch]), rounding)
    return found


def _contradict(
    partition: "Partition",
    active: list[Bool[np.ndarray, "n units"]],
    values: list[Float64[np.ndarray, "n units"]],
    rounding: Rounding,
) -> Bool[np.ndarray, " n"]:
    """Whether values at points contradict patterns beyond rounding; of the comparisons of maxima those that decide."""
    counts: list[Bool[np.ndarray, "n units"] | bool] = [True] * len(active)
    for group in partition.network.groups:
        counts[group[0] : group[-1] + 1] = partition.network.deciding(group, active[group[0] : group[-1] + 1])
    found = np.zeros(len(values[0]) if values else 0, dtype=bool)
    for bits, y, tolerance, counted in zip(active, values, rounding.values, counts, strict=True):
        found |= ((bits ^ (y > 0)) & (np.abs(y) > tolerance) & counted).any(axis=1)
    return found


def compare_with_forward(
    partition: "Partition",
    points: Float64[np.ndarray, "n 2"],
    regions: Int64[np.ndarray, " n"],
    rounding: Rounding,
) -> tuple[Int64[np.ndarray, " wrong"], Int64[np.ndarray, " rounded"]]:
    """Places of points whose forward pass has not their region's pattern: beyond rounding, and within."""
    network = partition.network
    inputs = partition.plane.origin + points @ partition.plane.basis
    expected = network.pieces(active_units(partition, regions)) if len(points) else []
    found = network.patterns(inputs) if len(points) else []
    differs = np.zeros(len(points), dtype=bool)
    for one, other in zip(expected, found, strict=True):
        differs |= (one != other).any(axis=1)
    places = np.nonzero(differs)[0]
    if not len(places):
        return places, places
    values = stage_values(partition, points[places])
    beyond = _contradict(partition, active_units(partition, regions[places]), values, rounding)
    beyond &= depths(partition, points[places], regions[places]) > rounding.position
    return places[beyond], places[~beyond]


def stage_values(partition: "Partition", points: Float64[np.ndarray, "n 2"]) -> list[Float64[np.ndarray, "n units"]]:
    """Values of each stage's coordinates at points, by the forward pass."""
    h = partition.plane.origin + points @ partition.plane.basis
    values = []
    for stage in partition.network.stages:
        values.append(stage.affine(h))
        h = stage.activate(values[-1])
    return values


def depths(
    partition: "Partition", points: Float64[np.ndarray, "n 2"], regions: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Distance of each point from the border of a region that holds it."""
    counts = np.diff(partition.offsets)[regions]
    start = running_sum(counts)
    corners = partition.corners[corner_places(partition.offsets, regions)]
    a, b = partition.vertices[corners], partition.vertices[corners[following_corners(start)]]
    run, offset = b - a, np.repeat(points, counts, axis=0) - a
    squares = np.einsum("nd,nd->n", run, run)
    along = np.zeros(len(corners))
    np.divide(np.einsum("nd,nd->n", run, offset), squares, out=along, where=squares > 0)
    offset -= np.clip(along, 0.0, 1.0)[:, None] * run
    return np.minimum.reduceat(np.hypot(offset[:, 0], offset[:, 1]), start[:-1])
