"""Values at the vertices of a part of the faces are what the network gives there, bit for bit those of the whole."""

import numpy as np
import pytest
from networks import IDENTITY_PLANE, mlp
from tqdm import tqdm

import splinegeo as sg
from splinegeo._chunks import Watch
from splinegeo._cutting import Limit
from splinegeo._gathering import values_of_faces
from splinegeo._refinement import Refinement
from splinegeo.refine import start_refinement


def refined(n_stages: int, threads: int = 1) -> Refinement:
    model = mlp((2, 40, 30, 30, 3), bias=True, seed=7)
    refinement, _ = start_refinement(model, IDENTITY_PLANE, sg.Box(1.0), threads)
    with tqdm(disable=True) as bar:
        for _ in range(n_stages):
            refinement = refinement.advance(Limit(None), Watch(bar))
    return refinement


def preactivations(refinement: Refinement, points: np.ndarray) -> np.ndarray:
    """Of the next stage's units, by a forward pass."""
    values = points
    for stage in refinement.network.stages[: refinement.index]:
        values = stage.activate(stage.affine(values))
    return refinement.network.stages[refinement.index].affine(values)


@pytest.mark.parametrize("n_stages", [1, 2])
@pytest.mark.parametrize("share", [(0.0, 1.0), (0.3, 0.31), (0.5, 0.75), (0.9, 1.0)])
def test_rows_are_those_of_the_part_s_vertices_in_their_order(n_stages: int, share: tuple[float, float]) -> None:
    refinement = refined(n_stages)
    mesh, values = refinement.mesh, refinement.values
    assert values.births is not None
    begin, end = (round(part * mesh.n_faces) for part in share)
    rows = values_of_faces(values, mesh, begin, end).older
    part = mesh.faces(begin, end).used_vertices()
    assert len(rows) == len(part.vertices) > 3
    np.testing.assert_allclose(rows, preactivations(refinement, part.vertices), atol=1e-13)
    everywhere = values.at_all_vertices(1)
    np.testing.assert_array_equal(rows, everywhere.older[mesh.faces(begin, end).is_used])
    np.testing.assert_array_equal(rows, values_of_faces(everywhere, mesh, begin, end).older)


def test_ends_outside_the_part_have_rows_but_do_not_stay() -> None:
    refinement = refined(2)
    mesh, values = refinement.mesh, refinement.values
    last_born = int(np.argmax(values.births.kink_count)) + len(values.older)
    face = int(mesh.face_of_corner[np.flatnonzero(mesh.corners == last_born)[0]])
    corners = mesh.corners[mesh.offsets[face] : mesh.offsets[face + 1]]
    ends = values.births.ends[last_born - len(values.older)]
    assert not np.isin(ends, corners).all()
    rows = values_of_faces(values, mesh, face, face + 1).older
    assert len(rows) == len(corners)
    np.testing.assert_allclose(rows, preactivations(refinement, mesh.vertices[np.sort(corners)]), atol=1e-13)
