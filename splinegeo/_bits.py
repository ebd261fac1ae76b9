"""Compiled bit arithmetic on 64-bit words: one bit a unit."""

import numpy as np
from jaxtyping import Bool, UInt64
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


def pack(active: Bool[np.ndarray, "n units"]) -> UInt64[np.ndarray, "n words"]:
    """Bits as words, the first unit in the lowest bit."""
    packed = np.packbits(active, axis=1, bitorder="little")
    words = np.zeros((len(active), 8 * n_words(active.shape[1])), dtype=np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view(np.uint64)


def unpack(words: UInt64[np.ndarray, "n words"], n_bits: int) -> Bool[np.ndarray, "n units"]:
    """Words as bits."""
    as_bytes = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1)
    return np.unpackbits(as_bytes, axis=1, count=n_bits, bitorder="little").view(bool)
