"""splinegeo: the spline geometry of deep networks."""

from splinegeo.errors import (
    DegenerateSliceError,
    InvalidDomainError,
    InvalidNetworkError,
    PartitionFileError,
    ShapeError,
    SplineGeoError,
    UnsupportedModuleError,
)
from splinegeo.network import Network, read_network
from splinegeo.partition import Partition
from splinegeo.refine import enumerate_regions
from splinegeo.slice import Box, Slice
from splinegeo.storage import load_partition
