"""Compiled: where the units cross the mesh's edges. Each edge is cut once, so both its faces share the new vertices."""

from typing import NamedTuple

import numpy as np
from numba import njit

from splinegeo._kernel import kernel


class Cuts(NamedTuple):
    """The crossings of each edge in compressed rows, ordered from its first to its second vertex; coincident ones
    share a vertex.

    Edge e is crossed by `unit[start[e]:start[e + 1]]`; entry i meets the new vertex number `first_vertex[e] + rank[i]`
    (counted from the first vertex of this subdivision), and the edge falls into `first_vertex[e + 1] - first_vertex[e]
    + 1` pieces.
    """

    start: np.ndarray  # (E + 1,) int64
    unit: np.ndarray  # (n,) int32
    parameter: np.ndarray  # (n,) float64: 0 at the edge's first vertex, 1 at its second
    rank: np.ndarray  # (n,) int32
    value_a: np.ndarray  # (n,) float64: the unit's value at the edge's first vertex
    value_b: np.ndarray  # (n,) float64
    first_vertex: np.ndarray  # (E + 1,) int64


@njit(cache=True, inline="always")
def _is_owned(side, edge_faces):
    """Of the one or two faces of an edge, its left one (or the only one) reports the crossings."""
    return (side & 1) == 0 or edge_faces[side >> 1, 0] < 0


@kernel
def count_edge_crossings(offsets, sides, edge_faces, crossings, begin, end, counts):
    """Number of units that change sign strictly along each edge of faces begin..end."""
    for f in range(begin, end):
        k = crossings.start[f + 1] - crossings.start[f]
        if k == 0:
            continue
        n_corners = offsets[f + 1] - offsets[f]
        for i in range(n_corners):
            side = sides[offsets[f] + i]
            if not _is_owned(side, edge_faces):
                continue
            here = crossings.value_start[f] + i * k
            there = crossings.value_start[f] + ((i + 1) % n_corners) * k
            n = 0
            for j in range(k):
                if _opposite(crossings.values[here + j], crossings.values[there + j]):
                    n += 1
            counts[side >> 1] = n


@njit(cache=True, inline="always")
def _opposite(a, b):
    """Strictly opposite signs (the sign of the product would underflow)."""
    return (a > 0 and b < 0) or (a < 0 and b > 0)


@kernel
def fill_edge_crossings(
    vertices, edges, offsets, sides, edge_faces, crossings, tolerance, closeness, begin, end, cuts, counts
):
    """Order the crossings along each edge of faces begin..end, cluster the coincident ones; `counts` gets the new
    vertices of each edge.
    """
    for f in range(begin, end):
        k = crossings.start[f + 1] - crossings.start[f]
        if k == 0:
            continue
        n_corners = offsets[f + 1] - offsets[f]
        for i in range(n_corners):
            side = sides[offsets[f] + i]
            edge = side >> 1
            if not _is_owned(side, edge_faces) or cuts.start[edge] == cuts.start[edge + 1]:
                continue
            at_a = crossings.value_start[f] + i * k
            at_b = crossings.value_start[f] + ((i + 1) % n_corners) * k
            if side & 1:
                at_a, at_b = at_b, at_a
            n = cuts.start[edge]
            for j in range(k):
                a = crossings.values[at_a + j]
                b = crossings.values[at_b + j]
                if _opposite(a, b):
                    _insert_sorted(cuts, cuts.start[edge], n, crossings.units[crossings.start[f] + j], a, b)
                    n += 1
            a_end, b_end = edges[edge, 0], edges[edge, 1]
            run_x = vertices[b_end, 0] - vertices[a_end, 0]
            run_y = vertices[b_end, 1] - vertices[a_end, 1]
            length = np.sqrt(run_x * run_x + run_y * run_y)
            counts[edge] = _cluster(cuts, cuts.start[edge], n, tolerance, closeness / length)


@njit(cache=True, inline="always")
def _insert_sorted(cuts, first, n, unit, a, b):
    s = a / (a - b)
    i = n
    while i > first and cuts.parameter[i - 1] > s:
        cuts.parameter[i] = cuts.parameter[i - 1]
        cuts.unit[i] = cuts.unit[i - 1]
        cuts.value_a[i] = cuts.value_a[i - 1]
        cuts.value_b[i] = cuts.value_b[i - 1]
        i -= 1
    cuts.parameter[i] = s
    cuts.unit[i] = unit
    cuts.value_a[i] = a
    cuts.value_b[i] = b


@njit(cache=True, inline="always")
def coincide(s, a, b, tolerance_1, t, c, d, tolerance_2, closeness):
    """Two crossings of one segment coincide: they are close, or each unit vanishes within its tolerance at the other's
    crossing.
    """
    if abs(t - s) <= closeness:
        return True
    return abs((1.0 - t) * a + t * b) <= tolerance_1 and abs((1.0 - s) * c + s * d) <= tolerance_2


@njit(cache=True, inline="always")
def _cluster(cuts, first, end, tolerance, closeness):
    """Number the clusters of coincident crossings along one edge; its members get the parameter of their first."""
    rank = 0
    cuts.rank[first] = 0
    for i in range(first + 1, end):
        together = coincide(
            cuts.parameter[i - 1], cuts.value_a[i - 1], cuts.value_b[i - 1], tolerance[cuts.unit[i - 1]],
            cuts.parameter[i], cuts.value_a[i], cuts.value_b[i], tolerance[cuts.unit[i]], closeness,
        )  # fmt: skip
        if together:
            cuts.parameter[i] = cuts.parameter[i - 1]
        else:
            rank += 1
        cuts.rank[i] = rank
    return rank + 1


@kernel
def count_edge_kinks(cuts, begin, end):
    """Number of kinks of all vertices born on edges begin..end: each has one for every unit that crosses its edge."""
    n = 0
    for edge in range(begin, end):
        n += (cuts.start[edge + 1] - cuts.start[edge]) * (cuts.first_vertex[edge + 1] - cuts.first_vertex[edge])
    return n


@kernel
def cut_edges(mesh_vertices, edges, edge_labels, cuts, begin, end, slopes, kink, offspring, parameters, births):
    """Cut edges begin..end: their new vertices, with births whose kinks begin at `kink`, and their pieces.

    Piece r of edge e becomes edge e + first_vertex[e] + r, with e's label, and no faces yet.
    """
    n_older = mesh_vertices.shape[0]
    points, new_edges, new_labels, new_faces = (
        offspring.vertices, offspring.edges, offspring.edge_labels, offspring.edge_faces,
    )  # fmt: skip
    for edge in range(begin, end):
        a, b = edges[edge, 0], edges[edge, 1]
        first, first_born, end_born = cuts.start[edge], cuts.first_vertex[edge], cuts.first_vertex[edge + 1]
        for i in range(first, cuts.start[edge + 1]):
            parameters[first_born + cuts.rank[i]] = cuts.parameter[i]
        piece, previous = edge + first_born, a
        for born in range(first_born, end_born):
            s = parameters[born]
            points[born, 0] = (1.0 - s) * mesh_vertices[a, 0] + s * mesh_vertices[b, 0]
            points[born, 1] = (1.0 - s) * mesh_vertices[a, 1] + s * mesh_vertices[b, 1]
            if births.ends.shape[0] > 0:
                kink = _record_birth(edge, born, a, b, s, cuts, slopes, kink, births)
            new_edges[piece, 0], new_edges[piece, 1] = previous, n_older + born
            previous = n_older + born
            piece += 1
        new_edges[piece, 0], new_edges[piece, 1] = previous, b
        for i in range(edge + first_born, piece + 1):
            new_labels[i, 0], new_labels[i, 1] = edge_labels[edge, 0], edge_labels[edge, 1]
            new_faces[i, 0], new_faces[i, 1] = -1, -1


@njit(cache=True, nogil=True, inline="always")
def _record_birth(edge, born, a, b, s, cuts, slopes, kink, births):
    """Ends and kinks of a vertex born on an edge; returns where the next kink is written."""
    births.ends[born, 0], births.ends[born, 1] = a, b
    births.kink_start[born] = kink
    births.kink_count[born] = 0
    if births.kink.shape[0] == 0:
        return kink
    for i in range(cuts.start[edge], cuts.start[edge + 1]):
        births.kink_unit[kink] = cuts.unit[i]
        births.kink[kink] = kink_of(s, cuts.value_a[i], cuts.value_b[i], slopes[cuts.unit[i]])
        kink += 1
    births.kink_count[born] = cuts.start[edge + 1] - cuts.start[edge]
    return kink


@njit(cache=True, inline="always")
def kink_of(s, a, b, slope):
    """sigma(z(x)) - (1 - s) sigma(z(u)) - s sigma(z(w)) for z affine from a at u to b at w, x at s between, sigma with
    this slope below 0.
    """
    z = (1.0 - s) * a + s * b
    return _unit(z, slope) - (1.0 - s) * _unit(a, slope) - s * _unit(b, slope)


@njit(cache=True, inline="always")
def _unit(z, slope):
    return z if z > 0 else slope * z
