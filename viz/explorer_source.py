"""What the explorer looks at: moments of a training, each with a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float64

from splinegeo import Network, Partition, Slice, load_partition
from viz.explorer_samples import Samples
from viz.explorer_slices import SliceChoice
from viz.explorer_window import Window


@dataclass(frozen=True)
class Moment:
    """A network at one time of its training."""

    key: str
    """Different for different weights."""
    title: str
    measures: Mapping[str, float] = field(default_factory=dict, hash=False, compare=False)
    """What is known about it, by name; the explorer draws what all moments have as curves."""


class Growth(NamedTuple):
    """Whether new moments may appear, and what is said about that."""

    goes_on: bool
    text: str = ""
    failed: bool = False


class Source(Protocol):
    """Where networks come from. The explorer calls these methods from its worker thread."""

    @property
    def title(self) -> str:
        """What the window calls it."""

    @property
    def samples(self) -> Samples | None:
        """The samples that it knows."""

    @property
    def first(self) -> SliceChoice:
        """The slice to begin with, and its window."""

    @property
    def growth(self) -> Growth:
        """Whether new moments may appear, so that asking again is worth while."""

    def moments(self) -> Sequence[Moment]:
        """The moments that there are now, in order."""

    def network(self, moment: Moment) -> Network:
        """The network at a moment."""

    def partition(self, moment: Moment, plane: Slice, window: Window) -> Partition | None:
        """The partition at a moment where the source already has it; else None, and the explorer enumerates it."""

    def centroids(self, moment: Moment, x: Float64[np.ndarray, "k d"]) -> Float64[np.ndarray, "k d"] | None:
        """Centroids of the network at inputs, all flattened; None if they are known on the slice alone."""


class PartitionSource:
    """One partition, as read from a file."""

    growth = Growth(False)

    def __init__(self, part: Partition, title: str) -> None:
        self.title = title
        self.part = part
        points = part.plane.points
        self.samples = None
        if points is not None:
            self.samples = Samples(part.plane.lift(points), what="point of the slice", several="points of the slice")
        marked = np.arange(0 if points is None else len(points))
        self.first = SliceChoice(part.plane, Window.around(part.domain), "", marked, True)
        self._moment = Moment("partition", "")

    @classmethod
    def open(cls, path: Path) -> "PartitionSource":
        """Read a partition file. Raises `PartitionFileError`, or `FileNotFoundError` if there is none."""
        return cls(load_partition(path), path.name)

    def moments(self) -> Sequence[Moment]:
        """The only one."""
        return [self._moment]

    def network(self, moment: Moment) -> Network:
        """The partition's network."""
        return self.part.network

    def partition(self, moment: Moment, plane: Slice, window: Window) -> Partition | None:
        """The file's partition, for its own slice and window."""
        return self.part if plane is self.first.plane and window == self.first.window else None

    def centroids(self, moment: Moment, x: Float64[np.ndarray, "k d"]) -> Float64[np.ndarray, "k d"] | None:
        """Unknown away from the regions."""
        return None
