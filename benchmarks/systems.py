"""Rattled structures on which speed is measured: perfect crystals would flatter whoever skips zeros."""

from dataclasses import dataclass
from itertools import cycle

import numpy as np
from ase import Atoms
from ase.build import bulk

RATTLE = 0.1
ALLOY = ("Cr", "Mn", "Fe", "Co", "Ni")


@dataclass(frozen=True)
class System:
    """A structure in two rattled copies, so that nobody can remember an answer, and its SOAP."""

    key: str
    label: str
    copies: tuple[Atoms, Atoms]
    cutoff: float
    n_max: int
    l_max: int
    sigma: float = 0.5
    cutoff_width: float = 0.5

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.copies[0])

    @property
    def species(self) -> list[str]:
        """Elements by atomic number."""
        atoms = self.copies[0]
        return sorted(
            set(atoms.get_chemical_symbols()), key=lambda s: int(atoms.numbers[atoms.symbols == s][0])
        )

    def alternating(self) -> cycle:
        """The two copies in turn, for ever."""
        return cycle(self.copies)


def rattled(atoms: Atoms, seed: int, amplitude: float = RATTLE) -> Atoms:
    """A copy with normally distributed displacements (A) and a small strain."""
    generator = np.random.default_rng(seed)
    moved = atoms.copy()
    strain = np.eye(3) + 0.01 * generator.normal(size=(3, 3))
    moved.set_cell(moved.cell[:] @ strain, scale_atoms=True)
    moved.positions += amplitude * generator.normal(size=(len(moved), 3))
    return moved


def _copies(atoms: Atoms) -> tuple[Atoms, Atoms]:
    return rattled(atoms, 1), rattled(atoms, 2)


def silicon(repeats: tuple[int, int, int]) -> Atoms:
    """Diamond silicon of cubic cells of 8 atoms."""
    return bulk("Si", "diamond", a=5.43, cubic=True) * repeats


def _alloy(repeats: tuple[int, int, int]) -> Atoms:
    atoms = bulk("Ni", "fcc", a=3.59, cubic=True) * repeats
    order = np.random.default_rng(0).permutation(len(atoms))
    atoms.symbols = np.array(ALLOY)[order % len(ALLOY)]
    return atoms


def speed_systems(quick: bool = False) -> tuple[System, ...]:
    """The four systems of the speed tables, or small cells of the same."""
    four = (2, 2, 2) if quick else (4, 4, 4)
    five = (2, 2, 2) if quick else (5, 5, 5)
    gallium_arsenide = bulk("GaAs", "zincblende", a=5.65, cubic=True) * four
    copper = bulk("Cu", "fcc", a=3.61, cubic=True) * five
    return (
        System("si", "Si", _copies(silicon(four)), 5.0, 8, 8),
        System("gaas", "GaAs", _copies(gallium_arsenide), 5.0, 8, 6),
        System("cu", "Cu", _copies(copper), 5.0, 8, 8),
        System("alloy", "five-element alloy", _copies(_alloy(five)), 5.0, 6, 6),
    )


def smoke_systems() -> tuple[System, ...]:
    """Tiny cells of the four systems with a short expansion."""
    gallium_arsenide = bulk("GaAs", "zincblende", a=5.65, cubic=True)
    copper = bulk("Cu", "fcc", a=3.61, cubic=True) * (2, 1, 1)
    return (
        System("si", "Si", _copies(silicon((1, 1, 1))), 4.5, 4, 4),
        System("gaas", "GaAs", _copies(gallium_arsenide), 4.5, 4, 3),
        System("cu", "Cu", _copies(copper), 4.0, 4, 4),
        System("alloy", "five-element alloy", _copies(_alloy((2, 2, 1))), 4.0, 3, 3),
    )
