"""Random selection."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from castile.selection.distances import IndexArray, make_pool


def random_points(
    features: ArrayLike, n_select: int, *, seed: int = 0, initial: Sequence[int] | IndexArray = ()
) -> IndexArray:
    """Indices of points drawn at random, each equally likely, without duplicates.

    Arguments:
        features: (n, d); only used to leave out duplicates.
        n_select: number of new points; fewer are returned when the rest are duplicates of chosen points, all
            distinct ones when it exceeds n.
        seed: of the random numbers.
        initial: indices chosen before; they are not returned.

    Raises InputError for no points, numbers that are not finite, or indices out of range.

    """
    pool = make_pool(features, n_select, initial)
    order = np.random.default_rng(seed).permutation(len(pool.features)).astype(np.int64)
    return np.array(pool.take_distinct(order, n_select), dtype=np.int64)
