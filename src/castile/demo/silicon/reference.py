"""Equation of state and elastic constants of diamond silicon, by the engine and settings of the data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState

from castile.demo.silicon.drawing import LATTICE_CONSTANT

Labeller = Callable[[Atoms, str], Atoms]
EOS_FACTORS = (0.88, 0.90, 0.92, 0.94, 0.96, 0.98, 1.00, 1.02, 1.04, 1.06, 1.09, 1.12)
AXIAL_STRAIN = 0.005
SHEAR_STRAIN = 0.01  # engineering strain gamma_yz = 2 e_yz
FORCE_TOLERANCE = 0.002  # eV/A


@dataclass(frozen=True)
class EquationOfStateReference:
    """Energy per atom over volume per atom, and the third-order Birch-Murnaghan fit through it."""

    volumes_a3_per_atom: tuple[float, ...]
    energies_ev_per_atom: tuple[float, ...]
    pressures_gpa: tuple[float, ...]
    lattice_constant_a: float
    equilibrium_volume_a3_per_atom: float
    equilibrium_energy_ev_per_atom: float
    bulk_modulus_gpa: float
    largest_fit_residual_mev_per_atom: float


@dataclass(frozen=True)
class ElasticReference:
    """Elastic constants from stresses of strained cells at the fitted lattice constant, with relaxed ions."""

    c11_gpa: float
    c12_gpa: float
    c44_gpa: float
    c44_clamped_ions_gpa: float
    bulk_modulus_from_stress_gpa: float
    residual_pressure_gpa: float


def equation_of_state(label: Labeller) -> EquationOfStateReference:
    """E(V) of the primitive diamond cell, fitted with the third-order Birch-Murnaghan form."""
    cells = [
        label(bulk("Si", "diamond", a=LATTICE_CONSTANT * factor ** (1 / 3)), f"reference_eos_{factor:.2f}")
        for factor in EOS_FACTORS
    ]
    volumes = np.array([cell.get_volume() / len(cell) for cell in cells])
    energies = np.array([cell.get_potential_energy() / len(cell) for cell in cells])
    pressures = np.array([-np.mean(cell.get_stress()[:3]) / units.GPa for cell in cells])
    fit = EquationOfState(volumes, energies, eos="birchmurnaghan")
    volume, energy, modulus = fit.fit()
    residual = np.max(np.abs(fit.func(volumes, *fit.eos_parameters) - energies))
    return EquationOfStateReference(
        volumes_a3_per_atom=tuple(round(float(v), 6) for v in volumes),
        energies_ev_per_atom=tuple(round(float(e), 6) for e in energies),
        pressures_gpa=tuple(round(float(p), 4) for p in pressures),
        lattice_constant_a=round(float((8 * volume) ** (1 / 3)), 5),
        equilibrium_volume_a3_per_atom=round(float(volume), 5),
        equilibrium_energy_ev_per_atom=round(float(energy), 6),
        bulk_modulus_gpa=round(float(modulus / units.GPa), 3),
        largest_fit_residual_mev_per_atom=round(float(residual * 1000), 4),
    )


def _deformed(lattice_constant: float, strain: np.ndarray) -> Atoms:
    atoms = bulk("Si", "diamond", a=lattice_constant)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def _relaxed_shear(label: Labeller, lattice_constant: float) -> tuple[float, float]:
    """Stress yz (GPa) with clamped and with relaxed ions; by symmetry they move along x."""
    strain = np.zeros((3, 3))
    strain[1, 2] = strain[2, 1] = SHEAR_STRAIN / 2
    atoms = _deformed(lattice_constant, strain)
    shifts, forces, stresses = [], [], []
    shift = 0.0
    for step in range(6):
        moved = atoms.copy()
        moved.positions[1, 0] += shift
        done = label(moved, f"reference_shear_{step}")
        shifts.append(shift)
        forces.append(done.get_forces()[1, 0])
        stresses.append(done.get_stress()[3] / units.GPa)
        if abs(forces[-1]) < FORCE_TOLERANCE:
            return stresses[0], stresses[-1]
        if step == 0:
            shift = float(np.sign(forces[0])) * 0.01
        else:
            slope = (forces[-1] - forces[-2]) / (shifts[-1] - shifts[-2])
            shift = shifts[-1] - forces[-1] / slope
    raise RuntimeError(f"internal coordinate not relaxed, forces (eV/A) {forces}")


def elastic_constants(label: Labeller, lattice_constant: float) -> ElasticReference:
    """C11 and C12 from central differences of the stress, C44 from one shear (either sign gives the same)."""
    stresses = []
    for sign in (1, -1):
        strain = np.zeros((3, 3))
        strain[0, 0] = sign * AXIAL_STRAIN
        done = label(
            _deformed(lattice_constant, strain), f"reference_axial_{'plus' if sign > 0 else 'minus'}"
        )
        stresses.append(done.get_stress() / units.GPa)
    c11 = (stresses[0][0] - stresses[1][0]) / (2 * AXIAL_STRAIN)
    c12 = (stresses[0][1] - stresses[1][1]) / (2 * AXIAL_STRAIN)
    rest = label(_deformed(lattice_constant, np.zeros((3, 3))), "reference_rest")
    clamped, relaxed = _relaxed_shear(label, lattice_constant)
    return ElasticReference(
        c11_gpa=round(float(c11), 2),
        c12_gpa=round(float(c12), 2),
        c44_gpa=round(float(relaxed / SHEAR_STRAIN), 2),
        c44_clamped_ions_gpa=round(float(clamped / SHEAR_STRAIN), 2),
        bulk_modulus_from_stress_gpa=round(float((c11 + 2 * c12) / 3), 2),
        residual_pressure_gpa=round(float(-np.mean(rest.get_stress()[:3]) / units.GPa), 4),
    )
