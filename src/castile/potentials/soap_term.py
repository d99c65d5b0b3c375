"""The many-body term: E = sum_i sum_s w_s (p_i . p_s)^zeta over the sparse points s of the element of atom
i.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import Chunk, SoapEngine, SortedPairs, chunk_spans
from castile.kernels import DotProductKernel
from castile.numerics.compilation import call_kernel
from castile.numerics.kernel_powers import raise_dots
from castile.numerics.kernel_rows import add_kernel_rows, rows_of_pairs
from castile.numerics.panel_products import pack_panels
from castile.potentials.energy_functions import EnergyFunction, energy_function
from castile.potentials.environment import Environment, Response, Rows
from castile.potentials.soap_response import Piece, add_soap_response
from castile.potentials.stored_term import StoredTerm, restore_engine, store_engine

_BLOCK_BYTES = 500_000  # of derivatives of spectra that stay in cache while they meet all sparse points
_FEWEST_PAIRS = 32

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SoapTerm:
    """SOAP kernel term with its sparse points.

    Parameters
    ----------
    name : str
    engine : SoapEngine
    elements : tuple of int
        Atomic numbers in the order of the engine's element index.
    zeta : float
        Exponent of the kernel.
    sparse_points : ndarray, shape (n_sparse, n_features)
        Power spectra of the sparse points, sorted by element.
    counts : tuple of int
        Number of sparse points of each element.
    starts : tuple of int, optional
        First column of each element; one after the other if not given.
    precision : "float64" or "float32"
        Of the products with the sparse points at prediction; training rows are always in double precision.
    """

    kind: ClassVar[str] = "soap"
    name: str
    engine: SoapEngine
    elements: tuple[int, ...]
    zeta: float
    sparse_points: Array
    counts: tuple[int, ...]
    starts: tuple[int, ...] | None = None
    precision: str = "float64"

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""
        return self.engine.cutoff.cutoff

    @property
    def n_columns(self) -> int:
        """Number of weights."""
        return len(self.sparse_points)

    def columns(self, element: int) -> slice:
        """Return the columns of the sparse points of an element index."""
        start = sum(self.counts[:element]) if self.starts is None else self.starts[element]
        return slice(start, start + self.counts[element])

    def points(self, element: int) -> Array:
        """Return the sparse points of an element index, (counts[element], n_features)."""
        start = sum(self.counts[:element])
        return self.sparse_points[start : start + self.counts[element]]

    def store(self) -> StoredTerm:
        """Return the term without its weights."""
        engine = store_engine(self.engine)
        header = {
            "name": self.name,
            "elements": list(self.elements),
            "zeta": self.zeta,
            "counts": list(self.counts),
            "engine": dict(engine.header),
        }
        return StoredTerm(header, {**engine.arrays, "sparse_points": self.sparse_points})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "SoapTerm":
        """Return the term that :meth:`store` described."""
        header = stored.header
        return cls(
            header["name"],
            restore_engine(StoredTerm(header["engine"], stored.arrays)),
            tuple(header["elements"]),
            header["zeta"],
            stored.arrays["sparse_points"],
            tuple(header["counts"]),
        )

    def restricted(self, numbers: NDArray[np.int64]) -> "SoapTerm":
        """Return the term for structures of these elements only: features of absent channels are zero there.

        Its columns are those of the full term. A binary structure of a four-element model costs a fourth.
        Terms of other sets of elements are kept as long as all together are not larger than this one.
        """
        if len(self.elements) == 1:
            return self
        found = set(np.flatnonzero(np.bincount(numbers)).tolist())
        present = tuple(e for e, z in enumerate(self.elements) if z in found)
        if len(present) == len(self.elements) or not present:
            return self
        views: dict[tuple[int, ...], SoapTerm] = self.__dict__.setdefault("_views", {})
        view = views.pop(present, None) or self._restricted_to(present)
        views[present] = view  # the last one used is the last one to go
        for oldest in list(views):
            if sum(kept.sparse_points.nbytes for kept in list(views.values())) <= self.sparse_points.nbytes:
                break
            if oldest != present:
                views.pop(oldest, None)
        return view

    def _restricted_to(self, present: tuple[int, ...]) -> "SoapTerm":
        engine, features = self.engine.restricted(present)
        points = [self.points(e)[:, features] for e in present]
        return SoapTerm(
            self.name,
            engine,
            tuple(self.elements[e] for e in present),
            self.zeta,
            np.ascontiguousarray(np.concatenate(points)),
            tuple(self.counts[e] for e in present),
            tuple(self.columns(e).start for e in present),
            self.precision,
        )

    def blocks(self) -> list[tuple[str, slice]]:
        """Return (label, columns) of the parts whose prior covariance is independent of the others'."""
        return [(f"{self.name}/{z}", self.columns(e)) for e, z in enumerate(self.elements)]

    def gram(self, columns: slice) -> Array:
        """Return K_mm of unit amplitude between the sparse points in ``columns``."""
        points = self.sparse_points[columns]
        return DotProductKernel(self.zeta).matrix(points, points)

    def sorted_pairs(self, environment: Environment, threads: int = 1) -> SortedPairs:
        """Return the pairs of a structure with its centres sorted by element, then by their place."""
        return sort_by_element(self.engine, self.elements, environment, environment.pairs.order, threads)

    def add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial of the term, given its weights (n_columns,)."""
        self.restricted(environment.numbers)._add_response(environment, weights, response, threads)

    def _add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int
    ) -> None:
        ordered = self.sorted_pairs(environment, threads)
        pieces = [
            Piece(begin, end, self._energy(element, weights))
            for begin, end, element in element_chunks(ordered.center_elements, len(self.elements))
            if self.counts[element]
        ]
        add_soap_response(self.engine, ordered, pieces, response, threads)

    def _energy(self, element: int, weights: Array) -> EnergyFunction:
        """Return the energy of an atom of an element index; kept until other weights come."""
        cached: dict[int, tuple[Array, EnergyFunction]] = self.__dict__.setdefault("_energies", {})
        own = weights[self.columns(element)]
        if element not in cached or not np.array_equal(cached[element][0], own):
            function = energy_function(self.points(element), own, self.zeta, 0.0, self.precision)
            cached[element] = own.copy(), function
        return cached[element][1]

    def add_rows(self, environment: Environment, rows: Rows) -> None:
        """Add the training rows of a structure; rows of one kind that are not wanted have length zero."""
        self.restricted(environment.numbers)._add_rows(environment, rows)

    def _add_rows(self, environment: Environment, rows: Rows) -> None:
        ordered = self.sorted_pairs(environment)
        for begin, end, element in element_chunks(ordered.center_elements, len(self.elements)):
            columns = self.columns(element)
            if columns.start == columns.stop:
                continue
            points = self.points(element)
            chunk = self.engine.chunk(ordered, begin, end)
            dots = chunk.features @ points.T
            powers = np.empty_like(dots)
            raise_dots(dots, self.zeta, powers)
            rows.energy[columns] += np.einsum("is,is->s", powers, dots)
            if len(rows.forces) or len(rows.virial):
                self._add_derivative_rows(ordered, chunk, element, dots, powers, rows)

    def _add_derivative_rows(
        self, ordered: SortedPairs, chunk: Chunk, element: int, dots: Array, powers: Array, rows: Rows
    ) -> None:
        norms = np.where(chunk.norms > 0.0, chunk.norms, np.inf)
        scale = norms if self.engine.normalize else np.ones_like(norms)
        factors = powers * (self.zeta / scale)[:, None]
        panels, columns = self._panels(element), self.columns(element)
        first, last = self.engine.pair_range(ordered, chunk.begin, chunk.end)
        step = max(_FEWEST_PAIRS, _BLOCK_BYTES // (3 * 8 * self.engine.n_features))
        for start in range(first, last, step):
            stop = min(start + step, last)
            changes = np.zeros((rows_of_pairs(stop - start), self.engine.n_features))
            self.engine.pair_derivatives(ordered, chunk, start, stop, changes)
            add_kernel_rows(
                changes,
                chunk.features,
                self.engine.normalize,
                panels,
                dots,
                factors,
                ordered.center[start:stop] - chunk.begin,
                ordered.center_atoms[chunk.begin : chunk.end],
                ordered.neighbor[start:stop],
                ordered.vectors[start:stop],
                rows.forces[:, columns],
                rows.virial[:, columns],
            )

    def _panels(self, element: int) -> Array:
        """Return the sparse points of an element index as the products of training rows want them."""
        cached: dict[int, Array] = self.__dict__.setdefault("_packed", {})
        if element not in cached:
            cached[element] = call_kernel(pack_panels, self.points(element))
        return cached[element]


def sort_by_element(
    engine: SoapEngine,
    elements: tuple[int, ...],
    environment: Environment,
    order: NDArray[np.int64] | None = None,
    threads: int = 1,
) -> SortedPairs:
    """Return the pairs of a structure sorted by centre and neighbour element, centres sorted by element.

    Centres of one element keep the order in which they stand in ``order``, by default that of the atoms.
    """
    codes = _lookup(elements)[environment.numbers]
    if order is None:
        order = np.arange(len(codes))
    own = codes[order]
    if len(elements) > 1:
        ascending = np.argsort(own, kind="stable")
        order, own = order[ascending], own[ascending]
    return engine.sort(environment.pairs, codes, own, order, threads)


@cache
def _lookup(elements: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the element index of each atomic number, -1 for others."""
    lookup = np.full(120, -1, dtype=np.int64)
    lookup[list(elements)] = np.arange(len(elements))
    return lookup


def element_chunks(center_elements: NDArray[np.int64], n_elements: int) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, end, element) of at most ``CHUNK`` centres of one element; centres are sorted by
    element.
    """
    bounds = np.searchsorted(center_elements, np.arange(n_elements + 1))
    for element in range(n_elements):
        for begin, end in chunk_spans(int(bounds[element]), int(bounds[element + 1])):
            yield begin, end, element
