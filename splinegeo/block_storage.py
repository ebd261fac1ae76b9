"""Partitions too large for memory, on disk: a folder of partition files, one for each block of `iterate_regions`."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from splinegeo.array_archive import one_line
from splinegeo.atomic import TEMPORARY_SUFFIX, write_atomically
from splinegeo.errors import InvalidArgumentError, PartitionFileError
from splinegeo.network import Network
from splinegeo.region_blocks import Place, RegionBlocks
from splinegeo.storage import load_partition, save_partition

if TYPE_CHECKING:
    from splinegeo.partition import Partition

FORMAT = "splinegeo blocks"
VERSION = 1
_INDEX = "blocks.json"
_BLOCKS = "block-*.npz"
# Sums in another order, as on other threads, round to far less than that; another network differs by more.
_PROBE_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class PartitionBlocks:
    """The blocks of a partition in a folder; iterating, or `blocks[i]`, loads one at a time.

    Each block is a `Partition` of a part of the domain; no region is in two of them. Made by `save_blocks` and
    `load_blocks`.
    """

    path: Path
    regions_per_block: tuple[int, ...] = field(repr=False)
    complete: bool
    """False if the writing was stopped: then the blocks are a part of the partition."""
    model: nn.Module | Network | None = field(default=None, repr=False)
    """The network that was enumerated, where the first block does not hold it."""

    @property
    def n_regions(self) -> int:
        """Number of regions of all blocks."""
        return sum(self.regions_per_block)

    def __len__(self) -> int:
        return len(self.regions_per_block)

    def __getitem__(self, i: int) -> "Partition":
        if not 0 <= i < len(self):
            raise IndexError(f"block {i} does not exist: there are {len(self)}")
        first = load_partition(_block_path(self.path, 0), self.model)
        return self._load(i, first.network) if i else self._checked(0, first)

    def __iter__(self) -> "Iterator[Partition]":
        network = self.model
        for i in range(len(self)):
            block = self._load(i, network)
            network = block.network
            yield block

    def _load(self, i: int, network: nn.Module | Network | None) -> "Partition":
        return self._checked(i, load_partition(_block_path(self.path, i), network))

    def _checked(self, i: int, block: "Partition") -> "Partition":
        if block.n_regions != self.regions_per_block[i]:
            raise PartitionFileError(
                f"{_block_path(self.path, i)} has {block.n_regions} regions, not {self.regions_per_block[i]} as "
                f"{_INDEX} says: write the blocks again"
            )
        return block


def save_blocks(path: str | os.PathLike, blocks: "Iterable[Partition]") -> PartitionBlocks:
    """Write the blocks of `iterate_regions` to a folder, each as it comes, so that one is in memory at a time.

    Stopped at any moment, even by a kill, the folder holds the blocks finished so far, and `load_blocks` says that it
    is incomplete; the same call then goes on after them, if `iterate_regions` is given the same network, slice, domain
    and memory, and begins again in their place for other sources of blocks. Raises `InvalidArgumentError` if there are
    no blocks, if they are of several networks, or if the folder holds blocks of another enumeration, a complete
    partition or anything else; OSError (disk full, no permission).
    """
    folder = Path(path)
    enumeration = blocks if isinstance(blocks, RegionBlocks) and not blocks.begun else None
    index = _prepare(folder, None if enumeration is None else enumeration.source)
    network = None
    if enumeration is not None and index.regions:
        enumeration.begin_after(index.places[-1], len(index.regions))
        network = enumeration.network
    for block in blocks:
        if network not in (None, block.network):
            raise InvalidArgumentError("the blocks are of several networks: give those of one iterate_regions")
        network = block.network
        save_partition(block, _block_path(folder, len(index.regions)), network=not index.regions)
        index.regions.append(block.n_regions)
        index.places.append(() if enumeration is None else enumeration.place)
        index.write(folder)
        del block  # before the next one is made
    if network is None:
        raise InvalidArgumentError("there are no blocks to save: give those of iterate_regions, which can be read once")
    index.complete = True
    index.write(folder)
    return PartitionBlocks(folder, tuple(index.regions), True, network)


def load_blocks(path: str | os.PathLike, model: nn.Module | Network | None = None) -> PartitionBlocks:
    """The blocks that `save_blocks` wrote; none is read yet.

    `model` is the network that was enumerated; it is needed only where the files could not hold it. Raises
    `PartitionFileError` if the folder's index is damaged or foreign, `FileNotFoundError` if there is none; a damaged
    block is found when it is read.
    """
    index = _Index.read(Path(path))
    return PartitionBlocks(Path(path), tuple(index.regions), index.complete, model)


@dataclass
class _Index:
    """What a folder's index says."""

    regions: list[int] = field(default_factory=list)
    """Number of regions of each block."""
    complete: bool = False
    source: dict[str, object] | None = None
    """What decides the blocks, see `RegionBlocks`; None: nothing is known of it."""
    places: list[Place] = field(default_factory=list)
    """Of each block, see `RegionBlocks`."""

    @classmethod
    def read(cls, folder: Path) -> "_Index":
        path = folder / _INDEX
        try:
            index = json.loads(path.read_bytes())
            if not isinstance(index, dict) or index.get("format") != FORMAT:
                raise PartitionFileError(f"{path} is no index of splinegeo's blocks")
            if index["version"] != VERSION:
                raise PartitionFileError(
                    f"{path}: format version {index['version']!r} is not {VERSION}: update splinegeo, or write the "
                    "blocks again"
                )
            regions, complete, source = index["regions"], index["complete"], index.get("source")
            counts = isinstance(regions, list) and all(type(n) is int and n >= 1 for n in regions)
            if not counts or not isinstance(complete, bool) or not isinstance(source, dict | None):
                raise ValueError("its entries make no sense")
            places = [] if source is None else [_place(entry) for entry in index["places"]]
            if source is not None and len(places) != len(regions):
                raise ValueError("its entries make no sense")
        except (FileNotFoundError, PartitionFileError):
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise PartitionFileError(f"{path} is damaged: {one_line(error)}") from error
        return cls(regions, complete, source, places)

    def write(self, folder: Path) -> None:
        index: dict[str, object] = {"format": FORMAT, "version": VERSION, "complete": self.complete}
        index["regions"] = self.regions
        if self.source is not None:
            index |= {"source": self.source, "places": self.places}
        write_atomically(folder / _INDEX, json.dumps(index).encode())


def _place(entry: object) -> Place:
    pairs = tuple(tuple(pair) for pair in entry)  # type: ignore[attr-defined]
    if not all(len(pair) == 2 and all(type(n) is int and n >= 0 for n in pair) for pair in pairs):
        raise ValueError("a block's place makes no sense")
    return pairs


def _prepare(folder: Path, source: dict[str, object] | None) -> _Index:
    """The index of what the folder holds of a source; anew where it holds nothing, or what nothing is known of."""
    folder.mkdir(parents=True, exist_ok=True)
    started = (folder / _INDEX).exists()
    index = _Index.read(folder) if started else _Index()
    if index.complete:
        raise InvalidArgumentError(f"{folder} holds a complete partition: delete it, or choose another folder")
    written = {*folder.glob(_BLOCKS), *folder.glob("*" + TEMPORARY_SUFFIX)} if started else set()
    if others := {*folder.iterdir()} - written - {folder / _INDEX}:
        raise InvalidArgumentError(f"{folder} holds something else ({min(others).name}): choose an empty folder")
    if index.source is None:
        index = _Index(source=source)
    elif difference := _difference(index.source, source):
        raise InvalidArgumentError(
            f"{folder} holds a part of the blocks of another {difference}: delete it, or choose another folder"
        )
    missing = (i for i in range(len(index.regions)) if _block_path(folder, i) not in written)
    n_whole = next(missing, len(index.regions))
    del index.regions[n_whole:], index.places[n_whole:]
    index.write(folder)  # first, so that what follows is known to be ours
    for path in written - {_block_path(folder, i) for i in range(n_whole)}:
        path.unlink()
    return index


def _difference(source: dict[str, object], other: dict[str, object] | None) -> str:
    """What differs in two sources; "" for nothing."""
    if other is None or source.keys() != other.keys():
        return "enumeration"
    for name, value in other.items():
        if name == "operators":
            if not _are_close(source[name], value):
                return "network"
        elif source[name] != value:
            return name
    return ""


def _are_close(values: object, others: object) -> bool:
    """Equal but for the order in which a library adds numbers up."""
    try:
        return np.allclose(np.asarray(values, float), np.asarray(others, float), rtol=_PROBE_ROUNDING, atol=0)
    except (TypeError, ValueError):
        return False


def _block_path(folder: Path, i: int) -> Path:
    return folder / f"block-{i:06}.npz"
