"""CUR selection: points that span the space of all points, by their leverage scores."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, orth, qr

from castile.selection.distances import FloatArray, IndexArray, make_pool

Float64Array = NDArray[np.float64]

RANK_TOLERANCE = 1e-8
"""Squared singular values below this times the largest do not count."""


def cur_points(
    features: ArrayLike, n_select: int, *, seed: int = 0, initial: Sequence[int] | IndexArray = ()
) -> IndexArray:
    """Indices of points with the largest leverage, orthogonalized against those chosen before.

    X = U S V^T over the k singular values that count; the leverage of point i is |U_i|^2. The point with the
    largest one is chosen, its direction is projected out of all U_i, and so on (QR with column pivoting of
    U^T). After k points nothing is left of U, and a new round starts with the points that remain.

    Arguments:
        features: (n, d).
        n_select: number of new points; duplicates of chosen points are left out, so that fewer can be
            returned; all distinct points when it exceeds n.
        seed: not used; the choice is deterministic. It is here so that all selectors are called alike.
        initial: indices chosen before; they are projected out first and not returned.

    Raises InputError for no points, numbers that are not finite, or indices out of range.

    Source: Mahoney and Drineas, Proc. Natl. Acad. Sci. 106, 697 (2009), Eq. 3 (leverage scores); Imbalzano et
    al., J. Chem. Phys. 148, 241730 (2018), sec. II B (orthogonalization).

    """
    del seed
    pool = make_pool(features, n_select, initial)
    scores = _left_singular_vectors(pool.features)
    if 0 < len(pool.initial) < scores.shape[1]:
        basis = orth(scores[pool.initial].T)
        scores = scores - (scores @ basis) @ basis.T
    distances = pool.distances_to(pool.initial)
    remaining = np.flatnonzero(distances > pool.tolerance)
    chosen: list[int] = []
    while len(chosen) < n_select and len(remaining):
        order = remaining[_pivots(scores[remaining], n_select - len(chosen))]
        before = len(chosen)
        chosen = pool.take_distinct(order, n_select, chosen)
        pool.lower_distances(distances, np.array(chosen[before:], dtype=np.int64))
        remaining = np.flatnonzero(distances > pool.tolerance)
        if before == 0:
            scores = _left_singular_vectors(pool.features)
    return np.array(chosen, dtype=np.int64)


def _left_singular_vectors(features: FloatArray) -> Float64Array:
    """U (n, k) of the singular values that count, from the smaller of the two Gram matrices."""
    X = features.astype(np.float64, copy=False)
    if X.shape[0] <= X.shape[1]:
        squares, vectors = eigh(X @ X.T)
        return vectors[:, squares > RANK_TOLERANCE * squares[-1]]
    squares, vectors = eigh(X.T @ X)
    keep = squares > RANK_TOLERANCE * squares[-1]
    return X @ (vectors[:, keep] / np.sqrt(squares[keep]))


def _pivots(scores: Float64Array, n_missing: int) -> NDArray[np.intp]:
    """Rows in the order of greedy orthogonalization; all rows when no direction is left in them."""
    if scores.shape[1] == 0:
        return np.arange(len(scores))
    triangle, order = qr(scores.T, mode="r", pivoting=True, check_finite=False)
    sizes = np.abs(np.diagonal(triangle))
    n_pivots = int(np.count_nonzero(sizes > 1e-8 * max(float(sizes[0]), 1e-300)))
    return order[: min(n_pivots, n_missing)] if n_pivots else np.arange(len(scores))
