"""Partitions on disk: one .npz archive of plain arrays, written atomically, read without unpickling."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from splinegeo.errors import PartitionFileError, SplineGeoError
from splinegeo.mesh import Mesh
from splinegeo.network import Network, read_network
from splinegeo.network_storage import network_arrays, network_of_arrays, real_array, require, whole_array
from splinegeo.slice import Slice, domain_polygon

if TYPE_CHECKING:
    from splinegeo.partition import Partition

FORMAT = "splinegeo partition"
VERSION = 1
_ROUNDING = 1e-9
_MESH = ("vertices", "edges", "edge_faces", "edge_labels", "offsets", "corners", "sides")


def save_partition(partition: "Partition", path: str | os.PathLike) -> None:
    """Write a partition with its slice and network to an .npz file, atomically.

    A network with a map too large for a matrix (convolutions of images) is left out: `load_partition` then asks for
    it.
    """
    arrays: dict[str, np.ndarray] = {"format": np.array(FORMAT), "version": np.array(VERSION)}
    arrays |= {name: getattr(partition.mesh, name) for name in _MESH}
    arrays |= {
        "domain": partition.domain,
        "complete": np.array(partition.complete),
        "origin": partition.plane.origin,
        "basis": partition.plane.basis,
        "input_shape": np.array(partition.plane.input_shape, dtype=np.int64),
        "n_stages": np.array(len(partition.bits)),
    }
    arrays |= network_arrays(partition.network)
    if partition.plane.points is not None:
        arrays["points"] = partition.plane.points
    for i, (parents, bits) in enumerate(zip(partition.parents, partition.bits, strict=True)):
        arrays |= {f"parents_{i}": parents, f"bits_{i}": bits}
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_partition(path: str | os.PathLike, model: nn.Module | Network | None = None) -> "Partition":
    """Read a partition that `Partition.save` wrote.

    `model` is the network that was enumerated; it is needed only where the file could not hold it. Raises
    `PartitionFileError` if the file is damaged, foreign, of a newer version or of another network, `FileNotFoundError`
    if there is none.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # OSError, BadZipFile, zlib and struct errors: whatever a damaged archive provokes
        raise PartitionFileError(f"{path} is not a readable partition file: {one_line(error)}") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise PartitionFileError(f"{path} is damaged: it holds more than arrays")
    if str(arrays.get("format", "")) != FORMAT:
        raise PartitionFileError(f"{path} is not a partition file of splinegeo")
    try:
        version = arrays["version"]
        require(
            version.shape == () and version.dtype.kind in "iu" and version >= 1, "the format's version makes no sense"
        )
        if version > VERSION:
            raise PartitionFileError(
                f"format version {version} is newer than this splinegeo reads ({VERSION}): update splinegeo"
            )
        return _assemble(arrays, model)
    except PartitionFileError as error:
        raise PartitionFileError(f"{path}: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, SplineGeoError) as error:
        raise PartitionFileError(f"{path} is damaged: {one_line(error)}") from error


def _assemble(arrays: dict[str, np.ndarray], model: nn.Module | Network | None) -> "Partition":
    from splinegeo.partition import Partition

    n_stages = int(arrays["n_stages"])
    input_shape = tuple(whole_array(arrays["input_shape"], np.int64, 1).tolist())
    require(all(n > 0 for n in input_shape), "the input's shape is not positive")
    points = real_array(arrays["points"], 2) if "points" in arrays else None
    require(points is None or points.shape[1:] == (2,), "the slice's points are no points of a plane")
    plane = Slice(real_array(arrays["origin"], 1), real_array(arrays["basis"], 2), input_shape, points)
    domain = real_array(arrays["domain"], 2)
    require(np.array_equal(domain_polygon(domain, plane), domain), "the domain is no convex polygon")
    complete = whole_array(arrays["complete"], np.bool_, 0)
    if model is not None:
        network = read_network(model, plane.input_shape)
    elif "layers" in arrays:
        network = network_of_arrays(arrays, n_stages, plane.input_shape)
    else:
        raise PartitionFileError(
            "the file does not hold its network, which is too large: give load_partition the model"
        )
    require(
        network.n_inputs == len(plane.origin) and len(network.stages) == n_stages, "the partition is of another network"
    )
    mesh = Mesh(
        vertices=real_array(arrays["vertices"], 2),
        edges=whole_array(arrays["edges"], np.int32, 2),
        edge_faces=whole_array(arrays["edge_faces"], np.int32, 2),
        edge_labels=whole_array(arrays["edge_labels"], np.int32, 2),
        offsets=whole_array(arrays["offsets"], np.int64, 1),
        corners=whole_array(arrays["corners"], np.int32, 1),
        sides=whole_array(arrays["sides"], np.int32, 1),
    )
    parents = tuple(whole_array(arrays[f"parents_{i}"], np.int32, 1) for i in range(n_stages))
    bits = tuple(whole_array(arrays[f"bits_{i}"], np.uint64, 2) for i in range(n_stages))
    _check_mesh(mesh)
    _check_areas(mesh, domain, bool(complete))
    _check_labels(mesh, network)
    _check_patterns(mesh, network, parents, bits)
    return Partition(network, plane, domain, mesh, parents, bits, bool(complete))


def _check_mesh(mesh: Mesh) -> None:
    n_vertices, n_edges, n_faces = len(mesh.vertices), len(mesh.edges), mesh.n_faces
    require(mesh.vertices.shape[1:] == (2,) and n_faces >= 1, "the mesh is empty")
    for name in ("edges", "edge_faces", "edge_labels"):
        require(getattr(mesh, name).shape == (n_edges, 2), "the mesh's edges do not fit each other")
    require(mesh.offsets[0] == 0 and mesh.offsets[-1] == len(mesh.corners), "the mesh's offsets do not fit its corners")
    require(bool((np.diff(mesh.offsets) >= 3).all()), "a region has fewer than three corners")
    require(len(mesh.sides) == len(mesh.corners), "the mesh's sides do not fit its corners")
    require(_within(mesh.corners, 0, n_vertices) and _within(mesh.edges, 0, n_vertices), "a vertex does not exist")
    require(
        _within(mesh.edge_faces, -1, n_faces) and _within(mesh.sides, 0, 2 * n_edges),
        "a region or an edge does not exist",
    )
    edge, backward = mesh.sides >> 1, mesh.sides & 1
    require(bool((mesh.edges[edge, backward] == mesh.corners).all()), "an edge does not start at its corner")
    require(bool((mesh.edge_faces[edge, backward] == mesh.face_of_corner).all()), "an edge does not border its region")
    require(int((mesh.edge_faces >= 0).sum()) == len(mesh.sides), "an edge borders a region that does not have it")


def _check_areas(mesh: Mesh, domain: np.ndarray, complete: bool) -> None:
    """Faces that run counter-clockwise within the domain, and cover it if the partition is complete."""
    low, high = domain.min(axis=0), domain.max(axis=0)
    slack = _ROUNDING * float(np.abs(domain).max())
    inside = bool(((mesh.vertices >= low - slack) & (mesh.vertices <= high + slack)).all())
    require(inside, "a vertex lies outside the domain")
    areas, (area,) = mesh.areas(), Mesh.from_polygon(domain).areas()
    require(bool((areas >= -_ROUNDING * area).all()), "a region runs clockwise")
    total = float(areas.sum())
    require(
        abs(total - area) <= _ROUNDING * area if complete else total <= (1 + _ROUNDING) * area,
        "the areas do not add up",
    )


def _check_labels(mesh: Mesh, network: Network) -> None:
    inner = (mesh.edge_faces >= 0).all(axis=1)
    layer, unit = mesh.edge_labels.T
    n_units = np.array([layer.n_units for layer in network.layers] + [0])
    border = (layer == -1) & (unit == -1) & ~inner
    known = (layer >= 0) & (layer < len(network.layers)) & (unit >= 0)
    known &= unit < n_units[np.where(known, layer, -1)]
    require(bool((border | known).all()), "an edge belongs to no unit")


def _check_patterns(
    mesh: Mesh, network: Network, parents: tuple[np.ndarray, ...], bits: tuple[np.ndarray, ...]
) -> None:
    n_parents = 1
    for stage, parent, words in zip(network.stages, parents, bits, strict=True):
        require(len(parent) >= 1 and _within(parent, 0, n_parents), "a region's parent does not exist")
        require(bool((np.diff(parent) >= 0).all()), "the regions' parents are out of order")
        require(words.shape == (len(parent), max(1, -(-stage.n_units // 64))), "the patterns do not fit the network")
        n_parents = len(parent)
    require(n_parents == mesh.n_faces, "the patterns do not fit the mesh")


def one_line(error: Exception) -> str:
    """The error's message on one line."""
    return " ".join(str(error).split())


def _within(array: np.ndarray, low: int, high: int) -> bool:
    return array.size == 0 or (int(array.min()) >= low and int(array.max()) < high)
