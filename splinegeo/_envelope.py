"""Compiled: the upper envelope of affine functions on convex polygons, as segments where the largest two are equal."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def clip_boundaries(vertices, offsets, corners, maps, regions, segments, labels):
    """For every pair of classes: the line where they are equal, clipped by the region and by the classes above them."""
    n = 0
    n_classes = maps.shape[1]
    for r in regions:
        center = np.zeros(2)
        for k in range(offsets[r], offsets[r + 1]):
            center += vertices[corners[k]]
        center /= offsets[r + 1] - offsets[r]
        for i in range(n_classes):
            for j in range(i + 1, n_classes):
                gx = maps[r, i, 0] - maps[r, j, 0]
                gy = maps[r, i, 1] - maps[r, j, 1]
                squared = gx * gx + gy * gy
                if squared == 0.0:
                    continue
                value = gx * center[0] + gy * center[1] + maps[r, i, 2] - maps[r, j, 2]
                px, py = center[0] - value * gx / squared, center[1] - value * gy / squared
                norm = np.sqrt(squared)
                dx, dy = -gy / norm, gx / norm
                low, high = -np.inf, np.inf
                for k in range(offsets[r], offsets[r + 1]):
                    a = vertices[corners[k]]
                    b = vertices[corners[k + 1 if k + 1 < offsets[r + 1] else offsets[r]]]
                    nx, ny = a[1] - b[1], b[0] - a[0]
                    low, high = _clip(nx * (px - a[0]) + ny * (py - a[1]), nx * dx + ny * dy, low, high)
                for c in range(n_classes):
                    if c != i and c != j:
                        ex, ey = maps[r, i, 0] - maps[r, c, 0], maps[r, i, 1] - maps[r, c, 1]
                        low, high = _clip(
                            ex * px + ey * py + maps[r, i, 2] - maps[r, c, 2], ex * dx + ey * dy, low, high
                        )
                if low < high:
                    segments[n, 0], segments[n, 1] = px + low * dx, py + low * dy
                    segments[n, 2], segments[n, 3] = px + high * dx, py + high * dy
                    labels[n, 0], labels[n, 1], labels[n, 2] = r, i, j
                    n += 1
    return n


@njit(cache=True, inline="always")
def _clip(value, slope, low, high):
    """The part of low..high where value + slope * s >= 0."""
    if slope > 0:
        return max(low, -value / slope), high
    if slope < 0:
        return low, min(high, -value / slope)
    if value < 0:
        return np.inf, -np.inf
    return low, high
