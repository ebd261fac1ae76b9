"""Compiled: a walk over all regions from neighbour to neighbour, and a matrix that changes by rank one at each step."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def cover_by_paths(start, neighbour, edge, longest, order, via):
    """Cover a graph by paths: `order` lists the nodes path after path, `via` the edge taken to each, -1 for a path's
    first.

    A path goes on to the unvisited neighbour that has the fewest unvisited neighbours itself, for at most `longest`
    nodes.
    """
    n_nodes = start.shape[0] - 1
    visited = np.zeros(n_nodes, dtype=np.bool_)
    free = np.empty(n_nodes, dtype=np.int32)
    for node in range(n_nodes):
        free[node] = start[node + 1] - start[node]
    n = 0
    for first in range(n_nodes):
        if visited[first]:
            continue
        node, through, length = first, -1, 0
        while node >= 0:
            visited[node] = True
            order[n], via[n] = node, through
            n += 1
            length += 1
            following, through, fewest = -1, -1, 1 << 30
            for k in range(start[node], start[node + 1]):
                other = neighbour[k]
                free[other] -= 1
                if not visited[other] and free[other] < fewest:
                    following, through, fewest = other, edge[k], free[other]
            node = following if length < longest else -1


@njit(cache=True, nogil=True)
def walk_squares(is_first, firsts, outer, inner, squares):
    """Squared Frobenius norms along paths: a path's first matrix is given, each step adds outer ⊗ inner."""
    matrix = np.empty((outer.shape[1], inner.shape[1]))
    given = -1
    for i in range(outer.shape[0]):
        given += is_first[i]
        _step(matrix, is_first[i], firsts, given, outer, inner, i)
        total = 0.0
        for a in range(matrix.shape[0]):
            for b in range(matrix.shape[1]):
                total += matrix[a, b] * matrix[a, b]
        squares[i] = total


@njit(cache=True, nogil=True)
def walk_grams(is_first, firsts, outer, inner, grams):
    """Gram matrices M Mᵀ along the same paths."""
    matrix = np.empty((outer.shape[1], inner.shape[1]))
    given = -1
    for i in range(outer.shape[0]):
        given += is_first[i]
        _step(matrix, is_first[i], firsts, given, outer, inner, i)
        grams[i] = matrix @ matrix.T


@njit(cache=True, nogil=True)
def _step(matrix, is_first, firsts, given, outer, inner, i):
    for a in range(matrix.shape[0]):
        factor = outer[i, a]
        for b in range(matrix.shape[1]):
            matrix[a, b] = firsts[given, a, b] if is_first else matrix[a, b] + factor * inner[i, b]
