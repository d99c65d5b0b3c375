"""Exact searches: links above a threshold, nearest structures, the closest pair across parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from castile.execution.task_pool import TaskPool
from castile.splits.compression import Float64Array
from castile.splits.disjoint_sets import DisjointSets
from castile.splits.point_blocks import PointBlocks, make_blocks
from castile.splits.similarity_index import Progress, SimilarityIndex, run_tasks
from castile.splits.verification import Verifier

IndexArray = NDArray[np.int64]
_BATCH = 4096
_TIE = 1e-11  # similarities closer than this are not told apart when the nearest is looked for
_NO_LINKS = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
_NONE = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True)
class SearchCost:
    """What a search looked at.

    Attributes
    ----------
    n_pairs : int
        Pairs of rows in all.
    n_excluded_by_blocks : int
        Pairs never looked at: their blocks are too far apart, or hold one component already.
    n_candidates : int
        Pairs that the matrix products did not exclude and that were looked at closer.
    n_exact : int
        Pairs for which the kernel itself was computed.
    """

    n_pairs: int = 0
    n_excluded_by_blocks: int = 0
    n_candidates: int = 0
    n_exact: int = 0

    def __add__(self, other: SearchCost) -> SearchCost:
        """Sum."""
        return SearchCost(
            self.n_pairs + other.n_pairs,
            self.n_excluded_by_blocks + other.n_excluded_by_blocks,
            self.n_candidates + other.n_candidates,
            self.n_exact + other.n_exact,
        )

    @property
    def pruned_fraction(self) -> float:
        """Share of the pairs that bounds excluded without looking at the pair itself."""
        return 1.0 - self.n_candidates / self.n_pairs if self.n_pairs else 0.0


@dataclass(frozen=True)
class Components:
    """Connected components of the graph of similar structures.

    Attributes
    ----------
    labels : ndarray, shape (n_structures,)
        Numbered from 0 by their first structures.
    cost : SearchCost
    """

    labels: IndexArray
    cost: SearchCost

    @property
    def sizes(self) -> IndexArray:
        """Number of structures of each component."""
        return np.bincount(self.labels)


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


@dataclass(frozen=True)
class _Job:
    """Two blocks and what is known about the components of their rows."""

    block: int
    other: int
    labels: IndexArray
    other_labels: IndexArray


@dataclass(frozen=True)
class _Links:
    first: IndexArray
    second: IndexArray
    n_candidates: int
    n_exact: int


def find_components(
    index: SimilarityIndex,
    threshold: float,
    *,
    groups: IndexArray | None = None,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Components:
    """Return the components of the graph whose links are the pairs with k > threshold. No pair slips through.

    Parameters
    ----------
    index : SimilarityIndex
    threshold : float
    groups : ndarray, shape (n_structures,), optional
        Structures of the same number belong together whatever their similarity.
    """
    owner, blocks = index.owner, index.blocks
    sets = DisjointSets(index.n_structures)
    for labels in [owner] if groups is None else [owner, groups]:
        if labels is groups:
            _, start = np.unique(labels, return_index=True)
            sets.union(np.arange(len(labels)), start[np.searchsorted(labels[start], labels)])
    gap = 1.0 - threshold
    reach = float(np.sqrt(index.verifier.reach(gap)))
    tally = _Tally(len(owner))
    task = partial(_block_links, index, gap)
    for done, links in enumerate(run_tasks(task, _jobs(blocks, owner, sets, reach, tally), pool)):
        sets.union(links.first, links.second)
        tally.add(links.n_candidates, links.n_exact)
        if progress is not None and done % 16 == 0:
            progress("comparing structures", *tally.progress)
    if progress is not None:
        progress("comparing structures", tally.n_pairs, tally.n_pairs)
    return Components(sets.labels(), tally.cost())


class _Tally:
    """Counts of one search over all pairs of rows."""

    def __init__(self, n_rows: int) -> None:
        self.n_pairs = n_rows * (n_rows - 1) // 2
        self.excluded = self.opened = self.candidates = self.exact = 0

    def add(self, n_candidates: int, n_exact: int) -> None:
        self.candidates += n_candidates
        self.exact += n_exact

    @property
    def progress(self) -> tuple[int, int]:
        return min(self.excluded + self.opened, self.n_pairs), self.n_pairs

    def cost(self) -> SearchCost:
        return SearchCost(self.n_pairs, self.excluded, self.candidates, self.exact)


def _jobs(
    blocks: PointBlocks, owner: IndexArray, sets: DisjointSets, reach: float, tally: _Tally
) -> Iterator[_Job]:
    """Pairs of blocks that may hold a link between two components."""
    for block in range(blocks.n_blocks):
        bounds = blocks.block_bounds(block)
        rows = blocks.rows(block)
        for other in range(block, blocks.n_blocks):
            other_rows = blocks.rows(other)
            n_pairs = len(rows) * (len(rows) - 1) // 2 if other == block else len(rows) * len(other_rows)
            if bounds[other] > reach:
                tally.excluded += n_pairs
                continue
            labels, other_labels = sets.find(owner[rows]), sets.find(owner[other_rows])
            if labels[0] == other_labels[0] and len(np.unique(np.append(labels, other_labels))) == 1:
                tally.excluded += n_pairs
                continue
            tally.opened += n_pairs
            yield _Job(block, other, labels, other_labels)


def _block_links(index: SimilarityIndex, gap: float, job: _Job) -> _Links:
    """Links of two blocks that connect what was apart."""
    verifier, blocks = index.verifier, index.blocks
    squared, error = blocks.least_squares(job.block, job.other)
    limit = np.float32(verifier.reach(gap) + error) * np.float32(1.0 + 1e-6)
    near = squared <= limit
    if job.block == job.other:
        near = np.triu(near, 1)
    i, j = np.nonzero(near)
    order = np.argsort(squared[i, j], kind="stable")
    i, j = i[order], j[order]
    names, compact = np.unique(np.concatenate([job.labels, job.other_labels]), return_inverse=True)
    sets, split = DisjointSets(len(names)), len(job.labels)
    rows, others = blocks.rows(job.block), blocks.rows(job.other)
    found: list[tuple[int, int]] = []
    n_candidates = n_exact = 0
    while len(i):
        apart = sets.find(compact[i]) != sets.find(compact[split + j])
        i, j = i[apart], j[apart]
        a, b = i[: verifier.batch], j[: verifier.batch]
        i, j = i[verifier.batch :], j[verifier.batch :]
        n_candidates += len(a)
        low, high = verifier.bounds(rows[a], others[b], gap)
        linked = high < gap
        for k in np.flatnonzero((low < gap) & ~linked):
            n_exact += 1
            linked[k] = verifier.exact(index.owner[rows[a[k]]], index.owner[others[b[k]]]) < gap
        sets.union(compact[a[linked]], compact[split + b[linked]])
        found += zip(rows[a[linked]].tolist(), others[b[linked]].tolist(), strict=True)
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    return _Links(index.owner[pairs[:, 0]], index.owner[pairs[:, 1]], n_candidates, n_exact)


@dataclass(frozen=True)
class Forest:
    """Links of a spanning forest of least 1 - k: at every threshold it has the components of the graph.

    Attributes
    ----------
    first, second : ndarray, shape (n_links,)
        Structures.
    gaps : ndarray, shape (n_links,)
        1 - k, ascending.
    n_structures : int
    """

    first: IndexArray
    second: IndexArray
    gaps: Float64Array
    n_structures: int

    def labels(self, threshold: float) -> IndexArray:
        """Return the component of each structure at a threshold, (n_structures,)."""
        sets = DisjointSets(self.n_structures)
        used = self.gaps < 1.0 - threshold
        sets.union(self.first[used], self.second[used])
        return sets.labels()


def find_forest(
    index: SimilarityIndex,
    lowest: float,
    *,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Forest:
    """Return the forest of all links with k > lowest; memory grows with the structures, not the links."""
    blocks, n = index.blocks, index.n_structures
    reach = float(np.sqrt(index.verifier.reach(1.0 - lowest)))
    pairs = [(b, c) for b in range(blocks.n_blocks) for c in range(b, blocks.n_blocks)]
    near = [(b, c) for b, c in pairs if blocks.block_bounds(b)[c] <= reach]
    forest = _reduced(n, *_NO_LINKS)
    for done, found in enumerate(run_tasks(partial(_block_forest, index, 1.0 - lowest), near, pool), 1):
        forest = _reduced(n, *(np.concatenate(part) for part in zip(forest, found, strict=True)))
        if progress is not None:
            progress("curve of components", done, len(near))
    order = np.argsort(forest[2], kind="stable")
    return Forest(forest[0][order], forest[1][order], forest[2][order], n)


def _block_forest(
    index: SimilarityIndex, gap: float, pair: tuple[int, int]
) -> tuple[IndexArray, IndexArray, Float64Array]:
    """Links of a spanning forest of two blocks."""
    verifier, blocks, owner = index.verifier, index.blocks, index.owner
    squared, error = blocks.least_squares(*pair)
    near = squared <= np.float32(verifier.reach(gap) + error) * np.float32(1.0 + 1e-6)
    i, j = np.nonzero(np.triu(near, 1) if pair[0] == pair[1] else near)
    rows, others = blocks.rows(pair[0])[i], blocks.rows(pair[1])[j]
    parts = [_NO_LINKS]
    for begin in range(0, len(rows), verifier.batch):
        a, b = rows[begin : begin + verifier.batch], others[begin : begin + verifier.batch]
        low, high = verifier.bounds(a, b, gap)
        linked = low < gap
        middle = 0.5 * (low + high)[linked]
        parts.append((owner[a[linked]], owner[b[linked]], np.maximum(middle, 0.0)))
    return _reduced(index.n_structures, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _reduced(
    n: int, first: IndexArray, second: IndexArray, gaps: Float64Array
) -> tuple[IndexArray, IndexArray, Float64Array]:
    """Keep the links of a spanning forest of least weight."""
    apart = first != second
    a, b = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
    order = np.lexsort((gaps[apart], b, a))
    a, b, weights = a[order], b[order], gaps[apart][order]
    new = np.ones(len(a), dtype=bool)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    graph = coo_array((weights[new] + 1.0, (a[new], b[new])), shape=(n, n))  # 0 would be no link
    kept = coo_array(minimum_spanning_tree(graph.tocsr()))
    rows, columns = kept.coords
    return rows.astype(np.int64), columns.astype(np.int64), kept.data - 1.0


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
