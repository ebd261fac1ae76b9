"""Loops over chunks: order of results, errors, who works."""

import threading
import time

import numpy as np
import pytest

from splinegeo._chunks import chunk_bounds, even_chunks, joined, run_chunks

# Chunks of a millisecond, and how many of them may be done although there was an error: a busy machine may hold up, for
# some seconds, the thread that has raised it before it can end the others' work.
MANY, FEW = 100_000, 8_000


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_order_and_each_chunk_once(threads: int) -> None:
    bounds = chunk_bounds(np.arange(0, 50_000_000, 1000), threads)
    assert len(bounds) > 100
    seen: list[tuple[int, int]] = []

    def work(begin: int, end: int) -> int:
        seen.append((begin, end))
        time.sleep(1e-4 * (begin % 3))
        return begin

    assert run_chunks(work, bounds, threads) == [begin for begin, _ in bounds]
    assert sorted(seen) == bounds


def test_the_calling_thread_works_too() -> None:
    workers, both_work = set(), threading.Barrier(2, timeout=60)

    def work(begin: int, end: int) -> None:
        workers.add(threading.get_ident())
        if begin < 2:
            both_work.wait()

    run_chunks(work, [(i, i + 1) for i in range(20)], 2)
    assert len(workers) == 2
    assert threading.get_ident() in workers


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_ends_the_work(threads: int) -> None:
    done = []

    def work(begin: int, end: int) -> None:
        if begin == 3:
            raise ValueError("chunk 3")
        time.sleep(0.001)
        done.append(begin)

    with pytest.raises(ValueError, match="chunk 3"):
        run_chunks(work, [(i, i + 1) for i in range(MANY)], threads)
    assert len(done) < FEW
    n = len(done)
    time.sleep(0.02)
    assert len(done) == n


@pytest.mark.parametrize("in_calling_thread", [True, False])
def test_an_error_in_any_thread_ends_the_work_of_all(in_calling_thread: bool) -> None:
    done, both_work = [], threading.Barrier(2, timeout=60)
    caller = threading.get_ident()

    def work(begin: int, end: int) -> None:
        if begin < 2:
            both_work.wait()
            if (threading.get_ident() == caller) == in_calling_thread:
                raise ValueError("mine")
        time.sleep(0.001)
        done.append(begin)

    with pytest.raises(ValueError, match="mine"):
        run_chunks(work, [(i, i + 1) for i in range(MANY)], 2)
    assert len(done) < FEW


def test_chunks_cover_all_items_with_about_equal_weights() -> None:
    weights = np.random.default_rng(0).integers(0, 3000, 2000)
    start = np.concatenate([[0], np.cumsum(weights)])
    bounds = chunk_bounds(start, 2)
    assert [a for a, _ in bounds][1:] == [b for _, b in bounds][:-1]
    assert (bounds[0][0], bounds[-1][1]) == (0, 2000)
    sums = [start[b] - start[a] for a, b in bounds]
    assert max(sums) - min(sums) <= 2 * weights.max()


@pytest.mark.parametrize(("n", "weight"), [(0, 1), (1, 1 << 30), (7, 1 << 20), (1_000_000, 1), (3000, 512)])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_even_chunks_are_those_of_equal_weights(n: int, weight: int, threads: int) -> None:
    bounds = even_chunks(n, weight, threads)
    assert [a for a, _ in bounds] == [0, *[b for _, b in bounds]][: len(bounds)]
    assert sum(b - a for a, b in bounds) == n
    sizes = [b - a for a, b in bounds] or [0]
    assert max(sizes) - min(sizes) <= 1
    assert len(bounds) == len(chunk_bounds(weight * np.arange(n + 1), threads))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("columns", [(), (2,)])
def test_parts_are_joined_in_order(threads: int, columns: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    lengths = [0, 5, 100_000, 0, 1, 70_000, 3, 0]
    parts = [generator.standard_normal((n, *columns)) for n in lengths]
    np.testing.assert_array_equal(joined(parts, threads), np.concatenate(parts))
    np.testing.assert_array_equal(joined([parts[0], parts[3]], threads), parts[0])
