"""Simulations of the demonstration: what a potential must get right beside its test errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from castile.demo.data import SiliconReference
from castile.report import Comparison
from castile.simulation import (
    ElasticConstants,
    EquationOfState,
    MolecularDynamicsResult,
    MolecularDynamicsSettings,
    elastic_constants,
    equation_of_state,
    run_molecular_dynamics,
)

DRIFT_LIMIT = 0.5  # meV/atom/ps; a run of 1 to 2 ps resolves no less


@dataclass(frozen=True)
class EnergyConservation:
    """A constant-energy run.

    Attributes:
        result: the run.
        n_atoms: atoms in the cell.
        times: (n_rows,) ps.
        energies: (n_rows,) total energy, eV/atom.
        temperatures: (n_rows,) K.
        drift: slope of the total energy, meV/atom/ps.

    """

    result: MolecularDynamicsResult
    n_atoms: int
    times: NDArray[np.float64]
    energies: NDArray[np.float64]
    temperatures: NDArray[np.float64]
    drift: float

    @property
    def passed(self) -> bool:
        """Whether the drift is below the limit."""
        return abs(self.drift) < DRIFT_LIMIT

    @property
    def fluctuation(self) -> float:
        """Standard deviation of the total energy, meV/atom."""
        return float(np.std(self.energies)) * 1000.0


def conserve_energy(
    calculator: BaseCalculator,
    lattice_constant: float,
    *,
    n_steps: int,
    repeat: int = 2,
    temperature: float = 600.0,
    progress: Callable[[int], None] | None = None,
) -> EnergyConservation:
    """Run diamond silicon at constant energy from random velocities (seeded), 1 fs a step.

    Args:
        calculator: the potential.
        lattice_constant: of the cubic cell, Angstrom.
        n_steps: number of steps.
        repeat: cubic cells along each axis.
        temperature: of the initial velocities, K; half of it goes into the potential energy.
        progress: called with the number of steps done.

    """
    atoms = bulk("Si", "diamond", a=lattice_constant, cubic=True) * (repeat, repeat, repeat)
    atoms.calc = calculator
    settings = MolecularDynamicsSettings(n_steps=n_steps, temperature_k=temperature, log_interval=5, seed=1)
    result = run_molecular_dynamics(
        atoms, settings, progress=None if progress is None else lambda state: progress(state.row.step)
    )
    if not result.completed:
        raise KeyboardInterrupt
    drift = result.drift_mev_per_atom_per_ps
    return EnergyConservation(
        result=result,
        n_atoms=len(atoms),
        times=result.column("time_fs") / 1000.0,
        energies=result.column("total_energy_ev") / len(atoms),
        temperatures=result.column("temperature_k"),
        drift=0.0 if drift is None else drift,
    )


def silicon_equation_of_state(calculator: BaseCalculator, reference: SiliconReference) -> EquationOfState:
    """Equation of state over the range of volumes of the reference."""
    atoms = bulk("Si", "diamond", a=reference.lattice_constant)
    atoms.calc = calculator
    volume = atoms.get_volume() / len(atoms)
    limits = (min(reference.volumes) / volume, max(reference.volumes) / volume)
    return equation_of_state(atoms, volume_range=limits, n_volumes=49)


def silicon_elastic_constants(
    calculator: BaseCalculator,
    reference: SiliconReference,
    progress: Callable[[int, int], None] | None = None,
) -> ElasticConstants:
    """Elastic constants with relaxed ions at the model's own lattice constant."""
    atoms = bulk("Si", "diamond", a=reference.lattice_constant)
    atoms.calc = calculator
    return elastic_constants(atoms, strain=0.005, symmetrize=False, progress=progress)


def state_comparisons(states: EquationOfState, reference: SiliconReference) -> tuple[Comparison, ...]:
    """Lattice constant, volume and bulk modulus against the reference."""
    volume = states.equilibrium_volume / states.n_atoms
    return (
        Comparison("lattice constant", "Å", float((8 * volume) ** (1 / 3)), reference.lattice_constant),
        Comparison("volume", "Å³/atom", volume, reference.equilibrium_volume),
        Comparison("bulk modulus", "GPa", states.bulk_modulus_gpa, reference.bulk_modulus_gpa),
    )


def cubic_constants(elastic: ElasticConstants) -> tuple[float, float, float]:
    """C11, C12 and C44 (GPa), each the mean over the entries that cubic symmetry makes equal."""
    matrix = elastic.constants
    off_diagonal = (matrix[0, 1] + matrix[0, 2] + matrix[1, 2]) / 3
    return float(np.trace(matrix[:3, :3]) / 3), float(off_diagonal), float(np.trace(matrix[3:, 3:]) / 3)


def elastic_comparisons(elastic: ElasticConstants, reference: SiliconReference) -> tuple[Comparison, ...]:
    """Cubic elastic constants against the reference."""
    c11, c12, c44 = cubic_constants(elastic)
    return (
        Comparison("C11", "GPa", c11, reference.c11_gpa),
        Comparison("C12", "GPa", c12, reference.c12_gpa),
        Comparison("C44 (relaxed ions)", "GPa", c44, reference.c44_gpa),
        Comparison(
            "elastic bulk modulus",
            "GPa",
            (c11 + 2 * c12) / 3,
            (reference.c11_gpa + 2 * reference.c12_gpa) / 3,
        ),
    )
