"""Figure 11 of arXiv 2506.12284: Figure 1's regions on more slices, each through three other training points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.run_folder import RunFolder
from experiments.runs import figure1

N_SLICES = 3


def slices(data: LabelledImages, n: int = N_SLICES) -> list[tuple[int, ...]]:
    """Triples of training points of three classes each, no point twice and none of Figure 1, in the set's order.

    Raises RunFolderError when the training set has too few points for them.
    """
    left = [index for index in range(len(data.x_train)) if index not in figure1.POINTS]
    found: list[tuple[int, ...]] = []
    while len(found) < n:
        triple: dict[int, int] = {}
        for index in left:
            if len(triple) < 3:
                triple.setdefault(int(data.y_train[index]), index)
        if len(triple) < 3:
            raise RunFolderError(
                f"{len(data.x_train)} training points do not give {n} slices through points of three classes: train "
                "on more"
            )
        found.append(tuple(triple.values()))
        left = [index for index in left if index not in found[-1]]
    return found


def draw(run: RunFolder, data: LabelledImages, folder: Path, progress: bool = True) -> Iterator[tuple[list[Path], str]]:
    """Draw each slice at memorisation and at the end of a finished run, as FOLDER/figure11_N.png and .pdf.

    Yields the paths and the table of figures for each slice. Raises as `figure1.moments` does.
    """
    for number, points in enumerate(slices(data), start=1):
        found = figure1.moments(run, data, None, progress, points)
        paths = figure1.draw(found, data, folder / f"figure11_{number}", points, figure1.prefix(run.settings))
        yield paths, figure1.moments_table(found)
