"""The path relaxed in a simple ionic pair potential: where the ion squeezes through, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from castile.barriers.ions import BOND_VALENCE_SOFTNESS, IONIC_RADIUS, bond_valence_radius
from castile.barriers.surroundings import Ion, Surroundings
from castile.numerics.ionic_band import relax_band

Float64Array = NDArray[np.float64]
_COULOMB = 14.399645  # eV Angstrom
_SCREENING = 5.0
_CATION_CONTACT = 0.6  # Angstrom beyond the sum of ionic radii


@dataclass(frozen=True)
class PairPotential:
    r"""Energy of an ion of charge q in a host that stands still.

    .. math::

        E = \sum_j \frac{q q_j}{4 \pi \epsilon_0 \epsilon}
            \Bigl(\frac1{r_j} - \frac2R + \frac{r_j}{R^2}\Bigr) + B_j e^{(r^0_j - r_j) / s}

    r^0 of an anion is the bond length of six equal bonds by bond valence; B is such that repulsion and
    attraction balance there, times ``hardness``. Cations repel with the share ``cations`` of that.

    Attributes
    ----------
    softness : float
        s, Angstrom.
    reach : float
        R, Angstrom.
    hardness, cations : float
    sideways, at_ends : float
        How far images may leave the straight line, Angstrom.
    """

    softness: float = 0.35
    reach: float = 4.5
    hardness: float = 1.0
    cations: float = 0.5
    sideways: float = 1.5
    at_ends: float = 0.5


@dataclass(frozen=True)
class Band:
    """Positions (n_images, 3) in Angstrom and energies (n_images,) in eV of a relaxed band."""

    positions: Float64Array
    energies: Float64Array

    @property
    def barrier(self) -> float:
        """Highest energy above the lower end, eV."""
        return float(self.energies.max() - min(self.energies[0], self.energies[-1]))


def contact_lengths(ion: Ion, around: Surroundings) -> Float64Array:
    """Equilibrium distances r^0 between the ion and each atom, Angstrom, (n_near,)."""
    lengths = np.empty(len(around.numbers))
    anions = around.anions
    for number in np.unique(around.numbers):
        here = around.numbers == number
        bond = bond_valence_radius(ion.number, int(number)) - BOND_VALENCE_SOFTNESS * np.log(ion.charge / 6.0)
        lengths[here & anions] = bond
        lengths[here & ~anions] = IONIC_RADIUS[number] + ion.radius + _CATION_CONTACT
    return lengths


def ionic_band(
    ion: Ion, around: Surroundings, line: Float64Array, potential: PairPotential, n_steps: int = 80
) -> Band:
    """Relax the images ``line`` (n_images, 3) in the field of their surroundings."""
    around = _within(around, line, potential.reach + potential.sideways)
    contact = contact_lengths(ion, around)
    strength = _COULOMB * ion.charge / _SCREENING
    coulomb = strength * around.charges
    balance = np.abs(coulomb) * (1.0 / contact**2 - 1.0 / potential.reach**2)
    repulsion = np.where(
        around.anions,
        potential.hardness * potential.softness * np.maximum(balance, 0.0),
        potential.cations * potential.softness * strength / contact**2,
    )
    band, energies = np.empty_like(line), np.empty(len(line))
    relax_band(
        np.ascontiguousarray(line),
        np.ascontiguousarray(around.positions),
        coulomb,
        repulsion,
        contact,
        potential.softness,
        potential.reach,
        strength / 4.0,
        n_steps,
        potential.sideways,
        potential.at_ends,
        band,
        energies,
    )
    return Band(band, energies)


def _within(around: Surroundings, line: Float64Array, distance: float) -> Surroundings:
    """Atoms that images no further than ``distance`` from those of the line can be near to."""
    squared = np.full(len(around.numbers), np.inf)
    for point in line:
        away = around.positions - point
        np.minimum(squared, np.einsum("ja,ja->j", away, away), out=squared)
    near = squared < distance * distance
    return Surroundings(around.positions[near], around.numbers[near], around.charges[near])
