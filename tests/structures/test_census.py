"""The label census: counts, extremes, half-present labels, suspicions, hash."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from castile.errors import InputError
from castile.structures import LabelCensus, LabelKeys, StructureSource, check_census, take_census


def crystals(n: int = 6) -> list[Atoms]:
    """Silicon at several volumes with a harmonic energy, its stress, and small forces."""
    frames = []
    for index in range(n):
        strain = 0.94 + 0.02 * index
        atoms = bulk("Si", a=5.43 * strain)
        pressure = 0.6 * (strain - 1.0)
        forces = np.full((2, 3), 0.1 * index)
        stress = np.array([pressure] * 3 + [0.0] * 3)
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0 + index, forces=forces, stress=stress)
        frames.append(atoms)
    return frames


def free_atom() -> Atoms:
    atoms = Atoms("Si", cell=[20.0] * 3, pbc=True)
    atoms.info |= {"energy": -1.5, "config_type": "isolated_atom"}
    return atoms


def test_counts_and_extremes() -> None:
    census = take_census(StructureSource([*crystals(), free_atom()]))
    assert (census.n_structures, census.n_atoms) == (7, 13)
    assert (census.energy.n_present, census.forces.n_present, census.stress.n_present) == (7, 6, 6)
    assert (census.energy.n_values, census.forces.n_values, census.stress.n_values) == (7, 36, 36)
    assert census.energy.keys == (("energy", 7),)
    assert census.elements == (("Si", 13),)
    assert census.compositions == (("Si2", 6), ("Si", 1))
    assert census.config_types == (("", 6), ("isolated_atom", 1))
    assert census.periodicity == (("TTT", 7),)
    assert census.atoms_per_structure == (1, 2.0, 2)
    assert census.energy_per_atom == (-5.0, -1.5)
    assert census.largest_force == pytest.approx(0.5 * np.sqrt(3.0))
    assert census.largest_force_at == "structure 5, atom 0"
    assert census.largest_stress == pytest.approx(0.036)
    assert census.largest_stress_at == "structure 0"
    assert census.isolated_atoms == (("Si", -1.5),)
    assert census.volume_per_atom is not None
    assert census.volume_per_atom[1] < 25.0
    assert census.warnings == ()
    check_census(census)


def test_json_round_trip_and_rows() -> None:
    census = take_census(StructureSource([*crystals(), free_atom()]))
    assert LabelCensus.from_dict(json.loads(json.dumps(census.to_dict(), allow_nan=False))) == census
    rows = dict(census.rows())
    assert rows["forces"] == "6 structures; 36 values in eV/A; key forces (6)"
    assert rows["free atoms"] == "Si -1.5 eV"
    assert rows["compositions"] == "Si2 (6), Si (1)"


@pytest.mark.parametrize(("kind", "size"), [("energy", 0), ("forces", 0), ("stress", 0)])
def test_half_present_labels_name_structures_and_option(tmp_path: Path, kind: str, size: int) -> None:
    frames = crystals(12)
    for atoms in frames[3:]:
        del atoms.calc.results[kind]
    ase.io.write(tmp_path / "train.xyz", frames, format="extxyz")
    census = take_census(StructureSource(tmp_path / "train.xyz"))
    pattern = (
        rf"{kind}: found in 3 .*missing in 9: train\.xyz\[3\], .*train\.xyz\[7\], .*--allow-missing {kind}"
    )
    with pytest.raises(InputError, match=pattern):
        check_census(census)
    check_census(census, allow_missing=[kind])
    others = {"energy", "forces", "stress"} - {kind}
    with pytest.raises(InputError, match=kind):
        check_census(census, allow_missing=others)


def test_a_label_that_no_structure_has_is_fine() -> None:
    frames = crystals()
    for atoms in frames:
        del atoms.calc.results["forces"], atoms.calc.results["stress"]
    check_census(take_census(StructureSource(frames)))


def test_structures_that_can_have_no_stress_do_not_count_as_missing() -> None:
    water = molecule("H2O")
    water.calc = SinglePointCalculator(water, energy=-14.0, forces=np.zeros((3, 3)))
    check_census(take_census(StructureSource([*crystals(), water])))


def test_a_free_atom_without_energy_is_missing_one() -> None:
    atom = free_atom()
    del atom.info["energy"]
    with pytest.raises(InputError, match="energy: found in 6"):
        check_census(take_census(StructureSource([*crystals(), atom])))


def test_no_labels_at_all_lists_what_the_data_hold() -> None:
    atoms = bulk("Si")
    atoms.info["E_total_Ry"] = -3.0
    atoms.arrays["grad"] = np.zeros((2, 3))
    census = take_census(StructureSource(atoms))
    with pytest.raises(InputError, match=r"--energy-key.*E_total_Ry.*grad"):
        check_census(census)


def test_a_named_key_that_is_nowhere() -> None:
    census = take_census(StructureSource(crystals(), LabelKeys(energy="TotEnergy")))
    with pytest.raises(InputError, match=r"energy key 'TotEnergy' is in none of 6 .*--energy-key"):
        check_census(census)


def test_unknown_kind_of_label() -> None:
    with pytest.raises(InputError, match="energy, forces, stress"):
        check_census(take_census(StructureSource(crystals())), allow_missing=["dipole"])


def test_empty_iterable() -> None:
    with pytest.raises(InputError, match="no structures"):
        take_census([])


def warnings_of(frames: list[Atoms]) -> str:
    return "\n".join(take_census(StructureSource(frames)).warnings)


def test_suspicious_magnitudes_are_reported() -> None:
    assert warnings_of(crystals()) == ""
    frames = crystals()
    frames[2].calc.results["energy"] += 500.0
    assert "spread over 251 eV/atom" in warnings_of(frames)
    frames = crystals()
    frames[2].calc.results["forces"] = np.array([[0, 0, 0], [0, 120.0, 0]])
    assert "120 eV/A (structure 2, atom 1)" in warnings_of(frames)
    frames = crystals()
    frames[1].calc.results["stress"] = frames[1].calc.results["stress"] * 1000
    assert "GPa (structure 1)" in warnings_of(frames)


def test_reversed_stress_is_reported() -> None:
    frames = crystals()
    for atoms in frames:
        atoms.calc.results["stress"] *= -1.0
    assert "sign of the stress or virial is probably reversed" in warnings_of(frames)


def test_reversed_virial_of_real_data_is_noticed(shared_data: Path) -> None:
    path = shared_data / "small/tial_tutorial/TiAl_tutorial.xyz"
    assert take_census(StructureSource(path)).warnings == ()
    frames = ase.io.read(path, ":")
    for atoms in frames:
        atoms.info["virial"] = -atoms.info["virial"]
    assert "reversed" in warnings_of(frames)


@pytest.mark.parametrize("key", ["charge", "multiplicity"])
def test_several_electronic_states_of_one_formula_are_told(key: str) -> None:
    frames = crystals()
    for atoms in frames:
        atoms.info[key] = 1
    frames[2].info[key] = np.float64(1.0)
    assert warnings_of(frames) == ""
    ion = Atoms("Na", cell=[9.0] * 3, pbc=True)
    ion.calc = SinglePointCalculator(ion, energy=1.0, forces=np.zeros((1, 3)))
    ion.info[key] = 0
    assert warnings_of([*frames, ion]) == ""  # of another formula
    frames[3].info[key] = -1
    assert f"differ in '{key}' (Si2 with 1 and -1)" in warnings_of([*frames, ion])


def test_duplicates_and_contradictions() -> None:
    frames = crystals()
    again = frames[1].copy()
    again.calc = SinglePointCalculator(again, **frames[1].calc.results)
    census = take_census(StructureSource([*frames, again]))
    assert census.n_duplicates == 1
    assert census.warnings == ()
    again.calc.results["energy"] += 1.0
    assert "repeat an earlier geometry" in warnings_of([*frames, again])


def test_labels_that_could_not_be_used_are_reported() -> None:
    frames = crystals()
    frames[0].rattle(0.01)
    census = take_census(StructureSource(frames))
    assert "not used in 1 structures: calculator results of another geometry" in census.warnings[0]
    with pytest.raises(InputError, match="structure 0"):
        check_census(census)


def data_hash(frames: list[Atoms]) -> str:
    return take_census(StructureSource(frames)).data_hash


def test_data_hash_follows_everything_a_fit_depends_on(tmp_path: Path) -> None:
    reference = data_hash(crystals())
    assert reference == data_hash(crystals())
    assert len(reference) == 64
    changed = [crystals() for _ in range(6)]
    changed[0][0].calc.results["energy"] += 1e-9
    changed[1][0].calc.results["forces"][1, 2] += 1e-12
    changed[2][0].info["energy_sigma"] = 0.1
    changed[3][0].info["config_type"] = "bulk"
    changed[4].reverse()
    changed[5][0].arrays["force_mask"] = np.array([True, False])
    hashes = {data_hash(frames) for frames in changed}
    assert len(hashes | {reference}) == 7
    zero = crystals()
    zero[0].calc.results["forces"] = -zero[0].calc.results["forces"]
    assert data_hash(zero) == reference


LABELLED = [
    ("mlearn/Si_training.xyz.gz", 214, 214, "energy", "forces", "stress"),
    ("alloys/*_Elastic.xyz.gz", 484, 484, "energy", "forces", "stress"),
    ("rmd17/ethanol_train.xyz.gz@:50", 50, 0, "energy", "forces", ""),
    ("small/fitsnap_Ta/*.gz", 363, 363, "energy", "forces", "stress"),
    ("small/tial_tutorial/*.xyz", 329, 329, "energy", "force", "virial"),
    ("tungsten/surface.extxyz.gz", 180, 0, "energy", "forces", ""),
    ("tungsten/slice_sample.extxyz.gz@::20", 100, 100, "energy", "forces", "stress"),
    ("gap_models/gap_autoplex_LiCl_2b_soap/trainGAP.xyz", 5, 5, "energy", "forces", "virial"),
    ("gap_models/gap_quip_tests/SiC.np1.xyz", 101, 101, "dft_energy", "dft_force", "dft_virial"),
]


@pytest.mark.parametrize(("path", "n", "n_stress", "energy", "forces", "stress"), LABELLED)
def test_real_data_are_read_without_options(
    shared_data: Path, path: str, n: int, n_stress: int, energy: str, forces: str, stress: str
) -> None:
    census = take_census(StructureSource(shared_data / path))
    assert census.energy.keys == ((energy, n),)
    assert census.forces.keys == ((forces, n),)
    assert census.stress.keys == (((stress, n_stress),) if n_stress else ())
    check_census(census)


def test_mixed_tungsten_names_the_option(shared_data: Path) -> None:
    parts = ["slice_sample.extxyz.gz@::50", "surface.extxyz.gz@::20"]
    census = take_census(StructureSource([shared_data / "tungsten" / part for part in parts]))
    with pytest.raises(
        InputError, match=r"stress: found in 40 .*missing in 9: surface.*--allow-missing stress"
    ):
        check_census(census)
    check_census(census, allow_missing=["stress"])


def test_predictions_beside_reference_labels_need_a_key(shared_data: Path) -> None:
    path = shared_data / "gap_models/gap_quip_tests/Si.np1.xyz"
    with pytest.raises(InputError, match=r"Si\.np1\.xyz\[0\].*'energy'.*'dft_energy'.*--energy-key"):
        take_census(StructureSource(path))
    keys = LabelKeys(energy="dft_energy", forces="dft_force", virial="dft_virial")
    census = take_census(StructureSource(path, keys))
    assert (census.energy.keys, census.energy.n_missing) == ((("dft_energy", 16),), 1)
    with pytest.raises(InputError, match=r"energy: found in 16 .*missing in 1: Si\.np1\.xyz\[11\]"):
        check_census(census)
    check_census(census, allow_missing=["energy", "forces", "stress"])


def test_coincident_atoms_of_real_paths(shared_data: Path) -> None:
    path = f"{shared_data}/barriers/train.xyz.gz@402"
    with pytest.raises(
        InputError, match=r"train\.xyz\.gz\[402\]: atoms 0 \(Li\) and 25 \(Ru\) are 0\.0000 A"
    ):
        list(StructureSource(path))
    assert len(list(StructureSource(path, smallest_distance=0.0))) == 1
