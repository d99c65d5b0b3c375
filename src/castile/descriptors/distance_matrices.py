"""Global descriptors from the matrix of all distances of a molecule."""

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from castile.descriptors.derivatives import Derivatives, Gradients, as_structures, checked_array
from castile.errors import InputError

_DEGENERATE = 1e-7


class CoulombMatrix(TransformerMixin, BaseEstimator):
    r"""Eigenvalues of the Coulomb matrix of a molecule, largest magnitude first, padded with zeros.

    .. math:: M_{ii} = \tfrac12 Z_i^{2.4}, \qquad M_{ij} = Z_i Z_j / |\mathbf r_i - \mathbf r_j|

    with distances in Angstrom. One row per structure; only for molecules, since the sum over the images of a
    crystal diverges.

    Parameters
    ----------
    n_atoms_max : int, optional
        Number of eigenvalues; the largest molecule given to `fit` by default.

    Attributes
    ----------
    n_atoms_max_ : int
        Number of eigenvalues.

    Notes
    -----
    Rupp, Tkatchenko, Muller, von Lilienfeld, Phys. Rev. Lett. 108, 058301 (2012), Eq. 1.
    """

    def __init__(self, n_atoms_max: int | None = None) -> None:
        self.n_atoms_max = n_atoms_max

    def fit(self, structures: Atoms | Iterable[Atoms], y: object = None) -> "CoulombMatrix":
        """Settle the number of eigenvalues.

        Raises
        ------
        InputError
            If a structure is periodic, or ``n_atoms_max`` is not a positive integer.
        """
        listed = as_structures(structures)
        for index, atoms in enumerate(listed):
            _refuse_periodic(atoms, index)
        if self.n_atoms_max is None:
            self.n_atoms_max_ = max(len(atoms) for atoms in listed)
        elif not isinstance(self.n_atoms_max, (int, np.integer)) or self.n_atoms_max < 1:
            raise InputError(f"n_atoms_max = {self.n_atoms_max!r} must be an integer of at least 1")
        else:
            self.n_atoms_max_ = int(self.n_atoms_max)
        return self

    def transform(self, structures: Atoms | Iterable[Atoms]) -> NDArray[np.float64]:
        """Return the padded eigenvalues, (n_structures, n_atoms_max_).

        Raises
        ------
        InputError
            If a structure is periodic, larger than those of `fit`, or two of its atoms coincide.
        """
        check_is_fitted(self, "n_atoms_max_")
        listed = as_structures(structures)
        features = np.zeros((len(listed), self.n_atoms_max_))
        for index, atoms in enumerate(listed):
            features[index, : len(atoms)] = self._decompose(atoms, index)[0]
        return features

    def derivatives(self, atoms: Atoms) -> Derivatives:
        r"""Return the eigenvalues of one molecule and their dense derivatives.

        .. math:: d\lambda_k = \mathbf v_k^T\, dM\, \mathbf v_k

        Raises
        ------
        InputError
            If two eigenvalues coincide: their order, and so the derivative, is then not defined.
        """
        check_is_fitted(self, "n_atoms_max_")
        eigenvalues, vectors, slopes = self._decompose(atoms, 0)
        _refuse_degenerate(eigenvalues, 0)
        n_atoms = len(atoms)
        values = np.zeros((1, self.n_atoms_max_))
        values[0, :n_atoms] = eigenvalues
        positions = np.zeros((1, n_atoms, 3, self.n_atoms_max_))
        positions[0, :, :, :n_atoms] = 2.0 * np.einsum("ik,jk,ijc->ick", vectors, vectors, slopes)
        strain = np.einsum("ia,ribk->rabk", atoms.positions, positions)
        return Derivatives(values, positions, strain)

    def vjp(self, structures: Atoms | Iterable[Atoms], cotangent: ArrayLike) -> Gradients:
        """Vector-Jacobian product: gradient of ``sum(cotangent * transform(structures))``.

        Parameters
        ----------
        structures : Atoms or iterable of Atoms
            One or many.
        cotangent : array_like, shape (n_structures, n_atoms_max_)
            In the shape of ``transform(structures)``.

        Raises
        ------
        InputError
            As `derivatives`.
        """
        check_is_fitted(self, "n_atoms_max_")
        listed = as_structures(structures)
        cotangent = checked_array(cotangent, (len(listed), self.n_atoms_max_), "cotangent")
        positions, strain = [], []
        for index, atoms in enumerate(listed):
            eigenvalues, vectors, slopes = self._decompose(atoms, index)
            _refuse_degenerate(eigenvalues, index)
            by_matrix = (vectors * cotangent[index, : len(atoms)]) @ vectors.T
            gradient = 2.0 * np.einsum("ij,ijc->ic", by_matrix, slopes)
            positions.append(gradient)
            strain.append(atoms.positions.T @ gradient)
        return Gradients(np.concatenate(positions), np.stack(strain))

    def jvp(
        self, structures: Atoms | Iterable[Atoms], displacements: ArrayLike, strain: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Jacobian-vector product: change of ``transform(structures)`` per unit of a motion.

        Parameters
        ----------
        structures : Atoms or iterable of Atoms
            One or many.
        displacements : array_like, shape (n_atoms of all structures, 3)
            Angstrom.
        strain : array_like, shape (n_structures, 3, 3), optional
            Strain on top of the displacements; none by default.
        """
        check_is_fitted(self, "n_atoms_max_")
        listed = as_structures(structures)
        n_atoms = sum(len(atoms) for atoms in listed)
        displacements = checked_array(displacements, (n_atoms, 3), "displacements")
        strain = np.zeros((len(listed), 3, 3)) if strain is None else strain
        strain = checked_array(strain, (len(listed), 3, 3), "strain")
        changes, atom = np.zeros((len(listed), self.n_atoms_max_)), 0
        for index, atoms in enumerate(listed):
            motion = displacements[atom : atom + len(atoms)] + atoms.positions @ strain[index]
            atom += len(atoms)
            eigenvalues, vectors, slopes = self._decompose(atoms, index)
            _refuse_degenerate(eigenvalues, index)
            matrix = np.einsum("ijc,ic->ij", slopes, motion)
            matrix += matrix.T
            changes[index, : len(atoms)] = np.einsum("ik,ij,jk->k", vectors, matrix, vectors)
        return changes

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return "coulomb eigenvalue 0", ..."""
        check_is_fitted(self, "n_atoms_max_")
        return np.array([f"coulomb eigenvalue {k}" for k in range(self.n_atoms_max_)], dtype=object)

    def _decompose(
        self, atoms: Atoms, index: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return eigenvalues (n,), eigenvectors (n, n) in columns, and dM_ij/dr_i (n, n, 3)."""
        _refuse_periodic(atoms, index)
        if len(atoms) > self.n_atoms_max_:
            raise InputError(
                f"structure {index} has {len(atoms)} atoms, more than n_atoms_max = {self.n_atoms_max_}; "
                "fit on the largest molecule or pass n_atoms_max"
            )
        charges = atoms.numbers.astype(np.float64)
        vectors = atoms.positions[:, None] - atoms.positions[None]
        distances = np.linalg.norm(vectors, axis=2)
        np.fill_diagonal(distances, 1.0)
        if (distances < 1e-6).any():
            i, j = np.argwhere(distances < 1e-6)[0]
            raise InputError(
                f"structure {index}: atoms {i} and {j} lie on top of each other; remove one of them"
            )
        matrix = np.outer(charges, charges) / distances
        slopes = -(matrix / distances**2)[:, :, None] * vectors
        np.fill_diagonal(matrix, 0.5 * charges**2.4)
        eigenvalues, eigenvectors = np.linalg.eigh(matrix)
        order = np.argsort(-np.abs(eigenvalues), kind="stable")
        return eigenvalues[order], eigenvectors[:, order], slopes


def _refuse_periodic(atoms: Atoms, index: int) -> None:
    if atoms.pbc.any():
        raise InputError(
            f"structure {index} is periodic (pbc = {atoms.pbc.tolist()}); the Coulomb matrix is for "
            "molecules, use castile.SOAP or castile.descriptors.rdf.RadialDistribution, or set pbc=False"
        )


def _refuse_degenerate(eigenvalues: NDArray[np.float64], index: int) -> None:
    """Equal eigenvalues, or equal magnitudes (the sorting key), have no derivative one by one."""
    magnitudes = np.abs(eigenvalues)
    gaps = magnitudes[:-1] - magnitudes[1:]
    if gaps.size and gaps.min() < _DEGENERATE * magnitudes[0]:
        k = int(gaps.argmin())
        raise InputError(
            f"structure {index}: Coulomb eigenvalues {k} and {k + 1} coincide ({eigenvalues[k]:.10g} and "
            f"{eigenvalues[k + 1]:.10g}), so their derivatives are not defined; "
            "displace the atoms or use castile.SOAP"
        )
