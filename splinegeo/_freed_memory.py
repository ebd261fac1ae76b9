"""Memory that has served and is given back to the system: what the C library keeps between arrays in use, and pages of
arrays that were written and will not be read.
"""

import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache

import numpy as np

# A large page that is given back in part falls into small ones, which take longer to read.
_PAGE = 1 << 21


def give_back_freed_memory() -> None:
    """Return free pages to the system, where the C library can do so (glibc); else nothing happens."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no C library to ask, as on Windows, or another one
        return None


def give_back_pages(array: np.ndarray) -> None:
    """Return the large pages that lie in a contiguous array to the system, where that can be done (Linux); else nothing
    happens. What the array held is lost.
    """
    advise = _advise()
    begin = -(-array.ctypes.data // _PAGE) * _PAGE
    end = (array.ctypes.data + array.nbytes) // _PAGE * _PAGE
    if advise is not None and begin < end:
        advise(begin, end - begin, mmap.MADV_DONTNEED)


@cache
def _advise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux":  # elsewhere this advice means something else, or nothing
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return advise
