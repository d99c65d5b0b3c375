"""Initial velocities and kinetic temperature."""

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms, FixCartesian

from castile.errors import InputError


def mobile_components(atoms: Atoms) -> np.ndarray:
    """Return the (n_atoms, 3) mask of Cartesian components that may move.

    Raises:
        InputError: a constraint other than `FixAtoms` or `FixCartesian` is set.

    """
    mobile = np.ones((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            mobile[constraint.index] = False
        elif isinstance(constraint, FixCartesian):
            mobile[constraint.index] &= ~np.asarray(constraint.mask, dtype=bool)
        else:
            raise InputError(
                f"molecular dynamics cannot keep the constraint {type(constraint).__name__}; "
                "use FixAtoms or FixCartesian, or remove it with atoms.set_constraint()"
            )
    if not mobile.any():
        raise InputError("molecular dynamics: every atom is fixed; release some with atoms.set_constraint()")
    return mobile


def degrees_of_freedom(mobile: np.ndarray) -> int:
    """Return the number of momenta that carry heat: 3 n_atoms - 3.

    With fixed atoms it is the number of mobile components. A lone atom keeps its three.
    """
    return int(mobile.sum()) - (3 if conserves_momentum(mobile) else 0)


def conserves_momentum(mobile: np.ndarray) -> bool:
    """Whether the total momentum is kept at zero: more than one atom and none fixed."""
    return bool(mobile.all()) and len(mobile) > 1


def remove_total_momentum(momenta: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return p_i - m_i sum_j p_j / sum_j m_j; momenta (n_atoms, 3), masses (n_atoms, 1) in amu."""
    return momenta - masses * (momenta.sum(axis=0) / masses.sum())


def kinetic_energy(momenta: np.ndarray, masses: np.ndarray) -> float:
    """Return sum p^2 / 2m in eV; momenta (n_atoms, 3) in ASE units, masses (n_atoms, 1) in amu."""
    return 0.5 * float(np.sum(momenta**2 / masses))


def kinetic_temperature(energy: float, n_degrees: int) -> float:
    """Return T = 2 E_kin / (n_degrees k_B) in K for a kinetic energy in eV."""
    return 2.0 * energy / (n_degrees * units.kB)


def maxwell_boltzmann_momenta(
    masses: np.ndarray, mobile: np.ndarray, temperature: float, generator: np.random.Generator
) -> np.ndarray:
    """Draw momenta of the Maxwell-Boltzmann distribution with zero total momentum.

    They are scaled so that the kinetic temperature is exactly ``temperature``: two runs with different seeds
    start with the same energy.

    Args:
        masses: (n_atoms, 1) in amu.
        mobile: (n_atoms, 3) mask of `mobile_components`.
        temperature: in K.
        generator: source of the random numbers.

    Returns:
        (n_atoms, 3) momenta in ASE units, sqrt(amu eV).

    """
    if temperature == 0:
        return np.zeros(mobile.shape)
    momenta = generator.standard_normal(mobile.shape) * np.sqrt(masses * units.kB * temperature) * mobile
    if conserves_momentum(mobile):
        momenta = remove_total_momentum(momenta, masses)
    actual = kinetic_temperature(kinetic_energy(momenta, masses), degrees_of_freedom(mobile))
    return momenta * np.sqrt(temperature / actual)
