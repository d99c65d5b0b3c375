"""Shares of strata in a selection."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError
from castile.selection.distances import IndexArray


def stratum_quotas(counts: ArrayLike, n_select: int) -> IndexArray:
    """How many of each stratum are chosen: in proportion to its size, at least one, never more than it has.

    Largest remainders. With fewer picks than strata the largest strata get one each.

    Arguments:
        counts: (k,) members of each stratum.
        n_select: number of picks; all members when it exceeds their number.

    Raises InputError for negative numbers.

    """
    sizes = np.asarray(counts, dtype=np.int64)
    if n_select < 0 or (len(sizes) and sizes.min() < 0):
        raise InputError(f"n_select = {n_select} of strata with {sizes.tolist()} members: give 0 or more")
    total = int(sizes.sum())
    wanted = min(n_select, total)
    quotas = np.zeros(len(sizes), dtype=np.int64)
    by_size = np.argsort(-sizes, kind="stable")
    quotas[by_size[:wanted]] = sizes[by_size[:wanted]] > 0
    while quotas.sum() < wanted:
        deficit = np.where(quotas < sizes, sizes * (wanted / total) - quotas, -np.inf)
        quotas[int(np.argmax(deficit))] += 1
    return quotas


def strata_of(labels: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Stratum number of each label, and the label of each stratum in alphabetical order."""
    names = tuple(sorted(set(labels)))
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[label] for label in labels], dtype=np.int64), names
