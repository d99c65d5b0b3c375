"""The prior of a pair term: its Gaussian process on points so dense that nothing is left between them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from castile.potentials.environment import Environment, Rows
from castile.potentials.pair_term import PairTerm
from castile.potentials.soap_functionals import PriorVariances
from castile.regression import PriorBlock, factor_prior

POINTS_PER_THETA = 3.0
DENSE_JITTER = 1e-11

Array = NDArray[np.float64]


def dense_term(term: PairTerm) -> PairTerm:
    """Return the term with points every theta / 3 from 0 to the cutoff.

    Between them the squared exponential is interpolated to better than 1e-8, so that a process on these
    points is the process of the term itself.
    """
    count = int(np.ceil(POINTS_PER_THETA * term.cutoff / term.theta)) + 1
    points = np.tile(np.linspace(0.0, term.cutoff, count), (len(term.kinds), 1))
    return replace(term, points=points)


def dense_factor(dense: PairTerm) -> Array:
    """Return the lower Cholesky factor of the kernel between the dense points, the same for all kinds."""
    columns = dense.blocks()[0][1]
    return factor_prior(PriorBlock("dense", columns, dense.gram(columns)), DENSE_JITTER).lower


def pair_atom_rows(term: PairTerm, environment: Environment) -> Array:
    """Return the basis functions of the bonds of each atom, half of each, (n_atoms, n_columns)."""
    pairs, numbers = environment.pairs, environment.numbers
    distances = np.linalg.norm(pairs.vectors, axis=1)
    kinds = term._kind_of[numbers[pairs.center], numbers[pairs.neighbor]]
    kinds[distances >= term.cutoff] = -1
    rows = np.zeros((environment.n_atoms, term.n_columns))
    for kind, (_, columns) in enumerate(term.blocks()):
        chosen = np.flatnonzero(kinds == kind)
        values, _slopes = term.basis(kind, distances[chosen])
        np.add.at(rows[:, columns], pairs.center[chosen], 0.5 * values)
    return rows


def pair_prior_features(term: PairTerm, rows: Array, amplitudes: Array) -> Array:
    """Return features whose products are prior covariances, from rows (n, n_columns) of a dense term.

    ``amplitudes`` (n_kinds,) in eV.
    """
    lower = dense_factor(term)
    features = np.empty_like(rows)
    for (_, columns), amplitude in zip(term.blocks(), amplitudes, strict=True):
        half = solve_triangular(lower, rows[:, columns].T, lower=True, check_finite=False)
        features[:, columns] = amplitude * half.T
    return features


def pair_prior_variances(term: PairTerm, environment: Environment, amplitudes: Array) -> PriorVariances:
    """Return the prior variances of energies, forces and virial; ``amplitudes`` (n_kinds,) in eV."""
    dense = dense_term(term)
    n_atoms = environment.n_atoms
    rows = Rows(
        np.zeros(dense.n_columns), np.zeros((3 * n_atoms, dense.n_columns)), np.zeros((6, dense.n_columns))
    )
    dense.add_rows(environment, rows)
    atoms = pair_prior_features(dense, pair_atom_rows(dense, environment), amplitudes)
    forces = pair_prior_features(dense, rows.forces, amplitudes)
    virial = pair_prior_features(dense, rows.virial, amplitudes)
    total = atoms.sum(axis=0)
    return PriorVariances(
        np.einsum("if,if->i", atoms, atoms),
        float(total @ total),
        np.einsum("if,if->i", forces, forces),
        np.einsum("if,if->i", virial, virial),
    )


__all__ = [
    "dense_factor",
    "dense_term",
    "pair_atom_rows",
    "pair_prior_features",
    "pair_prior_variances",
]
