"""Many structures in a few arrays: what similarity needs of them, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.errors import InputError
from castile.structures import LabelledStructure, validate_structure


@dataclass(frozen=True)
class StructureTable:
    """Elements, positions, cells and names of structures.

    Attributes
    ----------
    first : ndarray, shape (n_structures + 1,)
        Atoms of structure s are rows first[s] to first[s + 1].
    numbers : ndarray, shape (n_atoms,)
    positions : ndarray, shape (n_atoms, 3)
        Angstrom.
    cells : ndarray, shape (n_structures, 3, 3)
        Angstrom.
    pbc : ndarray, shape (n_structures, 3)
    names : tuple of str
        "train.xyz[17]".
    """

    first: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.names)

    def __iter__(self) -> Iterator[Atoms]:
        """All structures."""
        return (self.atoms(index) for index in range(len(self)))

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Number of atoms of each structure."""
        return np.diff(self.first)

    @cached_property
    def composition(self) -> NDArray[np.float64]:
        """Mole fractions of each structure, (n_structures, n_elements of the table)."""
        elements = np.unique(self.numbers)
        counts = np.zeros((len(self), len(elements)))
        owner = np.repeat(np.arange(len(self)), self.n_atoms)
        np.add.at(counts, (owner, np.searchsorted(elements, self.numbers)), 1.0)
        return counts / self.n_atoms[:, None]

    def atoms(self, index: int) -> Atoms:
        """Return a structure, without labels."""
        rows = slice(self.first[index], self.first[index + 1])
        return Atoms(
            numbers=self.numbers[rows],
            positions=self.positions[rows],
            cell=self.cells[index],
            pbc=self.pbc[index],
        )

    def labelled(self) -> Iterator[LabelledStructure]:
        """All structures with their names."""
        return (LabelledStructure(self.atoms(k), name) for k, name in enumerate(self.names))

    def joined(self, other: StructureTable) -> StructureTable:
        """Return this table followed by another."""
        return StructureTable(
            np.concatenate([self.first, self.first[-1] + other.first[1:]]),
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.cells, other.cells]),
            np.concatenate([self.pbc, other.pbc]),
            self.names + other.names,
        )


def table_of(structures: Iterable[Atoms | LabelledStructure], what: str = "structure") -> StructureTable:
    """Return the table of structures, which are validated.

    Parameters
    ----------
    structures : iterable of ase.Atoms or LabelledStructure
    what : str
        How structures without a name are called in messages: "structure 17".

    Raises
    ------
    InputError
        For no structures, or one that is empty, not finite or of unknown elements; it is named.
    """
    numbers, positions, cells, pbc, names = [], [], [], [], []
    for index, item in enumerate(structures):
        if isinstance(item, LabelledStructure):
            atoms, name = item.atoms, item.name
        elif isinstance(item, Atoms):
            atoms, name = item, f"{what} {index}"
            validate_structure(atoms, name, 0.0)
        else:
            raise InputError(f"{what} {index} is a {type(item).__name__}; give ase.Atoms")
        numbers.append(np.asarray(atoms.numbers, dtype=np.uint8))
        positions.append(np.asarray(atoms.positions, dtype=np.float64))
        cells.append(np.asarray(atoms.cell.array, dtype=np.float64))
        pbc.append(np.asarray(atoms.pbc, dtype=bool))
        names.append(name)
    if not names:
        raise InputError("there are no structures; name at least one file or structure")
    first = np.concatenate([[0], np.cumsum([len(z) for z in numbers])]).astype(np.int64)
    return StructureTable(
        first,
        np.concatenate(numbers),
        np.concatenate(positions),
        np.stack(cells),
        np.stack(pbc),
        tuple(names),
    )
