"""``castile describe`` is the API in one call."""

from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from castile.cli.main import app
from castile.descriptors.soap import SOAP


def test_features_equal_those_of_the_api(tmp_path: Path) -> None:
    frames = [bulk("Si", cubic=True), bulk("Ge", cubic=True), bulk("Si")]
    write(tmp_path / "data.xyz", frames)
    out = tmp_path / "f.npz"
    options = [
        "--n-max",
        "4",
        "--l-max",
        "3",
        "--cutoff",
        "4.5",
        "--sigma",
        "0.4",
        "--radial-basis",
        "equispaced",
    ]
    result = CliRunner().invoke(app, ["describe", str(tmp_path / "data.xyz"), "-o", str(out), *options])
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "18 rows (one per atom)" in result.stderr
    soap = SOAP(cutoff=4.5, n_max=4, l_max=3, sigma=0.4, radial_basis="equispaced").fit(frames)
    np.testing.assert_array_equal(np.load(out)["features"], soap.transform(frames))


def test_average_gives_one_row_per_structure(tmp_path: Path) -> None:
    write(tmp_path / "data.xyz", [bulk("Si", cubic=True)] * 3)
    out = tmp_path / "f.npy"
    options = ["--n-max", "3", "--l-max", "2", "--average", "outer", "--dtype", "float32"]
    result = CliRunner().invoke(app, ["describe", str(tmp_path / "data.xyz@:2"), "-o", str(out), *options])
    assert result.exit_code == 0, result.output
    features = np.load(out)
    assert features.dtype == np.float32
    assert len(features) == 2


def test_an_element_that_is_not_named_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "data.xyz", [bulk("Si"), bulk("Ge")])
    arguments = ["describe", str(tmp_path / "data.xyz"), "-o", str(tmp_path / "f.npz"), "--species", "Si"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "data.xyz[1]" in result.stderr
    assert "Ge" in result.stderr
