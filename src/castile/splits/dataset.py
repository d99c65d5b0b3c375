"""A data set read once: its structures as a table, and what splits and audits ask about each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.splits.assignment import make_strata
from castile.splits.disjoint_sets import DisjointSets
from castile.splits.sound_structures import Skipped, sound_structures
from castile.splits.structure_table import StructureTable, table_of
from castile.structures import LabelKeys, LabelledStructure, StructureSource
from castile.structures.labels import IGNORE

IndexArray = NDArray[np.int64]
CONFIG_TYPE, COMPOSITION, ENERGY = "config_type", "composition", "energy"


@dataclass(frozen=True)
class Dataset:
    """What was read.

    Attributes
    ----------
    table : StructureTable
    energies : ndarray, shape (n_structures,)
        Total energies, eV; NaN where there is none.
    config_types : tuple of str
    columns : dict of str to tuple
        Values of the info keys that were asked for.
    skipped : tuple of Skipped
        Structures that were left out because they cannot be used.
    """

    table: StructureTable
    energies: NDArray[np.float64]
    config_types: tuple[str, ...]
    columns: dict[str, tuple[Any, ...]]
    skipped: tuple[Skipped, ...] = field(default=())

    @property
    def places(self) -> IndexArray:
        """Place (n_structures,) of each structure in the data, those that were skipped counted too."""
        n = len(self) + len(self.skipped)
        return np.setdiff1d(np.arange(n), [item.index for item in self.skipped]).astype(np.int64)

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.table)

    def values(self, key: str) -> Sequence[Any]:
        """Return the values (n_structures,) of config_type, composition, energy, or an info key asked for.

        Raises
        ------
        InputError
            For the config_type where no structure has one.
        """
        if key == CONFIG_TYPE:
            if not any(self.config_types):
                raise InputError("no structure has a config_type; name its key (--config-type-key)")
            return self.config_types
        if key == COMPOSITION:
            return [self.table.atoms(k).get_chemical_formula() for k in range(len(self))]
        return self.energies.tolist() if key == ENERGY else self.columns[key]

    def groups(self, keys: Sequence[str]) -> IndexArray | None:
        """Return groups (n_structures,) of structures that share a value of any of ``keys``."""
        if not keys:
            return None
        sets = DisjointSets(len(self))
        for key in keys:
            _, codes = np.unique([str(value) for value in self.values(key)], return_inverse=True)
            first = np.unique(codes, return_index=True)[1]
            sets.union(np.arange(len(self)), first[codes])
        return sets.labels()

    def strata(self, keys: Sequence[str]) -> IndexArray | None:
        """Return classes (n_structures,) by "config_type", "composition", "energy" or info keys."""
        if not keys:
            return None
        combined = np.zeros(len(self), dtype=np.int64)
        for key in keys:
            codes = make_strata(self._values(key))
            combined = combined * (int(codes.max()) + 1) + codes
        return np.asarray(np.unique(combined, return_inverse=True)[1], dtype=np.int64)

    def target(self, key: str) -> NDArray[np.float64]:
        """Return the numbers (n_structures,) under ``key``; "energy" is per atom, in eV.

        Raises
        ------
        InputError
            If a structure has no finite number there; it is named.
        """
        values = self.energies / self.table.n_atoms if key == ENERGY else None
        if values is None:
            values = np.array([_number(value) for value in self.columns[key]])
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            first = int(bad[0])
            value = "there is none" if key == ENERGY else f"it is {str(self.columns[key][first])[:60]}"
            raise InputError(
                f"{self.table.names[first]}: has no finite number {key!r}: {value} ({bad.size} of "
                f"{len(self)} structures); name another target, or leave them out"
            )
        return values

    def _values(self, key: str) -> NDArray[Any]:
        if key in (CONFIG_TYPE, COMPOSITION):
            return np.array(self.values(key))
        if key == ENERGY:
            return self.target(key)
        numbers = np.array([_number(value) for value in self.columns[key]])
        return numbers if np.isfinite(numbers).all() else np.array([str(v) for v in self.columns[key]])


def read_dataset(
    source: StructureSource,
    keys: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
    *,
    skip_broken: bool = False,
) -> Dataset:
    """Read all structures once.

    Parameters
    ----------
    source : StructureSource
    keys : sequence of str
        Info keys whose values are wanted ("config_type", "composition" and "energy" always are).
    progress : callable, optional
        Called with the number of structures read.
    skip_broken : bool
        Leave out structures that cannot be used (not finite, atoms that overlap, contradicting labels, ...)
        instead of raising; ``skipped`` names them.

    Raises
    ------
    InputError
        For a bad structure, or one without a wanted key; file and index are named.
    """
    wanted = [key for key in dict.fromkeys(keys) if key not in (CONFIG_TYPE, COMPOSITION, ENERGY)]
    energies: list[float] = []
    kinds: list[str] = []
    columns: dict[str, list[Any]] = {key: [] for key in wanted}

    def noted(structure: LabelledStructure) -> LabelledStructure:
        """Keep what is asked for, on the way into the table."""
        energies.append(np.nan if structure.energy is None else structure.energy)
        kinds.append(structure.config_type)
        for key in wanted:
            if key not in structure.atoms.info:
                known = ", ".join(sorted(structure.atoms.info)) or "nothing"
                raise InputError(
                    f"{structure.name}: has no info key {key!r}; it has {known}; name another key, or "
                    "leave out the structures that lack it"
                )
            columns[key].append(structure.atoms.info[key])
        if progress is not None:
            progress(len(kinds))
        return structure

    skipped: list[Skipped] = []
    structures = map(noted, sound_structures(source, skipped if skip_broken else None))
    first = next(structures, None)
    if first is None and skipped:
        raise InputError(f"all {len(skipped)} structures are broken; the first: {skipped[0].reason}")
    table = table_of(structures if first is None else chain([first], structures))
    return Dataset(
        table,
        np.array(energies, dtype=np.float64),
        tuple(kinds),
        {key: tuple(values) for key, values in columns.items()},
        tuple(skipped),
    )


def label_keys(energy_key: str | None = None, config_type_key: str = CONFIG_TYPE) -> LabelKeys:
    """Return the keys of what splits and audits ask of labels; forces and stresses are not looked at."""
    return LabelKeys(
        energy=energy_key, forces=IGNORE, stress=IGNORE, virial=IGNORE, config_type=config_type_key
    )


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def joined(first: Dataset, second: Dataset) -> Dataset:
    """Return one data set after the other."""
    return Dataset(
        first.table.joined(second.table),
        np.concatenate([first.energies, second.energies]),
        first.config_types + second.config_types,
        {key: first.columns[key] + second.columns[key] for key in first.columns},
        first.skipped
        + tuple(Skipped(len(first) + len(first.skipped) + s.index, s.reason) for s in second.skipped),
    )
