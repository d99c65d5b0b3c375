"""Algebra of elastic tensors: Voigt matrices, averages, symmetry (all in GPa, order xx yy zz yz xz xy)."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from castile.errors import SimulationError

VOIGT_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class IsotropicModuli:
    """Bulk, shear and Young modulus (GPa) and Poisson ratio of an isotropic average."""

    bulk_gpa: float
    shear_gpa: float

    @property
    def young_gpa(self) -> float:
        """E = 9 K G / (3 K + G)."""
        return 9.0 * self.bulk_gpa * self.shear_gpa / (3.0 * self.bulk_gpa + self.shear_gpa)

    @property
    def poisson_ratio(self) -> float:
        """Nu = (3 K - 2 G) / (6 K + 2 G)."""
        return (3.0 * self.bulk_gpa - 2.0 * self.shear_gpa) / (6.0 * self.bulk_gpa + 2.0 * self.shear_gpa)


def voigt_average(constants: np.ndarray) -> IsotropicModuli:
    """Return the uniform-strain average, an upper bound, of ``constants`` (6, 6).

    9 K = (C11 + C22 + C33) + 2 (C12 + C13 + C23);
    15 G = (C11 + C22 + C33) - (C12 + C13 + C23) + 3 (C44 + C55 + C66).

    Source: Hill, Proc. Phys. Soc. A 65, 349 (1952).
    """
    normal, mixed, shear = _sums(constants)
    return IsotropicModuli((normal + 2.0 * mixed) / 9.0, (normal - mixed + 3.0 * shear) / 15.0)


def reuss_average(constants: np.ndarray) -> IsotropicModuli:
    """Return the uniform-stress average, a lower bound, of ``constants`` (6, 6), from S = C^-1.

    1 / K = (S11 + S22 + S33) + 2 (S12 + S13 + S23);
    15 / G = 4 (S11 + S22 + S33) - 4 (S12 + S13 + S23) + 3 (S44 + S55 + S66).

    Source: Hill, Proc. Phys. Soc. A 65, 349 (1952).
    """
    normal, mixed, shear = _sums(np.linalg.inv(constants))
    return IsotropicModuli(1.0 / (normal + 2.0 * mixed), 15.0 / (4.0 * normal - 4.0 * mixed + 3.0 * shear))


def hill_average(constants: np.ndarray) -> IsotropicModuli:
    """Return the mean of the Voigt and Reuss averages."""
    upper, lower = voigt_average(constants), reuss_average(constants)
    return IsotropicModuli((upper.bulk_gpa + lower.bulk_gpa) / 2, (upper.shear_gpa + lower.shear_gpa) / 2)


def universal_anisotropy(constants: np.ndarray) -> float:
    """Return A = 5 G_V / G_R + K_V / K_R - 6, zero for an isotropic solid.

    Source: Ranganathan and Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008).
    """
    upper, lower = voigt_average(constants), reuss_average(constants)
    return 5.0 * upper.shear_gpa / lower.shear_gpa + upper.bulk_gpa / lower.bulk_gpa - 6.0


def voigt_to_tensor(constants: np.ndarray) -> np.ndarray:
    """Return the (3, 3, 3, 3) tensor of a Voigt matrix (6, 6)."""
    tensor = np.empty((3, 3, 3, 3))
    for row, (i, j) in enumerate(VOIGT_PAIRS):
        for column, (k, l) in enumerate(VOIGT_PAIRS):
            for a, b in ((i, j), (j, i)):
                for c, d in ((k, l), (l, k)):
                    tensor[a, b, c, d] = constants[row, column]
    return tensor


def tensor_to_voigt(tensor: np.ndarray) -> np.ndarray:
    """Return the Voigt matrix (6, 6) of a tensor (3, 3, 3, 3) with the minor symmetries."""
    return np.array([[tensor[i, j, k, l] for k, l in VOIGT_PAIRS] for i, j in VOIGT_PAIRS])


def rotate_constants(constants: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return C'_ijkl = R_ia R_jb R_kc R_ld C_abcd as a Voigt matrix; ``rotation`` is orthogonal (3, 3)."""
    tensor = voigt_to_tensor(constants)
    rotated = np.einsum(
        "ia,jb,kc,ld,abcd->ijkl", rotation, rotation, rotation, rotation, tensor, optimize=True
    )
    return tensor_to_voigt(rotated)


def average_over_rotations(constants: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Return the part of ``constants`` (6, 6) that all Cartesian ``rotations`` (n, 3, 3) leave unchanged."""
    return np.mean([rotate_constants(constants, rotation) for rotation in rotations], axis=0)


@dataclass(frozen=True)
class CrystalSymmetry:
    """Name of the space group and the Cartesian rotations of its point group (n_rotations, 3, 3)."""

    space_group: str
    rotations: np.ndarray


def find_crystal_symmetry(atoms: Atoms, tolerance: float = 1e-3) -> CrystalSymmetry | None:
    """Return the symmetry that spglib finds within ``tolerance`` (A), or None without spglib."""
    try:
        import spglib
    except ImportError:
        return None
    crystal: Any = (np.asarray(atoms.cell), atoms.get_scaled_positions(), atoms.numbers)
    with warnings.catch_warnings():
        # spglib announces on every call that failures will raise one day; both ways are handled here
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            data = spglib.get_symmetry_dataset(crystal, symprec=tolerance)
        except Exception as error:
            raise SimulationError(f"spglib found no symmetry ({error}); set symmetrize=False") from error
    if data is None:
        return None
    cell = np.asarray(atoms.cell).T
    rotations = np.array([cell @ rotation @ np.linalg.inv(cell) for rotation in data.rotations])
    return CrystalSymmetry(f"{data.international} ({data.number})", rotations)


def _sums(matrix: np.ndarray) -> tuple[float, float, float]:
    normal = float(matrix[0, 0] + matrix[1, 1] + matrix[2, 2])
    mixed = float(matrix[0, 1] + matrix[0, 2] + matrix[1, 2])
    return normal, mixed, float(matrix[3, 3] + matrix[4, 4] + matrix[5, 5])
