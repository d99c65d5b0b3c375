"""Energy-volume curves."""

import numpy as np
import pytest
from ase import units

from castile.errors import InputError, SimulationError
from castile.simulation.birch_murnaghan import (
    birch_murnaghan_energy,
    equation_of_state,
    fit_equation_of_state,
)
from castile.simulation.relaxation import relax


def test_fit_recovers_a_known_curve():
    volumes = np.linspace(18.0, 22.0, 9)
    energies = birch_murnaghan_energy(volumes, -5.4, 20.0, 90.0 * units.GPa, 4.2)
    fit = fit_equation_of_state(volumes, energies, 1)
    assert fit.equilibrium_volume == pytest.approx(20.0, rel=1e-6)
    assert fit.equilibrium_energy == pytest.approx(-5.4, rel=1e-8)
    assert fit.bulk_modulus_gpa == pytest.approx(90.0, rel=1e-4)
    assert fit.bulk_modulus_derivative == pytest.approx(4.2, rel=1e-3)
    assert fit.fit_rmse < 1e-8
    np.testing.assert_allclose(fit.curve(volumes), energies, atol=1e-8)


def test_copper_agrees_with_its_relaxed_cell_and_stress(copper):
    atoms = copper()
    curve = equation_of_state(atoms, n_volumes=11)
    relaxed = relax(atoms, cell=True, max_force=1e-5)
    assert curve.equilibrium_volume == pytest.approx(relaxed.volume, rel=1e-3)
    assert curve.equilibrium_energy == pytest.approx(relaxed.energy, abs=1e-4)
    # bulk modulus from the stress, B = -V dP/dV
    pressures = []
    for factor in (0.999, 1.001):
        scaled = relaxed.atoms.copy()
        scaled.calc = atoms.calc
        scaled.set_cell(scaled.cell * factor ** (1 / 3), scale_atoms=True)
        pressures.append(-scaled.get_stress()[:3].mean() / units.GPa)
    assert curve.bulk_modulus_gpa == pytest.approx((pressures[0] - pressures[1]) / 0.002, rel=0.02)
    assert curve.to_json_dict()["volume_ang3_per_atom"] == curve.equilibrium_volume


def test_relaxed_ions_lower_the_energy(silicon):
    atoms = silicon()
    atoms.positions[1] += [0.05, 0.0, 0.0]
    clamped = equation_of_state(atoms, n_volumes=5)
    relaxed = equation_of_state(atoms, n_volumes=5, relax_positions=True, max_force=0.001)
    assert relaxed.equilibrium_energy < clamped.equilibrium_energy - 0.01


def test_ranges_without_a_minimum_are_refused(copper):
    with pytest.raises(SimulationError, match="outside the range of volumes"):
        equation_of_state(copper(), volume_range=(1.1, 1.2))
    with pytest.raises(InputError, match="at least 5 volumes"):
        equation_of_state(copper(), n_volumes=3)
