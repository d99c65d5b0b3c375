"""What the label census of a set of structures holds, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from castile.structures.kind_census import KindCensus

KINDS = ("energy", "forces", "stress")
_MAX_SHOWN = 8


@dataclass(frozen=True)
class LabelCensus:
    """What a set of labelled structures contains; ranges are None where there is nothing to range over.

    Attributes:
        n_structures, n_atoms: totals.
        energy, forces, stress: census of each kind of label.
        elements: (symbol, number of atoms), by atomic number.
        compositions: (formula, number of structures), most frequent first, at most 50.
        n_compositions: number of different formulas.
        config_types: (config_type, number of structures), most frequent first.
        periodicity: ("TTF" and the like, number of structures).
        atoms_per_structure: smallest, median, largest.
        energy_per_atom: smallest and largest, eV.
        volume_per_atom: smallest and largest, A^3, of fully periodic structures.
        largest_force: largest norm of a used force, eV/A; largest_force_at: structure and atom.
        largest_stress: largest component, eV/A^3; largest_stress_at: structure.
        isolated_atoms: (symbol, energy in eV) of every free atom with an energy.
        n_duplicates: structures with the geometry of an earlier one.
        info_keys, array_keys: names of everything that the files hold, at most 50 each.
        warnings: what looks suspicious, in words.
        data_hash: SHA-256 of geometries, labels and noise levels, in order.

    """

    n_structures: int
    n_atoms: int
    energy: KindCensus
    forces: KindCensus
    stress: KindCensus
    elements: tuple[tuple[str, int], ...]
    compositions: tuple[tuple[str, int], ...]
    n_compositions: int
    config_types: tuple[tuple[str, int], ...]
    periodicity: tuple[tuple[str, int], ...]
    atoms_per_structure: tuple[int, float, int]
    energy_per_atom: tuple[float, float] | None
    volume_per_atom: tuple[float, float] | None
    largest_force: float | None
    largest_force_at: str
    largest_stress: float | None
    largest_stress_at: str
    isolated_atoms: tuple[tuple[str, float], ...]
    n_duplicates: int
    info_keys: tuple[str, ...]
    array_keys: tuple[str, ...]
    warnings: tuple[str, ...]
    data_hash: str

    def kind(self, name: str) -> KindCensus:
        """Census of "energy", "forces" or "stress"."""
        return {"energy": self.energy, "forces": self.forces, "stress": self.stress}[name]

    def to_dict(self) -> dict[str, Any]:
        """The census as JSON values, for the header of a model file."""
        return {key: _as_json(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LabelCensus":
        """Inverse of `to_dict`."""
        fields = {key: _from_json(value) for key, value in values.items()}
        for kind in KINDS:
            fields[kind] = KindCensus(**{key: _from_json(value) for key, value in values[kind].items()})
        return cls(**fields)

    def rows(self) -> list[tuple[str, str]]:
        """(what, value) for a table in the terminal or a report."""
        smallest, median, largest = self.atoms_per_structure
        rows = [
            (
                "structures",
                f"{self.n_structures} ({self.n_atoms} atoms; {smallest} to {largest}, median {median:g})",
            ),
            ("elements", ", ".join(f"{symbol} ({count} atoms)" for symbol, count in self.elements)),
            ("compositions", _listed(self.compositions, self.n_compositions)),
            ("periodicity", _listed(self.periodicity, len(self.periodicity))),
        ]
        if any(name for name, _ in self.config_types):
            rows.append(("config types", _listed(self.config_types, len(self.config_types))))
        rows += [(kind, self.kind(kind).describe()) for kind in KINDS]
        if self.energy_per_atom is not None:
            rows.append(("energy per atom", _range(self.energy_per_atom, "eV")))
        if self.volume_per_atom is not None:
            rows.append(("volume per atom", _range(self.volume_per_atom, "A^3")))
        if self.largest_force is not None:
            rows.append(("largest force", f"{self.largest_force:.4g} eV/A ({self.largest_force_at})"))
        if self.largest_stress is not None:
            rows.append(("largest stress", f"{self.largest_stress:.4g} eV/A^3 ({self.largest_stress_at})"))
        if self.isolated_atoms:
            rows.append(
                ("free atoms", ", ".join(f"{s} {energy:.6g} eV" for s, energy in self.isolated_atoms))
            )
        if self.n_duplicates:
            rows.append(("duplicates", f"{self.n_duplicates} structures repeat an earlier geometry"))
        return rows


def _as_json(value: Any) -> Any:
    """Tuples as lists, all the way down."""
    if isinstance(value, Mapping):
        return {key: _as_json(entry) for key, entry in value.items()}
    return [_as_json(entry) for entry in value] if isinstance(value, tuple | list) else value


def _from_json(value: Any) -> Any:
    return tuple(_from_json(entry) for entry in value) if isinstance(value, list) else value


def _range(limits: tuple[float, float], unit: str) -> str:
    return f"{limits[0]:.6g} to {limits[1]:.6g} {unit}"


def _listed(counts: Sequence[tuple[str, int]], n_all: int) -> str:
    shown = ", ".join(f"{name or '(none)'} ({count})" for name, count in counts[:_MAX_SHOWN])
    return shown if n_all <= _MAX_SHOWN else f"{shown} and {n_all - _MAX_SHOWN} more"
