"""The linear regions of a run's networks on slices through its training points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.errors import SettingsError

_ONE_BLOCK = 1 << 62


def check_points(indices: Sequence[int], data: LabelledImages) -> list[int]:
    """Three different indices into the training set. Raises SettingsError otherwise."""
    n = len(data.x_train)
    if len(indices) != 3 or len(set(indices)) != 3 or not all(0 <= index < n for index in indices):
        raise SettingsError(
            f"a slice needs three different training points with numbers from 0 to {n - 1}, "
            f"got {', '.join(map(str, indices))}"
        )
    return list(indices)


def random_points(data: LabelledImages, seed: int) -> list[int]:
    """Three training points of different classes, as far as there are three classes, drawn with a seed."""
    order = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(seed)).tolist()
    of_new_class = []
    seen: set[int] = set()
    for index in order:
        label = int(data.y_train[index])
        if label not in seen:
            seen.add(label)
            of_new_class.append(index)
    return check_points((of_new_class + [index for index in order if index not in of_new_class])[:3], data)


def slice_points(text: str, data: LabelledImages, seed: int) -> list[int]:
    """The training points that a slice goes through: "random" draws them, else three numbers with commas between.

    Raises SettingsError for other text, and for points that the training set does not have.
    """
    if text == "random":
        return random_points(data, seed)
    try:
        return check_points([int(number) for number in text.split(",")], data)
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"--points takes three numbers with commas between, or random; got {text!r}") from None


@dataclass(frozen=True)
class RegionOfPoint:
    """The region that holds a point of the slice."""

    region: int
    area: float
    norm: float
    """Frobenius norm of its linear operator."""
    centroid_alignment: float
    """Cosine of the point with the region's centroid."""
    centroid_distance: float
    """Of the centroid from the slice, in input-space units."""


def regions_on_slice(
    model: torch.nn.Module, x: Float[Tensor, "3 ..."], half_width: float | None = None, progress: bool = False
) -> sg.Partition:
    """Enumerate a network's regions on the slice through three inputs, on a square of half-width about their mean.

    Without a half-width: on a square that holds the points with a margin. Raises the errors of
    `splinegeo.enumerate_regions`, and DegenerateSliceError when the points lie on a line.
    """
    plane = sg.Slice.through_points(x)
    domain = None if half_width is None else sg.Box(half_width=half_width)
    return whole_partition(model, plane, domain, progress=progress)


def whole_partition(
    model: torch.nn.Module | sg.Network,
    plane: sg.Slice,
    domain: sg.Box | np.ndarray | None = None,
    *,
    threads: int | None = None,
    progress: bool = False,
) -> sg.Partition:
    """All regions, as one block: `splinegeo.enumerate_regions` but for Ctrl-C, which is raised here.

    There it gives a part of the regions, which must not be kept or measured as if it were the whole.
    """
    (block,) = sg.iterate_regions(model, plane, domain, memory=_ONE_BLOCK, threads=threads, progress=progress)
    return block


def regions_of_points(partition: sg.Partition, x: Float[Tensor, "n ..."]) -> list[RegionOfPoint | None]:
    """For each input on the slice the region that holds it; None for those outside the domain."""
    regions = partition.locate(partition.plane.project(x))
    norms = partition.operator_norms("frobenius")
    found: list[RegionOfPoint | None] = []
    for region, point in zip(regions.tolist(), x.detach().cpu().double().flatten(1).numpy(), strict=True):
        if region < 0:
            found.append(None)
            continue
        centroid = partition.centroids([region])[0]
        length = float(np.linalg.norm(centroid) * np.linalg.norm(point))
        found.append(
            RegionOfPoint(
                region=region,
                area=float(partition.areas[region]),
                norm=float(norms[region]),
                centroid_alignment=float(centroid @ point) / length if length > 0 else 0.0,
                centroid_distance=float(partition.plane.distance(centroid[None])[0]),
            )
        )
    return found
