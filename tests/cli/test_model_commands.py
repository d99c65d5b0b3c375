"""``castile evaluate``, ``predict`` and ``info`` with a real model: each is one call of the API."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from typer.testing import CliRunner, Result

import castile
from castile.cli.main import app
from castile.potentials.intervals import half_width


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_evaluate_prints_and_writes_what_the_api_returns(
    tmp_path: Path, copper_model: Path, copper_data: Path
) -> None:
    numbers_file, report = tmp_path / "e.json", tmp_path / "e.html"
    result = invoke("evaluate", copper_model, copper_data, "--json", numbers_file, "--report", report)
    assert result.exit_code == 0, result.output
    numbers = json.loads(numbers_file.read_text())
    expected = castile.evaluate(castile.load(copper_model), copper_data, uncertainty="auto").to_json_dict()
    assert numbers.keys() == expected.keys()
    for key in numbers.keys() - {"prediction_seconds"}:
        assert numbers[key] == pytest.approx(expected[key]), key
    assert numbers["force_rmse_ev_per_angstrom"] < 0.1
    assert "config_type" in result.stdout
    assert "<svg" in report.read_text(encoding="utf-8")


def test_every_key_of_the_json_is_documented(copper_model: Path, copper_data: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "commands" / "evaluate.md"
    text = page.read_text(encoding="utf-8")
    keys = castile.evaluate(castile.load(copper_model), copper_data, uncertainty="auto").to_json_dict()
    for key in keys:
        if not key.startswith(("config/", "element/")):
            assert f"`{key}`" in text, key


def test_labels_under_other_names(tmp_path: Path, copper_model: Path, copper_data: Path) -> None:
    frames = read(copper_data, ":")
    for atoms in frames:
        atoms.info["my_energy"] = atoms.get_potential_energy()
        atoms.calc = None
    write(tmp_path / "other.xyz", frames)
    without = invoke("evaluate", copper_model, tmp_path / "other.xyz")
    assert without.exit_code == 1
    assert "--energy-key" in without.stderr
    named = invoke("evaluate", copper_model, tmp_path / "other.xyz", "--energy-key", "my_energy")
    assert named.exit_code == 0, named.output


def test_half_present_labels_are_named(tmp_path: Path, copper_model: Path, copper_data: Path) -> None:
    frames = read(copper_data, ":")
    frames[3].calc.results.pop("energy")
    write(tmp_path / "half.xyz", frames)
    refused = invoke("evaluate", copper_model, tmp_path / "half.xyz")
    assert refused.exit_code == 1
    assert "half.xyz[3]" in refused.stderr
    assert "--allow-missing" in refused.stderr
    assert invoke("evaluate", copper_model, tmp_path / "half.xyz", "--allow-missing", "energy").exit_code == 0


def test_predict_writes_what_the_api_returns(tmp_path: Path, copper_model: Path, copper_data: Path) -> None:
    out = tmp_path / "out.xyz"
    result = invoke("predict", copper_model, f"{copper_data}@:4", "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    model = castile.load(copper_model)
    images = read(out, ":")
    assert len(images) == 4
    for atoms, original in zip(images, read(copper_data, ":4"), strict=True):
        expected = model.predict(original)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-6)
        np.testing.assert_allclose(atoms.arrays["reference_forces"], original.get_forces(), atol=1e-6)


def test_predict_names_the_structure_that_it_cannot(
    tmp_path: Path, copper_model: Path, copper_data: Path
) -> None:
    frames = [*read(copper_data, ":3"), Atoms("Si", cell=[5, 5, 5], pbc=True)]
    write(tmp_path / "mixed.xyz", frames)
    result = invoke("predict", copper_model, tmp_path / "mixed.xyz", "-o", tmp_path / "out.xyz")
    assert result.exit_code == 1
    assert "mixed.xyz[3]" in result.stderr
    assert "Si" in result.stderr
    assert "3 structures" in result.stderr
    assert len(read(tmp_path / "out.partial.xyz", ":")) == 3


def test_predict_needs_no_labels_but_evaluate_names_what_is_wrong_with_them(
    tmp_path: Path, copper_model: Path, copper_data: Path
) -> None:
    frames = read(copper_data, ":3")
    frames[1].calc.results["energy"] = np.nan
    write(tmp_path / "data.xyz", frames)
    out, numbers = tmp_path / "out.xyz", tmp_path / "n.json"
    result = invoke("predict", copper_model, tmp_path / "data.xyz", "-o", out, "--json", numbers)
    assert result.exit_code == 0, result.output
    assert "not kept: 1;" in result.stderr
    assert "data.xyz[1]: energy" in result.stderr
    assert json.loads(numbers.read_text())["n_labels_left_out"] == 1
    assert len(read(out, ":")) == 3
    refused = invoke("evaluate", copper_model, tmp_path / "data.xyz")
    assert refused.exit_code == 1
    assert "data.xyz[1]: energy" in refused.stderr


def test_info_tells_the_whole_model(tmp_path: Path, copper_model: Path) -> None:
    result = invoke("info", copper_model, "--json", tmp_path / "info.json")
    assert result.exit_code == 0, result.output
    headings = ("Label census", "Noise levels", "Amplitudes", "All settings", "Timings of the fit")
    for heading in (*headings, "Standard deviations"):
        assert heading in result.stdout
    values = json.loads((tmp_path / "info.json").read_text())
    assert values["elements"] == "Cu"
    assert values["n_structures"] == 10
    assert values["calibration"].startswith("calibrated on held-out errors of 10 of 10 training structures")
    assert values["n_calibration_structures"] == 10
    for kind, tail in castile.load(copper_model).outcome_.calibration.tails.items():
        assert values[f"{kind}_interval_95_deviations"] == half_width(0.95, tail)
        assert 0.0 < values[f"{kind}_interval_68_deviations"] < values[f"{kind}_interval_95_deviations"]
    assert values["settings/soap[0].n_max"] == 4
    assert values["amplitude/soap/29_n_sparse"] == 15
    assert values["force_noise_ev_per_angstrom"] > 0
    of_the_fit = castile.load(copper_model).fit_report.to_json_dict()
    assert {key: values[key] for key in of_the_fit} == of_the_fit
    assert values["model_sha256"] in result.stdout


def test_a_damaged_model_file_is_one_message(tmp_path: Path, copper_model: Path, copper_data: Path) -> None:
    broken = tmp_path / "broken.castile"
    broken.write_bytes(copper_model.read_bytes()[:2000])
    for command in (["info", broken], ["evaluate", broken, copper_data]):
        result = invoke(*command)
        assert result.exit_code == 1
        assert "broken.castile" in result.stderr
        assert "Traceback" not in result.output


def test_md_stops_when_the_temperature_runs_away(
    copper_model: Path, copper_data: Path, tmp_path: Path
) -> None:
    result = invoke(
        "md", copper_model, f"{copper_data}@0", "-o", tmp_path / "hot.xyz", "--repeat", 2, 2, 2,
        "--steps", 300, "--time-step", 60, "--temperature", 500, "--temperature-limit", 2000,
        "--contact-fraction", 0,
    )  # fmt: skip
    assert result.exit_code == 1
    assert re.search(r"temperature is \d+ K, above the limit of 2000 K", result.stderr)
    assert "Traceback" not in result.output
    assert len(read(tmp_path / "hot.failed.xyz", ":")) >= 1


def test_workers_of_predict_and_describe(copper_model: Path, copper_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    for command in (["predict", str(copper_model)], ["describe"]):
        for suffix, workers in ((".alone", []), (".spread", ["--workers", "1"])):
            output = tmp_path / f"out{suffix}.{'xyz' if command[0] == 'predict' else 'csv'}"
            result = invoke(*command, copper_data, "-o", output, *workers)
            assert result.exit_code == 0, result.output
        assert output.read_bytes() == Path(str(output).replace("spread", "alone")).read_bytes()


@pytest.mark.parametrize("workers", ["0", "many", "absent.toml", "grid:3"])
def test_workers_that_are_nothing_are_one_message(
    copper_model: Path, copper_data: Path, tmp_path: Path, workers: str
) -> None:
    result = invoke("predict", copper_model, copper_data, "-o", tmp_path / "out.xyz", "--workers", workers)
    assert result.exit_code == 1
    assert result.stderr.startswith("castile: ")
    assert workers in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_simulations_name_the_structure_with_an_unknown_element(copper_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "water.xyz"
    write(path, molecule("H2O"))
    for command in (["relax", "-o", str(tmp_path / "r.xyz")], ["md", "-o", str(tmp_path / "m.xyz")]):
        result = CliRunner().invoke(app, [command[0], str(copper_model), f"{path}@0", *command[1:]])
        assert result.exit_code == 1
        assert f"castile: {path}@0: the model was not trained on H, O; it knows Cu" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["water.xyz"]
