"""Random crystals of a composition, with no atoms too close."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.formula import Formula
from ase.geometry import cellpar_to_cell

from castile.errors import InputError
from castile.simulation.close_contacts import find_fused_atoms

VOLUME_OF_SPHERES = (1.3, 3.5)
"""Volume of a cell in volumes of its covalent spheres: from close-packed metals to open networks."""
_TRIES = 200
_ROOM = 1.05


def random_structure(
    formula: str,
    generator: np.random.Generator,
    volume_per_atom: tuple[float, float] | None = None,
    contact_fraction: float = 0.8,
) -> Atoms:
    """Return a crystal with a random cell and random positions.

    Lattice vectors have lengths within a factor of two and angles of 60 to 120 degrees; positions are
    uniform. Cells in which atoms are too close are drawn again, with 5 % more volume after every 200.

    Parameters
    ----------
    formula : str
        Composition of the cell, "Na4Cl4".
    generator : numpy.random.Generator
    volume_per_atom : (float, float), optional
        Range, A^3.
    contact_fraction : float
        Smallest distance in sums of covalent radii.

    Raises
    ------
    InputError
        If the formula cannot be read or the range is not one.

    Source: Pickard and Needs, J. Phys.: Condens. Matter 23, 053201 (2011).
    """
    try:
        symbols = list(Formula(formula, strict=True))
    except ValueError as error:
        raise InputError(f"formula {formula!r}: {error}; write it as 'Na4Cl4'") from None
    template = Atoms(symbols, pbc=True)
    spheres = float(np.sum(4.0 / 3.0 * np.pi * covalent_radii[template.numbers] ** 3))
    low, high = (spheres * factor for factor in VOLUME_OF_SPHERES)
    if volume_per_atom is not None:
        low, high = (value * len(symbols) for value in volume_per_atom)
        if not 0.0 < low <= high:
            raise InputError(f"volume_per_atom = {volume_per_atom}: give a range of positive volumes, A^3")
    volume = float(generator.uniform(low, high))
    while True:
        for _ in range(_TRIES):
            lengths, angles = generator.uniform(1.0, 2.0, 3), generator.uniform(60.0, 120.0, 3)
            cell = cellpar_to_cell([*lengths, *angles])
            content = abs(float(np.linalg.det(cell)))
            if not content > 0.3 * float(np.prod(lengths)):
                continue
            atoms = template.copy()
            atoms.set_cell(cell * (volume / content) ** (1.0 / 3.0))
            atoms.set_scaled_positions(generator.random((len(symbols), 3)))
            if find_fused_atoms(atoms, contact_fraction) is None:
                return atoms
        volume *= _ROOM
