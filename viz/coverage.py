"""Exact area coverage: the picture of a planar subdivision, every pixel the area-weighted mean of the colours in it.

Each edge of the subdivision adds the jump of colour across it, times the signed area to its right, to the pixels that
it passes; a running sum along the rows then fills the faces. Neighbouring faces share their edge, so no seam can show
between them, and a face much smaller than a pixel still counts with its area.
"""

import numpy as np
from jaxtyping import Float, Float64, Int, UInt8

# Edges are treated in blocks, so that the memory needed does not grow with the number of regions.
_EDGES_PER_BLOCK = 1 << 17
# Opacity below which a pixel's colour is lost in the rounding of the running sum, and cannot be seen either.
_TRANSPARENT = 1e-6


def coverage_image(
    vertices: Float[np.ndarray, "V 2"],
    edges: Int[np.ndarray, "E 2"],
    edge_faces: Int[np.ndarray, "E 2"],
    colors: Float[np.ndarray, "R 4"],
    shape: tuple[int, int],
) -> UInt8[np.ndarray, "height width 4"]:
    """Draw a conforming subdivision with one colour a face, without a loop over faces; rows run upwards.

    Args:
        vertices: in pixels; pixel (row, column) is the square [column, column + 1] x [row, row + 1].
        edges: vertex ids of each edge's ends.
        edge_faces: the face on each edge's left and the one on its right; -1 is the outside.
        colors: red, green, blue and opacity of each face in [0, 1]; the outside is transparent.
        shape: height and width of the picture.
    """
    height, width = shape
    accumulated = np.zeros((height * (width + 1), 4))
    weighted = np.zeros((len(colors) + 1, 4))  # the last row, which -1 finds, is the outside
    weighted[:-1, :3] = colors[:, :3] * colors[:, 3:]
    weighted[:-1, 3] = colors[:, 3]
    for begin in range(0, len(edges), _EDGES_PER_BLOCK):
        block = slice(begin, begin + _EDGES_PER_BLOCK)
        jumps = weighted[edge_faces[block, 1]] - weighted[edge_faces[block, 0]]
        _accumulate(accumulated, vertices[edges[block]], jumps, height, width)
    summed = np.cumsum(accumulated.reshape(height, width + 1, 4)[:, :width], axis=1)
    return _straight_bytes(summed)


def _accumulate(
    accumulated: Float64[np.ndarray, "pixels 4"],
    segments: Float[np.ndarray, "E 2 2"],
    jumps: Float[np.ndarray, "E 4"],
    height: int,
    width: int,
) -> None:
    edge, row, left, right, rise = _pieces_in_rows(segments, height)
    piece, column, share, offset = _pieces_in_columns(left, right, width)
    pixel = row[piece] * (width + 1) + column
    weight = rise[piece] * share
    of_edge = edge[piece]
    for channel in range(4):
        amount = weight * jumps[of_edge, channel]
        spilled = amount * offset
        accumulated[:, channel] += np.bincount(pixel, amount - spilled, minlength=len(accumulated))
        accumulated[1:, channel] += np.bincount(pixel, spilled, minlength=len(accumulated))[:-1]


def _pieces_in_rows(segments: Float[np.ndarray, "E 2 2"], height: int) -> tuple[np.ndarray, ...]:
    """Cut segments at the borders of rows: each piece's segment, row, least and greatest x, and signed rise."""
    upwards = segments[:, 1, 1] > segments[:, 0, 1]
    low = np.where(upwards[:, None], segments[:, 0], segments[:, 1])
    high = np.where(upwards[:, None], segments[:, 1], segments[:, 0])
    bottom = np.clip(low[:, 1], 0, height)
    top = np.clip(high[:, 1], 0, height)
    seen = np.flatnonzero(top > bottom)
    low, high, bottom, top = low[seen], high[seen], bottom[seen], top[seen]
    first = np.floor(bottom).astype(np.int64)
    of_seen, row = ranges(first, np.ceil(top).astype(np.int64) - first)
    y0 = np.maximum(bottom[of_seen], row)
    y1 = np.minimum(top[of_seen], row + 1)
    slope = ((high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1]))[of_seen]
    x_low, y_low = low[of_seen, 0], low[of_seen, 1]
    x0 = x_low + slope * (y0 - y_low)
    x1 = x_low + slope * (y1 - y_low)
    rise = np.where(upwards[seen][of_seen], y1 - y0, y0 - y1)
    return seen[of_seen], row, np.minimum(x0, x1), np.maximum(x0, x1), rise


def _pieces_in_columns(
    left: Float[np.ndarray, " P"], right: Float[np.ndarray, " P"], width: int
) -> tuple[np.ndarray, ...]:
    """Cut pieces at the borders of columns: each part's piece, column, share of it, and mean offset in its column.

    What lies left of the picture is moved to its left border; what lies right of it goes to the column `width`, which
    is not shown.
    """
    first = np.clip(np.floor(left), -1, width).astype(np.int64)
    last = np.clip(np.ceil(right) - 1, first, width).astype(np.int64)
    piece, column = ranges(first, last - first + 1)
    x0, x1 = left[piece], right[piece]
    part_left = np.where(column == first[piece], x0, column)
    part_right = np.where(column == last[piece], x1, column + 1)
    length = x1 - x0
    share = np.divide(part_right - part_left, length, out=np.ones_like(length), where=length > 0)
    offset = np.where((column >= 0) & (column < width), 0.5 * (part_left + part_right) - column, 0.0)
    return piece, np.maximum(column, 0), share, np.clip(offset, 0.0, 1.0)


def ranges(first: Int[np.ndarray, " n"], count: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """The integers first, first + 1, ... of each item, one item after the other, with the item that each belongs to."""
    item = np.repeat(np.arange(len(first)), count)
    before = np.cumsum(count) - count
    return item, np.arange(len(item)) - before[item] + first[item]


def _straight_bytes(premultiplied: Float64[np.ndarray, "height width 4"]) -> UInt8[np.ndarray, "height width 4"]:
    rgba = premultiplied.copy()
    alpha = rgba[..., 3:]
    np.divide(rgba[..., :3], alpha, out=rgba[..., :3], where=alpha > _TRANSPARENT)
    return np.rint(255.0 * np.clip(rgba, 0.0, 1.0)).astype(np.uint8)
