"""What is kept of a candidate: a row of numbers, and its structure where it is among the best."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

_MASK = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Row:
    """A candidate that was predicted.

    Attributes
    ----------
    index : int
        Position among all structures that were read.
    name, formula : str
    n_atoms : int
    mean, std : float
        In the unit of the target; std NaN where the model has none.
    grade : float
        Above 1 the candidate lies outside the training data; NaN where the model cannot tell.
    similarity : float
        To the most similar known structure; NaN without known ones.
    scores : tuple of float
        By each objective; larger is better.
    """

    index: int
    name: str
    formula: str
    n_atoms: int
    mean: float
    std: float
    grade: float
    similarity: float
    scores: tuple[float, ...]

    @property
    def extrapolates(self) -> bool:
        """Whether it lies outside the training data."""
        return self.grade > 1.0

    def plain(self) -> list[Any]:
        """As JSON has it."""
        values = [self.mean, self.std, self.grade, self.similarity]
        numbers = [None if np.isnan(value) else value for value in values]
        return [self.index, self.name, self.formula, self.n_atoms, *numbers, list(self.scores)]


def row_of(plain: Sequence[Any]) -> Row:
    """Return the row that :meth:`Row.plain` wrote."""
    mean, std, grade, similarity = (float("nan") if value is None else value for value in plain[4:8])
    index, name, formula, n_atoms = plain[:4]
    return Row(index, name, formula, n_atoms, mean, std, grade, similarity, tuple(plain[8]))


@dataclass(frozen=True)
class KeptCandidate:
    """A candidate with its structure."""

    row: Row
    atoms: Atoms


def plain_structure(atoms: Atoms) -> list[Any]:
    """Return numbers, positions, cell and periodicity as JSON has them, with all digits."""
    return [
        atoms.numbers.tolist(), atoms.positions.tolist(), atoms.cell.array.tolist(), atoms.pbc.tolist()
    ]  # fmt: skip


def structure_of(plain: Sequence[Any]) -> Atoms:
    """Return the structure that :func:`plain_structure` wrote."""
    numbers, positions, cell, pbc = plain
    return Atoms(numbers, positions, cell=cell, pbc=pbc)


class BestList:
    """The best candidates of a stream: what sorting all of them would put first, in bounded memory.

    Equal scores are told apart by the merit of the mean, then by the position: the earlier one is better.

    Parameters
    ----------
    size : int
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._heap: list[tuple[float, float, int, KeptCandidate]] = []

    def accepts(self, score: float, merit: float, index: int) -> bool:
        """Whether a candidate would be among the best now."""
        if len(self._heap) < self.size:
            return True
        return self.size > 0 and (score, merit, -index) > self._heap[0][:3]

    def add(self, score: float, merit: float, kept: KeptCandidate) -> None:
        """Take a candidate in; the worst one leaves if there are too many."""
        entry = (score, merit, -kept.row.index, kept)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, entry)
        elif self.size:
            heapq.heappushpop(self._heap, entry)

    def sorted(self) -> list[KeptCandidate]:
        """Return the candidates, best first."""
        return [entry[3] for entry in sorted(self._heap, key=lambda entry: entry[:3], reverse=True)]

    def __iter__(self) -> Iterator[KeptCandidate]:
        """The candidates, best first."""
        return iter(self.sorted())

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self._heap)


def sample_score(index: int, seed: int) -> float:
    """Return a number in [0, 1) that depends on the index alone: the largest ones make a random sample."""
    bits = (index * 0x9E3779B97F4A7C15 + (seed + 1) * 0xD1B54A32D192ED03) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return float((bits ^ (bits >> 31)) >> 11) * 2.0**-53
