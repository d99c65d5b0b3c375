"""Energies, forces and virial of a SOAP term as linear functionals of its Gaussian process: rows against the
sparse points, and prior covariances.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import SoapEngine, SortedPairs
from castile.errors import InputError
from castile.potentials.environment import Environment
from castile.potentials.soap_term import SoapTerm, element_chunks

MAX_BYTES = 2_000_000_000


class TooLargeError(InputError):
    """A structure whose exact deviations would take more than ``MAX_BYTES``."""


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


def prior_variances(
    term: SoapTerm,
    environment: Environment,
    amplitudes: Array,
    moved: NDArray[np.int64] | None = None,
    with_virial: bool = True,
) -> PriorVariances:
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
    moved : ndarray of int64, optional
        Atoms whose forces are wanted, all by default; those of the others are returned as 0.
    with_virial : bool
        Without it the virial's are returned as 0.

    Raises
    ------
    InputError
        If the structure is too large for this.
    """
    present = tuple(e for e, z in enumerate(term.elements) if z in set(environment.numbers.tolist()))
    small, amplitudes = term.restricted(environment.numbers), amplitudes[list(present)]
    ordered = small.sorted_pairs(environment)
    atoms = np.arange(environment.n_atoms) if moved is None else moved
    pairs = _pairs_of(ordered, None if with_virial else atoms)
    spectra, changes = _derivatives(small, ordered, pairs)
    energies = np.empty(environment.n_atoms)
    norms = np.einsum("if,if->i", spectra.features, spectra.features)
    energies[spectra.atoms] = amplitudes[spectra.elements] ** 2 * norms**term.zeta
    weights = amplitudes[ordered.center_elements]
    return PriorVariances(
        energies,
        float(spectra.covariance(spectra, term.zeta, amplitudes).sum()),
        _force_variances(term.zeta, pairs, spectra, changes, weights, atoms),
        _virial_variances(term.zeta, pairs, spectra, changes, weights) if with_virial else np.zeros(6),
    )


def _pairs_of(ordered: SortedPairs, atoms: NDArray[np.int64] | None) -> SortedPairs:
    """Return the pairs that begin or end at these atoms, in the same order; None: all pairs."""
    if atoms is None:
        return ordered
    is_moved = np.zeros(ordered.n_centers, dtype=bool)
    is_moved[atoms] = True
    used = is_moved[ordered.center_atoms[ordered.center]] | is_moved[ordered.neighbor]
    before = np.concatenate([[0], np.cumsum(used)])
    return replace(
        ordered,
        vectors=ordered.vectors[used],
        center=ordered.center[used],
        neighbor=ordered.neighbor[used],
        element=ordered.element[used],
        first=before[ordered.first].astype(ordered.first.dtype),
    )


def _derivatives(term: SoapTerm, ordered: SortedPairs, pairs: SortedPairs) -> tuple[Spectra, Array]:
    """Return the spectra of all centres and dp_i/dr_ij of ``pairs``, (n_pairs, 3, n_features), normalized
    like them.
    """
    pieces = [(begin, end) for begin, end, _ in element_chunks(ordered.center_elements, len(term.elements))]
    features, changes = spectra_and_changes(term.engine, ordered, pieces, pairs)
    return Spectra(features, ordered.center_elements, ordered.center_atoms), changes


def spectra_and_changes(
    engine: SoapEngine,
    ordered: SortedPairs,
    pieces: Iterable[tuple[int, int]],
    pairs: SortedPairs | None = None,
) -> tuple[Array, Array]:
    """Return spectra p_i (n_centers, n_features) and dp_i/dr_ij (n_pairs, 3, n_features) of sorted pairs.

    Centres outside of ``pieces``, (begin, end) each, have zeros. The derivatives are those of ``pairs``, some
    of the sorted ones, by default all.

    Raises
    ------
    TooLargeError
        If they do not fit into memory.
    """
    pairs = ordered if pairs is None else pairs
    n_pairs, size = len(pairs.center), engine.n_features
    if n_pairs * 3 * size * 8 > MAX_BYTES:
        raise TooLargeError(
            f"exact deviations of {ordered.n_centers} atoms need {n_pairs * 24 * size / 1e9:.1f} GB; "
            'use method="committee"'
        )
    features = np.zeros((ordered.n_centers, size))
    changes = np.zeros((n_pairs, 3, size))
    for begin, end in pieces:
        chunk = engine.chunk(ordered, begin, end)
        features[begin:end] = chunk.features
        first, last = engine.pair_range(pairs, begin, end)
        block = engine.pair_derivatives(pairs, chunk, first, last).reshape(last - first, 3, size)
        if engine.normalize:
            local = pairs.center[first:last] - begin
            own = chunk.features[local]
            norms = np.where(chunk.norms > 0.0, chunk.norms, np.inf)[local]
            block = block - np.einsum("paf,pf->pa", block, own)[:, :, None] * own[:, None, :]
            block /= norms[:, None, None]
        changes[first:last] = block
    return features, changes


def force_tangents(
    ordered: SortedPairs, changes: Array, moved: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, NDArray[np.int64], Array]]:
    """Yield, for each centre (or those of ``moved``) as the atom that moves, the atom, the centres that it
    changes and how.

    Centres (n,) as rows of the spectra; changes (n, 3, n_features) of their spectra by its displacement.
    """
    n_centers = ordered.n_centers
    rank = np.empty(n_centers, dtype=np.int64)
    rank[ordered.center_atoms] = np.arange(n_centers)
    by_neighbor = np.argsort(ordered.neighbor, kind="stable")
    bounds = np.searchsorted(ordered.neighbor[by_neighbor], np.arange(n_centers + 1))
    own = np.searchsorted(ordered.center, np.arange(n_centers + 1))
    for atom in range(n_centers) if moved is None else moved.tolist():
        pairs, k = by_neighbor[bounds[atom] : bounds[atom + 1]], rank[atom]
        unique, begin = np.unique(ordered.center[pairs], return_index=True)
        tangents = np.zeros((len(unique) + 1, 3, changes.shape[2]))
        if len(pairs):
            tangents[:-1] = np.add.reduceat(changes[pairs], begin, axis=0)
        tangents[-1] = -changes[own[k] : own[k + 1]].sum(axis=0)
        yield atom, *_with_own(unique, tangents, int(k))


def _with_own(others: NDArray[np.int64], tangents: Array, own: int) -> tuple[NDArray[np.int64], Array]:
    """Return centres and their tangents, the last of which is that of the centre ``own``, each centre once.

    In small cells the moving atom is its own neighbour.
    """
    position = int(np.searchsorted(others, own))
    if position < len(others) and others[position] == own:
        tangents[position] += tangents[-1]
        return others, tangents[:-1]
    return np.append(others, own), tangents


def virial_tangents(ordered: SortedPairs, changes: Array) -> Array:
    """Return the change of each spectrum by the six strains, (n_centers, 6, n_features)."""
    n_pairs, size = len(ordered.center), changes.shape[2]
    strains = np.zeros((6, n_pairs, 3))
    for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        strains[k, :, b] += 0.5 * ordered.vectors[:, a]
        strains[k, :, a] += 0.5 * ordered.vectors[:, b]
    tangents = np.zeros((ordered.n_centers, 6, size))
    bounds = np.searchsorted(ordered.center, np.arange(ordered.n_centers + 1)).tolist()
    for center, (begin, end) in enumerate(pairwise(bounds)):
        strain = strains[:, begin:end].reshape(6, 3 * (end - begin))
        tangents[center] = strain @ changes[begin:end].reshape(3 * (end - begin), size)
    return tangents


def _force_variances(
    zeta: float,
    pairs: SortedPairs,
    spectra: Spectra,
    changes: Array,
    weights: Array,
    moved: NDArray[np.int64],
) -> Array:
    """Variance of each force component, (3 n_atoms,); 0 for atoms that are not moved."""
    variances = np.zeros((pairs.n_centers, 3))
    for atom, centers, tangents in force_tangents(pairs, changes, moved):
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
