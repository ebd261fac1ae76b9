"""How an enumeration is run: limits, interruption, blocks of bounded memory, threads, general networks."""

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, mlp, workload
from torch import nn
from tqdm import tqdm

import splinegeo as sg
from splinegeo._chunks import Watch
from splinegeo._refinement import Refinement

LAST_REGIONS = 100


def network() -> nn.Sequential:
    return mlp((2, 100, 40, 40, 3), bias=True, seed=7)


def keys_with_areas(partition: sg.Partition) -> dict[bytes, float]:
    keys = [key.tobytes() for key in partition.pattern_keys]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, partition.areas.tolist(), strict=True))


def assert_part_of(part: sg.Partition, whole: sg.Partition) -> None:
    """Every region of the part is a region of the whole, at its full size."""
    areas = keys_with_areas(whole)
    for key, area in keys_with_areas(part).items():
        assert area == pytest.approx(areas[key], rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("limit", [1, 2, 50, 1000])
def test_max_regions_gives_true_regions_of_a_part_of_the_domain(limit: int) -> None:
    whole = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0))
    part = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), max_regions=limit)
    assert 1 <= part.n_regions <= limit < whole.n_regions
    assert whole.complete
    assert not part.complete
    assert "incomplete" in repr(part)
    assert_part_of(part, whole)


def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    whole = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0))
    same = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), max_regions=whole.n_regions, time_limit=1e6)
    assert same.complete
    np.testing.assert_array_equal(same.vertices, whole.vertices)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), max_regions=limit)


def test_a_time_limit_gives_what_can_be_finished() -> None:
    """The first stage runs out of time at once; its first faces are still finished."""
    plane = workload("M").partition.plane
    model = mlp((784, 196, 196, 196, 10))
    part = sg.enumerate_regions(model, plane, sg.Box(10.0), time_limit=0.0)
    assert not part.complete
    assert 0 < part.n_regions <= 10_000
    assert_part_of(part, workload("M").partition)


def test_out_of_time_a_small_partition_is_finished_and_a_limit_on_regions_is_kept() -> None:
    whole = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0))
    assert whole.n_regions < 10_000
    late = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), time_limit=0.0)
    assert late.complete == (late.n_regions == whole.n_regions)
    small = sg.enumerate_regions(mlp((2, 5, 3)), IDENTITY_PLANE, sg.Box(1.0), time_limit=0.0)
    assert small.complete
    part = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), time_limit=0.0, max_regions=50)
    assert not part.complete
    assert part.n_regions <= 50
    assert_part_of(part, whole)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_interruption_gives_what_can_be_finished(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    advance = Watch.advance

    def interrupted(watch: Watch, n: int) -> None:
        nonlocal calls
        calls += 1
        if calls == after + 1:
            raise KeyboardInterrupt
        advance(watch, n)

    whole = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0))
    monkeypatch.setattr(Watch, "advance", interrupted)
    part = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0))
    assert part.complete == (part.n_regions == whole.n_regions)
    assert_part_of(part, whole)


@pytest.mark.parametrize("stages", [0, 1, 2, 3])
def test_an_interruption_between_stages_gives_what_can_be_finished(
    stages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(refinement: Refinement) -> bool:
        nonlocal calls
        calls += 1
        if calls == stages + 1:
            assert refinement.index == stages
            raise KeyboardInterrupt
        return refinement.index == len(refinement.network.stages)

    whole = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0))
    assert whole.n_regions > LAST_REGIONS
    monkeypatch.setattr("splinegeo.refine._LAST_REGIONS", LAST_REGIONS)
    monkeypatch.setattr(Refinement, "finished", property(interrupted))
    part = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0))
    assert part.complete == (stages == 3)  # then nothing was left to do
    assert part.n_regions == whole.n_regions if part.complete else part.n_regions <= LAST_REGIONS
    assert_part_of(part, whole)


@pytest.mark.parametrize("limit", [None, 50])
def test_an_interruption_of_the_last_step_loses_nothing(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), max_regions=limit)
    calls, finish = 0, Refinement.partition

    def interrupted(refinement: Refinement, plane: sg.Slice, polygon: np.ndarray, complete: bool) -> sg.Partition:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyboardInterrupt
        return finish(refinement, plane, polygon, complete)

    monkeypatch.setattr(Refinement, "partition", interrupted)
    again = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), max_regions=limit)
    assert again.complete == expected.complete == (limit is None)
    np.testing.assert_array_equal(again.vertices, expected.vertices)


@pytest.mark.parametrize("memory", [1 << 18, 1 << 20, 1 << 32])
def test_blocks_together_are_the_whole(memory: int) -> None:
    whole = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0))
    blocks = list(sg.iterate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), memory=memory))
    assert (len(blocks) == 1) == (memory == 1 << 32)
    assert all(block.complete == (len(blocks) == 1) for block in blocks)
    assert sum(block.n_regions for block in blocks) == whole.n_regions
    together: dict[bytes, float] = {}
    for block in blocks:
        assert_part_of(block, whole)
        together |= keys_with_areas(block)
        r = block.n_regions // 2
        point = block.plane.lift(block.interior_points[r : r + 1]).reshape(1, -1)
        affine, offset = block.affine_map(r)
        np.testing.assert_allclose(affine @ point[0] + offset, block.network(point)[0], atol=1e-12)
    assert together.keys() == keys_with_areas(whole).keys()


def test_threads_do_not_change_the_result() -> None:
    one = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0), threads=1)
    several = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0), threads=3)
    for name in ("vertices", "edges", "edge_faces", "edge_labels", "offsets", "corners", "pattern_keys"):
        np.testing.assert_array_equal(getattr(one, name), getattr(several, name))


def test_threads_that_share_out_many_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splinegeo._chunks._SMALLEST_CHUNK", 1 << 9)
    one = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0), threads=1)
    for threads in (2, 5):
        several = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0), threads=threads)
        for name in ("vertices", "edges", "edge_faces", "edge_labels", "offsets", "corners", "pattern_keys"):
            np.testing.assert_array_equal(getattr(one, name), getattr(several, name))


@pytest.mark.parametrize("values_per_corner", [1e-3, 0.5])
def test_crossings_that_outgrow_their_room_are_searched_again(
    values_per_corner: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0))
    monkeypatch.setattr("splinegeo._values._VALUES_PER_CORNER", values_per_corner)
    monkeypatch.setattr("splinegeo._values._BLOCK_BYTES", 1 << 16)
    found = sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(3.0))
    for name in ("vertices", "edges", "edge_faces", "edge_labels", "offsets", "corners", "pattern_keys"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_progress_is_shown_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0), progress=True)
    assert "stage" in capsys.readouterr().err
    sg.enumerate_regions(network(), IDENTITY_PLANE, sg.Box(1.0))
    assert capsys.readouterr().err == ""


class Residual(nn.Module):
    """Convolutions, max pooling and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x))
        h = self.pool(h + torch.relu(self.second(h)))
        return self.head(h.flatten(1))


def test_a_residual_network_with_max_pooling_is_certified() -> None:
    """Whether its segments are matrices or operators; unique patterns, areas, and the module's own outputs."""
    torch.manual_seed(3)
    model = Residual()
    plane = sg.Slice.through_points(torch.randn(3, 1, 4, 4))
    partition = sg.enumerate_regions(model, plane)
    certificate = partition.certify(20_000)
    assert certificate.ok, str(certificate)
    x = torch.from_numpy(plane.lift(partition.interior_points))
    with torch.no_grad():
        outputs = model.double()(x).numpy()
    t = np.column_stack([partition.interior_points, np.ones(partition.n_regions)])
    np.testing.assert_allclose(np.einsum("rck,rk->rc", partition.slice_maps, t), outputs, atol=1e-12)


def test_operators_give_the_regions_that_matrices_give(monkeypatch: pytest.MonkeyPatch) -> None:
    from splinegeo import reading

    torch.manual_seed(3)
    model = Residual()
    plane = sg.Slice.through_points(torch.randn(3, 1, 4, 4))
    dense = sg.enumerate_regions(model, plane)
    monkeypatch.setattr(reading, "DENSE_ENTRIES", 0)
    partition = sg.enumerate_regions(model, plane)
    assert partition.network.stages[0].affine.columns is None
    assert dense.network.stages[0].affine.columns is not None
    assert_part_of(partition, dense)
    assert partition.n_regions == dense.n_regions
    by_key = {key.tobytes(): r for r, key in enumerate(dense.pattern_keys)}
    order = [by_key[key.tobytes()] for key in partition.pattern_keys]
    np.testing.assert_allclose(partition.slice_maps, dense.slice_maps[order], atol=1e-12)
    np.testing.assert_allclose(partition.centroids(), dense.centroids(order), atol=1e-12)
    np.testing.assert_allclose(partition.operator_norms(), dense.operator_norms()[order], rtol=1e-10)


def test_a_part_holds_the_values_of_its_own_vertices_alone() -> None:
    from splinegeo._cutting import Limit
    from splinegeo._refinement import Refinement
    from splinegeo._values import Values
    from splinegeo.slice import domain_polygon

    plane = IDENTITY_PLANE
    polygon = domain_polygon(sg.Box(1.0), plane)
    model = sg.read_network(mlp((2, 32, 24, 16, 3), bias=True))
    with tqdm(disable=True) as bar:
        whole = (
            Refinement.start(model, plane, polygon, 1).advance(Limit(None), Watch(bar)).advance(Limit(None), Watch(bar))
        )
    assert isinstance(whole.values, Values)
    rows = whole.values.at_all_vertices(1).older
    n = whole.mesh.n_faces
    for begin, end in ((0, n), (0, n // 3), (n // 3, n // 3 + 1), (n // 2, n)):
        part = whole.part(begin, end)
        used = np.unique(whole.mesh.corners[whole.mesh.offsets[begin] : whole.mesh.offsets[end]])
        assert isinstance(part.values, Values)
        assert len(part.values.older) == len(part.mesh.vertices) == len(used)
        np.testing.assert_array_equal(part.mesh.vertices, whole.mesh.vertices[used])
        np.testing.assert_array_equal(part.values.older, rows[used])
