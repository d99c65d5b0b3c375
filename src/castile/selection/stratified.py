"""Any selector of points, stratum by stratum."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.selection.distances import IndexArray
from castile.selection.strata import stratum_quotas


class PointSelector(Protocol):
    """Signature of the selectors of points."""

    def __call__(
        self, features: ArrayLike, n_select: int, *, seed: int = 0, initial: Sequence[int] | IndexArray = ()
    ) -> IndexArray:
        """Indices (n_select,) or fewer."""
        ...


def stratified_points(
    select: PointSelector,
    features: NDArray[np.floating],
    n_select: int,
    strata: ArrayLike,
    *,
    seed: int = 0,
    initial: Sequence[int] | IndexArray = (),
) -> IndexArray:
    """Indices chosen by ``select`` from each stratum in its share; the strata take turns in order of size.

    What was chosen from other strata counts as chosen before, so that strata that overlap do not repeat each
    other. Raises what ``select`` and ``stratum_quotas`` raise.

    Arguments:
        select: one of ``SELECTORS``.
        features: (n, d).
        n_select: number of points.
        strata: (n,) stratum 0, 1, ... of each point; -1: only ever ``initial``, in no stratum.
        seed: handed to ``select``.
        initial: indices chosen before.

    """
    members = np.asarray(strata, dtype=np.int64)
    before = np.asarray(initial, dtype=np.int64).reshape(-1)
    free = np.ones(len(members), dtype=bool)
    free[before] = False
    sizes = np.bincount(members[free & (members >= 0)], minlength=int(members.max(initial=-1)) + 1)
    chosen = before
    for stratum in np.argsort(-sizes, kind="stable"):
        quota = int(stratum_quotas(sizes, n_select)[stratum])
        if quota == 0:
            continue
        mine = np.flatnonzero(free & (members == stratum))
        rows = np.concatenate([chosen, mine])
        picked = select(features[rows], quota, seed=seed, initial=np.arange(len(chosen)))
        chosen = np.concatenate([chosen, rows[picked]])
    return chosen[len(before) :]
