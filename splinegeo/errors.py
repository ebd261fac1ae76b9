"""The errors that splinegeo raises: each is also the builtin error that a caller would expect."""


class SplineGeoError(Exception):
    """Base of every error that splinegeo raises on purpose; its message is one line that says what to do."""


class DegenerateSliceError(SplineGeoError, ValueError):
    """The points or the basis given do not span a plane."""


class InvalidDomainError(SplineGeoError, ValueError):
    """The domain on the slice is empty, not convex or not finite."""


class ShapeError(SplineGeoError, ValueError):
    """An array's shape does not fit the network or the slice."""


class InvalidNetworkError(SplineGeoError, ValueError):
    """The network cannot be analysed: NaN or infinite weights, no layers, sizes that do not fit."""


class UnsupportedModuleError(SplineGeoError, TypeError):
    """The network holds a module that is not piecewise affine, or not yet read."""


class PartitionFileError(SplineGeoError, ValueError):
    """A partition file is damaged, foreign or of a newer version."""


class InvalidArgumentError(SplineGeoError, ValueError):
    """An argument is not finite, out of its range or of a type that cannot be used."""


class UnknownComponentError(SplineGeoError, LookupError):
    """The network has no submodule of this name, or a forward pass does not call it exactly once."""


class MissingExtraError(SplineGeoError, ImportError):
    """An optional dependency is not installed."""
