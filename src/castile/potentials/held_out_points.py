"""A posterior without the sparse points that are environments of structures which are left out."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from castile.potentials.environment import Environment
from castile.potentials.soap_functionals import full_spectra
from castile.potentials.soap_term import SoapTerm
from castile.potentials.training_rows import Term
from castile.regression import Posterior

SAME_POINT = 1e-4
"""Distance of an environment from a sparse point, relative to its length, below which they are one."""

Array = NDArray[np.float64]


def own_columns(terms: Iterable[Term], environments: Iterable[Environment]) -> NDArray[np.int64]:
    """Return the columns of the sparse points that are environments of these structures, ascending.

    Parameters
    ----------
    terms : iterable of terms
        Their columns follow one another. Points of pair terms are distances and belong to no structure.
    environments : iterable of Environment
    """
    seen = list(environments)
    found, start = [np.empty(0, dtype=np.int64)], 0
    for term in terms:
        if isinstance(term, SoapTerm):
            found += [start + _own_points(term, environment) for environment in seen]
        start += term.n_columns
    return np.unique(np.concatenate(found))


def _own_points(term: SoapTerm, environment: Environment) -> NDArray[np.int64]:
    """Sparse points of a term that are environments of one structure."""
    spectra = full_spectra(term, environment)
    found = [np.empty(0, dtype=np.int64)]
    for element in np.unique(spectra.elements):
        points = term.points(int(element))
        mine = spectra.features[spectra.elements == element]
        lengths = np.einsum("sf,sf->s", points, points)
        squares = lengths[:, None] + np.einsum("if,if->i", mine, mine) - 2.0 * points @ mine.T
        same = np.any(squares < SAME_POINT**2 * lengths[:, None], axis=1)
        found.append(term.columns(int(element)).start + np.flatnonzero(same))
    return np.concatenate(found)


@dataclass(frozen=True)
class ReducedPosterior:
    r"""The posterior of the same labels without some of the columns.

    A column less is a weight that is known to be zero. With :math:`\mathbf U = \mathbf R^{-T} \mathbf E` of
    the unit rows of these columns and :math:`\mathbf U = \mathbf Q \mathbf T` (QR), rows become

    .. math::

        \mathbf R^{-T} \mathbf a \to (1 - \mathbf Q \mathbf Q^T) \mathbf R^{-T} \mathbf a, \quad
        \mathbf a^T \mathbf w \to \mathbf a^T \mathbf w
        - (\mathbf Q^T \mathbf R^{-T} \mathbf a)^T \mathbf T^{-T} \mathbf w_E ,

    and the prior variance that the points span is projected in the same way.

    Source: Rasmussen and Williams (2006), Eq. A.6 (conditioning), for noiseless observations of weights.

    Attributes
    ----------
    posterior : Posterior
    columns : ndarray of int64, shape (n_left_out,)
        Ascending.
    """

    posterior: Posterior
    columns: NDArray[np.int64]

    @cached_property
    def _span(self) -> tuple[Array, Array]:
        """Q (n_columns, n_left_out) and T of the left-out columns in whitened weights."""
        units = np.zeros((len(self.posterior.weights), len(self.columns)))
        units[self.columns, np.arange(len(self.columns))] = 1.0
        whitened = solve_triangular(self.posterior.R, units, trans="T", check_finite=False)
        orthogonal, triangle = qr(whitened, mode="economic", check_finite=False)
        return orthogonal, triangle

    def whitened_and_mean(self, rows: Array) -> tuple[Array, Array]:
        """Return Z (n_columns, b), so that Z^T Z is the covariance of rows (b, n_columns), and their mean."""
        whitened = solve_triangular(self.posterior.R, rows.T, trans="T", check_finite=False)
        mean = self.posterior.mean(rows)
        if len(self.columns) == 0:
            return whitened, mean
        span, triangle = self._span
        along = span.T @ whitened
        known = solve_triangular(
            triangle, self.posterior.weights[self.columns], trans="T", check_finite=False
        )
        return whitened - span @ along, mean - along.T @ known

    def explained_prior_variance(self, rows: Array) -> Array:
        """Return the prior variance of rows (b, n_columns) that the remaining sparse points span, (b,)."""
        explained = np.zeros(len(rows))
        for prior, amplitude in zip(self.posterior.priors, self.posterior.amplitudes, strict=True):
            half = solve_triangular(prior.lower, rows[:, prior.columns].T, lower=True, check_finite=False)
            squares = np.einsum("ij,ij->j", half, half)
            inside = (self.columns >= prior.columns.start) & (self.columns < prior.columns.stop)
            left_out = self.columns[inside] - prior.columns.start
            if len(left_out):
                units = np.zeros((len(half), len(left_out)))
                units[left_out, np.arange(len(left_out))] = 1.0
                span = qr(
                    solve_triangular(prior.lower, units, lower=True, check_finite=False),
                    mode="economic",
                    check_finite=False,
                )[0]
                along = span.T @ half
                squares -= np.einsum("ij,ij->j", along, along)
            explained += amplitude**2 * squares
        return explained


__all__ = ["ReducedPosterior", "own_columns"]
