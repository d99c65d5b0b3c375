"""Energies, forces and virial of a SOAP term as linear functionals of its Gaussian process: rows against the
sparse points, and prior covariances.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import SoapEngine, SortedPairs
from castile.errors import InputError
from castile.potentials.environment import Environment
from castile.potentials.soap_term import SoapTerm, element_chunks

MAX_BYTES = 2_000_000_000
"""Most memory that the derivatives of all environments of one structure may take."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spectra:
    """Power spectra of the atoms of a structure, sorted by element.

    Attributes
    ----------
    features : ndarray, shape (n_atoms, n_features)
    elements : ndarray of int64, shape (n_atoms,)
        Element index of the full term; environments of different elements are independent.
    atoms : ndarray of int64, shape (n_atoms,)
        Atom of each row.
    """

    features: Array
    elements: NDArray[np.int64]
    atoms: NDArray[np.int64]

    def covariance(self, other: "Spectra", zeta: float, amplitudes: Array) -> Array:
        """Return the prior covariance delta^2 (p . q)^zeta between the energies of atoms, (n, n_other)."""
        dots = np.maximum(self.features @ other.features.T, 0.0)
        same = self.elements[:, None] == other.elements[None, :]
        return np.where(same, dots**zeta, 0.0) * (amplitudes[self.elements] ** 2)[:, None]


@dataclass(frozen=True)
class PriorVariances:
    """Prior variances of what a structure predicts.

    Attributes
    ----------
    energies : ndarray, shape (n_atoms,)
        eV^2.
    energy : float
        Of the total, eV^2.
    forces : ndarray, shape (3 n_atoms,)
        (eV/A)^2.
    virial : ndarray, shape (6,)
        eV^2, of dE/d(strain).
    """

    energies: Array
    energy: float
    forces: Array
    virial: Array

    def __add__(self, other: "PriorVariances") -> "PriorVariances":
        return PriorVariances(
            self.energies + other.energies,
            self.energy + other.energy,
            self.forces + other.forces,
            self.virial + other.virial,
        )


def full_spectra(term: SoapTerm, environment: Environment) -> Spectra:
    """Return the power spectra of all atoms over all features of the term, so that structures of different
    elements can be compared.
    """
    ordered = term.sorted_pairs(environment)
    features = np.empty((environment.n_atoms, term.engine.n_features))
    for begin, end, _ in element_chunks(ordered.center_elements, len(term.elements)):
        features[begin:end] = term.engine.chunk(ordered, begin, end).features
    return Spectra(features, ordered.center_elements, ordered.center_atoms)


def atom_rows(term: SoapTerm, spectra: Spectra) -> Array:
    """Return the unit-amplitude kernels between the atoms and the sparse points, (n_atoms, n_columns)."""
    rows = np.zeros((len(spectra.atoms), term.n_columns))
    for element in np.unique(spectra.elements):
        mine = np.flatnonzero(spectra.elements == element)
        dots = np.maximum(spectra.features[mine] @ term.points(int(element)).T, 0.0)
        rows[spectra.atoms[mine], term.columns(int(element))] = dots**term.zeta
    return rows


def prior_variances(term: SoapTerm, environment: Environment, amplitudes: Array) -> PriorVariances:
    r"""Return the prior variances of energies, forces and virial.

    .. math::

        \mathrm{var}\Big(\sum_i \partial_u f(p_i)\Big) = \delta^2 \sum_{ij}
        \zeta d_{ij}^{\zeta-1}\, u_i \cdot u_j
        + \zeta(\zeta-1) d_{ij}^{\zeta-2}\, (u_i \cdot p_j)(p_i \cdot u_j), \quad d_{ij} = p_i \cdot p_j

    over the environments i, j of one element that a displacement (or strain) changes by u_i, u_j.

    Parameters
    ----------
    term : SoapTerm
    environment : Environment
    amplitudes : ndarray, shape (n_elements,)
        delta of each element, eV.

    Raises
    ------
    InputError
        If the structure is too large for this.
    """
    present = tuple(e for e, z in enumerate(term.elements) if z in set(environment.numbers.tolist()))
    small, amplitudes = term.restricted(environment.numbers), amplitudes[list(present)]
    ordered = small.sorted_pairs(environment)
    spectra, changes = _derivatives(small, ordered)
    energies = np.empty(environment.n_atoms)
    norms = np.einsum("if,if->i", spectra.features, spectra.features)
    energies[spectra.atoms] = amplitudes[spectra.elements] ** 2 * norms**term.zeta
    weights = amplitudes[ordered.center_elements]
    return PriorVariances(
        energies,
        float(spectra.covariance(spectra, term.zeta, amplitudes).sum()),
        _force_variances(term.zeta, ordered, spectra, changes, weights),
        _virial_variances(term.zeta, ordered, spectra, changes, weights),
    )


def _derivatives(term: SoapTerm, ordered: SortedPairs) -> tuple[Spectra, Array]:
    """Return the spectra and dp_i/dr_ij of all pairs, (n_pairs, 3, n_features), normalized like them."""
    pieces = [(begin, end) for begin, end, _ in element_chunks(ordered.center_elements, len(term.elements))]
    features, changes = spectra_and_changes(term.engine, ordered, pieces)
    return Spectra(features, ordered.center_elements, ordered.center_atoms), changes


def spectra_and_changes(
    engine: SoapEngine, ordered: SortedPairs, pieces: Iterable[tuple[int, int]]
) -> tuple[Array, Array]:
    """Return spectra p_i (n_centers, n_features) and dp_i/dr_ij (n_pairs, 3, n_features) of sorted pairs.

    Centres outside of ``pieces``, (begin, end) each, have zeros.

    Raises
    ------
    InputError
        If the structure is too large for this.
    """
    n_pairs, size = len(ordered.center), engine.n_features
    if n_pairs * 3 * size * 8 > MAX_BYTES:
        raise InputError(
            f"exact deviations of {ordered.n_centers} atoms need {n_pairs * 24 * size / 1e9:.1f} GB; "
            'use method="committee"'
        )
    features = np.zeros((ordered.n_centers, size))
    changes = np.zeros((n_pairs, 3, size))
    for begin, end in pieces:
        chunk = engine.chunk(ordered, begin, end)
        features[begin:end] = chunk.features
        first, last = engine.pair_range(ordered, begin, end)
        block = engine.pair_derivatives(ordered, chunk, first, last).reshape(last - first, 3, size)
        if engine.normalize:
            local = ordered.center[first:last] - begin
            own = chunk.features[local]
            norms = np.where(chunk.norms > 0.0, chunk.norms, np.inf)[local]
            block = block - np.einsum("paf,pf->pa", block, own)[:, :, None] * own[:, None, :]
            block /= norms[:, None, None]
        changes[first:last] = block
    return features, changes


def force_tangents(ordered: SortedPairs, changes: Array) -> Iterator[tuple[int, NDArray[np.int64], Array]]:
    """Yield, for each centre as the atom that moves, the atom, the centres that it changes and how.

    Centres (n,) as rows of the spectra; changes (n, 3, n_features) of their spectra by its displacement.
    """
    n_centers = ordered.n_centers
    own = -_sum_by_center(ordered, changes)
    rank = np.empty(n_centers, dtype=np.int64)
    rank[ordered.center_atoms] = np.arange(n_centers)
    by_neighbor = np.argsort(ordered.neighbor, kind="stable")
    bounds = np.searchsorted(ordered.neighbor[by_neighbor], np.arange(n_centers + 1))
    for atom in range(n_centers):
        pairs = by_neighbor[bounds[atom] : bounds[atom + 1]]
        centers = np.append(ordered.center[pairs], rank[atom])
        unique, inverse = np.unique(centers, return_inverse=True)
        tangents = np.zeros((len(unique), 3, changes.shape[2]))
        np.add.at(tangents, inverse, np.concatenate([changes[pairs], own[rank[atom]][None]]))
        yield atom, unique, tangents


def virial_tangents(ordered: SortedPairs, changes: Array) -> Array:
    """Return the change of each spectrum by the six strains, (n_centers, 6, n_features)."""
    tangents = np.zeros((ordered.n_centers, 6, changes.shape[2]))
    for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        part = ordered.vectors[:, a, None] * changes[:, b]
        part = 0.5 * (part + ordered.vectors[:, b, None] * changes[:, a])
        tangents[:, k] = _sum_by_center(ordered, part)
    return tangents


def _sum_by_center(ordered: SortedPairs, values: Array) -> Array:
    """Return the sums of ``values`` (n_pairs, ...) over the pairs of each centre, (n_centers, ...)."""
    sums = np.zeros((ordered.n_centers, *values.shape[1:]))
    begin = np.searchsorted(ordered.center, np.arange(ordered.n_centers + 1))
    occupied = begin[1:] > begin[:-1]
    if occupied.any():
        sums[occupied] = np.add.reduceat(values, begin[:-1][occupied], axis=0)
    return sums


def _force_variances(
    zeta: float, ordered: SortedPairs, spectra: Spectra, changes: Array, weights: Array
) -> Array:
    """Variance of each force component, (3 n_atoms,)."""
    variances = np.zeros((ordered.n_centers, 3))
    for atom, centers, tangents in force_tangents(ordered, changes):
        variances[atom] = tangent_variances(
            zeta, spectra.features[centers], tangents, spectra.elements[centers], weights[centers]
        )
    return variances.ravel()


def _virial_variances(
    zeta: float, ordered: SortedPairs, spectra: Spectra, changes: Array, weights: Array
) -> Array:
    """Variance of the six components of the virial."""
    tangents = virial_tangents(ordered, changes)
    return tangent_variances(zeta, spectra.features, tangents, spectra.elements, weights)


def tangent_variances(
    zeta: float,
    features: Array,
    tangents: Array,
    elements: NDArray[np.int64],
    weights: Array,
    offset: float = 0.0,
) -> Array:
    """Variance of sum_i u_i . grad f(p_i) for each of k directions u (n, k, n_features), (k,).

    Environments of different elements are independent; ``weights`` (n,) are amplitudes; ``offset`` is added
    to all products of spectra.
    """
    dots = np.maximum(features @ features.T + offset, 0.0)
    scale = np.where(elements[:, None] == elements[None, :], weights[:, None] ** 2, 0.0)
    first = scale * zeta * dots ** (zeta - 1.0)
    positive = np.where(dots > 0.0, dots, 1.0)
    second = np.where(dots > 0.0, scale * zeta * (zeta - 1.0) * positive ** (zeta - 2.0), 0.0)
    variances = np.empty(tangents.shape[1])
    for k in range(tangents.shape[1]):
        u = tangents[:, k]
        along = u @ features.T
        variances[k] = np.sum(first * (u @ u.T)) + np.sum(second * along * along.T)
    return variances


__all__ = [
    "PriorVariances",
    "Spectra",
    "atom_rows",
    "force_tangents",
    "full_spectra",
    "prior_variances",
    "spectra_and_changes",
    "tangent_variances",
    "virial_tangents",
]
