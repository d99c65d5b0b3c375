"""A spanning forest of least dissimilarity: the components at every threshold at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from castile.execution.task_pool import TaskPool
from castile.splits.compression import Float64Array
from castile.splits.disjoint_sets import DisjointSets
from castile.splits.similarity_index import Progress, SimilarityIndex, run_tasks

IndexArray = NDArray[np.int64]
_KNOWN = 0.05  # of 1 - k; half as much of the distance


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


class _Links(NamedTuple):
    """Pairs of structures with the least and the largest 1 - k that they can have."""

    first: IndexArray
    second: IndexArray
    low: Float64Array
    high: Float64Array


_NO_LINKS = _Links(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))


def find_forest(
    index: SimilarityIndex,
    lowest: float,
    *,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Forest:
    """Return the forest of all links with k > lowest; memory grows with the structures, not the links.

    Links are chosen by the least 1 - k that they can have. The kernel is computed for those of the forest
    whose bounds are further apart than five hundredths, and they are chosen again, until none is open: no
    other link can then be shorter than the one it would replace.
    """
    blocks, gap = index.blocks, 1.0 - lowest
    reach = float(np.sqrt(index.verifier.reach(gap)))
    bounds = {(b, b + k): bound for b in range(blocks.n_blocks)
              for k, bound in enumerate(blocks.block_bounds(b)[b:]) if bound <= reach}  # fmt: skip
    near = sorted(bounds, key=lambda pair: (bounds[pair], pair))
    forest = _NO_LINKS
    for done, found in enumerate(run_tasks(partial(_block_links, index, gap), near, pool), 1):
        forest = _settled(index, _joined([forest, found]), gap)
        if progress is not None:
            progress("curve of components", done, len(near))
    gaps = 0.5 * (forest.low + forest.high)
    order = np.argsort(gaps, kind="stable")
    return Forest(forest.first[order], forest.second[order], gaps[order], index.n_structures)


def _block_links(index: SimilarityIndex, gap: float, pair: tuple[int, int]) -> _Links:
    """All pairs of two blocks that may have 1 - k below the gap."""
    verifier, blocks, owner = index.verifier, index.blocks, index.owner
    squared, error = blocks.least_squares(*pair)
    near = squared <= np.float32(verifier.reach(gap) + error) * np.float32(1.0 + 1e-6)
    i, j = np.nonzero(np.triu(near, 1) if pair[0] == pair[1] else near)
    rows, others = blocks.rows(pair[0])[i], blocks.rows(pair[1])[j]
    parts = [_NO_LINKS]
    for begin in range(0, len(rows), verifier.batch):
        a, b = rows[begin : begin + verifier.batch], others[begin : begin + verifier.batch]
        low, high = verifier.bounds(a, b, gap)
        linked = (low < gap) & (owner[a] != owner[b])
        first, second = np.sort([owner[a[linked]], owner[b[linked]]], axis=0)
        parts.append(_Links(first, second, np.maximum(low[linked], 0.0), np.maximum(high[linked], 0.0)))
    return _joined(parts)


def _joined(parts: Sequence[_Links]) -> _Links:
    """All links, each pair of structures once, with the least of its bounds."""
    first, second, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((second, first))
    first, second, low, high = first[order], second[order], low[order], high[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    begins = np.flatnonzero(new)
    if len(begins):
        low, high = np.minimum.reduceat(low, begins), np.minimum.reduceat(high, begins)
    return _Links(first[begins].astype(np.int64), second[begins].astype(np.int64), low, high)


def _settled(index: SimilarityIndex, links: _Links, gap: float) -> _Links:
    """The links of the forest of least 1 - k, all of them known well enough."""
    low, high = links.low.copy(), links.high.copy()
    while True:
        kept = _spanning(index.n_structures, links.first, links.second, low)
        unknown = kept[high[kept] - low[kept] > _KNOWN * high[kept]]
        if not len(unknown):
            kept = kept[low[kept] < gap]
            return _Links(links.first[kept], links.second[kept], low[kept], high[kept])
        pairs = np.column_stack([links.first, links.second])[unknown].tolist()
        exact = list(run_tasks(partial(_exact, index), pairs, None))
        low[unknown] = high[unknown] = exact


def _exact(index: SimilarityIndex, pair: Sequence[int]) -> float:
    """1 - k of two structures, from the kernel itself."""
    return index.verifier.exact(*pair)


def _spanning(n: int, first: IndexArray, second: IndexArray, weights: Float64Array) -> IndexArray:
    """Which of the links, sorted by their pairs, are in the spanning forest of least weight."""
    graph = coo_array((weights + 1.0, (first, second)), shape=(n, n))  # 0 would be no link
    rows, columns = coo_array(minimum_spanning_tree(graph.tocsr())).coords
    pairs = np.minimum(rows, columns).astype(np.int64) * n + np.maximum(rows, columns)
    return np.sort(np.searchsorted(first * n + second, pairs))
