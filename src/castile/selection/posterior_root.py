"""Posterior covariance of the weights of a Gaussian process as labels are observed, block by block."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from castile.selection.principal_rows import principal_rows

Float64Array = NDArray[np.float64]


class PosteriorRoot:
    """Symmetric-product square root X of the posterior covariance of the weights, C = X X^T.

    Starts as a unit matrix (whitened weights). Observing rows B with unit noise, Z = B X, multiplies it by
    (1 + Z^T Z)^(-1/2) = 1 - Y^T g(s) Y with Z Z^T = U s U^T, Y = U^T Z and
    g(s) = 1 / (sqrt(1 + s) (1 + sqrt(1 + s))): no inverse, no difference of large numbers.
    """

    def __init__(self, n_columns: int) -> None:
        self.matrix = np.eye(n_columns)

    @classmethod
    def given(cls, factor: ArrayLike) -> Self:
        """Return the root after rows A were observed, R^-1; ``factor`` is R, triangular, R^T R = 1 + A^T A.

        R comes from a QR factorization of the unit matrix above A: the product A^T A would lose what precise
        labels leave open.
        """
        triangle = np.array(factor, dtype=np.float64)
        root = cls(0)
        root.matrix = solve_triangular(triangle, np.eye(len(triangle)))
        return root

    def whiten(self, rows: Float64Array) -> Float64Array:
        """Return Z = B X, so that Z Z^T is the covariance of what the rows B observe, (b, n_columns)."""
        return rows @ self.matrix

    def shrink(self, whitened: Float64Array, other: Float64Array) -> Float64Array:
        """Return ``other`` (k, n_columns) times (1 + Z^T Z)^(-1/2)."""
        if len(whitened) == 0:
            return other.copy()
        squares, rows = principal_rows(whitened)
        roots = np.sqrt(1.0 + squares)
        return other - ((other @ rows.T) / (roots * (1.0 + roots))) @ rows

    def observe(self, whitened: Float64Array) -> None:
        """Take up the observation of the block whose Z = B X is ``whitened``."""
        self.matrix = self.shrink(whitened, self.matrix)
