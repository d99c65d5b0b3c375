"""Ensembles, conservation laws and guards of molecular dynamics."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLength
from ase.md.verlet import VelocityVerlet

from castile.errors import InputError, SimulationError
from castile.simulation.md_settings import MolecularDynamicsSettings
from castile.simulation.molecular_dynamics import run_molecular_dynamics
from simulation.conftest import copper_block


class Springs(Calculator):
    """Independent harmonic wells, E = k/2 sum |r - r_0|^2 with k in eV/A^2."""

    implemented_properties = ("energy", "forces")

    def __init__(self, centers, stiffness):
        super().__init__()
        self.centers, self.stiffness = centers, stiffness

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        shift = atoms.positions - self.centers
        self.results = {
            "energy": 0.5 * self.stiffness * float(np.sum(shift**2)),
            "forces": -self.stiffness * shift,
        }


class Attraction(Calculator):
    """An attractive pair potential without a core: atoms fall into each other."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        bond = atoms.positions[1] - atoms.positions[0]
        self.results = {"energy": float(2 * np.linalg.norm(bond)), "forces": np.zeros((2, 3))}
        self.results["forces"][0] = 2 * bond / np.linalg.norm(bond)
        self.results["forces"][1] = -self.results["forces"][0]


class Exploding(LennardJones):
    """A potential that turns to nan after some calls."""

    calls = 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.calls > 5:
            self.results["energy"] = float("nan")


def test_nve_conserves_energy_and_momentum_and_leaves_the_input_alone():
    atoms = copper_block()
    before = atoms.positions.copy()
    result = run_molecular_dynamics(
        atoms, MolecularDynamicsSettings(n_steps=300, time_step_fs=2.0, temperature_k=600, seed=3)
    )
    assert np.array_equal(atoms.positions, before)
    assert abs(result.drift_mev_per_atom_per_ps) < 0.5
    assert np.abs(result.atoms.get_momenta().sum(axis=0)).max() < 1e-10
    assert result.completed
    assert result.rows[-1].time_fs == 600.0
    assert result.rows[0].temperature_k == pytest.approx(600.0)
    # a perfect crystal shares its kinetic energy with the potential energy
    assert 200 < result.to_json_dict()["mean_temperature_k"] < 400


def test_nve_error_falls_with_the_square_of_the_time_step():
    spreads = []
    for time_step, n_steps in ((4.0, 50), (2.0, 100)):
        settings = MolecularDynamicsSettings(
            n_steps=n_steps, time_step_fs=time_step, temperature_k=600, seed=3, log_interval=1
        )
        spreads.append(np.ptp(run_molecular_dynamics(copper_block(), settings).column("total_energy_ev")))
    assert spreads[0] / spreads[1] == pytest.approx(4.0, rel=0.25)


def test_nve_agrees_with_the_integrator_of_ase():
    atoms = copper_block()
    settings = MolecularDynamicsSettings(n_steps=20, temperature_k=500, seed=1)
    start = run_molecular_dynamics(
        atoms, MolecularDynamicsSettings(n_steps=0, temperature_k=500, seed=1)
    ).atoms
    start.calc = EMT()
    VelocityVerlet(start, timestep=units.fs).run(20)
    ours = run_molecular_dynamics(atoms, settings).atoms
    np.testing.assert_allclose(ours.positions, start.positions, atol=1e-10)
    np.testing.assert_allclose(ours.get_momenta(), start.get_momenta(), atol=1e-10)


def test_kept_velocities_are_the_ones_of_the_structure():
    atoms = copper_block()
    moving = run_molecular_dynamics(atoms, MolecularDynamicsSettings(n_steps=5, seed=8)).atoms
    moving.calc = EMT()
    kept = run_molecular_dynamics(moving, MolecularDynamicsSettings(n_steps=0, keep_velocities=True)).atoms
    np.testing.assert_allclose(kept.get_momenta(), moving.get_momenta(), atol=1e-12)


def test_langevin_samples_the_harmonic_canonical_distribution():
    generator = np.random.default_rng(0)
    centers = generator.uniform(0, 40, (60, 3))
    atoms = Atoms("Ar60", positions=centers, calculator=Springs(centers, 0.5))
    atoms.set_constraint(FixAtoms([0]))  # with a fixed atom all other degrees of freedom are independent
    settings = MolecularDynamicsSettings(
        ensemble="langevin",
        n_steps=4000,
        time_step_fs=20.0,
        temperature_k=200,
        thermostat_time_fs=200,
        seed=4,
        log_interval=5,
        contact_fraction=0,
    )
    result = run_molecular_dynamics(atoms, settings)
    expected = 0.5 * 59 * 3 * units.kB * 200
    potential = result.column("potential_energy_ev")[100:]
    kinetic = result.column("kinetic_energy_ev")[100:]
    assert potential.mean() == pytest.approx(expected, rel=0.03)
    assert kinetic.mean() == pytest.approx(expected, rel=0.03)
    assert potential.var() == pytest.approx(0.5 * 59 * 3 * (units.kB * 200) ** 2, rel=0.4)
    assert np.array_equal(result.atoms.positions[0], centers[0])


def test_langevin_heat_accounts_for_the_energy():
    settings = MolecularDynamicsSettings(ensemble="langevin", n_steps=200, temperature_k=600, seed=2)
    result = run_molecular_dynamics(copper_block(), settings)
    assert np.ptp(result.column("total_energy_ev")) > 20 * np.ptp(result.column("conserved_energy_ev"))
    assert np.abs(result.atoms.get_momenta().sum(axis=0)).max() < 1e-9


def test_temperature_ramp_is_followed():
    settings = MolecularDynamicsSettings(
        ensemble="langevin",
        n_steps=300,
        temperature_k=100,
        final_temperature_k=900,
        thermostat_time_fs=20,
        seed=2,
    )
    result = run_molecular_dynamics(copper_block(), settings)
    assert result.rows[-1].target_temperature_k == 900
    assert result.rows[15].target_temperature_k == pytest.approx(500)
    assert result.column("temperature_k")[-5:].mean() == pytest.approx(850, rel=0.25)


def test_npt_reaches_the_pressure():
    settings = MolecularDynamicsSettings(
        ensemble="npt",
        n_steps=400,
        time_step_fs=2.0,
        temperature_k=300,
        pressure_gpa=5.0,
        barostat_time_fs=200,
        seed=0,
        log_interval=2,
    )
    result = run_molecular_dynamics(copper_block(), settings)
    assert result.column("pressure_gpa")[100:].mean() == pytest.approx(5.0, abs=0.5)
    assert result.rows[-1].volume_ang3 < result.rows[0].volume_ang3
    assert result.drift_mev_per_atom_per_ps is None


def test_fused_atoms_stop_the_run_with_their_frame(tmp_path):
    atoms = Atoms("Si2", positions=[[0, 0, 0], [2.4, 0, 0]], calculator=Attraction())
    settings = MolecularDynamicsSettings(n_steps=2000, temperature_k=0, temperature_limit_k=1e9)
    with pytest.raises(SimulationError, match=r"atoms 0 \(Si\) and 1 \(Si\) fused.*core repulsion"):
        run_molecular_dynamics(atoms, settings, tmp_path / "run.xyz")
    assert (tmp_path / "run.failed.xyz").exists()
    assert (tmp_path / "run.checkpoint").exists()


def test_starting_structure_with_fused_atoms_is_refused():
    atoms = Atoms("Si2", positions=[[0, 0, 0], [0.5, 0, 0]], calculator=Attraction())
    with pytest.raises(SimulationError, match="starting structure: atoms 0"):
        run_molecular_dynamics(atoms, MolecularDynamicsSettings(n_steps=1))


def test_runaway_temperature_stops_the_run(tmp_path):
    settings = MolecularDynamicsSettings(
        n_steps=200, time_step_fs=60.0, temperature_k=800, contact_fraction=0
    )
    with pytest.raises(SimulationError, match=r"temperature is \d+ K, above the limit of 8000 K"):
        run_molecular_dynamics(copper_block(), settings, tmp_path / "run.xyz")
    assert (tmp_path / "run.failed.xyz").exists()


def test_non_finite_energy_stops_the_run(tmp_path):
    atoms = bulk("Ar", cubic=True) * (2, 2, 2)
    atoms.calc = Exploding(sigma=3.4, epsilon=0.01, rc=6.0)
    with pytest.raises(SimulationError, match=r"potential energy is nan"):
        run_molecular_dynamics(atoms, MolecularDynamicsSettings(n_steps=20), tmp_path / "run.xyz")
    assert (tmp_path / "run.failed.xyz").exists()


def test_molecule_without_a_cell_runs():
    atoms = molecule("CO2")
    atoms.calc = EMT()
    result = run_molecular_dynamics(atoms, MolecularDynamicsSettings(n_steps=10, time_step_fs=0.2))
    assert np.isnan(result.rows[-1].volume_ang3)
    assert result.to_json_dict()["mean_pressure_gpa"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_step_fs": 0.0}, "time_step_fs is 0.0; it must be positive"),
        ({"temperature_k": -1.0}, "temperature_k is -1.0"),
        ({"temperature_k": float("nan")}, "temperature_k is nan"),
        ({"log_interval": 0}, "log_interval is 0"),
        ({"ensemble": "nvt"}, "ensemble is 'nvt'; choose one of nve, langevin, npt"),
        ({"final_temperature_k": 10.0}, "needs a thermostat"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(InputError, match=message):
        MolecularDynamicsSettings(**change)


def test_structures_that_cannot_run_are_refused():
    bare = bulk("Cu")
    with pytest.raises(InputError, match="no calculator"):
        run_molecular_dynamics(bare, MolecularDynamicsSettings())
    constrained = copper_block()
    constrained.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InputError, match="FixBondLength"):
        run_molecular_dynamics(constrained, MolecularDynamicsSettings())
    cluster = molecule("CO2")
    cluster.calc = EMT()
    with pytest.raises(InputError, match="periodic in all three"):
        run_molecular_dynamics(cluster, MolecularDynamicsSettings(ensemble="npt"))
