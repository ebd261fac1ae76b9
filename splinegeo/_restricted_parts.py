"""The restriction of a network to a part of a mesh's faces, from their patterns: its kinks are the units that are
active on some of these faces and not on others, fewer than on all.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int32, UInt64

from splinegeo._bits import unpack
from splinegeo._chunks import Watch
from splinegeo.mesh import Mesh
from splinegeo.restriction import Restriction, varying_units
from splinegeo.slice import Slice
from splinegeo.stages import Network


def restricted_to_part(
    network: Network,
    plane: Slice,
    mesh: Mesh,
    parents: tuple[Int32[np.ndarray, " F"], ...],
    bits: tuple[UInt64[np.ndarray, "F words"], ...],
    room: int | None,
    watch: Watch,
) -> Restriction:
    """The restriction to the faces of a mesh after some stages: all of these stages noted, the last not pushed.

    `room`: bytes that work arrays are to take; None: as many as are fast.
    """
    base = [mesh.n_faces // 2]
    for of_stage in parents[:0:-1]:
        base.insert(0, int(of_stage[base[0]]))
    restriction = Restriction.start(network, plane, room)
    for stage, words, face in zip(network.stages, bits, base, strict=False):
        if restriction.is_behind:
            restriction = restriction.pushed(watch)
        units, active = varying_units(words, stage.n_units), unpack(words[face][None], stage.n_units)[0]
        restriction = restriction.noted(units, active, np.full(len(units), np.inf))
    return _with_reach(restriction, mesh.vertices[mesh.is_used])


def _with_reach(restriction: Restriction, points: Float64[np.ndarray, "V 2"]) -> Restriction:
    """The same with the kinks' reach on a convex domain, from its corners and points between them."""
    reach = np.zeros(restriction.n_kinks)
    step = restriction.points_at_once
    for begin in range(0, len(points), step):
        np.maximum(reach, restriction.coordinates(points[begin : begin + step])[:, 3:].max(axis=0), out=reach)
    ends = np.cumsum([len(kinks.units) for kinks in restriction.kinks])
    of_stages = np.split(reach, ends[:-1])
    kinks = tuple(replace(part, reach=largest) for part, largest in zip(restriction.kinks, of_stages, strict=True))
    return replace(restriction, kinks=kinks)
