"""Checked input and squared distances of the selectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import InputError

FloatArray = NDArray[np.floating]
IndexArray = NDArray[np.int64]

DUPLICATE_TOLERANCE = 1e-10
"""Two points are duplicates when their squared distance is below this times the largest squared norm."""
ROW_CHUNK = 4096


@dataclass(frozen=True)
class Pool:
    """Points to choose from.

    ``features`` (n, d) float32 or float64; ``norms`` (n,) squared norms; ``initial`` indices chosen before;
    ``tolerance`` squared distance up to which two points are duplicates.
    """

    features: FloatArray
    norms: FloatArray
    initial: IndexArray
    tolerance: float

    def lower_distances(self, distances: FloatArray, chosen: IndexArray) -> None:
        """Replace ``distances`` (n,) by the minimum of themselves and the squared distances to ``chosen``."""
        if len(chosen) == 0:
            return
        targets = np.ascontiguousarray(self.features[chosen].T)
        for first in range(0, len(distances), ROW_CHUNK):
            rows = slice(first, first + ROW_CHUNK)
            products = self.features[rows] @ targets
            products *= -2.0
            products += self.norms[chosen]
            nearest = products.min(axis=1) + self.norms[rows]
            np.minimum(distances[rows], nearest, out=distances[rows])
        distances[chosen] = 0.0

    def distances_to(self, chosen: IndexArray) -> FloatArray:
        """Squared distance of every point to the nearest of ``chosen`` (n,); infinite where there is none."""
        distances = np.full(len(self.features), np.inf, dtype=self.features.dtype)
        self.lower_distances(distances, chosen)
        return distances

    def take_distinct(self, order: IndexArray, n_select: int, chosen: Sequence[int] = ()) -> list[int]:
        """Extend ``chosen`` to ``n_select`` in the given order, leaving out duplicates of chosen points."""
        result = list(chosen)
        position = 0
        while len(result) < n_select and position < len(order):
            part = order[position : position + max(64, n_select - len(result))]
            position += len(part)
            sub_pool = self._subset(part)
            before = np.concatenate([self.initial, np.array(result, dtype=np.int64)])
            free = self._distances_between(part, before) > self.tolerance
            close = sub_pool.neighbors_before()
            for local, index in enumerate(part):
                if free[local] and not free[close[local]].any():
                    result.append(int(index))
                else:
                    free[local] = False
                if len(result) == n_select:
                    break
        return result

    def neighbors_before(self) -> list[IndexArray]:
        """For every point, the earlier points that are its duplicates."""
        neighbors: list[IndexArray] = []
        for first in range(0, len(self.features), 512):
            rows = slice(first, first + 512)
            squared = self.norms[rows, None] + self.norms - 2.0 * (self.features[rows] @ self.features.T)
            close = squared <= self.tolerance
            neighbors += [np.flatnonzero(line[: first + i]) for i, line in enumerate(close)]
        return neighbors

    def _subset(self, indices: IndexArray) -> "Pool":
        empty = np.zeros(0, dtype=np.int64)
        return Pool(self.features[indices], self.norms[indices], empty, self.tolerance)

    def _distances_between(self, part: IndexArray, chosen: IndexArray) -> FloatArray:
        distances = np.full(len(part), np.inf)
        for first in range(0, len(chosen), 2048):
            some = chosen[first : first + 2048]
            products = self.features[part] @ self.features[some].T
            squared = self.norms[part, None] + self.norms[some] - 2.0 * products
            np.minimum(distances, squared.min(axis=1), out=distances)
        distances[np.isin(part, chosen)] = 0.0
        return distances


def make_pool(features: ArrayLike, n_select: int, initial: Sequence[int] | IndexArray) -> Pool:
    """Check the arguments of a selector; raises InputError that names what is wrong."""
    array = np.asarray(features)
    if array.dtype != np.float32:
        array = array.astype(np.float64, copy=False)
    if array.ndim != 2:
        raise InputError(f"features have shape {array.shape}, expected (n, d): one row per environment")
    if array.size == 0:
        raise InputError(f"features have shape {array.shape}: there is nothing to select from")
    if n_select < 0:
        raise InputError(f"n_select is {n_select}; give 0 or more")
    for first in range(0, len(array), ROW_CHUNK):
        finite = np.isfinite(array[first : first + ROW_CHUNK]).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite))
            raise InputError(f"features of row {row} are not finite: check its structure")
    chosen = np.asarray(initial, dtype=np.int64).reshape(-1)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(array)):
        raise InputError(f"initial indices {chosen.min()}..{chosen.max()} are outside 0..{len(array) - 1}")
    array = np.ascontiguousarray(array)
    norms = np.einsum("ij,ij->i", array, array)
    rounding = 16.0 * float(np.finfo(array.dtype).eps)
    tolerance = max(DUPLICATE_TOLERANCE, rounding) * float(norms.max())
    return Pool(features=array, norms=norms, initial=chosen, tolerance=tolerance)
