"""Posterior samples of the terms of a potential: weights, and the prior that the sparse points leave open."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

from castile.kernels import DotProductKernel
from castile.potentials.exact_variance import TermColumns
from castile.potentials.pair_functionals import dense_factor, dense_term
from castile.potentials.pair_term import PairTerm
from castile.potentials.prior_paths import PolynomialPaths
from castile.potentials.soap_term import SoapTerm
from castile.regression import Posterior, PriorBlock, factor_prior

Array = NDArray[np.float64]

JITTER = 1e-9
"""Relative, as in a fit."""


@dataclass(frozen=True)
class SoapSamples:
    """Samples of the difference between a SOAP term and its posterior mean.

    The function of sample s is ``k(p) @ posterior[:, s] + b (delta z_s(p) + k'(p) @ residual[:, s])``.

    Attributes
    ----------
    posterior : ndarray, shape (n_columns, n_posterior)
        R^-1 times normal deviates.
    residual : ndarray, shape (n_columns, n_residual)
        -delta K'^-1 z(sparse points), so that the prior path vanishes on the sparse points.
    paths : tuple of PolynomialPaths
        z of each element.
    amplitudes : ndarray, shape (n_elements,)
        delta, eV.
    zeta : int
        Exponent of k' = (p . p')^zeta: that of the term, rounded up.
    """

    posterior: Array
    residual: Array
    paths: tuple[PolynomialPaths, ...]
    amplitudes: Array
    zeta: int


@dataclass(frozen=True)
class PairSamples:
    """Samples of the difference between a pair term and its posterior mean, over dense points.

    Attributes
    ----------
    dense : PairTerm
        The term with the sparse and the dense points of :func:`dense_term`, one behind the other.
    posterior, residual : ndarray, shape (n_columns of dense, n_posterior or n_residual)
        Weights of the two parts.
    """

    dense: PairTerm
    posterior: Array
    residual: Array


Samples = SoapSamples | PairSamples


def draw_samples(
    terms: tuple[TermColumns, ...],
    posterior: Posterior,
    n_posterior: int,
    n_residual: int,
    n_products: int,
    seed: int,
) -> tuple[Samples, ...]:
    """Return samples of every term, so many of each of the two parts.

    Posterior weights R^-1 z, and Matheron's rule for what the sparse points leave of the prior:
    z(x) - k(x, X_m) K_mm^-1 z(X_m) with a sample z of the prior.

    Source: Wilson et al., ICML (2020), arXiv:2002.09309, Eq. 10.
    """
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal((len(posterior.weights), n_posterior))
    deviations = solve_triangular(posterior.R, normal, check_finite=False)
    samples: list[Samples] = []
    for entry in terms:
        mine = deviations[entry.columns]
        if isinstance(entry.term, SoapTerm):
            drawn = _soap_samples(entry.term, entry.amplitudes, mine, n_residual, n_products, generator)
            samples.append(drawn)
        else:
            samples.append(_pair_samples(entry.term, entry.amplitudes, mine, n_residual, generator))
    return tuple(samples)


def _soap_samples(
    term: SoapTerm,
    amplitudes: Array,
    deviations: Array,
    n_residual: int,
    n_products: int,
    generator: np.random.Generator,
) -> SoapSamples:
    zeta = int(np.ceil(term.zeta))
    n_features = term.engine.n_features
    residual = np.zeros((len(deviations), n_residual))
    paths = []
    for element, amplitude in enumerate(amplitudes):
        path = PolynomialPaths.draw(n_residual, n_products, zeta, n_features, generator)
        paths.append(path)
        points, columns = term.points(element), term.columns(element)
        if not len(points):
            continue
        gram = DotProductKernel(zeta).matrix(points, points)
        values = path.values(points)
        residual[columns] = -amplitude * interpolating(gram, values, generator)
    return SoapSamples(deviations, residual, tuple(paths), amplitudes, zeta)


def _pair_samples(
    term: PairTerm,
    amplitudes: Array,
    deviations: Array,
    n_residual: int,
    generator: np.random.Generator,
) -> PairSamples:
    dense = dense_term(term)
    lower = dense_factor(dense)
    n_own, n_dense = term.points.shape[1], dense.points.shape[1]
    both = replace(term, points=np.hstack([term.points, dense.points]))
    posterior = np.zeros((both.n_columns, deviations.shape[1]))
    residual = np.zeros((both.n_columns, n_residual))
    for kind, (_, columns) in enumerate(term.blocks()):
        start = kind * (n_own + n_dense)
        own, added = slice(start, start + n_own), slice(start + n_own, start + n_own + n_dense)
        posterior[own] = deviations[columns]
        normal = generator.standard_normal((n_dense, n_residual))
        path = solve_triangular(lower, normal, lower=True, trans="T", check_finite=False)
        residual[added] = amplitudes[kind] * path
        scaled = (term.points[kind][:, None] - dense.points[kind][None, :]) / term.theta
        at_points = np.exp(-0.5 * scaled**2) @ path
        residual[own] = -amplitudes[kind] * interpolating(term.gram(columns), at_points, generator)
    return PairSamples(both, posterior, residual)


def interpolating(gram: Array, values: Array, generator: np.random.Generator | None = None) -> Array:
    """Return (K + jitter)^-1 (values + noise of the jitter), (n_points, n_samples); without a generator
    without the noise.

    With the noise the covariance of what is left is k - k_m (K + jitter)^-1 k_m, as in the exact formula.
    """
    factor = factor_prior(PriorBlock("", slice(0, len(gram)), gram), JITTER)
    if generator is not None:
        size = np.sqrt(factor.jitter * np.mean(np.diagonal(gram)))
        values = values + size * generator.standard_normal(values.shape)
    return np.asarray(cho_solve((factor.lower, True), values, check_finite=False))
