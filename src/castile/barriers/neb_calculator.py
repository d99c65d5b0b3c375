"""What the ASE calculators of a band have in common: energy and forces of a structure, from anywhere."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


class LabelCalculator(Calculator):
    """ASE calculator of whatever gives an energy and forces."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]  # type: ignore[misc]

    @abstractmethod
    def label(self, atoms: Atoms) -> tuple[float, Float64Array]:
        """Return the energy, eV, and the forces, (n_atoms, 3) in eV/A."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``results``."""
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        energy, forces = self.label(atoms)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
