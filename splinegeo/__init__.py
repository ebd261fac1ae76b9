"""splinegeo: the spline geometry of deep networks."""

from splinegeo._compilation import drop_stale_kernels as _drop_stale_kernels
from splinegeo.block_storage import PartitionBlocks, load_blocks, save_blocks
from splinegeo.correspondence import matching_regions, overlap_areas
from splinegeo.decision_boundary import DecisionBoundary
from splinegeo.errors import (
    DegenerateSliceError,
    InvalidArgumentError,
    InvalidDomainError,
    InvalidNetworkError,
    MissingExtraError,
    PartitionFileError,
    ShapeError,
    SplineGeoError,
    UnknownComponentError,
    UnsupportedModuleError,
)
from splinegeo.grokalign import GrokAlign, jacobian_norm
from splinegeo.hierarchical_diagram import HierarchicalDiagram, hierarchical_diagram
from splinegeo.jacobian import (
    alignment,
    centroids,
    explained_variance,
    local_centroids,
    row_alignment,
)
from splinegeo.linear_regions import LinearRegions
from splinegeo.mesh import Mesh
from splinegeo.network import Network, read_network
from splinegeo.partition import Partition
from splinegeo.power_cells import power_cells
from splinegeo.power_diagram_report import verify_power_diagram
from splinegeo.refine import enumerate_regions
from splinegeo.region_blocks import iterate_regions
from splinegeo.segment import SegmentPartition, enumerate_segment
from splinegeo.slice import Box, Slice
from splinegeo.storage import load_partition

_drop_stale_kernels()
