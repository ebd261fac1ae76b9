"""Compiled: the upper envelope of affine functions on convex polygons: where the greatest of them changes."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def value(maps, region, function, x, y):
    """One affine function of a region at a point."""
    return maps[region, function, 0] * x + maps[region, function, 1] * y + maps[region, function, 2]


@njit(cache=True, nogil=True, error_model="numpy")
def boundaries_inside(vertices, offsets, corners, maps, regions, tolerance, segments, labels):
    """Segments inside regions on which two functions are equal and the greatest; returns their number.

    A pair counts if its difference has both signs at the region's corners: along an edge it is no inner boundary. Of
    equal functions only the first is ever the greatest.
    """
    n = 0
    everywhere_below = np.empty(maps.shape[1], dtype=np.bool_)
    candidates = np.empty(maps.shape[1], dtype=np.int64)
    for r in regions:
        found = _find_candidates(vertices, offsets, corners, maps, r, tolerance, everywhere_below, candidates)
        chosen = candidates[:found]
        center_x, center_y = 0.0, 0.0
        for k in range(offsets[r], offsets[r + 1]):
            center_x += vertices[corners[k], 0]
            center_y += vertices[corners[k], 1]
        center_x /= offsets[r + 1] - offsets[r]
        center_y /= offsets[r + 1] - offsets[r]
        for first in range(found):
            for second in range(first + 1, found):
                i, j = chosen[first], chosen[second]
                above, below = False, False
                for k in range(offsets[r], offsets[r + 1]):
                    x, y = vertices[corners[k], 0], vertices[corners[k], 1]
                    difference = value(maps, r, i, x, y) - value(maps, r, j, x, y)
                    above |= difference > tolerance
                    below |= difference < -tolerance
                if not (above and below):
                    continue
                gx, gy = maps[r, i, 0] - maps[r, j, 0], maps[r, i, 1] - maps[r, j, 1]
                squared = gx * gx + gy * gy
                here = value(maps, r, i, center_x, center_y) - value(maps, r, j, center_x, center_y)
                px, py = center_x - here * gx / squared, center_y - here * gy / squared
                norm = np.sqrt(squared)
                dx, dy = -gy / norm, gx / norm
                low, high = -np.inf, np.inf
                for k in range(offsets[r], offsets[r + 1]):
                    a = corners[k]
                    b = corners[k + 1 if k + 1 < offsets[r + 1] else offsets[r]]
                    nx, ny = vertices[a, 1] - vertices[b, 1], vertices[b, 0] - vertices[a, 0]
                    depth = nx * (px - vertices[a, 0]) + ny * (py - vertices[a, 1])
                    low, high = _clip(depth, nx * dx + ny * dy, low, high)
                low, high = _clip_by_others(maps, r, chosen, i, j, px, py, dx, dy, tolerance, low, high)
                if low < high:
                    segments[n, 0], segments[n, 1] = px + low * dx, py + low * dy
                    segments[n, 2], segments[n, 3] = px + high * dx, py + high * dy
                    labels[n, 0], labels[n, 1], labels[n, 2] = r, i, j
                    n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def boundaries_along_edges(vertices, edges, edge_faces, maps, tolerance, segments, labels):
    """Edges on whose two sides different functions are the greatest; returns their number.

    The functions are continuous, so this happens only where functions are equal along the edge.
    """
    n = 0
    n_functions = maps.shape[1]
    all_functions = np.arange(n_functions)
    for e in range(edges.shape[0]):
        left, right = edge_faces[e, 0], edge_faces[e, 1]
        if left < 0 or right < 0:
            continue
        ax, ay = vertices[edges[e, 0], 0], vertices[edges[e, 0], 1]
        run_x, run_y = vertices[edges[e, 1], 0] - ax, vertices[edges[e, 1], 1] - ay
        greatest = -np.inf
        for c in range(n_functions):
            greatest = max(greatest, value(maps, left, c, ax + 0.5 * run_x, ay + 0.5 * run_y))
        i = _greatest_beside(maps, left, ax, ay, run_x, run_y, -run_y, run_x, greatest, tolerance)
        j = _greatest_beside(maps, right, ax, ay, run_x, run_y, run_y, -run_x, greatest, tolerance)
        if i == j or not _equal_along(maps, left, i, j, ax, ay, run_x, run_y, tolerance):
            continue
        low, high = _clip_by_others(maps, left, all_functions, i, j, ax, ay, run_x, run_y, tolerance, 0.0, 1.0)
        if low < high:
            segments[n, 0], segments[n, 1] = ax + low * run_x, ay + low * run_y
            segments[n, 2], segments[n, 3] = ax + high * run_x, ay + high * run_y
            labels[n, 0], labels[n, 1], labels[n, 2] = left, min(i, j), max(i, j)
            n += 1
    return n


@njit(cache=True, nogil=True)
def _greatest_beside(maps, region, ax, ay, run_x, run_y, inward_x, inward_y, greatest, tolerance):
    """Among the functions that are greatest at an edge's middle, the one that rises fastest into the region; the first
    of several.
    """
    best, best_slope = -1, -np.inf
    for c in range(maps.shape[1]):
        if value(maps, region, c, ax + 0.5 * run_x, ay + 0.5 * run_y) < greatest - tolerance:
            continue
        slope = maps[region, c, 0] * inward_x + maps[region, c, 1] * inward_y
        if slope > best_slope + tolerance:
            best, best_slope = c, slope
    return best


@njit(cache=True, nogil=True)
def _equal_along(maps, region, i, j, ax, ay, run_x, run_y, tolerance):
    at_start = value(maps, region, i, ax, ay) - value(maps, region, j, ax, ay)
    at_end = value(maps, region, i, ax + run_x, ay + run_y) - value(maps, region, j, ax + run_x, ay + run_y)
    return abs(at_start) <= tolerance and abs(at_end) <= tolerance


@njit(cache=True, nogil=True)
def _find_candidates(vertices, offsets, corners, maps, r, tolerance, everywhere_below, candidates):
    """The functions that may be the greatest somewhere in a region, the first of equal ones; returns their number.

    One that is below another at all corners is nowhere the greatest. The others to compare with are those that are the
    greatest at a corner: of a thousand functions they leave few.
    """
    n_functions = maps.shape[1]
    everywhere_below[:] = False
    for k in range(offsets[r], offsets[r + 1]):
        x, y = vertices[corners[k], 0], vertices[corners[k], 1]
        best, greatest = 0, -np.inf
        for i in range(n_functions):
            z = value(maps, r, i, x, y)
            if z > greatest:
                best, greatest = i, z
        for i in range(n_functions):
            if not everywhere_below[i]:
                everywhere_below[i] = _is_below(vertices, offsets, corners, maps, r, i, best, tolerance)
    n = 0
    for i in range(n_functions):
        if not everywhere_below[i] and not _is_second(
            vertices, offsets, corners, maps, r, candidates[:n], i, tolerance
        ):
            candidates[n] = i
            n += 1
    return n


@njit(cache=True, nogil=True)
def _is_below(vertices, offsets, corners, maps, r, i, j, tolerance):
    """Whether the i-th function is below the j-th at all corners of a region."""
    for k in range(offsets[r], offsets[r + 1]):
        x, y = vertices[corners[k], 0], vertices[corners[k], 1]
        if value(maps, r, j, x, y) - value(maps, r, i, x, y) <= tolerance:
            return False
    return True


@njit(cache=True, nogil=True)
def _is_second(vertices, offsets, corners, maps, r, candidates, j, tolerance):
    """Whether a candidate equals this function on the whole region."""
    for i in candidates:
        equal = True
        for k in range(offsets[r], offsets[r + 1]):
            x, y = vertices[corners[k], 0], vertices[corners[k], 1]
            equal &= abs(value(maps, r, i, x, y) - value(maps, r, j, x, y)) <= tolerance
        if equal:
            return True
    return False


@njit(cache=True, nogil=True)
def _clip_by_others(maps, r, functions, i, j, px, py, dx, dy, tolerance, low, high):
    """The part of a line where no third one of these functions is above the i-th."""
    for c in functions:
        if c != i and c != j:
            slope = (maps[r, i, 0] - maps[r, c, 0]) * dx + (maps[r, i, 1] - maps[r, c, 1]) * dy
            above = value(maps, r, i, px, py) - value(maps, r, c, px, py)
            if abs(slope) <= tolerance and abs(above) <= tolerance:
                continue
            low, high = _clip(above, slope, low, high)
    return low, high


@njit(cache=True, nogil=True)
def _clip(start, slope, low, high):
    """The part of low..high where start + slope * s >= 0."""
    if slope > 0:
        return max(low, -start / slope), high
    if slope < 0:
        return low, min(high, -start / slope)
    if start < 0:
        return np.inf, -np.inf
    return low, high
