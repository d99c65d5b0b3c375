"""Volume of a cell, in plain arithmetic: small systems ask for it at each step of their dynamics; and cells
completed for a search of neighbours.
"""

import math

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import NDArray

from castile.errors import InputError

_FLAT = 1e-14  # squared volume of unit lattice vectors below which they are linearly dependent
SMALLEST_RELATIVE_VOLUME = 1e-7  # below it lattice vectors count as linearly dependent


def spanned_volume(cell: NDArray[np.float64]) -> float:
    """Return |a . (b x c)| in A^3; 0 if the lattice vectors (3, 3) span no volume or are not finite."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    volume = abs(ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx))
    scale = math.sqrt(
        (ax * ax + ay * ay + az * az) * (bx * bx + by * by + bz * bz) * (cx * cx + cy * cy + cz * cz)
    )
    return volume if math.isfinite(volume) and volume > SMALLEST_RELATIVE_VOLUME * scale else 0.0


def search_cell(cell: NDArray[np.float64], periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a cell of finite volume with the lattice vectors (3, 3) of the periodic directions.

    The other vectors only help a search: they become unit vectors at right angles to the periodic ones.

    Raises
    ------
    InputError
        If the cell is not finite, or the periodic vectors are zero or linearly dependent.
    """
    whole = periodic.all()
    if whole and spanned_volume(cell):
        return cell
    if not np.isfinite(cell).all():
        raise InputError(f"the cell {cell.tolist()} is not finite; correct or remove the structure")
    for direction in np.flatnonzero(periodic):
        if not cell[direction].any():
            raise InputError(
                f"pbc is {periodic.tolist()} but lattice vector {direction} is zero; "
                "give the lattice vector or switch this direction to pbc False"
            )
    usable = np.where(periodic[:, None], cell, 0.0)
    if not _independent(usable):
        raise InputError(
            f"the periodic lattice vectors {cell[periodic].tolist()} have no volume; correct the cell or pbc"
        )
    return np.ascontiguousarray(usable if whole else complete_cell(usable), dtype=np.float64)


def _independent(cell: NDArray[np.float64]) -> bool:
    """Whether the lattice vectors that are not zero are linearly independent."""
    given = cell[cell.any(axis=1)]
    unit = given / np.linalg.norm(given, axis=1)[:, None]
    return bool(np.linalg.det(unit @ unit.T) > _FLAT)
