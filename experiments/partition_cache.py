"""Partitions with the norms of their regions, kept in a folder of bounded size between calls."""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from splinegeo.atomic import TEMPORARY_SUFFIX, replacing_file

if TYPE_CHECKING:
    from torch import nn

    import splinegeo as sg

DEFAULT_GIGABYTES = 4.0
# A file is hardly smaller than this share of its partition in memory: with less room it is not even written.
_LEAST_SHARE = 0.2
# The folder may hold what a user put there: only files of these names are ever removed.
_OWN_NAME = re.compile(r"\.?epoch_\d{6,}_[0-9a-f]{16}\..*")


@dataclass(frozen=True)
class PartitionCache:
    """A folder of partition files `epoch_EPOCH_HASH.npz`, each with its regions' norms in `….norms.npy` beside it.

    Processes may share it. What one call reads or writes it does not remove; where that alone fills the folder,
    further partitions are not kept.
    """

    folder: Path
    limit: int
    """Bytes at most; processes that write at the same moment may exceed it by a file each."""
    started: float
    """When the call began, as `time.time()`: files used since then stay."""

    @classmethod
    def of_run(cls, run: Path, folder: Path | None = None, gigabytes: float = DEFAULT_GIGABYTES) -> PartitionCache:
        """The cache of a run from now on; by default its folder is RUN/migration."""
        return cls(folder or run / "migration", round(gigabytes * 1e9), time.time())

    def path(self, epoch: int, key: str) -> Path:
        """Where the partition of an epoch is, or would be; the key is a hash of all that decides it."""
        return self.folder / f"epoch_{epoch:06d}_{key[:16]}.npz"

    def find(
        self, epoch: int, model: nn.Module, plane: sg.Slice, half_width: float | None, threads: int | None = None
    ) -> tuple[sg.Partition, Float[np.ndarray, " R"], bool]:
        """A network's regions, their norms, and whether they were here; enumerated and kept if not.

        Without a half-width on a square that holds the slice's points with a margin. Damaged files are made anew.
        Raises the errors of `splinegeo.enumerate_regions`.
        """
        import splinegeo as sg
        from experiments.run_regions import whole_partition

        if (kept := self.look_up(epoch, model, plane, half_width)) is not None:
            return *kept, True
        domain = None if half_width is None else sg.Box(half_width)
        partition = whole_partition(model, plane, domain, threads=threads)
        norms = partition.operator_norms()
        self.write(self.path(epoch, _key(model, plane, half_width)), partition, norms)
        return partition, norms, False

    def look_up(
        self, epoch: int, model: nn.Module, plane: sg.Slice, half_width: float | None
    ) -> tuple[sg.Partition, Float[np.ndarray, " R"]] | None:
        """What `find` finds, if it is here."""
        return self.read(self.path(epoch, _key(model, plane, half_width)), model)

    def count(self) -> int:
        """Number of partitions that are there."""
        return len(list(self.folder.glob("epoch_*.npz")))

    def read(self, path: Path, model: nn.Module) -> tuple[sg.Partition, Float[np.ndarray, " R"]] | None:
        """A partition of this network and its norms; None if it is not there, or damaged."""
        import splinegeo as sg

        try:
            partition = sg.load_partition(path, model)  # large convolutions are not in the file
            norms = np.load(_norms_path(path), allow_pickle=False)
        except (OSError, ValueError, EOFError):  # missing or damaged: a PartitionFileError is a ValueError
            return None
        if norms.shape != (partition.n_regions,) or not np.isfinite(norms).all():
            return None
        for used in (path, _norms_path(path)):
            with suppress(OSError):  # another process may have removed it, and a folder may be read-only
                used.touch()
        partition.recall_norms(norms)
        return partition, norms

    def write(self, path: Path, partition: sg.Partition, norms: Float[np.ndarray, " R"]) -> bool:
        """Keep a partition if there is room, or can be made; returns whether it was kept. Raises OSError."""
        files = self._own_files()
        kept_anyway = sum(size for used, size, _ in files if used >= self.started)
        if self.limit - kept_anyway < _LEAST_SHARE * _bytes_in_memory(partition):
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        partition.save(path)
        with replacing_file(_norms_path(path)) as file:
            np.save(file, norms, allow_pickle=False)
        if self._make_room():
            return True
        for own in (path, _norms_path(path)):
            own.unlink(missing_ok=True)
        return False

    def _make_room(self) -> bool:
        """Remove files that this call has not used, the oldest first, down to the limit; whether that is enough."""
        files = sorted(self._own_files(), key=lambda entry: entry[0])
        excess = sum(size for _, size, _ in files) - self.limit
        removable = [(size, path) for used, size, path in files if used < self.started]
        if excess > sum(size for size, _ in removable):
            return False
        for size, path in removable:
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size
        return True

    def _own_files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of every file of this cache, with what a kill left half-written."""
        found = []
        for path in self.folder.glob("*epoch_*"):
            half_written = path.suffix in (TEMPORARY_SUFFIX, ".partial")
            if _OWN_NAME.fullmatch(path.name) and (half_written or path.suffix in (".npz", ".npy")):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        return found


def _key(model: nn.Module, plane: sg.Slice, half_width: float | None) -> str:
    """A hash of all that decides the regions: weights, slice and domain."""
    key = hashlib.sha256()
    weights = [tensor.numpy() for _, tensor in sorted(model.state_dict().items())]
    for array in (*weights, plane.origin, plane.basis, np.array([half_width or 0.0])):
        key.update(np.ascontiguousarray(array).data)
    return key.hexdigest()


def _norms_path(path: Path) -> Path:
    return path.with_suffix(".norms.npy")


def _bytes_in_memory(partition: sg.Partition) -> int:
    mesh = partition.mesh
    arrays = [mesh.vertices, mesh.edges, mesh.edge_faces, mesh.edge_labels, mesh.offsets, mesh.corners, mesh.sides]
    return sum(array.nbytes for array in (*arrays, *partition.parents, *partition.bits))
