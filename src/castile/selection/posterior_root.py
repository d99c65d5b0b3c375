"""Posterior covariance of the weights of a Gaussian process as labels are observed, block by block."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, eigh, solve_triangular

Float64Array = NDArray[np.float64]


class PosteriorRoot:
    """Symmetric-product square root X of the posterior covariance of the weights, C = X X^T.

    Starts as a unit matrix (whitened weights). Observing rows B with unit noise, Z = B X, multiplies it by
    (1 + Z^T Z)^(-1/2) = 1 - Z^T U g(s) U^T Z with Z Z^T = U s U^T and
    g(s) = 1 / (sqrt(1 + s) (1 + sqrt(1 + s))): no inverse, no difference of large numbers.
    """

    def __init__(self, n_columns: int) -> None:
        self.matrix = np.eye(n_columns)

    @classmethod
    def given(cls, gram: ArrayLike) -> Self:
        """Return the root after rows A were observed, L^-T with L L^T = 1 + A^T A; ``gram`` is A^T A."""
        precision = np.array(gram, dtype=np.float64)
        precision[np.diag_indices_from(precision)] += 1.0
        root = cls(0)
        lower = cholesky(precision, lower=True)
        root.matrix = solve_triangular(lower, np.eye(len(lower)), trans="T", lower=True)
        return root

    def whiten(self, rows: Float64Array) -> Float64Array:
        """Return Z = B X, so that Z Z^T is the covariance of what the rows B observe, (b, n_columns)."""
        return rows @ self.matrix

    def shrink(self, whitened: Float64Array, other: Float64Array) -> Float64Array:
        """Return ``other`` (k, n_columns) times (1 + Z^T Z)^(-1/2)."""
        if len(whitened) == 0:
            return other.copy()
        return other - (other @ whitened.T) @ _shrinkage(whitened) @ whitened

    def observe(self, whitened: Float64Array) -> None:
        """Take up the observation of the block whose Z = B X is ``whitened``."""
        self.matrix = self.shrink(whitened, self.matrix)


def _shrinkage(whitened: Float64Array) -> Float64Array:
    squares, vectors = eigh(whitened @ whitened.T)
    roots = np.sqrt(1.0 + np.maximum(squares, 0.0))
    return (vectors / (roots * (1.0 + roots))) @ vectors.T
