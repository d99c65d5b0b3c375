"""Elastic constants by finite strains."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms, units

from castile.errors import InputError, SimulationError
from castile.simulation.elastic_tensors import (
    VOIGT_PAIRS,
    IsotropicModuli,
    average_over_rotations,
    find_crystal_symmetry,
    hill_average,
    reuss_average,
    universal_anisotropy,
    voigt_average,
)
from castile.simulation.potential_calls import (
    PotentialValues,
    evaluate_potential,
    has_stress,
    require_calculator,
    require_three_dimensional_crystal,
)
from castile.simulation.relaxation import relax

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class ElasticConstants:
    """Elastic constants of a crystal.

    Args:
        constants: (6, 6) C_ij = d sigma_i / d epsilon_j in GPa, Voigt order xx yy zz yz xz xy, engineering
            shears.
        asymmetry_gpa: largest |C_ij - C_ji| before they were averaged, in GPa.
        space_group: that the constants were averaged over; None when they were not.
        clamped_ions: whether the ions only followed the strain.
        residual_stress_gpa: largest stress component of the unstrained cell in GPa; the constants are those
            of elasticity theory only where it is about zero.
        atoms: the unstrained cell.

    """

    constants: np.ndarray
    asymmetry_gpa: float
    space_group: str | None
    clamped_ions: bool
    residual_stress_gpa: float | None
    atoms: Atoms

    @property
    def smallest_eigenvalue_gpa(self) -> float:
        """Smallest eigenvalue of the matrix of constants."""
        return float(np.linalg.eigvalsh(self.constants)[0])

    @property
    def stable(self) -> bool:
        """Born criterion: every small strain costs energy.

        Source: Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014).
        """
        return self.smallest_eigenvalue_gpa > 0.0

    @property
    def voigt(self) -> IsotropicModuli:
        """Uniform-strain average."""
        return voigt_average(self.constants)

    @property
    def reuss(self) -> IsotropicModuli:
        """Uniform-stress average; means nothing when the crystal is not stable."""
        return reuss_average(self.constants)

    @property
    def hill(self) -> IsotropicModuli:
        """Mean of the two."""
        return hill_average(self.constants)

    def to_json_dict(self) -> dict[str, float | bool | str | None]:
        """Return flat numbers with units in their names; averages are None for an unstable crystal."""
        flat: dict[str, float | bool | str | None] = {
            f"c{i + 1}{j + 1}_gpa": float(self.constants[i, j]) for i in range(6) for j in range(i, 6)
        }
        upper, lower, mean = (self.voigt, self.reuss, self.hill) if self.stable else (None, None, None)
        flat |= {
            "bulk_modulus_gpa": mean.bulk_gpa if mean else None,
            "shear_modulus_gpa": mean.shear_gpa if mean else None,
            "young_modulus_gpa": mean.young_gpa if mean else None,
            "poisson_ratio": mean.poisson_ratio if mean else None,
            "bulk_modulus_voigt_gpa": upper.bulk_gpa if upper else None,
            "bulk_modulus_reuss_gpa": lower.bulk_gpa if lower else None,
            "shear_modulus_voigt_gpa": upper.shear_gpa if upper else None,
            "shear_modulus_reuss_gpa": lower.shear_gpa if lower else None,
            "universal_anisotropy": universal_anisotropy(self.constants) if self.stable else None,
            "smallest_eigenvalue_gpa": self.smallest_eigenvalue_gpa,
            "stable": self.stable,
            "space_group": self.space_group,
            "clamped_ions": self.clamped_ions,
            "asymmetry_gpa": self.asymmetry_gpa,
            "residual_stress_gpa": self.residual_stress_gpa,
            "volume_ang3": float(self.atoms.get_volume()),
        }
        return flat


def elastic_constants(
    atoms: Atoms,
    strain: float = 0.003,
    clamped_ions: bool = False,
    relax_cell: bool = True,
    symmetrize: bool = True,
    use_energies: bool | None = None,
    max_force: float = 0.001,
    progress: ProgressCallback | None = None,
) -> ElasticConstants:
    """Strain the cell by plus and minus ``strain`` in each of the six ways and differentiate.

    C_ij = d sigma_i / d epsilon_j from stresses, or (1/V) d^2 E / d epsilon_i d epsilon_j from energies where
    the calculator has no stress; central differences, so the error is of second order in ``strain``.

    Args:
        atoms: crystal with a calculator; it is not changed.
        strain: size of the strain, between 1e-5 and 0.05.
        clamped_ions: let the ions only follow the strain instead of relaxing them.
        relax_cell: relax cell and ions first (needs stresses).
        symmetrize: average over the point group of the crystal, where spglib is installed.
        use_energies: second derivatives of energies instead of stresses; None takes stresses if there are.
        max_force: threshold of all relaxations in eV/A.
        progress: called with the number of strained cells done and their total.

    Raises:
        InputError: unusable structure or argument.
        SimulationError: a relaxation did not converge.

    """
    stresses = _check(atoms, strain, relax_cell, use_energies)
    reference = _reference(atoms, relax_cell, clamped_ions, max_force)
    use_energies = not stresses if use_energies is None else use_energies
    strained = _StrainedCells(reference, clamped_ions, max_force, 72 if use_energies else 12, progress)
    derivative = _from_energies if use_energies else _from_stresses
    matrix = derivative(strained, strain) / units.GPa
    asymmetry = float(np.abs(matrix - matrix.T).max())
    matrix = (matrix + matrix.T) / 2
    symmetry = find_crystal_symmetry(reference) if symmetrize else None
    if symmetry is not None:
        matrix = average_over_rotations(matrix, symmetry.rotations)
    residual = evaluate_potential(reference, want_stress=True).stress
    return ElasticConstants(
        constants=matrix,
        asymmetry_gpa=asymmetry,
        space_group=None if symmetry is None else symmetry.space_group,
        clamped_ions=clamped_ions,
        residual_stress_gpa=None if residual is None else float(np.abs(residual).max()) / units.GPa,
        atoms=reference.copy(),
    )


def _check(atoms: Atoms, strain: float, relax_cell: bool, use_energies: bool | None) -> bool:
    """Refuse what cannot work; return whether the calculator has stresses."""
    require_calculator(atoms, "elastic constants")
    require_three_dimensional_crystal(atoms, "elastic constants")
    if not 1e-5 <= strain <= 0.05:
        raise InputError(f"strain is {strain}; it must lie between 1e-5 and 0.05, for example 0.003")
    stresses = has_stress(atoms)
    if not stresses and use_energies is False:
        raise InputError("elastic constants: the calculator gives no stress; set use_energies=True")
    if not stresses and relax_cell:
        raise InputError(
            "elastic constants: the calculator gives no stress to relax the cell with; "
            "give a relaxed cell and set relax_cell=False"
        )
    return stresses


def strain_matrix(voigt: np.ndarray) -> np.ndarray:
    """Return the symmetric (3, 3) strain of six Voigt components with engineering shears."""
    matrix = np.zeros((3, 3))
    for value, (i, j) in zip(voigt, VOIGT_PAIRS, strict=True):
        matrix[i, j] += value / 2
        matrix[j, i] += value / 2
    return matrix


class _StrainedCells:
    """Evaluates the reference under a strain; counts for the progress callback."""

    def __init__(
        self,
        reference: Atoms,
        clamped_ions: bool,
        max_force: float,
        n_total: int,
        progress: ProgressCallback | None,
    ) -> None:
        self.reference, self.clamped_ions, self.max_force = reference, clamped_ions, max_force
        self.n_total, self.n_done, self.progress = n_total, 0, progress

    def evaluate(self, voigt: np.ndarray, want_stress: bool) -> PotentialValues:
        """Return energy, forces and stress under the strain ``voigt`` (6,)."""
        atoms = self.reference.copy()
        atoms.calc = self.reference.calc
        atoms.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + strain_matrix(voigt)), scale_atoms=True)
        if not self.clamped_ions:
            atoms = _relax_or_raise(atoms, False, self.max_force, f"under the strain {voigt.tolist()}")
        values = evaluate_potential(atoms, want_stress, f"strain {voigt.tolist()}")
        self.n_done += 1
        if self.progress is not None:
            self.progress(self.n_done, self.n_total)
        return values


def _from_stresses(cells: _StrainedCells, strain: float) -> np.ndarray:
    matrix = np.empty((6, 6))
    for column, direction in enumerate(np.eye(6)):
        plus = cells.evaluate(strain * direction, True).stress
        minus = cells.evaluate(-strain * direction, True).stress
        assert plus is not None
        assert minus is not None
        matrix[:, column] = (plus - minus) / (2.0 * strain)
    return matrix


def _from_energies(cells: _StrainedCells, strain: float) -> np.ndarray:
    """Return second differences.

    (E_+ - 2 E_0 + E_-) / h^2, and (E_++ - E_+- - E_-+ + E_--) / 4 h^2 off the diagonal.
    """
    energy = evaluate_potential(cells.reference).energy
    unit = strain * np.eye(6)
    matrix = np.empty((6, 6))
    for i in range(6):
        pair = cells.evaluate(unit[i], False).energy + cells.evaluate(-unit[i], False).energy
        matrix[i, i] = (pair - 2.0 * energy) / strain**2
    for i, j in combinations(range(6), 2):
        mixed = sum(
            first * second * cells.evaluate(first * unit[i] + second * unit[j], False).energy
            for first in (1.0, -1.0)
            for second in (1.0, -1.0)
        )
        matrix[i, j] = matrix[j, i] = mixed / (4.0 * strain**2)
    return matrix / cells.reference.get_volume()


def _reference(atoms: Atoms, relax_cell: bool, clamped_ions: bool, max_force: float) -> Atoms:
    reference = atoms.copy()
    reference.calc = atoms.calc
    if relax_cell:
        return _relax_or_raise(reference, True, max_force, "before straining")
    if not clamped_ions:
        return _relax_or_raise(reference, False, max_force, "before straining")
    return reference


def _relax_or_raise(atoms: Atoms, cell: bool, max_force: float, when: str) -> Atoms:
    result = relax(atoms, cell=cell, max_force=max_force, max_steps=1000)
    if not result.converged:
        raise SimulationError(
            f"elastic constants: the structure did not relax {when}: after {result.n_steps} steps a force of "
            f"{result.max_force:.3g} eV/A is left; raise max_force from {max_force}, or relax it beforehand"
        )
    relaxed = result.atoms.copy()
    relaxed.calc = atoms.calc
    return relaxed
