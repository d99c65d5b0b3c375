"""Commands that write files: they count what they wrote in ``--json``, and never replace their input."""

import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

import castile
from castile.cli.main import app
from castile.demo.data import silicon_file


def test_describe_counts_rows_and_features(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", [bulk("Si", cubic=True)] * 2)
    command = [
        "describe",
        str(tmp_path / "a.xyz"),
        "-o",
        str(tmp_path / "f.npz"),
        "--n-max",
        "2",
        "--l-max",
        "1",
    ]
    result = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "n.json")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "n.json").read_text()) == {"n_rows": 16, "n_features": 6}


def test_predict_counts_structures(tmp_path: Path) -> None:
    model = castile.GAP(n_sparse=20).fit(f"{silicon_file('silicon_train.xyz')}@::20")
    model.save(tmp_path / "m.castile")
    data = f"{silicon_file('silicon_test.xyz')}@:3"
    command = ["predict", str(tmp_path / "m.castile"), data, "-o", str(tmp_path / "p.xyz")]
    result = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "n.json")])
    assert result.exit_code == 0, result.output
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["n_structures"] == 3
    assert numbers["prediction_time_s"] > 0.0


@pytest.mark.parametrize("command", ["fit", "describe"])
def test_input_is_not_replaced(tmp_path: Path, command: str) -> None:
    data = tmp_path / "data.xyz"
    data.write_text(silicon_file("silicon_test.xyz").read_text())
    before = data.read_bytes()
    result = CliRunner().invoke(app, [command, str(data), "-o", str(data)])
    assert result.exit_code != 0
    assert "is also read" in result.output
    assert data.read_bytes() == before
