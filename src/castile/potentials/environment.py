"""One structure as the terms of a potential see it: elements and all neighbour pairs within the largest
cutoff.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.structures.neighbors import Pairs, neighbor_pairs, neighbor_parts
from castile.structures.validation import cell_volume


@dataclass(frozen=True)
class Environment:
    """Atoms and pairs of one structure.

    Attributes
    ----------
    numbers : ndarray of int64, shape (n_atoms,)
        Atomic numbers.
    pairs : Pairs
        Within the largest cutoff of the potential; of all atoms, or of a part of them.
    volume : float or None
        Cell volume in A^3, None where the three lattice vectors span none.
    """

    numbers: NDArray[np.int64]
    pairs: Pairs
    volume: float | None

    @classmethod
    def of(cls, atoms: Atoms, cutoff: float, threads: int = 1) -> "Environment":
        """Return the environment of ``atoms``; cutoff in Angstrom; ``threads`` share the search."""
        volume = cell_volume(atoms)
        return cls(
            np.asarray(atoms.numbers, dtype=np.int64),
            neighbor_pairs(atoms, cutoff, threads=threads),
            volume if volume > 0.0 else None,
        )

    @classmethod
    def parts(cls, atoms: Atoms, cutoff: float, threads: int = 1) -> "Iterator[Environment]":
        """Yield environments that share out the atoms as centres, each with all pairs of its centres.

        A small structure is one part; the memory of a large one does not grow with its size.
        """
        numbers = np.asarray(atoms.numbers, dtype=np.int64)
        volume = cell_volume(atoms) or None
        for pairs in neighbor_parts(atoms, cutoff, threads):
            yield cls(numbers, pairs, volume)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)


@dataclass
class Rows:
    """Training rows of one structure for one block of columns: derivatives of its labels with respect to the
    weights.

    Attributes
    ----------
    energy : ndarray, shape (n_columns,)
    forces : ndarray, shape (3 n_atoms, n_columns)
        Of -dE/dr, atom-major.
    virial : ndarray, shape (6 or 0, n_columns)
        Of dE/d(strain) in Voigt order; the stress is this divided by the volume.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]


@dataclass
class Response:
    """Energies and their derivatives, summed up over the terms of a potential.

    Attributes
    ----------
    energies : ndarray, shape (n_atoms,)
        eV.
    forces : ndarray, shape (n_atoms, 3)
        eV/A.
    virial : ndarray, shape (3, 3)
        dE/d(strain), eV.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]

    @classmethod
    def zeros(cls, n_atoms: int) -> "Response":
        """Return an empty sum."""
        return cls(np.zeros(n_atoms), np.zeros((n_atoms, 3)), np.zeros((3, 3)))
