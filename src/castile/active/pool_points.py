"""Environments of a pool that the sparse points of a model express worst."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from castile.execution.threads import map_chunks
from castile.potentials.environment import Environment
from castile.potentials.soap_functionals import full_spectra
from castile.potentials.soap_term import SoapTerm
from castile.regression import PriorFactor
from castile.structures.labels import LabelledStructure

CANDIDATES_PER_POINT = 8
LEAST_RESIDUAL = 1e-8
"""Prior variance, relative to that of an environment, below which a point is not worth a column."""

Array = NDArray[np.float64]


class _Candidates:
    """Environments of one element: those with the largest residual, and a random sample of all."""

    def __init__(self, limit: int, n_features: int, seed: int) -> None:
        self.half = max(limit // 2, 1)
        self.rng = np.random.default_rng(seed)
        self.features = np.zeros((0, n_features))
        self.residuals = np.zeros(0)
        self.tickets = np.zeros(0)
        self._new: list[tuple[Array, Array]] = []
        self._n_new = 0

    def add(self, features: Array, residuals: Array) -> None:
        """Take up environments, and drop those that are neither worst nor drawn."""
        self._new.append((features, residuals))
        self._n_new += len(residuals)
        if self._n_new > 2 * self.half:
            self.trim()

    def trim(self) -> None:
        """Keep the worst half and the half with the lowest tickets."""
        features, residuals = zip(*self._new, strict=True) if self._new else ((), ())
        self.features = np.concatenate([self.features, *features])
        self.residuals = np.concatenate([self.residuals, *residuals])
        self.tickets = np.concatenate([self.tickets, self.rng.random(self._n_new)])
        self._new, self._n_new = [], 0
        worst = np.argsort(-self.residuals, kind="stable")[: self.half]
        drawn = np.argsort(self.tickets, kind="stable")[: self.half]
        kept = np.union1d(worst, drawn)
        self.features, self.residuals = self.features[kept], self.residuals[kept]
        self.tickets = self.tickets[kept]


def pool_points(
    structures: Iterable[LabelledStructure],
    term: SoapTerm,
    priors: dict[str, PriorFactor],
    counts: tuple[int, ...],
    seed: int,
    threads: int | None,
    advance: Callable[[], None],
) -> SoapTerm:
    """Return the term with environments of the pool as sparse points: pivoted Cholesky factorization of the
    residual k - k_xm K_mm^-1 k_mx' over candidates, so each is what is expressed worst after those before.

    Parameters
    ----------
    structures : iterable of LabelledStructure
        One pass; the candidates, eight per point, are the worst expressed environments and a random sample.
    term : SoapTerm
        Of the model.
    priors : mapping of block name to PriorFactor
    counts : tuple of int
        Points of each element.
    seed, threads, advance
        Of the sample; of the map; called after each structure.
    """
    pools = [
        _Candidates(CANDIDATES_PER_POINT * count, term.engine.n_features, seed + e)
        for e, count in enumerate(counts)
    ]
    names = [name for name, _ in term.blocks()]

    def residuals(structure: LabelledStructure) -> list[tuple[int, Array, Array]]:
        """Features and open prior variance of the environments, by element."""
        spectra = full_spectra(term, Environment.of(structure.atoms, term.cutoff))
        found = []
        for element in np.unique(spectra.elements):
            mine = spectra.features[spectra.elements == element]
            half = _half(term, int(element), priors.get(names[element]), mine)
            own = np.einsum("if,if->i", mine, mine) ** term.zeta
            found.append((int(element), mine, own - np.einsum("si,si->i", half, half)))
        return found

    for parts in map_chunks(residuals, structures, threads):
        for element, features, rest in parts:
            pools[element].add(features, rest)
        advance()
    chosen = []
    for element, (candidates, count) in enumerate(zip(pools, counts, strict=True)):
        candidates.trim()
        half = _half(term, element, priors.get(names[element]), candidates.features)
        picked = _worst_first(term.zeta, candidates.features, half, count)
        chosen.append(candidates.features[picked])
    points = np.ascontiguousarray(np.concatenate(chosen))
    return replace(term, sparse_points=points, counts=tuple(len(part) for part in chosen), starts=None)


def _half(term: SoapTerm, element: int, prior: PriorFactor | None, features: Array) -> Array:
    """Return L^-1 k(sparse points, features) of an element, (n, n_candidates); no rows without points."""
    if prior is None:
        return np.zeros((0, len(features)))
    cross = np.maximum(term.points(element) @ features.T, 0.0) ** term.zeta
    return solve_triangular(prior.lower, cross, lower=True, check_finite=False)


def _worst_first(zeta: float, features: Array, half: Array, count: int) -> list[int]:
    """Return the pivots of the residual kernel of the candidates."""
    rest = np.einsum("if,if->i", features, features) ** zeta - np.einsum("si,si->i", half, half)
    columns = np.zeros((count, len(features)))
    picked: list[int] = []
    while len(picked) < min(count, len(features)):
        best = int(np.argmax(rest))
        if rest[best] <= LEAST_RESIDUAL:
            break
        column = np.maximum(features @ features[best], 0.0) ** zeta - half.T @ half[:, best]
        column -= columns[: len(picked)].T @ columns[: len(picked), best]
        column /= np.sqrt(rest[best])
        columns[len(picked)] = column
        rest = rest - column**2
        rest[best] = -np.inf
        picked.append(best)
    return picked
