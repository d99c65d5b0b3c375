"""Prior variance of energies, forces and virial that the points of an imported SOAP term leave open."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from castile.descriptors.soap_engine import SortedPairs, chunk_spans
from castile.potentials.environment import Environment
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.soap_functionals import (
    force_tangents,
    spectra_and_changes,
    tangent_variances,
    virial_tangents,
)
from castile.regression import PriorBlock, factor_prior

JITTER = 1e-9

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OpenVariance:
    """Variances that sparse points leave open, and those of the prior.

    ``energies`` (n_atoms,) in eV^2, ``total`` of the total energy, ``forces`` (n_atoms, 3) in (eV/A)^2,
    ``virial`` (6,) in eV^2, each with its ``_prior``.
    """

    energies: Array
    energies_prior: Array
    total: float
    total_prior: float
    forces: Array
    forces_prior: Array
    virial: Array
    virial_prior: Array

    @classmethod
    def zeros(cls, n_atoms: int) -> "OpenVariance":
        """Return no variance."""
        atoms, forces, virial = np.zeros(n_atoms), np.zeros((n_atoms, 3)), np.zeros(6)
        return cls(atoms, atoms, 0.0, 0.0, forces, forces, virial, virial)

    def __add__(self, other: "OpenVariance") -> "OpenVariance":
        return OpenVariance(
            self.energies + other.energies,
            self.energies_prior + other.energies_prior,
            self.total + other.total,
            self.total_prior + other.total_prior,
            self.forces + other.forces,
            self.forces_prior + other.forces_prior,
            self.virial + other.virial,
            self.virial_prior + other.virial_prior,
        )

    @property
    def grades(self) -> Array:
        """Root of the fraction of the prior variance of each energy that is open, (n_atoms,)."""
        positive = np.where(self.energies_prior > 0.0, self.energies_prior, 1.0)
        return np.sqrt(np.clip(self.energies / positive, 0.0, 1.0))


def open_variance(term: QuipSoapTerm, environment: Environment, with_forces: bool) -> OpenVariance:
    r"""Return what a term leaves open in one structure; forces and virial are zero unless asked for.

    .. math:: v = \delta^2 (k_{**} - \mathbf k_m^T \mathbf K^{-1} \mathbf k_m), \quad
        k = (\mathbf p \cdot \mathbf q + \sigma_0^2)^\zeta

    for energies; forces and virial are linear in the process, so k is differentiated.
    """
    view = term.restricted(environment.numbers)
    ordered, first = _sorted(view, environment)
    pieces = list(chunk_spans(first, ordered.n_centers))
    if with_forces:
        features, changes = spectra_and_changes(view.engine, ordered, pieces)
    else:
        features = np.zeros((ordered.n_centers, view.engine.n_features))
        for begin, end in pieces:
            features[begin:end] = view.engine.chunk(ordered, begin, end).features
    found = _Functionals(view, features, np.arange(ordered.n_centers) >= first)
    energies, energies_prior, total, total_prior = found.energies()
    n_atoms = environment.n_atoms
    result = OpenVariance.zeros(n_atoms)
    left, prior = np.zeros(n_atoms), np.zeros(n_atoms)
    left[ordered.center_atoms], prior[ordered.center_atoms] = energies, energies_prior
    forces, forces_prior = np.zeros((n_atoms, 3)), np.zeros((n_atoms, 3))
    virial, virial_prior = result.virial, result.virial_prior
    if with_forces:
        for atom, centers, tangents in force_tangents(ordered, changes):
            forces[atom], forces_prior[atom] = found.derivatives(centers, tangents)
        everywhere = np.arange(ordered.n_centers)
        virial, virial_prior = found.derivatives(everywhere, virial_tangents(ordered, changes))
    return OpenVariance(left, prior, total, total_prior, forces, forces_prior, virial, virial_prior)


@dataclass(frozen=True)
class _Functionals:
    """Linear functionals of the process of a term; ``centers`` (n,) tells which spectra take part."""

    term: QuipSoapTerm
    features: Array
    centers: NDArray[np.bool_]

    def energies(self) -> tuple[Array, Array, float, float]:
        """Return what is open, and the prior, of the energy of each centre and of their sum."""
        used = self.features[self.centers]
        half = solve_triangular(
            self._factor(), self._kernel(self.term.sparse_points, used), lower=True, check_finite=False
        )
        covariance = self._kernel(used, used)
        prior, left = np.zeros(len(self.features)), np.zeros(len(self.features))
        prior[self.centers] = np.diag(covariance)
        left[self.centers] = np.maximum(np.diag(covariance) - np.einsum("si,si->i", half, half), 0.0)
        summed, whole = half.sum(axis=1), float(covariance.sum())
        return left, prior, max(whole - float(summed @ summed), 0.0), whole

    def derivatives(self, centers: NDArray[np.int64], tangents: Array) -> tuple[Array, Array]:
        """Return what is open, and the prior, along k changes of the spectra, (n, k, n_features)."""
        taking_part = self.centers[centers]
        features, tangents = self.features[centers[taking_part]], tangents[taking_part]
        term, offset = self.term, self.term.sigma0**2
        prior = tangent_variances(
            term.zeta,
            features,
            tangents,
            np.zeros(len(features), dtype=np.int64),
            np.full(len(features), term.delta),
            offset,
        )
        dots = np.maximum(features @ term.sparse_points.T + offset, 0.0)
        slopes = term.delta**2 * term.zeta * dots ** (term.zeta - 1.0)
        rows = np.einsum("is,iks->ks", slopes, tangents @ term.sparse_points.T)
        half = solve_triangular(self._factor(), rows.T, lower=True, check_finite=False)
        return np.maximum(prior - np.einsum("sk,sk->k", half, half), 0.0), prior

    def _kernel(self, p: Array, q: Array) -> Array:
        """Prior covariance of the energies of environments, eV^2."""
        dots = np.maximum(p @ q.T + self.term.sigma0**2, 0.0)
        return np.asarray(self.term.delta**2 * dots**self.term.zeta)

    def _factor(self) -> Array:
        """Cholesky factor of the covariance of the sparse points; kept with the term."""
        known: Array | None = self.term.__dict__.get("_prior_factor")
        if known is None:
            points = self.term.sparse_points
            block = PriorBlock(self.term.name, slice(0, len(points)), self._kernel(points, points))
            known = factor_prior(block, JITTER).lower
            object.__setattr__(self.term, "_prior_factor", known)
        return known


def _sorted(term: QuipSoapTerm, environment: Environment) -> tuple[SortedPairs, int]:
    """Return the pairs with centres sorted by class, and the number of atoms that are no centres."""
    classes = term._class_of[environment.numbers]
    order = np.argsort(classes, kind="stable")
    channels = term._channel_of[environment.numbers]
    ordered = term.engine.sort(environment.pairs, channels, classes[order], order)
    return ordered, int(np.count_nonzero(classes < 0))


__all__ = ["JITTER", "OpenVariance", "open_variance"]
