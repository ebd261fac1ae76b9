"""How the hot loops are compiled."""

from collections.abc import Callable
from typing import Any

from numba import njit

kernel: Callable[..., Any] = njit(  # type: ignore[call-overload]
    cache=True, nogil=True, error_model="numpy", _nrt=False
)
"""Compiles a loop that allocates nothing, and so needs none of numba's reference counts: in loops over small faces they
took half of the time. Such a kernel gets all its work arrays from its caller, and divides by zero as numpy does.
"""

fused_kernel: Callable[..., Any] = njit(  # type: ignore[call-overload]
    cache=True, nogil=True, error_model="numpy", _nrt=False, fastmath={"contract"}
)
"""The same for sums of products, whose terms may be rounded together with the sum (fused multiply-add)."""
