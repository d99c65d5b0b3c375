"""``castile calibrate``, and deviations on the command line, with a real model."""

import json
from pathlib import Path

import numpy as np
from ase.io import read
from typer.testing import CliRunner, Result

import castile
from castile.cli.main import app


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_calibrate_changes_deviations_only(tmp_path: Path, copper_model: Path, copper_data: Path) -> None:
    frames = read(copper_data, ":")
    unseen = []
    for k, atoms in enumerate(frames):
        copy = atoms.copy()
        copy.rattle(0.01, seed=k)
        copy.calc = atoms.calc
        unseen.append(copy)
    for atoms in unseen:
        results = dict(atoms.calc.results)
        atoms.calc = type(atoms.calc)(atoms, **results)
    from ase.io import write

    write(tmp_path / "unseen.xyz", unseen)
    out, numbers = tmp_path / "out.castile", tmp_path / "c.json"
    report = tmp_path / "c.html"
    result = invoke(
        "calibrate", copper_model, tmp_path / "unseen.xyz", "-o", out, "--json", numbers, "--report", report
    )
    assert result.exit_code == 0, result.output
    before, after = castile.load(copper_model), castile.load(out)
    atoms = frames[0]
    np.testing.assert_array_equal(after.predict(atoms).forces, before.predict(atoms).forces)
    assert after.outcome_.calibration != before.outcome_.calibration
    assert "not in the training set" in after.outcome_.calibration.source
    values = json.loads(numbers.read_text())
    assert values["n_structures_seen_in_training"] == 0
    assert values["forces_posterior_factor"] == after.outcome_.calibration.forces.posterior
    assert "Reliability" in report.read_text(encoding="utf-8")
    page = (Path(__file__).parents[2] / "docs" / "commands" / "calibrate.md").read_text(encoding="utf-8")
    for key in ("n_structures_seen_in_training", "energy_posterior_factor", "forces_floor_ev_per_angstrom"):
        assert f"`{key}`" in page
        assert key in values


def test_calibrate_refuses_training_data_and_its_own_input(copper_model: Path, copper_data: Path) -> None:
    result = invoke("calibrate", copper_model, copper_data)
    assert result.exit_code == 1
    assert "were in the training set" in result.stderr
    result = invoke("calibrate", copper_model, copper_data, "-o", copper_data)
    assert result.exit_code == 1


def test_predict_writes_deviations(tmp_path: Path, copper_model: Path, copper_data: Path) -> None:
    out = tmp_path / "out.xyz"
    result = invoke("predict", copper_model, f"{copper_data}@:2", "-o", out, "--uncertainty", "committee")
    assert result.exit_code == 0, result.output
    for atoms in read(out, ":"):
        assert np.all(atoms.arrays["forces_std"] > 0.0)
        assert atoms.info["energy_std"] > 0.0
