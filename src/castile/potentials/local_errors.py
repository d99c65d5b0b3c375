"""Errors near known structures against those that one calibration for all expects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LEAST_STRUCTURES = 20
"""With errors on fewer structures than this there are no local factors."""
MOST_STRUCTURES = 500
"""Kept; the newest, where updates bring more."""
PRIOR_STRUCTURES = 1.0
"""Weight of the mean of all structures, in structures at the very place."""
NEIGHBOR, WIDTH = 5, 0.7
"""The width is so many median distances to the neighbour of this number (0 is the nearest)."""
LEAST_WIDTH = 0.02
"""Of the width, in median distances between structures."""
RANGE = (0.1, 10.0)
"""Of the factors."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LocalErrors:
    r"""Mean ratios of error and deviation of known structures, and what they say about others.

    .. math::

        g(x) = \frac{m_0 \bar r + \sum_j w_j r_j}{(m_0 + \sum_j w_j)\, \bar r}, \quad
        w_j = e^{-|\mathbf m - \mathbf m_j|^2 / 2 h^2}

    with the mean SOAP vectors m of structures (:class:`castile.potentials.mean_soap.MeanSoap`), m_0 = 1 and
    0.7 times the median distance h to the sixth neighbour. Far from all of them g is 1.

    Source: Nadaraya, Theory Probab. Appl. 9, 141 (1964) (weights); Papadopoulos, Gammerman and Vovk, Proc.
    IASTED AIA (2008), 64 (intervals normalised by the errors of neighbours).

    Attributes
    ----------
    means : ndarray, shape (n_structures, size)
        m of each structure.
    ratios : mapping of str to ndarray, shape (n_structures,)
        Mean of |error| / deviation of the labels of one kind, winsorized; NaN where there are none.
    """

    means: Array
    ratios: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def distances(self) -> Array:
        """Distances between the structures, (n_structures, n_structures)."""
        squares = np.sum(self.means**2, axis=1)
        squared = squares[:, None] + squares - 2.0 * self.means @ self.means.T
        return np.sqrt(np.maximum(squared, 0.0))

    @cached_property
    def width(self) -> float:
        """h: how far errors are alike, in the unit of the means."""
        others = self.distances + np.diag(np.full(len(self.means), np.inf))
        nearest = np.sort(others, axis=1)[:, min(NEIGHBOR, len(others) - 2)]
        finite = others[np.isfinite(others)]
        return float(max(WIDTH * np.median(nearest), LEAST_WIDTH * np.median(finite), 1e-12))

    def factors(self, mean: Array) -> dict[str, float]:
        """Return g of each kind for a structure with this mean SOAP vector, (size,)."""
        weights = self._weights(np.linalg.norm(self.means - mean, axis=1))
        return {kind: float(_factors(weights[None], ratios)[0]) for kind, ratios in self.ratios.items()}

    def left_out(self, ratios: Array) -> Array:
        """Return g of each structure as if its own ratio, of these (n_structures,), were not known."""
        return _factors(self._weights(self.distances + np.diag(np.full(len(ratios), np.inf))), ratios)

    def with_kind(self, kind: str, ratios: Array) -> "LocalErrors":
        """Return the same with the ratios of one more kind."""
        return LocalErrors(self.means, {**self.ratios, kind: ratios})

    def scaled(self, factors: Mapping[str, float]) -> "LocalErrors":
        """Return the same with the ratios of each kind multiplied by a factor."""
        return LocalErrors(
            self.means, {kind: ratios * factors.get(kind, 1.0) for kind, ratios in self.ratios.items()}
        )

    def joined(self, newer: "LocalErrors") -> "LocalErrors":
        """Return both together, without the oldest if there are too many."""
        ratios = {
            kind: np.concatenate(
                [part.ratios.get(kind, np.full(len(part.means), np.nan)) for part in (self, newer)]
            )[-MOST_STRUCTURES:]
            for kind in {**self.ratios, **newer.ratios}
        }
        return LocalErrors(np.concatenate([self.means, newer.means])[-MOST_STRUCTURES:], ratios)

    def _weights(self, distances: Array) -> Array:
        return np.asarray(np.exp(-0.5 * (distances / self.width) ** 2))


def _factors(weights: Array, ratios: Array) -> Array:
    """Factors g (n,) of weights (n, n_structures)."""
    known = np.isfinite(ratios)
    if np.count_nonzero(known) < LEAST_STRUCTURES or not np.any(ratios[known] > 0.0):
        return np.ones(len(weights))
    mean = np.mean(ratios[known])
    near = weights[:, known]
    found = (PRIOR_STRUCTURES * mean + near @ ratios[known]) / (PRIOR_STRUCTURES + near.sum(axis=1))
    return np.asarray(np.clip(found / mean, *RANGE))
