"""The potential as an ASE calculator."""

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from castile.potentials.model import PotentialModel


class CastileCalculator(Calculator):
    """ASE calculator of a fitted potential: energy, free_energy, energies, forces, stress.

    Parameters
    ----------
    model : PotentialModel
    threads : int, optional
        Default: ``CASTILE_NUM_THREADS`` or all cores.
    """

    implemented_properties: ClassVar[list[str]] = [  # type: ignore[misc]
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]

    def __init__(self, model: PotentialModel, threads: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.threads = threads

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``results``; the stress is left out where the cell has no volume."""
        super().calculate(atoms, properties, system_changes)
        prediction = self.model.predict(self.atoms, self.threads)  # type: ignore[arg-type]
        results: dict[str, Any] = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "energies": np.array(prediction.energies),
            "forces": np.array(prediction.forces),
        }
        if prediction.stress is not None:
            results["stress"] = np.array(prediction.stress)
        self.results = results
