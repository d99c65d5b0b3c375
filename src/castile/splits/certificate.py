"""The largest similarity across any two parts: the number that a split is certified with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from castile.execution.task_pool import TaskPool
from castile.splits.compression import Float64Array
from castile.splits.search import SearchCost
from castile.splits.similarity_index import Progress, SimilarityIndex, run_tasks

IndexArray = NDArray[np.int64]
_TIE = 1e-12


@dataclass(frozen=True)
class ClosestPair:
    """The most similar structures of two parts."""

    part: int
    other_part: int
    structure: int
    other_structure: int
    similarity: float


@dataclass(frozen=True)
class Certificate:
    """The closest pair of every two parts, most similar first.

    Attributes
    ----------
    pairs : tuple of ClosestPair
    cost : SearchCost
    """

    pairs: tuple[ClosestPair, ...]
    cost: SearchCost

    @property
    def largest_similarity(self) -> float:
        """Largest k across any two parts, 0 where there is only one."""
        return max((pair.similarity for pair in self.pairs), default=0.0)


@dataclass(frozen=True)
class _Job:
    block: int
    other: int
    limits: Float64Array


@dataclass(frozen=True)
class _Found:
    pairs: list[tuple[int, int, float, int, int]]
    n_candidates: int
    n_exact: int


def certify(
    index: SimilarityIndex,
    parts: IndexArray,
    *,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Return the closest pair of every two parts; every pair of structures is bounded or computed.

    Parameters
    ----------
    index : SimilarityIndex
    parts : ndarray, shape (n_structures,)
        Part of each structure; negative ones are in no part.
    pool, progress
        As for :func:`castile.splits.similarity_index.build_index`.
    """
    n_parts = int(parts.max(initial=-1)) + 1
    best: dict[tuple[int, int], tuple[float, int, int]] = {}
    limits = np.ones((n_parts, n_parts))
    rows_of_parts = np.bincount(parts[index.owner][parts[index.owner] >= 0], minlength=max(n_parts, 1))
    total = int((rows_of_parts.sum() ** 2 - (rows_of_parts**2).sum()) // 2)
    candidates = exact = 0
    task = partial(_closest_of_blocks, index, parts)
    near = _near_first(index)
    for done, found in enumerate(run_tasks(task, _jobs(index, near, limits), pool)):
        for p, q, gap, i, j in found.pairs:
            if (gap, i, j) < best.get((p, q), (np.inf, -1, -1)):
                best[p, q] = (gap, i, j)
                limits[p, q] = limits[q, p] = min(gap, 1.0)
        candidates += found.n_candidates
        exact += found.n_exact
        if progress is not None and done % 16 == 0:
            progress("certifying", min(done, len(near[0])), len(near[0]))
    if progress is not None:
        progress("certifying", len(near[0]), len(near[0]))
    pairs = [ClosestPair(p, q, i, j, 1.0 - gap) for (p, q), (gap, i, j) in best.items()]
    pairs.sort(key=lambda pair: (-pair.similarity, pair.part, pair.other_part))
    return Certificate(tuple(pairs), SearchCost(total, 0, candidates, exact))


def _near_first(index: SimilarityIndex) -> tuple[IndexArray, IndexArray, Float64Array]:
    """Pairs of blocks and the least distance of their points, ascending."""
    blocks = index.blocks
    first, second = np.triu_indices(blocks.n_blocks)
    bounds = np.concatenate([blocks.block_bounds(b)[b:] for b in range(blocks.n_blocks)])
    order = np.argsort(bounds, kind="stable")
    return first[order], second[order], bounds[order]


def _jobs(
    index: SimilarityIndex, near: tuple[IndexArray, IndexArray, Float64Array], limits: Float64Array
) -> Iterator[_Job]:
    """Pairs of blocks that may hold a closer pair than those known."""
    across = ~np.eye(len(limits), dtype=bool)
    for block, other, bound in zip(*near, strict=True):
        if bound**2 > float(index.verifier.reach(limits[across].max(initial=0.0))):
            return
        yield _Job(int(block), int(other), limits.copy())


def _closest_of_blocks(index: SimilarityIndex, parts: IndexArray, job: _Job) -> _Found:
    """Closest pair of every two parts among the rows of two blocks, where closer than the limits."""
    blocks, verifier, owner = index.blocks, index.verifier, index.owner
    rows, others = blocks.rows(job.block), blocks.rows(job.other)
    p, q = parts[owner[rows]], parts[owner[others]]
    reaches = verifier.reach(job.limits)
    reaches[np.diag_indices(len(reaches))] = -1.0
    padded = np.full((len(reaches) + 1, len(reaches) + 1), -1.0)  # last row: in no part
    padded[:-1, :-1] = reaches
    if (padded[np.unique(p)][:, np.unique(q)] < 0.0).all():
        return _Found([], 0, 0)
    squared, error = blocks.least_squares(job.block, job.other)
    limit = padded[p[:, None], q[None, :]].astype(np.float32) * np.float32(1.0 + 1e-6) + np.float32(error)
    near = (squared <= limit) & (padded[p[:, None], q[None, :]] >= 0.0)
    i, j = np.nonzero(np.triu(near, 1) if job.block == job.other else near)
    order = np.argsort(squared[i, j], kind="stable")
    i, j = i[order], j[order]
    least = np.maximum(squared[i, j].astype(np.float64) - error, 0.0)
    limits = job.limits.copy()
    found: dict[tuple[int, int], tuple[float, int, int]] = {}
    n_candidates = n_exact = 0
    edges = np.unique(np.append(np.arange(0, len(i), verifier.batch), [min(16, len(i)), len(i)]))
    for begin, end in pairwise(edges):
        a, b = i[begin:end], j[begin:end]
        still = least[begin:end] <= verifier.reach(limits)[p[a], q[b]]
        a, b = a[still], b[still]
        if not len(a):
            continue
        n_candidates += len(a)
        low, high = verifier.bounds(rows[a], others[b], limits[p[a], q[b]])
        upper = np.full(limits.shape, np.inf)
        np.minimum.at(upper, (p[a], q[b]), high)
        upper = np.minimum(upper, upper.T)
        for k in np.argsort(low, kind="stable"):
            x, y = int(p[a[k]]), int(q[b[k]])
            if low[k] > upper[x, y] or low[k] + _TIE >= limits[x, y]:
                continue
            s, t = int(owner[rows[a[k]]]), int(owner[others[b[k]]])
            gap = verifier.exact(s, t)
            n_exact += 1
            key, pair = ((x, y), (s, t)) if x < y else ((y, x), (t, s))
            if gap < limits[x, y] or key not in found:
                found[key] = min(found.get(key, (np.inf, -1, -1)), (gap, *pair))
                limits[x, y] = limits[y, x] = min(limits[x, y], gap)
    return _Found([(*key, *value) for key, value in found.items()], n_candidates, n_exact)
