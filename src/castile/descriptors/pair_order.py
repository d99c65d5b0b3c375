"""Pairs in the order in which densities are summed: by centre, then by element of the neighbour."""

import numpy as np
from numpy.typing import NDArray

from castile.numerics import pair_sorting
from castile.structures.neighbors import PARALLEL_CENTERS, Pairs, each_block

Indices = NDArray[np.int64]


def by_center_and_element(
    pairs: Pairs, centers: Indices, elements: Indices, n_elements: int, cutoff: float, threads: int = 1
) -> tuple[Indices, Indices, Indices, Indices, NDArray[np.float64]]:
    """Return (first, center, neighbor, element, vectors) of the pairs within ``cutoff``.

    Parameters
    ----------
    pairs : Pairs
    centers : ndarray of int64, shape (n_centers,)
        The k-th centre of the result is centre centers[k] of the pairs.
    elements : ndarray of int64, shape (n_atoms,)
        Element index of each atom, -1 for atoms that are not seen.
    n_elements : int
    cutoff : float
        Angstrom.
    threads : int

    Returns
    -------
    tuple
        The pairs of centre k and element e are first[k n_elements + e] : first[k n_elements + e + 1].
    """
    if centers is pairs.order or np.array_equal(centers, pairs.order):
        groups = np.arange(len(centers))
    else:
        place = np.empty_like(pairs.order)
        place[pairs.order] = np.arange(len(place))
        groups = place[centers]
    given = pairs.first, groups, pairs.neighbor, elements, cutoff**2, pairs.vectors, n_elements
    if threads == 1 or len(centers) < PARALLEL_CENTERS:
        return pair_sorting.sort_grouped(*given)  # type: ignore[no-any-return]
    counts = np.empty(len(centers) * n_elements, dtype=np.int64)
    each_block(lambda a, b: pair_sorting.count_grouped(*given, a, b, counts), len(centers), threads)
    first = pair_sorting.running_sum(counts)
    center, neighbor, element = (np.empty(first[-1], dtype=np.int64) for _ in range(3))
    out = center, neighbor, element, np.empty((first[-1], 3))
    each_block(lambda a, b: pair_sorting.write_grouped(*given, a, b, first, out), len(centers), threads)
    return first, *out
