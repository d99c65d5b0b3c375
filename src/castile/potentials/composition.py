"""Energies of the elements: what a structure's energy is measured from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from castile.errors import FitError, InputError
from castile.potentials.settings import CompositionSettings
from castile.structures.labels import LabelledStructure
from castile.structures.validation import is_isolated_atom


@dataclass(frozen=True)
class Composition:
    """E_0 = sum over atoms of the energy of their element.

    Attributes
    ----------
    energies : Mapping from atomic number to eV
    source : str
        Where they come from, in words.
    """

    energies: Mapping[int, float]
    source: str

    def atom_energies(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the energy of each atom's element, eV."""
        table = np.zeros(120)
        for z, energy in self.energies.items():
            table[z] = energy
        return table[numbers]


def fit_composition(
    structures: Iterable[LabelledStructure], elements: tuple[int, ...], settings: CompositionSettings
) -> Composition:
    """Return the energies of the elements as ``settings`` asks for them.

    Least squares minimizes sum_k (E_k / n_k - sum_z x_kz e_z)^2 over structures k with mole fractions x.

    Raises
    ------
    FitError
        If isolated atoms are asked for but an element has none.
    InputError
        If given energies leave out an element.
    """
    if settings.method == "none":
        return Composition(dict.fromkeys(elements, 0.0), "none: total energies are fitted as they are")
    if settings.method == "given" or settings.energies:
        return _given(elements, settings)
    isolated: dict[int, float] = {}
    fractions, per_atom = [], []
    for structure in structures:
        if structure.energy is None:
            continue
        if is_isolated_atom(structure.atoms):
            isolated[int(structure.atoms.numbers[0])] = structure.energy
            continue
        fractions.append(_fractions(structure.atoms, elements))
        per_atom.append(structure.energy / len(structure.atoms))
    missing = [chemical_symbols[z] for z in elements if z not in isolated]
    if not missing and settings.method != "least_squares":
        return Composition(isolated, "isolated atoms in the data")
    if settings.method == "isolated":
        raise FitError(
            f"composition: no isolated atom of {', '.join(missing)} with an energy in the data; "
            "add one in a large cell, give the energies, or use least squares"
        )
    if settings.method == "least_squares":
        for z, energy in isolated.items():
            fractions.append([float(z == other) for other in elements])
            per_atom.append(energy)
    if not per_atom:
        return Composition({z: isolated.get(z, 0.0) for z in elements}, "no energies in the data: zero")
    solution = np.linalg.lstsq(np.array(fractions), np.array(per_atom), rcond=1e-8)[0]
    energies = {z: float(e) for z, e in zip(elements, solution, strict=True)}
    return Composition(energies, f"least squares over {len(per_atom)} structures")


def _given(elements: tuple[int, ...], settings: CompositionSettings) -> Composition:
    given = {}
    for symbol, energy in settings.energies.items():
        if symbol not in atomic_numbers:
            raise InputError(f"composition.energies: {symbol!r} is no element; give symbols such as Si")
        given[atomic_numbers[symbol]] = float(energy)
    missing = [chemical_symbols[z] for z in elements if z not in given]
    if missing:
        raise InputError(f"composition.energies: no energy of {', '.join(missing)}; add it (eV)")
    return Composition(given, "given")


def _fractions(atoms: Atoms, elements: tuple[int, ...]) -> list[float]:
    return [float(np.count_nonzero(atoms.numbers == z)) / len(atoms) for z in elements]
