"""Hyper-parameters of a Gaussian process on one set of features, learned by the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import cho_solve, lapack
from scipy.optimize import OptimizeResult, minimize, minimize_scalar

from castile.properties.covariance import KernelName, covariance, covariance_slope, theta_prior
from castile.properties.descriptor import Float64Array

LINEAR_PRIOR = (0.0, 1.5)
NOISE_PRIOR = (float(np.log(0.15)), 1.5)
_LINEAR_BOUNDS = (-5.0, 5.0)
NOISE_BOUNDS = (float(np.log(1e-4)), float(np.log(30.0)))
_FAILED = 1e10


@dataclass(frozen=True)
class HyperParameters:
    """What the evidence decides; standard deviations are relative to the amplitude.

    Attributes
    ----------
    theta : float
        Logarithm of the length scale, or of the exponent.
    linear : float
        Logarithm of the standard deviation of the part that is linear in the composition.
    noise : float
        Logarithm of the standard deviation of the noise.
    amplitude : float
        Standard deviation of the kernel part, in standard deviations of the target.
    """

    theta: float
    linear: float
    noise: float
    amplitude: float


def profiled(K: Float64Array, y: Float64Array) -> tuple[float, float, Float64Array, Float64Array] | None:
    r"""Return (negative log evidence, amplitude squared, K^-1 y, lower factor) for y ~ N(0, a^2 K), a best.

    .. math:: -\ln p = \tfrac n2 \ln a^2 + \tfrac12 \ln |K| + \tfrac n2 (1 + \ln 2\pi), \qquad
              a^2 = y^T K^{-1} y / n

    None where K is not positive definite.
    """
    n = len(y)
    lower, failed = lapack.dpotrf(K, lower=1, clean=1, overwrite_a=0)
    if failed:
        return None
    weights = cho_solve((lower, True), y)
    squared = max(float(y @ weights) / n, 1e-300)
    value = 0.5 * n * (np.log(squared) + 1.0 + np.log(2.0 * np.pi)) + float(np.log(np.diagonal(lower)).sum())
    return value, squared, weights, lower


def learn_hyperparameters(
    kernel: KernelName,
    near: Float64Array,
    linear: Float64Array,
    y: Float64Array,
    n_steps: int = 40,
    start: HyperParameters | None = None,
) -> tuple[HyperParameters, float]:
    """Maximize evidence times prior; return the parameters and the log of the product.

    Parameters
    ----------
    kernel : str
    near : ndarray, shape (n, n)
        Proximities of the training structures.
    linear : ndarray, shape (n, n)
        Covariance of the part that is linear in the composition, for unit amplitude.
    y : ndarray, shape (n,)
        Centred and scaled targets.
    n_steps : int
        Most steps of the search.
    start : HyperParameters, optional
        Where the search begins; default: the mean of the prior.

    Source: Rasmussen and Williams (2006), section 5.4.1, with the amplitude eliminated.
    """
    center, width, bounds = theta_prior(kernel)
    mean = np.array([center, LINEAR_PRIOR[0], NOISE_PRIOR[0]])
    deviation = np.array([width, LINEAR_PRIOR[1], NOISE_PRIOR[1]])
    negative = partial(_negative, kernel, near, linear, y, mean, deviation)
    diagonal = np.diag_indices(len(y))

    def search(begin: Float64Array, allowed: tuple[float, float], steps: int) -> OptimizeResult:
        """Minimize from ``begin``, theta between the bounds ``allowed``."""
        limits = [allowed, _LINEAR_BOUNDS, NOISE_BOUNDS]
        options = {"maxiter": steps}
        return minimize(negative, begin, jac=True, method="L-BFGS-B", bounds=limits, options=options)

    begin = mean if start is None else np.array([start.theta, start.linear, start.noise])
    found = search(begin, bounds, n_steps)
    if kernel == "dot":  # only whole powers are covariances for any features
        whole = whole_power(float(found.x[0]))
        found = search(np.array([whole, *found.x[1:]]), (whole, whole), max(4, n_steps // 4))
    theta, ratio, noise = (float(value) for value in found.x)
    K = covariance(kernel, theta, near) + np.exp(2.0 * ratio) * linear
    K[diagonal] += np.exp(2.0 * noise)
    solved = profiled(K, y)
    amplitude = 1.0 if solved is None else float(np.sqrt(solved[1]))
    return HyperParameters(theta, ratio, noise, amplitude), -float(found.fun)


def _negative(
    kernel: KernelName,
    near: Float64Array,
    linear: Float64Array,
    y: Float64Array,
    mean: Float64Array,
    deviation: Float64Array,
    vector: Float64Array,
) -> tuple[float, Float64Array]:
    """Return minus the log of evidence times the normal prior of (theta, log linear, log noise), and its
    gradient, (3,).
    """
    k = covariance(kernel, vector[0], near)
    ratio, noise = np.exp(2.0 * vector[1]), np.exp(2.0 * vector[2])
    K = k + ratio * linear
    K[np.diag_indices(len(y))] += noise
    solved = profiled(K, y)
    if solved is None:
        return _FAILED, np.zeros(3)
    value, squared, weights, lower = solved
    inverse = _symmetric_inverse(lower)
    sensitivity = 0.5 * (inverse - np.outer(weights, weights) / squared)
    gradient = np.array(
        [
            np.vdot(sensitivity, covariance_slope(kernel, vector[0], near, k)),
            2.0 * ratio * np.vdot(sensitivity, linear),
            2.0 * noise * np.trace(sensitivity),
        ]
    )
    away = (vector - mean) / deviation
    return value + 0.5 * float(away @ away), gradient + away / deviation


def whole_power(theta: float) -> float:
    """Return the logarithm of the whole number nearest to exp(theta), at least 1."""
    return float(np.log(max(1, round(float(np.exp(theta))))))


def refine_noise(value_at: Callable[[float], float], start: float) -> float:
    """Return the log noise near ``start`` with the least ``value_at`` (negative log evidence) and prior."""

    def negative(noise: float) -> float:
        """With the prior of the noise."""
        return value_at(noise) + 0.5 * ((noise - NOISE_PRIOR[0]) / NOISE_PRIOR[1]) ** 2

    low, high = max(NOISE_BOUNDS[0], start - 2.5), min(NOISE_BOUNDS[1], start + 1.5)
    found = minimize_scalar(negative, bounds=(low, high), method="bounded", options={"xatol": 0.1})
    return float(found.x)


def _symmetric_inverse(lower: Float64Array) -> Float64Array:
    inverse, _ = lapack.dpotri(lower, lower=1)
    return np.tril(inverse) + np.tril(inverse, -1).T
