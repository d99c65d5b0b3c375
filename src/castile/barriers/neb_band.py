"""The climbing-image nudged elastic band (ASE's, improved tangent) on a surrogate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.optimize import FIRE
from numpy.typing import NDArray

from castile.barriers.neb_calculator import LabelCalculator
from castile.barriers.neb_ends import unwrapped
from castile.barriers.neb_settings import NebSettings
from castile.barriers.neb_surrogates import PathDeviation, PathSurrogate

Float64Array = NDArray[np.float64]

STEPS_BEFORE_CLIMBING = 60
STEPS_CLIMBING = 300
STEPS_BETWEEN_CHECKS = 5
LARGEST_STEP = 0.1
TIGHTER = 0.4
"""The band on the surrogate converges to this part of the threshold of the true force."""
NO_SADDLE = 1e-3
"""eV: an image must be higher than both ends by this to be a saddle."""


class SurrogateCalculator(LabelCalculator):
    """ASE calculator of a surrogate."""

    def __init__(self, surrogate: PathSurrogate) -> None:
        super().__init__()
        self.surrogate = surrogate

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed; only positions can (ASE's own check takes longer than a prediction)."""
        known = self.atoms
        same = known is not None and np.array_equal(known.positions, atoms.positions)
        return [] if same else ["positions"]

    def label(self, atoms: Atoms) -> tuple[float, Float64Array]:
        """What the surrogate predicts."""
        return self.surrogate.predict(atoms.positions)


@dataclass(frozen=True)
class Band:
    """A path on a surrogate.

    Attributes
    ----------
    images : tuple of Atoms
        Both ends included, without calculators.
    energies : ndarray, shape (n_images + 2,)
        eV; those of the ends are the oracle's.
    deviations : tuple of PathDeviation
        One for every image, both ends included.
    trusted : bool
        Whether no deviation exceeded the limit on the way; else the band is not relaxed.
    top : int
        Highest image between the ends.
    has_saddle : bool
        Whether it is higher than both ends.
    """

    images: tuple[Atoms, ...]
    energies: Float64Array
    deviations: tuple[PathDeviation, ...]
    trusted: bool
    top: int
    has_saddle: bool

    @property
    def inner_deviations(self) -> Float64Array:
        """Deviations of the energies between the ends, eV."""
        return np.array([deviation.energy for deviation in self.deviations[1:-1]])

    @property
    def inner_slope_deviations(self) -> Float64Array:
        """Deviations of the slopes between the ends, eV/A."""
        return np.array([deviation.slope for deviation in self.deviations[1:-1]])


def relax_band(
    start: list[Atoms],
    ends: tuple[Atoms, Atoms],
    surrogate: PathSurrogate,
    settings: NebSettings,
    scale: float = 1.0,
) -> Band:
    """Relax a band on a surrogate; it stops as soon as an image leaves the region that the surrogate knows.

    Parameters
    ----------
    start : list of Atoms
        Both ends included.
    ends : two Atoms
        With the oracle's energies and forces.
    surrogate : PathSurrogate
    settings : NebSettings
    scale : float
        Factor by which the deviations of the surrogate are multiplied.

    Source: Henkelman, Jonsson, J. Chem. Phys. 113, 9978 (2000); Henkelman, Uberuaga, Jonsson, ibid. 9901.
    """
    images = [image.copy() for image in start]
    for image in images[1:-1]:
        image.calc = SurrogateCalculator(surrogate)
    for image, end in zip((images[0], images[-1]), ends, strict=True):
        results = {"energy": end.get_potential_energy(), "forces": end.get_forces(apply_constraint=False)}
        image.calc = SinglePointCalculator(image, **results)
    neb = NEB(images, k=settings.spring, climb=False, method="improvedtangent")
    fmax, limit = TIGHTER * settings.max_force, settings.trust / scale
    trusted = _descend(neb, 4.0 * fmax, STEPS_BEFORE_CLIMBING, surrogate, limit)
    energies = _energies(images)
    if trusted and energies[1:-1].max() > max(energies[0], energies[-1]) + NO_SADDLE:
        neb.climb = True
        trusted = _descend(neb, fmax, STEPS_CLIMBING, surrogate, limit)
        energies = _energies(images)
    unwrapped(images)
    top = 1 + int(np.argmax(energies[1:-1]))
    deviations = _deviations(images, surrogate, scale)
    for image in images:
        image.calc = None
    high = bool(energies[top] > max(energies[0], energies[-1]) + NO_SADDLE)
    return Band(tuple(images), energies, tuple(deviations), trusted, top, high)


def _descend(neb: NEB, fmax: float, steps: int, surrogate: PathSurrogate, limit: float) -> bool:
    """Take steps; False when a deviation of an energy exceeds the limit (eV)."""
    optimizer = FIRE(neb, logfile=None, maxstep=LARGEST_STEP)
    for step, _ in enumerate(optimizer.irun(fmax=fmax, steps=steps)):
        if step % STEPS_BETWEEN_CHECKS:
            continue
        if max(surrogate.energy_deviation(image.positions) for image in neb.images[1:-1]) > limit:
            return False
    return True


def _energies(images: list[Atoms]) -> Float64Array:
    return np.array([image.get_potential_energy() for image in images])


def tangents(positions: list[Float64Array]) -> list[Float64Array]:
    """Return unit vectors (n_atoms, 3) along the path at every image."""
    found = []
    for index in range(len(positions)):
        step = positions[min(index + 1, len(positions) - 1)] - positions[max(index - 1, 0)]
        found.append(step / max(float(np.linalg.norm(step)), 1e-12))
    return found


def _deviations(images: list[Atoms], surrogate: PathSurrogate, scale: float) -> list[PathDeviation]:
    places = [image.positions for image in images]
    found = [surrogate.deviation(p, tangent) for p, tangent in zip(places, tangents(places), strict=True)]
    return [PathDeviation(scale * deviation.energy, scale * deviation.slope) for deviation in found]
