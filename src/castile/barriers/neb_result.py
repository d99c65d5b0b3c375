"""What came of a nudged elastic band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """Energy along the path, finer than the images.

    Attributes
    ----------
    coordinates : ndarray, shape (n,)
        Length of the path from the initial end, A (all atoms together).
    energies, deviations : ndarray, shape (n,)
        eV; energies relative to the initial end.
    image_coordinates, image_energies : ndarray, shape (n_images + 2,)
    oracle_coordinates, oracle_energies : ndarray, shape (n_near,)
        Calculations of the oracle within 0.5 A (all atoms together) of the path.
    """

    coordinates: Float64Array
    energies: Float64Array
    deviations: Float64Array
    image_coordinates: Float64Array
    image_energies: Float64Array
    oracle_coordinates: Float64Array
    oracle_energies: Float64Array


@dataclass(frozen=True)
class NebResult:
    """Outcome of `neb`.

    Attributes
    ----------
    images : tuple of Atoms
        Both ends included. Ends and climbing image carry the oracle's energies and forces, the others the
        surrogate's; ``info`` has ``path_id``, ``image``, ``barrier``, ``energy_std`` and ``source``.
    converged : bool
    reason : str
        Why it ended.
    barrier : float
        eV, from the initial end to the climbing image, by the oracle where it was asked there.
    reverse_barrier : float
        eV, from the final end.
    barrier_std : float
        eV, the surrogate's deviation at the climbing image.
    climbing_image : int or None
        None when no image lies above both ends.
    climbing_force : float or None
        eV/A; the largest true force on an atom at the climbing image.
    largest_deviation, largest_slope_deviation : float
        Along the path, eV and eV/A.
    n_oracle_calls : int
        Structures between the ends that the oracle computed.
    n_end_calls : int
        The same for the ends and their relaxation.
    n_failed_calls : int
        Of both; they gave no labels.
    profile : Profile
    """

    images: tuple[Atoms, ...]
    converged: bool
    reason: str
    barrier: float
    reverse_barrier: float
    barrier_std: float
    climbing_image: int | None
    climbing_force: float | None
    largest_deviation: float
    largest_slope_deviation: float
    n_oracle_calls: int
    n_end_calls: int
    n_failed_calls: int
    profile: Profile

    def to_json_dict(self) -> dict[str, float | int | bool | str | None]:
        """Return flat numbers with units in their names."""
        return {
            "n_atoms": len(self.images[0]),
            "n_images": len(self.images) - 2,
            "converged": self.converged,
            "reason": self.reason,
            "barrier_ev": self.barrier,
            "reverse_barrier_ev": self.reverse_barrier,
            "reaction_energy_ev": self.barrier - self.reverse_barrier,
            "barrier_std_ev": self.barrier_std,
            "climbing_image": self.climbing_image,
            "climbing_force_ev_per_angstrom": self.climbing_force,
            "largest_deviation_ev": self.largest_deviation,
            "largest_slope_deviation_ev_per_angstrom": self.largest_slope_deviation,
            "path_length_angstrom": float(self.profile.image_coordinates[-1]),
            "n_oracle_calls": self.n_oracle_calls,
            "n_end_calls": self.n_end_calls,
            "n_failed_calls": self.n_failed_calls,
        }
