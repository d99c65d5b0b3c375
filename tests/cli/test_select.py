"""``castile select`` is the API in one call, and says what is wrong in one message."""

import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

import castile
from castile.active.structure_selection import PriorChoices, select_structures
from castile.cli.main import app

SMALL = ["--n-sparse", "30"]


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, ["select", *map(str, arguments)])


def test_choice_equals_that_of_the_api(tmp_path: Path, copper_data: Path, copper_model: Path) -> None:
    files = {name: tmp_path / name for name in ("chosen.xyz", "indices.json", "numbers.json")}
    result = run(
        copper_data, "-n", 3, "--model", copper_model, "-o", files["chosen.xyz"], *SMALL,
        "--indices", files["indices.json"], "--json", files["numbers.json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = select_structures(
        copper_data, 3, model=castile.load(copper_model), prior=PriorChoices(n_sparse=30)
    )
    assert json.loads(files["indices.json"].read_text())["structures"] == expected.structures.tolist()
    assert len(read(files["chosen.xyz"], ":")) == 3
    numbers = json.loads(files["numbers.json"].read_text())
    assert numbers["n_selected"] == 3
    assert numbers["n_pool_structures"] == 10
    assert "rows of the pool: done" in result.stderr


@pytest.mark.parametrize(
    ("method", "labels", "words"),
    [
        ("variance", "all", "times the noise (root mean square over its labels)"),
        ("information", "all", "nat; of the last"),
        ("pool-variance", "all", "of the pool's forces: the first lowers it by"),
        ("pool-variance", "energy", "deviation of the pool's energies per atom"),
    ],
)
def test_worth_is_told_in_words(
    tmp_path: Path, copper_data: Path, method: str, labels: str, words: str
) -> None:
    result = run(
        copper_data, "-n", 2, "--method", method, "--labels", labels, "--indices", tmp_path / "i.json", *SMALL
    )
    assert result.exit_code == 0, result.output
    assert words in " ".join(result.output.split())
    assert "worth nothing" not in result.output


def test_choice_among_labels_that_cannot_vary_is_told(tmp_path: Path) -> None:
    """Forces that vanish by symmetry: the order of the choice is no choice."""
    write(tmp_path / "pool.xyz", [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)])
    for method in ("variance", "information", "pool-variance"):
        result = run(
            tmp_path / "pool.xyz", "-n", 2, "--method", method, "--labels", "forces", "--indices",
            tmp_path / "i.json", *SMALL,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "2 of them are worth nothing" in " ".join(result.output.split())


@pytest.mark.parametrize("method", ["pool-variance", "farthest", "random"])
def test_methods_without_a_model(tmp_path: Path, copper_data: Path, method: str) -> None:
    out = tmp_path / "indices.json"
    result = run(
        copper_data, "-n", 4, "--method", method, "--what", "atoms", "--stratify", "--indices", out, *SMALL
    )
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert len(set(zip(found["structures"], found["atoms"], strict=True))) == 4
    assert ("--n-sparse: changed nothing" in result.output) == (method != "pool-variance")


def test_stratifying_by_a_key_that_is_not_there_is_told(tmp_path: Path, copper_data: Path) -> None:
    indices = tmp_path / "i.json"
    result = run(
        copper_data, "-n", "2", "--indices", indices, "--method", "random", "--stratify",
        "--config-type-key", "knid",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "has 'knid' (--config-type-key), so --stratify changed nothing" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "2"], "nothing would be written"),
        (["-n", "2", "-o", "POOL"], "is also read"),
        (["-n", "2", "-o", "out.nothing"], "suffix"),
        (["-n", "2", "-o", "nowhere/out.xyz"], "there is no folder"),
        (["-n", "2", "-o", "a.json", "--indices", "a.json"], "name the same file"),
        (["-n", "2", "--indices", "i.json", "--model", "MODEL", "--zeta", "3"], "zeta = 3"),
        (["-n", "2", "--indices", "i.json", "--amplitude", "0"], "amplitude = 0 eV: give a number above 0"),
        (["-n", "2", "--indices", "i.json", "--cutoff", "-1"], "cutoff = -1 A: give a number above 0"),
        (["-n", "2", "--indices", "MODEL", "--model", "MODEL"], "would replace the model"),
        (["-n", "2", "--indices", "i.json", "--train", "nowhere.xyz"], "no such file"),
    ],
)
def test_bad_input_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copper_data: Path,
    copper_model: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    named = {"POOL": str(copper_data), "MODEL": str(copper_model)}
    result = run(copper_data, *[named.get(word, word) for word in arguments])
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("*.xyz"))
