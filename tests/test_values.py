"""Blocks of faces whose values are computed together."""

from itertools import pairwise

import numpy as np
import pytest

from splinegeo._crossings import family_blocks


@pytest.mark.parametrize("limit", [1, 40, 500, 10**9])
@pytest.mark.parametrize("seed", [0, 1])
def test_blocks_hold_whole_families_and_as_many_as_fit(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    parents = np.repeat(np.arange(200, dtype=np.int32), rng.integers(1, 30, 200))
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 9, len(parents)))])
    ends = np.empty(len(parents), dtype=np.int64)
    edges = [0, *ends[: family_blocks(parents, offsets, limit, ends)].tolist()]

    assert edges[-1] == len(parents)
    assert all(parents[end - 1] != parents[end] for end in edges[1:-1])
    for begin, end in pairwise(edges):
        families = len(np.unique(parents[begin:end]))
        assert families == 1 or offsets[end] - offsets[begin] <= limit
    for (begin, _), (_, end) in pairwise(pairwise(edges)):  # two blocks that follow each other would not fit in one
        first_family = int(np.searchsorted(parents, parents[edges[edges.index(begin) + 1]], side="right"))
        assert offsets[first_family] - offsets[begin] > limit
        assert end > begin


def test_no_faces_make_no_blocks() -> None:
    empty = np.empty(0, dtype=np.int64)
    assert family_blocks(np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64), 5, empty) == 0
