"""Compiled bit arithmetic on 64-bit words: one bit a unit."""

import numpy as np
from numba import njit

WORD = 64


@njit(cache=True, inline="always")
def count_ones(word):
    """Number of set bits of a uint64."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, inline="always")
def lowest_one(word):
    """Index of the lowest set bit of a non-zero uint64."""
    return count_ones((word & (~word + np.uint64(1))) - np.uint64(1))


@njit(cache=True, inline="always")
def single_bit(index):
    """The uint64 with one bit set."""
    return np.uint64(1) << np.uint64(index)


def n_words(n_bits: int) -> int:
    """Words that hold this many bits (at least one, so that arrays of words are never empty)."""
    return max(1, -(-n_bits // WORD))
