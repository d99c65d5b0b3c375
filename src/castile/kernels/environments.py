"""Environments of the atoms of a structure, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from castile.descriptors.soap import SOAP
from castile.errors import InputError

Float64Array = NDArray[np.float64]
_CLOSE = 1e-5  # below it 1 - p.q is computed again from the difference, which loses no digits


@dataclass(frozen=True)
class Environments:
    """Unit descriptors of the atoms of one structure.

    Attributes
    ----------
    features : ndarray, shape (n_atoms, n_features)
        Rows of unit length.
    numbers : ndarray, shape (n_atoms,)
        Atomic numbers of the central atoms.
    """

    features: Float64Array
    numbers: NDArray[np.int64]

    @property
    def n_atoms(self) -> int:
        """Number of environments."""
        return len(self.numbers)

    @property
    def mean(self) -> Float64Array:
        """Mean descriptor (n_features,), not normalized."""
        return np.asarray(self.features.mean(axis=0))


def make_environments(features: ArrayLike, numbers: ArrayLike) -> Environments:
    """Return the environments of rows of features, scaled to unit length.

    Parameters
    ----------
    features : array, shape (n_atoms, n_features)
    numbers : array, shape (n_atoms,)

    Raises
    ------
    InputError
        If there is no row, a row is zero or not finite, or the lengths differ.
    """
    rows = np.array(features, dtype=np.float64)
    elements = np.asarray(numbers, dtype=np.int64).ravel()
    if rows.ndim != 2 or len(rows) != len(elements) or len(rows) == 0:
        raise InputError(
            f"features have shape {rows.shape} for {len(elements)} atoms; give one row for each, at least one"
        )
    norms = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0.0)))
    if bad.size:
        raise InputError(f"the descriptor of atom {bad[0]} is zero or not finite: no similarity is defined")
    return Environments(rows / norms[:, None], elements)


def describe_environments(descriptor: SOAP, structures: Sequence[Atoms]) -> list[Environments]:
    """Return the environments of all atoms of each structure.

    Parameters
    ----------
    descriptor : SOAP
        Fitted, one row per atom.
    structures : sequence of ase.Atoms
    """
    if not structures:
        return []
    rows = descriptor.transform(structures)
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    return [
        make_environments(part, atoms.numbers)
        for part, atoms in zip(np.split(rows, ends), structures, strict=True)
    ]


def environment_dissimilarity(a: Environments, b: Environments, zeta: float = 1.0) -> Float64Array:
    r"""Return 1 - k of every pair of environments, (n_atoms_a, n_atoms_b).

    .. math:: k_{ij} = \delta_{Z_i Z_j} \max(\mathbf p_i \cdot \mathbf p_j, 0)^\zeta

    Where it is small it comes from |p - q|^2 / 2, so that equal environments give 0 to all digits.
    """
    gap = unit_gap(a.features, b.features)
    gap = gap if zeta == 1.0 else -np.expm1(zeta * np.log1p(-np.minimum(gap, 1.0 - 1e-300)))
    return np.where(a.numbers[:, None] == b.numbers[None, :], gap, 1.0)


def unit_gap(P: Float64Array, Q: Float64Array) -> Float64Array:
    """Return 1 - max(p . q, 0) of unit rows, (n_p, n_q), accurate where it is near 0."""
    gap = 1.0 - np.maximum(P @ Q.T, 0.0)
    rows, columns = np.nonzero(gap < _CLOSE)
    for begin in range(0, len(rows), 1024):
        i, j = rows[begin : begin + 1024], columns[begin : begin + 1024]
        difference = P[i] - Q[j]
        gap[i, j] = 0.5 * np.einsum("pf,pf->p", difference, difference)
    return gap
