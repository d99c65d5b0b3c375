"""``castile import-gap`` and ``export-gap``."""

import json
from pathlib import Path

import pytest
from ase.io import read, write
from typer.testing import CliRunner

import castile
from castile.cli.main import app
from potentials.quip_models import TRAINED, structures, train


@pytest.fixture(scope="module")
def xml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("gap"), next(iter(TRAINED.values())))


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_import_use_and_export(xml: Path, tmp_path: Path) -> None:
    model, crystal = tmp_path / "model.castile", structures()["crystal"]
    output = run("import-gap", xml, "-o", model)
    assert "quip soap" in output
    assert "Elements: Cu, Ag." in output
    assert "imported from" in run("info", model, "--json", tmp_path / "info.json")
    numbers = json.loads((tmp_path / "info.json").read_text())
    assert numbers["imported_from"] == "QUIP"
    assert numbers["n_weights"] > 0
    write(tmp_path / "crystal.xyz", crystal)
    run(
        "predict", model, tmp_path / "crystal.xyz", "-o", tmp_path / "predicted.xyz", "--uncertainty", "exact"
    )
    assert read(tmp_path / "predicted.xyz").arrays["forces_std"].shape == (len(crystal), 3)
    run("export-gap", model, "-o", tmp_path / "again.xml")
    again = castile.import_gap(tmp_path / "again.xml").predict(crystal).energy
    assert abs(again - castile.import_gap(xml).predict(crystal).energy) < 1e-9


def test_elements_can_be_restricted(xml: Path, tmp_path: Path) -> None:
    run("import-gap", xml, "-o", tmp_path / "model.castile", "--element", "Cu")
    assert castile.load(tmp_path / "model.castile").fitted_model.elements == (29,)


def test_refusal_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "no.xml").write_text("<a><b/></a>")
    result = CliRunner().invoke(app, ["import-gap", str(tmp_path / "no.xml"), "-o", "x.castile"])
    assert result.exit_code == 1
    assert "has no Potential element" in result.output


def test_what_is_read_is_not_overwritten(xml: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.castile"
    run("import-gap", xml, "-o", model)
    points = sorted(xml.parent.glob("gp.xml.sparseX.*"))[0]
    for command, source, target in (("import-gap", xml, points), ("export-gap", model, model)):
        before = target.read_bytes()
        result = CliRunner().invoke(app, [command, str(source), "-o", str(target)])
        assert result.exit_code == 1
        assert "is also read" in " ".join(result.output.split())
        assert target.read_bytes() == before
