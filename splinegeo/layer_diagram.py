"""The power diagrams of one layer: by which its patterns divide each face that the layers before it left (DESIGN,
section 1: deep networks).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo._chunks import chunk_bounds, run_chunks, running_sum
from splinegeo._sibling_cells import greatest_siblings
from splinegeo.prefix_maps import StageBlock, face_count, walk_stages
from splinegeo.processors import n_processors
from splinegeo.restricted_prefixes import PrefixSum
from splinegeo.restriction import has_operators

if TYPE_CHECKING:
    from splinegeo.partition import Partition
    from splinegeo.slice import Slice


@dataclass(frozen=True, eq=False)
class LayerDiagram:
    """One power diagram on the slice for each face before a layer; its sites are the faces that the layer cut from it.

    The sum of the layer's outputs is an affine function on each of its faces. Where all its units are convex, the sum
    is on each face before the layer the greatest of these functions: that is the power diagram.
    """

    plane: "Slice"
    stages: range
    """Stages of the layer: one, or the rounds of a max pooling."""
    parents: Int64[np.ndarray, " F"]
    """The face before the layer that each of its faces lies in; not decreasing."""
    n_parents: int
    slice_maps: Float64[np.ndarray, "F 3"]
    """The sum of the layer's outputs on each face: slice_maps[:, :2] @ t + slice_maps[:, 2]."""
    concave_units: int
    """Number of units with a slope above 1: the diagram tells the faces apart only if there are none."""

    @property
    def applies(self) -> bool:
        """Whether all units are convex, so that each face is its site's power cell."""
        return self.concave_units == 0

    @property
    def n_faces(self) -> int:
        """Number of faces F after the layer."""
        return len(self.parents)

    @property
    def slice_centroids(self) -> Float64[np.ndarray, "F 2"]:
        """Centroids restricted to the slice, μˢ = U (μ − o), in slice coordinates; μ as of `prefix_centroids`."""
        return self.slice_maps[:, :2] - self.plane.basis @ self.plane.origin

    @property
    def slice_radii(self) -> Float64[np.ndarray, " F"]:
        """Radii restricted to the slice, τˢ = τ − ‖μ − o‖² + ‖μˢ‖², in squared input-space units."""
        centroids = self.slice_centroids
        squares = np.einsum("nd,nd->n", centroids, centroids)
        return 2 * self.slice_maps[:, 2] - float(self.plane.origin @ self.plane.origin) + squares

    @property
    def family_start(self) -> Int64[np.ndarray, "P+1"]:
        """The faces cut from face p before the layer are family_start[p] .. family_start[p + 1] - 1."""
        return running_sum(np.bincount(self.parents, minlength=self.n_parents))

    def nearest_sites(
        self, points: Float64[np.ndarray, "n 2"], parents: Int64[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """For points inside given faces before the layer: the face whose site has the smallest power distance, and the
        value of its function there, the greatest one.
        """
        start = self.family_start
        faces, values = np.empty(len(points), dtype=np.int64), np.empty(len(points))
        run_chunks(
            lambda a, b: greatest_siblings(points, parents, start, self.slice_maps, a, b, faces, values),
            chunk_bounds(running_sum(np.diff(start)[parents]), n_processors()),
            n_processors(),
        )
        return faces, values


def layer_diagrams(
    partition: "Partition", visit: Callable[[StageBlock], None] | None = None
) -> tuple[LayerDiagram, ...]:
    """The power diagrams of all layers, in the order of the layers, in bounded memory: from one walk over the stages,
    or from the restriction of a convolutional network.

    `visit` asks for the walk, and is called for each of its blocks: what else is wanted of them costs no second walk.
    """
    layers = layer_stages(partition)
    n_faces = {stages[-1]: face_count(partition, stages[-1] + 1) for stages in layers}
    if visit is None and has_operators(partition.network):
        sums = {
            stage: PrefixSum.after(partition.restriction, stage).slice_maps(partition, np.arange(n))
            for stage, n in n_faces.items()
        }
    else:
        sums = {stage: np.empty((n, 3)) for stage, n in n_faces.items()}
        for block in walk_stages(partition):
            if block.stage in sums:
                sums[block.stage][block.faces] = block.outputs.sum(axis=2)
            if visit is not None:
                visit(block)
    return tuple(
        LayerDiagram(
            plane=partition.plane,
            stages=stages,
            parents=_parents_before(partition, stages),
            n_parents=face_count(partition, stages[0]),
            slice_maps=sums[stages[-1]],
            concave_units=sum(int((partition.network.stages[i].slopes > 1).sum()) for i in stages),
        )
        for stages in layers
    )


def layer_stages(partition: "Partition") -> tuple[range, ...]:
    """The runs of stages that each make one layer: the rounds of a max pooling together, every other stage alone."""
    groups = {group[0]: group for group in partition.network.groups}
    layers = []
    stage = 0
    while stage < len(partition.network.stages):
        stages = groups.get(stage, range(stage, stage + 1))
        layers.append(stages)
        stage = stages[-1] + 1
    return tuple(layers)


def _parents_before(partition: "Partition", stages: range) -> Int64[np.ndarray, " F"]:
    parents = partition.parents[stages[-1]].astype(np.int64)
    for stage in reversed(stages[:-1]):
        parents = partition.parents[stage][parents].astype(np.int64)
    return parents
