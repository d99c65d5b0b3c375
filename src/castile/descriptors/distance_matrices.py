"""Global descriptors from the matrix of all distances of a molecule."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from castile.descriptors.arguments import checked_array
from castile.descriptors.base import Descriptor, Gradient, SparseDerivatives, as_structures
from castile.errors import InputError

_DEGENERATE = 1e-7


class CoulombMatrix(Descriptor):
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

    def fit(self, structures: Atoms | Iterable[Atoms] | None = None, y: Any = None) -> "CoulombMatrix":
        """Settle the number of eigenvalues.

        Raises
        ------
        InputError
            If a structure is periodic, ``n_atoms_max`` is not a positive integer, or neither is given.
        """
        listed = as_structures([] if structures is None else structures)
        for index, atoms in enumerate(listed):
            _refuse_periodic(atoms, f"structure {index}")
        if self.n_atoms_max is not None:
            if not isinstance(self.n_atoms_max, (int, np.integer)) or self.n_atoms_max < 1:
                raise InputError(f"n_atoms_max = {self.n_atoms_max!r} must be an integer of at least 1")
            self.n_atoms_max_ = int(self.n_atoms_max)
        elif listed:
            self.n_atoms_max_ = max(len(atoms) for atoms in listed)
        else:
            raise InputError("CoulombMatrix.fit: there are no molecules; give structures or n_atoms_max")
        self.n_features_out_ = self.n_atoms_max_
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
            features[index, : len(atoms)] = self._decompose(atoms, f"structure {index}")[0]
        return features

    def vjp(self, atoms: Atoms, cotangent: ArrayLike) -> Gradient:
        r"""Return the gradient of sum(cotangent * transform(atoms)).

        .. math:: d\lambda_k = \mathbf v_k^T\, dM\, \mathbf v_k

        Parameters
        ----------
        atoms : ase.Atoms
            One molecule.
        cotangent : array_like, shape (1, n_atoms_max_)
            In the shape of ``transform(atoms)``.

        Raises
        ------
        InputError
            If two eigenvalues coincide: their order, and so the derivative, is then not defined.
        """
        _, vectors, slopes = self._distinct(atoms)
        weights = checked_array("cotangent", cotangent, (1, self.n_atoms_max_))[0, : len(atoms)]
        by_matrix = (vectors * weights) @ vectors.T
        positions = 2.0 * np.einsum("ij,ijc->ic", by_matrix, slopes)
        return Gradient(positions, atoms.positions.T @ positions)

    def jvp(
        self, atoms: Atoms, positions: ArrayLike | None = None, strain: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return the change of transform(atoms) along a direction.

        Parameters
        ----------
        atoms : ase.Atoms
            One molecule.
        positions : array_like, shape (n_atoms, 3), optional
            Displacements of the atoms.
        strain : array_like, shape (3, 3), optional
            Homogeneous strain, r -> r (1 + strain).

        Raises
        ------
        InputError
            As `vjp`.
        """
        _, vectors, slopes = self._distinct(atoms)
        motion = np.zeros((len(atoms), 3))
        if positions is not None:
            motion += checked_array("positions", positions, (len(atoms), 3))
        if strain is not None:
            motion += atoms.positions @ checked_array("strain", strain, (3, 3))
        matrix = np.einsum("ijc,ic->ij", slopes, motion)
        changes = np.zeros((1, self.n_atoms_max_))
        changes[0, : len(atoms)] = np.einsum("ik,ij,jk->k", vectors, matrix + matrix.T, vectors)
        return changes

    def derivatives(self, atoms: Atoms) -> SparseDerivatives:
        """Return the derivatives of transform(atoms); the one row depends on every atom.

        Raises
        ------
        InputError
            As `vjp`.
        """
        _, vectors, slopes = self._distinct(atoms)
        n_atoms = len(atoms)
        values = np.zeros((n_atoms, 3, self.n_atoms_max_))
        values[:, :, :n_atoms] = 2.0 * np.einsum("ik,jk,ijc->ick", vectors, vectors, slopes)
        strain = np.einsum("ia,ibk->abk", atoms.positions, values)[None]
        return SparseDerivatives(np.zeros(n_atoms, dtype=np.int64), np.arange(n_atoms), values, strain)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return "coulomb eigenvalue 0", ..."""
        check_is_fitted(self, "n_atoms_max_")
        return np.array([f"coulomb eigenvalue {k}" for k in range(self.n_atoms_max_)], dtype=object)

    def _distinct(self, atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        check_is_fitted(self, "n_atoms_max_")
        decomposition = self._decompose(as_structures(atoms)[0], "structure 0")
        _refuse_degenerate(decomposition[0], "structure 0")
        return decomposition

    def _decompose(
        self, atoms: Atoms, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return eigenvalues (n,), eigenvectors (n, n) in columns, and dM_ij/dr_i (n, n, 3)."""
        _refuse_periodic(atoms, name)
        if len(atoms) > self.n_atoms_max_:
            raise InputError(
                f"{name} has {len(atoms)} atoms, more than n_atoms_max = {self.n_atoms_max_}; "
                "fit on the largest molecule or pass n_atoms_max"
            )
        charges = atoms.numbers.astype(np.float64)
        vectors = atoms.positions[:, None] - atoms.positions[None]
        distances = np.linalg.norm(vectors, axis=2)
        np.fill_diagonal(distances, 1.0)
        if (distances < 1e-6).any():
            i, j = np.argwhere(distances < 1e-6)[0]
            raise InputError(f"{name}: atoms {i} and {j} lie on top of each other; remove one of them")
        matrix = np.outer(charges, charges) / distances
        slopes = -(matrix / distances**2)[:, :, None] * vectors
        np.fill_diagonal(matrix, 0.5 * charges**2.4)
        eigenvalues, eigenvectors = np.linalg.eigh(matrix)
        order = np.argsort(-np.abs(eigenvalues), kind="stable")
        return eigenvalues[order], eigenvectors[:, order], slopes


def _refuse_periodic(atoms: Atoms, name: str) -> None:
    if atoms.pbc.any():
        raise InputError(
            f"{name} is periodic (pbc = {atoms.pbc.tolist()}); the Coulomb matrix is for "
            "molecules, use castile.SOAP or castile.descriptors.rdf.RadialDistribution, or set pbc=False"
        )


def _refuse_degenerate(eigenvalues: NDArray[np.float64], name: str) -> None:
    """Equal eigenvalues, or equal magnitudes (the sorting key), have no derivative one by one."""
    magnitudes = np.abs(eigenvalues)
    gaps = magnitudes[:-1] - magnitudes[1:]
    if gaps.size and gaps.min() < _DEGENERATE * magnitudes[0]:
        k = int(gaps.argmin())
        raise InputError(
            f"{name}: Coulomb eigenvalues {k} and {k + 1} coincide ({eigenvalues[k]:.10g} and "
            f"{eigenvalues[k + 1]:.10g}), so their derivatives are not defined; "
            "displace the atoms or use castile.SOAP"
        )
