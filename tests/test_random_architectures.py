"""Random networks of every kind of layer: the certificate, blocks, and what is asked of a partition, against each other
and the forward pass.
"""

import numpy as np
import pytest
import shapely
import torch
from random_architectures import RandomCase, random_case

import splinegeo as sg

MOST_REGIONS = 1500
DEFAULT_CASES = 16
LONG_CASES = 320
CASES_PER_BATCH = 20


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Many small operations: a second thread only waits."""


def check(case: RandomCase) -> int:
    """Number of regions; 0 for a network with more than are checked here."""
    partition = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=MOST_REGIONS)
    if not partition.complete:
        return 0
    certificate = partition.certify(500)
    assert certificate.ok, f"{case}\n{certificate}"
    assert certificate.compared_maps > 0
    check_blocks(case, partition)
    check_values_and_classes(case, partition)
    check_places(case, partition)
    check_discs(case, partition)
    return partition.n_regions


def check_blocks(case: RandomCase, partition: sg.Partition) -> None:
    """However little memory blocks take, they have the same patterns, each once, and the same area."""
    blocks = list(sg.iterate_regions(case.model, case.plane, case.domain, memory=1 << 15))
    keys = np.concatenate([block.pattern_keys for block in blocks])
    np.testing.assert_array_equal(*(rows[np.lexsort(rows.T)] for rows in (keys, partition.pattern_keys)), str(case))
    area = partition.areas.sum()
    assert sum(block.areas.sum() for block in blocks) == pytest.approx(area, rel=1e-9), case


def check_values_and_classes(case: RandomCase, partition: sg.Partition) -> None:
    """Torch's outputs at random points are those of the slice maps; where two points have different classes, the
    decision boundary lies between them, and only where two outputs are largest.
    """
    generator = np.random.default_rng(case.seed)
    size = np.ptp(partition.domain, axis=0)
    t = partition.domain.mean(axis=0) + generator.uniform(-0.5, 0.5, (100, 2)) * size
    t = t[partition.locate(t) >= 0]
    t = t[: len(t) // 2 * 2]
    rounding = 1e-13 * sizes_of(partition)
    maps = partition.slice_maps[partition.locate(t)]
    outputs = torch_outputs(case, t)
    np.testing.assert_allclose(
        maps[:, :, :2] @ t[:, :, None] + maps[:, :, 2:], outputs[:, :, None], 0, rounding, str(case)
    )
    boundary = partition.decision_boundary()
    if len(boundary.segments):
        two = np.sort(with_two_classes(torch_outputs(case, boundary.segments.mean(axis=1))), axis=1)[:, -2:]
        assert np.ptp(two, axis=1).max() <= 100 * rounding, case
    scores = with_two_classes(outputs)
    margin = np.ptp(np.sort(scores, axis=1)[:, -2:], axis=1) if scores.shape[1] > 1 else np.zeros(len(t))
    classes, sure = scores.argmax(axis=1).reshape(-1, 2), (margin > 100 * rounding).reshape(-1, 2).all(axis=1)
    apart = sure & (classes[:, 0] != classes[:, 1])
    if apart.any():
        assert len(boundary.segments), case
        between = shapely.linestrings(t.reshape(-1, 2, 2)[apart])
        distances = shapely.distance(between, shapely.multilinestrings(list(boundary.segments)))
        assert distances.max() <= 1e-9 * size.max(), case


def check_places(case: RandomCase, partition: sg.Partition) -> None:
    """Points of the mesh are in a region beside them; neighbours have the same map iff they are one linear region."""
    beside = partition.edge_faces
    middles = partition.vertices[partition.edges].mean(axis=1)
    found = partition.locate(middles)
    away = np.nonzero((found != beside[:, 0]) & (found != beside[:, 1]))[0]
    assert (found >= 0).all(), case
    distances = shapely.distance(partition.to_shapely()[found[away]], shapely.points(middles[away]))
    assert distances.max(initial=0.0) <= 1e-11 * np.ptp(partition.domain), case
    assert (partition.locate(partition.vertices) >= 0).all(), case
    wide = np.nonzero(partition.areas > 1e-12 * partition.areas.sum())[0]
    np.testing.assert_array_equal(partition.locate(partition.interior_points[wide]), wide, str(case))
    merged = partition.merge_equal_maps()
    assert merged.areas.sum() == pytest.approx(partition.areas.sum(), rel=1e-9)
    values = partition.slice_maps * np.append(np.abs(partition.vertices).max(axis=0), 1.0)
    one_of = np.zeros((merged.n_regions, *values.shape[1:]))
    one_of[merged.labels] = values
    np.testing.assert_allclose(values, one_of[merged.labels], 0, 1e-9 * np.abs(values).max(), str(case))
    inner = beside[(beside >= 0).all(axis=1)]
    equal = (values[inner[:, 0]] == values[inner[:, 1]]).all(axis=(1, 2))
    assert (merged.labels[inner[equal, 0]] == merged.labels[inner[equal, 1]]).all(), case


def check_discs(case: RandomCase, partition: sg.Partition) -> None:
    """The part of a disc in the domain is shared out among its regions, whose mean centroid is weighted so."""
    size = np.ptp(partition.domain, axis=0).max()
    center, radius = partition.domain.mean(axis=0) + 0.1 * size, 0.4 * size
    chosen = partition.regions_in_disc(center, radius)
    disc = shapely.Point(center).buffer(radius, quad_segs=2000)
    expected = shapely.intersection(shapely.Polygon(partition.domain), disc).area
    assert chosen.area == pytest.approx(expected, rel=1e-5), case
    mean = chosen.overlaps @ partition.centroids(chosen.regions) / chosen.area
    found = partition.local_centroids([center], radius).centroids[0]
    np.testing.assert_allclose(found, mean, 0, 1e-9 * np.abs(mean).max(), str(case))


def sizes_of(partition: sg.Partition) -> float:
    """A bound of the values in the network about the domain's corners, in shares of which its outputs are known."""
    h = partition.plane.origin + partition.domain @ partition.plane.basis
    largest = noise = float(np.abs(h).max())
    for stage in partition.network.stages:
        noise = max(noise, 1.0) * max(1.0, float(stage.affine.bounds(np.ones(h.shape[1])).max()))
        h = stage.activate(stage.affine(h))
        largest = max(largest, float(np.abs(h).max()))
    return max(noise, largest) * max(1.0, float(partition.network.output.bounds(np.ones(h.shape[1])).max()))


def torch_outputs(case: RandomCase, t: np.ndarray) -> np.ndarray:
    return case.model(torch.from_numpy(case.plane.lift(t))).reshape(len(t), -1).numpy()


def with_two_classes(outputs: np.ndarray) -> np.ndarray:
    return np.column_stack([np.zeros(len(outputs)), outputs]) if outputs.shape[1] == 1 else outputs


@pytest.mark.parametrize("seed", range(DEFAULT_CASES))
def test_random_architectures(seed: int) -> None:
    check(random_case(seed))


@pytest.mark.long
@pytest.mark.parametrize("first", range(DEFAULT_CASES, DEFAULT_CASES + LONG_CASES, CASES_PER_BATCH))
def test_many_random_architectures(first: int) -> None:
    counts = [check(random_case(seed)) for seed in range(first, first + CASES_PER_BATCH)]
    assert np.count_nonzero(counts) > CASES_PER_BATCH / 2
    assert max(counts) > 50
