"""The potential as an ASE calculator."""

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from castile.potentials.imported_uncertainty import ImportedUncertainty
from castile.potentials.model import PotentialModel
from castile.potentials.prediction import Prediction, UncertainPrediction
from castile.potentials.uncertainty import UncertaintyModel


class CastileCalculator(Calculator):
    """ASE calculator of a fitted potential: energy, free_energy, energies, forces, stress.

    With ``uncertainty`` the results also hold ``energy_std`` (eV), ``energies_std`` (eV, per atom),
    ``forces_std`` (eV/A), ``stress_std`` (eV/A^3) and ``extrapolation_grade`` (per atom, 0 to 1), which
    ``calc.results`` or ``calc.get_property(name)`` give.

    Parameters
    ----------
    model : PotentialModel
    threads : int, optional
        Default: ``CASTILE_NUM_THREADS`` or all cores.
    uncertainty : UncertaintyModel or ImportedUncertainty, optional
    method : "committee", "exact" or "auto"
        Of the deviations.
    n_samples : int, optional
        Members of the committee; default 8.
    """

    implemented_properties: ClassVar[list[str]] = [  # type: ignore[misc]
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]

    def __init__(
        self,
        model: PotentialModel,
        threads: int | None = None,
        uncertainty: UncertaintyModel | ImportedUncertainty | None = None,
        method: str = "committee",
        n_samples: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.threads = threads
        self.uncertainty = uncertainty
        self.method = method
        self.n_samples = n_samples
        if uncertainty is not None:
            self.implemented_properties = [*type(self).implemented_properties, *DEVIATIONS]  # type: ignore[misc]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``results``; the stress is left out where the cell has no volume."""
        super().calculate(atoms, properties, system_changes)
        if self.uncertainty is None:
            prediction = self.model.predict(self.atoms, self.threads)  # type: ignore[arg-type]
            self.results = prediction_results(prediction)
            return
        uncertain = self.uncertainty.predict(
            self.atoms,  # type: ignore[arg-type]
            self.method,
            self.threads,
            n_samples=self.n_samples,
        )
        self.results = prediction_results(uncertain.prediction) | deviation_results(uncertain)


DEVIATIONS = ("energy_std", "energies_std", "forces_std", "stress_std", "extrapolation_grade")


def prediction_results(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction under ASE's names."""
    results: dict[str, Any] = {
        "energy": prediction.energy,
        "free_energy": prediction.energy,
        "energies": np.array(prediction.energies),
        "forces": np.array(prediction.forces),
    }
    if prediction.stress is not None:
        results["stress"] = np.array(prediction.stress)
    return results


def deviation_results(uncertain: UncertainPrediction) -> dict[str, Any]:
    """Return deviations under their names, as a calculator holds them."""
    results: dict[str, Any] = {
        "energy_std": uncertain.energy_std,
        "energies_std": np.array(uncertain.energies_std),
        "forces_std": np.array(uncertain.forces_std),
        "extrapolation_grade": np.array(uncertain.extrapolation_grade),
    }
    if uncertain.stress_std is not None:
        results["stress_std"] = np.array(uncertain.stress_std)
    return results
