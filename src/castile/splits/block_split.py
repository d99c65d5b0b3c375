"""Parts that are successive blocks of the data, with a buffer of removed structures between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.execution.task_pool import TaskPool
from castile.splits.assignment import Assignment
from castile.splits.compression import Float64Array
from castile.splits.nearest import find_nearest
from castile.splits.similarity_index import Progress, SimilarityIndex

IndexArray = NDArray[np.int64]
REMOVED = -1


def split_in_blocks(
    index: SimilarityIndex,
    threshold: float,
    fractions: Float64Array,
    *,
    groups: IndexArray | None = None,
    pool: TaskPool | None = None,
    progress: Progress | None = None,
) -> Assignment:
    """Cut the data, in their order, into blocks and remove what is similar across them.

    The last parts are kept whole; from each part before, the structures with k > threshold to any later part
    are removed, and with them the rest of their group where it reaches across.

    Parameters
    ----------
    index : SimilarityIndex
        Of structures in their natural order, such as time.
    threshold : float
    fractions : ndarray, shape (n_parts,)
        Of the structures, before removal.
    groups : ndarray, shape (n_structures,), optional

    Raises
    ------
    InputError
        If nothing is left of a part.
    """
    n = index.n_structures
    edges = np.round(np.cumsum(fractions)[:-1] * n).astype(np.int64)
    parts = np.searchsorted(edges, np.arange(n), side="right").astype(np.int64)
    for part in range(len(fractions) - 2, -1, -1):
        later = np.flatnonzero(parts > part)
        own = np.flatnonzero(parts == part)
        if groups is not None:
            shared = np.isin(groups[own], groups[later])
            parts[own[shared]] = REMOVED
            own = own[~shared]
        if len(own) and len(later):
            nearest = find_nearest(index, own, later, lowest=threshold, pool=pool, progress=progress)
            parts[own[nearest.similarities >= threshold]] = REMOVED
    sizes = np.bincount(parts[parts >= 0], minlength=len(fractions))
    if (sizes == 0).any():
        empty = int(np.flatnonzero(sizes == 0)[0])
        raise InputError(
            f"nothing is left of part {empty}: all its structures are more similar than {threshold:.6g} to a "
            "later part. Choose a higher threshold, or larger fractions"
        )
    reached = sizes / n
    largest = int(sizes.max())
    return Assignment(parts, tuple(fractions.tolist()), tuple(reached.tolist()), largest)
