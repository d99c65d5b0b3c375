"""The loop: relax the band on the surrogate, ask the oracle where that helps most, learn, repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.active.ledger import State
from castile.barriers.neb_band import Band, relax_band
from castile.barriers.neb_ends import first_path, free_atoms
from castile.barriers.neb_oracle import PathOracle
from castile.barriers.neb_settings import NebSettings
from castile.barriers.neb_surprises import SurpriseFile
from castile.barriers.neb_surrogates import PathSurrogate
from castile.errors import SimulationError

Float64Array = NDArray[np.float64]

POINT = "point"
SAME_STRUCTURE = 0.02
"""A: the climbing image is one that the oracle has computed when no atom is farther from it."""
FAILED_REGION = 0.001
"""A: structures this close to a failed one are not asked for."""
NUDGES = (0.002, 0.01)
RETREATS = (0.1, 0.3)
"""A: how far another structure is from the failed one, tried in turn."""
SMALLEST_DEVIATION = 2e-3
"""eV: errors are compared with no smaller deviation."""


@dataclass(frozen=True)
class NebProgress:
    """Where a band stands, after every relaxation on the surrogate.

    Attributes
    ----------
    n_calls : int
        Oracle's answers between the ends so far.
    barrier : float
        eV, of the band on the surrogate.
    deviation : float
        eV, the largest along the path.
    force : float or None
        eV/A, true force at the last climbing image that was computed.
    """

    n_calls: int
    barrier: float
    deviation: float
    force: float | None


@dataclass(frozen=True)
class SearchOutcome:
    """How a search ended.

    Attributes
    ----------
    band : Band
    climbing : Atoms or None
        Computed climbing image.
    labelled : tuple of Atoms
        All that was learned; the ends come first.
    scale : float
        Factor by which the deviations of the surrogate were multiplied.
    converged : bool
    reason : str
    """

    band: Band
    climbing: Atoms | None
    labelled: tuple[Atoms, ...]
    scale: float
    converged: bool
    reason: str


class BandSearch:
    """One band between two labelled ends.

    Parameters
    ----------
    ends : two Atoms
        With the oracle's labels.
    further : list of Atoms
        Further labelled structures, such as steps of the relaxations of the ends.
    oracle : PathOracle
    surrogate : PathSurrogate
    settings : NebSettings
    surprises : SurpriseFile
        Of this band, kept over restarts.
    progress : callable
    """

    def __init__(
        self,
        ends: tuple[Atoms, Atoms],
        further: list[Atoms],
        oracle: PathOracle,
        surrogate: PathSurrogate,
        settings: NebSettings,
        surprises: SurpriseFile,
        progress: Callable[[NebProgress], None],
    ) -> None:
        self.ends, self.further = ends, further
        self.oracle, self.surrogate, self.settings = oracle, surrogate, settings
        self.surprises, self.progress = surprises, progress
        self.first = first_path(ends[0], ends[1], settings.n_images, settings.interpolation)
        self.points: list[Atoms] = []
        self.failed: list[Float64Array] = []
        self.last_failure = ""
        self._take_known()

    def _take_known(self) -> None:
        """Take what the ledger has of this band: after a kill, everything."""
        self.points, self.failed = [], []
        for calculation in self.oracle.under(POINT):
            structure = self.oracle.labelled(calculation)
            if calculation.state is State.ACCEPTED:
                self.points.append(structure)
            else:
                self.failed.append(structure.positions)
                self.last_failure = calculation.reason

    @property
    def labelled(self) -> list[Atoms]:
        """Everything that the surrogate learns from."""
        return [*self.ends, *self.further, *self.points]

    def run(self) -> SearchOutcome:
        """Search until it has converged or the calls are spent.

        Raises
        ------
        SimulationError
            When too many calculations fail.
        """
        start = self.first
        if not self.points:
            self._ask(self.first[(len(self.first)) // 2].positions)
        while True:
            self.surrogate.learn(self.labelled, [image.positions for image in start])
            band = relax_band(start, self.ends, self.surrogate, self.settings, self.surprises.scale)
            climbing = self._computed_climbing(band)
            wanted = self._choose(band, climbing)
            self._report(band, climbing)
            reason = self._ending(wanted)
            if reason is None and not self._ask(self._retreat(band, wanted or 0)):
                reason = "the surrogate asks only for structures that are computed already"
            if reason is not None:
                scale, converged = self.surprises.scale, wanted is None
                return SearchOutcome(band, climbing, tuple(self.labelled), scale, converged, reason)
            start = list(band.images) if band.trusted else self.first

    def _ending(self, wanted: int | None) -> str | None:
        """Say why the search ends, None if it goes on."""
        if wanted is None:
            return "force and deviations are below their thresholds"
        if len(self.points) + len(self.failed) >= self.settings.max_calls:
            return f"all {self.settings.max_calls} calls are spent"
        return None

    def _choose(self, band: Band, climbing: Atoms | None) -> int | None:
        """Return the image to compute next, None when nothing is left to ask."""
        deviations, slopes = band.inner_deviations, band.inner_slope_deviations
        settings = self.settings
        worst = 1 + int(np.argmax(deviations))
        if not band.trusted:
            return worst
        if band.has_saddle and (climbing is None or largest_force(climbing) > settings.max_force):
            return band.top
        if deviations.max() > settings.max_deviation:
            return worst
        if slopes.max() > settings.max_slope_deviation:
            return 1 + int(np.argmax(slopes))
        return None

    def _computed_climbing(self, band: Band) -> Atoms | None:
        """Return the computed structure that is the climbing image, None where there is none."""
        if not band.has_saddle:
            return None
        place = band.images[band.top].positions
        near = [p for p in self.points if _distance(p.positions, place) < SAME_STRUCTURE]
        return min(near, key=largest_force) if near else None

    def _ask(self, positions: Float64Array) -> bool:
        """Compute a structure; False if the band had it already."""
        structure = self.ends[0].copy()
        structure.set_positions(positions, apply_constraint=False)
        structure.calc, structure.info = None, {}
        known = len(self.points) + len(self.failed)
        number = known + 1
        expected = None
        if known:
            energy, _ = self.surrogate.predict(structure.positions)
            expected = energy, self.surrogate.energy_deviation(structure.positions)
        (calculation,) = self.oracle.ask([(f"{POINT} {number}", structure)])
        if expected is not None and calculation.state is State.ACCEPTED:
            found = self.oracle.labelled(calculation).get_potential_energy()
            self.surprises.add(calculation.id, (found - expected[0]) / max(expected[1], SMALLEST_DEVIATION))
        self._take_known()
        if len(self.failed) > self.settings.max_failures:
            raise SimulationError(
                f"{len(self.failed)} calculations of the oracle on the path gave no labels, more than "
                f"max_failures = {self.settings.max_failures}; the last one: {self.last_failure}"
            )
        return len(self.points) + len(self.failed) > known

    def _retreat(self, band: Band, image: int) -> Float64Array:
        """Return the positions of an image; where it failed, others: very close ones, then nearer to data."""
        place = np.array(band.images[image].positions)
        nearest = min(self.labelled, key=lambda atoms: _distance(atoms.positions, place)).positions
        away = max(_distance(nearest, place), 1e-9)
        free = free_atoms(self.ends[0])
        random = np.zeros_like(place)
        seed = len(self.failed) + len(self.points)
        random[free] = np.random.default_rng(seed).uniform(-1.0, 1.0, (len(free), 3))
        moved = [place, *(place + shift * random for shift in NUDGES)]
        moved += [place + (nearest - place) * min(shift / away, 0.9) for shift in RETREATS]
        allowed = [p for p in moved if all(_distance(p, other) > FAILED_REGION for other in self.failed)]
        return allowed[0] if allowed else place

    def _report(self, band: Band, climbing: Atoms | None) -> None:
        barrier = float(band.energies[band.top] - band.energies[0])
        last = None if climbing is None else largest_force(climbing)
        largest = float(band.inner_deviations.max())
        self.progress(NebProgress(len(self.points), barrier, largest, last))


def largest_force(atoms: Atoms) -> float:
    """Return the largest force on an atom, constraints applied, eV/A."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def _distance(one: Float64Array, other: Float64Array) -> float:
    """Largest distance of an atom, A."""
    return float(np.sqrt(((one - other) ** 2).sum(axis=1)).max())
