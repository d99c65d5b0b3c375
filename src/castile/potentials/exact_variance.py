"""Exact predictive variances of the sparse Gaussian process: a row of the design matrix per quantity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.potentials.calibration import VarianceParts
from castile.potentials.environment import Environment, Rows
from castile.potentials.pair_functionals import (
    dense_term,
    pair_atom_rows,
    pair_prior_features,
    pair_prior_variances,
)
from castile.potentials.pair_term import PairTerm
from castile.potentials.soap_functionals import (
    PriorVariances,
    Spectra,
    atom_rows,
    full_spectra,
    prior_variances,
)
from castile.potentials.soap_term import SoapTerm
from castile.regression import Posterior

Term = SoapTerm | PairTerm
Array = NDArray[np.float64]


@dataclass(frozen=True)
class StructureVariances:
    """Raw variances of what a structure predicts, each in its parts.

    Attributes
    ----------
    energies : VarianceParts of (n_atoms,), eV^2
    energy : VarianceParts of (1,), eV^2
    forces : VarianceParts of (3 n_atoms,), (eV/A)^2
    stress : VarianceParts of (6,), (eV/A^3)^2, or None without a volume
    """

    energies: VarianceParts
    energy: VarianceParts
    forces: VarianceParts
    stress: VarianceParts | None


@dataclass(frozen=True)
class TermColumns:
    """A term, its columns in the posterior and the amplitude of each of its blocks (eV)."""

    term: Term
    columns: slice
    amplitudes: Array


def term_columns(terms: tuple[Term, ...], posterior: Posterior) -> tuple[TermColumns, ...]:
    """Return the terms with their columns and amplitudes; a block without sparse points has amplitude 0."""
    found, start = [], 0
    by_name = {
        prior.name: amplitude for prior, amplitude in zip(posterior.priors, posterior.amplitudes, strict=True)
    }
    for term in terms:
        amplitudes = np.array([by_name.get(name, 0.0) for name, _ in term.blocks()])
        found.append(TermColumns(term, slice(start, start + term.n_columns), amplitudes))
        start += term.n_columns
    return tuple(found)


def exact_variances(
    terms: tuple[TermColumns, ...], posterior: Posterior, environment: Environment
) -> StructureVariances:
    r"""Return the variances of the deterministic training conditional (DTC).

    .. math::

        v = \underbrace{|R^{-T} a|^2}_\text{posterior}
        + \underbrace{k_{**} - \sum_t \delta_t^2 a_t^T K_t^{-1} a_t}_\text{residual}

    with a the row of the quantity: energies, forces and virial are linear in the process.

    Source: Quinonero-Candela, Rasmussen, J. Mach. Learn. Res. 6, 1939 (2005), Eq. 20b.
    """
    n_atoms, n_columns = environment.n_atoms, len(posterior.weights)
    rows = Rows(np.zeros(n_columns), np.zeros((3 * n_atoms, n_columns)), np.zeros((6, n_columns)))
    atoms = np.zeros((n_atoms, n_columns))
    for entry in terms:
        columns = entry.columns
        part = Rows(rows.energy[columns], rows.forces[:, columns], rows.virial[:, columns])
        entry.term.add_rows(environment, part)
        atoms[:, columns] = _atom_rows(entry.term, environment)
    prior = prior_of(terms, environment)
    energies = _parts(posterior, atoms, prior.energies)
    energy = _parts(posterior, rows.energy[None], np.array([prior.energy]))
    forces = _parts(posterior, rows.forces, prior.forces)
    stress = None
    if environment.volume is not None:
        stress = _parts(posterior, rows.virial / environment.volume, prior.virial / environment.volume**2)
    return StructureVariances(energies, energy, forces, stress)


def prior_of(
    terms: tuple[TermColumns, ...],
    environment: Environment,
    moved: NDArray[np.int64] | None = None,
    with_virial: bool = True,
) -> PriorVariances:
    """Return the prior variances of a structure, summed up over the terms.

    With ``moved`` the forces on these atoms only, and without the virial if so asked: the others are those of
    pair terms alone.
    """
    n_atoms = environment.n_atoms
    total = PriorVariances(np.zeros(n_atoms), 0.0, np.zeros(3 * n_atoms), np.zeros(6))
    for entry in terms:
        if isinstance(entry.term, SoapTerm):
            total += prior_variances(entry.term, environment, entry.amplitudes, moved, with_virial)
        else:
            total += pair_prior_variances(entry.term, environment, entry.amplitudes)
    return total


def _atom_rows(term: Term, environment: Environment) -> Array:
    if isinstance(term, SoapTerm):
        return atom_rows(term, full_spectra(term, environment))
    return pair_atom_rows(term, environment)


def _parts(posterior: Posterior, rows: Array, prior: Array) -> VarianceParts:
    residual = np.maximum(prior - posterior.explained_prior_variance(rows), 0.0)
    return VarianceParts(posterior.variance(rows), residual, prior)


@dataclass(frozen=True)
class _EnergyFunctional:
    """The total energy of one structure: its row, its spectra per SOAP term, its features per pair term."""

    row: Array
    spectra: tuple[Spectra | None, ...]
    features: tuple[Array | None, ...]


def energy_covariance(
    terms: tuple[TermColumns, ...], posterior: Posterior, environments: list[Environment]
) -> tuple[Array, Array, Array]:
    """Return the covariance between the total energies of structures: posterior, residual and prior,
    (n, n) each, eV^2.
    """
    functionals = [_energy_functional(terms, posterior, environment) for environment in environments]
    rows = np.stack([functional.row for functional in functionals])
    prior = np.zeros((len(rows), len(rows)))
    for k, entry in enumerate(terms):
        for i, first in enumerate(functionals):
            for j, second in enumerate(functionals[: i + 1]):
                prior[i, j] += _shared(entry, first, second, k)
    prior = np.tril(prior) + np.tril(prior, -1).T
    return posterior.covariance(rows), prior - posterior.explained_prior_covariance(rows), prior


def _energy_functional(
    terms: tuple[TermColumns, ...], posterior: Posterior, environment: Environment
) -> _EnergyFunctional:
    row = np.zeros(len(posterior.weights))
    spectra: list[Spectra | None] = []
    features: list[Array | None] = []
    for entry in terms:
        term = entry.term
        if isinstance(term, SoapTerm):
            found = full_spectra(term, environment)
            row[entry.columns] = atom_rows(term, found).sum(axis=0)
            spectra.append(found)
            features.append(None)
        else:
            row[entry.columns] = pair_atom_rows(term, environment).sum(axis=0)
            dense = dense_term(term)
            total = pair_atom_rows(dense, environment).sum(axis=0, keepdims=True)
            spectra.append(None)
            features.append(pair_prior_features(dense, total, entry.amplitudes)[0])
    return _EnergyFunctional(row, tuple(spectra), tuple(features))


def _shared(entry: TermColumns, first: _EnergyFunctional, second: _EnergyFunctional, k: int) -> float:
    """Prior covariance of two total energies from one term."""
    if isinstance(entry.term, SoapTerm):
        p, q = first.spectra[k], second.spectra[k]
        assert p is not None
        assert q is not None
        return float(p.covariance(q, entry.term.zeta, entry.amplitudes).sum())
    a, b = first.features[k], second.features[k]
    assert a is not None
    assert b is not None
    return float(a @ b)
