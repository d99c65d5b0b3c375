"""Learning curves: a power law whose exponent may drift, and what that means beyond the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.stats import norm

from castile.errors import InputError

Float64Array = NDArray[np.float64]
_SLOPE = (-0.35, 0.3)  # normal prior of the exponent: mean, deviation
_PRIORS = ((np.log(0.12), 0.6), (np.log(0.05), 0.8), (np.log(0.1), 0.8))  # drift, scatter, seeds: of logs
_VAGUE = 10.0
_SAMPLES = 2000
_GRID_STEP = 0.08
FEWEST_SIZES = 3


@dataclass(frozen=True)
class Estimate:
    """A number with the interval that holds it with the wanted probability."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    r"""Posterior of the error as a function of the number of labels.

    .. math::

        \ln e_{ij} = \alpha + \beta x_i + g(x_i) + s_j + \epsilon_{ij}, \qquad x = \ln n

    for size i and seed j. The power law :math:`n^\beta` is the trend; g, a Wiener process integrated once
    from the smallest size, lets the exponent drift, so that the interval widens beyond the data as fast as
    exponents changed within them (with a prior of 0.12 per root of an e-fold). Drift, scatter and spread of
    the seeds are learned by the evidence.

    Attributes
    ----------
    labels : ndarray, shape (n_points,)
        n of every measured error.
    seeds : ndarray of int, shape (n_points,)
        Which points share test set and nested training sets.
    log_errors : ndarray, shape (n_points,)
    drift, scatter, spread : float
        Standard deviations: of the exponent per root of an e-fold, of a point, and of a seed.

    Source: power laws of learning: Hestness et al., arXiv:1712.00409 (2017); integrated Wiener process:
    Wahba, J. R. Stat. Soc. B 40, 364 (1978).
    """

    labels: Float64Array
    seeds: NDArray[np.int64]
    log_errors: Float64Array
    drift: float
    scatter: float
    spread: float

    @property
    def largest(self) -> float:
        """Largest number of labels that was measured."""
        return float(self.labels.max())

    def exponent(self) -> tuple[float, float]:
        """Mean and standard deviation of d ln e / d ln n at the largest size."""
        end = np.log(self.largest)
        mean, covariance = self._posterior(np.array([end - 0.2, end]))
        contrast = np.array([-5.0, 5.0])
        return float(contrast @ mean), float(np.sqrt(max(contrast @ covariance @ contrast, 0.0)))

    def at(self, n_labels: float, coverage: float = 0.9, *, measured: bool = False) -> Estimate:
        """Return the error at ``n_labels``.

        Parameters
        ----------
        n_labels : float
        coverage : float
            Probability of the interval.
        measured : bool
            Interval of the mean that the same number of seeds would measure, not of the curve itself.
        """
        mean, covariance = self._posterior(np.array([np.log(n_labels)]))
        variance = float(covariance[0, 0])
        if measured:
            variance += (self.scatter**2 + self.spread**2) / len(np.unique(self.seeds))
        reach = float(norm.ppf(0.5 + 0.5 * coverage)) * np.sqrt(max(variance, 0.0))
        return Estimate(*(float(np.exp(mean[0] + k * reach)) for k in (0.0, -1.0, 1.0)))

    def labels_needed(
        self, error: float, most: float, n_samples: int = _SAMPLES, seed: int = 0
    ) -> Float64Array:
        """Return draws (n_samples,) of the least n at which the curve is at most ``error``.

        Infinite where it is not so by ``most`` labels.
        """
        start, end = np.log(self.labels.min()), np.log(max(most, self.largest))
        grid = np.linspace(start, end, max(2, int(np.ceil((end - start) / _GRID_STEP)) + 1))
        mean, covariance = self._posterior(grid)
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        draws = mean + np.random.default_rng(seed).standard_normal((n_samples, len(grid))) @ root.T
        below = draws <= np.log(error)
        reached = below.any(axis=1)
        first = below.argmax(axis=1)
        needed = np.full(n_samples, np.inf)
        before = np.maximum(first - 1, 0)
        rows = np.arange(n_samples)
        high, low = draws[rows, before], draws[rows, first]
        share = np.where(first > 0, (high - np.log(error)) / np.maximum(high - low, 1e-12), 0.0)
        found = grid[before] + np.clip(share, 0.0, 1.0) * (grid[first] - grid[before])
        needed[reached] = np.exp(found[reached])
        return needed

    def _posterior(self, x: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Mean and covariance of the curve at ln n = x."""
        known = np.log(self.labels)
        origin, end = float(known.min()), float(known.max())
        K = _prior(known, known, origin, end, self.drift) + _noise(self.seeds, self.scatter, self.spread)
        cross = _prior(x, known, origin, end, self.drift)
        center = float(self.log_errors.mean())
        trend = center + _SLOPE[0] * (known - end)
        weights = np.linalg.solve(K, cross.T)
        mean = center + _SLOPE[0] * (x - end) + weights.T @ (self.log_errors - trend)
        return mean, _prior(x, x, origin, end, self.drift) - cross @ weights


def _prior(x: Float64Array, z: Float64Array, origin: float, end: float, drift: float) -> Float64Array:
    """Covariance of the curve at ln n = x and z: constant, exponent, and its drift from ``origin`` on."""
    s, t = np.maximum(x - origin, 0.0)[:, None], np.maximum(z - origin, 0.0)[None]
    least = np.minimum(s, t)
    wiener = least**3 / 3.0 + np.abs(s - t) * least**2 / 2.0
    linear = _VAGUE**2 + _SLOPE[1] ** 2 * np.outer(x - end, z - end)
    return np.asarray(linear + drift**2 * wiener)


def _noise(seeds: NDArray[np.int64], scatter: float, spread: float) -> Float64Array:
    same = seeds[:, None] == seeds[None]
    return np.asarray(spread**2 * same + (scatter**2 + 1e-10) * np.eye(len(seeds)))


def fit_learning_curve(
    labels: ArrayLike, errors: ArrayLike, seeds: Sequence[int] | ArrayLike
) -> LearningCurve:
    """Return the curve of measured errors.

    Parameters
    ----------
    labels : array, shape (n_points,)
        Numbers of labels.
    errors : array, shape (n_points,)
        Errors on test sets, positive.
    seeds : array of int, shape (n_points,)

    Raises
    ------
    InputError
        For fewer than three sizes, or an error that is not positive.
    """
    n, e = np.asarray(labels, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    codes = np.unique(np.asarray(seeds), return_inverse=True)[1].astype(np.int64)
    if len(np.unique(n)) < FEWEST_SIZES:
        raise InputError(
            f"a learning curve needs {FEWEST_SIZES} numbers of labels or more, here are {len(np.unique(n))}; "
            "give more data or a larger --max-labels"
        )
    if not (np.isfinite(e).all() and (e > 0).all() and (n > 0).all()):
        raise InputError(
            f"errors and labels of a learning curve must be positive; found {e.min()}, {n.min()}"
        )
    y, x = np.log(e), np.log(n)
    origin, end = float(x.min()), float(x.max())
    residual = y - y.mean() - _SLOPE[0] * (x - end)

    def negative(logs: Float64Array) -> float:
        """Minus the log of evidence times prior."""
        drift, scatter, spread = np.exp(logs)
        K = _prior(x, x, origin, end, drift) + _noise(codes, scatter, spread)
        sign, log_determinant = np.linalg.slogdet(K)
        if sign <= 0:
            return 1e10
        misfit = float(residual @ np.linalg.solve(K, residual))
        away = sum(((v - m) / s) ** 2 for v, (m, s) in zip(logs, _PRIORS, strict=True))
        return 0.5 * (misfit + log_determinant + away)

    found = minimize(
        negative, np.array([m for m, _ in _PRIORS]), method="Nelder-Mead", options={"maxiter": 400}
    )
    drift, scatter, spread = (float(value) for value in np.exp(found.x))
    return LearningCurve(n, codes, y, drift, scatter, spread)
