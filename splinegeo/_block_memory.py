"""What refinements take in memory: what they hold, and what the next stage will take, from counts alone.

Counts of faces, vertices and units are the same on all threads and at every repetition, so blocks that are cut by them
are found again when an interrupted enumeration goes on.
"""

from math import sqrt

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._chunks import Watch
from splinegeo._refinement import Refinement
from splinegeo._restricted_memory import bytes_of_operators, bytes_of_restriction, bytes_of_units
from splinegeo._values import Values
from splinegeo.affine import Affine
from splinegeo.network import Network

# Bytes of a face in a mesh: its vertex, its two edges with faces and labels, its place, its four corners and sides, and
# its parent. Inside a mesh there are as many vertices as faces, twice as many edges, and four corners to a face.
_FACE = 16 + 2 * 24 + 8 + 4 * 8 + 4
# Of what a vertex was born from, with its kinks: two to three of them were found, in layers of any width.
_BIRTH = 28 + 3 * 12
# Of a chord while faces are split: the unit's values at the face's four corners, and its cut of an edge with the point.
_CHORD = 36 + 56
# Vertices and places are held twice while a mesh is put together.
_TWICE = 16 + 8
# Of a vertex whose values are computed again for each face: its row in a buffer.
_IN_BUFFER = 8
USUAL_PARTS = 8.0
"""Parts that a stage makes of a face, at most on average in the networks that we have seen."""
# A compact block of n faces has about so many vertices on its border for each root of n; and half as many beyond it,
# between which some of its own were born.
_BORDER, _BEYOND = 4, 2
# Units that change sign in the stages at work, where only these are tracked: their number is not known before.
_KINKS_TO_COME = 64
# Faces that are looked at to see how many units cross a face: so many ranges of so many, and a small part of all.
_RANGES, _FACES_OF_RANGE, _SHARE_LOOKED_AT = 8, 64, 16


def bytes_of_network(network: Network) -> int:
    """What the weights take as they are held: each matrix, and its transpose where values are interpolated."""
    stages = network.stages
    dense = [
        affine.weight.nbytes for affine in (*(s.affine for s in stages), network.output) if isinstance(affine, Affine)
    ]
    transposes = [s.affine.weight.nbytes for s in stages[1:] if isinstance(s.affine, Affine)]
    return sum(dense) + sum(transposes) + bytes_of_operators(network)


def bytes_held(refinement: Refinement) -> int:
    """What a refinement's own arrays take: faces, patterns, and values at vertices."""
    bits = refinement.bits[refinement.n_shared :] if refinement.is_restricted else refinement.bits
    arrays: list[object] = [*vars(refinement.mesh).values(), *refinement.parents, *bits]
    taken = bytes_of_restriction(refinement) if refinement.is_restricted else 0
    if isinstance(refinement.values, Values):
        arrays.append(refinement.values.older)
        births = refinement.values.births
        if births is not None:
            arrays += [births.ends, births.parameter, births.kink_start, births.kink_count]
            taken += 12 * int(births.kink_count.sum())  # there is room for more, which is never written
    if refinement.begun is not None:
        arrays += [*refinement.begun]
    return taken + sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def bytes_of_parts(refinement: Refinement, n_crossing: Int64[np.ndarray, " F"]) -> Float64[np.ndarray, " F"]:
    """What each face and its parts take while so many units of the next stage cut it: at most, if all of them meet."""
    return _bytes_of_part(refinement) * _most_parts(n_crossing)


def bytes_of_result(refinement: Refinement, parts: float) -> float:
    """What a block of regions will take for each face now, if the last stage is the next one."""
    words = sum(bits.nbytes for bits in refinement.bits) / refinement.mesh.n_faces
    return parts * (_FACE + _units(refinement)[0] / 8) + words + _FACE


def bytes_of_whole(refinement: Refinement, parts: float) -> float:
    """What a refinement takes while the next stage makes so many parts of each of its faces, with what it holds."""
    n, following = _units(refinement)
    n_faces, n_vertices = refinement.mesh.n_faces, len(refinement.mesh.vertices)
    taken = bytes_held(refinement) + n_faces * _bytes_of_face(refinement, parts)
    values = refinement.values
    if not isinstance(values, Values):
        room = refinement.room or 0  # for units that may cross, and for z
        return taken + n_vertices * _bytes_of_coordinates(refinement) + 2 * room + bytes_of_units(refinement)
    if values.births is None:
        return taken + n_vertices * (8 * following + n / 4)
    if following:
        return taken + n_vertices * (8 * n + (8 * following if following != n else 0) + n / 4)
    largest_family = 1 if values.parents is None else int(np.bincount(values.parents).max())
    return taken + n_vertices * _IN_BUFFER + largest_family * 8 * n


def faces_of_block(refinement: Refinement, parts: float, memory: float) -> int:
    """How many faces a block may have, so that the block, what the next stage makes of it, and what is needed for both
    take no more than the memory; at least one.

    What follows needs as much room again as the stage's result takes.
    """
    n, following = _units(refinement)
    per_vertex: float
    if isinstance(refinement.values, Values):
        row = 8 * n + 8 * following + n / 4
        per_vertex = max(row, 2 * 8 * following)
    else:
        row = per_vertex = _bytes_of_coordinates(refinement)
    per_face = _FACE + _bytes_of_face(refinement, parts)
    if following:
        per_face = max(per_face, 2 * parts * (_FACE + _BIRTH + n / 8))
    a = per_face + per_vertex * len(refinement.mesh.vertices) / refinement.mesh.n_faces
    b = _BORDER * row + _BEYOND * 8 * n
    return max(1, int(((sqrt(b * b + 4 * a * memory) - b) / (2 * a)) ** 2))


def parts_of_face(refinement: Refinement, watch: Watch) -> float:
    """How many parts the next stage makes of a face at most on average, as far as some ranges of faces tell."""
    if refinement.is_restricted:
        return float(_most_parts(refinement.crossings_to_come(watch)).mean())
    n_faces = refinement.mesh.n_faces
    n_ranges = min(_RANGES, max(1, n_faces // (_SHARE_LOOKED_AT * _FACES_OF_RANGE)))
    length = min(_FACES_OF_RANGE, max(1, n_faces // n_ranges))
    most = 0.0
    for i in range(n_ranges):
        begin = (2 * i + 1) * (n_faces - length) // (2 * n_ranges)
        looked_at = refinement.part(begin, begin + length)
        most = max(most, float(_most_parts(looked_at.crossings_to_come(watch)).mean()))
    return most


def _most_parts(n_crossing: Int64[np.ndarray, " F"]) -> Float64[np.ndarray, " F"]:
    k = n_crossing.astype(np.float64)
    return 1 + k * (k + 1) / 2


def _units(refinement: Refinement) -> tuple[int, int]:
    """Units of the next stage, and of the one after it: 0 if there is none."""
    stages = [stage.n_units for stage in refinement.network.stages[refinement.index : refinement.index + 2]]
    return stages[0], stages[1] if len(stages) > 1 else 0


def _bytes_of_face(refinement: Refinement, parts: float) -> float:
    """What cutting a face takes at the same time, beside the values at its vertices: its pattern words, and parts."""
    return _units(refinement)[0] / 8 + parts * _bytes_of_part(refinement)


def _bytes_of_part(refinement: Refinement) -> float:
    n, following = _units(refinement)
    part = _FACE + _TWICE + _CHORD + n / 8
    if isinstance(refinement.values, Values):
        return part + (_BIRTH if following else 0)
    return part + _KINKS_TO_COME / 8  # pattern of the units that cross


def _bytes_of_coordinates(refinement: Refinement) -> float:
    """What a vertex takes where the units that change sign alone are tracked: their values and outputs."""
    return 0.0 if isinstance(refinement.values, Values) else 8 * 4 * _KINKS_TO_COME
