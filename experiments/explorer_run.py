"""A run folder as a source of the explorer: its checkpoints, its training points, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.errors import RunFolderError
from experiments.partition_cache import PartitionCache
from experiments.run_folder import LATEST, RunFolder
from experiments.run_model import load_model
from viz.explorer_samples import Samples
from viz.explorer_slices import through_samples
from viz.explorer_source import Growth, Moment
from viz.explorer_window import Window
from viz.text import grouped

_MEASURES = {"train_accuracy": "train", "test_accuracy": "test", "centroid_alignment_mean": "alignment"}
_MODELS_KEPT = 4


class RunSource:
    """The checkpoints of a run, also of one that is still in training."""

    def __init__(
        self,
        folder: RunFolder,
        data: LabelledImages,
        points: Sequence[int],
        half_width: float | None = None,
        growth: Callable[[], Growth] = lambda: Growth(False),
        cache: Path | None = None,
    ) -> None:
        self.folder = folder
        self.data = data.to(torch.device("cpu"), torch.float64)
        self.title = folder.path.name or str(folder.path)
        self.samples = Samples(self.data.x_train.numpy(), self.data.y_train.numpy())
        self.first = through_samples(self.samples, points)
        if half_width is not None:
            sg.Box(half_width)  # raises InvalidDomainError
            self.first = replace(self.first, window=Window((0.0, 0.0), half_width))
        self._half_width = half_width
        self._cache = PartitionCache.of_run(folder.path, cache)
        self.input_shape = self.samples.x.shape[1:]
        self._growth = growth
        self._seen: tuple[object, list[Moment]] | None = None
        self._models: dict[str, torch.nn.Module] = {}

    @property
    def growth(self) -> Growth:
        """Whether the run is still in training."""
        return self._growth()

    def moments(self) -> Sequence[Moment]:
        """The checkpoints, and the newest weights where they are newer. Raises RunFolderError, CheckpointError."""
        state = self._files()
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, self._read_moments())
        return self._seen[1]

    def network(self, moment: Moment) -> sg.Network:
        """The network of a checkpoint."""
        return sg.read_network(self._model(moment), self.input_shape)

    def partition(self, moment: Moment, plane: sg.Slice, window: Window) -> sg.Partition | None:
        """What is kept on disk of a checkpoint, for the slice and window to begin with; else None."""
        if plane is not self.first.plane or window != self.first.window:
            return None
        found = self._cache.look_up(_epoch_of(moment), self._model(moment), plane, self._half_width)
        return None if found is None else found[0]

    def centroids(self, moment: Moment, x: Float64[np.ndarray, "k d"]) -> Float64[np.ndarray, "k d"] | None:
        """Centroids of a checkpoint's network at inputs, by vector-Jacobian products."""
        inputs = torch.from_numpy(x).reshape(len(x), *self.input_shape)
        return sg.centroids(self._model(moment), inputs).reshape(len(x), -1).numpy()

    def index_of(self, checkpoint: str) -> int:
        """The place of a checkpoint given by epoch, event or "latest". Raises RunFolderError if there is none."""
        moments = self.moments()
        if checkpoint == LATEST:
            return len(moments) - 1
        path = self.folder.locate_checkpoint(checkpoint)
        return [moment.key for moment in moments].index(path.name)

    def _files(self) -> object:
        paths = sorted(self.folder.checkpoint_folder.glob("*.safetensors"))
        found = []
        for path in paths:
            try:
                found.append((path.name, path.stat().st_mtime_ns))
            except FileNotFoundError:  # replaced at this moment: the next look will see it
                continue
        return found

    def _read_moments(self) -> list[Moment]:
        from experiments.checkpoint import read_description

        measures = {entry["epoch"]: entry for entry in self.folder.metrics()}
        moments = []
        epoch = -1
        for epoch, events in self.folder.checkpoints().items():
            entry = measures.get(epoch, {})
            known = {short: float(entry[name]) for name, short in _MEASURES.items() if entry.get(name) is not None}
            title = " · ".join([f"epoch {grouped(epoch)}", *events])
            moments.append(Moment(self.folder.checkpoint_path(epoch).name, title, known))
        if self.folder.latest_path.is_file():
            newest = int(read_description(self.folder.latest_path)["epoch"])
            if newest > epoch:
                moments.append(Moment(f"{LATEST} {newest}", f"epoch {grouped(newest)} · {LATEST}"))
        return moments

    def _model(self, moment: Moment) -> torch.nn.Module:
        if moment.key not in self._models:
            which = LATEST if moment.key.startswith(LATEST) else _epoch_of(moment)
            self._models[moment.key] = load_model(self.folder, which, self.data)
            for key in list(self._models)[:-_MODELS_KEPT]:
                del self._models[key]
        return self._models[moment.key]


def _epoch_of(moment: Moment) -> int:
    if moment.key.startswith(LATEST):
        return int(moment.key.removeprefix(LATEST))
    return int(moment.key.split("_")[1].split(".")[0])


def open_run(
    path: Path,
    data: LabelledImages | None = None,
    points: Sequence[int] = (0, 1, 2),
    half_width: float | None = None,
    data_dir: Path = Path("data"),
    download: bool = False,
    cache: Path | None = None,
) -> RunSource:
    """Open a run folder for the explorer; it is watched for new checkpoints while it is not finished.

    `cache` is the folder of partitions on disk, by default RUN/migration. Raises RunFolderError if it is no run folder
    or has no checkpoint, InvalidDomainError for a half-width that is not positive, and the errors of `load_data`.
    """
    from experiments.data import load_data
    from experiments.train_run import is_finished

    folder = RunFolder.open(path)
    if not folder.checkpoints():
        raise RunFolderError(
            f"{path} has no checkpoint yet: train it, or watch it with splinegeo train {path} --explore"
        )
    images = load_data(folder.settings.data, data_dir, download) if data is None else data
    if is_finished(folder):
        return RunSource(folder, images, points, half_width, cache=cache)

    def growth() -> Growth:
        finished = is_finished(folder)
        return Growth(not finished, "training has reached its end" if finished else "waiting for new checkpoints")

    return RunSource(folder, images, points, half_width, growth, cache)
