"""Relax positions and, if wanted, the cell."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TextIO

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS

from castile.errors import InputError, SimulationError
from castile.simulation.close_contacts import DEFAULT_CONTACT_FRACTION, require_no_fused_atoms
from castile.simulation.potential_calls import (
    NON_FINITE_REMEDY,
    PotentialValues,
    evaluate_potential,
    has_stress,
    require_calculator,
    require_three_dimensional_crystal,
)


class Optimizer(StrEnum):
    """The minimizers of ASE to choose from."""

    LBFGS = "lbfgs"
    BFGS = "bfgs"
    FIRE = "fire"


@dataclass(frozen=True)
class RelaxationProgress:
    """What a progress callback receives in every step (eV and eV/A)."""

    step: int
    energy: float
    max_force: float


ProgressCallback = Callable[[RelaxationProgress], None]


@dataclass(frozen=True)
class RelaxationResult:
    """Outcome of a relaxation.

    Args:
        atoms: relaxed structure, with its energy, forces and stress but without the calculator.
        converged: whether every force fell below the threshold.
        n_steps: steps taken.
        energy: in eV.
        initial_energy: before the relaxation, in eV.
        max_force: largest force on an atom in eV/A; constrained components do not count.
        max_stress_gpa: largest component of stress + pressure in GPa; None without a stress.
        volume: in A^3; None without a cell.

    """

    atoms: Atoms
    converged: bool
    n_steps: int
    energy: float
    initial_energy: float
    max_force: float
    max_stress_gpa: float | None
    volume: float | None

    def to_json_dict(self) -> dict[str, float | int | bool | None]:
        """Return flat numbers with units in their names."""
        return {
            "n_atoms": len(self.atoms),
            "converged": self.converged,
            "n_steps": self.n_steps,
            "energy_ev": self.energy,
            "initial_energy_ev": self.initial_energy,
            "max_force_ev_per_angstrom": self.max_force,
            "max_stress_gpa": self.max_stress_gpa,
            "volume_ang3": self.volume,
        }


def relax(
    atoms: Atoms,
    cell: bool = False,
    max_force: float = 0.01,
    pressure_gpa: float = 0.0,
    keep_symmetry: bool = False,
    optimizer: Optimizer | str = Optimizer.LBFGS,
    max_steps: int = 500,
    trajectory: str | Path | None = None,
    contact_fraction: float = DEFAULT_CONTACT_FRACTION,
    progress: ProgressCallback | None = None,
) -> RelaxationResult:
    """Minimize the energy, or the enthalpy E + P V when the cell moves; ``atoms`` itself is not changed.

    Args:
        atoms: structure with a calculator; its constraints are kept.
        cell: relax the cell too (periodic in three directions, calculator with stresses).
        max_force: converged when no atom feels more than this force, and the cell no more than its equivalent
            (virial per atom), in eV/A.
        pressure_gpa: external pressure in GPa, only with ``cell``.
        keep_symmetry: keep the space group (needs spglib).
        optimizer: ``lbfgs``, ``bfgs`` (best below some hundred atoms) or ``fire`` (slow, robust).
        max_steps: give up after so many steps; the result then says ``converged=False``.
        trajectory: extended-xyz file that receives every step.
        contact_fraction: pairs closer than this fraction of the sum of covalent radii are an error; 0 is off.
        progress: called in every step.

    Raises:
        InputError: unusable structure or argument.
        SimulationError: atoms fused, or an energy or force is not finite.

    """
    work = _prepare(atoms, cell, max_force, pressure_gpa, keep_symmetry, max_steps)
    require_no_fused_atoms(work, contact_fraction, "starting structure")
    initial_energy = evaluate_potential(work, context="the starting structure").energy
    target = FrechetCellFilter(work, scalar_pressure=pressure_gpa * units.GPa) if cell else work
    steps = _minimize(target, optimizer, max_force, max_steps)
    n_steps, converged = _follow(steps, work, contact_fraction, trajectory, progress)
    values = evaluate_potential(work, want_stress=True, context="the relaxed structure")
    residual = None
    if values.stress is not None:
        residual = float(
            np.abs(values.stress + pressure_gpa * units.GPa * np.array([1, 1, 1, 0, 0, 0])).max()
        )
        residual /= units.GPa
    return RelaxationResult(
        atoms=_with_results(work, values, atoms),
        converged=converged,
        n_steps=n_steps,
        energy=values.energy,
        initial_energy=initial_energy,
        max_force=_largest_force(work),
        max_stress_gpa=residual,
        volume=float(work.get_volume()) if work.cell.rank == 3 else None,
    )


def _prepare(
    atoms: Atoms, cell: bool, max_force: float, pressure_gpa: float, keep_symmetry: bool, max_steps: int
) -> Atoms:
    require_calculator(atoms, "relaxation")
    if not max_force > 0:
        raise InputError(f"max_force is {max_force}; it must be positive (eV/A), for example 0.01")
    if max_steps < 0:
        raise InputError(f"max_steps is {max_steps}; it must be zero or positive")
    if pressure_gpa and not cell:
        raise InputError(f"pressure_gpa is {pressure_gpa} but the cell is fixed; set cell=True")
    work = atoms.copy()
    work.calc = atoms.calc
    if cell:
        require_three_dimensional_crystal(work, "cell relaxation")
        if not has_stress(work):
            raise InputError(
                "cell relaxation: the calculator gives no stress; relax positions only (cell=False)"
            )
    if keep_symmetry:
        require_three_dimensional_crystal(work, "keep_symmetry")
        try:
            work.set_constraint([*work.constraints, FixSymmetry(work)])
        except ImportError as error:
            raise InputError("keep_symmetry needs spglib: pip install 'castile[phonons]'") from error
    return work


def _follow(
    steps: Iterator[tuple[int, bool]],
    work: Atoms,
    contact_fraction: float,
    trajectory: str | Path | None,
    progress: ProgressCallback | None,
) -> tuple[int, bool]:
    """Check, write and report every step; return the number of steps and whether they converged."""
    last = (0, False)
    with nullcontext() if trajectory is None else _open_frames(Path(trajectory)) as frames:
        for last in steps:
            context = f"relaxation step {last[0]}"
            require_no_fused_atoms(work, contact_fraction, context)
            values = evaluate_potential(work, context=context)
            if frames is not None:
                ase.io.write(frames, _with_results(work, values), format="extxyz")
            if progress is not None:
                progress(RelaxationProgress(last[0], values.energy, _largest_force(work)))
    return last


def _minimize(
    target: Atoms | FrechetCellFilter, optimizer: Optimizer | str, max_force: float, max_steps: int
) -> Iterator[tuple[int, bool]]:
    """Yield (step, converged) for the start and after every step."""
    try:
        minimizer = OPTIMIZERS[Optimizer(optimizer)](target, logfile=None)
    except ValueError:
        raise InputError(f"optimizer is {optimizer!r}; choose one of {', '.join(Optimizer)}") from None
    try:
        for step, converged in enumerate(minimizer.irun(fmax=max_force, steps=max_steps)):
            yield step, bool(converged)
    except np.linalg.LinAlgError as error:
        raise SimulationError(f"the relaxation broke down ({error}); {NON_FINITE_REMEDY}") from error


OPTIMIZERS = {Optimizer.LBFGS: LBFGS, Optimizer.BFGS: BFGS, Optimizer.FIRE: FIRE}


def _largest_force(atoms: Atoms) -> float:
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def _open_frames(path: Path) -> TextIO:
    if path.suffix not in (".xyz", ".extxyz"):
        raise InputError(f"trajectory {path}: give a name that ends in .xyz or .extxyz")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")


def _with_results(work: Atoms, values: PotentialValues, original: Atoms | None = None) -> Atoms:
    """Return a copy that carries its results, with the constraints of ``original``."""
    frame = work.copy()
    frame.set_constraint(None if original is None else original.constraints)
    results = {"energy": values.energy, "forces": values.forces}
    if values.stress is not None:
        results["stress"] = values.stress
    frame.calc = SinglePointCalculator(frame, **results)
    return frame
