"""Neighbour pairs of the atoms of a structure, or of points that are no atoms, periodic in any directions."""

from dataclasses import dataclass

import numpy as np
import vesin
from ase import Atoms
from ase.geometry import complete_cell
from numpy.typing import NDArray

from castile.errors import InputError


@dataclass(frozen=True)
class Pairs:
    """All pairs (centre, neighbour image) with 0 < r < cutoff.

    Attributes
    ----------
    center, neighbor : ndarray of int64, shape (n_pairs,)
        Index of the centre (among the centres) and of the neighbouring atom (among the atoms).
    vectors : ndarray, shape (n_pairs, 3)
        r_neighbor + image - r_center, Angstrom.
    n_centers, n_atoms : int
    """

    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    vectors: NDArray[np.float64]
    n_centers: int
    n_atoms: int


def neighbor_pairs(atoms: Atoms, cutoff: float, centers: NDArray[np.float64] | None = None) -> Pairs:
    """Return the pairs of ``atoms`` within ``cutoff``; an atom sees its own periodic images.

    Parameters
    ----------
    atoms : ase.Atoms
    cutoff : float
        Angstrom.
    centers : ndarray, shape (n_centers, 3), optional
        Positions (Angstrom) of the centres; the atoms themselves by default. A centre that coincides with an
        atom does not see that atom (r = 0).

    Raises
    ------
    InputError
        If a position or the cell is not finite, or a periodic direction has no extent.
    """
    positions = np.asarray(atoms.positions, dtype=np.float64)
    n_atoms = len(positions)
    points = positions if centers is None else np.concatenate([positions, np.reshape(centers, (-1, 3))])
    n_centers = n_atoms if centers is None else len(points) - n_atoms
    if not n_centers or not n_atoms:
        empty = np.empty(0, dtype=np.int64)
        return Pairs(empty, empty, np.empty((0, 3)), n_centers, n_atoms)
    pbc = np.asarray(atoms.pbc, dtype=bool)
    cell = np.asarray(atoms.cell[:], dtype=np.float64)
    if not (np.isfinite(points).all() and np.isfinite(cell).all()):
        raise InputError("positions or cell contain NaN or infinite numbers; remove or repair the structure")
    if pbc.any():
        cell = complete_cell(cell)
        if abs(np.linalg.det(cell)) < 1e-8:
            raise InputError(
                "the structure is periodic but its cell has no volume; set the cell or pbc=False"
            )
    search = vesin.NeighborList(cutoff=float(cutoff), full_list=True, sorted=centers is None, n_threads=1)
    i, j, vectors = search.compute(points, cell, list(pbc), quantities="ijD")
    i, j = i.astype(np.int64, copy=False), j.astype(np.int64, copy=False)
    if centers is not None:
        keep = (i >= n_atoms) & (j < n_atoms) & (np.einsum("pa,pa->p", vectors, vectors) > 1e-20)
        i, j, vectors = i[keep] - n_atoms, j[keep], vectors[keep]
    return Pairs(i, j, vectors, n_centers, n_atoms)
