"""What a potential says about a structure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
