"""A two-dimensional slice of input space, and convex domains on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import ArrayLike

from splinegeo.errors import DegenerateSliceError, InvalidDomainError, ShapeError
from splinegeo.mesh import polygon_area

# A third point nearer to the line through the other two than this share of their distance does not give a plane in
# float32 data.
_COLLINEAR = 1e-7
# A basis computed in float64 is orthonormal to far less; one that was rounded to float32 is not.
_ORTHONORMAL = 1e-8
_DEFAULT_MARGIN = 0.5
# Turns and areas of a polygon below this share of its size squared are the rounding of corners that were computed.
_STRAIGHT = 1e-12
# Products of three larger coordinates would overflow.
_LARGEST = 1e100


def as_numbers(values: object, what: str) -> Float64[np.ndarray, "..."]:
    """An array, a tensor on any device or lists of them as float64. Raises `ShapeError`, which names them by `what`."""
    try:
        # A list of tensors that carry gradients would not be converted.
        if isinstance(values, list | tuple) and any(isinstance(value, torch.Tensor) for value in values):
            values = torch.stack([torch.as_tensor(value) for value in values])
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()  # first: not every device has float64
            # numpy has no bfloat16.
            values = (values.double() if values.is_floating_point() else values).numpy(force=True)
        array = np.asarray(values)
        if values is None or array.dtype.kind not in "biuf":
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"{what} must be an array or a tensor of real numbers, its rows of one shape") from error


def finite_numbers(values: object, what: str) -> Float64[np.ndarray, "..."]:
    """The same. Raises `ShapeError` for NaN and infinite values, too."""
    array = as_numbers(values, what)
    if not np.isfinite(array).all():
        raise ShapeError(f"{what} must be finite, but holds NaN or infinite values")
    return array


def slice_points(t: object) -> Float64[np.ndarray, "n 2"]:
    """Slice coordinates of points as a float64 array, finite or not. Raises `ShapeError` unless they are (n, 2)."""
    points = np.ascontiguousarray(as_numbers(t, "slice coordinates"))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"slice coordinates must have the shape (n, 2), but have {points.shape}")
    return points


@dataclass(frozen=True, eq=False)
class Slice:
    """The plane x(t) = origin + tᵀ basis in input space, t in R².

    Args:
        origin: a point of the plane, flattened.
        basis: two orthonormal rows that span it.
        input_shape: shape of one input of the network; default (d,).
        points: (k, 2) slice coordinates of points of interest, which the default domain frames.

    Raises `DegenerateSliceError` if the basis is not orthonormal, `ShapeError` if the shapes do not fit.
    """

    origin: Float64[np.ndarray, " d"]
    basis: Float64[np.ndarray, "2 d"]
    input_shape: tuple[int, ...]
    points: Float64[np.ndarray, "k 2"] | None = None
    """The points that the slice was drawn through, in slice coordinates."""

    def __init__(
        self,
        origin: ArrayLike | torch.Tensor,
        basis: ArrayLike | torch.Tensor,
        input_shape: Sequence[int] | None = None,
        points: ArrayLike | None = None,
    ) -> None:
        origin = finite_numbers(origin, "the slice's origin").reshape(-1)
        basis = finite_numbers(basis, "the slice's basis")
        if basis.shape != (2, len(origin)):
            raise ShapeError(f"the slice's basis must have the shape (2, {len(origin)}), but has {basis.shape}")
        if not np.allclose(basis @ basis.T, np.eye(2), rtol=0, atol=_ORTHONORMAL):
            raise DegenerateSliceError(
                "the slice's basis must have two orthonormal rows; Slice.through_points makes them"
            )
        shape = (len(origin),) if input_shape is None else tuple(int(n) for n in input_shape)
        if int(np.prod(shape)) != len(origin):
            raise ShapeError(f"input_shape {shape} does not hold the {len(origin)} numbers of the slice's origin")
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "basis", basis)
        object.__setattr__(self, "input_shape", shape)
        object.__setattr__(self, "points", None if points is None else _framed_points(points))

    @classmethod
    def through_points(cls, points: ArrayLike | torch.Tensor) -> "Slice":
        """The plane through three points, (3, *input_shape): origin at their mean, basis from the QR of two edge
        vectors.

        Raises `DegenerateSliceError` if the points lie on a line (to 1e-7 of their distance), `ShapeError` if they are
        not three.
        """
        array = finite_numbers(points, "the points of a slice")
        if array.ndim < 2 or len(array) != 3:
            raise ShapeError(
                f"a slice goes through three points, (3, *input_shape), but the array has the shape {array.shape}"
            )
        flat = array.reshape(3, -1)
        if flat.shape[1] < 2:
            raise ShapeError("a slice needs inputs of at least two numbers")
        edge_vectors = flat[1:] - flat[0]
        q, r = np.linalg.qr(edge_vectors.T)
        longest, thinnest = np.linalg.svd(r, compute_uv=False)
        if thinnest <= _COLLINEAR * longest:
            raise DegenerateSliceError("the three points lie on one line: choose points that span a plane")
        basis = (q * np.where(np.diag(r) < 0, -1.0, 1.0)).T
        origin = flat.mean(axis=0)
        return cls(origin, basis, array.shape[1:], points=(flat - origin) @ basis.T)

    def project(self, x: ArrayLike | torch.Tensor) -> Float64[np.ndarray, "n 2"]:
        """Slice coordinates U (x - o) of inputs (n, *input_shape). Raises `ShapeError`."""
        return self._centred(x) @ self.basis.T

    def lift(self, t: ArrayLike | torch.Tensor) -> Float64[np.ndarray, "n *input_shape"]:
        """Inputs o + tᵀ U of slice coordinates (n, 2). Raises `ShapeError`."""
        points = slice_points(finite_numbers(t, "slice coordinates"))
        return (self.origin + points @ self.basis).reshape(len(points), *self.input_shape)

    def distance(self, x: ArrayLike | torch.Tensor) -> Float64[np.ndarray, " n"]:
        """Euclidean distance of inputs (n, *input_shape) from the plane. Raises `ShapeError`."""
        centred = self._centred(x)
        return np.linalg.norm(centred - (centred @ self.basis.T) @ self.basis, axis=1)

    def _centred(self, x: ArrayLike | torch.Tensor) -> Float64[np.ndarray, "n d"]:
        array = finite_numbers(x, "inputs")
        if array.shape[1:] != self.input_shape and array.shape[1:] != (len(self.origin),):
            raise ShapeError(
                f"inputs must have the shape (n, {', '.join(map(str, self.input_shape))}), but have {array.shape}"
            )
        return array.reshape(len(array), len(self.origin)) - self.origin


def _framed_points(points: ArrayLike) -> Float64[np.ndarray, "k 2"]:
    array = finite_numbers(points, "the slice's points")
    if array.ndim != 2 or array.shape[1] != 2 or not len(array):
        raise ShapeError(f"the slice's points are slice coordinates, (k, 2), but have the shape {array.shape}")
    return array


@dataclass(frozen=True)
class Box:
    """The square domain [-half_width, half_width]² of slice coordinates, about `center`, in input-space units.

    Raises `InvalidDomainError` for a half-width that is not positive and finite, or a center that is not two finite
    numbers.
    """

    half_width: float
    center: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not (is_number(self.half_width) and np.isfinite(self.half_width) and self.half_width > 0):
            raise InvalidDomainError(f"a box needs a positive finite half_width, not {self.half_width!r}")
        if np.shape(self.center) != (2,) or not all(is_number(value) and np.isfinite(value) for value in self.center):
            raise InvalidDomainError(f"a box needs a center of two finite slice coordinates, not {self.center!r}")

    def polygon(self) -> Float64[np.ndarray, "4 2"]:
        """Its corners, counter-clockwise."""
        square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        return np.asarray(self.center) + self.half_width * square


def is_number(value: object) -> bool:
    """Whether it is a single real number, Python's or numpy's."""
    return isinstance(value, Real | np.number) and not isinstance(value, bool | complex)


def domain_polygon(domain: "Box | ArrayLike | None", plane: Slice) -> Float64[np.ndarray, "k 2"]:
    """Corners of a domain, counter-clockwise; None: a square about the slice's points with a margin of half their
    extent.

    Raises `InvalidDomainError` if the polygon is empty, not finite, not convex, or if no domain is given for a slice
    without points.
    """
    if domain is None:
        if plane.points is None:
            raise InvalidDomainError(
                "this slice has no points to frame: give a domain, for instance Box(half_width=10.0)"
            )
        low, high = plane.points.min(axis=0), plane.points.max(axis=0)
        center = (low + high) / 2
        if (low == high).all():
            raise InvalidDomainError("this slice's points are one: give a domain, for instance Box(half_width=10.0)")
        return Box((0.5 + _DEFAULT_MARGIN) * float((high - low).max()), (float(center[0]), float(center[1]))).polygon()
    if isinstance(domain, Box):
        return _convex_polygon(domain.polygon())
    try:
        polygon = as_numbers(domain, "the domain")
    except ShapeError as error:
        raise InvalidDomainError("a domain is a Box or a convex polygon, an array of numbers (k, 2)") from error
    return _convex_polygon(polygon)


def _convex_polygon(polygon: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
        raise InvalidDomainError(
            f"a domain is a Box or a convex polygon, (k, 2) with k >= 3; this has the shape {polygon.shape}"
        )
    if not np.isfinite(polygon).all():
        raise InvalidDomainError("the domain's corners must be finite")
    if np.abs(polygon).max() > _LARGEST:
        raise InvalidDomainError(f"the domain's corners must lie within {_LARGEST:.0e} of the slice's origin")
    edges = np.roll(polygon, -1, axis=0) - polygon
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    size = float(np.ptp(polygon, axis=0).max())
    if (turns < 0).sum() > (turns > 0).sum():
        return _convex_polygon(polygon[::-1])
    if not polygon_area(polygon) > _STRAIGHT * size**2:
        raise InvalidDomainError("the domain is empty: its corners span no area")
    angles = np.arctan2(turns, np.sum(edges * following, axis=1))
    if (
        (turns < -_STRAIGHT * size**2).any()
        or abs(angles.sum() - 2 * np.pi) > 1e-6
        or (np.abs(edges).max(axis=1) == 0).any()
    ):
        raise InvalidDomainError(
            "the domain must be convex: a simple polygon without repeated corners, whose turns all go one way"
        )
    return np.ascontiguousarray(polygon)
