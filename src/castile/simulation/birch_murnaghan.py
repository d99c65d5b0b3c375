"""Energy as a function of volume, and the bulk modulus from it."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState as VolumeFit

from castile.errors import InputError, SimulationError
from castile.simulation.potential_calls import (
    evaluate_potential,
    require_calculator,
    require_three_dimensional_crystal,
)
from castile.simulation.relaxation import relax


@dataclass(frozen=True)
class EquationOfState:
    """Energies of a crystal at several volumes and the third-order Birch-Murnaghan curve through them.

    Args:
        volumes: (n_volumes,) in A^3.
        energies: (n_volumes,) in eV.
        n_atoms: atoms in the cell.
        equilibrium_volume: V_0 in A^3.
        equilibrium_energy: E_0 in eV.
        bulk_modulus_gpa: B_0 in GPa.
        bulk_modulus_derivative: dB/dP at V_0.
        fit_rmse: root-mean-square deviation of the curve from the energies, in eV.

    """

    volumes: np.ndarray
    energies: np.ndarray
    n_atoms: int
    equilibrium_volume: float
    equilibrium_energy: float
    bulk_modulus_gpa: float
    bulk_modulus_derivative: float
    fit_rmse: float

    def curve(self, volumes: np.ndarray) -> np.ndarray:
        """Return the fitted energies (eV) at ``volumes`` (A^3)."""
        return birch_murnaghan_energy(
            volumes,
            self.equilibrium_energy,
            self.equilibrium_volume,
            self.bulk_modulus_gpa * units.GPa,
            self.bulk_modulus_derivative,
        )

    def to_json_dict(self) -> dict[str, float | int]:
        """Return flat numbers with units in their names."""
        return {
            "n_atoms": self.n_atoms,
            "volume_ang3": self.equilibrium_volume,
            "volume_ang3_per_atom": self.equilibrium_volume / self.n_atoms,
            "energy_ev": self.equilibrium_energy,
            "energy_ev_per_atom": self.equilibrium_energy / self.n_atoms,
            "bulk_modulus_gpa": self.bulk_modulus_gpa,
            "bulk_modulus_derivative": self.bulk_modulus_derivative,
            "fit_rmse_mev_per_atom": 1000.0 * self.fit_rmse / self.n_atoms,
        }


def birch_murnaghan_energy(
    volumes: np.ndarray, energy: float, volume: float, bulk_modulus: float, derivative: float
) -> np.ndarray:
    """Return E(V) = E_0 + 9/16 V_0 B_0 [B'_0 (x - 1)^3 + (x - 1)^2 (6 - 4x)] with x = (V_0/V)^(2/3).

    Args:
        volumes: in A^3.
        energy: E_0 in eV.
        volume: V_0 in A^3.
        bulk_modulus: B_0 in eV/A^3.
        derivative: B'_0.

    Source: Birch, Phys. Rev. 71, 809 (1947).

    """
    x = (volume / np.asarray(volumes, dtype=np.float64)) ** (2.0 / 3.0)
    return energy + 9.0 / 16.0 * volume * bulk_modulus * (
        derivative * (x - 1.0) ** 3 + (x - 1.0) ** 2 * (6.0 - 4.0 * x)
    )


def equation_of_state(
    atoms: Atoms,
    volume_range: tuple[float, float] = (0.94, 1.06),
    n_volumes: int = 9,
    relax_positions: bool = False,
    max_force: float = 0.005,
) -> EquationOfState:
    """Scale the cell isotropically, evaluate the energies, and fit them.

    Args:
        atoms: crystal with a calculator; it is not changed.
        volume_range: smallest and largest volume relative to that of ``atoms``; the minimum must lie inside.
        n_volumes: number of volumes, at least 5.
        relax_positions: relax the ions at every volume.
        max_force: threshold of that relaxation in eV/A.

    Raises:
        InputError: unusable structure or range.
        SimulationError: no minimum inside the range, or a relaxation that did not converge.

    """
    require_calculator(atoms, "equation of state")
    require_three_dimensional_crystal(atoms, "equation of state")
    low, high = volume_range
    if not 0 < low < high or n_volumes < 5:
        raise InputError(
            f"volume_range is {volume_range} and n_volumes {n_volumes}; "
            "give 0 < low < high and at least 5 volumes, for example (0.94, 1.06) and 9"
        )
    volumes = atoms.get_volume() * np.linspace(low, high, n_volumes)
    energies = np.array([_energy_at(atoms, volume, relax_positions, max_force) for volume in volumes])
    return fit_equation_of_state(volumes, energies, len(atoms))


def fit_equation_of_state(volumes: np.ndarray, energies: np.ndarray, n_atoms: int) -> EquationOfState:
    """Fit the Birch-Murnaghan equation to energies (eV) at volumes (A^3), each (n_volumes,).

    Raises:
        SimulationError: the energies have no minimum inside the range of volumes.

    """
    fit = VolumeFit(volumes, energies, eos="birchmurnaghan")
    try:
        fit.fit(warn=False)
    except (ValueError, RuntimeError) as error:
        raise SimulationError(f"equation of state: the fit failed ({error}); {RANGE_REMEDY}") from error
    energy, bulk_modulus, derivative, volume = (float(value) for value in fit.eos_parameters)
    if not volumes.min() < volume < volumes.max():
        raise SimulationError(
            f"equation of state: the minimum, {volume:.2f} A^3, lies outside the range of volumes, "
            f"{volumes.min():.2f} to {volumes.max():.2f} A^3; {RANGE_REMEDY}"
        )
    curve = birch_murnaghan_energy(volumes, energy, volume, bulk_modulus, derivative)
    return EquationOfState(
        volumes=np.asarray(volumes, dtype=np.float64),
        energies=np.asarray(energies, dtype=np.float64),
        n_atoms=n_atoms,
        equilibrium_volume=volume,
        equilibrium_energy=energy,
        bulk_modulus_gpa=bulk_modulus / units.GPa,
        bulk_modulus_derivative=derivative,
        fit_rmse=float(np.sqrt(np.mean((curve - energies) ** 2))),
    )


RANGE_REMEDY = "start from a structure closer to equilibrium or widen volume_range"


def _energy_at(atoms: Atoms, volume: float, relax_positions: bool, max_force: float) -> float:
    scaled = atoms.copy()
    scaled.calc = atoms.calc
    scaled.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1.0 / 3.0), scale_atoms=True)
    if not relax_positions:
        return evaluate_potential(scaled, context=f"volume {volume:.2f} A^3").energy
    result = relax(scaled, max_force=max_force)
    if not result.converged:
        raise SimulationError(
            f"equation of state: the ions did not relax to {max_force} eV/A at {volume:.2f} A^3 "
            f"(still {result.max_force:.3g}); raise max_force"
        )
    return result.energy
