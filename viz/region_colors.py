"""What regions can be coloured by: a value of each region, or a category, in colours that colour-blind readers tell
apart.
"""

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from splinegeo import Partition
from splinegeo.progress import tell
from viz.colormaps import oklab_to_srgb
from viz.errors import DrawingError

# The palette "muted" of P. Tol, "Colour schemes" (SRON/EPS/TN/09-002, 2021), which all common forms of colour blindness
# keep apart; in an order in which neighbours differ most.
CATEGORY_COLORS = (
    "#88ccee",
    "#cc6677",
    "#ddcc77",
    "#117733",
    "#332288",
    "#aa4499",
    "#44aa99",
    "#999933",
    "#882255",
    "#dddddd",
)
_REGIONS_PER_BLOCK = 4096
_GOLDEN_TURN = 0.6180339887498949


def centroid_alignments(part: Partition) -> Float64[np.ndarray, " R"]:
    """Cosine of each region's centre of area, as an input, with the region's centroid; 0 where one of them is zero."""
    cosines = np.zeros(part.n_regions)
    for begin in range(0, part.n_regions, _REGIONS_PER_BLOCK):
        regions = np.arange(begin, min(begin + _REGIONS_PER_BLOCK, part.n_regions))
        centroids = part.centroids(regions)
        inputs = part.plane.origin + part.interior_points[regions] @ part.plane.basis
        lengths = np.linalg.norm(centroids, axis=1) * np.linalg.norm(inputs, axis=1)
        products = np.einsum("nd,nd->n", centroids, inputs)
        cosines[regions] = np.divide(products, lengths, out=np.zeros(len(regions)), where=lengths > 0)
        tell(int(regions[-1]) + 1, part.n_regions)
    return cosines


def predicted_classes(part: Partition) -> Int64[np.ndarray, " R"]:
    """The class at each region's centre of area: argmax f; for one output 1 where f > 0, else 0."""
    t = np.column_stack([part.interior_points, np.ones(part.n_regions)])
    outputs = np.einsum("rck,rk->rc", part.slice_maps, t)
    return (outputs[:, 0] > 0).astype(np.int64) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


def deepest_layers(part: Partition) -> Int64[np.ndarray, " R"]:
    """The deepest layer with a unit that changes its piece on a region's border; -1 where only the domain ends it."""
    layers = np.full(part.n_regions, -1, dtype=np.int64)
    for side in (0, 1):
        inside = part.edge_faces[:, side] >= 0
        np.maximum.at(layers, part.edge_faces[inside, side], part.edge_labels[inside, 0])
    return layers


def category_colors(categories: Integer[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """A colour for each category, by its number: `CATEGORY_COLORS`; from ten on, hues of the golden angle.

    Only the first ten are told apart by colour-blind readers. Categories below zero are grey. Raises `DrawingError`
    unless they are whole numbers.
    """
    numbers = np.asarray(categories)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise DrawingError(f"categories must be whole numbers, (n,), not {numbers.dtype} of shape {numbers.shape}")
    first = np.array([[int(color[i : i + 2], 16) / 255.0 for i in (1, 3, 5)] for color in CATEGORY_COLORS])
    further = np.maximum(numbers - len(first), 0)
    hue = 2 * np.pi * ((further * _GOLDEN_TURN) % 1.0)
    lightness = 0.55 + 0.12 * (further % 3)
    others = oklab_to_srgb(np.column_stack([lightness, 0.1 * np.cos(hue), 0.1 * np.sin(hue)]))
    colors = np.where((numbers < len(first))[:, None], first[np.clip(numbers, 0, len(first) - 1)], others)
    colors[numbers < 0] = 0.5
    return colors
