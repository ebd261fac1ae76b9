"""Partitions on disk: one .npz archive of plain arrays, written atomically, read without unpickling."""

import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splinegeo.errors import PartitionFileError, SplineGeoError
from splinegeo.mesh import Mesh
from splinegeo.network import Affine, Network, Stage
from splinegeo.slice import Slice

if TYPE_CHECKING:
    from splinegeo.partition import Partition

FORMAT = "splinegeo partition"
VERSION = 1
_MESH = ("vertices", "edges", "edge_faces", "edge_labels", "offsets", "corners", "sides")


def save_partition(partition: "Partition", path: str | os.PathLike) -> None:
    """Write a partition with its network and slice to an .npz file, atomically."""
    arrays: dict[str, np.ndarray] = {"format": np.array(FORMAT), "version": np.array(VERSION)}
    arrays |= {name: getattr(partition.mesh, name) for name in _MESH}
    arrays |= {
        "domain": partition.domain,
        "complete": np.array(partition.complete),
        "origin": partition.plane.origin,
        "basis": partition.plane.basis,
        "input_shape": np.array(partition.plane.input_shape, dtype=np.int64),
        "n_stages": np.array(len(partition.bits)),
        "output_weight": partition.network.output.weight,
        "output_bias": partition.network.output.bias,
    }
    if partition.plane.points is not None:
        arrays["points"] = partition.plane.points
    for i, stage in enumerate(partition.network.stages):
        arrays |= {
            f"parents_{i}": partition.parents[i],
            f"bits_{i}": partition.bits[i],
            f"weight_{i}": stage.affine.weight,
            f"bias_{i}": stage.affine.bias,
            f"slopes_{i}": stage.slopes,
        }
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_partition(path: str | os.PathLike) -> "Partition":
    """Read a partition that `Partition.save` wrote.

    Raises `PartitionFileError` if the file is damaged, foreign or of a newer version, `FileNotFoundError` if there is
    none.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError) as error:
        raise PartitionFileError(f"{path} is not a readable partition file: {error}") from error
    except Exception as error:  # zlib.error, struct.error, tokenize errors: whatever a damaged archive provokes
        raise PartitionFileError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if str(arrays.get("format", "")) != FORMAT:
        raise PartitionFileError(f"{path} is not a partition file of splinegeo")
    try:
        version = int(arrays["version"])
        if version > VERSION:
            raise PartitionFileError(
                f"{path} has format version {version}, newer than this splinegeo reads ({VERSION}): update splinegeo"
            )
        return _assemble(arrays)
    except PartitionFileError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, SplineGeoError) as error:
        raise PartitionFileError(f"{path} is damaged: {error}") from error


def _assemble(arrays: dict[str, np.ndarray]) -> "Partition":
    from splinegeo.partition import Partition

    n_stages = int(arrays["n_stages"])
    network = Network(
        tuple(
            Stage(
                Affine(_real(arrays[f"weight_{i}"], 2), _real(arrays[f"bias_{i}"], 1)), _real(arrays[f"slopes_{i}"], 1)
            )
            for i in range(n_stages)
        ),
        Affine(_real(arrays["output_weight"], 2), _real(arrays["output_bias"], 1)),
    )
    plane = Slice(arrays["origin"], arrays["basis"], arrays["input_shape"].tolist(), arrays.get("points"))
    mesh = Mesh(
        vertices=_real(arrays["vertices"], 2),
        edges=_whole(arrays["edges"], np.int32, 2),
        edge_faces=_whole(arrays["edge_faces"], np.int32, 2),
        edge_labels=_whole(arrays["edge_labels"], np.int32, 2),
        offsets=_whole(arrays["offsets"], np.int64, 1),
        corners=_whole(arrays["corners"], np.int32, 1),
        sides=_whole(arrays["sides"], np.int32, 1),
    )
    parents = tuple(_whole(arrays[f"parents_{i}"], np.int32, 1) for i in range(n_stages))
    bits = tuple(_whole(arrays[f"bits_{i}"], np.uint64, 2) for i in range(n_stages))
    _check_network(network, plane)
    _check_mesh(mesh)
    _check_patterns(mesh, network, parents, bits)
    return Partition(network, plane, _real(arrays["domain"], 2), mesh, parents, bits, bool(arrays["complete"]))


def _real(array: np.ndarray, ndim: int) -> np.ndarray:
    if array.dtype != np.float64 or array.ndim != ndim or not np.isfinite(array).all():
        raise PartitionFileError("an array of finite float64 numbers is missing or wrong")
    return array


def _whole(array: np.ndarray, dtype: type, ndim: int) -> np.ndarray:
    if array.dtype != dtype or array.ndim != ndim:
        raise PartitionFileError(f"an array of {np.dtype(dtype).name} numbers is missing or wrong")
    return array


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise PartitionFileError(what)


def _check_network(network: Network, plane: Slice) -> None:
    width = len(plane.origin)
    for affine in [*(stage.affine for stage in network.stages), network.output]:
        _require(affine.weight.shape == (len(affine.bias), width), "the network's layers do not fit each other")
        width = len(affine.bias)
    for stage in network.stages:
        _require(len(stage.slopes) == len(stage.affine.bias), "the network's slopes do not fit its layers")


def _check_mesh(mesh: Mesh) -> None:
    n_vertices, n_edges, n_faces = len(mesh.vertices), len(mesh.edges), mesh.n_faces
    _require(mesh.vertices.shape[1:] == (2,) and n_faces >= 1, "the mesh is empty")
    for name in ("edges", "edge_faces", "edge_labels"):
        _require(getattr(mesh, name).shape == (n_edges, 2), "the mesh's edges do not fit each other")
    _require(
        mesh.offsets[0] == 0 and mesh.offsets[-1] == len(mesh.corners), "the mesh's offsets do not fit its corners"
    )
    _require(bool((np.diff(mesh.offsets) >= 3).all()), "a region has fewer than three corners")
    _require(len(mesh.sides) == len(mesh.corners), "the mesh's sides do not fit its corners")
    _require(_within(mesh.corners, 0, n_vertices) and _within(mesh.edges, 0, n_vertices), "a vertex does not exist")
    _require(
        _within(mesh.edge_faces, -1, n_faces) and _within(mesh.sides, 0, 2 * n_edges),
        "a region or an edge does not exist",
    )
    edge, backward = mesh.sides >> 1, mesh.sides & 1
    _require(bool((mesh.edges[edge, backward] == mesh.corners).all()), "an edge does not start at its corner")
    _require(bool((mesh.edge_faces[edge, backward] == mesh.face_of_corner).all()), "an edge does not border its region")


def _check_patterns(
    mesh: Mesh, network: Network, parents: tuple[np.ndarray, ...], bits: tuple[np.ndarray, ...]
) -> None:
    n_parents = 1
    for stage, parent, words in zip(network.stages, parents, bits, strict=True):
        _require(len(parent) >= 1 and _within(parent, 0, n_parents), "a region's parent does not exist")
        _require(bool((np.diff(parent) >= 0).all()), "the regions' parents are out of order")
        _require(words.shape == (len(parent), max(1, -(-stage.n_units // 64))), "the patterns do not fit the network")
        n_parents = len(parent)
    _require(n_parents == mesh.n_faces, "the patterns do not fit the mesh")


def _within(array: np.ndarray, low: int, high: int) -> bool:
    return array.size == 0 or (int(array.min()) >= low and int(array.max()) < high)
