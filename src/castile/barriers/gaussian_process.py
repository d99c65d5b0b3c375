"""Gaussian process on numbers and SOAP vectors together: one length scale each, learned by the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from castile.errors import FitError

Float64Array = NDArray[np.float64]
_MEAN_VARIANCE = 4.0  # prior variance of the constant
_JITTER = 1e-10


@dataclass(frozen=True)
class Inputs:
    """Rows of standardized numbers (n, d) and of SOAP vectors (n, n_blocks, m)."""

    numbers: Float64Array
    vectors: Float64Array

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def sizes(self) -> Float64Array:
        """Squared norms of the vectors, (n, n_blocks)."""
        return np.asarray(np.einsum("ibm,ibm->ib", self.vectors, self.vectors))

    def take(self, rows: NDArray[np.int64]) -> Inputs:
        """Return some of the rows."""
        return Inputs(self.numbers[rows], self.vectors[rows])


@dataclass(frozen=True)
class HyperParameters:
    """What the evidence decides, as logarithms.

    Attributes
    ----------
    lengths : ndarray, shape (d,)
        Of the numbers.
    distances : ndarray, shape (n_blocks,)
        Of the SOAP distances.
    amplitude, noise, slope : float
        Standard deviations of the stationary part, the noise and the linear part.
    """

    lengths: Float64Array
    distances: Float64Array
    amplitude: float
    noise: float
    slope: float

    def pack(self) -> Float64Array:
        """All in one vector."""
        return np.concatenate([self.lengths, self.distances, [self.amplitude, self.noise, self.slope]])

    @classmethod
    def unpack(cls, vector: Float64Array, n_numbers: int) -> HyperParameters:
        """Inverse of ``pack``."""
        amplitude, noise, slope = (float(value) for value in vector[-3:])
        return cls(vector[:n_numbers].copy(), vector[n_numbers:-3].copy(), amplitude, noise, slope)


@dataclass(frozen=True)
class Prior:
    """Normal prior of the logarithms: mean (n,) and standard deviation (n,)."""

    mean: Float64Array
    deviation: Float64Array

    @classmethod
    def default(cls, n_numbers: int, n_blocks: int) -> Prior:
        """Lengths that grow with the number of inputs, so that no input matters before the data say so."""
        lengths = np.full(n_numbers, np.log(1.5 * np.sqrt(max(n_numbers, 1))))
        distances = np.full(n_blocks, 0.5 * np.log(max(n_blocks, 1)))
        mean = np.concatenate([lengths, distances, np.log([0.6, 0.3, 0.3])])
        deviation = np.concatenate([np.full(n_numbers + n_blocks, 0.5), [1.0, 0.7, 1.0]])
        return cls(mean, deviation)


def squared_distances(A: Inputs, B: Inputs) -> tuple[Float64Array, ...]:
    """|p - q|^2 of each block of vectors, (n_a, n_b) each."""
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
    """Squared distance of all inputs together, in units of the length scales."""
    first, second = x * np.exp(-parameters.lengths), y * np.exp(-parameters.lengths)
    squared = np.einsum("id,id->i", first, first)[:, None] + np.einsum("id,id->i", second, second)[None]
    squared -= 2.0 * first @ second.T
    for scale, block in zip(parameters.distances, distances, strict=True):
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
    distances: Sequence[Float64Array],
    targets: Float64Array,
    weights: Float64Array,
    prior: Prior,
) -> tuple[float, Float64Array]:
    """Minus the log of evidence times prior (up to a constant), and its gradient.

    Arguments:
        vector: packed hyper-parameters.
        inputs, distances: training rows and their block distances.
        targets: (n,).
        weights: (n,) noise variance of each target relative to exp(2 noise).
        prior: of the hyper-parameters.

    """
    x, n = inputs.numbers, len(targets)
    parameters = HyperParameters.unpack(vector, x.shape[1])
    stationary, slope = _matern(_scaled(parameters, x, x, distances))
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
    gradient = np.concatenate(
        [
            by_distance.sum(axis=1) @ scaled**2 - np.einsum("id,id->d", scaled, by_distance @ scaled),
            [
                0.5 * np.vdot(by_distance, block) * np.exp(-2.0 * scale)
                for scale, block in zip(parameters.distances, distances, strict=True)
            ],
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

    @property
    def noise_variance(self) -> float:
        """Variance of the noise of a target that is not suspicious."""
        return float(np.exp(2 * self.parameters.noise))

    def predict(self, inputs: Inputs) -> tuple[Float64Array, Float64Array]:
        """Mean and variance (without noise) of the latent values, (n,) each."""
        cross = kernel(self.parameters, inputs, self.inputs, squared_distances(inputs, self.inputs))
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

    def leverage(self, inputs: Inputs) -> Float64Array:
        """Weight of each training target in each prediction, (n, n_train)."""
        cross = kernel(self.parameters, inputs, self.inputs, squared_distances(inputs, self.inputs))
        return np.asarray(cho_solve((self.lower, True), cross.T).T)


def condition(
    parameters: HyperParameters, inputs: Inputs, targets: Float64Array, weights: Float64Array
) -> FittedProcess:
    """Condition the process on its targets.

    Raises FitError when the covariance is not positive definite.
    """
    K = kernel(parameters, inputs, inputs, squared_distances(inputs, inputs))
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
    n_reweightings: int = 1,
    degrees: float = 4.0,
    start: HyperParameters | None = None,
) -> FittedProcess:
    """Learn hyper-parameters, and robust weights of the targets, by evidence.

    Targets far from the others' prediction get a larger noise variance: expectation and maximization for
    Student-t noise with ``degrees`` degrees of freedom.

    Source: Rasmussen and Williams (2006), section 5.4.1; Lange, Little, Taylor, J. Am. Stat. Assoc. 84, 881
    (1989), for the weights.
    """
    distances = squared_distances(inputs, inputs)
    prior = Prior.default(inputs.numbers.shape[1], inputs.vectors.shape[1])
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
        process = condition(HyperParameters.unpack(vector, inputs.numbers.shape[1]), inputs, targets, weights)
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
