"""Dense Gaussian process regression: for small problems, and the oracle of the sparse one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from castile.errors import FitError

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class ExactGP:
    """y = f + noise, f ~ N(0, K), given y.

    ``lower`` is the Cholesky factor of K + diag(noise variance), (n, n); ``weights`` the solution of
    (K + diag(noise variance)) weights = y; ``log_evidence`` is log N(y; 0, K + diag(noise variance)).
    """

    lower: Float64Array
    weights: Float64Array
    log_evidence: float

    def mean(self, K_star: ArrayLike) -> Float64Array:
        """Predictive mean (b,) from the kernel (b, n) between new points and training points."""
        return np.asarray(K_star, dtype=np.float64) @ self.weights

    def covariance(self, K_star: ArrayLike, K_star_star: ArrayLike) -> Float64Array:
        """Predictive covariance (b, b), without noise, from K_star (b, n) and K_star_star (b, b)."""
        half = solve_triangular(self.lower, np.asarray(K_star, dtype=np.float64).T, lower=True)
        return np.asarray(K_star_star, dtype=np.float64) - half.T @ half

    def variance(self, K_star: ArrayLike, prior_variances: ArrayLike) -> Float64Array:
        """Predictive variance (b,), without noise, from K_star (b, n) and the prior variances (b,)."""
        half = solve_triangular(self.lower, np.asarray(K_star, dtype=np.float64).T, lower=True)
        explained = np.einsum("ij,ij->j", half, half)
        return np.maximum(np.asarray(prior_variances, dtype=np.float64) - explained, 0.0)


def fit_exact(K: ArrayLike, targets: ArrayLike, noise_variances: ArrayLike) -> ExactGP:
    """Condition f ~ N(0, K) on targets y = f + N(0, noise variance).

    Arguments:
        K: (n, n) kernel, amplitude included.
        targets: (n,).
        noise_variances: scalar or (n,).

    Raises FitError when K + diag(noise variance) is not finite or not positive definite.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1.

    """
    y = np.asarray(targets, dtype=np.float64)
    total = np.array(K, dtype=np.float64)
    if total.shape != (len(y), len(y)):
        raise FitError(f"K has shape {total.shape}, expected ({len(y)}, {len(y)}) for {len(y)} targets")
    total[np.diag_indices_from(total)] += np.asarray(noise_variances, dtype=np.float64)
    if not (np.isfinite(total).all() and np.isfinite(y).all()):
        raise FitError("kernel matrix or targets are not finite: check descriptors and labels")
    try:
        lower = cholesky(total, lower=True)
    except LinAlgError as error:
        raise FitError(
            "kernel matrix plus noise is not positive definite: raise the noise or remove duplicates"
        ) from error
    weights = cho_solve((lower, True), y)
    log_determinant = 2.0 * float(np.sum(np.log(np.diagonal(lower))))
    log_evidence = -0.5 * (len(y) * np.log(2.0 * np.pi) + log_determinant + float(y @ weights))
    return ExactGP(lower=lower, weights=weights, log_evidence=float(log_evidence))
