"""The error that drawing raises."""

from splinegeo.errors import SplineGeoError


class DrawingError(SplineGeoError, ValueError):
    """What was given cannot be drawn: values of the wrong length or not finite, images of no known shape, ..."""
