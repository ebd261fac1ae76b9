"""Compiled: areas that convex polygons share with a disc."""

import numpy as np
from numba import njit

# Below this angle x - sin x loses digits, and four terms of its series are exact to rounding.
_SMALL_ANGLE = 0.2


@njit(cache=True, nogil=True)
def overlap_disc(
    vertices: np.ndarray,
    offsets: np.ndarray,
    corners: np.ndarray,
    faces: np.ndarray,
    center: np.ndarray,
    radius: float,
    distances: np.ndarray,
    overlaps: np.ndarray,
) -> None:
    """Distance of each of the faces from a disc's center (0: it holds the center), and the area that both share.

    A face inside the disc shares all its area, and gets infinity.
    """
    longest = 0
    for f in faces:
        longest = max(longest, offsets[f + 1] - offsets[f])
    loop = np.empty((longest, 2))
    for i in range(faces.shape[0]):
        first, n = offsets[faces[i]], offsets[faces[i] + 1] - offsets[faces[i]]
        farthest = 0.0
        for k in range(n):
            vertex = vertices[corners[first + k]]
            loop[k, 0], loop[k, 1] = vertex[0] - center[0], vertex[1] - center[1]
            farthest = max(farthest, loop[k, 0] ** 2 + loop[k, 1] ** 2)
        distances[i] = _distance_from_origin(loop, n)
        if distances[i] >= radius:
            overlaps[i] = 0.0
        elif farthest <= radius * radius:
            overlaps[i] = np.inf
        else:
            overlaps[i] = _central_overlap(loop, n, radius)


@njit(cache=True, nogil=True, inline="always")
def _cross(ax: float, ay: float, bx: float, by: float) -> float:
    return ax * by - ay * bx


@njit(cache=True, nogil=True)
def _distance_from_origin(loop: np.ndarray, n: int) -> float:
    """Distance of a convex loop from the origin; 0 if it holds the origin.

    It does if a ray meets an odd number of sides: the line of a side as short as rounding runs anywhere.
    """
    inside = False
    nearest = np.inf
    for k in range(n):
        ax, ay = loop[k, 0], loop[k, 1]
        following = k + 1 if k + 1 < n else 0
        bx, by = loop[following, 0], loop[following, 1]
        # Both faces of a side ask it of the same two points in the same order.
        upwards = ay <= 0.0 < by and _cross(ax, ay, bx - ax, by - ay) > 0.0
        downwards = by <= 0.0 < ay and _cross(bx, by, ax - bx, ay - by) > 0.0
        if upwards or downwards:
            inside = not inside
        dx, dy = bx - ax, by - ay
        squared = dx * dx + dy * dy
        if squared == 0.0:
            continue
        s = min(1.0, max(0.0, -(ax * dx + ay * dy) / squared))
        nearest = min(nearest, (ax + s * dx) ** 2 + (ay + s * dy) ** 2)
    return 0.0 if inside else np.sqrt(nearest)


@njit(cache=True, nogil=True)
def _central_overlap(loop: np.ndarray, n: int, radius: float) -> float:
    """Area that a convex loop shares with the disc of this radius about the origin.

    The shared part is a polygon, made of the parts of the loop's sides inside the circle and of the chords between
    them, with a circular segment over each chord. The angle of each segment is what the sides outside the circle turn
    about the origin: a sum of angles below π, so that it needs no case for arcs longer than half the circle.
    """
    doubled = 0.0
    segments = 0.0
    angle = 0.0  # of the sides outside since the last exit from the disc
    first_angle = 0.0  # of those before the first entry
    x0, y0 = 0.0, 0.0  # the first point inside: the polygon's triangles are taken from here
    x, y = 0.0, 0.0
    entered = False
    for k in range(n):
        ax, ay = loop[k, 0], loop[k, 1]
        following = k + 1 if k + 1 < n else 0
        bx, by = loop[following, 0], loop[following, 1]
        dx, dy = bx - ax, by - ay
        squared = dx * dx + dy * dy
        if squared == 0.0:
            continue
        a_inside = ax * ax + ay * ay <= radius * radius
        b_inside = bx * bx + by * by <= radius * radius
        foot = -(ax * dx + ay * dy) / squared
        height = _cross(ax, ay, dx, dy)
        rest = radius * radius - height * height / squared
        half_chord = np.sqrt(max(0.0, rest) / squared)
        if not a_inside and not b_inside and (rest <= 0.0 or foot <= 0.0 or foot >= 1.0):
            angle += np.arctan2(_cross(ax, ay, bx, by), ax * bx + ay * by)
            continue
        start = 0.0 if a_inside else min(1.0, max(0.0, foot - half_chord))
        end = 1.0 if b_inside else min(1.0, max(0.0, foot + half_chord))
        px, py = ax + start * dx, ay + start * dy
        qx, qy = (bx, by) if b_inside else (ax + end * dx, ay + end * dy)
        if not a_inside:
            angle += np.arctan2(_cross(ax, ay, px, py), ax * px + ay * py)
            if entered:
                segments += _excess(angle)
            else:
                first_angle = angle
        if not entered:
            x0, y0 = px, py
            entered = True
        else:
            doubled += _cross(x - x0, y - y0, px - x0, py - y0)
        doubled += _cross(px - x0, py - y0, qx - x0, qy - y0)
        x, y = qx, qy
        angle = 0.0 if b_inside else np.arctan2(_cross(qx, qy, bx, by), qx * bx + qy * by)
    if not entered:  # the circle lies inside the loop, or outside
        return np.pi * radius * radius if angle > np.pi else 0.0
    segments += _excess(angle + first_angle)
    return max(0.0, (doubled + radius * radius * segments) / 2)


@njit(cache=True, nogil=True)
def _excess(angle: float) -> float:
    """x - sin x: twice the area of the circular segment of the unit circle over this angle."""
    if abs(angle) > _SMALL_ANGLE:
        return angle - np.sin(angle)
    squared = angle * angle
    return angle * squared / 6 * (1 - squared / 20 * (1 - squared / 42 * (1 - squared / 72 * (1 - squared / 110))))
