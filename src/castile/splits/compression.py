"""Few coordinates for long descriptors, with what they leave out as a number: bounds instead of guesses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    r"""Orthonormal coordinates y = V^T (x - c) and the length r of the rest.

    Two vectors keep their distance within

    .. math:: |y - y'|^2 + (r - r')^2 \;\le\; |x - x'|^2 \;\le\; |y - y'|^2 + (r + r')^2

    whatever the projection, so a poor one costs time but never a pair.

    Parameters
    ----------
    center : ndarray, shape (n_features,)
    basis : ndarray, shape (n_features, n_kept)
    """

    center: Float64Array
    basis: Float64Array

    @property
    def n_kept(self) -> int:
        """Number of coordinates."""
        return int(self.basis.shape[1])

    def apply(self, X: Float64Array) -> tuple[Float64Array, Float64Array, float]:
        """Return (coordinates (n, n_kept), lengths of the rest (n,), length of the mean rest) of rows."""
        centered = X - self.center
        kept = centered @ self.basis
        squares = np.einsum("nf,nf->n", centered, centered) - np.einsum("nk,nk->n", kept, kept)
        rest = centered.mean(axis=0) - kept.mean(axis=0) @ self.basis.T
        return kept, np.sqrt(np.maximum(squares, 0.0)), float(np.linalg.norm(rest))


def principal_projection(sample: Float64Array, most: int, tolerance: float = 1e-4) -> Projection:
    """Return the leading principal directions of a sample.

    Parameters
    ----------
    sample : ndarray, shape (n, n_features)
    most : int
        Largest number of directions.
    tolerance : float
        Root mean square length of the rest at which fewer directions do.
    """
    center = sample.mean(axis=0)
    centered = sample - center
    n, n_features = centered.shape
    if n_features <= n:
        values, vectors = np.linalg.eigh(centered.T @ centered / n)
        basis = vectors[:, ::-1]
        values = values[::-1]
    else:
        values, left = np.linalg.eigh(centered @ centered.T / n)
        values, left = values[::-1], left[:, ::-1]
        used = values > 1e-13 * max(float(values[0]), 1e-300)
        values, left = values[used], left[:, used]
        basis = centered.T @ left
    rest = np.maximum(values[::-1].cumsum()[::-1], 0.0)  # rest[k]: variance beyond the first k directions
    enough = int(np.searchsorted(-rest, -(tolerance**2)))
    kept = max(1, min(most, enough, basis.shape[1])) if basis.shape[1] else 0
    if kept == 0:
        return Projection(center, np.zeros((n_features, 0)))
    orthonormal, _ = np.linalg.qr(basis[:, :kept])
    return Projection(center, np.ascontiguousarray(orthonormal))
