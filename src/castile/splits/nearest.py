"""The most similar other structure of each of some structures, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from castile.execution.task_pool import TaskPool
from castile.splits.compression import Float64Array
from castile.splits.point_blocks import PointBlocks, make_blocks
from castile.splits.search import SearchCost
from castile.splits.similarity_index import Progress, SimilarityIndex, run_tasks
from castile.splits.verification import Verifier

IndexArray = NDArray[np.int64]
_BATCH = 4096
_TIE = 1e-11  # similarities closer than this are not told apart
_NONE = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True)
class Nearest:
    """Most similar other structure of each of some structures.

    Attributes
    ----------
    structures, neighbors : ndarray, shape (n,)
        Indices in the table; a neighbour of -1: there is none.
    similarities : ndarray, shape (n,)
        k, from the kernel itself.
    """

    structures: IndexArray
    neighbors: IndexArray
    similarities: Float64Array
    cost: SearchCost


def find_nearest(
    index: SimilarityIndex,
    queries: IndexArray,
    targets: IndexArray,
    *,
    lowest: float | None = None,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Nearest:
    """Return for each of ``queries`` the most similar of ``targets`` (other than itself), exactly.

    Parameters
    ----------
    queries, targets : ndarray of int
        Indices of structures; they may overlap.
    lowest : float, optional
        Similarity below which a neighbour is of no interest, and none is given: then far less is looked at.
    """
    points = index.blocks.points
    asked = make_blocks(points, index.rows_of(queries), 128)
    offered = make_blocks(points, index.rows_of(targets))
    best: dict[int, tuple[float, int]] = {}
    n_candidates = n_exact = 0
    limit = np.inf if lowest is None else 1.0 - lowest + _TIE
    task = partial(_block_nearest, index, asked, offered, limit)
    for done, result in enumerate(run_tasks(task, range(asked.n_blocks), pool), 1):
        for structure, gap, neighbor in result.found:
            if (gap, neighbor) < best.get(structure, (np.inf, -1)):
                best[structure] = (gap, neighbor)
        n_candidates += result.n_candidates
        n_exact += result.n_exact
        if progress is not None:
            progress("looking for nearest structures", done, asked.n_blocks)
    found = [best.get(int(s), (np.inf, -1)) for s in queries]
    n_pairs = len(asked.order) * len(offered.order)
    cost = SearchCost(n_pairs, 0, n_candidates, n_exact)
    return Nearest(
        np.asarray(queries),
        np.array([neighbor for _, neighbor in found], dtype=np.int64),
        np.array([1.0 - gap if np.isfinite(gap) else 0.0 for gap, _ in found]),
        cost,
    )


@dataclass(frozen=True)
class _Found:
    found: list[tuple[int, float, int]]
    n_candidates: int
    n_exact: int


def _block_nearest(
    index: SimilarityIndex, asked: PointBlocks, offered: PointBlocks, limit: float, block: int
) -> _Found:
    """Nearest structure of every row of a block with 1 - k of at most ``limit``, with its exact 1 - k."""
    verifier, owner = index.verifier, index.owner
    rows = asked.rows(block)
    highest = np.full(len(rows), limit)
    kept: list[tuple[NDArray[np.int64], NDArray[np.int64], Float64Array]] = []
    bounds = asked.block_bounds(block, offered)
    n_candidates = 0
    for other in np.argsort(bounds, kind="stable"):
        reaches = verifier.reach(highest)
        if bounds[other] ** 2 > reaches.max():
            break
        squared, error = asked.least_squares(block, int(other), offered)
        others = offered.rows(int(other))
        least = squared.astype(np.float64) - error
        least[owner[rows][:, None] == owner[others][None, :]] = np.inf
        i, j = np.nonzero(least <= verifier.reach(highest)[:, None])
        order = np.argsort(least[i, j], kind="stable")
        i, j = i[order], j[order]
        for begin in range(0, len(i), _BATCH):
            a, b = i[begin : begin + _BATCH], j[begin : begin + _BATCH]
            still = least[a, b] <= verifier.reach(highest)[a]
            a, b = a[still], b[still]
            n_candidates += len(a)
            kept += _closer(verifier, rows, others, a, b, highest)
    return _settle(index, rows, highest, kept, n_candidates)


def _closer(
    verifier: Verifier,
    rows: IndexArray,
    others: IndexArray,
    a: IndexArray,
    b: IndexArray,
    highest: Float64Array,
) -> list[tuple[IndexArray, IndexArray, Float64Array]]:
    """Pairs (position, row of the target, least 1 - k) that may be the nearest; ``highest`` is lowered.

    Where closer bounds cost more, they are formed for one pair of every position at a time, the most hopeful
    first, so that most pairs are dropped before.
    """
    low, high = verifier.bounds(rows[a], others[b], -1.0 if verifier.staged else np.inf)
    np.minimum.at(highest, a, high)
    hopeful = low <= highest[a]
    if not verifier.staged:
        return [(a[hopeful], others[b[hopeful]], low[hopeful])]
    a, b, low = a[hopeful], b[hopeful], low[hopeful]
    order = np.lexsort((low, a))
    a, b, low = a[order], b[order], low[order]
    found = []
    while len(a):
        first = np.unique(a, return_index=True)[1]
        x, y = a[first], b[first]
        near, far = verifier.bounds(rows[x], others[y], highest[x])
        np.minimum.at(highest, x, far)
        good = near <= highest[x]
        found.append((x[good], others[y[good]], near[good]))
        rest = np.ones(len(a), dtype=bool)
        rest[first] = False
        rest &= low <= highest[a]
        a, b, low = a[rest], b[rest], low[rest]
    return found


def _settle(
    index: SimilarityIndex,
    rows: IndexArray,
    highest: Float64Array,
    kept: list[tuple[IndexArray, IndexArray, Float64Array]],
    n_candidates: int,
) -> _Found:
    """Compute the kernel for every pair that can still be the nearest."""
    found: dict[int, tuple[float, int]] = {}
    n_exact = 0
    positions, targets, low = (np.concatenate(part) for part in zip(*kept, strict=True)) if kept else _NONE
    for k in np.argsort(low, kind="stable"):
        structure = int(index.owner[rows[positions[k]]])
        best = found.get(structure, (np.inf, -1))
        if low[k] > highest[positions[k]] or low[k] + _TIE >= best[0]:
            continue
        neighbor = int(index.owner[targets[k]])
        gap = index.verifier.exact(structure, neighbor)
        n_exact += 1
        found[structure] = min(best, (gap, neighbor))
    return _Found([(s, gap, neighbor) for s, (gap, neighbor) in found.items()], n_candidates, n_exact)
