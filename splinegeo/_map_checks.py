"""Figures of a certificate that concern affine maps: maps, centroids, radii and norms, against torch's own Jacobian."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch.func import functionalize
from torch.nn import functional
from tqdm import tqdm

from splinegeo._output_checks import missed_outputs
from splinegeo._pattern_checks import Rounding, active_units, depths
from splinegeo._torch_threads import one_torch_thread
from splinegeo.network import KeepFloat64, Network
from splinegeo.region_maps import affine_before
from splinegeo.restriction import has_operators
from splinegeo.slice_maps import slice_map_blocks

if TYPE_CHECKING:
    from splinegeo.partition import Partition

# Regions that are compared: so many, or fewer where the Jacobians and what they are made of are more numbers than this.
_REGIONS = 256
_FEWEST = 4
_NUMBERS = 1 << 25
_BATCH_BYTES = 1 << 27
# Directions whose images give the size of a prefix's Jacobian.
_DIRECTIONS = 4
# Where a product cancels to less than this share of its factors' norms, its rounding is that of the share.
_CANCELLED = 2.0**-14
# Differences in regions of smaller sizes than this share of the sample's largest count in shares of that.
_SMALLEST = 2.0**-10
# The rounding of a deep network's float64 products, and of a walk's many small steps, in shares of the products' size.
MAP_ROUNDING = 2.0**-42


class MapFigures(NamedTuple):
    """`regions` are the wrong ones; for the others see the fields of the same names of `Certificate`."""

    compared_maps: int
    map_error: float
    offset_error: float
    centroid_error: float
    radius_error: float
    norm_error: float
    output_error: float
    map_rounding: float
    map_roundings: int
    regions: Int64[np.ndarray, " n"]


class _Reference(NamedTuple):
    """What a network does about n points: its values there, Jacobians, and the sizes of what they are sums of."""

    outputs: Float64[np.ndarray, "n C"]
    jacobians: Float64[np.ndarray, "n C d"]
    sizes: Float64[np.ndarray, " n"]
    offset_sizes: Float64[np.ndarray, " n"]

    def at(self, i: int) -> "_Reference":
        """Of one point alone."""
        return _Reference(*(part[i : i + 1] for part in self))


class _Probes(NamedTuple):
    """What the sizes of a network's maps are found from, whatever the point."""

    images: Float64[np.ndarray, "1 k n"]
    """The first affine map's images of Gaussian directions."""
    gains: list[Float64[np.ndarray, ""]]
    """The Frobenius norm of each affine map."""

    @classmethod
    def of(cls, network: Network) -> "_Probes":
        """By a few directions, always the same ones."""
        generator = np.random.default_rng(0)
        along = generator.standard_normal((1, _DIRECTIONS, network.n_inputs))
        affines = [affine_before(network, index) for index in range(len(network.stages) + 1)]
        gains = [
            _mean_norms(affine.linear(generator.standard_normal((_DIRECTIONS, affine.n_inputs)))) for affine in affines
        ]
        return cls(affines[0].linear(along), gains)


def map_figures(partition: "Partition", rounding: Rounding, seed: int, progress: bool) -> MapFigures:
    """Compare what the partition says of some regions with the Jacobian at their interior points.

    Norms are those in input space, Frobenius, and any others that the partition has been asked for before. Where a unit
    vanishes to rounding the network may have several Jacobians: a region that has not torch's counts as a rounding if
    it has the one with these units as in its pattern. Regions narrower than the rounding of positions are left out, as
    their interior points may lie in others.
    """
    regions = sampled_regions(partition, _n_compared(partition), seed)
    regions = regions[depths(partition, partition.interior_points[regions], regions) > rounding.position]
    norms = {("frobenius", "input"): partition.operator_norms()} | partition._norms
    probes = _Probes.of(partition.network)
    values = _Compared(
        partition,
        regions,
        _slice_maps(partition, regions),
        partition.centroids(regions),
        partition.radii(regions),
        {kind: of_all[regions].astype(np.float64) for kind, of_all in norms.items()},
    )
    allowed = MAP_ROUNDING if partition.dtype == np.float64 else 16 * float(np.finfo(partition.dtype).eps)
    differences, sizes = np.empty((2, len(regions), 5))
    outputs = np.empty((len(regions), partition.network.n_outputs))
    bar = tqdm(total=len(regions), desc="maps", disable=not progress, leave=False)
    for batch in _batches(partition, len(regions)):
        reference = _reference(partition, regions[batch], probes)
        outputs[batch] = reference.outputs
        for i in range(len(regions[batch])):
            differences[batch.start + i], sizes[batch.start + i] = values.differences(batch.start + i, reference.at(i))
            bar.update()
    bar.close()
    least = _SMALLEST * sizes.max(axis=0, initial=0.0)
    shares = _shares(differences, sizes, least)
    n_roundings = 0
    others = np.nonzero(~(shares <= allowed).all(axis=1))[0]
    for batch in _batches(partition, len(others)):
        of_pattern, has_other = _of_patterns(partition, regions[others[batch]], rounding, probes)
        of_pattern = of_pattern._replace(outputs=outputs[others[batch]])
        for i in np.nonzero(has_other)[0].tolist():
            place = others[batch][i]
            again = _shares(*values.differences(place, of_pattern.at(i)), least)
            if (again <= allowed).all():
                shares[place], n_roundings = again, n_roundings + 1
    of_map, of_offset, of_centroid, of_radius, of_norm = shares.max(axis=0, initial=0.0).tolist()
    is_right = (shares <= allowed).all(axis=1)
    # Rounded maps would miss outputs that their terms cancel to.
    maps = values.slice_maps if partition.dtype == np.float64 else computed_slice_maps(partition, regions)
    of_output, missed = missed_outputs(partition, regions[is_right], maps[is_right], outputs[is_right])
    wrong = np.union1d(regions[~is_right], regions[is_right][missed])
    errors = (of_map, of_offset, of_centroid, of_radius, of_norm, of_output)
    return MapFigures(len(regions), *errors, allowed, n_roundings, wrong)


def sampled_regions(partition: "Partition", n: int, seed: int) -> Int64[np.ndarray, " m"]:
    """Up to n different regions, ascending: about half of them at random, half in proportion to their areas."""
    if n >= partition.n_regions:
        return np.arange(partition.n_regions)
    generator = np.random.default_rng(seed)
    areas = np.abs(partition.areas)
    by_area = generator.choice(partition.n_regions, size=n // 2, p=areas / areas.sum())
    return np.unique(np.concatenate([by_area, generator.choice(partition.n_regions, size=n - n // 2, replace=False)]))


def _n_compared(partition: "Partition") -> int:
    network = partition.network
    width = network.n_inputs + sum(stage.n_units for stage in network.stages)
    return max(_FEWEST, min(_REGIONS, _NUMBERS // (width * network.n_outputs)))


def _batches(partition: "Partition", n: int) -> Iterator[slice]:
    network = partition.network
    widest = max([network.n_inputs, *(stage.n_units for stage in network.stages)])
    step = max(1, _BATCH_BYTES // (8 * widest * (network.n_outputs + _DIRECTIONS)))
    return (slice(begin, min(begin + step, n)) for begin in range(0, n, step))


def _slice_maps(partition: "Partition", regions: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n C 3"]:
    """Slice maps of some regions: those that the partition holds, or as it would compute them."""
    if "slice_maps" in vars(partition):
        return partition.slice_maps[regions].astype(np.float64)
    return computed_slice_maps(partition, regions)


def computed_slice_maps(partition: "Partition", regions: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n C 3"]:
    """Slice maps of some regions from their patterns, in float64."""
    maps = np.empty((len(regions), partition.network.n_outputs, 3))
    if len(regions):
        for place, block in slice_map_blocks(_family(partition, regions)):
            maps[place] = block
    return maps


def _family(partition: "Partition", regions: Int64[np.ndarray, " n"]) -> "Partition":
    """Some regions and the faces that they were cut from, as a partition whose mesh has corners no more: the map of a
    region depends on no other.
    """
    parents, bits = list(partition.parents), list(partition.bits)
    faces = regions
    for index in range(len(parents) - 1, -1, -1):
        of_faces = partition.parents[index][faces]
        before, parents[index] = np.unique(of_faces, return_inverse=True)
        parents[index] = parents[index].astype(partition.parents[index].dtype)
        bits[index] = partition.bits[index][faces]
        faces = before
    mesh = replace(partition.mesh, offsets=np.zeros(len(regions) + 1, dtype=np.int64))
    family = replace(partition, mesh=mesh, parents=tuple(parents), bits=tuple(bits))
    if has_operators(partition.network):
        vars(family)["restriction"] = partition.restriction
    return family


class _Compared(NamedTuple):
    """What a partition says of some regions."""

    partition: "Partition"
    regions: Int64[np.ndarray, " n"]
    slice_maps: Float64[np.ndarray, "n C 3"]
    centroids: Float64[np.ndarray, "n d"]
    radii: Float64[np.ndarray, " n"]
    norms: dict[tuple[str, str], Float64[np.ndarray, " n"]]

    def differences(self, i: int, reference: _Reference) -> tuple[Float64[np.ndarray, "5"], Float64[np.ndarray, "5"]]:
        """How far the i-th region's map, offset, centroid, radius and squared norms are from a reference at one point,
        and the sizes of what these are sums of.
        """
        partition, r, slice_map = self.partition, int(self.regions[i]), self.slice_maps[i]
        plane, t = partition.plane, partition.interior_points[r]
        outputs, jacobian = reference.outputs[0], reference.jacobians[0]
        size, offset_size = reference.sizes[0], reference.offset_sizes[0]
        on_slice = jacobian @ plane.basis.T
        offset = outputs - jacobian @ (plane.origin + t @ plane.basis)
        centroid = jacobian.sum(axis=0)
        radius = centroid @ centroid + 2 * offset.sum()
        A, B = partition.affine_map(r)
        of_norms = 0.0
        for (kind, space), norms in self.norms.items():
            expected = np.linalg.norm(jacobian if space == "input" else on_slice, "fro" if kind == "frobenius" else 2)
            of_norms = max(of_norms, abs(float(norms[i]) ** 2 - float(expected) ** 2))
        found = (
            max(_norm(A - jacobian), _norm(slice_map[:, :2] - on_slice)),
            max(_norm(B - offset), _norm(slice_map[:, :2] @ t + slice_map[:, 2] - outputs)),
            _norm(self.centroids[i] - centroid),
            abs(float(self.radii[i]) - radius),
            of_norms,
        )
        # The sum of C rows is at most root C as large as the matrix.
        rows = np.sqrt(len(jacobian))
        sizes = (size, offset_size, rows * size, (rows * size) ** 2 + 2 * rows * offset_size, size**2)
        return np.array(found), np.array(sizes)


def _norm(difference: np.ndarray) -> float:
    return float(np.linalg.norm(difference))


def _shares(
    differences: Float64[np.ndarray, "... 5"], sizes: Float64[np.ndarray, "... 5"], least: Float64[np.ndarray, "5"]
) -> Float64[np.ndarray, "... 5"]:
    """Differences in shares of sizes, or of `least`; where all that is summed is 0, no difference is right."""
    sizes = np.maximum(sizes, least)
    return np.divide(differences, sizes, out=np.where(differences > 0, np.inf, differences), where=sizes > 0)


def _reference(partition: "Partition", regions: Int64[np.ndarray, " n"], probes: _Probes) -> _Reference:
    """At the regions' interior points, by the module that the network was read from where it is at hand."""
    network, plane = partition.network, partition.plane
    x = plane.origin + partition.interior_points[regions] @ plane.basis
    values = _values(network, x)
    by_stages = _by_stages(network, x, values, [y > 0 for y in values[:-1]], probes)
    if network.module is None:
        return by_stages
    with torch.inference_mode(False), one_torch_thread(), _ExactDerivatives():
        inputs = torch.from_numpy(x).reshape(len(x), *network.input_shape)
        with torch.no_grad():
            outputs = network.module(inputs.clone()).reshape(len(x), -1)
        by_torch = by_stages._replace(outputs=outputs.numpy())
        # Torch has no derivative of calls that write over what it needs for that, or over one of several views: these
        # are then replaced by calls that write nowhere.
        for module in (network.module, functionalize(network.module, remove="mutations_and_views")):
            try:
                jacobians = _jacobians(module, inputs)
            except RuntimeError:
                continue
            return by_torch._replace(jacobians=jacobians.numpy())
    return by_torch


def _jacobians(module: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """The Jacobian (n, C, d) at each of n inputs, by torch. Raises RuntimeError where it has none."""
    with torch.enable_grad():
        leaf = inputs.clone().requires_grad_()
        outputs = module(leaf.clone()).reshape(len(inputs), -1)
        rows = [
            torch.autograd.grad(column.sum(), leaf, retain_graph=True, materialize_grads=True)[0]
            for column in outputs.unbind(1)
        ]
    return torch.stack(rows, dim=1).reshape(*outputs.shape, -1)


class _ExactDerivatives(KeepFloat64):
    """Besides, has Hardsigmoid's derivative in float64: torch's own is 1/6 in float32, whatever the type."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.hardsigmoid:
            func, kwargs = _hardsigmoid, {}
        return super().__torch_function__(func, types, args, kwargs)


def _hardsigmoid(x: torch.Tensor, *_: Any) -> torch.Tensor:
    return functional.hardtanh(x + 3, 0.0, 6.0) / 6


def _of_patterns(
    partition: "Partition", regions: Int64[np.ndarray, " n"], rounding: Rounding, probes: _Probes
) -> tuple[_Reference, Bool[np.ndarray, " n"]]:
    """At regions' interior points, with the units that vanish there to rounding as in the region's pattern; and whether
    there are any.
    """
    network = partition.network
    x = partition.plane.origin + partition.interior_points[regions] @ partition.plane.basis
    values = _values(network, x)
    near = [
        (np.abs(y) <= tolerance) & ~stage.carried
        for y, tolerance, stage in zip(values[:-1], rounding.values, network.stages, strict=True)
    ]
    active = [
        np.where(of_stage, bits, y > 0)
        for of_stage, bits, y in zip(near, active_units(partition, regions), values[:-1], strict=True)
    ]
    has_near = np.zeros(len(regions), dtype=bool)
    for of_stage in near:
        has_near |= of_stage.any(axis=1)
    return _by_stages(network, x, values, active, probes), has_near


def _values(network: Network, x: Float64[np.ndarray, "n d"]) -> list[Float64[np.ndarray, "n units"]]:
    """The values before each stage's nonlinearity, then the outputs."""
    h, values = x, []
    for stage in network.stages:
        values.append(stage.affine(h))
        h = stage.activate(values[-1])
    return [*values, network.output(h)]


def _by_stages(
    network: Network,
    x: Float64[np.ndarray, "n d"],
    values: list[Float64[np.ndarray, "n units"]],
    active: list[Bool[np.ndarray, "n units"]],
    probes: _Probes,
) -> _Reference:
    """By the chain rule through the stages, from their values at each point and which units are positive."""
    slopes = [np.where(bits, 1.0, stage.slopes) for bits, stage in zip(active, network.stages, strict=True)]
    affines = [affine_before(network, index) for index in range(len(values))]
    along, gains = probes
    steepness: list[np.ndarray] = [np.zeros(1)]
    for index, affine in enumerate(affines):
        along = along if index == 0 else affine.linear(along * slopes[index - 1][:, None])
        steepness.append(np.maximum(_mean_norms(along), _CANCELLED * steepness[-1] * gains[index]))
    del steepness[0]
    rows: np.ndarray = np.eye(network.n_outputs)[None]
    size: np.ndarray = np.zeros(1)
    sizes, offset_sizes = np.zeros((2, len(x)))
    reach = np.linalg.norm(x, axis=1)
    for index in range(len(affines) - 1, -1, -1):
        following = gains[index + 1] if index + 1 < len(affines) else 0.0
        size = np.maximum(np.linalg.norm(rows, axis=(1, 2)), _CANCELLED * size * following)
        terms = np.linalg.norm(values[index], axis=1) + np.linalg.norm(affines[index].bias)
        sizes = np.maximum(sizes, size * steepness[index])
        offset_sizes = np.maximum(offset_sizes, size * (terms + steepness[index] * reach))
        rows = affines[index].transpose(rows)
        if index:
            rows = rows * slopes[index - 1][:, None]
    return _Reference(values[-1], np.broadcast_to(rows, (len(x), *rows.shape[1:])), sizes, offset_sizes)


def _mean_norms(images: Float64[np.ndarray, "... k n"]) -> Float64[np.ndarray, "..."]:
    """The Frobenius norms of matrices P, from their images of Gaussian directions v: E ‖P v‖² = ‖P‖²."""
    return np.sqrt(np.einsum("...kn,...kn->...", images, images) / images.shape[-2])
