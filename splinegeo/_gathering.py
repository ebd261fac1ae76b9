"""Values at the vertices of a part of a mesh's faces, from the births of those that have no row yet."""

import numpy as np

from splinegeo._crossings import BETWEEN, CORNER, fill_rows, mark_ends
from splinegeo._rows import empty_rows
from splinegeo._values import Values
from splinegeo.mesh import Mesh


def values_of_faces(values: Values, mesh: Mesh, begin: int, end: int) -> Values:
    """The same values with a row for every vertex of the faces begin..end, ascending, and for no other.

    Rows of other vertices are computed only where a row builds on them, and not kept.
    """
    use = np.zeros(len(mesh.vertices), dtype=np.uint8)
    use[mesh.corners[mesh.offsets[begin] : mesh.offsets[end]]] = CORNER
    if values.births is None:
        return Values(values.older[use == CORNER])
    mark_ends(values.births, len(values.older), use)
    n_units = values.older.shape[1]
    rows = empty_rows(int(np.count_nonzero(use == CORNER)), n_units)
    between = empty_rows(int(np.count_nonzero(use == BETWEEN)), n_units)
    row_of = np.empty(len(use), dtype=np.int32)
    fill_rows(values.older, values.births, values.columns, use, row_of, rows, between)
    return Values(rows)
