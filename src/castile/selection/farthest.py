"""Farthest-point selection: every next point is the one farthest from all chosen before."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from castile.selection.distances import FloatArray, IndexArray, Pool, make_pool

CANDIDATES = 512


def farthest_points(
    features: ArrayLike, n_select: int, *, seed: int = 0, initial: Sequence[int] | IndexArray = ()
) -> IndexArray:
    """Indices of points chosen greedily, i = argmax_i min_(j chosen) |p_i - p_j|^2.

    Exact, but most of the work is matrix products: distances only fall as points are chosen, so that a point
    of the current top 512 that is still farther than the 513th was is the farthest of all. The others
    learn of a batch of picks at once. (20,000 points, 400 features, 3000 picks: 3 s on one core.)

    Arguments:
        features: (n, d); for normalized SOAP vectors the squared distance is 2 - 2 p_i . p_j.
        n_select: number of new points. Fewer are returned when the rest are duplicates of chosen ones
            (squared distance below 1e-10 of the largest squared norm), all distinct ones when it exceeds n.
        seed: chooses the first point when ``initial`` is empty.
        initial: indices chosen before; they are not returned.

    Raises InputError for no points, numbers that are not finite, or indices out of range.

    Source: Gonzalez, Theor. Comput. Sci. 38, 293 (1985); Imbalzano et al., J. Chem. Phys. 148, 241730 (2018).

    """
    pool = make_pool(features, n_select, initial)
    chosen: list[int] = []
    if len(pool.initial) == 0 and n_select > 0:
        chosen.append(int(np.random.default_rng(seed).integers(len(pool.features))))
    distances = pool.distances_to(np.concatenate([pool.initial, np.array(chosen, dtype=np.int64)]))
    while len(chosen) < n_select:
        batch = _next_batch(pool, distances, n_select - len(chosen))
        if not batch:
            break
        pool.lower_distances(distances, np.array(batch, dtype=np.int64))
        chosen += batch
    return np.array(chosen, dtype=np.int64)


def _next_batch(pool: Pool, distances: FloatArray, n_missing: int) -> list[int]:
    """The next picks that are certain from current ``distances``; empty when only duplicates are left."""
    n_points = len(distances)
    candidates, outside = np.arange(n_points), -np.inf
    if n_points > CANDIDATES:
        ranked = np.argpartition(distances, n_points - CANDIDATES)
        outside = float(distances[ranked[: n_points - CANDIDATES]].max())
        candidates = np.sort(ranked[n_points - CANDIDATES :])
    features, norms = pool.features[candidates], pool.norms[candidates]
    local = distances[candidates].astype(np.float64)
    batch: list[int] = []
    while len(batch) < n_missing:
        best = int(np.argmax(local))
        # the first pick is the maximum of exact distances; later ones must beat everything outside
        if local[best] <= pool.tolerance or (batch and local[best] <= outside):
            break
        batch.append(int(candidates[best]))
        np.minimum(local, norms + norms[best] - 2.0 * (features @ features[best]), out=local)
        local[best] = -np.inf
    return batch
