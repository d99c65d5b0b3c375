"""Commands that write structures or features count them in ``--json``."""

import json
from pathlib import Path

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
