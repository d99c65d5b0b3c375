"""Structures that cannot be used, named with the offending value and the remedy."""

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from castile.errors import InputError
from castile.structures.cells import SMALLEST_RELATIVE_VOLUME, spanned_volume

SMALLEST_DISTANCE = 0.2  # A; nuclei closer than this are a mistake of the file, not a short bond
ISOLATION_DISTANCE = 8.0  # A; a lone atom further than this from its images is a free atom


def validate_structure(atoms: Atoms, name: str, smallest_distance: float = SMALLEST_DISTANCE) -> None:
    """Check that a structure can be computed.

    Left-handed cells are fine; so are tiny and skewed ones.

    Args:
        atoms: structure.
        name: named in the message, such as "train.xyz[17]".
        smallest_distance: A; atoms closer than this overlap. 0 allows even coincident atoms.

    Raises:
        InputError: no atoms, unknown element, positions or cell that are not finite, periodic directions
            without volume, or two atoms (periodic images included) closer than `smallest_distance`.

    """
    if len(atoms) == 0:
        raise InputError(f"{name}: the structure has no atoms; remove it from the data")
    unknown = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers > 118))
    if unknown.size:
        i = int(unknown[0])
        raise InputError(
            f"{name}: atom {i} ({atoms.symbols[i]}) has atomic number {atoms.numbers[i]}, which is no "
            "element; remove the ghost atom or correct the species column"
        )
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if bad.size:
        raise InputError(
            f"{name}: atom {bad[0]} ({atoms.symbols[bad[0]]}) has position "
            f"{atoms.positions[bad[0]].tolist()}; correct or remove the structure"
        )
    _validate_cell(atoms, name)
    if smallest_distance > 0.0:
        _validate_distances(atoms, name, smallest_distance)


def cell_volume(atoms: Atoms) -> float:
    """Volume |det cell| in A^3; 0 if the three lattice vectors span no volume or are not finite."""
    return spanned_volume(atoms.cell.array)


def is_isolated_atom(atoms: Atoms) -> bool:
    """One atom with no periodic image within 8 A."""
    if len(atoms) != 1:
        return False
    if not atoms.pbc.any():
        return True
    if np.linalg.norm(atoms.cell.array[atoms.pbc], axis=1).min() <= ISOLATION_DISTANCE:
        return False
    reduced, _ = minkowski_reduce(_periodic_cell(atoms), pbc=atoms.pbc)
    return bool(np.linalg.norm(reduced[atoms.pbc], axis=1).min() > ISOLATION_DISTANCE)


def _periodic_cell(atoms: Atoms) -> NDArray[np.float64]:
    """Cell with the non-periodic lattice vectors replaced by unit vectors orthogonal to the periodic ones."""
    cell = atoms.cell.copy()
    cell[~atoms.pbc] = 0.0
    return cell.complete().array


def _validate_cell(atoms: Atoms, name: str) -> None:
    cell = atoms.cell.array
    if not np.isfinite(cell).all():
        raise InputError(f"{name}: the cell {cell.tolist()} is not finite; correct or remove the structure")
    lengths = np.linalg.norm(cell, axis=1)
    for direction in np.flatnonzero(atoms.pbc):
        if lengths[direction] == 0.0:
            raise InputError(
                f"{name}: pbc is {atoms.pbc.tolist()} but lattice vector {direction} is zero; "
                "give the lattice vector or switch this direction to pbc False"
            )
    if atoms.pbc.any():
        # Gram determinant of the periodic vectors alone: a slab may come without a third vector.
        periodic = cell[atoms.pbc] / lengths[atoms.pbc, None]
        if np.linalg.det(periodic @ periodic.T) <= SMALLEST_RELATIVE_VOLUME**2:
            raise InputError(
                f"{name}: the periodic lattice vectors {cell[atoms.pbc].tolist()} are linearly dependent "
                "(zero volume); correct the cell or pbc"
            )


def _validate_distances(atoms: Atoms, name: str, smallest: float) -> None:
    """Closest pair by a k-d tree in coordinates f_k h_k (fractional times height of the cell).

    A vector shorter than d has |f_k h_k| <= d, and d below half of every height makes the image that the
    periodic tree finds the only candidate, so the search is exact.
    """
    cell = _periodic_cell(atoms)
    inverse, heights = _inverse_and_heights(cell)
    if (atoms.pbc & (heights <= 2.0 * smallest)).any():
        cell = np.asarray(minkowski_reduce(cell, pbc=atoms.pbc)[0], dtype=np.float64)
        inverse, heights = _inverse_and_heights(cell)
    thin = np.flatnonzero(atoms.pbc & (heights <= 2.0 * smallest))
    if thin.size:
        raise InputError(
            f"{name}: the periodic cell {atoms.cell.array.tolist()} is only {heights[thin[0]]:.3g} A "
            "thick, so atoms overlap with their images; is the cell in Angstrom?"
        )
    fractional = atoms.positions @ inverse
    fractional -= np.where(atoms.pbc, np.floor(fractional), 0.0)
    scaled = fractional * heights
    box = np.where(atoms.pbc, heights, 0.0)
    scaled = np.where(atoms.pbc & (scaled >= box), 0.0, scaled)
    pairs = cKDTree(scaled, boxsize=box).query_pairs(smallest, p=np.inf, output_type="ndarray")
    if not len(pairs):
        return
    difference = fractional[pairs[:, 0]] - fractional[pairs[:, 1]]
    difference -= np.where(atoms.pbc, np.round(difference), 0.0)
    distances = np.linalg.norm(difference @ cell, axis=1)
    closest = int(np.argmin(distances))
    if distances[closest] < smallest:
        i, j = (int(index) for index in pairs[closest])
        raise InputError(
            f"{name}: atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are "
            f"{distances[closest]:.4f} A apart, periodic images included (closer than {smallest} "
            "A); remove the duplicate atom or check that positions and cell are in Angstrom"
        )


def _inverse_and_heights(cell: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse of the cell and the distances between opposite faces."""
    inverse: NDArray[np.float64] = np.asarray(np.linalg.inv(cell), dtype=np.float64)
    heights: NDArray[np.float64] = 1.0 / np.linalg.norm(inverse, axis=0)
    return inverse, heights
