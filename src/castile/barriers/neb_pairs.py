"""Pairs of atoms with at least one that moves: a list that stays valid along a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

SKIN = 1.0
"""Pairs are listed this much beyond the cutoff, Angstrom."""


@dataclass(frozen=True)
class PairPoint:
    """Distances (n_pairs,) in Angstrom and unit vectors (n_pairs, 3) from the first to the second atom."""

    distances: Float64Array
    units: Float64Array


class PairList:
    """Pairs (i, j, lattice vector); those between images of the same atom never change and are left out.

    Parameters
    ----------
    template : Atoms
        Elements, cell and periodicity.
    free : ndarray, shape (n_free,)
        Indices of the atoms that move.
    cutoff : float
        Angstrom; functions of a distance must vanish beyond it.
    """

    def __init__(self, template: Atoms, free: IntArray, cutoff: float) -> None:
        self.template, self.cutoff = template, cutoff
        self.n_free = len(free)
        self._place = np.full(len(template), -1)
        self._place[free] = np.arange(len(free))
        self._known: set[tuple[int, ...]] = set()
        self._covered: set[bytes] = set()
        self._set(np.empty((0, 5), dtype=int))

    def cover(self, positions: Sequence[Float64Array]) -> None:
        """Add the pairs of structures, each (n_atoms, 3); positions are never wrapped into the cell."""
        cell = self.template.cell.complete()
        known = set(self._known)
        for place in positions:
            content = place.tobytes()
            if content in self._covered:
                continue
            self._covered.add(content)
            first, second, shift = primitive_neighbor_list(
                "ijS", self.template.pbc, cell, place, self.cutoff + SKIN, use_scaled_positions=False
            )
            wanted = (first < second) & ((self._place[first] >= 0) | (self._place[second] >= 0))
            rows = np.column_stack([first, second, shift])[wanted]
            known.update(map(tuple, rows.tolist()))
        if len(known) > len(self._known):
            self._known = known
            self._set(np.array(sorted(known)).reshape(-1, 5))

    def _set(self, rows: IntArray) -> None:
        self._last: tuple[Float64Array, PairPoint] | None = None
        self.first, self.second = rows[:, 0], rows[:, 1]
        self._shift = rows[:, 2:] @ self.template.cell.complete().array
        radii = covalent_radii[self.template.numbers]
        self.contact = radii[self.first] + radii[self.second]
        numbers = self.template.numbers
        ends = np.sort(np.column_stack([numbers[self.first], numbers[self.second]]), axis=1)
        elements, self.kinds = np.unique(ends, axis=0, return_inverse=True)
        self.kinds = self.kinds.reshape(-1)
        self.n_kinds = len(elements)

    def at(self, positions: Float64Array) -> PairPoint:
        """Return distances and directions for positions (n_atoms, 3)."""
        if self._last is not None and np.array_equal(positions, self._last[0]):
            return self._last[1]
        vectors = positions[self.second] + self._shift - positions[self.first]
        distances = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        point = PairPoint(distances, vectors / distances[:, None])
        self._last = (positions.copy(), point)
        return point

    def jacobian(self, point: PairPoint, slopes: Float64Array) -> sparse.csr_matrix:
        """Return the derivatives (n_pairs, 3 n_free) of functions f_p(r_p) from slopes df_p/dr_p."""
        rows, columns, entries = [], [], []
        for atoms, sign in ((self.first, -1.0), (self.second, 1.0)):
            moving = np.flatnonzero(self._place[atoms] >= 0)
            rows.append(np.repeat(moving, 3))
            columns.append((3 * self._place[atoms[moving]][:, None] + np.arange(3)).ravel())
            entries.append((sign * slopes[moving, None] * point.units[moving]).ravel())
        content = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_matrix(content, shape=(len(slopes), 3 * self.n_free))

    def pull(self, point: PairPoint, slopes: Float64Array) -> Float64Array:
        """Return the gradient (3 n_free,) of sum_p f_p(r_p) from slopes (n_pairs,)."""
        along = slopes[:, None] * point.units
        gradient = np.zeros((self.n_free, 3))
        for atoms, sign in ((self.first, -1.0), (self.second, 1.0)):
            place = self._place[atoms]
            moving = place >= 0
            for axis in range(3):
                gradient[:, axis] += sign * np.bincount(
                    place[moving], weights=along[moving, axis], minlength=self.n_free
                )
        return gradient.ravel()
