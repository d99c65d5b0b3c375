"""Uniform samples of bounded size from a stream, for parity plots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class ParitySample:
    """Pairs of reference and predicted values drawn without replacement from all that were seen.

    Attributes:
        reference: (n,) reference values.
        predicted: (n,) predicted values.
        n_seen: number of pairs that the sample was drawn from.

    """

    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]
    n_seen: int


class ParityReservoir:
    """Keeps a uniform random sample of at most ``capacity`` pairs.

    Every pair draws a uniform random key and the pairs with the smallest keys stay (Efraimidis, Spirakis,
    Inf. Process. Lett. 97, 181 (2006), with equal weights), so the sample depends only on the seed and the
    order of the pairs, not on how they are cut into batches.
    """

    def __init__(self, capacity: int = 4000, seed: int = 0) -> None:
        self.capacity = capacity
        self._rng = np.random.default_rng(seed)
        self._keys = np.empty(0)
        self._pairs = np.empty((0, 2))
        self._n_seen = 0

    def add(self, reference: ArrayLike, predicted: ArrayLike) -> None:
        """Add reference and predicted values of equal shape."""
        columns = [np.asarray(values, dtype=np.float64).ravel() for values in (reference, predicted)]
        pairs = np.column_stack(columns)
        self._n_seen += len(pairs)
        self._keys = np.concatenate([self._keys, self._rng.random(len(pairs))])
        self._pairs = np.concatenate([self._pairs, pairs])
        if len(self._keys) > 2 * self.capacity:
            self._shrink()

    def _shrink(self) -> None:
        if len(self._keys) > self.capacity:
            kept = np.sort(np.argpartition(self._keys, self.capacity)[: self.capacity])
            self._keys, self._pairs = self._keys[kept], self._pairs[kept]

    def sample(self) -> ParitySample:
        """Return the sample, in the order in which its pairs were seen."""
        self._shrink()
        return ParitySample(self._pairs[:, 0].copy(), self._pairs[:, 1].copy(), self._n_seen)
