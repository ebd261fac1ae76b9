"""Memory that has been freed and is given back to the system: the C library keeps what lies between arrays in use."""

import ctypes
from collections.abc import Callable
from functools import cache


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
