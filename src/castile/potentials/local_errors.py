"""Errors near known structures against those that one calibration for all expects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LEAST_STRUCTURES = 20
"""With errors on fewer structures than this there are no local factors."""
MOST_STRUCTURES = 500
"""Kept; the newest, where updates bring more."""
PRIOR_STRUCTURES = 1.0
"""Weight of the factor 1, in structures at the very place."""
NEIGHBOR, WIDTH = 5, 1.2
"""The width is so many median distances to the neighbour of this number (0 is the nearest)."""
WIDTH_WITHOUT_FORCES = 0.7
"""The same where no forces are known: the factors of files of earlier versions were made with it."""
LEAST_WIDTH = 0.02
"""Of the width, in median distances between structures."""
FORCE_WIDTH = 0.4
"""Forces are alike as far as their logarithms differ by no more than about this."""
LEAST_FORCE = 0.1
"""Added to all forces before the logarithm, in medians over the structures that have any."""
NO_FORCE = 1e-4
"""eV/A: smaller ones are those of relaxed structures, or rounding."""
LEVEL_WIDTH = 1.0
"""Deviations are alike as far as their logarithms differ by no more than about this."""
RANGE = (0.1, 10.0)
"""Of the factors."""
LEAST_WEIGHT = 1e-12
"""Structures that weigh less do not count."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where a structure is among others.

    Attributes
    ----------
    mean : ndarray, shape (size,)
        Its mean SOAP vector, projected (:class:`castile.potentials.mean_soap.MeanSoap`).
    force : float
        Root mean square of the components of its predicted forces, eV/A; NaN: not known.
    """

    mean: Array
    force: float

    @classmethod
    def of(cls, mean: Array, forces: Array) -> "Place":
        """Return the place of a structure with these forces, (n_atoms, 3)."""
        return cls(mean, float(np.sqrt(np.mean(forces**2))))


@dataclass(frozen=True, eq=False)
class LocalErrors:
    r"""Mean ratios of error and deviation of known structures, and what they say about others.

    .. math::

        g = \frac{m_0 + \sum_j w_j r_j}{m_0 + \sum_j w_j}, \quad
        -2 \ln w_j = \frac{|\mathbf m - \mathbf m_j|^2}{h^2}
        + \frac{1}{\tau^2} \ln^2 \frac{F + F_0}{F_j + F_0} + \ln^2 \frac{\sigma}{\sigma_j}

    with the mean SOAP vectors m of structures, their root mean square forces F, their deviations sigma before
    the factor, m_0 = 1, h of 1.2 times the median distance to the sixth neighbour, tau = 0.4, and F_0 of 0.1
    times the median of the F_j that are not zero. A strained crystal, whose atoms are all alike, has errors
    of another size than a hot one with nearly the same mean vector: forces tell them apart. A defect hardly
    changes the mean vector of a large crystal, but deviations: with them it need not take the factor of the
    crystal. Far from all structures g is 1.

    Source: Nadaraya, Theory Probab. Appl. 9, 141 (1964) (weights); Papadopoulos, Gammerman and Vovk, Proc.
    IASTED AIA (2008), 64 (intervals normalised by the errors of neighbours).

    Attributes
    ----------
    means : ndarray, shape (n_structures, size)
        m of each structure.
    forces : ndarray, shape (n_structures,)
        F of each structure, eV/A; NaN where it is not known: it does not count. Where none is known (files of
        earlier versions) h is 0.7 times the median distance, as it was for them.
    ratios : mapping of str to ndarray, shape (n_structures,)
        r: mean of |error| / deviation of the labels of one kind, winsorized, in units in which it is 1 where
        the deviations are right; NaN where there are none.
    levels : mapping of str to ndarray, shape (n_structures,)
        Deviations of these labels without the factor, root mean square, as
        :func:`castile.potentials.calibration.levels` and ``energy_level`` have them.
    """

    means: Array
    forces: Array
    ratios: Mapping[str, Array] = field(default_factory=dict)
    levels: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def at(cls, places: Sequence[Place]) -> "LocalErrors":
        """Return these places without errors yet."""
        means, forces = [place.mean for place in places], [place.force for place in places]
        return cls(np.array(means), np.array(forces))

    @cached_property
    def distances(self) -> Array:
        """Distances between the mean SOAP vectors, (n_structures, n_structures)."""
        squares = np.sum(self.means**2, axis=1)
        squared = squares[:, None] + squares - 2.0 * self.means @ self.means.T
        return np.sqrt(np.maximum(squared, 0.0))

    @cached_property
    def width(self) -> float:
        """h: how far errors are alike, in the unit of the means; of two structures or more."""
        others = self.distances + np.diag(np.full(len(self.means), np.inf))
        nearest = np.sort(others, axis=1)[:, min(NEIGHBOR, len(others) - 2)]
        finite = others[np.isfinite(others)]
        width = WIDTH_WITHOUT_FORCES if np.isnan(self.forces).all() else WIDTH
        return float(max(width * np.median(nearest), LEAST_WIDTH * np.median(finite), 1e-12))

    @cached_property
    def least_force(self) -> float:
        """F_0, eV/A: smaller forces are alike; 1 where all are zero or unknown."""
        known = self.forces[self.forces > NO_FORCE]
        return LEAST_FORCE * float(np.median(known)) if len(known) else 1.0

    def enough(self, kind: str) -> bool:
        """Return whether there are factors for a kind of label."""
        ratios = self.ratios.get(kind)
        return ratios is not None and int(np.isfinite(ratios).sum()) >= LEAST_STRUCTURES

    def factors(self, kind: str, place: Place, levels: Array) -> Array:
        """Return g (n,) of labels of these levels (n,) in a structure at this place."""
        if not self.enough(kind):
            return np.ones(len(levels))
        near = self._nearness(np.linalg.norm(self.means - place.mean, axis=1), place.force)
        return factor_of(*self._sums(kind, near, levels))

    def sums_without(self, kind: str, number: int, levels: Array) -> tuple[Array, Array]:
        """Return both sums of the formula for labels of these levels, (n,), in the structure of this
        number as if its own ratio were not known.
        """
        near = self._nearness(self.distances[number], float(self.forces[number]))
        near[number] = 0.0
        return self._sums(kind, near, levels)

    def with_kind(self, kind: str, ratios: Array, levels: Array) -> "LocalErrors":
        """Return the same with the ratios and deviations of one more kind."""
        known = {**self.ratios, kind: ratios}, {**self.levels, kind: levels}
        return LocalErrors(self.means, self.forces, *known)

    def scaled(self, ratios: Mapping[str, float], levels: Mapping[str, float]) -> "LocalErrors":
        """Return the same with ratios and levels of each kind multiplied by factors."""
        return LocalErrors(
            self.means,
            self.forces,
            {kind: values * ratios.get(kind, 1.0) for kind, values in self.ratios.items()},
            {kind: values * levels.get(kind, 1.0) for kind, values in self.levels.items()},
        )

    def joined(self, newer: "LocalErrors") -> "LocalErrors":
        """Return both together, without the oldest if there are too many."""

        def both(old: Mapping[str, Array], new: Mapping[str, Array]) -> dict[str, Array]:
            """Values of both for each kind; NaN where one has none."""
            missing = (np.full(len(part.means), np.nan) for part in (self, newer))
            first, second = missing
            return {
                kind: np.concatenate([old.get(kind, first), new.get(kind, second)])[-MOST_STRUCTURES:]
                for kind in {**old, **new}
            }

        means = np.concatenate([self.means, newer.means])[-MOST_STRUCTURES:]
        forces = np.concatenate([self.forces, newer.forces])[-MOST_STRUCTURES:]
        return LocalErrors(means, forces, both(self.ratios, newer.ratios), both(self.levels, newer.levels))

    def _nearness(self, distances: Array, force: float) -> Array:
        """Part of w that the place makes, (n_structures,), at these distances between mean SOAP vectors."""
        apart = np.log((self.forces + self.least_force) / (force + self.least_force)) / FORCE_WIDTH
        apart[np.isnan(apart)] = 0.0
        return np.asarray(np.exp(-0.5 * ((distances / self.width) ** 2 + apart**2)))

    def _sums(self, kind: str, near: Array, levels: Array) -> tuple[Array, Array]:
        """Sums of w r and of w, (n,) each, over structures of this nearness, (n_structures,)."""
        ratios, known = self.ratios[kind], self.levels[kind]
        used = (near > LEAST_WEIGHT) & np.isfinite(ratios)
        apart = np.log(np.maximum(levels, 1e-300))[:, None] - np.log(np.maximum(known[used], 1e-300))
        weights = near[used] * np.exp(-0.5 * (apart / LEVEL_WIDTH) ** 2)
        return weights @ ratios[used], weights.sum(axis=1)


def factor_of(above: Array, below: Array) -> Array:
    """Return g of the sums of w r and of w."""
    return np.asarray(np.clip((PRIOR_STRUCTURES + above) / (PRIOR_STRUCTURES + below), *RANGE))
