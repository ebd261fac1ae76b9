"""Chunks that end in any order leave what they would have written one after the other, without gaps."""

import mmap
import sys

import numpy as np
import pytest

from splinegeo import _freed_memory, _gaps
from splinegeo._crossings import Births
from splinegeo._faces import Offspring, Room
from splinegeo._gaps import ChunkRooms, give_back_room
from splinegeo._rows import empty_arrays

N_OLDER = 10
FIRST = Room(vertex=2, edge=5, face=0, corner=0, kink=3)
"""Two vertices born on edges, five pieces of edges and three kinks come before what the chunks write."""


def arrays(end: Room) -> tuple[Offspring, Births]:
    """Filled with a number that no chunk writes."""
    kinds = [
        ((end.vertex, 2), np.float64), ((end.edge, 2), np.int32), ((end.edge, 2), np.int32), ((end.edge, 2), np.int32),
        ((end.face,), np.int64), ((end.face,), np.int32), ((end.corner,), np.int32), ((end.corner,), np.int32),
        ((end.face, 2), np.uint64), ((end.vertex, 2), np.int32), ((end.vertex,), np.float64),
        ((end.vertex,), np.int64), ((end.vertex,), np.int32), ((end.kink,), np.int32), ((end.kink,), np.float64),
    ]  # fmt: skip
    filled = empty_arrays(*kinds)
    for array in filled:
        array[:] = 77
    return Offspring(*filled[:9]), Births(*filled[9:], n_on_edges=FIRST.vertex)


def write(chunk: int, size: Room, begin: Room, offspring: Offspring, births: Births) -> Room:
    """What a chunk of faces may write: numbers of its own vertices, edges and faces, and of older ones."""
    generator = np.random.default_rng(chunk)
    end = Room(*(b + s for b, s in zip(begin, size, strict=True)))
    old_or_own = [*range(N_OLDER + FIRST.vertex), *range(N_OLDER + begin.vertex, N_OLDER + end.vertex)]
    for v in range(begin.vertex, end.vertex):
        offspring.vertices[v] = generator.standard_normal(2)
        births.parameter[v] = generator.random()
        births.ends[v] = generator.choice(old_or_own, 2)
        births.kink_start[v] = begin.kink + generator.integers(size.kink + 1)
        births.kink_count[v] = generator.integers(3)
    births.kink_unit[begin.kink : end.kink] = generator.integers(9, size=size.kink)
    births.kink[begin.kink : end.kink] = generator.standard_normal(size.kink)
    for e in range(begin.edge, end.edge):
        offspring.edges[e] = generator.choice(old_or_own, 2)
        offspring.edge_labels[e] = chunk, generator.integers(9)
        offspring.edge_faces[e] = begin.face + generator.integers(size.face, size=2)
    ends = np.sort(generator.integers(size.corner + 1, size=size.face))
    ends[-1] = size.corner
    corner = begin.corner
    for f in range(size.face):
        face = begin.face + f
        offspring.face_ends[face] = begin.corner + ends[f]
        offspring.face_parents[face] = chunk
        offspring.bits[face] = generator.integers(1 << 40, size=2)
        while corner < begin.corner + ends[f]:
            edge = chunk if corner == begin.corner else begin.edge + int(generator.integers(size.edge))
            offspring.corners[corner] = generator.choice(old_or_own)
            offspring.sides[corner] = 2 * edge + chunk % 2
            if edge < FIRST.edge:
                offspring.edge_faces[edge, chunk % 2] = face
            corner += 1
    return end


@pytest.mark.parametrize(("seed", "scale"), [*((seed, 1) for seed in range(40)), (40, 200), (41, 200)])
def test_gaps_are_closed_in_whatever_order_chunks_end(seed: int, scale: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = [Room(*(scale * int(n) for n in generator.integers(1, 9, size=5))) for _ in range(5)]
    needs = np.array(sizes) + scale * generator.integers(0, 6, size=(5, 5))
    room = Room(*(np.array(FIRST) + needs.sum(axis=0)).tolist())
    offspring, births = arrays(room)
    rooms = ChunkRooms(offspring, births, FIRST, needs, N_OLDER)
    running: dict[int, Room] = {}
    waiting = list(range(5))
    while waiting or running:
        if waiting and (not running or (len(running) < 3 and generator.random() < 0.6)):
            chunk = waiting.pop(0)
            begin, end = rooms.begin(chunk)
            running[chunk] = write(chunk, sizes[chunk], begin, offspring, births)
            assert all(a <= b for a, b in zip(running[chunk], end, strict=True))
        else:
            chunk = int(generator.choice(list(running)))
            rooms.finish(chunk, running.pop(chunk))

    expected_offspring, expected_births = arrays(room)
    end = FIRST
    for chunk, size in enumerate(sizes):
        end = write(chunk, size, end, expected_offspring, expected_births)
    assert rooms.end == end
    lengths = (end.vertex, end.edge, end.edge, end.edge, end.face, end.face, end.corner, end.corner, end.face)
    for n, found, expected in zip(lengths, offspring, expected_offspring, strict=True):
        np.testing.assert_array_equal(found[:n], expected[:n])
    lengths = (end.vertex, end.vertex, end.vertex, end.vertex, end.kink, end.kink)
    for n, found, expected in zip(lengths, births[:6], expected_births[:6], strict=True):
        np.testing.assert_array_equal(found[:n], expected[:n])


@pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux alone")
def test_room_behind_what_is_written_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_freed_memory, "_PAGE", mmap.PAGESIZE)
    room, end = Room(*(5 * [1 << 15])), Room(*(5 * [1 << 13]))
    offspring, births = arrays(room)
    give_back_room(offspring, births, end)
    assert all((array == 77).all() for array in (*offspring, *births[:6]))  # few pages stay
    monkeypatch.setattr(_gaps, "_MUCH", 1 << 20)
    give_back_room(offspring, births, end)
    for array in (*offspring, *births[:6]):
        page = mmap.PAGESIZE // array[0].nbytes
        assert (array[: 1 << 13] == 77).all()
        assert (array[(1 << 13) + page : -page] == 0).all()
