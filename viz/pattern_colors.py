"""Colours of regions by their activation patterns: the same pattern has the same colour at every moment of training."""

import numpy as np
from jaxtyping import Float

from splinegeo import Partition
from viz.colormaps import oklab_to_srgb

# Turns of the hue for one unit that changes its piece, root mean square: neighbours differ little, far regions much.
_TURN = 0.035
# Light and clear: darker yellows would be brown and olive, and neighbours too small to tell apart mix to grey.
_CHROMA = 0.1
_BITS_PER_BLOCK = 1 << 24


def pattern_colors(part: Partition) -> Float[np.ndarray, "R 3"]:
    """A colour for each region that depends on its activation pattern alone, whatever the network and the slice.

    Each unit turns the hue by an angle of its own when it changes its piece: equal patterns have equal colours, and
    patterns that differ in few units have similar ones.
    """
    keys = part.pattern_keys
    n_bits = 64 * keys.shape[1]
    weights = np.random.default_rng(0).standard_normal((n_bits, 2)).astype(np.float32) * _TURN
    turns = np.empty((len(keys), 2))
    step = max(1, _BITS_PER_BLOCK // n_bits)
    for begin in range(0, len(keys), step):
        block = np.ascontiguousarray(keys[begin : begin + step].astype("<u8")).view(np.uint8)
        turns[begin : begin + step] = np.unpackbits(block, axis=1, bitorder="little").astype(np.float32) @ weights
    hue, shade = 2 * np.pi * turns.T
    lightness = 0.78 + 0.07 * np.sin(shade)
    return oklab_to_srgb(np.column_stack([lightness, _CHROMA * np.cos(hue), _CHROMA * np.sin(hue)]))
