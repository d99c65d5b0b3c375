"""Electrostatic energy of the moving ion along its line, by a damped sum over formal charges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from castile.barriers.surroundings import Ion, Surroundings

Float64Array = NDArray[np.float64]
CUTOFF = 9.0  # A
DAMPING = 0.25  # 1/A
_NEAREST = 0.6  # A; closer atoms count as that far


def site_potential(around: Surroundings, points: Float64Array) -> Float64Array:
    r"""Potential of the formal charges at ``points`` (n, 3), e/Angstrom, (n,).

    .. math:: V = \sum_{r_j < R} q_j \Bigl(\frac{\mathrm{erfc}(\alpha r_j)}{r_j} -
        \frac{\mathrm{erfc}(\alpha R)}{R}\Bigr)

    Source: Wolf, Keblinski, Phillpot, Eggebrecht, J. Chem. Phys. 110, 8254 (1999), Eq. 5.13 (without the
    constant of the ion itself).
    """
    distances = np.maximum(np.linalg.norm(around.positions[None] - points[:, None], axis=2), _NEAREST)
    near = np.where(
        distances < CUTOFF, erfc(DAMPING * distances) / distances - erfc(DAMPING * CUTOFF) / CUTOFF, 0.0
    )
    return np.asarray(near @ around.charges)


def site_features(ion: Ion, around: Surroundings, line: Float64Array) -> dict[str, float]:
    """Energy of the ion in the potential at the ends, and how far it rises: at most, and in the middle."""
    potential = site_potential(around, line)
    energy = ion.charge * potential
    ends, last = 0.5 * (energy[0] + energy[-1]), len(energy) - 1
    return {
        "site_ends": float(ends),
        "site_top": float(energy.max() - min(energy[0], energy[-1])),
        "site_middle": float(energy[last // 2] - ends),
        "site_potential": float(0.5 * (potential[0] + potential[-1])),
    }
