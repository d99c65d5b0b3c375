"""Greedy choice of blocks of linear observations of one Gaussian process, each given those chosen before."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError
from castile.selection.criteria import Criterion, OwnVariance
from castile.selection.distances import IndexArray
from castile.selection.posterior_root import PosteriorRoot
from castile.selection.row_blocks import RowBlocks

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class GreedyChoice:
    """Blocks in the order in which they were chosen.

    ``indices`` (n,); ``values`` (n,): worth per cost of each when it was chosen; ``n_evaluations``: blocks
    whose worth was computed after the first pass.
    """

    indices: IndexArray
    values: Float64Array
    n_evaluations: int


def greedy_blocks(
    blocks: RowBlocks,
    n_select: int,
    *,
    criterion: Criterion | None = None,
    root: PosteriorRoot | None = None,
    bounds: ArrayLike | None = None,
    costs: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    quotas: ArrayLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> GreedyChoice:
    """Choose the blocks of largest worth, one after the other, each given those before.

    Lazy: worths only fall, so the last known worth of a block is a bound, and only blocks whose bound is
    largest are computed again. That is exact for ``OwnVariance`` and ``Information``, whose worths grow with
    the posterior covariance; for ``TargetCovariance`` it is the usual approximation.

    Arguments:
        blocks: whitened rows in units of their noise.
        n_select: number of blocks; fewer are returned when there are fewer, or their quotas are.
        criterion: default ``OwnVariance``.
        root: what was observed before; changed by the choice. Default: nothing.
        bounds: (n,) numbers that no worth exceeds, which save the first evaluation of most blocks.
        costs: (n,) positive numbers by which the worths are divided; default 1.
        strata: (n,) stratum 0, 1, ... of each block, with ``quotas``: how many of each may be chosen.
        progress: called with the number chosen.

    Raises InputError for a negative number, or strata that do not fit.

    Source: Minoux, in Optimization Techniques (1978), 234 (lazy greedy); Krause, Singh and Guestrin, J.
    Mach. Learn. Res. 9, 235 (2008) (information of Gaussian processes).

    """
    criterion = OwnVariance() if criterion is None else criterion
    root = PosteriorRoot(blocks.n_columns) if root is None else root
    n_blocks = len(blocks)
    members, room = _strata(n_blocks, n_select, strata, quotas)
    costs = np.ones(n_blocks) if costs is None else np.array(costs, dtype=np.float64)
    bounds = np.full(n_blocks, np.inf) if bounds is None else np.array(bounds, dtype=np.float64) / costs
    n_evaluations, chosen, values = 0, list[int](), list[float]()
    bounds[room[members] == 0] = -np.inf
    while len(chosen) < min(n_select, n_blocks):
        best, whitened, n_computed = _best_block(blocks, criterion, root, bounds, costs)
        n_evaluations += n_computed
        if bounds[best] == -np.inf:
            break
        criterion.observe(root, whitened)
        root.observe(whitened)
        chosen.append(best)
        values.append(float(bounds[best]))
        bounds[best] = -np.inf
        room[members[best]] -= 1
        if room[members[best]] == 0:
            bounds[members == members[best]] = -np.inf
        if progress is not None:
            progress(len(chosen))
    return GreedyChoice(np.array(chosen, dtype=np.int64), np.array(values), n_evaluations)


def _best_block(
    blocks: RowBlocks, criterion: Criterion, root: PosteriorRoot, bounds: Float64Array, costs: Float64Array
) -> tuple[int, Float64Array, int]:
    """Block of the largest worth per cost now, its Z, and how many worths were computed, which ``bounds``
    take up.
    """
    computed = set[int]()
    while True:
        best = int(np.argmax(bounds))
        if bounds[best] == -np.inf:
            return best, np.empty((0, blocks.n_columns)), len(computed)
        whitened = root.whiten(blocks[best])
        if best in computed:
            return best, whitened, len(computed)
        bounds[best] = criterion.value(whitened) / costs[best]
        computed.add(best)


def _strata(
    n_blocks: int, n_select: int, strata: ArrayLike | None, quotas: ArrayLike | None
) -> tuple[IndexArray, IndexArray]:
    """Stratum of each block and room in each stratum; one stratum with room for all by default."""
    if n_select < 0:
        raise InputError(f"n_select is {n_select}; give 0 or more")
    if strata is None or quotas is None:
        return np.zeros(n_blocks, dtype=np.int64), np.array([max(n_select, 1)], dtype=np.int64)
    members, room = np.asarray(strata, dtype=np.int64), np.array(quotas, dtype=np.int64)
    if members.shape != (n_blocks,) or (n_blocks and not 0 <= members.min() <= members.max() < len(room)):
        raise InputError(
            f"strata of shape {members.shape} do not fit {n_blocks} blocks and {len(room)} quotas"
        )
    return members, room
