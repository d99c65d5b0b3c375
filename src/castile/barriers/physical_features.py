"""What physics says about a hop: sizes, charges, bottlenecks, and the cost in a simple ionic potential."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from castile.barriers.host_features import host_features
from castile.barriers.ionic_band import Band, PairPotential, ionic_band
from castile.barriers.ions import BOND_VALENCE_SOFTNESS, bond_valence_radius, electronegativity, ionic_radii
from castile.barriers.path import MigrationPath
from castile.barriers.site_potential import site_features
from castile.barriers.surroundings import HostChemistry, Ion, Surroundings

Float64Array = NDArray[np.float64]
N_IMAGES = 11
REACH = 9.0  # A; atoms further from the line than this are not seen
POTENTIALS = {
    "soft": PairPotential(),
    "long": PairPotential(reach=8.0, hardness=0.8, cations=2.0),
    "wide": PairPotential(softness=0.4, reach=5.5, hardness=0.7, cations=0.0, sideways=2.0),
}
_NEAREST = 0.6  # A; closer atoms count as that far
_FAR = 6.0
_BLOCKED = 1.5  # A; a line that comes closer to a cation runs through it
_FLOOR = 0.15  # eV; differences of energies below this do not count


def physical_features(
    path: MigrationPath, chemistry: HostChemistry, ion: Ion, around: Surroundings
) -> dict[str, float]:
    """Named features of a path; finite, and the same for the reversed path."""
    line = path.points(N_IMAGES)
    features = {"length": path.length} | _composition(path, chemistry, ion)
    bands = {name: ionic_band(ion, around, line, potential) for name, potential in POTENTIALS.items()}
    for name, band in bands.items():
        features |= _energies(name, band, ion, line)
    features |= _geometry("straight", ion, around, line)
    features |= _geometry("relaxed", ion, around, bands["soft"].positions)
    features |= site_features(ion, around, line) | host_features(path, chemistry)
    return {name: float(value) for name, value in features.items()}


def _composition(path: MigrationPath, chemistry: HostChemistry, ion: Ion) -> dict[str, float]:
    numbers, charges = path.host.numbers, chemistry.charges
    anions, variable = charges < 0.0, chemistry.variable
    cations = ~anions & (numbers != ion.number)
    capacity = -float(charges[anions].sum())

    def mean(values: Float64Array, chosen: NDArray[np.bool_], default: float) -> float:
        """Mean over the chosen atoms."""
        return float(values[chosen].mean()) if chosen.any() else default

    radii, negativity = ionic_radii(numbers, charges), electronegativity(numbers)
    n_anions = max(int(anions.sum()), 1)
    return {
        "ion_charge": ion.charge,
        "ion_radius": ion.radius,
        "ion_electronegativity": float(electronegativity([ion.number])[0]),
        "anion_radius": mean(radii, anions, 1.4),
        "anion_electronegativity": mean(negativity, anions, 3.0),
        "cation_electronegativity": mean(negativity, cations, 1.3),
        "cation_charge": mean(charges, cations, 0.0),
        "metal_charge": mean(charges, variable, 0.0),
        "metal_radius": mean(radii, variable, 0.7),
        "metal_share": float(variable.sum()) / n_anions,
        "mobile_share": float((numbers == ion.number).sum()) * ion.charge / max(capacity, 1.0),
        "volume": float(np.log(max(chemistry.volume, 1.0))),
    }


def _energies(name: str, band: Band, ion: Ion, line: Float64Array) -> dict[str, float]:
    """Profile of a relaxed band, on a scale that is linear near zero and logarithmic far off."""
    energies = band.energies
    ends, last = 0.5 * (energies[0] + energies[-1]), len(energies) - 1

    def signed(value: float) -> float:
        """sign(v) ln(1 + |v| / 0.3 eV)."""
        return float(np.sign(value) * np.log1p(abs(value) / (2.0 * _FLOOR)))

    away = np.linalg.norm(band.positions - line, axis=1)
    length = np.linalg.norm(np.diff(band.positions, axis=0), axis=1).sum()
    quarter = energies[[2, 3, last - 3, last - 2]].mean()
    return {
        f"{name}_barrier": np.log(max(band.barrier, 0.0) + _FLOOR),
        f"{name}_middle": signed(energies[last // 2] - ends),
        f"{name}_quarter": signed(quarter - ends),
        f"{name}_mean": signed(energies.mean() - ends),
        f"{name}_uneven": np.log(abs(energies[0] - energies[-1]) + _FLOOR / 3.0),
        f"{name}_ends": ends / ion.charge,
        f"{name}_detour": away.max(),
        f"{name}_stretch": length / max(float(np.linalg.norm(line[-1] - line[0])), 1e-3),
    }


def _geometry(name: str, ion: Ion, around: Surroundings, line: Float64Array) -> dict[str, float]:
    """Gaps, bond-valence sums and coordination along a line."""
    distances = np.linalg.norm(around.positions[None] - line[:, None], axis=2)
    distances = np.maximum(distances, _NEAREST)
    anions = around.anions
    if not anions.any():  # a metal: every neighbour counts as one
        anions = np.ones_like(anions)
    to_anions, to_cations = distances[:, anions], distances[:, ~anions]
    numbers = around.numbers[anions]
    table = {int(z): bond_valence_radius(ion.number, int(z)) for z in np.unique(numbers)}
    bond = np.array([table[int(z)] for z in numbers])
    valence = (
        np.where(to_anions < _FAR, np.exp((bond - to_anions) / BOND_VALENCE_SOFTNESS), 0.0).sum(axis=1)
        / ion.charge
    )
    contact = ion.radius + around.radii[anions]
    gaps = np.sort(to_anions - contact, axis=1)
    crowding = 0.3 * np.log(np.exp(-np.minimum(gaps, 10.0) / 0.3).sum(axis=1) + 1e-6)
    coordination = (1.0 / (1.0 + np.exp(np.minimum((to_anions - 1.25 * contact) / 0.15, 50.0)))).sum(axis=1)
    nearest_cation = np.minimum(to_cations.min(axis=1, initial=_FAR), _FAR)
    squeeze = np.exp(np.minimum((1.9 + 0.3 * ion.radius - to_cations) / 0.4, 5.0)).sum(axis=1)
    profiles = {
        "valence": np.log(valence + 0.02),
        "mismatch": np.abs(valence - 1.0),
        "gap": -np.minimum(gaps[:, 0], 9.0),
        "cation": -nearest_cation,
        "crowding": crowding,
        "squeeze": np.log(squeeze + 1e-3),
        "coordination": coordination,
    }
    features = {
        f"{name}_narrowest": float(np.minimum(gaps[:, :3].mean(axis=1), 9.0).min()),
        f"{name}_blocked": max(_BLOCKED - float(nearest_cation.min()), 0.0),
    }
    for key, profile in profiles.items():
        features |= _profile(f"{name}_{key}", profile)
    return features


def _profile(name: str, values: Float64Array) -> dict[str, float]:
    """Value at the ends, and how far it rises above them: at most, in the middle, a quarter in."""
    last = len(values) - 1
    ends = 0.5 * (values[0] + values[-1])
    quarter = values[[2, 3, last - 3, last - 2]].mean()
    return {
        f"{name}_ends": ends,
        f"{name}_top": values.max() - min(values[0], values[-1]),
        f"{name}_highest": values.max(),
        f"{name}_middle": values[last // 2] - ends,
        f"{name}_quarter": quarter - ends,
    }
