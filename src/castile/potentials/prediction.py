"""What a potential says about a structure, and how far it may be off."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """Energy and its derivatives.

    Attributes
    ----------
    energy : float
        Total energy, eV.
    energies : ndarray, shape (n_atoms,)
        Per-atom energies that add up to the total, eV.
    forces : ndarray, shape (n_atoms, 3)
        eV/A.
    stress : ndarray, shape (6,), or None
        eV/A^3, ASE's sign and Voigt order; None where the cell has no volume.
    """

    energy: float
    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None


@dataclass(frozen=True)
class UncertainPrediction:
    """A prediction with its standard deviations.

    Attributes
    ----------
    prediction : Prediction
    energy_std : float
        Of the total energy, eV.
    energies_std : ndarray, shape (n_atoms,)
        Of the per-atom energies, eV.
    forces_std : ndarray, shape (n_atoms, 3)
        Of the force components, eV/A.
    stress_std : ndarray, shape (6,), or None
        eV/A^3; None where the cell has no volume.
    extrapolation_grade : ndarray, shape (n_atoms,)
        Root of the fraction of the prior variance of each atom's energy that the sparse points leave open:
        0 on a sparse point, 1 where nothing is known.
    method : str
        "exact" or "committee".
    meaning : str
        What the deviations contain, in words.
    forces_fixed : ndarray of bool, shape (n_atoms, 3)
        Components that symmetry makes zero whatever the model: their errors say nothing about deviations.
    stress_fixed : ndarray of bool, shape (6,), or None
        The same for the stress.
    """

    prediction: Prediction
    energy_std: float
    energies_std: Array
    forces_std: Array
    stress_std: Array | None
    extrapolation_grade: Array
    method: str
    meaning: str
    forces_fixed: NDArray[np.bool_]
    stress_fixed: NDArray[np.bool_] | None = None

    @property
    def force_deviation(self) -> float:
        """Largest norm of the deviation of the force on an atom, eV/A."""
        return float(np.sqrt(np.max(np.sum(self.forces_std**2, axis=1))))


@dataclass(frozen=True)
class EnergyDeviations:
    """A prediction with the standard deviations of its energies only, which cost less than all.

    Attributes
    ----------
    prediction : Prediction
    energy_std : float
        Of the total energy, eV.
    energies_std : ndarray, shape (n_atoms,)
        Of the per-atom energies, eV.
    extrapolation_grade : ndarray, shape (n_atoms,)
        As in :class:`UncertainPrediction`.
    meaning : str
        What the deviations contain, in words.
    """

    prediction: Prediction
    energy_std: float
    energies_std: Array
    extrapolation_grade: Array
    meaning: str
