"""Components of the graph of all pairs above a threshold; no pair slips through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from castile.execution.task_pool import TaskPool
from castile.splits.disjoint_sets import DisjointSets
from castile.splits.point_blocks import PointBlocks
from castile.splits.similarity_index import Progress, SimilarityIndex, run_tasks

IndexArray = NDArray[np.int64]


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
        """Count pairs that were candidates, and those computed exactly."""
        self.candidates += n_candidates
        self.exact += n_exact

    @property
    def progress(self) -> tuple[int, int]:
        """Pairs that are done, and all."""
        return min(self.excluded + self.opened, self.n_pairs), self.n_pairs

    def cost(self) -> SearchCost:
        """Return the counts."""
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
