"""Log evidence and its derivatives with all labels reduced to Gram matrices over whitened columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from castile.regression.priors import PriorFactor
from castile.regression.problem import LabelFactor

Float64Array = NDArray[np.float64]

COLUMN_CHUNK = 128
"""Columns that element-wise passes over a matrix take at once, so that temporaries stay in cache."""


@dataclass(frozen=True)
class WhitenedKind:
    """Labels of one kind over the features Phi = A L^-T.

    ``gram`` is the lower triangle of Phi^T Phi (n_columns, n_columns), Fortran order, zeros above;
    ``overlap`` is Phi^T y (n_columns,); ``square`` is y^T y; ``n_rows`` the number of labels.
    """

    kind: str
    gram: Float64Array
    overlap: Float64Array
    square: float
    n_rows: int
    log_relative_sigma_sum: float


@dataclass(frozen=True)
class EvidenceValue:
    """Log evidence at one point; ``cholesky`` is that of B = I + D S D (lower), D = diag(delta).

    ``mean`` is the posterior mean of the whitened weights, ``gram_mean`` the products G_q mean of each kind,
    ``residuals`` the squared residual norms |y_q - Phi_q mean|^2.
    """

    log_evidence: float
    cholesky: Float64Array
    mean: Float64Array
    gram_mean: tuple[Float64Array, ...]
    residuals: tuple[float, ...]


@dataclass(frozen=True)
class EvidenceDerivatives:
    """Derivatives with respect to (log sigma of each kind, log delta of each term).

    ``gradient`` (p,), ``information`` (p, p) the average information matrix, positive semi-definite, and
    ``effective_parameters`` of each kind.
    """

    gradient: Float64Array
    information: Float64Array
    effective_parameters: tuple[float, ...]


class WhitenedProblem:
    """Labels over columns whose prior covariance is diagonal: v = L^T w ~ N(0, delta_t^2 I).

    log evidence = -1/2 [sum_q (n_q log(2 pi sigma_q^2) + 2 sum_i log s_i) + log|I + D S D|
                         + sum_q |y_q - Phi_q v|^2 / sigma_q^2 + |D^-1 v|^2],
    with S = sum_q G_q / sigma_q^2, D = diag(delta_t) and v the posterior mean. One evaluation is one Cholesky
    factorization, n^3/3 operations, whatever the number of labels; its derivatives take the inverse, 2 n^3/3.

    Arguments:
        factors: labels, one per kind.
        priors: Cholesky factors of the terms.

    Source: Rasmussen and Williams (2006), Eq. 5.8; Gilmour, Thompson and Cullis, Biometrics 51, 1440 (1995)
    for the average information matrix.

    """

    def __init__(self, factors: Sequence[LabelFactor], priors: Sequence[PriorFactor]) -> None:
        self.columns = [prior.columns for prior in priors]
        self.n_columns = self.columns[-1].stop
        self.kinds = [_whiten(factor, priors) for factor in factors]
        self._work = np.zeros((self.n_columns, self.n_columns), order="F")

    def value(self, sigmas: Float64Array, amplitudes: Float64Array) -> EvidenceValue | None:
        """Log evidence; None where I + D S D is not positive definite in double precision.

        The result holds a work array that the next call overwrites.
        """
        delta = self._per_column(amplitudes)
        B = self._fill_precision(sigmas, delta)
        cholesky, info = lapack.dpotrf(B, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            return None
        overlap = sum(
            (kind.overlap / sigma**2 for kind, sigma in zip(self.kinds, sigmas, strict=True)),
            start=np.zeros(self.n_columns),
        )
        mean = delta * lapack.dpotrs(cholesky, delta * overlap, lower=1)[0]
        gram_mean = tuple(blas.dsymv(1.0, kind.gram, mean, lower=1) for kind in self.kinds)
        residuals = tuple(
            max(kind.square - float(mean @ (2.0 * kind.overlap - product)), 0.0)
            for kind, product in zip(self.kinds, gram_mean, strict=True)
        )
        total = float(2.0 * np.sum(np.log(np.diagonal(cholesky))) + np.sum((mean / delta) ** 2))
        for kind, sigma, residual in zip(self.kinds, sigmas, residuals, strict=True):
            total += float(kind.n_rows * np.log(2.0 * np.pi * sigma**2) + residual / sigma**2)
            total += 2.0 * kind.log_relative_sigma_sum
        if not np.isfinite(total):
            return None
        return EvidenceValue(-0.5 * total, cholesky, mean, gram_mean, residuals)

    def derivatives(
        self, value: EvidenceValue, sigmas: Float64Array, amplitudes: Float64Array
    ) -> EvidenceDerivatives:
        """Gradient and average information at the point of ``value``, whose Cholesky factor is consumed.

        d/d log sigma_q = -n_q + tr(C G_q) / sigma_q^2 + |y_q - Phi_q v|^2 / sigma_q^2,
        d/d log delta_t = |v_t|^2 / delta_t^2 - n_t + tr_t(B^-1), with C = D B^-1 D.
        """
        delta = self._per_column(amplitudes)
        inverse, _ = lapack.dpotri(value.cholesky, lower=1, overwrite_c=1)
        traces = self._traces(inverse, delta) / sigmas**2
        gradient = [
            trace - kind.n_rows + residual / sigma**2
            for trace, kind, residual, sigma in zip(traces, self.kinds, value.residuals, sigmas, strict=True)
        ]
        inverse_diagonal = np.diagonal(inverse)
        for columns, amplitude in zip(self.columns, amplitudes, strict=True):
            fit = float(np.sum(value.mean[columns] ** 2)) / amplitude**2
            gradient.append(fit - float(np.sum(1.0 - inverse_diagonal[columns])))
        return EvidenceDerivatives(
            gradient=np.array(gradient),
            information=self._information(value, sigmas, delta, inverse),
            effective_parameters=tuple(float(trace) for trace in traces),
        )

    def _per_column(self, amplitudes: Float64Array) -> Float64Array:
        delta = np.empty(self.n_columns)
        for columns, amplitude in zip(self.columns, amplitudes, strict=True):
            delta[columns] = amplitude
        return delta

    def _fill_precision(self, sigmas: Float64Array, delta: Float64Array) -> Float64Array:
        """Lower triangle of B = I + D S D; the work array stays zero above the diagonal."""
        B = self._work
        for first in range(0, self.n_columns, COLUMN_CHUNK):
            part = np.s_[first:, first : first + COLUMN_CHUNK]
            target = B[part]
            np.multiply(self.kinds[0].gram[part], sigmas[0] ** -2, out=target)
            for kind, sigma in zip(self.kinds[1:], sigmas[1:], strict=True):
                target += kind.gram[part] * sigma**-2
            target *= delta[first:, None]
            target *= delta[first : first + COLUMN_CHUNK]
        B[np.diag_indices_from(B)] += 1.0
        return B

    def _traces(self, inverse: Float64Array, delta: Float64Array) -> Float64Array:
        """tr(D B^-1 D G_q) of every kind."""
        traces = np.zeros(len(self.kinds))
        for first in range(0, self.n_columns, COLUMN_CHUNK):
            part = np.s_[first:, first : first + COLUMN_CHUNK]
            covariance = inverse[part] * delta[first:, None]
            covariance *= delta[first : first + COLUMN_CHUNK]
            for index, kind in enumerate(self.kinds):
                traces[index] += 2.0 * np.einsum("ij,ij->", covariance.T, kind.gram[part].T)
        for index, kind in enumerate(self.kinds):
            traces[index] -= float(np.sum(np.diagonal(inverse) * delta**2 * np.diagonal(kind.gram)))
        return traces

    def _information(
        self, value: EvidenceValue, sigmas: Float64Array, delta: Float64Array, inverse: Float64Array
    ) -> Float64Array:
        """Average information 1/2 z_i^T V^-1 z_j with z_i = (dV/d log theta_i) V^-1 y.

        With u_t = D^-1 v_t and s_q = D Phi_q^T r_q / sigma_q^2 (r_q the residuals of a kind) it is twice
        diag(|r_q|^2 / sigma_q^2, |u_t|^2) - X^T B^-1 X, X = [s_q, -u_t], because Phi^T V^-1 Phi =
        D^-1 (I - B^-1) D^-1. Nothing large cancels, however precise the labels are.
        """
        n_kinds, n_terms = len(self.kinds), len(self.columns)
        sides = np.zeros((self.n_columns, n_kinds + n_terms), order="F")
        diagonal = np.empty(n_kinds + n_terms)
        for index, (kind, sigma) in enumerate(zip(self.kinds, sigmas, strict=True)):
            sides[:, index] = delta * (kind.overlap - value.gram_mean[index]) / sigma**2
            diagonal[index] = value.residuals[index] / sigma**2
        for term, columns in enumerate(self.columns):
            sides[columns, n_kinds + term] = -value.mean[columns] / delta[columns]
            diagonal[n_kinds + term] = float(np.sum(sides[columns, n_kinds + term] ** 2))
        return 2.0 * (np.diag(diagonal) - sides.T @ blas.dsymm(1.0, inverse, sides, lower=1))


def _whiten(factor: LabelFactor, priors: Sequence[PriorFactor]) -> WhitenedKind:
    targets = factor.factor[:, -1]
    features = np.array(factor.factor[:, :-1], order="F")
    for prior in priors:
        block = np.asfortranarray(features[:, prior.columns])
        features[:, prior.columns] = blas.dtrsm(1.0, prior.lower, block, side=1, lower=1, trans_a=1)
    return WhitenedKind(
        kind=factor.kind,
        gram=blas.dsyrk(1.0, features, trans=1, lower=1),
        overlap=features.T @ targets,
        square=float(targets @ targets),
        n_rows=factor.n_rows,
        log_relative_sigma_sum=factor.log_relative_sigma_sum,
    )
