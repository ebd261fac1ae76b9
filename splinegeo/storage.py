"""Partitions on disk: one .npz archive of plain arrays, written atomically, read without unpickling.

Everything comes back bit for bit, but what follows from the rest is left out, and whole numbers take the smallest type
that holds them. Coordinates are float64 always.
"""

import os
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from splinegeo._bits import n_words
from splinegeo._chunks import running_sum
from splinegeo._pattern_checks import Rounding, compare_with_forward
from splinegeo.array_archive import (
    check_digest,
    narrow,
    one_line,
    read_arrays,
    real_array,
    require,
    whole_array,
    widened,
    write_arrays,
)
from splinegeo.errors import PartitionFileError, SplineGeoError
from splinegeo.mesh import Mesh, following_corners, polygon_area
from splinegeo.network import Network, read_network
from splinegeo.network_storage import network_arrays, network_of_arrays
from splinegeo.selection import corner_places
from splinegeo.slice import Slice, domain_polygon

if TYPE_CHECKING:
    from splinegeo.partition import Partition

FORMAT = "splinegeo partition"
VERSION = 2
# Rounding makes vertices and areas miss the domain by far less than this share of it, a damaged mesh by more.
_ROUNDING = 1e-9
_DTYPES = ("float32", "float64")
# Where weights differ by a hundredth, nearly every region would have another pattern; by a thousandth, every third.
_REGIONS_TO_COMPARE = 8


def save_partition(partition: "Partition", path: str | os.PathLike, network: bool = True) -> None:
    """Write a partition with its slice and network to an .npz file, atomically.

    The network is left out on request (`network=False`), and if it has a map too large for a matrix (convolutions of
    images): `load_partition` then asks for it.
    """
    plane = partition.plane
    arrays: dict[str, np.ndarray] = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "dtype": np.array(partition.dtype.name),
        "domain": partition.domain,
        "complete": np.array(partition.complete),
        "origin": plane.origin,
        "basis": plane.basis,
        "input_shape": np.array(plane.input_shape, dtype=np.int64),
        "n_stages": np.array(len(partition.bits)),
    }
    if plane.points is not None:
        arrays["points"] = plane.points
    arrays |= _mesh_arrays(partition.mesh)
    n_faces = 1
    for i, (stage, parents, bits) in enumerate(
        zip(partition.network.stages, partition.parents, partition.bits, strict=True)
    ):
        arrays[f"children_{i}"] = narrow(np.bincount(parents, minlength=n_faces))
        arrays[f"bits_{i}"] = np.ascontiguousarray(bits).view(np.uint8)[:, : _n_bytes(stage.n_units)]
        n_faces = len(parents)
    if network:
        arrays |= network_arrays(partition.network)
    write_arrays(path, arrays)


def load_partition(path: str | os.PathLike, model: nn.Module | Network | None = None) -> "Partition":
    """Read a partition that `Partition.save` wrote.

    `model` is the network that was enumerated; it is needed only where the file does not hold it. Its patterns are
    compared with those of some regions, which tells it from others but for a checkpoint a few steps away.

    Raises `PartitionFileError` if the file is damaged, foreign, of another version or of another network,
    `FileNotFoundError` if there is none.
    """
    arrays = read_arrays(path)
    if not _is(arrays.get("format"), FORMAT):
        raise PartitionFileError(f"{path} is not a partition file of splinegeo")
    try:
        version = arrays["version"]
        require(version.shape == () and version.dtype.kind in "iu", "the format's version makes no sense")
        require(int(version) <= VERSION, f"format version {version} is newer than {VERSION}: update splinegeo")
        require(int(version) == VERSION, f"format version {version} is no longer read: enumerate the regions again")
        check_digest(arrays)
        with np.errstate(all="ignore"):  # the numbers may be anything: they are checked
            return _assemble(arrays, model)
    except PartitionFileError as error:
        raise PartitionFileError(f"{path}: {error}") from error
    except (SplineGeoError, LookupError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise PartitionFileError(f"{path} is damaged: {one_line(error)}") from error


def _assemble(arrays: dict[str, np.ndarray], model: nn.Module | Network | None) -> "Partition":
    from splinegeo.partition import Partition

    n_stages = int(whole_array(arrays["n_stages"], np.int64, 0))
    input_shape = tuple(whole_array(arrays["input_shape"], np.int64, 1).tolist())
    require(all(n > 0 for n in input_shape), "the input's shape is not positive")
    points = real_array(arrays["points"], 2) if "points" in arrays else None
    require(points is None or points.shape[1:] == (2,), "the slice's points are no points of a plane")
    plane = Slice(real_array(arrays["origin"], 1), real_array(arrays["basis"], 2), input_shape, points)
    domain = real_array(arrays["domain"], 2)
    require(np.array_equal(domain_polygon(domain, plane), domain), "the domain is no convex polygon")
    complete = bool(whole_array(arrays["complete"], np.bool_, 0))
    dtypes = [name for name in _DTYPES if _is(arrays["dtype"], name)]
    require(len(dtypes) == 1, "the type of derived quantities makes no sense")
    if model is not None:
        network = read_network(model, plane.input_shape)
    elif "layers" in arrays:
        network = network_of_arrays(arrays, n_stages, plane.input_shape)
    else:
        raise PartitionFileError("the file does not hold its network: give load_partition the model")
    require(
        network.n_inputs == len(plane.origin) and len(network.stages) == n_stages, "the partition is of another network"
    )
    mesh = _mesh_of_arrays(arrays)
    _check_areas(mesh, domain, complete)
    _check_labels(mesh, network)
    parents, bits = _patterns_of_arrays(arrays, network, mesh.n_faces)
    partition = Partition(network, plane, domain, mesh, parents, bits, complete, np.dtype(dtypes[0]))
    if model is not None:
        require(_is_networks(partition), "the partition is of another network than the one given")
    return partition


def _is_networks(partition: "Partition") -> bool:
    """Whether the network's forward pass has the patterns of some regions at their mean corners, but for rounding."""
    regions = np.unique(np.linspace(0, partition.n_regions - 1, _REGIONS_TO_COMPARE).astype(np.int64))
    corners = partition.vertices[partition.corners[corner_places(partition.offsets, regions)]]
    counts = np.diff(partition.offsets)[regions]
    points = np.add.reduceat(corners, running_sum(counts)[:-1]) / counts[:, None]
    wrong, _ = compare_with_forward(partition, points, regions, Rounding.at(partition, points))
    return not len(wrong)


def _mesh_arrays(mesh: Mesh) -> dict[str, np.ndarray]:
    """Edges and what borders them follow from the corners and sides."""
    return {
        "vertices": mesh.vertices,
        "n_corners": narrow(np.diff(mesh.offsets)),
        "corners": mesh.corners,
        "sides": mesh.sides,
        "edge_layers": narrow(mesh.edge_labels[:, 0]),
        "edge_units": narrow(mesh.edge_labels[:, 1]),
    }


def _mesh_of_arrays(arrays: dict[str, np.ndarray]) -> Mesh:
    vertices = real_array(arrays["vertices"], 2)
    counts = widened(arrays["n_corners"], np.int64, 1)
    corners, sides = whole_array(arrays["corners"], np.int32, 1), whole_array(arrays["sides"], np.int32, 1)
    layers, units = widened(arrays["edge_layers"], np.int32, 1), widened(arrays["edge_units"], np.int32, 1)
    n_edges, n_sides = len(layers), len(sides)
    require(vertices.shape[1:] == (2,) and len(counts) >= 1, "the mesh is empty")
    require(len(units) == n_edges, "the mesh's edges do not fit each other")
    require(bool((counts >= 3).all()), "a region has fewer than three corners")
    # No count is above the number of corners, so that their sum cannot overflow.
    require(
        int(counts.max()) <= n_sides == len(corners) == int(counts.sum()), "the mesh's corners do not fit its sides"
    )
    require(_within(corners, 0, len(vertices)), "a vertex does not exist")
    require(_within(sides, 0, 2 * n_edges), "an edge does not exist")
    # Each edge has two sides, of which no two regions share one: then it is a region's or outside.
    face_of_side = np.full(2 * n_edges, -1, dtype=np.int32)
    face_of_side[sides] = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    require(int((face_of_side >= 0).sum()) == n_sides, "two regions have the same side of an edge")
    offsets = running_sum(counts)
    edge, backward = sides >> 1, sides & 1
    edges = np.full((n_edges, 2), -1, dtype=np.int32)
    edges[edge, backward] = corners
    edges[edge, 1 - backward] = corners[following_corners(offsets)]
    require(bool((edges[edge, backward] == corners).all()), "an edge does not start at its corner")
    require(bool((edges >= 0).all()), "an edge borders no region")
    require(bool((edges[:, 0] != edges[:, 1]).all()), "an edge ends where it starts")
    return Mesh(
        vertices=vertices,
        edges=edges,
        edge_faces=face_of_side.reshape(n_edges, 2),
        edge_labels=np.stack([layers, units], axis=1),
        offsets=offsets,
        corners=corners,
        sides=sides,
    )


def _check_areas(mesh: Mesh, domain: np.ndarray, complete: bool) -> None:
    """Faces that run counter-clockwise within the domain, and cover it if the partition is complete."""
    low, high = domain.min(axis=0), domain.max(axis=0)
    slack = _ROUNDING * float(np.abs(domain).max())
    inside = bool(((mesh.vertices >= low - slack) & (mesh.vertices <= high + slack)).all())
    require(inside, "a vertex lies outside the domain")
    areas, area = mesh.areas(), polygon_area(domain)
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


def _patterns_of_arrays(
    arrays: dict[str, np.ndarray], network: Network, n_regions: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    parents, bits, n_faces = [], [], 1
    for i, stage in enumerate(network.stages):
        children = widened(arrays[f"children_{i}"], np.int64, 1)
        packed = whole_array(arrays[f"bits_{i}"], np.uint8, 2)
        n_units, n_bytes = stage.n_units, _n_bytes(stage.n_units)
        require(len(children) == n_faces and packed.shape[1] == n_bytes, "the patterns do not fit the network")
        n_faces = len(packed)
        require(n_faces >= 1 and _within(children, 0, n_faces + 1), "a region's parent does not exist")
        require(int(children.sum()) == n_faces, "the regions do not fit their parents")
        require(not (packed[:, n_units // 8 :] >> n_units % 8).any(), "a unit does not exist")
        words = np.zeros((n_faces, 8 * n_words(n_units)), dtype=np.uint8)
        words[:, :n_bytes] = packed
        parents.append(np.repeat(np.arange(len(children), dtype=np.int32), children))
        bits.append(words.view(np.uint64))
    require(n_faces == n_regions, "the patterns do not fit the mesh")
    return tuple(parents), tuple(bits)


def _n_bytes(n_units: int) -> int:
    return -(-n_units // 8)


def _is(array: np.ndarray | None, text: str) -> bool:
    """Whether an array holds this text; compared as bytes, for any bytes may stand there."""
    expected = np.array(text)
    return array is not None and array.dtype == expected.dtype and array.tobytes() == expected.tobytes()


def _within(array: np.ndarray, low: int, high: int) -> bool:
    return array.size == 0 or (int(array.min()) >= low and int(array.max()) < high)
