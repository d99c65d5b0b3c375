"""Sampled energies of atoms from their SOAP vectors: the cheapest form for the kernel at hand."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from castile.potentials.committee_terms import SoapSamples, interpolating
from castile.potentials.member_functions import forms_pay, quadratic_form
from castile.potentials.prior_paths import PolynomialPaths
from castile.potentials.quadratic_samples import QuadraticBasis, QuadraticSamples
from castile.potentials.soap_term import SoapTerm

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SampledEnergies:
    """Differences of sampled energies from the mean.

    Attributes
    ----------
    posterior : ndarray, shape (n_atoms, n_posterior)
        eV.
    residual : ndarray, shape (n_atoms, n_residual)
        eV.
    lost : ndarray, shape (n_atoms,)
        Prior variance that no sample contains, eV^2.
    moment : ndarray
        Sum over the atoms from which :meth:`EnergySamples.totals` makes sampled total energies in double
        precision: in a crystal, errors of rounding and projection add up.
    """

    moment: Array
    posterior: NDArray[np.floating]
    residual: NDArray[np.floating]
    lost: Array


class EnergySamples(Protocol):
    """Samples of a SOAP term."""

    def restricted(self, present: tuple[int, ...], features: NDArray[np.int64]) -> "EnergySamples":
        """Return the samples for structures of the elements ``present``, whose other features are zero."""

    def values(
        self, element: int, spectra: NDArray[np.floating], points: Array, columns: slice
    ) -> SampledEnergies:
        """Return the sampled energies of atoms of an element with SOAP vectors (n_atoms, n_features)."""

    def totals(self, element: int, moment: Array) -> Array:
        """Return sampled total energies (n_total,) of atoms of an element from the sum of their moments."""


@dataclass(frozen=True)
class KernelEnergySamples:
    """Samples as sums over the sparse points, for any zeta.

    Attributes
    ----------
    samples : SoapSamples
    zeta : float
    elements : tuple of int
        Index in ``samples`` of each element.
    paths : tuple of PolynomialPaths
        Of each element.
    n_total : int
        Samples of the total energy.
    """

    samples: SoapSamples
    zeta: float
    elements: tuple[int, ...]
    paths: tuple[PolynomialPaths, ...]
    n_total: int

    @classmethod
    def of(cls, term: SoapTerm, samples: SoapSamples, n_total: int) -> "KernelEnergySamples":
        """Return the samples of a term."""
        return cls(samples, term.zeta, tuple(range(len(term.elements))), samples.paths, n_total)

    def restricted(self, present: tuple[int, ...], features: NDArray[np.int64]) -> "KernelEnergySamples":
        """Return the samples for structures of the elements ``present``."""
        if len(present) == len(self.elements):
            return self
        paths = tuple(self.paths[e].restricted(features) for e in present)
        return KernelEnergySamples(self.samples, self.zeta, present, paths, self.n_total)

    def values(
        self, element: int, spectra: NDArray[np.floating], points: Array, columns: slice
    ) -> SampledEnergies:
        """Return the sampled energies."""
        dots = np.maximum(spectra @ points.T, 0.0)
        kernel = _power(dots, self.zeta)
        open_kernel = kernel if self.samples.zeta == self.zeta else _power(dots, float(self.samples.zeta))
        residual = open_kernel @ self.samples.residual[columns]
        amplitude = self.samples.amplitudes[self.elements[element]]
        residual += amplitude * self.paths[element].values(spectra)
        posterior = kernel @ self.samples.posterior[columns]
        moment = posterior[:, : self.n_total].sum(axis=0)
        return SampledEnergies(moment, posterior, residual, np.zeros(len(dots)))

    def totals(self, element: int, moment: Array) -> Array:
        """Return sampled total energies, which the moment is."""
        return moment


@dataclass(frozen=True)
class QuadraticEnergySamples:
    """Samples for zeta = 2 as quadratic forms on principal axes, in single precision.

    ``samples`` of each element hold the posterior samples first, then the residual ones; ``forms`` of each
    element are the first posterior samples in double precision on all axes: the upper triangles, those off
    the diagonal doubled, (n_total, n_features (n_features + 1) / 2).
    """

    samples: tuple[QuadraticSamples, ...]
    forms: tuple[Array, ...]
    amplitudes: Array
    n_posterior: int

    @classmethod
    def of(cls, term: SoapTerm, samples: SoapSamples, n_total: int) -> "QuadraticEnergySamples":
        """Return the samples of a term.

        On the projected sparse points they have the values that the samples of the full space have on the
        sparse points: those evaluated at the projections would be off by as much as the projection drops.
        """
        found, forms, generator = [], [], np.random.default_rng(0)
        for element, amplitude in enumerate(samples.amplitudes):
            points, columns, paths = term.points(element), term.columns(element), samples.paths[element]
            basis = QuadraticBasis.of(points)
            near = basis.projected(points)
            gram, values = (near @ near.T) ** 2, (points @ points.T) ** 2 @ samples.posterior[columns]
            posterior = basis.kernel_sums(near, interpolating(gram, values))
            open_weights = interpolating(gram, paths.values(near), generator)
            residual = basis.kernel_sums(near, -amplitude * open_weights)
            nothing = np.zeros((0, points.shape[1]))
            for s in range(residual.shape[1]):
                path = PolynomialPaths(paths.directions[:, s : s + 1])
                residual[:, s] += basis.form(0.5 * quadratic_form(nothing, np.zeros(0), path, amplitude))
            found.append(basis.samples(np.hstack([posterior, residual]), points))
            first = samples.posterior[columns, :n_total].T
            forms.append(np.stack([_packed((points.T * weights) @ points) for weights in first]))
        return cls(tuple(found), tuple(forms), samples.amplitudes, samples.posterior.shape[1])

    def restricted(self, present: tuple[int, ...], features: NDArray[np.int64]) -> "QuadraticEnergySamples":
        """Return the samples for structures of the elements ``present``."""
        if len(present) == len(self.samples):
            return self
        samples = tuple(self.samples[e].restricted(features) for e in present)
        upper = np.triu_indices(len(self.samples[0].mean))
        kept = np.isin(upper[0], features) & np.isin(upper[1], features)
        forms = tuple(self.forms[e][:, kept] for e in present)
        return QuadraticEnergySamples(samples, forms, self.amplitudes[list(present)], self.n_posterior)

    def values(
        self, element: int, spectra: NDArray[np.floating], points: Array, columns: slice
    ) -> SampledEnergies:
        """Return the sampled energies."""
        values, lost = self.samples[element].values(spectra)
        # the triangle that ``totals`` reads; spectra.T @ spectra would copy it to the other one
        moment = dsyrk(1.0, np.asarray(spectra, dtype=np.float64).T, lower=1).T
        return SampledEnergies(
            moment,
            values[:, : self.n_posterior],
            values[:, self.n_posterior :],
            self.amplitudes[element] ** 2 * lost,
        )

    def totals(self, element: int, moment: Array) -> Array:
        """Return sampled total energies from the sum of p p^T, of which the upper triangle is read."""
        return np.asarray(self.forms[element] @ moment.ravel()[_upper(len(moment))])


def energy_samples(term: SoapTerm, samples: SoapSamples, n_total: int) -> EnergySamples:
    """Return the samples in the cheaper form; the first ``n_total`` are for total energies."""
    if forms_pay(term) and min(term.counts) > 1:
        return QuadraticEnergySamples.of(term, samples, n_total)
    return KernelEnergySamples.of(term, samples, n_total)


@lru_cache(maxsize=16)
def _upper(size: int) -> NDArray[np.int64]:
    """Return where the upper triangle of a square matrix is in its entries row by row."""
    rows, columns = np.triu_indices(size)
    return np.asarray(rows * size + columns)


def _packed(form: Array) -> Array:
    """Return the upper triangle of a symmetric form, off the diagonal doubled."""
    return np.asarray((2.0 * form - np.diag(np.diag(form))).ravel()[_upper(len(form))])


def _power(dots: Array, zeta: float) -> Array:
    """Return dots ** zeta, by multiplication where zeta is small and whole."""
    if zeta == 1.0:
        return dots
    square = dots * dots
    if zeta in (2.0, 4.0):
        return square if zeta == 2.0 else square * square
    return np.asarray(dots**zeta)
