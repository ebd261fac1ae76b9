"""One frame of the explorer: a partition made ready to be drawn, with what is worked out of it piece by piece."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Real

from splinegeo import Partition, Slice, enumerate_regions
from viz.coloring import COLORINGS, Coloring, color_regions
from viz.errors import DrawingError
from viz.explorer_edges import EdgeLines
from viz.explorer_slices import SliceChoice
from viz.explorer_source import Moment, Source
from viz.explorer_surface import RegionSurface
from viz.explorer_window import Window

# A window with more regions than this is shown in part: a zoom has all of its own.
MOST_REGIONS = 3_000_000

BOUNDARY = "decision boundary"
"""The name under which a frame's decision boundary is asked for, beside the names of colourings."""

LONG = frozenset({"norm", "radius", "alignment", "class", BOUNDARY})
"""What takes a way through the network for every region; the other colourings are read off the partition."""


class FrameKey(NamedTuple):
    """Which frame: the moment of training, the slice and the window."""

    moment: Moment
    choice: SliceChoice
    window: Window


@dataclass(frozen=True, eq=False)
class Frame:
    """A partition and all that is drawn of it. World coordinates are those of the key's window."""

    key: FrameKey
    partition: Partition
    surface: RegionSurface
    edges: EdgeLines
    points: Float64[np.ndarray, "k 2"]
    """Slice coordinates of the marked samples (projections, if they lie off the slice)."""
    centroids: Float64[np.ndarray, "k 2"]
    """Slice coordinates of their centroids; NaN where unknown."""
    custom: Mapping[str, Real[np.ndarray, " R"]] = field(default_factory=dict)
    """The user's own numbers for the regions, by name."""
    colorings: dict[str, Coloring] = field(default_factory=dict)
    """Those worked out so far."""
    piece_surfaces: dict[str, RegionSurface] = field(default_factory=dict)
    """Triangles of the colourings that cut regions into pieces."""

    def has(self, name: str) -> bool:
        """Whether a colouring, or the decision boundary, is worked out already."""
        return name in self.colorings or (name == BOUNDARY and "boundary" in self.__dict__)

    def work_out(self, name: str) -> None:
        """Work out a colouring, or the decision boundary; raises `DrawingError` as `color_regions`."""
        if name == BOUNDARY:
            _ = self.boundary
        elif name not in self.colorings:
            if name not in COLORINGS and name not in self.custom:
                raise DrawingError(f"{name} is known for the regions of the file alone: go back to the whole slice")
            coloring = color_regions(self.partition, name, self.custom.get(name))
            if coloring.pieces is not None:
                self.piece_surfaces[name] = RegionSurface.of(coloring.pieces, self.key.window)
            self.colorings[name] = coloring

    @cached_property
    def boundary(self) -> Float64[np.ndarray, "S 2 2"]:
        """Segments of the decision boundary in the world."""
        return self.key.window.to_world(self.partition.decision_boundary().segments)

    def locate(self, world: Float64[np.ndarray, " 2"]) -> int:
        """The region at a place of the world; -1 outside the window."""
        return int(self.partition.locate(self.key.window.to_slice(np.asarray(world)[None]))[0])

    def outline(self, region: int) -> Float64[np.ndarray, "k 2 2"]:
        """The sides of a region in the world."""
        part = self.partition
        corners = self.key.window.to_world(part.vertices[part.corners[part.offsets[region] : part.offsets[region + 1]]])
        return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def make_frame(source: Source, key: FrameKey, custom: Mapping[str, Real[np.ndarray, " R"]] | None = None) -> Frame:
    """Enumerate and prepare a frame. Raises the errors of the source and of `splinegeo.enumerate_regions`."""
    moment, choice, window = key
    part = source.partition(moment, choice.plane, window)
    own = dict(custom or {}) if part is not None else {}
    if part is None:
        part = enumerate_regions(source.network(moment), choice.plane, window.box(), max_regions=MOST_REGIONS)
    if part.n_regions == 0:
        raise DrawingError("the window holds no regions: choose another part of the slice")
    points, centroids = _marks(source, key, part)
    frame = Frame(key, part, RegionSurface.of(part, window), EdgeLines(part, window), points, centroids, own)
    part.locate(part.interior_points[:1])  # builds the search grid here, in the worker, not at the first click
    return frame


def _marks(source: Source, key: FrameKey, part: Partition) -> tuple[Float64[np.ndarray, "k 2"], np.ndarray]:
    """Where the marked samples and their centroids are on the slice."""
    plane, samples = key.choice.plane, source.samples
    if samples is None or not len(key.choice.marked):
        return np.empty((0, 2)), np.empty((0, 2))
    x = samples.x[key.choice.marked].reshape(len(key.choice.marked), -1).astype(np.float64)
    points = plane.project(x)
    found = source.centroids(key.moment, x)
    if found is not None:
        return points, plane.project(found)
    return points, _centroids_of_regions(part, plane, points)


def _centroids_of_regions(
    part: Partition, plane: Slice, points: Float64[np.ndarray, "k 2"]
) -> Float64[np.ndarray, "k 2"]:
    regions: Int64[np.ndarray, " k"] = part.locate(points)
    centroids = np.full((len(points), 2), np.nan)
    inside = regions >= 0
    if inside.any():
        centroids[inside] = plane.project(part.centroids(regions[inside]))
    return centroids
