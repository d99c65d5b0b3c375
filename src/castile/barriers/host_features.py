"""What the host is made of, beside the ions that move: composition, packing, electrons of its metals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from castile.barriers.ions import ANION_NUMBERS, ionic_radii
from castile.barriers.path import MigrationPath
from castile.barriers.surroundings import HostChemistry

Float64Array = NDArray[np.float64]
_NOBLE = np.array([0, 2, 10, 18, 36, 54, 86, 118])
_CENTRES = (5, 6, 7, 14, 15, 16, 17, 32, 33, 34)  # elements at the centre of oxo-anions
_CENTRE_CHARGE = 4.0


def outer_electrons(numbers: NDArray[np.int64]) -> Float64Array:
    """Electrons outside the noble-gas core, filled f shells not counted: the group from 1 to 18."""
    period = np.searchsorted(_NOBLE, numbers)
    outer = numbers - _NOBLE[period - 1]
    return np.where((period >= 6) & (outer > 16), outer - 14, outer).astype(np.float64)


def host_features(path: MigrationPath, chemistry: HostChemistry) -> dict[str, float]:
    """Named features of the host, the same for every path through it and for its supercells."""
    numbers, charges, variable = path.host.numbers.astype(np.int64), chemistry.charges, chemistry.variable
    anions = charges < 0.0
    cations = (charges > 0.0) & (numbers != path.mobile)
    n_anions = max(int(anions.sum()), 1)
    volume = max(chemistry.volume * len(numbers), 1.0)
    outer = outer_electrons(numbers)
    periods = np.searchsorted(_NOBLE[1:], numbers) + 1.0
    spheres = 4.0 / 3.0 * np.pi * (ionic_radii(numbers, charges) ** 3).sum()
    full_shells = [ANION_NUMBERS.get(int(number), 2.0) for number in numbers[anions]]
    centres = cations & (charges >= _CENTRE_CHARGE) & np.isin(numbers, _CENTRES)
    features = {
        "centre_share": centres.sum() / n_anions,
        "highest_charge": charges[cations].max(initial=0.0),
        "metal_electrons": (outer - charges)[variable].mean() if variable.any() else 0.0,
        "metal_group": outer[variable].mean() if variable.any() else 0.0,
        "no_metal": float(not variable.any()),
        "anion_filling": np.abs(charges[anions]).mean() / np.mean(full_shells) if anions.any() else 1.0,
        "anion_volume": np.log(volume / n_anions),
        "anion_kinds": len(np.unique(numbers[anions])),
        "cation_period": periods[cations].mean() if cations.any() else 3.0,
        "packing": min(spheres / volume, 3.0),
        "mobile_fraction": (numbers == path.mobile).mean(),
    }
    return {f"host_{name}": float(value) for name, value in features.items()}
