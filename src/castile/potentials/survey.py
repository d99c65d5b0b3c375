"""Distances and counts in the training data, from which the defaults come."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from castile.structures.labels import LabelledStructure
from castile.structures.neighbors import neighbor_pairs

_SEARCH = 6.0
_MOST_ATOMS = 20_000


@dataclass(frozen=True)
class Survey:
    """What the training structures look like.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers, ascending.
    element_counts : tuple of int
        Atoms of each element in all structures.
    n_structures, n_atoms, largest : int
        Structures, atoms in all, atoms of the largest structure.
    n_periodic : int
        Structures that are periodic in at least one direction.
    bond_length : float
        Median distance of an atom's nearest neighbour, Angstrom.
    shortest : ndarray, shape (n_pairs_of_elements,)
        Shortest distance of each unordered pair of elements (infinite if never within 6 A), Angstrom.
    elements_per_atom : float
        Number of different elements in the structure of an atom, mean over atoms.
    neighbor_counts : ndarray, shape (n_radii,)
        Mean number of neighbours within each of ``radii``.
    radii : ndarray
        Angstrom.
    """

    elements: tuple[int, ...]
    element_counts: tuple[int, ...]
    n_structures: int
    n_atoms: int
    largest: int
    n_periodic: int
    bond_length: float
    shortest: NDArray[np.float64]
    elements_per_atom: float
    neighbor_counts: NDArray[np.float64]
    radii: NDArray[np.float64]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols of the elements."""
        return tuple(chemical_symbols[z] for z in self.elements)

    @property
    def molecular(self) -> bool:
        """Whether no structure is periodic."""
        return self.n_periodic == 0

    def neighbors_within(self, radius: float) -> float:
        """Return the mean number of neighbours within ``radius`` (A); beyond 6 A it grows as its cube."""
        inside = float(np.interp(radius, self.radii, self.neighbor_counts))
        return inside * max(1.0, radius / float(self.radii[-1])) ** 3


def take_survey(structures: Iterable[LabelledStructure]) -> Survey:
    """Return the survey of the training structures, in one pass.

    Distances come from all structures until 20,000 atoms were looked at, and then from every tenth.
    """
    radii = np.linspace(0.0, _SEARCH, 121)
    counts: dict[int, int] = {}
    histogram, n_seen, n_structures, n_atoms, largest, n_periodic = np.zeros(120), 0, 0, 0, 0, 0
    elements_present = 0
    nearest: list[NDArray[np.float64]] = []
    shortest: dict[tuple[int, int], float] = {}
    for structure in structures:
        atoms = structure.atoms
        n_structures += 1
        n_atoms += len(atoms)
        largest = max(largest, len(atoms))
        n_periodic += bool(atoms.pbc.any())
        elements_present += len(atoms) * len(np.unique(atoms.numbers))
        for z, count in zip(*np.unique(atoms.numbers, return_counts=True), strict=True):
            counts[int(z)] = counts.get(int(z), 0) + int(count)
        if n_seen > _MOST_ATOMS and n_structures % 10:
            continue
        n_seen += len(atoms)
        pairs = neighbor_pairs(atoms, _SEARCH)
        distances = np.linalg.norm(pairs.vectors, axis=1)
        histogram += np.histogram(distances, radii)[0]
        first = np.full(len(atoms), np.inf)
        np.minimum.at(first, pairs.center, distances)
        nearest.append(first[np.isfinite(first)])
        _note_shortest(shortest, atoms.numbers[pairs.center], atoms.numbers[pairs.neighbor], distances)
    elements = tuple(sorted(counts))
    lone = 2.0 * float(np.mean([covalent_radii[z] for z in elements]))
    found = np.concatenate(nearest) if nearest else np.empty(0)
    return Survey(
        elements,
        tuple(counts[z] for z in elements),
        n_structures,
        n_atoms,
        largest,
        n_periodic,
        float(np.median(found)) if found.size else lone,
        np.array([shortest.get(pair, np.inf) for pair in combinations_with_replacement(elements, 2)]),
        elements_present / max(n_atoms, 1),
        np.concatenate([[0.0], np.cumsum(histogram)]) / max(n_seen, 1),
        radii,
    )


def _note_shortest(
    shortest: dict[tuple[int, int], float],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    distances: NDArray[np.float64],
) -> None:
    codes = np.minimum(first, second) * 1000 + np.maximum(first, second)
    for code in np.unique(codes):
        pair = (int(code) // 1000, int(code) % 1000)
        shortest[pair] = min(shortest.get(pair, np.inf), float(distances[codes == code].min()))
