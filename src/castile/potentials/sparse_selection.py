"""Choice of the sparse points of a SOAP term from the environments of the training structures."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import SoapEngine
from castile.execution.threads import map_chunks
from castile.potentials.environment import Environment
from castile.potentials.soap_term import element_chunks, sort_by_element
from castile.selection import SELECTORS
from castile.structures.labels import LabelledStructure

CANDIDATES_PER_POINT = 10
CANDIDATE_BYTES = 40_000_000  # small beside the triangles, so that memory stays flat

Array = NDArray[np.float64]


def sparse_counts(n_sparse: int, element_counts: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many sparse points each element gets: in proportion to the root of its number of atoms.

    No element gets more points than it has atoms; what it leaves goes to the others.
    """
    weights = np.sqrt(np.asarray(element_counts, dtype=float))
    limits = np.asarray(element_counts)
    result = np.zeros(len(limits), dtype=int)
    while result.sum() < min(n_sparse, limits.sum()):
        open_ = result < limits
        room = min(n_sparse, limits.sum()) - result.sum()
        share = np.where(open_, weights, 0.0)
        extra = np.floor(room * share / share.sum()).astype(int)
        if extra.sum() == 0:
            extra[int(np.argmax(share * (result < limits) / (result + 1)))] = 1
        result = np.minimum(result + extra, limits)
    return tuple(int(n) for n in result)


def candidate_environments(
    structures: Iterable[LabelledStructure],
    engine: SoapEngine,
    elements: tuple[int, ...],
    element_counts: tuple[int, ...],
    wanted: tuple[int, ...],
    seed: int,
    threads: int | None,
    advance: Callable[[], None],
) -> list[Array]:
    """Return the power spectra among which each element's sparse points are chosen.

    All environments where 40 MB hold them, else a seeded random sample of at least ten per point.
    """
    budget = CANDIDATE_BYTES // (8 * engine.n_features)
    rng = np.random.default_rng(seed)
    limits = [max(CANDIDATES_PER_POINT * n, budget * n // max(sum(wanted), 1)) for n in wanted]
    shares = [min(1.0, limit / max(count, 1)) for limit, count in zip(limits, element_counts, strict=True)]

    def spectra(
        item: tuple[LabelledStructure, NDArray[np.float64]],
    ) -> list[tuple[int, NDArray[np.floating]]]:
        """Spectra (element, rows) of the atoms of one structure that its lottery drew."""
        structure, lottery = item
        ordered = sort_by_element(engine, elements, Environment.of(structure.atoms, engine.cutoff.cutoff))
        rows = []
        for begin, end, element in element_chunks(ordered.center_elements, len(elements)):
            chosen = lottery[begin:end] < shares[element]
            if chosen.any():
                rows.append((element, engine.chunk(ordered, begin, end).features[chosen]))
        return rows

    kept = [_Rows(_most_drawn(n, share), engine.n_features)
            for n, share in zip(element_counts, shares, strict=True)]  # fmt: skip
    items = ((structure, rng.random(len(structure.atoms))) for structure in structures)
    for rows in map_chunks(spectra, items, threads):
        for element, features in rows:
            kept[element].append(features)
        advance()
    return [rows.filled for rows in kept]


def _most_drawn(n: int, share: float) -> int:
    """Number of draws out of n that is hardly ever exceeded: six standard deviations above the mean."""
    return min(n, int(np.ceil(n * share + 6.0 * np.sqrt(n * share * (1.0 - share)))))


class _Rows:
    """Rows written one after the other into memory that is taken only as far as it is filled."""

    def __init__(self, most_rows: int, n_columns: int) -> None:
        """Reserve the addresses; pages that nobody writes to cost nothing."""
        self._rows = np.empty((most_rows, n_columns))
        self._size = 0

    def append(self, rows: NDArray[np.floating]) -> None:
        """Add rows; those for which there is no room are left out."""
        end = min(self._size + len(rows), len(self._rows))
        self._rows[self._size : end] = rows[: end - self._size]
        self._size = end

    @property
    def filled(self) -> Array:
        """The rows so far."""
        return self._rows[: self._size]


def choose_sparse_points(
    candidates: list[Array], wanted: tuple[int, ...], method: str, seed: int
) -> tuple[Array, tuple[int, ...]]:
    """Return (sparse points sorted by element, number per element); duplicates are never chosen twice."""
    chosen = []
    for features, count in zip(candidates, wanted, strict=True):
        if count == 0 or len(features) == 0:
            chosen.append(features[:0])
            continue
        picked = SELECTORS[method](features, count, seed=seed)
        chosen.append(features[picked])
    return np.concatenate(chosen), tuple(len(points) for points in chosen)
