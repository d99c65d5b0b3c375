"""Neighbour pairs of the atoms of a structure, or of points that are no atoms, periodic in any directions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.threads import share_chunks
from castile.numerics import cell_grid, cell_lists
from castile.numerics.compilation import call_kernel
from castile.structures.cells import search_cell

MOST_IMAGES = 1000  # around the cell; more say that the lattice vectors are long and skewed
PARALLEL_CENTERS = 2000  # fewer are not worth a second thread
PART = 16000  # centres whose pairs are in memory at the same time
_BLOCK = 500

Result = TypeVar("Result")
Indices = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """All pairs (centre, neighbour image) of some centres with 0 < r < cutoff; those of a centre follow one
    another.

    Attributes
    ----------
    center, neighbor : ndarray of int64, shape (n_pairs,)
        Index of the centre (among the centres) and of the neighbouring atom (among the atoms).
    vectors : ndarray, shape (n_pairs, 3)
        r_neighbor + image - r_center, Angstrom.
    n_centers, n_atoms : int
        Centres that these pairs belong to, and atoms of the whole structure.
    order : ndarray of int64, shape (n_centers,)
        The centres as the pairs have them: near each other in space where the centres are the atoms.
    first : ndarray of int64, shape (n_centers + 1,)
        The pairs of centre order[k] are first[k] : first[k + 1].
    closest : int
        The pair with the smallest distance, -1 if there is no pair.
    cutoff : float
        Angstrom; infinite where it is not known.
    """

    center: Indices
    neighbor: Indices
    vectors: Array
    n_centers: int
    n_atoms: int
    order: Indices
    first: Indices
    closest: int
    cutoff: float = np.inf

    @classmethod
    def by_center(
        cls, center: Indices, neighbor: Indices, vectors: Array, n_centers: int, n_atoms: int
    ) -> "Pairs":
        """Return pairs whose ``center`` ascends."""
        first = np.searchsorted(center, np.arange(n_centers + 1))
        squared = np.einsum("pa,pa->p", vectors, vectors)
        closest = int(squared.argmin()) if len(squared) else -1
        return cls(center, neighbor, vectors, n_centers, n_atoms, np.arange(n_centers), first, closest)


def neighbor_pairs(atoms: Atoms, cutoff: float, centers: Array | None = None, threads: int = 1) -> Pairs:
    """Return the pairs of ``atoms`` within ``cutoff``; an atom sees its own periodic images.

    Parameters
    ----------
    atoms : ase.Atoms
    cutoff : float
        Angstrom.
    centers : ndarray, shape (n_centers, 3), optional
        Positions (Angstrom) of the centres; the atoms themselves by default. A centre that coincides with an
        atom does not see that atom (r = 0).
    threads : int
        That share the search; the result does not depend on them.

    Raises
    ------
    InputError
        If a position or the cell is not finite, a periodic direction has no extent, or the cutoff is no
        positive number.
    """
    n_atoms = len(atoms)
    points = None if centers is None else np.ascontiguousarray(np.reshape(centers, (-1, 3)), dtype=np.float64)
    n_centers = n_atoms if points is None else len(points)
    if not n_centers or not n_atoms:
        empty = np.empty(0, dtype=np.int64)
        return Pairs.by_center(empty, empty, np.empty((0, 3)), n_centers, n_atoms)
    positions, cell, periodic = _checked(atoms, cutoff)
    if points is not None:
        _check_finite(points, "centre")
    elif threads == 1 or n_atoms < PARALLEL_CENTERS:
        order, first, center, neighbor, vectors, closest = call_kernel(
            cell_lists.atom_pairs, positions, cell, periodic, cutoff
        )
        return Pairs(center, neighbor, vectors, n_atoms, n_atoms, order, first, closest, cutoff)
    return NeighborSearch(positions, cell, periodic, cutoff, points).pairs(0, n_centers, threads)


def neighbor_search(
    atoms: Atoms, cutoff: float, points: Array | None = None, chosen: Indices | None = None
) -> "NeighborSearch":
    """Return the search of the neighbours of all atoms, of ``points`` (n_centers, 3) that are no atoms, or of
    the atoms ``chosen``.

    Arguments and errors are those of :func:`neighbor_pairs`.
    """
    given = _checked(atoms, cutoff)
    if points is not None:
        _check_finite(points, "centre")
    return NeighborSearch(*given, cutoff, points, chosen)


def neighbor_parts(atoms: Atoms, cutoff: float, threads: int = 1) -> Iterator[Pairs]:
    """Yield the pairs of at most ``PART`` centres at a time, so that memory does not grow with the structure.

    The centres of a part are near each other; ``Pairs.order`` tells which they are. Arguments and errors are
    those of :func:`neighbor_pairs`.
    """
    n_atoms = len(atoms)
    if n_atoms <= PART:
        yield neighbor_pairs(atoms, cutoff, threads=threads)
        return
    search = neighbor_search(atoms, cutoff)
    size = -(-n_atoms // -(-n_atoms // PART))
    for begin in range(0, n_atoms, size):
        yield search.pairs(begin, min(begin + size, n_atoms), threads)


def _checked(atoms: Atoms, cutoff: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return (positions, lattice vectors for the search, periodic directions)."""
    if not 0.0 < cutoff < np.inf:
        raise InputError(f"cutoff = {cutoff}: give a positive number of Angstrom")
    positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
    _check_finite(positions, "atom")
    periodic = np.asarray(atoms.pbc, dtype=bool)
    cell = search_cell(np.asarray(atoms.cell.array, dtype=np.float64), periodic)
    if cell_grid.count_images(cell, periodic, cutoff) > MOST_IMAGES:
        cell = np.ascontiguousarray(minkowski_reduce(cell, pbc=periodic)[0])
    return positions, cell, periodic


class NeighborSearch:
    """Atoms in their cells, ready for the search of any range of centres.

    Parameters
    ----------
    positions, cell, periodic
        Of the atoms.
    cutoff : float
        Angstrom.
    points : ndarray, shape (n_centers, 3), optional
        Centres that are no atoms; by default the centres are all atoms, near each other in space.
    chosen : ndarray of int64, shape (n_centers,), optional
        Atoms that are the centres.

    Attributes
    ----------
    order : ndarray of int64, shape (n_centers,)
        The centres as the search has them, as numbers of atoms, of points, or within ``chosen``.
    """

    def __init__(
        self,
        positions: Array,
        cell: Array,
        periodic: NDArray[np.bool_],
        cutoff: float,
        points: Array | None = None,
        chosen: Indices | None = None,
    ) -> None:
        self._grid = call_kernel(cell_grid.make_grid, positions, cell, periodic, cutoff)
        self._atoms = atoms = call_kernel(cell_grid.sort_into_cells, positions, self._grid)
        self.n_atoms, self.cutoff = len(positions), cutoff
        if points is not None:
            self.order = np.arange(len(points))
            own = np.full(len(points), -1)
            where, home = call_kernel(cell_grid.place_points, points, self._grid)
            self._centers = cell_lists.Centers(where, home, own)
            return
        where = call_kernel(cell_grid.coordinates, atoms)
        if chosen is None:
            self.order = atoms.order
            self._centers = cell_lists.Centers(where, atoms.home, np.arange(self.n_atoms))
        else:
            place = np.empty(self.n_atoms, dtype=np.int64)
            place[atoms.order] = np.arange(self.n_atoms)
            self.order = np.argsort(place[chosen], kind="stable")
            own = place[chosen[self.order]]
            self._centers = cell_lists.Centers(where[own], atoms.home[own], own)

    @property
    def tables(self) -> tuple[cell_grid.CellGrid, cell_grid.CellList, cell_lists.Centers, float]:
        """What :func:`castile.numerics.cell_lists.find_pairs` takes first."""
        return self._grid, self._atoms, self._centers, self.cutoff

    def grouped(self, begin: int, end: int, kinds: Indices, n_kinds: int, labels: Indices) -> "GroupedPairs":
        """Return the pairs of centres begin:end of the order, grouped by centre and kind of the neighbour.

        Parameters
        ----------
        kinds : ndarray of int64, shape (n_atoms,)
            Of the atoms, from 0 to n_kinds - 1; those of negative kind are no neighbours.
        n_kinds : int
        labels : ndarray of int64, shape (at least end - begin,)
            What the centres are called in the result.
        """
        found = call_kernel(cell_lists.find_pairs, *self.tables, kinds, n_kinds, begin, end, labels)
        return GroupedPairs(*found)

    def pairs(self, begin: int, end: int, threads: int) -> Pairs:
        """Return the pairs of centres begin:end of the order, which threads share."""
        alike = np.zeros(self.n_atoms, dtype=np.int64)
        blocks = each_block(lambda a, b: self.grouped(a, b, alike, 1, self.order[a:b]), begin, end, threads)
        counts = [len(block.center) for block in blocks]
        before = np.cumsum([0, *counts])
        first = [block.first[:-1] + shift for block, shift in zip(blocks, before[:-1], strict=True)]
        distance, closest = min(
            (block.closest[0], block.closest[1] + int(shift))
            for block, shift in zip(blocks, before[:-1], strict=True)
        )
        return Pairs(
            np.concatenate([block.center for block in blocks]),
            np.concatenate([block.neighbor for block in blocks]),
            np.concatenate([block.vectors for block in blocks]),
            end - begin,
            self.n_atoms,
            self.order[begin:end],
            np.concatenate([*first, before[-1:]]),
            closest if np.isfinite(distance) else -1,
            self.cutoff,
        )


class GroupedPairs(NamedTuple):
    """Pairs of some centres; those of centre k with neighbours of kind q are first[k n_kinds + q] :
    first[k n_kinds + q + 1].

    closest: (squared distance in A^2, number) of the closest pair, number -1 where there is none.
    """

    first: Indices
    center: Indices
    neighbor: Indices
    kind: Indices
    vectors: Array
    closest: tuple[float, int]


def each_block(work: Callable[[int, int], Result], begin: int, end: int, threads: int) -> list[Result]:
    """Return work(a, b) of blocks a:b of begin:end, which threads share where there are many."""
    if threads == 1 or end - begin < PARALLEL_CENTERS:
        return [work(begin, end)]
    size = min(_BLOCK, -(-(end - begin) // (2 * threads)))
    blocks = [(a, min(a + size, end)) for a in range(begin, end, size)]
    return share_chunks(lambda block: work(*block), blocks, threads)


def _check_finite(points: Array, what: str) -> None:
    finite = np.isfinite(points)
    if not finite.all():
        bad = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise InputError(f"{what} {bad} has position {points[bad].tolist()}; correct or remove the structure")
