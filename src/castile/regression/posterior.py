"""Posterior over the weights of a sparse Gaussian process by Householder QR: mean, precision, samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas, solve_triangular

from castile.errors import FitError
from castile.regression.lapack import reduce_below_triangle
from castile.regression.priors import DEFAULT_JITTER, PriorFactor, factor_priors
from castile.regression.problem import LabelFactor, Noise, PriorBlock, check_problem

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """w ~ N(weights, (R^T R)^-1): weights of unit-amplitude kernels given all labels.

    Arguments:
        weights: (n_columns,) posterior mean.
        R: (n_columns, n_columns), upper triangular; R^T R is the posterior precision.
        priors: Cholesky factor of each term's K_mm; holds the jitter that was used.
        amplitudes: delta_t of each term.
        kinds: kinds of label.
        sigmas: their noise, in the unit of the label.
        effective_parameters: per kind, tr(A (R^T R)^-1 A^T) / sigma^2: how many parameters its labels fix.
            All kinds together at most n_columns.
        log_evidence: log p(all labels).

    """

    weights: Float64Array
    R: Float64Array
    priors: tuple[PriorFactor, ...]
    amplitudes: tuple[float, ...]
    kinds: tuple[str, ...]
    sigmas: tuple[float, ...]
    effective_parameters: tuple[float, ...]
    log_evidence: float

    @property
    def jitters(self) -> tuple[float, ...]:
        """Relative jitter that was added to the K_mm of each term."""
        return tuple(prior.jitter for prior in self.priors)

    def mean(self, rows: ArrayLike) -> Float64Array:
        """Predictive mean a^T w of rows (b, n_columns) of unit-amplitude kernels: (b,)."""
        return np.asarray(rows, dtype=np.float64) @ self.weights

    def variance(self, rows: ArrayLike) -> Float64Array:
        """Variance a^T (R^T R)^-1 a = |R^-T a|^2 of rows (b, n_columns): (b,), without noise.

        This is the variance of the subset-of-regressors model (Quinonero-Candela and Rasmussen, J. Mach.
        Learn. Res. 6, 1939 (2005), Eq. 16b); it goes to zero far from the sparse points, which
        ``predictive_variance`` does not.
        """
        whitened = self._whiten(rows)
        return np.einsum("ij,ij->j", whitened, whitened)

    def covariance(self, rows: ArrayLike) -> Float64Array:
        """Covariance (b, b) between the functions of rows (b, n_columns), without noise."""
        whitened = self._whiten(rows)
        return whitened.T @ whitened

    def explained_prior_variance(self, rows: ArrayLike) -> Float64Array:
        """Prior variance that the sparse points span, sum_t delta_t^2 a_t^T K_t^-1 a_t: (b,)."""
        array = np.asarray(rows, dtype=np.float64)
        explained = np.zeros(len(array))
        for prior, amplitude in zip(self.priors, self.amplitudes, strict=True):
            half = solve_triangular(prior.lower, array[:, prior.columns].T, lower=True, check_finite=False)
            explained += amplitude**2 * np.einsum("ij,ij->j", half, half)
        return explained

    def explained_prior_covariance(self, rows: ArrayLike) -> Float64Array:
        """Prior covariance that the sparse points span, sum_t delta_t^2 a_t^T K_t^-1 b_t: (b, b)."""
        array = np.asarray(rows, dtype=np.float64)
        explained = np.zeros((len(array), len(array)))
        for prior, amplitude in zip(self.priors, self.amplitudes, strict=True):
            half = solve_triangular(prior.lower, array[:, prior.columns].T, lower=True, check_finite=False)
            explained += amplitude**2 * (half.T @ half)
        return explained

    def predictive_variance(self, rows: ArrayLike, prior_variances: ArrayLike) -> Float64Array:
        """Variance of the DTC model: k(x, x) - k_xm K_mm^-1 k_mx + |R^-T k_mx|^2, without noise: (b,).

        Far from the sparse points it grows to the prior variance.

        Arguments:
            rows: (b, n_columns) unit-amplitude kernels, or their derivatives.
            prior_variances: (b,) sum over terms of delta_t^2 k_t(x, x), of the same quantity as the rows.

        Source: Quinonero-Candela and Rasmussen (2005), Eq. 20b.

        """
        missing = np.asarray(prior_variances, dtype=np.float64) - self.explained_prior_variance(rows)
        return np.maximum(missing, 0.0) + self.variance(rows)

    def sample_weights(self, n_samples: int, rng: np.random.Generator) -> Float64Array:
        """Samples of the weights, w + R^-1 z with z ~ N(0, I): (n_samples, n_columns)."""
        normal = rng.standard_normal((len(self.weights), n_samples))
        return self.weights + solve_triangular(self.R, normal, check_finite=False).T

    def _whiten(self, rows: ArrayLike) -> Float64Array:
        array = np.asarray(rows, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.weights):
            raise FitError(f"rows have shape {array.shape}, expected (b, {len(self.weights)})")
        return solve_triangular(self.R, array.T, trans="T", check_finite=False)


def solve(
    factors: Sequence[LabelFactor],
    blocks: Sequence[PriorBlock],
    noises: Sequence[Noise],
    amplitudes: Sequence[float | None] | None = None,
    jitter: float | Sequence[float] = DEFAULT_JITTER,
) -> Posterior:
    """Posterior of y_q = A_q w + N(0, sigma_q^2), w ~ N(0, blockdiag(delta_t^2 K_t^-1)).

    Householder QR of [F_q / sigma_q | y_q / sigma_q; U_t / delta_t | 0] with U_t^T U_t = K_t + jitter gives
    [R | z], and R w = z. The normal equations are never formed.

    Arguments:
        factors: labels, one per kind.
        blocks: terms.
        noises: noise of each kind in the order of ``factors``; every ``sigma`` must be a number.
        amplitudes: delta_t; default those of the blocks.
        jitter: relative jitter of K_mm, one number or one per block (``EvidenceResult.jitters``).

    Raises FitError for an inconsistent problem, and for a K_mm that no jitter makes positive definite.

    Source: Foster et al., J. Mach. Learn. Res. 10, 857 (2009), Eq. 11.

    """
    n_columns = check_problem(factors, blocks, noises)
    if amplitudes is None:
        amplitudes = [block.amplitude for block in blocks]
    deltas = _numbers("amplitude", amplitudes)
    sigmas = _numbers("noise", [noise.sigma for noise in noises])
    priors = factor_priors(blocks, jitter)
    triangle = np.zeros((n_columns + 1, n_columns + 1), order="F")
    log_prior_precision = 0.0
    for prior, delta in zip(priors, deltas, strict=True):
        triangle[prior.columns, prior.columns] = prior.lower.T / delta
        log_prior_precision += 2.0 * float(np.sum(np.log(np.diagonal(prior.lower)) - np.log(delta)))
    for factor, sigma in zip(factors, sigmas, strict=True):
        block = np.array(factor.factor / sigma, order="F")
        is_triangle = len(block) == n_columns + 1 and not np.tril(factor.factor, -1).any()
        reduce_below_triangle(triangle, block, trapezoid_rows=len(block) if is_triangle else 0)
    triangle *= np.where(np.diagonal(triangle) < 0.0, -1.0, 1.0)[:, None]
    R = np.asfortranarray(triangle[:-1, :-1])
    if not np.isfinite(triangle).all() or np.any(np.diagonal(R) == 0.0):
        raise FitError("the posterior precision is singular or not finite: raise the jitter or the noise")
    misfit = float(triangle[-1, -1] ** 2)
    log_precision = 2.0 * float(np.sum(np.log(np.diagonal(R))))
    log_evidence = -0.5 * (_log_noise(factors, sigmas) + log_precision - log_prior_precision + misfit)
    return Posterior(
        weights=solve_triangular(R, triangle[:-1, -1], check_finite=False),
        R=R,
        priors=priors,
        amplitudes=deltas,
        kinds=tuple(factor.kind for factor in factors),
        sigmas=sigmas,
        effective_parameters=tuple(
            _effective_parameters(factor.factor, R, sigma)
            for factor, sigma in zip(factors, sigmas, strict=True)
        ),
        log_evidence=log_evidence,
    )


def _log_noise(factors: Sequence[LabelFactor], sigmas: Sequence[float]) -> float:
    """Log |2 pi diag(noise variance)| of all labels."""
    return sum(
        float(factor.n_rows * np.log(2.0 * np.pi * sigma**2) + 2.0 * factor.log_relative_sigma_sum)
        for factor, sigma in zip(factors, sigmas, strict=True)
    )


def _effective_parameters(factor: Float64Array, R: Float64Array, sigma: float) -> float:
    whitened = blas.dtrsm(1.0 / sigma, R, factor[:, :-1], side=1, lower=0)
    return float(np.einsum("ij,ij->", whitened, whitened))


def _numbers(what: str, values: Sequence[float | None]) -> tuple[float, ...]:
    numbers = []
    for value in values:
        if value is None or not np.isfinite(value) or value <= 0.0:
            raise FitError(f"{what} is {value}: the posterior needs a positive number (learn it first)")
        numbers.append(float(value))
    return tuple(numbers)
