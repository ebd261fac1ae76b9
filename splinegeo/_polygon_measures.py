"""Compiled: in-radius, corners and convexity of the convex faces of a mesh."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def inscribed_radii(
    vertices: np.ndarray,
    offsets: np.ndarray,
    corners: np.ndarray,
    faces: np.ndarray,
    begin: int,
    end: int,
    radii: np.ndarray,
) -> None:
    """Radius of the largest circle inside each of the convex faces `faces[begin:end]`.

    The sides move inwards at unit speed; at each event the side that has shrunk to a point leaves. The face has
    vanished, and the time is its in-radius, when the neighbours of a leaving side do not turn towards each other.
    """
    longest = 0
    for f in faces[begin:end]:
        longest = max(longest, offsets[f + 1] - offsets[f])
    direction = np.empty((longest, 2))
    length = np.empty(longest)
    shrinking = np.empty(longest)  # half-angle tangents at both ends of the side: the speed at which it shrinks
    before = np.empty(longest, dtype=np.int64)
    after = np.empty(longest, dtype=np.int64)
    for place in range(begin, end):
        first, last = offsets[faces[place]], offsets[faces[place] + 1]
        n = _sides(vertices, corners, first, last, direction, length)
        for k in range(n):
            before[k] = k - 1 if k else n - 1
            after[k] = k + 1 if k + 1 < n else 0
        for k in range(n):
            shrinking[k] = _half_tangent(direction, before[k], k) + _half_tangent(direction, k, after[k])
        radii[place] = _collapse(direction, length, shrinking, before, after, n) if n >= 3 else 0.0


@njit(cache=True, nogil=True)
def _sides(
    vertices: np.ndarray, corners: np.ndarray, first: int, last: int, direction: np.ndarray, length: np.ndarray
) -> int:
    """Unit directions and lengths of a loop's sides without those of no length; returns their number."""
    n = 0
    a = vertices[corners[first]]
    for k in range(first, last):
        b = vertices[corners[k + 1 if k + 1 < last else first]]
        dx, dy = b[0] - a[0], b[1] - a[1]
        size = np.hypot(dx, dy)
        if size > 0.0:
            direction[n, 0], direction[n, 1], length[n] = dx / size, dy / size, size
            n += 1
            a = b
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def _half_tangent(direction: np.ndarray, i: int, j: int) -> float:
    """The tangent of half the angle by which side j turns from side i."""
    cross = direction[i, 0] * direction[j, 1] - direction[i, 1] * direction[j, 0]
    dot = direction[i, 0] * direction[j, 0] + direction[i, 1] * direction[j, 1]
    if cross <= 0.0:
        return 0.0 if dot > 0.0 else np.inf
    return cross / (1.0 + dot) if dot > 0.0 else (1.0 - dot) / cross


@njit(cache=True, nogil=True, error_model="numpy")
def _collapse(
    direction: np.ndarray, length: np.ndarray, shrinking: np.ndarray, before: np.ndarray, after: np.ndarray, n: int
) -> float:
    """The time at which the loop vanishes. `length` is that of each side at the time of the last event."""
    time = 0.0
    some_side = 0
    while True:
        shortest = np.inf
        leaving = -1
        k = some_side
        for _ in range(n):
            if shrinking[k] > 0.0 and length[k] / shrinking[k] < shortest:
                shortest = length[k] / shrinking[k]
                leaving = k
            k = after[k]
        if leaving < 0:  # a face without area, all of whose sides run the same way
            return time
        time += shortest
        left, right = before[leaving], after[leaving]
        n -= 1
        if n < 3 or _face_each_other(direction, left, right):
            return time
        k = right
        for _ in range(n):
            length[k] = max(0.0, length[k] - shortest * shrinking[k])
            k = after[k]
        after[left], before[right] = right, left
        for side in (left, right):
            shrinking[side] = _half_tangent(direction, before[side], side) + _half_tangent(direction, side, after[side])
        some_side = right


@njit(cache=True, nogil=True)
def _face_each_other(direction: np.ndarray, left: int, right: int) -> bool:
    """The right side turns from the left one by a half turn or more, so that moving inwards they never meet again."""
    cross = direction[left, 0] * direction[right, 1] - direction[left, 1] * direction[right, 0]
    dot = direction[left, 0] * direction[right, 0] + direction[left, 1] * direction[right, 1]
    return cross <= 0.0 and dot < 0.0


@njit(cache=True, nogil=True)
def count_turns(
    vertices: np.ndarray,
    offsets: np.ndarray,
    corners: np.ndarray,
    sides: np.ndarray,
    edge_labels: np.ndarray,
    faces: np.ndarray,
    straight: float,
    n_corners: np.ndarray,
) -> None:
    """Number of corners of each face at which its border turns; 0 for a face no wider than `straight`.

    It does not where both sides lie on one unit's zero set, nor where the corner is within `straight` of the line
    through its neighbours: of such corners the nearest is left out first, so that of two at one place one is counted.
    """
    longest = 0
    for f in faces:
        longest = max(longest, offsets[f + 1] - offsets[f])
    loop = np.empty(longest, dtype=np.int64)
    for place in range(faces.shape[0]):
        first, last = offsets[faces[place]], offsets[faces[place] + 1]
        n = 0
        for k in range(first, last):
            one, other = edge_labels[sides[k - 1 if k > first else last - 1] >> 1], edge_labels[sides[k] >> 1]
            if one[0] < 0 or one[0] != other[0] or one[1] != other[1]:
                loop[n] = corners[k]
                n += 1
        while n > 2:
            lowest = np.inf
            leaving = -1
            for k in range(n):
                before, after = loop[k - 1 if k else n - 1], loop[k + 1 if k + 1 < n else 0]
                height = _height(vertices[before], vertices[loop[k]], vertices[after])
                if height < lowest:
                    lowest, leaving = height, k
            if lowest > straight:
                break
            n -= 1
            loop[leaving:n] = loop[leaving + 1 : n + 1]
        n_corners[place] = n if n > 2 else 0


@njit(cache=True, nogil=True)
def deepest_dents(
    vertices: np.ndarray, offsets: np.ndarray, corners: np.ndarray, begin: int, end: int, dents: np.ndarray
) -> None:
    """How far the deepest corner of each face begin..end dents it: 0 for a convex face, counter-clockwise.

    As far as one corner of three in a row would have to move for them not to turn clockwise: between neighbours that
    are as near as rounding, the distance of a corner from the line through them would say nothing.
    """
    for f in range(begin, end):
        first, last = offsets[f], offsets[f + 1]
        deepest = 0.0
        for k in range(first, last):
            previous = corners[k - 1 if k > first else last - 1]
            following = corners[k + 1 if k + 1 < last else first]
            deepest = max(deepest, -_least_altitude(vertices[previous], vertices[corners[k]], vertices[following]))
        dents[f] = deepest


@njit(cache=True, nogil=True, inline="always")
def _height(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Distance of b from the line through a and c; positive if a, b, c turn counter-clockwise."""
    run = np.hypot(c[0] - a[0], c[1] - a[1])
    doubled = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
    return doubled / run if run > 0.0 else np.hypot(b[0] - a[0], b[1] - a[1])


@njit(cache=True, nogil=True, inline="always")
def _least_altitude(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Least altitude of a triangle; positive if a, b, c turn counter-clockwise."""
    doubled = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
    longest = max(np.hypot(b[0] - a[0], b[1] - a[1]), np.hypot(c[0] - b[0], c[1] - b[1]))
    longest = max(longest, np.hypot(c[0] - a[0], c[1] - a[1]))
    return doubled / longest if longest > 0.0 else 0.0
