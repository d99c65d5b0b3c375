"""Sampled energies of atoms at little cost where the kernel is a quadratic form of the SOAP vectors."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from castile.numerics.sampled_energies import quadratic_features

MOST_AXES = 80
_ROWS = 32  # whose products of features stay in cache
DROPPED = 1e-9
"""Mean square of what SOAP vectors may lose when they are projected on the axes."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QuadraticSamples:
    r"""Samples of quadratic functions on the principal axes of the sparse points.

    .. math:: g_s(p) = [\operatorname{vech}(q q^T), q, 1] \cdot B_s, \quad q = U^T (p - m)

    with m the mean sparse point. Differences from it are small, so single precision is enough.

    Attributes
    ----------
    axes : ndarray, shape (n_features, d)
        U.
    mean : ndarray, shape (n_features,)
        m.
    origin : ndarray, shape (d,)
        U^T m.
    mean_square : float
        |m|^2.
    coefficients : ndarray of float32, shape (d (d + 1) / 2 + d + 1, n_samples)
        B.
    tolerated : float
        Largest loss of a sparse point.
    """

    axes: Array
    mean: Array
    origin: Array
    mean_square: float
    coefficients: NDArray[np.float32]
    tolerated: float = 0.0

    def restricted(self, features: NDArray[np.int64]) -> "QuadraticSamples":
        """Return the samples for SOAP vectors of which only ``features`` are not zero."""
        return replace(self, axes=np.ascontiguousarray(self.axes[features]), mean=self.mean[features].copy())

    def values(self, spectra: NDArray[np.floating]) -> tuple[NDArray[np.float32], Array]:
        """Return g (n, n_samples) of SOAP vectors p (n, n_features), and how much more prior variance of unit
        amplitude is lost to the projection than at any sparse point, (n,).
        """
        q = spectra @ self.axes - self.origin
        single = q.astype(np.float32)
        values = np.empty((len(q), self.coefficients.shape[1]), dtype=np.float32)
        features = np.empty((_ROWS, len(self.coefficients)), dtype=np.float32)
        for begin in range(0, len(q), _ROWS):
            block = single[begin : begin + _ROWS]
            quadratic_features(block, features[: len(block)])
            np.matmul(features[: len(block)], self.coefficients, out=values[begin : begin + len(block)])
        return values, np.maximum(self.lost(spectra, q) - self.tolerated, 0.0)

    def lost(self, spectra: NDArray[np.floating], q: Array) -> Array:
        """Return |p p^T - p' p'^T|^2 with the projection p' = m + U q, (n,)."""
        along_mean = spectra @ self.mean
        squares = np.einsum("if,if->i", spectra, spectra)
        inside = np.einsum("id,id->i", q, q)
        left = np.maximum(squares - 2.0 * along_mean + self.mean_square - inside, 0.0)
        overlap = along_mean - self.mean_square - q @ self.origin
        projected = self.mean_square + 2.0 * (q @ self.origin) + inside
        lost = 2.0 * projected * left + 2.0 * overlap**2 + 4.0 * overlap * left + left**2
        return np.maximum(lost, 0.0)


@dataclass(frozen=True)
class QuadraticBasis:
    """Principal axes of sparse points, on which samples are written.

    Attributes
    ----------
    mean : ndarray, shape (n_features,)
    axes : ndarray, shape (n_features, d)
    """

    mean: Array
    axes: Array

    @classmethod
    def of(cls, points: Array) -> "QuadraticBasis":
        """Return as many axes as leave a mean square of 1e-9, at most 80."""
        mean = points.mean(axis=0)
        values, vectors = np.linalg.eigh((points - mean).T @ (points - mean) / len(points))
        left = np.cumsum(np.maximum(values, 0.0))
        d = int(np.clip(np.sum(left > DROPPED), 1, MOST_AXES))
        return cls(mean, np.ascontiguousarray(vectors[:, ::-1][:, :d]))

    def projected(self, points: Array) -> Array:
        """Return m + U U^T (p - m) of points (n, n_features)."""
        return self.mean + ((points - self.mean) @ self.axes) @ self.axes.T

    def kernel_sums(self, points: Array, weights: Array) -> Array:
        """Return B of sum_k w_k (p . p_k)^2 for weights (n_points, n_samples)."""
        t, c = points @ self.axes, points @ self.mean
        rows, columns = np.triu_indices(t.shape[1])
        double = np.where(rows == columns, 1.0, 2.0)
        quadratic = np.zeros((len(rows), weights.shape[1]))
        for begin in range(0, len(points), 512):
            block = slice(begin, begin + 512)
            quadratic += (t[block][:, rows] * t[block][:, columns] * double).T @ weights[block]
        linear = 2.0 * (t * c[:, None]).T @ weights
        return np.vstack([quadratic, linear, (c**2)[None] @ weights])

    def form(self, matrix: Array) -> Array:
        """Return B (size,) of p^T A p for a symmetric A (n_features, n_features)."""
        inner = self.axes.T @ matrix @ self.axes
        rows, columns = np.triu_indices(len(inner))
        quadratic = inner[rows, columns] * np.where(rows == columns, 1.0, 2.0)
        along = matrix @ self.mean
        return np.concatenate([quadratic, 2.0 * self.axes.T @ along, [self.mean @ along]])

    def samples(self, coefficients: Array, points: Array) -> QuadraticSamples:
        """Return the samples with these coefficients (size, n_samples); ``points`` are the sparse points."""
        origin = self.axes.T @ self.mean
        single = coefficients.astype(np.float32)
        found = QuadraticSamples(self.axes, self.mean, origin, float(self.mean @ self.mean), single)
        lost = found.lost(points, points @ self.axes - origin)
        return replace(found, tolerated=float(lost.max()))
