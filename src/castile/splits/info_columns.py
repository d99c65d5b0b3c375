"""What structures say about themselves, gathered while they are read: info keys as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from castile.structures import LabelledStructure

NOTHING = "(none)"
_RESERVED = ("structure", "file", "atoms", "composition", "config_type", "energy")


class InfoColumns:
    """Columns of numbers or names, one value for each structure that was noted.

    Memory grows with the values that are numbers or short texts; structures themselves are not kept.
    """

    def __init__(self) -> None:
        self._n = 0
        self._names: list[str] = []
        self._kinds: list[str] = []
        self._energies: list[float] = []
        self._info: dict[str, dict[int, float | str]] = {}

    def note(self, structure: LabelledStructure) -> None:
        """Keep what a structure says."""
        atoms = structure.atoms
        self._names.append(structure.name)
        self._kinds.append(structure.config_type)
        self._energies.append(np.nan if structure.energy is None else structure.energy / len(atoms))
        for key, value in atoms.info.items():
            if isinstance(value, bool | np.bool_ | str):
                self._info.setdefault(key, {})[self._n] = str(value)
            elif isinstance(value, int | float | np.number):
                self._info.setdefault(key, {})[self._n] = float(value)
        self._n += 1

    def passing(
        self, structures: Iterable[LabelledStructure], progress: Callable[[int], None]
    ) -> Iterator[LabelledStructure]:
        """Yield structures on, each noted; ``progress`` is called with their number so far."""
        for structure in structures:
            self.note(structure)
            progress(self._n)
            yield structure

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns (n_structures,): structure, file (if several), config_type, energy (eV/atom) and
        every info key that holds numbers or texts; NaN, or "(none)", where a structure has no value.
        """
        files = np.array([name.partition("[")[0] for name in self._names])
        found: dict[str, NDArray[Any]] = {"structure": np.array(self._names)}
        if len(set(files.tolist())) > 1:
            found["file"] = files
        if any(self._kinds):
            found["config_type"] = np.array([kind or NOTHING for kind in self._kinds])
        if np.isfinite(self._energies).any():
            found["energy"] = np.array(self._energies)
        for key in sorted(set(self._info) - set(_RESERVED)):
            found[key] = self._column(self._info[key])
        return found

    def _column(self, values: dict[int, float | str]) -> NDArray[Any]:
        """Numbers where all values are, else names."""
        if all(isinstance(value, float) for value in values.values()):
            numbers = np.full(self._n, np.nan)
            numbers[list(values)] = list(values.values())
            return np.where(np.isfinite(numbers), numbers, np.nan)
        return np.array([str(values.get(k, NOTHING)) for k in range(self._n)])
