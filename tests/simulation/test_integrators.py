"""Steps of molecular dynamics against closed forms."""

import numpy as np
import pytest
from ase import units

from castile.errors import SimulationError
from castile.simulation.integrators import (
    Barostat,
    PhasePoint,
    System,
    Thermostat,
    langevin_step,
    pressure_of,
    velocity_verlet_step,
)
from castile.simulation.potential_calls import PotentialValues
from castile.simulation.velocities import (
    degrees_of_freedom,
    kinetic_energy,
    kinetic_temperature,
    maxwell_boltzmann_momenta,
)


def no_potential(positions, cell):
    return PotentialValues(0.0, np.zeros_like(positions), np.zeros(6))


def ideal_gas(n_atoms, length, seed=0, temperature=300.0):
    generator = np.random.default_rng(seed)
    masses = np.full((n_atoms, 1), 4.0)
    system = System(masses, np.ones((n_atoms, 3), dtype=bool), no_potential)
    positions = generator.uniform(0, length, (n_atoms, 3))
    momenta = maxwell_boltzmann_momenta(masses, system.mobile, temperature, generator)
    cell = length * np.eye(3)
    return PhasePoint(positions, momenta, cell, no_potential(positions, cell)), system, generator


def test_constant_pressure_gives_the_exact_volumes_of_an_ideal_gas():
    n_atoms, temperature, pressure = 20, 300.0, 0.05 * units.GPa
    point, system, generator = ideal_gas(n_atoms, 12.0)
    thermostat = Thermostat(temperature, 1.0 / (50 * units.fs))
    barostat = Barostat(pressure, 1.0 / (pressure * 1000 * units.fs))
    volumes = []
    for _ in range(25000):
        point = langevin_step(point, system, 10 * units.fs, thermostat, generator, barostat)
        volumes.append(np.linalg.det(point.cell))
    scale = units.kB * temperature / pressure
    # p(V) ~ V^N exp(-PV/kT) is a gamma distribution of order N + 1
    assert np.mean(volumes[2000:]) == pytest.approx((n_atoms + 1) * scale, rel=0.05)
    assert np.var(volumes[2000:]) == pytest.approx((n_atoms + 1) * scale**2, rel=0.25)


def test_the_thermostat_has_the_exact_kinetic_distribution_for_any_time_step():
    point, system, generator = ideal_gas(10, 20.0)
    thermostat = Thermostat(500.0, 1.0 / (30 * units.fs))
    energies = []
    for _ in range(20000):
        point = langevin_step(point, system, 60 * units.fs, thermostat, generator)
        energies.append(kinetic_energy(point.momenta, system.masses))
    thermal = units.kB * 500.0
    assert np.mean(energies) == pytest.approx(13.5 * thermal, rel=0.01)  # 27 degrees of freedom
    assert np.var(energies) == pytest.approx(13.5 * thermal**2, rel=0.06)
    assert point.heat == pytest.approx(energies[-1] - 13.5 * units.kB * 300.0, abs=1e-9)


def test_velocity_verlet_is_reversible():
    def well(positions, cell):
        return PotentialValues(0.5 * float(np.sum(positions**2)), -positions, None)

    start, system, _ = ideal_gas(4, 2.0)
    system = System(system.masses, system.mobile, well)
    start = PhasePoint(start.positions, start.momenta, start.cell, well(start.positions, start.cell))
    point = start
    for _ in range(50):
        point = velocity_verlet_step(point, system, units.fs)
    point = PhasePoint(point.positions, -point.momenta, point.cell, point.potential)
    for _ in range(50):
        point = velocity_verlet_step(point, system, units.fs)
    np.testing.assert_allclose(point.positions, start.positions, atol=1e-12)
    np.testing.assert_allclose(point.momenta, -start.momenta, atol=1e-12)


def test_initial_momenta_have_the_temperature_and_no_drift():
    generator = np.random.default_rng(0)
    masses = generator.uniform(1, 100, (50, 1))
    mobile = np.ones((50, 3), dtype=bool)
    momenta = maxwell_boltzmann_momenta(masses, mobile, 321.0, generator)
    np.testing.assert_allclose(momenta.sum(axis=0), 0.0, atol=1e-12)
    energy = kinetic_energy(momenta, masses)
    assert kinetic_temperature(energy, degrees_of_freedom(mobile)) == pytest.approx(321.0)
    assert degrees_of_freedom(mobile) == 147
    mobile[:10] = False
    assert degrees_of_freedom(mobile) == 120
    assert degrees_of_freedom(np.ones((1, 3), dtype=bool)) == 3


def test_pressure_of_an_ideal_gas():
    energy = 0.5 * 27 * units.kB * 300.0
    assert pressure_of(np.zeros(6), energy, 27, 10, 500.0) == pytest.approx(10 * units.kB * 300.0 / 500.0)
    assert pressure_of(np.array([-1.0, -2, -3, 9, 9, 9]), 0.0, 27, 10, 500.0) == pytest.approx(2.0)


def test_a_violent_barostat_is_stopped():
    point, system, generator = ideal_gas(5, 5.0)
    barostat = Barostat(1.0, 10.0)
    with pytest.raises(SimulationError, match="barostat wants to change the volume by a factor"):
        langevin_step(point, system, units.fs, Thermostat(300.0, 0.1), generator, barostat)
