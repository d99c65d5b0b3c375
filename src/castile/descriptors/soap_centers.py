"""The centres of a structure as SOAP wants them: checked, and with the pairs of any range of them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from castile.descriptors.base import element_codes
from castile.descriptors.soap_engine import SoapEngine, SortedPairs
from castile.errors import InputError
from castile.execution.scratch import Scratch
from castile.numerics.cell_grid import CellGrid, CellList
from castile.numerics.compilation import call_kernel
from castile.numerics.soap_chunks import Room, SoapTables, find_gradients, find_spectra
from castile.structures.coincidence import (
    COINCIDENCE_DISTANCE,
    refuse_close,
    refuse_coincident_atoms,
)
from castile.structures.neighbors import NeighborSearch, Pairs, neighbor_pairs, neighbor_search

Centers = ArrayLike | None
Indices = NDArray[np.int64]
KernelArguments = tuple[CellGrid, CellList, Any, float, Indices, int, int, Indices, SoapTables, Room]


class FoundGradients(NamedTuple):
    """Derivatives of an energy of some centres by the positions of their neighbours.

    ``neighbor`` and ``gradient`` (n_pairs, 3) hold the atom of each pair and dE/dr_ij, ``on_centers``
    (n_centers, 3) what is left for the centres, ``strain`` (3, 3) the derivative by a homogeneous strain.
    """

    neighbor: NDArray[np.int64]
    gradient: NDArray[np.floating]
    on_centers: NDArray[np.float64]
    strain: NDArray[np.float64]


@dataclass(frozen=True)
class SoapCenters:
    """Centres of a structure whose neighbours are searched range by range, near ones together.

    Attributes
    ----------
    engine : SoapEngine
    search : NeighborSearch
    codes : ndarray of int64, shape (n_atoms,)
        Element index of each atom.
    rows : ndarray of int64, shape (n_centers,)
        Row of the features of each centre of the search.
    elements, atoms : ndarray of int64, shape (n_centers,)
        Element index and number of the atom that a centre of the search is; -1 for points that are no atoms.
    free : bool
        Whether the centres are points that move on their own.
    name : str
        Of the structure, for messages.
    """

    engine: SoapEngine
    search: NeighborSearch
    codes: Indices
    rows: Indices
    elements: Indices
    atoms: Indices
    free: bool
    name: str

    def __len__(self) -> int:
        return len(self.rows)

    def pairs(self, begin: int, end: int) -> SortedPairs:
        """Return the pairs of centres begin:end of the search, numbered from 0.

        Raises
        ------
        InputError
            If two atoms are in one place.
        """
        n_elements = self.engine.n_elements
        found = self.search.grouped(begin, end, self.codes, n_elements, np.arange(end - begin))
        closest = found.closest[1]
        pairs = SortedPairs(
            found.first,
            found.center,
            found.neighbor,
            found.kind,
            found.vectors.astype(self.engine.dtype, copy=False),
            self.elements[begin:end],
            self.atoms[begin:end],
        )
        if closest >= 0 and not self.free:
            i, j = int(pairs.center_atoms[pairs.center[closest]]), int(pairs.neighbor[closest])
            refuse_close(pairs.vectors[closest], i, j, self.name)
        return pairs

    def write_spectra(self, begin: int, end: int, out: NDArray[np.floating], scratch: Scratch) -> None:
        """Write the power spectra of centres begin:end of the search to their rows of ``out`` (n_centers,
        n_features); raises as :meth:`pairs` does.
        """
        given = self._kernel_arguments(begin, end, scratch)
        self._check_closest(find_spectra(*given, out, self.rows[begin:end]), begin, end)

    def gradients(
        self, begin: int, end: int, weights: NDArray[np.floating], rows: Indices, scratch: Scratch
    ) -> FoundGradients:
        """Return the derivatives of the sum of weights[rows] times the power spectra of centres begin:end of
        the search.

        Raises
        ------
        InputError
            If two atoms are in one place, or a weight is not finite.
        """
        given = self._kernel_arguments(begin, end, scratch)
        squared, is_finite, *found = call_kernel(find_gradients, *given, weights, rows)
        self._check_closest(squared, begin, end)
        if not is_finite:
            raise InputError("cotangent contains NaN or infinite numbers")
        return FoundGradients(*found)

    def _kernel_arguments(self, begin: int, end: int, scratch: Scratch) -> KernelArguments:
        """What the kernels of :mod:`castile.numerics.soap_chunks` take for centres begin:end."""
        chosen, room = self.elements[begin:end], self.engine.room(end - begin, scratch)
        return *self.search.tables, self.codes, begin, end, chosen, self.engine.tables, room

    def _check_closest(self, squared: float, begin: int, end: int) -> None:
        """Raise if the squared distance of the closest pair says that two atoms are in one place."""
        if squared < COINCIDENCE_DISTANCE**2:
            self.pairs(begin, end)


def find_centers(
    engine: SoapEngine, atoms: Atoms, species: tuple[int, ...], centers: Centers, name: str
) -> SoapCenters:
    """Return the centres of a structure, ready for the search of their neighbours.

    Parameters
    ----------
    engine : SoapEngine
    atoms : ase.Atoms
    species : tuple of int
        Atomic numbers in the order of the engine's element index.
    centers : array, optional
        Indices of atoms, or positions (n_centers, 3); default: all atoms.
    name : str
        Of the structure, for messages.

    Raises
    ------
    InputError
        For an unknown element, centres that are neither, and structures that cannot be searched.
    """
    codes = element_codes(atoms, species, name)
    chosen, points = _chosen_or_points(atoms, centers, name)
    try:
        search = neighbor_search(atoms, engine.cutoff.cutoff, points, chosen)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if points is not None:
        outside = np.full(len(points), -1, dtype=np.int64)
        return SoapCenters(engine, search, codes, search.order, outside, outside, True, name)
    own = search.order if chosen is None else chosen[search.order]
    return SoapCenters(engine, search, codes, search.order, codes[own], own, False, name)


def sorted_pairs(
    engine: SoapEngine, atoms: Atoms, species: tuple[int, ...], centers: Centers, name: str, threads: int
) -> tuple[SortedPairs, bool]:
    """Return all pairs of the centres in the order in which they were asked for, and whether the centres are
    points that move on their own; arguments and errors are those of :func:`find_centers`.
    """
    codes = element_codes(atoms, species, name)
    chosen, points = _chosen_or_points(atoms, centers, name)
    pairs = _named_pairs(atoms, engine.cutoff.cutoff, name, threads, points)
    if points is not None:
        return engine.sort(pairs, codes, np.full(len(points), -1, dtype=np.int64), None, threads), True
    refuse_coincident_atoms(pairs, name)
    ordered = engine.sort(pairs, codes, codes, np.arange(len(atoms)), threads)
    return ordered if chosen is None else _subset(ordered, chosen, engine.n_elements), False


def _chosen_or_points(
    atoms: Atoms, centers: Centers, name: str
) -> tuple[Indices | None, NDArray[np.float64] | None]:
    """Return (chosen atoms, None), (None, points), or (None, None) for all atoms."""
    if centers is None:
        return None, None
    chosen: NDArray[Any] = np.asarray(centers)
    if chosen.ndim == 2 and chosen.shape[1] == 3 and np.issubdtype(chosen.dtype, np.number):
        return None, np.ascontiguousarray(chosen, dtype=np.float64)
    if chosen.ndim != 1 or not (chosen.size == 0 or np.issubdtype(chosen.dtype, np.integer)):
        raise InputError(
            f"{name}: centers has shape {chosen.shape} and type {chosen.dtype}; "
            "give atom indices (n,) or positions (n, 3)"
        )
    if chosen.size and (chosen.min() < -len(atoms) or chosen.max() >= len(atoms)):
        wrong = chosen.max() if chosen.max() >= len(atoms) else chosen.min()
        raise InputError(f"{name}: centers names atom {wrong}, but there are {len(atoms)} atoms")
    return chosen.astype(np.int64) % max(len(atoms), 1), None


def _named_pairs(
    atoms: Atoms, cutoff: float, name: str, threads: int, points: NDArray[np.float64] | None
) -> Pairs:
    try:
        return neighbor_pairs(atoms, cutoff, points, threads)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _subset(ordered: SortedPairs, chosen: Indices, n_elements: int) -> SortedPairs:
    """Return the pairs of the chosen centres only, in that order."""
    starts = ordered.first[chosen * n_elements]
    counts = ordered.first[(chosen + 1) * n_elements] - starts
    shift = np.cumsum(counts) - counts
    pick = np.repeat(starts - shift, counts) + np.arange(counts.sum())
    segments = (chosen[:, None] * n_elements + np.arange(n_elements)).ravel()
    sizes = ordered.first[segments + 1] - ordered.first[segments]
    return SortedPairs(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.repeat(np.arange(len(chosen)), counts),
        ordered.neighbor[pick],
        ordered.element[pick],
        ordered.vectors[pick],
        ordered.center_elements[chosen],
        ordered.center_atoms[chosen],
    )
