"""Eigenvalues of matrices of all atoms: Coulomb of molecules; sine and Ewald sums of crystals, by DScribe."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.descriptors.distance_matrices import CoulombMatrix
from castile.errors import InputError
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


class _DScribeEigenvalues(_Eigenvalues):
    """Eigenvalues of a matrix that DScribe computes."""

    _class_name: ClassVar[str]

    def _prepare(self, size: int) -> None:
        try:
            from dscribe import descriptors
        except ImportError as error:
            raise InputError(
                f"descriptor {self.kind!r} needs DScribe; install it: pip install 'castile[descriptors]'"
            ) from error
        self._maker = getattr(descriptors, self._class_name)(n_atoms_max=size, permutation="eigenspectrum")

    def _values(self, atoms: Atoms) -> Float64Array:
        if not atoms.pbc.all():
            raise InputError(
                f"pbc is {atoms.pbc.tolist()}; the {self.kind} matrix is for crystals: use 'coulomb' for molecules"
            )
        return np.asarray(self._create(atoms)).ravel()

    def _create(self, atoms: Atoms) -> Any:
        return self._maker.create(atoms)


class SineEigenvalues(_DScribeEigenvalues):
    r"""Eigenvalues of the sine matrix of a crystal, from DScribe.

    .. math:: M_{ij} = Z_i Z_j \Bigl| B \sum_k \hat e_k \sin^2(\pi\, \hat e_k B^{-1} (r_i - r_j)) \Bigr|^{-1}

    Parameters
    ----------
    n_atoms_max : int, optional
        Number of eigenvalues; the largest structure of the fit by default.

    Source: Faber, Lindmaa, von Lilienfeld, Armiento, Int. J. Quantum Chem. 115, 1094 (2015).
    """

    kind: ClassVar[str] = "sine"
    _class_name = "SineMatrix"


class EwaldEigenvalues(_DScribeEigenvalues):
    """Eigenvalues of the matrix of Ewald sums of a crystal, from DScribe.

    Parameters
    ----------
    n_atoms_max : int, optional
        Number of eigenvalues; the largest structure of the fit by default.
    accuracy : float
        Relative accuracy of the sums.

    Source: Faber, Lindmaa, von Lilienfeld, Armiento, Int. J. Quantum Chem. 115, 1094 (2015).
    """

    kind: ClassVar[str] = "ewald"
    _class_name = "EwaldSumMatrix"

    def __init__(self, n_atoms_max: int | None = None, accuracy: float = 1e-3) -> None:
        super().__init__(n_atoms_max)
        self.accuracy = accuracy

    def _create(self, atoms: Atoms) -> Any:
        return self._maker.create(atoms, accuracy=self.accuracy)
