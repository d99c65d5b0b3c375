"""Phonons by finite displacements, with phonopy."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.cell import Cell

from castile.errors import InputError, SimulationError
from castile.execution.optional_packages import import_optional
from castile.simulation.potential_calls import (
    evaluate_potential,
    require_calculator,
    require_three_dimensional_crystal,
)
from castile.simulation.relaxation import relax

ProgressCallback = Callable[[int, int], None]
KJ_PER_MOL = units.kJ / units.mol


@dataclass(frozen=True)
class PhononBands:
    """Frequencies along a path through the Brillouin zone.

    Args:
        qpoints: (n_qpoints, 3) in units of the reciprocal vectors of the primitive cell.
        distances: (n_qpoints,) length of the path in 1/A, with the factor 2 pi.
        frequencies: (n_qpoints, 3 n_primitive_atoms) in THz; imaginary ones are negative.
        label_positions: (n_labels,) distances of the special points.
        labels: their names.

    """

    qpoints: np.ndarray
    distances: np.ndarray
    frequencies: np.ndarray
    label_positions: np.ndarray
    labels: tuple[str, ...]


@dataclass(frozen=True)
class PhononDensityOfStates:
    """States per THz and primitive cell, (n_frequencies,), over frequencies in THz, (n_frequencies,)."""

    frequencies: np.ndarray
    densities: np.ndarray


@dataclass(frozen=True)
class HarmonicThermodynamics:
    """Vibrational functions of a primitive cell over temperatures (n_temperatures,) in K.

    Free energy in eV, entropy in eV/K, heat capacity at constant volume in eV/K; modes below the tolerance
    for imaginary frequencies are left out.
    """

    temperatures: np.ndarray
    free_energies: np.ndarray
    entropies: np.ndarray
    heat_capacities: np.ndarray


@dataclass(frozen=True)
class Phonons:
    """Phonons of a crystal.

    Args:
        bands: along the automatic path.
        density_of_states: from a mesh over the whole zone.
        thermodynamics: harmonic free energy and its derivatives.
        gamma_frequencies: (3 n_primitive_atoms,) at the zone center in THz.
        min_frequency: lowest frequency on path and mesh in THz; negative means imaginary.
        max_frequency: highest frequency on path and mesh in THz.
        imaginary_tolerance: frequencies below minus this (THz) count as imaginary.
        force_drift: largest violation of the acoustic sum rule before it was imposed, in eV/A^2.
        n_displacements: supercells that were evaluated.
        supercell: repetitions of the given cell.
        n_primitive_atoms: atoms in the primitive cell.
        atoms: the cell that was displaced (relaxed, if so asked).

    """

    bands: PhononBands
    density_of_states: PhononDensityOfStates
    thermodynamics: HarmonicThermodynamics
    gamma_frequencies: np.ndarray
    min_frequency: float
    max_frequency: float
    imaginary_tolerance: float
    force_drift: float
    n_displacements: int
    supercell: tuple[int, int, int]
    n_primitive_atoms: int
    atoms: Atoms

    @property
    def has_imaginary_modes(self) -> bool:
        """Whether the crystal is unstable against some vibration."""
        return self.min_frequency < -self.imaginary_tolerance

    def to_json_dict(self) -> dict[str, float | int | bool]:
        """Return flat numbers with units in their names; thermal ones at the temperature nearest to 300 K."""
        thermal = self.thermodynamics
        room = int(np.argmin(np.abs(thermal.temperatures - 300.0)))
        return {
            "min_frequency_thz": self.min_frequency,
            "max_frequency_thz": self.max_frequency,
            "has_imaginary_modes": self.has_imaginary_modes,
            "zero_point_energy_ev_per_atom": float(thermal.free_energies[0]) / self.n_primitive_atoms,
            "thermal_temperature_k": float(thermal.temperatures[room]),
            "free_energy_ev_per_atom": float(thermal.free_energies[room]) / self.n_primitive_atoms,
            "entropy_ev_per_k_per_atom": float(thermal.entropies[room]) / self.n_primitive_atoms,
            "heat_capacity_ev_per_k_per_atom": float(thermal.heat_capacities[room]) / self.n_primitive_atoms,
            "force_drift_ev_per_ang2": self.force_drift,
            "n_displacements": self.n_displacements,
            "n_supercell_atoms": len(self.atoms) * int(np.prod(self.supercell)),
            "volume_ang3": float(self.atoms.get_volume()),
        }


def compute_phonons(
    atoms: Atoms,
    supercell: tuple[int, int, int] | None = None,
    min_length: float = 12.0,
    displacement: float = 0.01,
    relax_cell: bool = True,
    max_force: float = 0.001,
    path: str | None = None,
    n_path_points: int = 200,
    mesh_length: float = 60.0,
    max_temperature: float = 1000.0,
    imaginary_tolerance: float = 0.05,
    save_to: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Phonons:
    """Displace atoms in a supercell and solve the dynamical matrix; ``atoms`` itself is not changed.

    Args:
        atoms: crystal with a calculator.
        supercell: repetitions along the three cell vectors; None makes every length at least ``min_length``.
        min_length: in A; should be twice the cutoff of the potential for force constants without aliasing.
        displacement: in A.
        relax_cell: first relax cell and positions within the space group.
        max_force: threshold of that relaxation in eV/A.
        path: special points, such as ``"GXWKGL"``; None takes the standard path of the lattice.
        n_path_points: number of q-points on the path.
        mesh_length: density of the mesh for the density of states, in A (phonopy's measure).
        max_temperature: last temperature of the thermodynamic table in K, which has steps of 10 K from 0.
        imaginary_tolerance: in THz; numerical noise at the zone center is not an instability.
        save_to: file that phonopy can load (YAML with the force constants).
        progress: called with the number of displaced supercells done and their total.

    Raises:
        InputError: phonopy is not installed, or an unusable structure or argument.
        SimulationError: the relaxation did not converge, or forces that are not finite.

    """
    phonopy = import_optional("phonopy", "phonons need phonopy", "phonons")
    _check(atoms, displacement)
    reference = _relaxed(atoms, max_force) if relax_cell else _copy_with_calculator(atoms, atoms)
    repeats = _repeats(reference, min_length) if supercell is None else _checked_repeats(supercell)
    solver = _solver(phonopy, reference, repeats)
    drift = _add_force_constants(solver, reference, displacement, save_to, progress)
    bands = _bands(solver, path, n_path_points)
    on_mesh, gamma = _mesh_and_gamma(solver, mesh_length)
    return Phonons(
        bands=bands,
        density_of_states=_density_of_states(solver),
        thermodynamics=_thermodynamics(solver, max_temperature, imaginary_tolerance),
        gamma_frequencies=gamma,
        min_frequency=float(min(bands.frequencies.min(), on_mesh.min())),
        max_frequency=float(max(bands.frequencies.max(), on_mesh.max())),
        imaginary_tolerance=imaginary_tolerance,
        force_drift=drift,
        n_displacements=len(solver.forces),
        supercell=repeats,
        n_primitive_atoms=len(solver.primitive),
        atoms=reference.copy(),
    )


def _check(atoms: Atoms, displacement: float) -> None:
    require_calculator(atoms, "phonons")
    require_three_dimensional_crystal(atoms, "phonons")
    if not 0 < displacement < 0.5:
        raise InputError(f"displacement is {displacement}; it must lie between 0 and 0.5 A, for example 0.01")


def _mesh_and_gamma(solver: Any, mesh_length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies (THz) on the mesh, (n_points, n_bands), and at the zone center, (n_bands,)."""
    solver.run_mesh(mesh_length)
    on_mesh = np.asarray(solver.mesh.frequencies)
    solver.run_qpoints([[0.0, 0.0, 0.0]])
    return on_mesh, np.asarray(solver.qpoints.frequencies)[0]


def _add_force_constants(
    solver: Any,
    reference: Atoms,
    displacement: float,
    save_to: str | Path | None,
    progress: ProgressCallback | None,
) -> float:
    """Evaluate all displaced supercells; return the violation of the acoustic sum rule (eV/A^2)."""
    solver.generate_displacements(distance=displacement)
    cells = solver.supercells_with_displacements
    solver.forces = np.array(
        [_forces(cell, reference, index, len(cells), progress) for index, cell in enumerate(cells)]
    )
    solver.produce_force_constants(show_drift=False)
    drift = float(np.abs(solver.force_constants.sum(axis=1)).max())
    solver.symmetrize_force_constants(show_drift=False)
    if save_to is not None:
        solver.save(save_to, settings={"force_constants": True})
    return drift


def _solver(phonopy: ModuleType, atoms: Atoms, repeats: tuple[int, int, int]) -> Any:
    with warnings.catch_warnings():
        # phonopy 4 remarks that "auto", which is meant here, was not the default of phonopy 3
        warnings.filterwarnings("ignore", message="primitive_matrix defaulted")
        return phonopy.Phonopy(_to_phonopy(atoms), supercell_matrix=np.diag(repeats), primitive_matrix="auto")


def _to_phonopy(atoms: Atoms) -> Any:
    structure = import_module("phonopy.structure.atoms")
    return structure.PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=np.asarray(atoms.cell),
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )


def _copy_with_calculator(atoms: Atoms, source: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.set_constraint()
    copy.calc = source.calc
    return copy


def _relaxed(atoms: Atoms, max_force: float) -> Atoms:
    result = relax(
        _copy_with_calculator(atoms, atoms),
        cell=True,
        keep_symmetry=True,
        max_force=max_force,
        max_steps=1000,
    )
    if not result.converged:
        raise SimulationError(
            f"phonons: the structure did not relax to {max_force} eV/A (still {result.max_force:.3g}); "
            "raise max_force, or relax it beforehand and set relax_cell=False"
        )
    return _copy_with_calculator(result.atoms, atoms)


def _repeats(atoms: Atoms, min_length: float) -> tuple[int, int, int]:
    if not min_length > 0:
        raise InputError(f"min_length is {min_length}; it must be positive (A), for example 12")
    a, b, c = (max(1, int(np.ceil(min_length / length - 1e-6))) for length in atoms.cell.lengths())
    return a, b, c


def _checked_repeats(supercell: tuple[int, int, int]) -> tuple[int, int, int]:
    if len(supercell) != 3 or any(int(number) != number or number < 1 for number in supercell):
        raise InputError(
            f"supercell is {supercell}; give three whole numbers of at least 1, for example (3, 3, 3)"
        )
    a, b, c = (int(number) for number in supercell)
    return a, b, c


def _forces(
    cell: Any, reference: Atoms, index: int, n_total: int, progress: ProgressCallback | None
) -> np.ndarray:
    atoms = Atoms(numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    atoms.calc = reference.calc
    forces = evaluate_potential(atoms, context=f"displaced supercell {index + 1} of {n_total}").forces
    if progress is not None:
        progress(index + 1, n_total)
    return forces


def _bands(solver: Any, path: str | None, n_points: int) -> PhononBands:
    try:
        line = Cell(solver.primitive.cell).bandpath(path, npoints=n_points)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"path is {path!r}: {error}; give special points such as 'GXWKGL' or none"
        ) from error
    distances, positions, labels = line.get_linear_kpoint_axis()
    solver.run_qpoints(line.kpts)
    return PhononBands(
        qpoints=np.asarray(line.kpts),
        distances=np.asarray(distances),
        frequencies=np.asarray(solver.qpoints.frequencies),
        label_positions=np.asarray(positions),
        labels=tuple(labels),
    )


def _density_of_states(solver: Any) -> PhononDensityOfStates:
    solver.run_total_dos()
    table = solver.total_dos
    return PhononDensityOfStates(np.asarray(table.frequency_points), np.asarray(table.dos))


def _thermodynamics(solver: Any, max_temperature: float, tolerance: float) -> HarmonicThermodynamics:
    solver.run_thermal_properties(t_min=0, t_max=max_temperature, t_step=10, cutoff_frequency=tolerance)
    table = solver.thermal_properties
    per_kelvin = KJ_PER_MOL / 1000.0
    return HarmonicThermodynamics(
        temperatures=np.asarray(table.temperatures),
        free_energies=np.asarray(table.free_energy) * KJ_PER_MOL,
        entropies=np.asarray(table.entropy) * per_kelvin,
        heat_capacities=np.asarray(table.heat_capacity) * per_kelvin,
    )
