"""The shipped silicon data are what their README says, and agree with themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import read
from ase.neighborlist import neighbor_list

import castile.demo.silicon as silicon
from castile.demo.silicon.drawing import KINDS, SHORTEST_DISTANCE, stillinger_weber_energy

FOLDER = Path(silicon.__file__).parent
SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def frames() -> dict[str, list[Atoms]]:
    return {split: read(FOLDER / f"silicon_{split}.xyz", ":") for split in SPLITS}


@pytest.fixture(scope="module")
def reference() -> dict:
    return json.loads((FOLDER / "reference.json").read_text())


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 2_000_000


@pytest.mark.parametrize("split", SPLITS)
def test_every_structure_has_all_labels(frames: dict[str, list[Atoms]], split: str) -> None:
    for atoms in frames[split]:
        assert set(atoms.calc.results) == {"energy", "forces", "stress"}
        assert atoms.get_forces().shape == (len(atoms), 3)
        assert atoms.get_stress().shape == (6,)
        assert np.isfinite(atoms.get_forces()).all()
        assert np.isfinite(atoms.get_stress()).all()
        assert atoms.pbc.all()


@pytest.mark.parametrize(("split", "column"), [("train", 1), ("test", 2)])
def test_kinds_and_numbers_are_those_of_the_script(
    frames: dict[str, list[Atoms]], split: str, column: int
) -> None:
    kinds = [atoms.info["config_type"] for atoms in frames[split]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        kind: numbers[column] for kind, numbers in KINDS.items() if numbers[column]
    }


def test_no_atoms_are_too_close_and_forces_balance(frames: dict[str, list[Atoms]]) -> None:
    for atoms in frames["train"] + frames["test"]:
        distances = neighbor_list("d", atoms, SHORTEST_DISTANCE - 1e-6)
        assert len(distances) == 0, atoms.info["name"]
        assert np.abs(atoms.get_forces().sum(axis=0)).max() < 1e-3, atoms.info["name"]


def test_energies_lie_between_crystal_and_free_atom(frames: dict[str, list[Atoms]], reference: dict) -> None:
    crystal = reference["equation_of_state"]["equilibrium_energy_ev_per_atom"]
    for atoms in frames["train"] + frames["test"]:
        energy = atoms.get_potential_energy() / len(atoms)
        assert crystal - 0.002 < energy <= reference["isolated_atom_energy_ev"] + 1e-6, atoms.info["name"]


def test_stress_is_the_slope_of_the_energy_with_the_sign_of_ase(frames: dict[str, list[Atoms]]) -> None:
    volumes, energies, stresses = np.transpose(
        [
            (atoms.get_volume(), atoms.get_potential_energy(), atoms.get_stress()[:3].mean())
            for atoms in frames["train"]
            if atoms.info["config_type"] == "diamond_volume"
        ]
    )
    fit = np.polynomial.Polynomial.fit(volumes, energies, 5)
    assert fit.deriv()(volumes) / units.GPa == pytest.approx(stresses / units.GPa, abs=0.2)


def test_no_test_structure_has_a_twin_in_the_training_set(frames: dict[str, list[Atoms]]) -> None:
    def energies_and_volumes(split: str) -> np.ndarray:
        return np.array([(a.get_potential_energy() / len(a), a.get_volume() / len(a)) for a in frames[split]])

    difference = np.abs(energies_and_volumes("test")[:, None] - energies_and_volumes("train")[None])
    assert not ((difference[..., 0] < 1e-4) & (difference[..., 1] < 1e-3)).any()


def test_reference_is_diamond_silicon(reference: dict) -> None:
    states, elastic = reference["equation_of_state"], reference["elastic_constants"]
    assert states["lattice_constant_a"] == pytest.approx(
        5.47, abs=0.01
    )  # PBE, Phys. Rev. B 79, 155107 (2009)
    assert states["bulk_modulus_gpa"] == pytest.approx(elastic["bulk_modulus_from_stress_gpa"], rel=0.01)
    assert elastic["c44_gpa"] < elastic["c44_clamped_ions_gpa"]
    assert elastic["c11_gpa"] > elastic["c12_gpa"] > 0
    assert reference["cohesive_energy_ev_per_atom"] == pytest.approx(4.6, abs=0.15)


def test_sampling_potential_has_the_published_cohesive_energy() -> None:
    a = 5.4310
    positions = np.array(
        [[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]
    )
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    energy = stillinger_weber_energy(positions * a / 4, shifts * a)
    assert energy / 8 == pytest.approx(-2 * 2.1683, rel=1e-4)  # two bonds an atom, each of epsilon
