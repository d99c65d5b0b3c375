"""Forces belong to the atoms that were asked for, whatever a program does to its output."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT

from castile.active.label_files import LabelResult
from castile.active.oracle_settings import OracleSettings
from castile.active.oracles import LabelTask, label_structure
from castile.active.same_atoms import same_atoms
from castile.errors import SimulationError

PROGRAM = """
import ase.io, numpy as np
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
atoms = ase.io.read("input.xyz")
{before}
atoms.calc = EMT()
results = {{"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}}
{after}
atoms.calc = SinglePointCalculator(atoms, **results)
ase.io.write("output.xyz", atoms)
"""


def alloy() -> Atoms:
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.symbols[1] = "Au"
    atoms.rattle(0.1, seed=3)
    return atoms


def label(tmp_path: Path, atoms: Atoms, before: str = "", after: str = "", **options: str) -> LabelResult:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(before=before, after=after))
    oracle = OracleSettings(command=f"{sys.executable} {script}", **options)
    return label_structure(LabelTask(str(tmp_path / "job"), atoms, oracle))


@pytest.mark.parametrize(
    "before",
    [
        "atoms = atoms[np.argsort(atoms.numbers, kind='stable')]",
        "atoms.positions += 4.0; atoms.wrap()",
        "atoms.positions = atoms.positions.round(3); atoms = atoms[::-1]",
    ],
)
def test_sorted_shifted_or_rounded_output_gives_the_forces_of_the_input(before: str, tmp_path: Path) -> None:
    atoms = alloy()
    result = label(tmp_path, atoms, before)
    atoms.calc = EMT()
    assert result.status == "converged", result.reason
    np.testing.assert_allclose(result.forces, atoms.get_forces(), atol=0.02)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("atoms.positions[2] += [0.0, 0.3, 0.0]", r"atom 2 \(Cu\) is 0.3 A away from where it was"),
        ("atoms.set_cell(1.02 * atoms.cell, scale_atoms=True)", "another cell"),
        ("atoms = atoms[1:]", "3 atoms instead of 4"),
        ("atoms.symbols[1] = 'Cu'", "no atom of Au"),
    ],
)
def test_forces_of_another_structure_are_no_labels(before: str, message: str, tmp_path: Path) -> None:
    result = label(tmp_path, alloy(), before)
    assert result.status == "failed"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.reason)


def test_a_turned_molecule_is_another_structure() -> None:
    water = molecule("H2O")
    turned = water.copy()
    turned.rotate(30, "x")
    with pytest.raises(SimulationError, match="neither relaxed nor turned"):
        same_atoms(water, turned, "out.log")
    turned = water.copy()
    turned.positions += [1.0, -2.0, 0.5]
    assert same_atoms(water, turned, "out.log").tolist() == [0, 1, 2]


def test_slabs_move_by_lattice_vectors_in_the_plane_only() -> None:
    slab = fcc111("Ni", (1, 1, 3), vacuum=5.0)
    moved = slab.copy()
    moved.positions[1] += moved.cell[0] - 2 * moved.cell[1]
    assert same_atoms(slab, moved[[2, 0, 1]], "out").tolist() == [1, 2, 0]


def test_output_without_labels_and_without_stress(tmp_path: Path) -> None:
    no_energy = label(tmp_path, alloy(), after="del results['energy']")
    assert "holds no energy and forces" in no_energy.reason
    given = "results['stress'] = np.ones(6)"
    other = tmp_path / "other"
    other.mkdir()
    assert label(other, alloy(), after=given).stress == [1.0] * 6
    third = tmp_path / "third"
    third.mkdir()
    assert label(third, alloy(), after=given, stress="none").stress is None


def test_charges_and_moments_reach_the_program(tmp_path: Path) -> None:
    atoms = alloy()
    atoms.set_initial_magnetic_moments([1.0, 0.0, 0.5, 0.0])
    atoms.set_initial_charges([0.0, -1.0, 0.0, 0.0])
    seen = "results['energy'] = sum(atoms.get_initial_magnetic_moments()) + sum(atoms.get_initial_charges())"
    assert label(tmp_path, atoms, after=seen).energy == 0.5
