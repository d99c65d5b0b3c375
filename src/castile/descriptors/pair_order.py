"""Pairs in the order in which densities are summed: by centre, then by element of the neighbour."""

import numpy as np
from numpy.typing import NDArray

from castile.numerics import pair_sorting
from castile.numerics.compilation import call_kernel
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
        Some or all centres of the pairs; the k-th of the result is centre centers[k].
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
    in_order = centers is pairs.order or np.array_equal(centers, pairs.order)
    if in_order and n_elements == 1 and cutoff >= pairs.cutoff and not elements.any():
        center = np.repeat(np.arange(len(centers)), np.diff(pairs.first))
        return pairs.first, center, pairs.neighbor, np.zeros_like(center), pairs.vectors
    if in_order:
        groups = np.arange(len(centers))
    else:
        place = np.empty(max(pairs.n_atoms, pairs.n_centers), dtype=np.int64)
        place[pairs.order] = np.arange(len(pairs.order))
        groups = place[centers]
    given = pairs.first, groups, pairs.neighbor, elements, cutoff**2, pairs.vectors, n_elements
    if threads == 1 or len(centers) < PARALLEL_CENTERS:
        return call_kernel(pair_sorting.sort_grouped, *given)
    counts = np.empty(len(centers) * n_elements, dtype=np.int64)
    each_block(lambda a, b: pair_sorting.count_grouped(*given, a, b, counts), 0, len(centers), threads)
    first = pair_sorting.running_sum(counts)
    center, neighbor, element = (np.empty(first[-1], dtype=np.int64) for _ in range(3))
    out = center, neighbor, element, np.empty((first[-1], 3))
    each_block(lambda a, b: pair_sorting.write_grouped(*given, a, b, first, out), 0, len(centers), threads)
    return first, *out
