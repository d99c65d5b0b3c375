"""Ions: formal charges by bonding and neutrality, ionic radii, bond-valence parameters."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import ArrayLike, NDArray

from castile.descriptors.channels import ELECTRONEGATIVITY

Float64Array = NDArray[np.float64]
BOND_VALENCE_SOFTNESS = 0.37  # Angstrom
ANION_CAPACITY = {
    "F": 1, "O": 2, "N": 3, "Cl": 1, "Br": 1, "I": 1, "S": 2, "Se": 2, "Te": 2, "P": 3, "As": 3, "Sb": 3,
    "C": 4, "H": 1, "At": 1, "Si": 4, "Ge": 4, "Bi": 3,
}  # fmt: skip

# Usual charge of a cation and its radius in Angstrom (six neighbours; Shannon 1976, rounded; by trend where
# he has none). Anions: their usual negative charge.
_IONS = (
    "H 1 0.10, Li 1 0.76, Be 2 0.45, B 3 0.27, C 4 0.16, N -3 1.46, O -2 1.40, F -1 1.33,"
    " Na 1 1.02, Mg 2 0.72,"
    " Al 3 0.535, Si 4 0.40, P 5 0.38, S -2 1.84, Cl -1 1.81, K 1 1.38, Ca 2 1.00, Sc 3 0.745, Ti 4 0.605,"
    " V 4 0.58, Cr 3 0.615, Mn 3 0.645, Fe 3 0.645, Co 3 0.61, Ni 3 0.60, Cu 2 0.73, Zn 2 0.74, Ga 3 0.62,"
    " Ge 4 0.53, As 5 0.46, Se -2 1.98, Br -1 1.96, Rb 1 1.52, Sr 2 1.18, Y 3 0.90, Zr 4 0.72, Nb 5 0.64,"
    " Mo 5 0.61, Tc 4 0.645, Ru 4 0.62, Rh 3 0.665, Pd 2 0.86, Ag 1 1.15, Cd 2 0.95, In 3 0.80, Sn 4 0.69,"
    " Sb 5 0.60, Te -2 2.21, I -1 2.20, Cs 1 1.67, Ba 2 1.35, La 3 1.03, Ce 3 1.01, Pr 3 0.99, Nd 3 0.98,"
    " Pm 3 0.97, Sm 3 0.96, Eu 3 0.95, Gd 3 0.94, Tb 3 0.92, Dy 3 0.91, Ho 3 0.90, Er 3 0.89, Tm 3 0.88,"
    " Yb 3 0.87, Lu 3 0.86, Hf 4 0.71, Ta 5 0.64, W 6 0.60, Re 5 0.58, Os 4 0.63, Ir 4 0.625, Pt 4 0.625,"
    " Au 3 0.85, Hg 2 1.02, Tl 1 1.50, Pb 2 1.19, Bi 3 1.03, Po 4 0.94, At -1 2.3, Fr 1 1.80, Ra 2 1.48,"
    " Ac 3 1.12, Th 4 0.94, Pa 5 0.78, U 5 0.76, Np 4 0.87, Pu 4 0.86, Am 3 0.98, Cm 3 0.97,"
    " Bk 3 0.96, Cf 3 0.95"
)
N_ELEMENTS = 119
TYPICAL_CHARGE = np.zeros(N_ELEMENTS)
IONIC_RADIUS = np.array(
    [covalent_radii[z] * 0.6 if z < len(covalent_radii) else 1.0 for z in range(N_ELEMENTS)]
)
for _entry in _IONS.split(","):
    _symbol, _charge, _radius = _entry.split()
    TYPICAL_CHARGE[atomic_numbers[_symbol]] = float(_charge)
    IONIC_RADIUS[atomic_numbers[_symbol]] = float(_radius)

# Radii of elements with a positive usual charge where they are anions; Angstrom.
_ANION_RADIUS = {"P": 2.12, "As": 2.22, "Sb": 2.45, "Bi": 2.5, "C": 1.6, "Si": 2.1, "Ge": 2.15, "H": 1.35}
# Charge of the central atom of an oxo- or thio-anion, and of ions that keep their charge.
_CENTRE_CHARGE = {"S": 6.0, "Se": 6.0, "Te": 6.0, "N": 5.0, "Cl": 7.0, "Br": 5.0, "I": 5.0, "P": 5.0,
                  "As": 5.0,
                  "C": 4.0, "Si": 4.0, "Ge": 4.0, "B": 3.0, "H": 1.0, "Sb": 5.0, "Bi": 3.0}  # fmt: skip
_FIXED = {
    *(
        [
            "Li",
            "Na",
            "K",
            "Rb",
            "Cs",
            "Fr",
            "Be",
            "Mg",
            "Ca",
            "Sr",
            "Ba",
            "Ra",
            "Zn",
            "Cd",
            "Al",
            "Ga",
            "In",
            "Sc",
            "Y",
            "La",
            "Zr",
            "Hf",
            "B",
            "Si",
            "P",
            "C",
            "Lu",
            "Th",
            "H",
            "Ge",
        ]
    ),
    *(["Pr", "Nd", "Pm", "Sm", "Gd", "Tb", "Dy", "Ho", "Er", "Tm"]),
}
_FIXED_NUMBERS = np.array(sorted(atomic_numbers[symbol] for symbol in _FIXED))
ANION_NUMBERS = {atomic_numbers[symbol]: float(-charge) for symbol, charge in ANION_CAPACITY.items()}
# Pairs (cation, anion) of the mobile ions that matter most; Angstrom (Brese and O'Keeffe 1991, rounded).
_BOND_VALENCE = {
    "Li": {"O": 1.466, "F": 1.360, "Cl": 1.91, "Br": 2.02, "I": 2.22, "S": 1.94, "Se": 2.09, "N": 1.61},
    "Na": {"O": 1.80, "F": 1.677, "Cl": 2.15, "Br": 2.33, "I": 2.56, "S": 2.28, "Se": 2.41, "N": 1.93},
    "K": {"O": 2.13, "F": 1.99, "Cl": 2.52, "Br": 2.66, "I": 2.88, "S": 2.59, "Se": 2.72, "N": 2.26},
    "Rb": {"O": 2.26, "F": 2.16, "Cl": 2.65, "Br": 2.78, "I": 3.01, "S": 2.70, "Se": 2.81, "N": 2.37},
    "Mg": {"O": 1.693, "F": 1.581, "Cl": 2.08, "Br": 2.28, "I": 2.46, "S": 2.18, "Se": 2.32, "N": 1.85},
    "Ca": {"O": 1.967, "F": 1.842, "Cl": 2.37, "Br": 2.49, "I": 2.72, "S": 2.45, "Se": 2.56, "N": 2.14},
    "Sr": {"O": 2.118, "F": 2.019, "Cl": 2.51, "Br": 2.68, "I": 2.88, "S": 2.59, "Se": 2.72, "N": 2.23},
    "Zn": {"O": 1.704, "F": 1.62, "Cl": 2.01, "Br": 2.15, "I": 2.36, "S": 2.09, "Se": 2.22, "N": 1.77},
    "Al": {"O": 1.651, "F": 1.545, "Cl": 2.03, "Br": 2.20, "I": 2.41, "S": 2.13, "Se": 2.27, "N": 1.79},
}


def ionic_radii(numbers: ArrayLike, charges: ArrayLike) -> Float64Array:
    """Ionic radii of atoms with the given formal charges, Angstrom, (n_atoms,)."""
    z = np.asarray(numbers, dtype=int)
    radii = IONIC_RADIUS[z].copy()
    for symbol, radius in _ANION_RADIUS.items():
        radii[(z == atomic_numbers[symbol]) & (np.asarray(charges) < 0.0)] = radius
    return radii


def keeps_charge(numbers: ArrayLike) -> NDArray[np.bool_]:
    """Whether each element has one usual charge in solids."""
    return np.isin(np.asarray(numbers, dtype=int), _FIXED_NUMBERS)


@lru_cache(maxsize=4096)
def bond_valence_radius(cation: int, anion: int) -> float:
    r"""R_0 of the bond valence s = exp((R_0 - r) / 0.37 Angstrom).

    Where no tabulated value is at hand, such that six neighbours at the sum of the ionic radii give the
    cation's charge:  R_0 = r_c + r_a + 0.37 ln(|q| / 6).

    Arguments:
        cation: atomic number of the mobile ion.
        anion: atomic number of its neighbour.

    Source: Brese, O'Keeffe, Acta Cryst. B 47, 192 (1991), Eq. 1.

    """
    for symbol, row in _BOND_VALENCE.items():
        if atomic_numbers[symbol] == cation:
            for other, value in row.items():
                if atomic_numbers[other] == anion:
                    return value
    charge = max(abs(TYPICAL_CHARGE[cation]), 1.0)
    radius = float(ionic_radii([anion], [-1.0])[0])
    return float(IONIC_RADIUS[cation] + radius + BOND_VALENCE_SOFTNESS * np.log(charge / 6.0))


def mobile_charge(number: int) -> float:
    """Usual charge of a mobile ion; 1 where none is known."""
    charge = float(TYPICAL_CHARGE[number]) if number < N_ELEMENTS else 0.0
    return charge if charge != 0.0 else 1.0


def formal_charges(numbers: ArrayLike, nearest: ArrayLike) -> Float64Array:
    """Formal charges of the atoms of a neutral crystal, (n_atoms,).

    Anions have their full shell, centres of oxo-anions their highest usual charge, alkali, alkaline-earth and
    similar ions theirs; what is left to neutrality is shared by the others (transition metals) in
    proportion to their usual charges.

    Arguments:
        numbers: (n_atoms,) atomic numbers.
        nearest: (n_atoms,) atomic number of the closest atom that is more electronegative, 0 for none within
            bonding distance.

    """
    z = np.asarray(numbers, dtype=int)
    partner = np.asarray(nearest, dtype=int)
    charges = TYPICAL_CHARGE[z].copy()
    free = ~np.isin(z, _FIXED_NUMBERS)
    for number in np.unique(z):
        if number not in ANION_NUMBERS:
            continue
        here = z == number
        symbol = next(s for s in ANION_CAPACITY if atomic_numbers[s] == number)
        bound = here & (partner > 0)
        charges[bound] = _CENTRE_CHARGE.get(symbol, abs(charges[bound]))
        if symbol not in ("H", "C", "Si", "Ge", "Sb", "Bi"):
            charges[here & ~bound] = ANION_NUMBERS[number]
        free[here] = False
    missing = -charges[~free].sum()
    if free.any() and missing > 0.0:
        weights = np.maximum(charges[free], 0.5)
        charges[free] = np.clip(missing * weights / weights.sum(), 0.3, 7.0)
    excess = charges.sum()
    if abs(excess) > 1e-9 and (charges < 0).any():  # the anions take up what is left
        anions = charges < 0
        charges[anions] *= max(1.0 - excess / charges[anions].sum(), 0.2)
    return charges


def electronegativity(numbers: ArrayLike) -> Float64Array:
    """Pauling electronegativities; 1.3 where none is known."""
    z = np.minimum(np.asarray(numbers, dtype=int), len(ELECTRONEGATIVITY) - 1)
    values = ELECTRONEGATIVITY[z]
    return np.where(values > 0.0, values, 1.3)
