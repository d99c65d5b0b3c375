"""Evaluation against errors that are known by construction."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from castile.errors import InputError
from castile.evaluation import evaluate
from castile.structures import LabelledStructure, StructureSource
from evaluation.emt_model import EMTModel, labelled_copper


def test_energy_shift_and_force_noise_are_found() -> None:
    frames = labelled_copper(20, noise=0.05)
    found = evaluate(EMTModel(shift=0.01), frames)
    numbers = found.to_json_dict()
    assert numbers["n_structures"] == 20
    assert numbers["n_atoms"] == sum(len(atoms) for atoms in frames)
    assert numbers["energy_rmse_mev_per_atom"] == pytest.approx(10.0, abs=1e-6)
    assert numbers["energy_mae_mev_per_atom"] == pytest.approx(10.0, abs=1e-6)
    assert numbers["energy_mean_error_mev_per_atom"] == pytest.approx(10.0, abs=1e-6)
    assert numbers["energy_rmse_mev"] == pytest.approx(10 * np.sqrt((4**2 + 8**2) / 2), abs=1e-5)
    assert numbers["force_rmse_ev_per_angstrom"] == pytest.approx(0.05, rel=0.1)
    assert numbers["stress_rmse_gpa"] == pytest.approx(0.0, abs=1e-9)


def test_config_types_and_elements_partition_the_errors() -> None:
    found = evaluate(EMTModel(), labelled_copper(9))
    numbers = found.to_json_dict()
    assert [group.name for group in found.by_config_type] == ["bulk", "strained"]
    for key in ("n_structures", "n_atoms", "n_force_components"):
        assert numbers[f"config/bulk/{key}"] + numbers[f"config/strained/{key}"] == numbers[key]
    weighted = sum(
        numbers[f"config/{name}/n_force_components"]
        * numbers[f"config/{name}/force_rmse_ev_per_angstrom"] ** 2
        for name in ("bulk", "strained")
    )
    overall = numbers["n_force_components"] * numbers["force_rmse_ev_per_angstrom"] ** 2
    assert weighted == pytest.approx(overall)
    assert numbers["element/Cu/force_rmse_ev_per_angstrom"] == numbers["force_rmse_ev_per_angstrom"]


def test_absent_labels_have_no_keys_and_json_has_no_nan() -> None:
    frames = labelled_copper(4, config_types=())
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy())
    numbers = evaluate(EMTModel(), frames).to_json_dict()
    assert not any(key.startswith(("force", "stress", "element", "config")) for key in numbers)
    json.dumps(numbers, allow_nan=False)


def test_masked_forces_do_not_count() -> None:
    atoms = labelled_copper(1)[0]
    forces = atoms.get_forces()
    forces[0] += 100.0
    mask = np.arange(len(atoms)) > 0
    structure = LabelledStructure(atoms=atoms, name="one", forces=forces, force_mask=mask)
    found = evaluate(EMTModel(), [structure])
    assert found.overall.force is not None
    assert found.overall.force.n == 3 * (len(atoms) - 1)
    assert found.overall.force.max_abs < 1.0
    nothing = replace(structure, energy=0.0, force_mask=np.zeros(len(atoms), dtype=bool))
    assert evaluate(EMTModel(), [nothing]).overall.force is None


def test_worst_structures_come_first() -> None:
    frames = labelled_copper(15, noise=0.01)
    forces = frames[6].get_forces()
    forces[2, 1] += 1.0
    frames[6].calc = SinglePointCalculator(frames[6], energy=frames[6].get_potential_energy(), forces=forces)
    found = evaluate(EMTModel(), frames)
    assert found.worst_forces[0].name == "structure 6"
    assert found.worst_forces[0].error == pytest.approx(1.0, abs=0.05)
    assert len(found.worst_forces) == 10
    errors = [entry.error for entry in found.worst_forces]
    assert errors == sorted(errors, reverse=True)


def test_progress_counts_structures() -> None:
    seen: list[int] = []
    evaluate(EMTModel(), labelled_copper(3), progress=seen.append)
    assert seen == [1, 2, 3]


def test_unknown_species_names_the_structure() -> None:
    frames = [*labelled_copper(2), Atoms("Si", cell=[5, 5, 5], pbc=True)]
    with pytest.raises(InputError, match=r"structure 2.*Si"):
        evaluate(EMTModel(), frames)


def test_no_labels_at_all_is_an_error() -> None:
    frames = [atoms.copy() for atoms in labelled_copper(2, config_types=())]
    with pytest.raises(InputError, match="--energy-key"):
        evaluate(EMTModel(), frames)


def test_source_may_be_a_file(tmp_path) -> None:
    from ase.io import write

    write(tmp_path / "data.xyz", labelled_copper(4))
    found = evaluate(EMTModel(), StructureSource(str(tmp_path / "data.xyz@::2")))
    assert found.n_structures == 2
    assert {entry.name for entry in found.worst_forces} == {"data.xyz[0]", "data.xyz[2]"}
