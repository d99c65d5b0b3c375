"""Accumulates the label census, one structure at a time."""

import hashlib
from collections import Counter

import numpy as np
from ase.data import chemical_symbols

from castile.errors import InputError
from castile.structures.fingerprints import geometry_hash, labelled_bytes
from castile.structures.kind_census import KindCounter
from castile.structures.label_census import LabelCensus
from castile.structures.labels import IGNORE, LabelKeys, LabelledStructure
from castile.structures.suspicions import PressureTrend, Suspicions
from castile.structures.validation import cell_volume, is_isolated_atom

_MAX_LISTED = 50
_STATES = ("charge", "total_charge", "multiplicity", "spin_multiplicity")
"""Keys of numbers that change the energy of a geometry and that no descriptor sees."""


class _Range:
    """Smallest and largest of the values seen."""

    def __init__(self) -> None:
        self.limits: tuple[float, float] | None = None

    def add(self, value: float) -> None:
        """Take up a value."""
        low, high = self.limits or (value, value)
        self.limits = (min(low, value), max(high, value))


class _Largest:
    """Largest value seen, and where."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.where = ""

    def add(self, value: float, where: str) -> None:
        """Take up a value and where it was seen."""
        if self.value is None or value > self.value:
            self.value, self.where = value, where


class CensusCounter:
    """Takes structures with `add` and gives their `LabelCensus` with `result`."""

    def __init__(self, keys: LabelKeys) -> None:
        """Start an empty census for labels that were asked for under these keys."""
        self._kinds = {
            "energy": KindCounter("energy", "eV", _named(keys.energy)),
            "forces": KindCounter("forces", "eV/A", _named(keys.forces)),
            "stress": KindCounter("stress", "eV/A^3", _named(keys.stress) or _named(keys.virial)),
        }
        self._elements: Counter[int] = Counter()
        self._compositions: Counter[str] = Counter()
        self._config_types: Counter[str] = Counter()
        self._periodicity: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()
        self._info_keys: dict[str, None] = {}
        self._array_keys: dict[str, None] = {}
        self._energies: dict[str, _Range] = {}
        self._volumes = _Range()
        self._force = _Largest()
        self._stress = _Largest()
        self._isolated: list[tuple[str, float]] = []
        self._geometries: dict[bytes, float | None] = {}
        self._n_duplicates = 0
        self._n_contradicting = 0
        self._states: dict[tuple[str, str], str] = {}
        self._several_states: dict[str, str] = {}
        self._ignored: Counter[str] = Counter()
        self._trend = PressureTrend()
        self._digest = hashlib.sha256()

    def add(self, structure: LabelledStructure) -> None:
        """Count one structure."""
        atoms = structure.atoms
        self._digest.update(labelled_bytes(structure))
        self._elements.update(atoms.numbers.tolist())
        formula = atoms.get_chemical_formula()
        self._compositions[formula] += 1
        self._config_types[structure.config_type] += 1
        self._periodicity["".join("T" if periodic else "F" for periodic in atoms.pbc)] += 1
        self._sizes[len(atoms)] += 1
        self._info_keys.update(dict.fromkeys(atoms.info))
        self._array_keys.update(dict.fromkeys(atoms.arrays))
        self._ignored.update(structure.ignored)
        isolated = is_isolated_atom(atoms)
        self._add_kinds(structure, isolated)
        self._add_duplicate(structure)
        self._add_states(structure, formula)
        self._add_extremes(structure, isolated)

    def _add_kinds(self, structure: LabelledStructure, isolated: bool) -> None:
        atoms = structure.atoms
        self._kinds["energy"].add(structure.name, structure.energy_key, structure.energy is not None, True)
        n_forces = 0 if structure.forces is None else structure.forces.size
        self._kinds["forces"].add(structure.name, structure.forces_key, n_forces, not isolated)
        n_stress = 0 if structure.stress is None else 6
        expects_stress = bool(atoms.pbc.all()) and not isolated
        self._kinds["stress"].add(structure.name, structure.stress_key, n_stress, expects_stress)

    def _add_duplicate(self, structure: LabelledStructure) -> None:
        key = geometry_hash(structure.atoms)
        if key not in self._geometries:
            self._geometries[key] = structure.energy
            return
        self._n_duplicates += 1
        earlier = self._geometries[key]
        if earlier is not None and structure.energy is not None:
            self._n_contradicting += abs(earlier - structure.energy) > 1e-3 * len(structure.atoms)

    def _add_states(self, structure: LabelledStructure, formula: str) -> None:
        """Look for structures of one formula in several electronic states."""
        for key in _STATES:
            value = structure.atoms.info.get(key)
            if value is None or np.size(value) != 1:
                continue
            shown = f"{value:g}" if isinstance(value, int | float | np.number) else str(value)
            earlier = self._states.setdefault((formula, key), shown)
            if shown != earlier:
                self._several_states.setdefault(key, f"{formula} with {earlier} and {shown}")

    def _add_extremes(self, structure: LabelledStructure, isolated: bool) -> None:
        atoms = structure.atoms
        volume = cell_volume(atoms) / len(atoms) if atoms.pbc.all() else 0.0
        if structure.energy is not None:
            composition = atoms.symbols.formula.reduce()[0].format("hill")
            self._energies.setdefault(composition, _Range()).add(structure.energy / len(atoms))
            if isolated:
                self._isolated.append((atoms.symbols[0], structure.energy))
        if volume and not isolated:
            self._volumes.add(volume)
        if structure.forces is not None:
            norms = np.linalg.norm(structure.forces, axis=1)
            if structure.force_mask is not None:
                norms = np.where(structure.force_mask, norms, 0.0)
            atom = int(norms.argmax())
            self._force.add(float(norms[atom]), f"{structure.name}, atom {atom}")
        if structure.stress is not None:
            self._stress.add(float(np.abs(structure.stress).max()), structure.name)
            if volume and not isolated:
                self._trend.add(volume, float(structure.stress[:3].mean()))

    def result(self) -> LabelCensus:
        """The census of everything that was added.

        Raises:
            InputError: nothing was added.

        """
        if not self._sizes:
            raise InputError("no structures: the sources are empty; check the files and what follows the @")
        sizes = np.repeat(list(self._sizes), list(self._sizes.values()))
        ranges = [energies.limits for energies in self._energies.values() if energies.limits is not None]
        suspicions = Suspicions(
            energy_spread=max((high - low for low, high in ranges), default=0.0),
            force=self._force.value or 0.0,
            force_at=self._force.where,
            stress=self._stress.value or 0.0,
            stress_at=self._stress.where,
            pressure_trend=self._trend.correlation(),
            n_contradicting=self._n_contradicting,
            several_states=tuple(self._several_states.items()),
            ignored=tuple(self._ignored.items()),
        )
        return LabelCensus(
            n_structures=int(sizes.size),
            n_atoms=int(sizes.sum()),
            energy=self._kinds["energy"].result(),
            forces=self._kinds["forces"].result(),
            stress=self._kinds["stress"].result(),
            elements=_elements(self._elements),
            compositions=tuple(self._compositions.most_common(_MAX_LISTED)),
            n_compositions=len(self._compositions),
            config_types=tuple(self._config_types.most_common()),
            periodicity=tuple(self._periodicity.most_common()),
            atoms_per_structure=(int(sizes.min()), float(np.median(sizes)), int(sizes.max())),
            energy_per_atom=(min(low for low, _ in ranges), max(high for _, high in ranges))
            if ranges
            else None,
            volume_per_atom=self._volumes.limits,
            largest_force=self._force.value,
            largest_force_at=self._force.where,
            largest_stress=self._stress.value,
            largest_stress_at=self._stress.where,
            isolated_atoms=tuple(self._isolated),
            n_duplicates=self._n_duplicates,
            info_keys=tuple(self._info_keys)[:_MAX_LISTED],
            array_keys=tuple(self._array_keys)[:_MAX_LISTED],
            warnings=suspicions.warnings(),
            data_hash=self._digest.hexdigest(),
        )


def _named(key: str | None) -> str:
    return "" if key is None or key == IGNORE else key


def _elements(counts: Counter[int]) -> tuple[tuple[str, int], ...]:
    return tuple((chemical_symbols[number], counts[number]) for number in sorted(counts))
