"""One gate between a simulation and the calculator: finite energies, forces and stresses, or an error."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from castile.errors import InputError, SimulationError


@dataclass(frozen=True)
class PotentialValues:
    """Energy (eV), forces (n_atoms, 3) in eV/A and stress (6,) in eV/A^3 (None where there is none)."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None


def require_calculator(atoms: Atoms, purpose: str) -> Calculator:
    """Return the calculator of ``atoms``; raise `InputError` when none is attached or no atom is there."""
    if len(atoms) == 0:
        raise InputError(f"{purpose}: the structure has no atoms; give one with at least one atom")
    if atoms.calc is None:
        raise InputError(
            f"{purpose}: no calculator is attached to the structure; set atoms.calc, "
            "for example to castile.load('model.castile').calculator()"
        )
    return atoms.calc


def require_three_dimensional_crystal(atoms: Atoms, purpose: str) -> None:
    """Raise `InputError` unless ``atoms`` is periodic in three directions with a cell that has a volume."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise InputError(
            f"{purpose}: needs a crystal periodic in all three directions, but pbc is "
            f"{atoms.pbc.tolist()} and the cell has rank {atoms.cell.rank}; set atoms.pbc and atoms.cell"
        )


def has_stress(atoms: Atoms) -> bool:
    """Whether the attached calculator gives a stress for ``atoms`` (one evaluation, which ASE caches)."""
    if atoms.cell.rank < 3:
        return False
    try:
        atoms.get_stress(apply_constraint=False)
    except (PropertyNotImplementedError, NotImplementedError):
        return False
    return True


def evaluate_potential(atoms: Atoms, want_stress: bool = False, context: str = "") -> PotentialValues:
    """Evaluate the calculator of ``atoms`` without constraints.

    Args:
        atoms: structure with a calculator.
        want_stress: also return the stress; it stays None when the calculator has none.
        context: where this happens ("step 10 of the trajectory"), for the error message.

    Raises:
        SimulationError: the energy, a force or a stress component is not finite.

    """
    forces = np.array(atoms.get_forces(apply_constraint=False), dtype=np.float64)
    energy = float(atoms.get_potential_energy())
    stress = None
    if want_stress and has_stress(atoms):
        stress = np.array(atoms.get_stress(apply_constraint=False), dtype=np.float64)
    where = f" at {context}" if context else ""
    if not np.isfinite(energy):
        raise SimulationError(f"the potential energy is {energy}{where}; {NON_FINITE_REMEDY}")
    if not np.isfinite(forces).all():
        atom = int(np.flatnonzero(~np.isfinite(forces).all(axis=1))[0])
        raise SimulationError(f"the force on atom {atom} is {forces[atom]}{where}; {NON_FINITE_REMEDY}")
    if stress is not None and not np.isfinite(stress).all():
        raise SimulationError(f"the stress is {stress}{where}; {NON_FINITE_REMEDY}")
    return PotentialValues(energy, forces, stress)


NON_FINITE_REMEDY = (
    "the structure left the region where the model is defined: start from a relaxed structure, "
    "or train the model on structures like this one"
)
