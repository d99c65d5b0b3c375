"""Points whose Euclidean distance is never larger than the distance of two structures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from castile.kernels.environments import Environments
from castile.splits.compression import Float64Array, Projection

N_QUANTILES = 12
N_MATCHED = 16


@dataclass(frozen=True)
class Embedded:
    """One structure made small.

    Attributes
    ----------
    points : ndarray, shape (n_rows, n_dimensions)
        Points of the search: one row, or one per atom.
    coordinates : ndarray of float32, shape (n_atoms, n_kept)
        Coordinates of the environments, where the kernel matches them; else no rows.
    remainders : ndarray of float32, shape (n_atoms,)
        Lengths of what the coordinates leave out, rounding included.
    scale : float
        Similarity with itself before normalization.
    """

    points: Float64Array
    coordinates: NDArray[np.float32]
    remainders: NDArray[np.float32]
    scale: float


def mean_points(environments: Environments, projection: Projection) -> Float64Array:
    """Return the point of the normalized mean descriptor, (1, n_kept + 1)."""
    mean = environments.mean
    return _points((mean / np.linalg.norm(mean))[None], projection)


def atom_points(environments: Environments, projection: Projection) -> Float64Array:
    """Return the points of the environments, (n_atoms, n_kept + 1)."""
    return _points(environments.features, projection)


def _points(X: Float64Array, projection: Projection) -> Float64Array:
    kept, lengths, _ = projection.apply(X)
    return np.column_stack([kept, lengths])


def matching_points(kept: Float64Array, mean_rest: float) -> Float64Array:
    r"""Return a point whose distance to another is at most that of the best match.

    Matching costs at least what it costs along each of a set of orthogonal directions alone, and there the
    best match is that of the sorted values, whose means over equal shares are compared:

    .. math:: d^2 = \min_P \sum_{ij} P_{ij} |p_i - p'_j|^2 \;\ge\; \sum_{v \le D} \frac1Q \sum_q
        (\bar x_{vq} - \bar x'_{vq})^2 + \sum_{v > D} (\bar y_v - \bar y'_v)^2 + (r - r')^2

    with x_vq the mean of the q-th share of the sorted coordinates along direction v, and mean coordinates
    beyond.

    Parameters
    ----------
    kept : ndarray, shape (n_atoms, n_kept)
        Coordinates of the environments.
    mean_rest : float
        Length of the mean of what they leave out.
    """
    sorted_values = np.sort(kept[:, :N_MATCHED], axis=0)
    shares = _shares(len(kept)) @ sorted_values / np.sqrt(N_QUANTILES)
    return np.concatenate([shares.ravel(), kept[:, N_MATCHED:].mean(axis=0), [mean_rest]])[None]


@lru_cache(maxsize=4096)
def _shares(n_atoms: int) -> Float64Array:
    """Weights (n_quantiles, n_atoms) of the mean of each equal share of sorted values."""
    edges = np.arange(N_QUANTILES + 1) / N_QUANTILES
    cells = np.arange(n_atoms + 1) / n_atoms
    low = np.maximum(edges[:-1, None], cells[None, :-1])
    high = np.minimum(edges[1:, None], cells[None, 1:])
    overlap: Float64Array = np.maximum(high - low, 0.0)
    return overlap / overlap.sum(axis=1, keepdims=True)
