"""What refinements of convolutional networks take in memory: columns of all units of a stage, one for each kink."""

from math import sqrt

import numpy as np

from splinegeo._refinement import Refinement
from splinegeo.affine import Affine, TorchAffine
from splinegeo.network import Network
from splinegeo.region_maps import affine_before
from splinegeo.restriction import Restriction, has_operators, varying_units

# Numbers of each unit that are held at the same time, beside columns: bounds, tolerances, sizes and noise.
_NUMBERS_OF_UNIT = 12
# Of a convolution's weights: without their signs, squared, and as torch multiplies with them.
_COPIES_OF_WEIGHTS = 3
# Of the memory: what work arrays are to take, and what columns may take that are held while parts of the faces are cut.
_ROOM, _MOST_OF_COLUMNS = 1 / 8, 1 / 8


def bytes_of_operators(network: Network) -> int:
    """What a network takes that is carried out by torch, beside its matrices: weights, copies of the largest, and
    numbers of each unit.
    """
    if not has_operators(network):
        return 0
    affines = [affine_before(network, index) for index in range(len(network.stages) + 1)]
    matrices = {affine.weight.ctypes.data for affine in affines if isinstance(affine, Affine)}
    held = () if network.module is None else (*network.module.parameters(), *network.module.buffers())
    weights = sum(tensor.nbytes for tensor in held if tensor.data_ptr() not in matrices)
    largest = max(affine.numbers_of_weights for affine in affines if isinstance(affine, TorchAffine))
    of_units = sum(s.slopes.nbytes + s.carried.nbytes + s.layer_unit.nbytes for s in network.stages)
    return weights + _COPIES_OF_WEIGHTS * 8 * largest + of_units + sum(affine.bias.nbytes for affine in affines)


def room_of(memory: float) -> int:
    """What work arrays are to take, of the memory."""
    return max(1, int(_ROOM * memory))


def bytes_of_restriction(refinement: Refinement) -> int:
    """What a restriction holds, with the sizes and the noise that tolerances follow from."""
    taken = refinement.sizes.nbytes + refinement.noise.nbytes
    if isinstance(refinement.values, Restriction):
        arrays = [refinement.values.columns, *refinement.values.active]
        arrays += [array for kinks in refinement.values.kinks for array in (kinks.rows, kinks.units, kinks.reach)]
        taken += sum(array.nbytes for array in arrays)
    return taken


def may_keep_columns(refinement: Refinement, memory: float) -> bool:
    """Whether the columns take so little that they may be held while parts of the faces are cut."""
    values = refinement.values
    return (
        isinstance(values, Restriction) and not values.is_behind and values.columns.nbytes <= _MOST_OF_COLUMNS * memory
    )


def bytes_of_columns(refinement: Refinement, n_parts: int = 1) -> float:
    """What it takes to compute the next stage's columns beside what is held; with more parts, for each of them.

    Of n compact parts, about one in √n of the lines that cross all of them crosses each.
    """
    network, index, values = refinement.network, refinement.index, refinement.values
    begin = 0
    if isinstance(values, Restriction):
        if not values.is_behind:
            return 0.0
        n_kinks = [len(kinks.units) for kinks in values.kinks]
        begin = index - 1 if n_parts == 1 else 0
    else:
        n_kinks = [
            len(varying_units(words, stage.n_units))
            for stage, words in zip(network.stages, refinement.bits, strict=False)
        ]
    n_rows = 3 + np.concatenate([[0], np.cumsum(n_kinks)]) / sqrt(n_parts)
    most = 0.0
    for stage in range(begin, index):
        n, following = network.stages[stage].n_units, affine_before(network, stage + 1)
        columns = 8 * (n_rows[stage] * n + n_rows[stage + 1] * following.n_outputs)
        if stage == begin and isinstance(values, Restriction) and n_parts == 1:
            columns -= 8 * n_rows[stage] * n  # these are held
        most = max(most, columns + _bytes_of_push(refinement, stage))
    return most + bytes_of_units(refinement)


def bytes_of_units(refinement: Refinement) -> float:
    """What the next stage's bounds and tolerances take."""
    return 8 * _NUMBERS_OF_UNIT * refinement.network.stages[refinement.index].n_units


def parts_for_columns(refinement: Refinement, memory: float) -> int:
    """How many parts the faces are to be divided into so that the columns of one take no more than the memory."""
    n_parts, n_faces = 2, refinement.mesh.n_faces
    while n_parts < n_faces and bytes_of_columns(refinement, n_parts) > memory:
        n_parts *= 2
    return min(n_parts, n_faces)


def _bytes_of_push(refinement: Refinement, stage: int) -> float:
    n, following = refinement.network.stages[stage].n_units, affine_before(refinement.network, stage + 1)
    one = following.bytes_of_rows(1) + 8 * (n + following.n_outputs)
    return max(one, refinement.room or 0)
