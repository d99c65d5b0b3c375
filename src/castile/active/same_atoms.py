"""Whether a program's output is of the structure that was asked for, and in which order its atoms are."""

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from numpy.typing import NDArray

from castile.errors import SimulationError

ROUNDING = 0.01
"""By how much (A) a program may round positions and cells in its output."""


def same_atoms(asked: Atoms, answered: Atoms, name: str) -> NDArray[np.int64]:
    """Return for each atom that was asked for its index in the answer.

    Programs may sort atoms, move them by lattice vectors, shift all of them, and write few digits. Where
    atoms have moved otherwise (relaxed or turned) the forces are those of another structure.

    Parameters
    ----------
    asked, answered : Atoms
    name : str
        Of the answer's file, for messages.

    Raises
    ------
    SimulationError
        Saying what differs.
    """
    remedy = "the program must compute the structure of its input, neither relaxed nor turned"
    if len(answered) != len(asked):
        raise SimulationError(f"{name} has {len(answered)} atoms instead of {len(asked)}; {remedy}")
    if not np.allclose(answered.cell[asked.pbc], asked.cell[asked.pbc], rtol=0.0, atol=ROUNDING):
        raise SimulationError(f"{name} has another cell than was asked for; {remedy}")
    periodic = asked.pbc | (answered.pbc & asked.cell.any(axis=1))
    order = np.arange(len(asked), dtype=np.int64)
    if np.array_equal(answered.numbers, asked.numbers):
        shifts = answered.positions - asked.positions
        if (_lengths(shifts - shifts[0], asked, periodic) <= ROUNDING).all():
            return order
    for index, position in enumerate(asked.positions):
        alike = np.flatnonzero(answered.numbers == asked.numbers[index])
        if not len(alike):
            raise SimulationError(f"{name} has no atom of {asked.symbols[index]}; {remedy}")
        away = _lengths(answered.positions[alike] - position, asked, periodic)
        order[index] = alike[away.argmin()]
        if away.min() > ROUNDING:
            raise SimulationError(
                f"{name}: atom {index} ({asked.symbols[index]}) is {away.min():.3g} A away from where it "
                f"was; {remedy}"
            )
    return order


def _lengths(shifts: NDArray[np.float64], asked: Atoms, periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lengths (A) of vectors, but for lattice vectors."""
    return np.asarray(find_mic(shifts, asked.cell, periodic)[1])
