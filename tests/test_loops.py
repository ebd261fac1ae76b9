"""Room for the parts of a face: more with every attempt, for however few units."""

from itertools import pairwise

import numpy as np
import pytest

from splinegeo._crossings import Crossings
from splinegeo._edges import Cuts
from splinegeo._faces import Room
from splinegeo._loops import count_room


@pytest.mark.parametrize("n_units", [1, 2, 5])
def test_room_grows_with_generosity_for_faces_that_units_cross_again(n_units: int) -> None:
    """By rounding, even a single unit can cross a narrow face more than once: no fixed room is enough for certain."""
    none, zeros = np.empty(0), np.zeros(5, dtype=np.int64)
    start = np.array([0, n_units], dtype=np.int64)
    crossings = Crossings(start, np.arange(n_units, dtype=np.int32), 4 * start, np.empty(4 * n_units))
    cuts = Cuts(zeros, none.astype(np.int32), none, none.astype(np.int32), none, none, zeros)
    square, sides = np.array([0, 4]), 2 * np.arange(4, dtype=np.int32)
    rooms = [Room(*count_room(square, sides, crossings, cuts, generosity, 0, 1)[:5]) for generosity in (1, 2, 4, 8)]
    chords, meetings = n_units, n_units * (n_units - 1) // 2
    assert rooms[0][:3] == (meetings, chords + 2 * meetings, 1 + chords + meetings)  # Euler's formula
    for less, more in pairwise(rooms):
        assert more.vertex > less.vertex
        assert more.edge >= 2 * less.edge
        assert more.face - 1 >= 2 * (less.face - 1)
        assert more.corner - 4 >= 2 * (less.corner - 4)
