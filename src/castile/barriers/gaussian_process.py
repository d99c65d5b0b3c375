"""Gaussian process on numbers and SOAP vectors together: one length scale each, learned by the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from castile.barriers.channel_mixing import (
    channel_pairs,
    distances_by_pair,
    pair_weights,
    weight_gradient,
)
from castile.barriers.process_inputs import HyperParameters, Inputs, Prior
from castile.errors import FitError

Float64Array = NDArray[np.float64]
_MEAN_VARIANCE = 4.0  # prior variance of the constant
_JITTER = 1e-10


def squared_distances(A: Inputs, B: Inputs) -> tuple[Float64Array, ...]:
    """|p - q|^2 of each block of (mixed) vectors, (n_a, n_b) each."""
    blocks = []
    for k in range(A.vectors.shape[1]):
        first, second = A.vectors[:, k], B.vectors[:, k]
        sizes = A.sizes[:, k, None] + B.sizes[None, :, k]
        blocks.append(np.maximum(sizes - 2.0 * first @ second.T, 0.0))
    return tuple(blocks)


def kernel(
    parameters: HyperParameters, A: Inputs, B: Inputs, distances: Sequence[Float64Array]
) -> Float64Array:
    r"""Covariance of the latent values of two sets of inputs, (n_a, n_b).

    .. math::

        k = a^2 m\Bigl(\sum_d \frac{(x_d - x'_d)^2}{l_d^2} + \sum_b \frac{|p_b - p'_b|^2}{\lambda_b^2}\Bigr)
            + \frac{s^2}{D} x \cdot x' + c^2, \qquad m(r^2) = (1 + \sqrt5 r + 5 r^2 / 3) e^{-\sqrt5 r}

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), Eq. 4.17.
    """
    stationary, _ = _matern(_scaled(parameters, A.numbers, B.numbers, distances))
    linear = A.numbers @ B.numbers.T / max(A.numbers.shape[1], 1)
    return (
        np.exp(2 * parameters.amplitude) * stationary + np.exp(2 * parameters.slope) * linear + _MEAN_VARIANCE
    )


def prior_variances(parameters: HyperParameters, inputs: Inputs) -> Float64Array:
    """k(x, x) of each row, (n,)."""
    linear = np.einsum("id,id->i", inputs.numbers, inputs.numbers) / max(inputs.numbers.shape[1], 1)
    return np.exp(2 * parameters.amplitude) + np.exp(2 * parameters.slope) * linear + _MEAN_VARIANCE


def _scaled(
    parameters: HyperParameters, x: Float64Array, y: Float64Array, distances: Sequence[Float64Array]
) -> Float64Array:
    """Squared distance of the numbers and the given blocks, in units of the length scales."""
    first, second = x * np.exp(-parameters.lengths), y * np.exp(-parameters.lengths)
    squared = np.einsum("id,id->i", first, first)[:, None] + np.einsum("id,id->i", second, second)[None]
    squared -= 2.0 * first @ second.T
    for scale, block in zip(parameters.distances, distances, strict=False):
        squared += block * np.exp(-2.0 * scale)
    return np.maximum(squared, 0.0)


def _matern(squared: Float64Array) -> tuple[Float64Array, Float64Array]:
    """m(r^2), and -2 dm/d(r^2)."""
    r = np.sqrt(5.0 * squared)
    decay = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * decay, (5.0 / 3.0) * (1.0 + r) * decay


def negative_log_posterior(
    vector: Float64Array,
    inputs: Inputs,
    distances: Float64Array,
    targets: Float64Array,
    weights: Float64Array,
    prior: Prior,
) -> tuple[float, Float64Array]:
    """Minus the log of evidence times prior (up to a constant), and its gradient.

    Arguments:
        vector: packed hyper-parameters.
        inputs: training rows.
        distances: theirs, by ``distances_by_pair``.
        targets: (n,).
        weights: (n,) noise variance of each target relative to exp(2 noise).
        prior: of the hyper-parameters.

    """
    x, n = inputs.numbers, len(targets)
    parameters, pairs = HyperParameters.unpack(vector, inputs), channel_pairs(inputs.channels)
    factors = np.exp(-2.0 * parameters.distances)[:, None] * pair_weights(pairs, parameters.mixing)
    flat = distances.reshape(factors.size, n * n)
    squared = (factors.reshape(-1) @ flat).reshape(n, n)
    stationary, slope = _matern(_scaled(parameters, x, x, ()) + squared)
    amplitude, noise = np.exp(2 * parameters.amplitude), np.exp(2 * parameters.noise) * weights
    linear = np.exp(2 * parameters.slope) / max(x.shape[1], 1) * (x @ x.T)
    K = amplitude * stationary + linear + _MEAN_VARIANCE
    K[np.diag_indices(n)] += noise + _JITTER
    lower, failed = lapack.dpotrf(K, lower=1, clean=1)
    if failed:
        return 1e10, np.zeros_like(vector)
    alpha = cho_solve((lower, True), targets)
    inverse, _ = lapack.dpotri(lower, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    sensitivity = inverse - np.outer(alpha, alpha)
    by_distance = sensitivity * (amplitude * slope)
    scaled = x * np.exp(-parameters.lengths)
    by_factor = 0.5 * factors * (flat @ by_distance.reshape(-1)).reshape(factors.shape)
    gradient = np.concatenate(
        [
            by_distance.sum(axis=1) @ scaled**2 - np.einsum("id,id->d", scaled, by_distance @ scaled),
            by_factor.sum(axis=1),
            weight_gradient(pairs, -0.5 * by_factor.sum(axis=0), len(parameters.mixing)),
            [
                amplitude * np.vdot(sensitivity, stationary),
                np.diagonal(sensitivity) @ noise,
                np.vdot(sensitivity, linear),
            ],
        ]
    )
    away = (vector - prior.mean) / prior.deviation
    value = 0.5 * targets @ alpha + np.log(np.diagonal(lower)).sum() + 0.5 * away @ away
    return float(value), gradient + away / prior.deviation


@dataclass(frozen=True)
class FittedProcess:
    """A Gaussian process conditioned on its targets.

    Attributes
    ----------
    parameters : HyperParameters
    inputs : Inputs
        Training rows.
    targets, weights : ndarray, shape (n,)
        Targets and relative noise variances.
    lower : ndarray, shape (n, n)
        Cholesky factor of the covariance of the targets.
    alpha : ndarray, shape (n,)
    """

    parameters: HyperParameters
    inputs: Inputs
    targets: Float64Array
    weights: Float64Array
    lower: Float64Array
    alpha: Float64Array

    @cached_property
    def seen(self) -> Inputs:
        """Training rows with the learned weights of the channels."""
        return self.inputs.mixed(self.parameters)

    def covariance(self, inputs: Inputs) -> Float64Array:
        """Return k between given and training rows, (n, n_train)."""
        given = inputs.mixed(self.parameters)
        return kernel(self.parameters, given, self.seen, squared_distances(given, self.seen))

    @property
    def noise_variance(self) -> float:
        """Variance of the noise of a target that is not suspicious."""
        return float(np.exp(2 * self.parameters.noise))

    def predict(self, inputs: Inputs) -> tuple[Float64Array, Float64Array]:
        """Mean and variance (without noise) of the latent values, (n,) each."""
        cross = self.covariance(inputs)
        half = solve_triangular(self.lower, cross.T, lower=True)
        explained = np.einsum("ij,ij->j", half, half)
        variance = np.maximum(prior_variances(self.parameters, inputs) - explained, 1e-12)
        return cross @ self.alpha, variance

    def leave_one_out(self) -> tuple[Float64Array, Float64Array]:
        """Mean and variance (without noise) of each target from all others, hyper-parameters kept.

        Source: Rasmussen and Williams (2006), Eqs. 5.12.
        """
        inverse, _ = lapack.dpotri(self.lower, lower=1)
        diagonal = np.diagonal(inverse)
        variance = 1.0 / diagonal - self.noise_variance * self.weights
        return self.targets - self.alpha / diagonal, np.maximum(variance, 1e-12)

    def leave_groups_out(self, groups: NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
        """As ``leave_one_out``, but each target from those of other groups (n,).

        With the inverse covariance C and one group G, the mean is y_G - C_GG^-1 alpha_G and the covariance
        C_GG^-1.

        Source: Rasmussen and Williams (2006), Eqs. 5.12, for blocks.
        """
        inverse, _ = lapack.dpotri(self.lower, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        mean, variance = np.empty_like(self.targets), np.empty_like(self.targets)
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            covariance = np.linalg.inv(inverse[np.ix_(rows, rows)])
            mean[rows] = self.targets[rows] - covariance @ self.alpha[rows]
            variance[rows] = np.diagonal(covariance)
        return mean, np.maximum(variance - self.noise_variance * self.weights, 1e-12)

    def leverage(self, inputs: Inputs) -> Float64Array:
        """Weight of each training target in each prediction, (n, n_train)."""
        cross = self.covariance(inputs)
        return np.asarray(cho_solve((self.lower, True), cross.T).T)


def condition(
    parameters: HyperParameters, inputs: Inputs, targets: Float64Array, weights: Float64Array
) -> FittedProcess:
    """Condition the process on its targets.

    Raises FitError when the covariance is not positive definite.
    """
    seen = inputs.mixed(parameters)
    K = kernel(parameters, seen, seen, squared_distances(seen, seen))
    K[np.diag_indices(len(targets))] += np.exp(2 * parameters.noise) * weights + _JITTER
    lower, failed = lapack.dpotrf(K, lower=1, clean=1)
    if failed or not np.isfinite(lower).all():
        raise FitError("covariance of the paths is not positive definite: remove duplicates with one label")
    return FittedProcess(parameters, inputs, targets, weights, lower, cho_solve((lower, True), targets))


def fit_process(
    inputs: Inputs,
    targets: Float64Array,
    *,
    n_steps: int = 30,
    n_reweightings: int = 2,
    degrees: float = 4.0,
    start: HyperParameters | None = None,
) -> FittedProcess:
    """Learn hyper-parameters, and robust weights of the targets, by evidence.

    Targets far from the others' prediction get a larger noise variance: expectation and maximization for
    Student-t noise with ``degrees`` degrees of freedom.

    Source: Rasmussen and Williams (2006), section 5.4.1; Lange, Little, Taylor, J. Am. Stat. Assoc. 84, 881
    (1989), for the weights.
    """
    distances = distances_by_pair(inputs.vectors, inputs.channels)
    prior = Prior.default(inputs.numbers.shape[1], inputs.vectors.shape[1], inputs.n_channels)
    vector = prior.mean.copy() if start is None else start.pack()
    weights = np.ones(len(targets))
    for round_number in range(n_reweightings + 1):
        steps = n_steps if round_number == 0 else max(n_steps // 4, 4)
        found = minimize(
            negative_log_posterior,
            vector,
            args=(inputs, distances, targets, weights, prior),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps},
        )
        vector = np.asarray(found.x)
        process = condition(HyperParameters.unpack(vector, inputs), inputs, targets, weights)
        if round_number < n_reweightings:
            weights = _student_weights(process, degrees)
    return process


def _student_weights(process: FittedProcess, degrees: float) -> Float64Array:
    """Noise variances from the expected squared noise of each target, median 1."""
    noise = process.noise_variance * process.weights
    inverse, _ = lapack.dpotri(process.lower, lower=1)
    expected = (noise * process.alpha) ** 2 + np.maximum(noise - noise**2 * np.diagonal(inverse), 0.0)
    weights = np.clip((expected / process.noise_variance + degrees) / (degrees + 1.0), 0.5, 30.0)
    return weights / np.median(weights)
