"""CUR selection from features that do not fit into memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from castile.selection.cur import RANK_TOLERANCE
from castile.selection.distances import FloatArray, IndexArray, make_pool
from castile.selection.farthest import farthest_points

Float64Array = NDArray[np.float64]

CHUNK = 2048


def streamed_cur_points(
    features: ArrayLike, n_select: int, *, seed: int = 0, initial: Sequence[int] | IndexArray = ()
) -> IndexArray:
    """Indices of points with the largest leverage left, reading ``features`` (such as a memory map) in parts.

    The choice of ``cur_points`` until its first round ends. The left singular vectors are rows times V / S,
    with V and S from the Gram matrix of the features, which is summed up in chunks. The leverage that a point
    has left only falls as others are chosen, so a lazy search needs few rows at every step. Memory: the
    square of the number of features (or of points, if fewer), and a number per point. After as many points
    as there are directions, those farthest from all chosen follow.

    Arguments and errors as of ``cur_points``.

    Source: Mahoney and Drineas, Proc. Natl. Acad. Sci. 106, 697 (2009), Eq. 3; Imbalzano et al., J. Chem.
    Phys. 148, 241730 (2018), sec. II B.

    """
    pool = make_pool(features, n_select, initial)
    n_points = len(pool.features)
    project = _projection(pool.features)
    left = np.empty(n_points)
    for first in range(0, n_points, CHUNK):
        part = pool.features[first : first + CHUNK].astype(np.float64) @ project
        left[first : first + len(part)] = np.einsum("ij,ij->i", part, part)
    basis = _Basis(project.shape[1])
    for index in pool.initial:
        basis.add(pool.features[index].astype(np.float64) @ project)
    left[pool.initial] = -np.inf
    known_at = np.full(n_points, -1)
    chosen: list[int] = []
    while len(chosen) < n_select and basis.count < project.shape[1]:
        best = int(np.argmax(left))
        if left[best] <= 1e-16:
            break
        rest = basis.rest(pool.features[best].astype(np.float64) @ project)
        if known_at[best] < len(chosen):
            left[best], known_at[best] = float(rest @ rest), len(chosen)
            continue
        basis.add(rest)
        chosen.append(best)
        left[best] = -np.inf
    before = np.concatenate([pool.initial, np.array(chosen, dtype=np.int64)])
    more = farthest_points(pool.features, n_select - len(chosen), seed=seed, initial=before)
    return np.concatenate([np.array(chosen, dtype=np.int64), more])


def _projection(features: FloatArray) -> Float64Array:
    """V / S of the singular values that count, (n_features, k), from the smaller Gram matrix.

    It is that of the features, summed up in chunks, or of the points where there are fewer: V = X^T U / S.
    """
    n_points, width = features.shape
    if n_points < width:
        rows = features[:].astype(np.float64)
        squares, vectors = eigh(rows @ rows.T)
        kept = squares > RANK_TOLERANCE * squares[-1]
        return np.asarray(rows.T @ vectors[:, kept] / squares[kept])
    gram = np.zeros((width, width))
    for first in range(0, n_points, CHUNK):
        part = features[first : first + CHUNK].astype(np.float64)
        gram += part.T @ part
    squares, vectors = eigh(gram)
    kept = squares > RANK_TOLERANCE * squares[-1]
    return np.asarray(vectors[:, kept] / np.sqrt(squares[kept]))


class _Basis:
    """Orthonormal directions of what was chosen."""

    def __init__(self, width: int) -> None:
        self.rows = np.empty((width, width))
        self.count = 0

    def rest(self, vector: Float64Array) -> Float64Array:
        """Return what is left of a vector; twice, against rounding."""
        known = self.rows[: self.count]
        vector = vector - known.T @ (known @ vector)
        return vector - known.T @ (known @ vector)

    def add(self, vector: Float64Array) -> None:
        """Add the direction of a vector, if there is any left."""
        rest = self.rest(vector)
        norm = float(np.linalg.norm(rest))
        if norm > 1e-8 and self.count < len(self.rows):
            self.rows[self.count] = rest / norm
            self.count += 1
