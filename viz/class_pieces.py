"""Regions cut at the decision boundary: convex pieces, on each of which the network predicts one class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from splinegeo import Partition

# Pieces below this share of their region are what rounding leaves of a class that only touches the region.
_SMALLEST = 1e-12
# Outputs nearer to each other than this share of the largest one are equal: rounding, with room to spare.
_EQUAL = 2.0**-42
_REGIONS_PER_BLOCK = 1 << 14

_Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class ClassPieces:
    """Convex polygons that fill a partition: its regions, and in place of those with several classes their pieces.

    `vertices`, `edges`, `edge_faces`, `offsets` and `corners` are as a partition's, with pieces for regions. Where
    pieces meet, each has an edge of its own with -1 on its other side.
    """

    vertices: Float64[np.ndarray, "V 2"]
    edges: Int64[np.ndarray, "E 2"]
    edge_faces: Int64[np.ndarray, "E 2"]
    offsets: Int64[np.ndarray, "P+1"]
    corners: Int64[np.ndarray, " H"]
    areas: Float64[np.ndarray, " P"]
    regions: Int64[np.ndarray, " P"]
    """The region that each piece lies in."""
    classes: Int64[np.ndarray, " P"]
    """The class on each piece: argmax f; for one output 1 where f > 0, else 0."""

    @property
    def n_regions(self) -> int:
        """The number of pieces."""
        return len(self.classes)


def class_pieces(part: Partition) -> ClassPieces:
    """Cut the regions that hold several classes along the lines on which their largest outputs are equal."""
    maps = part.slice_maps
    if maps.shape[1] == 1:
        maps = np.concatenate([np.zeros_like(maps), maps], axis=1)
    classes, candidates = _candidates(part, maps)
    polygons: list[list[_Point]] = []
    of_piece: list[tuple[int, int]] = []
    for region, several in candidates.items():
        corners = part.vertices[part.corners[part.offsets[region] : part.offsets[region + 1]]]
        for polygon, winner in _pieces(corners, maps[region], several):
            polygons.append(polygon)
            of_piece.append((region, winner))
    cut = np.zeros(part.n_regions, dtype=bool)
    cut[[region for region, _ in of_piece]] = True
    return _joined(part, classes, cut, polygons, np.array(of_piece, dtype=np.int64).reshape(-1, 2))


def _candidates(
    part: Partition, maps: Float64[np.ndarray, "R C 3"]
) -> tuple[Int64[np.ndarray, " R"], dict[int, Int64[np.ndarray, " k"]]]:
    """The class of each region where it has only one, and the classes that may occur in each of the others."""
    classes = np.empty(part.n_regions, dtype=np.int64)
    candidates = {}
    for begin in range(0, part.n_regions, _REGIONS_PER_BLOCK):
        end = min(begin + _REGIONS_PER_BLOCK, part.n_regions)
        first, last = part.offsets[begin], part.offsets[end]
        starts = part.offsets[begin:end] - first
        corners = np.column_stack([part.vertices[part.corners[first:last]], np.ones(last - first)])
        of_corner = np.repeat(np.arange(begin, end), np.diff(part.offsets[begin : end + 1]))
        values = np.einsum("nck,nk->nc", maps[of_corner], corners)
        winners = values.argmax(axis=1)
        classes[begin:end] = winners[starts]
        mixed = np.minimum.reduceat(winners, starts) != np.maximum.reduceat(winners, starts)
        for place in np.flatnonzero(mixed).tolist():
            own = values[starts[place] : starts[place + 1] if place + 1 < len(starts) else None]
            # A class below one other class at all corners is below it everywhere: the region is convex.
            at_corners = np.unique(own.argmax(axis=1))
            beaten = (own[:, :, None] < own[:, None, at_corners]).all(axis=0).any(axis=1)
            candidates[begin + place] = np.flatnonzero(~beaten)
    return classes, candidates


def _pieces(
    corners: Float64[np.ndarray, "n 2"], functions: Float64[np.ndarray, "C 3"], candidates: Int64[np.ndarray, " k"]
) -> list[tuple[list[_Point], int]]:
    """The convex pieces of a region on which each of the candidates is the greatest of them."""
    whole = [(float(x), float(y)) for x, y in corners]
    smallest = _SMALLEST * _area(whole)
    chosen = functions[candidates]
    values = np.abs(chosen[:, :2] @ corners.T + chosen[:, 2:])
    equal = _EQUAL * float(values.max())
    found = []
    for own in candidates.tolist():
        polygon = whole
        for other in candidates.tolist():
            if other != own and polygon:
                a, b, c = (functions[own] - functions[other]).tolist()
                depths = [a * x + b * y + c for x, y in polygon]
                if max(map(abs, depths)) > equal:
                    polygon = _clipped(polygon, depths)
                elif other < own:  # of equal outputs the first is the class
                    polygon = []
        if len(polygon) > 2 and _area(polygon) > smallest:
            found.append((polygon, own))
    return found


def _clipped(polygon: list[_Point], depths: list[float]) -> list[_Point]:
    """The part of a convex polygon on which an affine function with these values at its corners is not negative."""
    kept: list[_Point] = []
    for index, ((x, y), depth) in enumerate(zip(polygon, depths, strict=True)):
        (x1, y1), before = polygon[index - 1], depths[index - 1]
        if (before < 0 < depth) or (depth < 0 < before):
            share = before / (before - depth)
            kept.append((x1 + share * (x - x1), y1 + share * (y - y1)))
        if depth >= 0:
            kept.append((x, y))
    return kept


def _area(polygon: Sequence[_Point]) -> float:
    # About a corner of its own: small polygons far from the origin keep their digits.
    x0, y0 = polygon[0]
    local = [(x - x0, y - y0) for x, y in polygon]
    return 0.5 * sum(local[k - 1][0] * local[k][1] - local[k][0] * local[k - 1][1] for k in range(len(local)))


def _joined(
    part: Partition,
    classes: Int64[np.ndarray, " R"],
    cut: np.ndarray,
    polygons: list[list[_Point]],
    of_piece: Int64[np.ndarray, "p 2"],
) -> ClassPieces:
    """The regions that stay whole and the pieces of the others as one set of arrays."""
    whole = np.flatnonzero(~cut)
    place = np.full(part.n_regions + 1, -1)  # the last one, which -1 finds, is the outside
    place[whole] = np.arange(len(whole))
    counts = np.array([len(polygon) for polygon in polygons], dtype=np.int64)
    first = np.cumsum(counts) - counts
    n_old = len(part.vertices)
    corners = n_old + np.arange(counts.sum())
    following = corners + 1
    following[first + counts - 1] = n_old + first
    piece_of_corner = len(whole) + np.repeat(np.arange(len(polygons)), counts)
    of_whole = part.corners[np.repeat(~cut, np.diff(part.offsets))]
    edge_faces = place[part.edge_faces]
    borders = (edge_faces >= 0).any(axis=1)
    return ClassPieces(
        vertices=np.concatenate([part.vertices, np.array([p for polygon in polygons for p in polygon]).reshape(-1, 2)]),
        edges=np.concatenate([part.edges[borders], np.column_stack([corners, following])]),
        edge_faces=np.concatenate([edge_faces[borders], np.column_stack([piece_of_corner, np.full(len(corners), -1)])]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part.offsets)[whole], counts]))]),
        corners=np.concatenate([of_whole, corners]),
        areas=np.concatenate([part.areas[whole], [_area(polygon) for polygon in polygons]]),
        regions=np.concatenate([whole, of_piece[:, 0]]),
        classes=np.concatenate([classes[whole], of_piece[:, 1]]),
    )
