"""Room for arrays: at cache lines, and each apart from the others."""

import numpy as np
import pytest

from splinegeo._rows import empty_arrays, empty_rows


@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (3000, 512)])
def test_rows_begin_at_a_cache_line(shape: tuple[int, int]) -> None:
    rows = empty_rows(*shape)
    assert rows.shape == shape
    assert rows.flags.c_contiguous
    assert rows.ctypes.data % 64 == 0


def test_arrays_in_one_piece_do_not_overlap() -> None:
    kinds = [((5, 2), np.int32), ((0,), np.float64), ((3,), np.uint64), ((0, 2), np.int32), ((7,), np.float64)]
    arrays = empty_arrays(*kinds)
    for i, (array, (shape, kind)) in enumerate(zip(arrays, kinds, strict=True)):
        assert array.shape == shape
        assert array.dtype == kind
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.ctypes.data % 64 == 0 or not array.size
        array[:] = i
    for i, array in enumerate(arrays):
        assert (array == i).all()
