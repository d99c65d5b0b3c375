"""One step of molecular dynamics in three ensembles.

The whole state is a `PhasePoint` and the random generator, so a run that stores both restarts exactly. Times
are in ASE units (``ase.units.fs``), masses (n_atoms, 1) in amu, momenta in sqrt(amu eV).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from ase import units

from castile.errors import SimulationError
from castile.simulation.potential_calls import PotentialValues
from castile.simulation.velocities import conserves_momentum, kinetic_energy, remove_total_momentum

PotentialFunction = Callable[[np.ndarray, np.ndarray], PotentialValues]


@dataclass(frozen=True)
class PhasePoint:
    """Positions and momenta (n_atoms, 3), cell (3, 3), the potential there, and the heat received (eV)."""

    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    potential: PotentialValues
    heat: float = 0.0


@dataclass(frozen=True)
class System:
    """What does not change: masses (n_atoms, 1), mask of mobile components (n_atoms, 3), potential."""

    masses: np.ndarray
    mobile: np.ndarray
    potential: PotentialFunction


@dataclass(frozen=True)
class Thermostat:
    """Langevin thermostat: temperature (K) and friction (1 / ASE time)."""

    temperature: float
    friction: float


@dataclass(frozen=True)
class Barostat:
    """Stochastic cell rescaling: pressure (eV/A^3) and rate beta / tau_p (A^3/eV per ASE time)."""

    pressure: float
    rate: float


def velocity_verlet_step(point: PhasePoint, system: System, time_step: float) -> PhasePoint:
    """Advance by one step at constant energy (Swope et al., J. Chem. Phys. 76, 637 (1982))."""
    momenta = _kick(point.momenta, point.potential, system, time_step / 2)
    positions = point.positions + time_step * momenta / system.masses
    potential = system.potential(positions, point.cell)
    momenta = _kick(momenta, potential, system, time_step / 2)
    return replace(point, positions=positions, momenta=momenta, potential=potential)


def langevin_step(
    point: PhasePoint,
    system: System,
    time_step: float,
    thermostat: Thermostat,
    generator: np.random.Generator,
    barostat: Barostat | None = None,
) -> PhasePoint:
    """Advance by one BAOAB step at constant temperature and, with a barostat, constant pressure.

    Kick, drift, thermostat (and cell), drift, kick; the thermostat solves its part exactly,
    p <- c p + sqrt((1 - c^2) m k_B T) xi with c = exp(-friction dt), in the space of zero total momentum.

    Source: Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013), the splitting called BAOAB.
    """
    masses = system.masses
    momenta = _kick(point.momenta, point.potential, system, time_step / 2)
    positions = point.positions + 0.5 * time_step * momenta / masses
    before = kinetic_energy(momenta, masses)
    momenta = _thermalize(momenta, system, time_step, thermostat, generator)
    heat = point.heat + kinetic_energy(momenta, masses) - before
    cell = point.cell
    if barostat is not None:
        scale = _cell_scale(point, momenta, masses, time_step, thermostat, barostat, generator)
        positions, momenta, cell = positions * scale, momenta / scale, cell * scale
    positions = positions + 0.5 * time_step * momenta / masses
    potential = system.potential(positions, cell)
    momenta = _kick(momenta, potential, system, time_step / 2)
    return PhasePoint(positions, momenta, cell, potential, heat)


def pressure_of(stress: np.ndarray, kinetic: float, n_degrees: int, n_atoms: int, volume: float) -> float:
    """Return P = n_atoms k_B T / V - tr(stress) / 3 in eV/A^3, with T from the kinetic energy (eV)."""
    return 2.0 * kinetic * n_atoms / (n_degrees * volume) - float(stress[:3].sum()) / 3.0


def _kick(momenta: np.ndarray, potential: PotentialValues, system: System, time: float) -> np.ndarray:
    return momenta + time * potential.forces * system.mobile


def _thermalize(
    momenta: np.ndarray,
    system: System,
    time_step: float,
    thermostat: Thermostat,
    generator: np.random.Generator,
) -> np.ndarray:
    decay = np.exp(-thermostat.friction * time_step)
    width = np.sqrt((1.0 - decay**2) * units.kB * thermostat.temperature * system.masses)
    momenta = decay * momenta + width * generator.standard_normal(momenta.shape) * system.mobile
    if conserves_momentum(system.mobile):
        momenta = remove_total_momentum(momenta, system.masses)
    return momenta


def _cell_scale(
    point: PhasePoint,
    momenta: np.ndarray,
    masses: np.ndarray,
    time_step: float,
    thermostat: Thermostat,
    barostat: Barostat,
    generator: np.random.Generator,
) -> float:
    """Return the factor by which all lengths change in one step.

    With lambda = sqrt(V) the noise does not depend on the state:
    d lambda = (beta lambda / 2 tau) (P - P_0 + k_B T / 2V) dt + sqrt(k_B T beta / 2 tau) dW.
    P holds the ideal part of the relative motion from the momenta and k_B T / V of the centre of mass, whose
    momentum is zero here.

    Source: Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020).
    """
    stress = point.potential.stress
    if stress is None:
        raise SimulationError(
            "constant pressure needs a calculator with stresses; use NVE or Langevin instead"
        )
    volume = abs(float(np.linalg.det(point.cell)))
    thermal = units.kB * thermostat.temperature
    center = thermal / volume if len(masses) > 1 else 0.0
    ideal = 2.0 * kinetic_energy(momenta, masses) / (3.0 * volume) + center
    excess = ideal - float(stress[:3].sum()) / 3.0 - barostat.pressure
    root = np.sqrt(volume)
    drift = 0.5 * barostat.rate * root * (excess + 0.5 * thermal / volume) * time_step
    noise = np.sqrt(0.5 * thermal * barostat.rate * time_step) * generator.standard_normal()
    factor = (root + drift + noise) / root
    if not 0.9 < factor < 1.1:
        raise SimulationError(
            f"the barostat wants to change the volume by a factor {factor**2:.3g} in one step; relax the "
            "cell first, use a longer barostat time, or check the pressure and the model's stresses"
        )
    return float(factor ** (2.0 / 3.0))
