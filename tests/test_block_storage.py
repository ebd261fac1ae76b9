"""Partitions as folders of blocks: the whole comes back, memory stays bounded, a stop loses one block at most."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import IDENTITY_PLANE, mlp, mnist_plane, workload
from partition_files import assert_same_file_content, image_partition

import splinegeo as sg
from splinegeo import block_storage
from splinegeo.progress import followed_by

MODEL_SIZES = (2, 100, 40, 40, 3)


def iterated(memory: int = 3 << 18, threads: int = 1) -> Iterator[sg.Partition]:
    model = mlp(MODEL_SIZES, bias=True, seed=7)
    return sg.iterate_regions(model, IDENTITY_PLANE, sg.Box(1.0), memory=memory, threads=threads)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_blocks_come_back_one_by_one(tmp_path: Path) -> None:
    saved = sg.save_blocks(tmp_path / "blocks", iterated())
    loaded = sg.load_blocks(tmp_path / "blocks")
    whole = sg.enumerate_regions(mlp(MODEL_SIZES, bias=True, seed=7), IDENTITY_PLANE, sg.Box(1.0))
    assert saved.complete
    assert loaded.complete
    assert len(saved) == len(loaded) > 10
    assert saved.n_regions == loaded.n_regions == whole.n_regions
    keys, area = set(), 0.0
    for i, (block, again) in enumerate(zip(iterated(), loaded, strict=True)):
        assert_same_file_content(block, again)
        assert loaded.regions_per_block[i] == again.n_regions
        keys |= {key.tobytes() for key in again.pattern_keys}
        area += again.areas.sum()
    assert keys == {key.tobytes() for key in whole.pattern_keys}
    assert area == pytest.approx(4.0, rel=1e-12)
    assert_same_file_content(loaded[3], list(saved)[3])
    np.testing.assert_array_equal(loaded[3].slice_maps, list(iterated())[3].slice_maps)


def test_the_network_is_written_once(tmp_path: Path) -> None:
    blocks = sg.save_blocks(tmp_path, iterated())
    with np.load(tmp_path / "block-000000.npz") as first, np.load(tmp_path / "block-000001.npz") as second:
        assert "weight_0" in first.files
        assert "weight_0" not in second.files
    with pytest.raises(sg.PartitionFileError, match="give load_partition the model"):
        sg.load_partition(tmp_path / "block-000001.npz")
    assert len({id(block.network) for block in blocks}) == 1


def test_blocks_can_be_saved_again_elsewhere(tmp_path: Path) -> None:
    first = sg.save_blocks(tmp_path / "one", iterated())
    second = sg.save_blocks(tmp_path / "another", sg.load_blocks(tmp_path / "one"))
    for block, again in zip(first, second, strict=True):
        assert_same_file_content(block, again)


def test_one_block_is_a_partition(tmp_path: Path) -> None:
    partition = image_partition()
    (block,) = sg.save_blocks(tmp_path, [partition])
    assert_same_file_content(partition, block)
    with pytest.raises(IndexError, match="block 1 does not exist: there are 1"):
        sg.load_blocks(tmp_path)[1]


# --- stopped ---


def test_a_stop_leaves_the_blocks_before_it(tmp_path: Path) -> None:
    def stopped() -> Iterator[sg.Partition]:
        for i, block in enumerate(iterated()):
            if i == 5:
                raise KeyboardInterrupt
            yield block

    with pytest.raises(KeyboardInterrupt):
        sg.save_blocks(tmp_path, stopped())
    part = sg.load_blocks(tmp_path)
    assert not part.complete
    assert len(part) == 5
    for block, again in zip(part, iterated(), strict=False):
        assert_same_file_content(block, again)
    whole = sg.save_blocks(tmp_path, iterated())
    assert whole.complete
    assert len(contents(tmp_path)) == len(whole) + 1


def test_a_kill_leaves_whole_blocks_and_the_same_call_goes_on(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        import numpy as np
        sys.path[:0] = sys.argv[2:]
        import splinegeo.atomic
        from test_block_storage import iterated
        import splinegeo as sg

        calls = 0
        def killed(descriptor):
            global calls
            calls += 1
            if calls == 8:  # in the middle of a block: it is written, but not in place
                os.kill(os.getpid(), signal.SIGKILL)
        splinegeo.atomic.os.fsync = killed
        sg.save_blocks(sys.argv[1], iterated())
    """
    here = Path(__file__).parent
    arguments = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), str(here), str(here.parent)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert any(name.endswith(".part") for name in contents(tmp_path))
    part = sg.load_blocks(tmp_path)
    assert not part.complete
    assert len(part) == 3
    assert sum(block.n_regions for block in part) == part.n_regions
    before = written(tmp_path)
    whole = sg.save_blocks(tmp_path, iterated())
    assert contents(tmp_path) == [*(f"block-{i:06}.npz" for i in range(len(whole))), "blocks.json"]
    assert_goes_on(tmp_path, before, 3)


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells whether a file was written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("block-*.npz")}


def assert_goes_on(folder: Path, before: dict[str, tuple[int, int]], n_blocks: int) -> None:
    """The first blocks are the files that were there, the folder holds what one without a stop holds."""
    after = written(folder)
    kept = [f"block-{i:06}.npz" for i in range(n_blocks)]
    assert sorted(name for name in after if after[name] == before.get(name)) == kept
    part = sg.load_blocks(folder)
    assert part.complete
    for block, again in zip(part, iterated(), strict=True):
        assert_same_file_content(block, again)


def test_an_interruption_in_the_middle_of_a_block_is_gone_on_from(tmp_path: Path) -> None:
    n_told = 0

    def interrupt(done: int, total: int) -> None:
        nonlocal n_told
        n_told += len(written(tmp_path)) >= 4
        if n_told == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), followed_by(interrupt):
        sg.save_blocks(tmp_path, iterated())
    part = sg.load_blocks(tmp_path)
    assert not part.complete
    assert len(part) >= 4
    before = written(tmp_path)
    assert sg.save_blocks(tmp_path, iterated()).complete
    assert_goes_on(tmp_path, before, len(part))


def test_several_interruptions_and_another_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = block_storage.save_partition

    def stops_after(n: int) -> None:
        left = iter(range(n))

        def save(*arguments: Any, **options: Any) -> None:
            if next(left, None) is None:
                raise OSError(28, "No space left on device")
            saved(*arguments, **options)

        monkeypatch.setattr(block_storage, "save_partition", save)

    for n, threads in ((2, 1), (3, 2), (0, 1), (1, 2)):
        stops_after(n)
        with pytest.raises(OSError, match="No space left"):
            sg.save_blocks(tmp_path, iterated(threads=threads))
    assert len(sg.load_blocks(tmp_path)) == 6
    monkeypatch.undo()
    before = written(tmp_path)
    sg.save_blocks(tmp_path, iterated())
    assert_goes_on(tmp_path, before, 6)


def stopped_folder(folder: Path, n_blocks: int) -> Path:
    """A folder whose writing was stopped before the next block was computed."""

    def interrupt(done: int, total: int) -> None:
        if len(written(folder)) >= n_blocks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), followed_by(interrupt):
        sg.save_blocks(folder, iterated())
    assert len(sg.load_blocks(folder)) == n_blocks
    return folder


def test_a_block_that_is_gone_is_computed_again_with_all_after_it(tmp_path: Path) -> None:
    stopped_folder(tmp_path, 5)
    (tmp_path / "block-000002.npz").unlink()
    before = written(tmp_path)
    sg.save_blocks(tmp_path, iterated())
    assert_goes_on(tmp_path, before, 2)


def test_stopped_after_the_last_block(tmp_path: Path) -> None:
    whole = sg.save_blocks(tmp_path, iterated())
    index = json.loads((tmp_path / "blocks.json").read_text())
    (tmp_path / "blocks.json").write_text(json.dumps(index | {"complete": False}))
    before = written(tmp_path)
    again = sg.save_blocks(tmp_path, iterated())
    assert (again.complete, again.regions_per_block) == (True, whole.regions_per_block)
    assert_goes_on(tmp_path, before, len(whole))


@pytest.mark.parametrize("what", ["network", "slice", "domain", "memory", "enumeration"])
def test_blocks_of_another_enumeration_are_not_mixed(what: str, tmp_path: Path) -> None:
    stopped_folder(tmp_path, 2)
    before, index = written(tmp_path), (tmp_path / "blocks.json").read_bytes()
    model = mlp(MODEL_SIZES, bias=True, seed=8 if what == "network" else 7)
    plane = sg.Slice(np.ones(2), np.eye(2)) if what == "slice" else IDENTITY_PLANE
    domain, memory = sg.Box(1.5 if what == "domain" else 1.0), 3 << (19 if what == "memory" else 18)
    other: Iterable[sg.Partition] = sg.iterate_regions(model, plane, domain, memory=memory, threads=1)
    if what == "enumeration":  # of which nothing is known
        other = [image_partition()]
    with pytest.raises(sg.InvalidArgumentError, match=f"a part of the blocks of another {what}: delete it") as caught:
        sg.save_blocks(tmp_path, other)
    assert str(caught.value).isprintable()
    assert (written(tmp_path), (tmp_path / "blocks.json").read_bytes()) == (before, index)


@pytest.mark.parametrize("places", [None, 3, [[]], [[[0]], [[0, 1]]], [[[0, -1]], [[1, 1]]], [["ab"], [[1, 1]]], {}])
def test_damaged_places_are_refused(places: object, tmp_path: Path) -> None:
    stopped_folder(tmp_path, 2)
    index = json.loads((tmp_path / "blocks.json").read_text())
    (tmp_path / "blocks.json").write_text(json.dumps(index | {"places": places}))
    before = written(tmp_path)
    with pytest.raises(sg.PartitionFileError, match=r"blocks\.json is damaged") as caught:
        sg.save_blocks(tmp_path, iterated())
    assert str(caught.value).isprintable()
    assert written(tmp_path) == before


# --- refusals ---


def test_a_complete_partition_is_not_overwritten(tmp_path: Path) -> None:
    sg.save_blocks(tmp_path, [image_partition()])
    before = contents(tmp_path)
    with pytest.raises(sg.InvalidArgumentError, match="holds a complete partition: delete it"):
        sg.save_blocks(tmp_path, iterated())
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["thesis.tex", "block-000000.npz"])
def test_a_folder_of_something_else_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(sg.InvalidArgumentError, match=rf"holds something else \({name}\)"):
        sg.save_blocks(tmp_path, iterated())
    assert contents(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_bad_blocks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(sg.InvalidArgumentError, match="there are no blocks"):
        sg.save_blocks(tmp_path / "none", [])
    with pytest.raises(sg.InvalidArgumentError, match="several networks"):
        sg.save_blocks(tmp_path / "two", [image_partition(), image_partition()])
    assert not sg.load_blocks(tmp_path / "two").complete


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"format": "splinegeo blocks"}',
        b'{"format": "splinegeo blocks", "version": 2, "complete": true, "regions": [3]}',
        b'{"format": "splinegeo blocks", "version": 1, "complete": 1, "regions": [3]}',
        b'{"format": "splinegeo blocks", "version": 1, "complete": true, "regions": 3}',
        b'{"format": "splinegeo blocks", "version": 1, "complete": true, "regions": [0]}',
        b'{"format": "splinegeo blocks", "version": 1, "complete": true, "regions": [1.5]}',
    ],
    ids=lambda index: repr(index[:70]),
)
def test_a_damaged_index_is_refused_in_one_line(index: bytes, tmp_path: Path) -> None:
    (tmp_path / "blocks.json").write_bytes(index)
    for call in (lambda: sg.load_blocks(tmp_path), lambda: sg.save_blocks(tmp_path, iterated())):
        with pytest.raises(sg.PartitionFileError, match=r"blocks\.json") as caught:
            call()
        assert str(caught.value).isprintable()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sg.load_blocks(tmp_path / "nothing")


def test_blocks_that_are_not_the_indexs_are_refused(tmp_path: Path) -> None:
    blocks = sg.save_blocks(tmp_path, iterated())
    os.replace(tmp_path / "block-000002.npz", tmp_path / "block-000001.npz")
    with pytest.raises(sg.PartitionFileError, match=r"regions, not \d+ as blocks\.json says"):
        list(blocks)
    (tmp_path / "block-000001.npz").unlink()
    with pytest.raises(FileNotFoundError):
        blocks[1]
    index = json.loads((tmp_path / "blocks.json").read_text())
    assert index["complete"]


# --- size ---

STREAM = """
    import resource, sys
    sys.path[:0] = sys.argv[2:4]
    from networks import mlp, mnist_plane
    import splinegeo as sg

    sizes, half_width, memory = eval(sys.argv[4])
    sg.enumerate_regions(mlp(sizes), mnist_plane(), sg.Box(1.0), threads=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    blocks = sg.iterate_regions(mlp(sizes), mnist_plane(), sg.Box(half_width), memory=memory, threads=1)
    saved = sg.save_blocks(sys.argv[1], blocks)
    print(saved.n_regions, len(saved), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def streamed(path: Path, sizes: tuple[int, ...], half_width: float, memory: int) -> tuple[int, int, int]:
    """Regions, blocks and kilobytes beyond those of a small enumeration, in a process of its own."""
    here = Path(__file__).parent
    setting = repr((sizes, half_width, memory))
    arguments = [sys.executable, "-c", textwrap.dedent(STREAM), str(path), str(here), str(here.parent), setting]
    printed = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    n_regions, n_blocks, kilobytes = (int(word) for word in printed.split())
    return n_regions, n_blocks, kilobytes


PEAK = """
    import sys
    from pathlib import Path
    sys.path[:0] = sys.argv[1:3]
    from networks import mlp, mnist_plane
    import splinegeo as sg

    def status(key):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))

    sizes, half_width, memory, threads = eval(sys.argv[3])
    model, plane = mlp(sizes), mnist_plane()
    for _ in sg.iterate_regions(mlp((784, 30, 20, 20, 3)), plane, sg.Box(1.0), memory=1 << 17, threads=threads):
        pass  # the kernels are loaded
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: it was that of the imports
    before = status("VmRSS")
    n_regions = n_blocks = 0
    for block in sg.iterate_regions(model, plane, sg.Box(half_width), memory=memory, threads=threads):
        n_regions, n_blocks = n_regions + block.n_regions, n_blocks + 1
    print(n_regions, n_blocks, status("VmHWM") - before)
"""


def peak(sizes: tuple[int, ...], half_width: float, memory: int, threads: int) -> tuple[int, int, int]:
    """Regions, blocks and the most bytes held beside those of the imports, in a process of its own."""
    here = Path(__file__).parent
    arguments = [sys.executable, "-c", textwrap.dedent(PEAK), str(here), str(here.parent)]
    child = subprocess.run(
        [*arguments, repr((sizes, half_width, memory, threads))], check=True, capture_output=True, text=True,
        env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},
    )  # fmt: skip
    n_regions, n_blocks, n_bytes = (int(word) for word in child.stdout.split())
    return n_regions, n_blocks, n_bytes


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system does not tell the peak")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("sizes", "half_width", "memory"),
    [((784, 512, 512, 10), 120.0, 1 << 26), ((784, 800, 200, 10), 40.0, 1 << 26)],
)
def test_a_stream_takes_the_memory_that_it_was_given(
    sizes: tuple[int, ...], half_width: float, memory: int, threads: int
) -> None:
    _, n_blocks, n_bytes = peak(sizes, half_width, memory, threads)
    assert n_blocks > 1
    assert n_bytes < 1.25 * memory + (threads - 1) * (8 << 20)  # gaps, and the second one's buffers


def test_streaming_takes_bounded_memory(tmp_path: Path) -> None:
    n_regions, n_blocks, kilobytes = streamed(tmp_path, (784, 196, 196, 196, 10), 10.0, 1 << 24)
    assert n_regions == workload("M").partition.n_regions
    assert n_blocks > 5
    assert kilobytes < 100_000
    assert sum(block.areas.sum() for block in sg.load_blocks(tmp_path)) == pytest.approx(400.0, rel=1e-12)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_half_a_million_regions_are_streamed_in_bounded_memory(tmp_path: Path) -> None:
    sizes = (784, 512, 512, 512, 10)
    n_regions, n_blocks, kilobytes = streamed(tmp_path, sizes, 40.0, 1 << 26)
    assert n_regions > 400_000
    assert n_blocks > 10
    assert kilobytes < 600_000
    blocks = sg.load_blocks(tmp_path)
    assert blocks.n_regions == n_regions
    points = np.random.default_rng(0).uniform(-40, 40, (3000, 2))
    area, held = 0.0, np.zeros(len(points), dtype=np.int64)
    for block in blocks:
        area += block.areas.sum()
        regions = block.locate(points)
        held += regions >= 0
        for t, r in zip(points[regions >= 0][:3], regions[regions >= 0][:3], strict=True):
            x = mnist_plane().lift(t[None])
            pattern = [pieces[0] for pieces in block.network.patterns(x)]
            assert all(np.array_equal(one, other) for one, other in zip(pattern, block.pattern(int(r)), strict=True))
    assert area == pytest.approx(6400.0, rel=1e-11)
    assert (held == 1).all()
