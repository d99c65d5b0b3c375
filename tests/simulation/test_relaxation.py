"""Relaxation of positions and cells."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from castile.errors import InputError, SimulationError
from castile.simulation.relaxation import Optimizer, relax


class NoStress(EMT):
    """EMT that keeps its stress to itself."""

    def get_property(self, name, atoms=None, allow_calculation=True):
        if name == "stress":
            raise NotImplementedError
        return super().get_property(name, atoms, allow_calculation)


class NotANumber(Calculator):
    """Fails like a model far outside its training data."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.full((len(atoms), 3), np.nan)}


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_rattled_copper_returns_to_the_lattice(copper, optimizer, tmp_path):
    atoms = copper(cubic=True, repeat=(2, 2, 2))
    ideal = atoms.get_scaled_positions()
    atoms.rattle(0.08, seed=1)
    before = atoms.positions.copy()
    steps = []
    result = relax(
        atoms, optimizer=optimizer, trajectory=tmp_path / "relax.xyz", max_force=0.005, progress=steps.append
    )
    assert np.array_equal(atoms.positions, before)
    assert result.converged
    assert result.max_force < 0.005
    assert result.energy < result.initial_energy
    shift = result.atoms.get_scaled_positions() - ideal
    shift -= np.round(shift)
    shift -= shift.mean(axis=0)
    assert np.abs(shift).max() < 1e-3
    frames = ase.io.read(tmp_path / "relax.xyz", ":")
    assert len(frames) == len(steps) == result.n_steps + 1
    assert frames[-1].get_potential_energy() == pytest.approx(result.energy, abs=1e-6)
    assert result.atoms.get_forces().shape == (32, 3)


def test_cell_relaxation_finds_zero_stress_and_the_given_pressure(copper):
    free = relax(copper(), cell=True, max_force=1e-4)
    squeezed = relax(copper(), cell=True, pressure_gpa=10.0, max_force=1e-4)
    assert free.converged
    assert free.max_stress_gpa < 0.02
    assert squeezed.max_stress_gpa < 0.02
    assert squeezed.volume < 0.97 * free.volume
    assert free.to_json_dict()["volume_ang3"] == free.volume


def test_symmetry_is_kept_on_request(copper):
    pytest.importorskip("spglib", reason="spglib is not installed")
    atoms = copper(cubic=True)
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    result = relax(atoms, cell=True, keep_symmetry=True, max_force=1e-3)
    lengths = result.atoms.cell.lengths()
    assert np.ptp(lengths) < 1e-12
    assert result.atoms.constraints == []
    assert result.converged


def test_a_relaxation_that_runs_out_of_steps_says_so(copper):
    atoms = copper(cubic=True, repeat=(2, 2, 2))
    atoms.rattle(0.1, seed=1)
    result = relax(atoms, max_steps=2, max_force=1e-4)
    assert not result.converged
    assert result.n_steps == 2


def test_fixed_atoms_stay(copper):
    atoms = copper(cubic=True, repeat=(2, 1, 1))
    atoms.rattle(0.1, seed=1)
    atoms.set_constraint(FixAtoms([0]))
    result = relax(atoms, max_force=0.01)
    assert np.array_equal(result.atoms.positions[0], atoms.positions[0])
    assert result.converged
    assert len(result.atoms.constraints) == 1


def test_bad_input_is_named(copper):
    with pytest.raises(InputError, match=r"pressure_gpa is 3\.0 but the cell is fixed"):
        relax(copper(), pressure_gpa=3.0)
    with pytest.raises(InputError, match="optimizer is 'newton'; choose one of lbfgs, bfgs, fire"):
        relax(copper(), optimizer="newton")
    with pytest.raises(InputError, match="max_force is 0"):
        relax(copper(), max_force=0.0)
    with pytest.raises(InputError, match=r"ends in \.xyz"):
        relax(copper(), trajectory="relax.traj")
    with pytest.raises(InputError, match="no atoms"):
        relax(Atoms(calculator=EMT()))
    stressless = copper()
    stressless.calc = NoStress()
    with pytest.raises(InputError, match="gives no stress"):
        relax(stressless, cell=True)


def test_meaningless_results_stop_the_relaxation(copper):
    atoms = copper()
    atoms.calc = NotANumber()
    with pytest.raises(
        SimulationError, match=r"force on atom 0 is \[nan nan nan\] at the starting structure"
    ):
        relax(atoms)
    fused = copper() * (2, 1, 1)
    fused.positions[1] = fused.positions[0] + [0.3, 0, 0]
    fused.calc = EMT()
    with pytest.raises(SimulationError, match="fused"):
        relax(fused)
