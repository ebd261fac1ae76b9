"""The inputs that the explorer knows: slices go through them, regions are compared with them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from splinegeo.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs that the explorer puts slices through and compares regions with, with their classes if known."""

    x: Float[np.ndarray, "n *input_shape"]
    classes: Int64[np.ndarray, " n"] | None = None
    what: str = "training point"
    """What one of them is called, and several."""
    several: str = "training points"

    def __post_init__(self) -> None:
        if self.classes is not None and self.classes.shape != (len(self.x),):
            raise ShapeError(f"{len(self.x)} samples need as many classes, not {self.classes.shape}")

    def name(self, index: int) -> str:
        """How a sample is called in the window."""
        return f"{self.what} {index}" + ("" if self.classes is None else f" (class {self.classes[index]})")
