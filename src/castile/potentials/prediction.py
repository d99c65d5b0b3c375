"""What a potential says about a structure, and how far it may be off."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from castile.errors import InputError
from castile.potentials.intervals import half_width

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
    tails : mapping of str to float
        Exponents of the intervals of "energy", "forces" and "stress"; empty: those of a normal distribution.
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
    tails: Mapping[str, float] = field(default_factory=dict)

    @property
    def force_deviation(self) -> float:
        """Largest norm of the deviation of the force on an atom, eV/A."""
        return float(np.sqrt(np.max(np.sum(self.forces_std**2, axis=1))))

    def interval(self, kind: str, level: float = 0.95) -> Array:
        """Return the half widths of the central intervals that errors are in with probability ``level``.

        Those of calibrated models follow the tails of held-out errors, so an interval of 95 % is not always
        1.96 deviations (:func:`castile.potentials.intervals.half_width`).

        Parameters
        ----------
        kind : "energy", "energies", "forces" or "stress"
            The shape and unit are those of its deviations; of "energy" (eV) the shape is ().
        level : float
            Between 0 and 1.

        Raises
        ------
        InputError
            For another kind or level, and for a stress without a volume.
        """
        deviations = {
            "energy": np.array(self.energy_std),
            "energies": self.energies_std,
            "forces": self.forces_std,
            "stress": self.stress_std,
        }
        if kind not in deviations:
            raise InputError(f"kind = {kind!r}: give one of {', '.join(deviations)}")
        if not 0.0 < level < 1.0:
            raise InputError(f"level = {level}: give a probability between 0 and 1, such as 0.95")
        found = deviations[kind]
        if found is None:
            raise InputError("the structure has no volume, so there is no stress; give it a cell")
        tail = self.tails.get("energy" if kind == "energies" else kind, 0.0)
        return np.asarray(found * half_width(level, tail))


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
