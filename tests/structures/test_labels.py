"""Labels under the names that files use: found, converted, and refused when ambiguous."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from castile.errors import InputError
from castile.structures import LabelKeys, LabelledStructure, StructureSource, label_structure
from castile.structures.usable_labels import usable_labels

STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])
FULL = np.array([[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]])


def crystal() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def forces(atoms: Atoms) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(atoms), 3))


def test_calculator_results_are_found_without_calculating() -> None:
    atoms = crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, forces=forces(atoms), stress=STRESS)
    label = label_structure(atoms, "a")
    assert label.energy == -3.5
    np.testing.assert_array_equal(label.forces, forces(atoms))
    np.testing.assert_array_equal(label.stress, STRESS)
    assert (label.energy_key, label.forces_key, label.stress_key) == ("energy", "forces", "stress")
    live = bulk("Cu")
    live.calc = EMT()
    assert label_structure(live, "b").energy is None
    live.get_potential_energy()
    assert label_structure(live, "b").energy == live.get_potential_energy()


def test_constraints_do_not_change_forces() -> None:
    atoms = crystal()
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.calc = SinglePointCalculator(atoms, forces=forces(atoms))
    np.testing.assert_array_equal(label_structure(atoms, "a").forces, forces(atoms))


def test_results_of_moved_atoms_are_not_used_and_said_so() -> None:
    atoms = crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5)
    atoms.positions[0, 0] += 0.1
    label = label_structure(atoms, "a")
    assert label.energy is None
    assert "another geometry" in label.ignored[0]


@pytest.mark.parametrize("key", ["energy", "Energy", "dft_energy", "REF_energy", "energy_eV", "free_energy"])
def test_energy_names(key: str) -> None:
    atoms = crystal()
    atoms.info[key] = np.array([-7.25])
    label = label_structure(atoms, "a")
    assert label.energy == -7.25
    assert label.energy_key == key


def test_free_energy_is_only_a_fallback() -> None:
    atoms = crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, free_energy=-3.6)
    assert label_structure(atoms, "a").energy == -3.5
    assert label_structure(atoms, "a", LabelKeys(energy="free_energy")).energy == -3.6


@pytest.mark.parametrize("key", ["forces", "force", "dft_force", "REF_forces"])
def test_force_names(key: str) -> None:
    atoms = crystal()
    atoms.arrays[key] = forces(atoms)
    np.testing.assert_array_equal(label_structure(atoms, "a").forces, forces(atoms))


@pytest.mark.parametrize("value", [STRESS, FULL, FULL.ravel(), FULL.tolist()])
def test_stress_shapes(value: object) -> None:
    atoms = crystal()
    atoms.info["dft_stress"] = value
    np.testing.assert_allclose(label_structure(atoms, "a").stress, STRESS, rtol=1e-15)


def test_virial_becomes_stress_with_the_opposite_sign_and_is_symmetrized() -> None:
    atoms = crystal()
    skew = np.array([[0.0, 0.3, -0.2], [-0.3, 0.0, 0.1], [0.2, -0.1, 0.0]])
    atoms.info["virial"] = -FULL * atoms.get_volume() + skew
    np.testing.assert_allclose(label_structure(atoms, "a").stress, STRESS, rtol=1e-12)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    assert np.linalg.det(atoms.cell.array) < 0
    np.testing.assert_allclose(label_structure(atoms, "a").stress, STRESS, rtol=1e-12)


def test_tensors_that_are_no_stress_are_refused() -> None:
    atoms = crystal()
    atoms.info["virial"] = np.arange(9.0).reshape(3, 3)
    with pytest.raises(
        InputError, match=r"a: virial 'virial': is not symmetric, its elements xz and zx are 2 and 6"
    ):
        label_structure(atoms, "a")


def test_a_mask_of_the_whole_structure_is_refused() -> None:
    atoms = crystal()
    atoms.info["force_mask"] = 1
    with pytest.raises(InputError, match=r"a: force_mask = 1 stands for the whole structure.*column"):
        label_structure(atoms, "a")


def test_stress_of_a_molecule_has_no_meaning() -> None:
    atoms = molecule("H2O")
    atoms.info["virial"] = np.zeros(9)
    label = label_structure(atoms, "a")
    assert label.stress is None
    assert "virial" in label.ignored[0]


def test_conflicting_energies_name_both_keys_and_the_option() -> None:
    atoms = crystal()
    atoms.info |= {"energy": -1.0, "REF_energy": -2.0}
    with pytest.raises(InputError, match=r"x\.xyz\[3\].*'energy'.*'REF_energy'.*--energy-key"):
        label_structure(atoms, "x.xyz[3]")
    assert label_structure(atoms, "a", LabelKeys(energy="REF_energy")).energy == -2.0
    assert label_structure(atoms, "a", LabelKeys(energy="none")).energy is None
    atoms.info["REF_energy"] = -1.0
    assert label_structure(atoms, "a").energy == -1.0


def test_conflicting_forces_and_stress() -> None:
    atoms = crystal()
    atoms.arrays["forces"] = forces(atoms)
    atoms.arrays["dft_force"] = -forces(atoms)
    with pytest.raises(InputError, match="--forces-key"):
        label_structure(atoms, "a")
    np.testing.assert_array_equal(
        label_structure(atoms, "a", LabelKeys(forces="dft_force")).forces, -forces(atoms)
    )
    del atoms.arrays["dft_force"]
    atoms.info["stress"], atoms.info["virial"] = STRESS, FULL * atoms.get_volume()
    with pytest.raises(InputError, match="--stress-key or --virial-key"):
        label_structure(atoms, "a")
    np.testing.assert_allclose(label_structure(atoms, "a", LabelKeys(stress="stress")).stress, STRESS)
    np.testing.assert_allclose(label_structure(atoms, "a", LabelKeys(virial="virial")).stress, -STRESS)


def test_a_named_key_hides_all_others() -> None:
    atoms = crystal()
    atoms.info |= {"energy": -1.0, "TotE": -2.0}
    assert label_structure(atoms, "a", LabelKeys(energy="TotE")).energy == -2.0
    assert label_structure(atoms, "a", LabelKeys(energy="elsewhere")).energy is None
    with pytest.raises(InputError, match="same label"):
        LabelKeys(stress="stress", virial="virial")
    with pytest.raises(InputError, match="empty"):
        LabelKeys(energy="")


def test_force_mask_of_a_file_excludes() -> None:
    atoms = crystal()
    values = forces(atoms)
    values[2] = np.nan
    atoms.arrays["forces"] = values
    with pytest.raises(InputError, match=r"atom 2 .*nan.*force_mask"):
        label_structure(atoms, "a")
    mask = np.zeros(len(atoms), dtype=bool)
    mask[2] = True
    atoms.arrays["force_mask"] = mask
    label = label_structure(atoms, "a")
    np.testing.assert_array_equal(label.force_mask, ~mask)
    np.testing.assert_array_equal(label.forces[2], 0.0)
    np.testing.assert_array_equal(label.forces[3], values[3])
    atoms.arrays["force_mask"] = np.full(len(atoms), 2)
    with pytest.raises(InputError, match="force_mask"):
        label_structure(atoms, "a")


def test_noise_of_a_structure() -> None:
    atoms = crystal()
    atoms.info |= {"energy_sigma": 0.01, "force_sigma": 0.2, "virial_sigma": 0.5, "config_type": "bulk"}
    label = label_structure(atoms, "a")
    assert (label.energy_sigma, label.force_sigma, label.config_type) == (0.01, 0.2, "bulk")
    assert label.stress_sigma == pytest.approx(0.5 / atoms.get_volume())
    atoms.arrays["force_atom_sigma"] = np.linspace(0.1, 0.8, 8)
    np.testing.assert_array_equal(label_structure(atoms, "a").force_sigma, np.linspace(0.1, 0.8, 8))
    atoms.arrays["force_atom_sigma"][5] = 0.0
    with pytest.raises(InputError, match=r"atom 5 is 0\.0"):
        label_structure(atoms, "a")
    del atoms.arrays["force_atom_sigma"]
    atoms.info["energy_sigma"] = -1.0
    with pytest.raises(InputError, match=r"energy_sigma is -1\.0"):
        label_structure(atoms, "a")
    atoms.info |= {"energy_sigma": 0.01, "stress_sigma": 1.0}
    with pytest.raises(InputError, match="disagree"):
        label_structure(atoms, "a")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("energy", float("nan"), "energy 'energy' is nan"),
        ("energy", "-1.0D+02", "not a number"),
        ("energy", np.zeros(3), "3 values"),
        ("stress", np.full(6, np.inf), "not finite"),
        ("stress", np.zeros(5), r"shape \(5,\)"),
        ("stress", "none", "not a numeric tensor"),
    ],
)
def test_unusable_values_are_named(key: str, value: object, message: str) -> None:
    atoms = crystal()
    atoms.info[key] = value
    with pytest.raises(InputError, match=r"t\.xyz\[0\].*" + message):
        label_structure(atoms, "t.xyz[0]")


def test_forces_of_the_wrong_shape() -> None:
    atoms = crystal()
    atoms.arrays["forces"] = np.zeros((8, 2))
    with pytest.raises(InputError, match=r"shape \(8, 2\), expected \(8, 3\)"):
        label_structure(atoms, "a")


def _mean_stress(structures: StructureSource) -> tuple[np.ndarray, np.ndarray]:
    pairs = [_volume_and_stress(structure) for structure in structures if structure.stress is not None]
    return np.array([volume for volume, _ in pairs]), np.array([stress for _, stress in pairs])


def _volume_and_stress(structure: LabelledStructure) -> tuple[float, float]:
    assert structure.stress is not None
    return structure.atoms.get_volume() / len(structure.atoms), float(structure.stress[:3].mean())


def test_virial_sign_of_titanium_aluminum(shared_data) -> None:
    """Ti-Al has about 16.5 A^3 per atom at rest: the compressed cells must have negative ASE stress."""
    volumes, stresses = _mean_stress(StructureSource(shared_data / "small/tial_tutorial/TiAl_tutorial.xyz"))
    assert len(volumes) == 329
    assert (stresses[volumes < 14.0] < -0.02).all()
    assert np.sum(volumes < 14.0) > 20
    assert np.corrcoef(np.log(volumes), stresses)[0, 1] > 0.8


def test_virial_sign_of_silicon_carbide(shared_data) -> None:
    """QUIP's dft_virial: cells denser than 9 A^3 per atom (10.3 at rest) are under pressure."""
    source = StructureSource(shared_data / "gap_models/gap_quip_tests/SiC.np1.xyz")
    volumes, stresses = _mean_stress(source)
    assert len(volumes) > 50
    dense = volumes < 9.0
    assert dense.any()
    assert stresses[dense].mean() < stresses[~dense].mean()


def test_labels_that_cannot_be_used_are_left_out_one_by_one() -> None:
    atoms = crystal()
    good = {"energy": -3.5, "forces": forces(atoms), "stress": STRESS}
    bad = {"energy": np.nan, "forces": np.full((8, 3), np.inf), "stress": np.full(6, np.nan)}
    for kind, value in bad.items():
        atoms.calc = SinglePointCalculator(atoms, **{**good, kind: value})
        with pytest.raises(InputError, match=kind):
            label_structure(atoms, "here")
        found = usable_labels(atoms, "here")
        assert len(found.left_out) == 1
        assert found.left_out[0].startswith("here: ")
        for other, expected in good.items():
            if other == kind:
                assert getattr(found, other) is None
                assert getattr(found, f"{other}_key") == ""
            else:
                np.testing.assert_array_equal(getattr(found, other), expected)
                assert getattr(found, f"{other}_key") == other
    atoms.calc = SinglePointCalculator(atoms, **good)
    assert usable_labels(atoms, "here").left_out == ()


def test_noise_levels_and_masks_that_are_wrong_do_not_matter_either() -> None:
    atoms = crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, forces=forces(atoms))
    atoms.info["energy_sigma"] = -1.0
    found = usable_labels(atoms, "here")
    assert (found.energy, found.energy_sigma, found.left_out) == (-3.5, None, ())
    atoms.info["force_mask"] = True
    found = usable_labels(atoms, "here")
    assert (found.energy, found.forces, len(found.left_out)) == (-3.5, None, 1)


def test_a_source_that_needs_no_labels() -> None:
    atoms = crystal()
    atoms.info["energy"] = np.nan
    with pytest.raises(InputError, match="structure 0: energy"):
        list(StructureSource(atoms))
    (found,) = StructureSource(atoms, needs_labels=False)
    assert found.energy is None
    assert "structure 0: energy" in found.left_out[0]
