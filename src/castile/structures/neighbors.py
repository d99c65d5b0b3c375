"""Neighbour pairs of the atoms of a structure, or of points that are no atoms, periodic in any directions."""

from dataclasses import dataclass

import numpy as np
import vesin
from ase import Atoms
from ase.geometry import complete_cell
from numpy.typing import NDArray

from castile.errors import InputError
from castile.structures.cells import spanned_volume

_FLAT = 1e-14  # squared volume of unit lattice vectors below which they are linearly dependent


@dataclass(frozen=True)
class Pairs:
    """All pairs (centre, neighbour image) with 0 < r < cutoff, in an order that depends on the search only.

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
    _check_finite(positions, "atom")
    _check_finite(points[n_atoms:], "centre")
    if not spanned_volume(cell):
        cell = _completed_cell(cell, pbc)
    search = vesin.NeighborList(cutoff=float(cutoff), full_list=True, sorted=False, n_threads=1)
    i, j, vectors = search.compute(points, cell, list(pbc), quantities="ijD")
    i, j = i.view(np.int64), j.view(np.int64)  # indices come as unsigned integers of the same size
    if centers is not None:
        keep = (i >= n_atoms) & (j < n_atoms) & (np.einsum("pa,pa->p", vectors, vectors) > 1e-20)
        i, j, vectors = i[keep] - n_atoms, j[keep], vectors[keep]
    return Pairs(i, j, vectors, n_centers, n_atoms)


def _check_finite(points: NDArray[np.float64], what: str) -> None:
    finite = np.isfinite(points)
    if not finite.all():
        bad = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise InputError(f"{what} {bad} has position {points[bad].tolist()}; correct or remove the structure")


def _completed_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a cell of finite volume: vectors of directions that are not periodic are filled in."""
    if not np.isfinite(cell).all():
        raise InputError(f"the cell {cell.tolist()} is not finite; correct or remove the structure")
    if not pbc.any():
        return cell
    for direction in np.flatnonzero(pbc):
        if not cell[direction].any():
            raise InputError(
                f"pbc is {pbc.tolist()} but lattice vector {direction} is zero; "
                "give the lattice vector or switch this direction to pbc False"
            )
    # vectors of directions that are not periodic only help the search, and may be anything
    usable = np.where(pbc[:, None], cell, 0.0)
    if not _independent(usable):
        raise InputError(
            f"the periodic lattice vectors {cell[pbc].tolist()} have no volume; correct the cell or pbc"
        )
    return np.asarray(complete_cell(usable), dtype=np.float64)


def _independent(cell: NDArray[np.float64]) -> bool:
    """Whether the lattice vectors that are not zero are linearly independent."""
    given = cell[cell.any(axis=1)]
    unit = given / np.linalg.norm(given, axis=1)[:, None]
    return bool(np.linalg.det(unit @ unit.T) > _FLAT)
