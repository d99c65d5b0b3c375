"""Random functions with exactly the prior covariance of a SOAP term, for samples that do not collapse."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PolynomialPaths:
    r"""Samples of a random function of power spectra.

    .. math:: z(p) = P^{-1/2} \sum_{q=1}^P \prod_{a=1}^\zeta \omega_{qa} \cdot p,
        \quad \omega \sim N(0, I) \quad\Rightarrow\quad E[z(p) z(q)] = (p \cdot q)^\zeta

    Attributes
    ----------
    directions : ndarray, shape (n_features, n_samples, P, zeta)
        The omega.

    Source: Kar, Karnick, AISTATS, 583 (2012): random features of dot-product kernels; the mean of P products
    is closer to a Gaussian.
    """

    directions: Array

    @classmethod
    def draw(
        cls, n_samples: int, n_products: int, zeta: int, n_features: int, generator: np.random.Generator
    ) -> "PolynomialPaths":
        """Return independent samples."""
        return cls(generator.standard_normal((n_features, n_samples, n_products, zeta)))

    def restricted(self, features: NDArray[np.int64]) -> "PolynomialPaths":
        """Return the same functions of spectra of which only ``features`` are not zero."""
        return PolynomialPaths(np.ascontiguousarray(self.directions[features]))

    def values(self, spectra: NDArray[np.floating]) -> Array:
        """Return z (n, n_samples) of spectra (n, n_features)."""
        return np.asarray(self._factors(spectra).prod(axis=3).mean(axis=2) * self._scale)

    def gradient(self, spectra: NDArray[np.floating], sample: int) -> Array:
        """Return dz/dp (n, n_features) of one sample."""
        directions = self.directions[:, sample]
        factors = np.tensordot(spectra, directions, axes=1)
        slopes = np.empty_like(factors)
        for a in range(factors.shape[2]):
            slopes[:, :, a] = np.delete(factors, a, axis=2).prod(axis=2)
        flat = directions.reshape(len(directions), -1)
        return np.asarray(slopes.reshape(len(spectra), -1) @ flat.T / math.sqrt(directions.shape[1]))

    @property
    def _scale(self) -> float:
        return math.sqrt(self.directions.shape[2])

    def _factors(self, spectra: NDArray[np.floating]) -> Array:
        flat = self.directions.reshape(len(self.directions), -1)
        return (spectra @ flat).reshape(len(spectra), *self.directions.shape[1:])
