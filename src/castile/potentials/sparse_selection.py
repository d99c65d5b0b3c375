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
CANDIDATE_BYTES = 80_000_000  # small beside the triangles, so that memory stays flat

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

    All environments where 80 MB hold them, else a seeded random sample of at least ten per point.
    """
    budget = CANDIDATE_BYTES // (8 * engine.n_features)
    rng = np.random.default_rng(seed)
    kept: list[list[NDArray[np.floating]]] = [[] for _ in elements]
    limits = [max(CANDIDATES_PER_POINT * n, budget * n // max(sum(wanted), 1)) for n in wanted]
    shares = [min(1.0, limit / max(count, 1)) for limit, count in zip(limits, element_counts, strict=True)]

    def spectra(
        item: tuple[LabelledStructure, NDArray[np.float64]],
    ) -> list[tuple[int, NDArray[np.floating]]]:
        structure, lottery = item
        ordered = sort_by_element(engine, elements, Environment.of(structure.atoms, engine.cutoff.cutoff))
        rows = []
        for begin, end, element in element_chunks(ordered.center_elements, len(elements)):
            chosen = lottery[begin:end] < shares[element]
            if chosen.any():
                rows.append((element, engine.chunk(ordered, begin, end).features[chosen]))
        return rows

    items = ((structure, rng.random(len(structure.atoms))) for structure in structures)
    for rows in map_chunks(spectra, items, threads):
        for element, features in rows:
            kept[element].append(features)
        advance()
    empty = np.empty((0, engine.n_features))
    candidates = []
    while kept:
        parts = kept.pop(0)
        candidates.append(np.concatenate(parts) if parts else empty)
    return candidates


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
