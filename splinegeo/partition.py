"""Partition: the linear regions of a network on a slice, and what can be asked of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt64

from splinegeo.mesh import Mesh
from splinegeo.network import Network
from splinegeo.slice import Slice


@dataclass(frozen=True, eq=False)
class Partition:
    network: Network
    plane: Slice
    mesh: Mesh
    parents: tuple[Int32[np.ndarray, " F"], ...]
    bits: tuple[UInt64[np.ndarray, "F words"], ...]

    @property
    def n_regions(self) -> int:
        """Number of regions R."""
        return self.mesh.n_faces

    @cached_property
    def areas(self):
        return self.mesh.areas()

    @cached_property
    def ancestors(self):
        chain = [np.arange(self.n_regions)]
        for parents in reversed(self.parents[1:]):
            chain.append(parents[chain[-1]])
        return tuple(reversed(chain))

    def pattern(self, r):
        out = []
        for stage, bits, anc in zip(self.network.stages, self.bits, self.ancestors):
            b = np.unpackbits(bits[anc[r]].view(np.uint8), bitorder="little")[: stage.n_units]
            out.append(b.astype(np.int8))
        return out

    @cached_property
    def pattern_keys(self):
        return np.concatenate([b[a] for b, a in zip(self.bits, self.ancestors)], axis=1)
