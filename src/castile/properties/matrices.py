"""Eigenvalues of matrices of all atoms: Coulomb of molecules; sine and Ewald (by DScribe) of crystals."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.descriptors.distance_matrices import CoulombMatrix
from castile.errors import InputError
from castile.execution.optional_packages import import_optional
from castile.properties.descriptor import Float64Array, Seen, StructureDescriptor


class _Eigenvalues(StructureDescriptor):
    """Sorted eigenvalues, padded with zeros to the largest structure of the fit."""

    def __init__(self, n_atoms_max: int | None = None) -> None:
        self.n_atoms_max = n_atoms_max

    def _settle(self, seen: Seen) -> None:
        self._size = seen.n_atoms_max if self.n_atoms_max is None else int(self.n_atoms_max)
        if self._size < 1:
            raise InputError(f"n_atoms_max = {self.n_atoms_max!r} must be an integer of at least 1")
        self._prepare(self._size)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return "... eigenvalue 0", ..."""
        return np.array([f"{self.kind} eigenvalue {k}" for k in range(self._size)], dtype=object)

    def _row(self, atoms: Atoms) -> Float64Array:
        if len(atoms) > self._size:
            raise InputError(
                f"has {len(atoms)} atoms, more than the {self._size} of the largest structure in the fit; "
                f"give n_atoms_max={len(atoms)}"
            )
        return self._values(atoms)

    def _prepare(self, size: int) -> None:
        raise NotImplementedError

    def _values(self, atoms: Atoms) -> Float64Array:
        raise NotImplementedError


class CoulombEigenvalues(_Eigenvalues):
    """Eigenvalues of the Coulomb matrix of a molecule, see :class:`castile.CoulombMatrix`.

    Parameters
    ----------
    n_atoms_max : int, optional
        Number of eigenvalues; the largest structure of the fit by default.
    """

    kind: ClassVar[str] = "coulomb"

    def _prepare(self, size: int) -> None:
        self._matrix = CoulombMatrix(size).fit()

    def _values(self, atoms: Atoms) -> Float64Array:
        return np.asarray(self._matrix.transform(atoms)[0])


class SineEigenvalues(_Eigenvalues):
    r"""Eigenvalues of the sine matrix of a crystal, largest magnitude first.

    .. math:: M_{ij} = Z_i Z_j \Bigl| \sum_k \sin^2(\pi s_k)\, \mathbf b_k \Bigr|^{-1}, \qquad
              M_{ii} = \tfrac12 Z_i^{2.4}

    with lattice vectors b and fractional coordinates s of r_i - r_j. Written here, since the one of DScribe
    2.1 does not run with current versions of ASE.

    Parameters
    ----------
    n_atoms_max : int, optional
        Number of eigenvalues; the largest structure of the fit by default.

    Notes
    -----
    Faber, Lindmaa, von Lilienfeld, Armiento, Int. J. Quantum Chem. 115, 1094 (2015), Eqs. 23-24.
    """

    kind: ClassVar[str] = "sine"

    def _prepare(self, size: int) -> None:
        """Nothing is needed."""

    def _values(self, atoms: Atoms) -> Float64Array:
        _require_crystal(self.kind, atoms)
        charges = atoms.numbers.astype(np.float64)
        cell = np.asarray(atoms.cell[:])
        fractional = np.linalg.solve(cell.T, atoms.positions.T).T
        away = np.sin(np.pi * (fractional[:, None] - fractional[None])) ** 2 @ cell
        distances = np.linalg.norm(away, axis=2)
        np.fill_diagonal(distances, 1.0)
        if (distances < 1e-9).any():
            i, j = np.argwhere(distances < 1e-9)[0]
            raise InputError(f"atoms {i} and {j} lie on top of each other; remove one of them")
        matrix = np.outer(charges, charges) / distances
        np.fill_diagonal(matrix, 0.5 * charges**2.4)
        return _padded(np.linalg.eigvalsh(matrix), self._size)


class EwaldEigenvalues(_Eigenvalues):
    """Eigenvalues of the matrix of Ewald sums of a crystal, from DScribe.

    Parameters
    ----------
    n_atoms_max : int, optional
        Number of eigenvalues; the largest structure of the fit by default.
    accuracy : float
        Relative accuracy of the sums.

    Notes
    -----
    Faber, Lindmaa, von Lilienfeld, Armiento, Int. J. Quantum Chem. 115, 1094 (2015).
    """

    kind: ClassVar[str] = "ewald"

    def __init__(self, n_atoms_max: int | None = None, accuracy: float = 1e-3) -> None:
        super().__init__(n_atoms_max)
        self.accuracy = accuracy

    def _prepare(self, size: int) -> None:
        dscribe = import_optional("dscribe.descriptors", "descriptor 'ewald' needs DScribe", "descriptors")
        if not 0.0 < self.accuracy < 1.0:
            raise InputError(f"accuracy = {self.accuracy}: give a number between 0 and 1, such as 1e-3")
        self._maker = dscribe.EwaldSumMatrix(n_atoms_max=size, permutation="eigenspectrum")

    def _values(self, atoms: Atoms) -> Float64Array:
        _require_crystal(self.kind, atoms)
        return np.asarray(self._maker.create(atoms, accuracy=self.accuracy)).ravel()


def _require_crystal(kind: str, atoms: Atoms) -> None:
    if not atoms.pbc.all():
        raise InputError(
            f"pbc is {atoms.pbc.tolist()}; the {kind} matrix is for crystals: use 'coulomb' for molecules"
        )


def _padded(eigenvalues: Float64Array, size: int) -> Float64Array:
    """Eigenvalues in falling order of magnitude, with zeros behind."""
    values = np.zeros(size)
    values[: len(eigenvalues)] = eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")]
    return values
