"""``castile screen`` as a user runs it: outputs, errors, loops, and a process that is killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import pytest
from ase.db import connect

from castile.cli.main import app
from castile.properties import PropertyModel
from screening.conftest import energy, random_alloys

MANY = """
[[generator]]
name = "fcc"
prototypes = [{elements = "Cu", structure = "fcc", a = 3.7, cubic = true}]
decorate = {sites = "all", elements = ["Cu", "Au", "Pd"]}
distort = {volume = [-0.03, 0.0, 0.03], strain = 0.03, displacement = 0.03, copies = 6}
"""


def run(*arguments: object) -> int:
    """Exit code of a command."""
    try:
        app(args=["screen", *map(str, arguments)], prog_name="castile")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def saved(model: PropertyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.castile"
    model.save(path)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_output_tells_the_same(saved: Path, generator_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet

    broken = tmp_path / "broken.xyz"
    broken.write_text("2\n\nCu 0 0 0\n")
    out = {name: tmp_path / f"w.{name}" for name in ("csv", "db", "html", "json", "parquet")}
    arguments = ["--model", saved, "-o", out["csv"], "--all", out["parquet"], "--database", out["db"]]
    arguments += ["--report", out["html"], "--json", out["json"], "--top", 12, "--objective", "ei"]
    assert run(generator_file, broken, *arguments) == 0
    winners = rows(out["csv"])
    assert [int(row["rank"]) for row in winners] == list(range(1, 13))
    scores = [float(row["score"]) for row in winners]
    assert scores == sorted(scores, reverse=True)
    table = pyarrow.parquet.read_table(out["parquet"]).to_pylist()
    assert [row["index"] for row in table] == list(range(406))
    assert "broken.xyz" in table[-1]["error"]
    best = max(table[:-1], key=lambda row: row["score"])
    assert best["index"] == int(winners[0]["index"])
    with connect(out["db"]) as database:
        stored = list(database.select(sort="rank"))
    assert [row.candidate for row in stored] == [row["name"] for row in winners]
    assert stored[0].predicted_energy == pytest.approx(best["energy_ev_per_atom"])
    assert len(stored[0].toatoms()) == 4
    page = out["html"].read_text()
    assert page.count("<svg") == 2
    assert "broken.xyz" in page
    numbers = json.loads(out["json"].read_text())
    assert (numbers["n_read"], numbers["n_predicted"], numbers["n_skipped"]) == (406, 405, 1)
    assert not list(tmp_path.glob("*.journal"))


def test_structures_and_an_interactive_map(saved: Path, generator_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("chemiscope", reason="chemiscope is not installed")
    output, page = tmp_path / "w.xyz", tmp_path / "map.html"
    assert run(generator_file, "-m", saved, "-o", output, "--top", 5, "--map", page) == 0
    structures = ase.io.read(output, ":")
    assert [atoms.info["rank"] for atoms in structures] == [1, 2, 3, 4, 5]
    assert "chemiscope" in page.read_text()


def wait_for_lines(path: Path, n: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120.0
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\n") > n:
            return
        time.sleep(0.005)


def test_a_killed_command_goes_on_and_writes_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    source = tmp_path / "many.toml"
    source.write_text(MANY)

    def command(name: str) -> list[str]:
        places = ["-o", str(tmp_path / f"{name}.csv"), "--all", str(tmp_path / f"{name}-all.csv")]
        options = ["--top", "30", "--most-similar", "0.999", "--objective", "bound"]
        start = [sys.executable, "-m", "castile.cli.main", "--threads", "1", "screen", str(source)]
        return [*start, "--model", str(saved), *places, *options]

    journal = tmp_path / "cut.csv.journal"
    process = subprocess.Popen(command("cut"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for_lines(journal, 5, process)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 5 < journal.read_bytes().count(b"\n") < 25
    assert not (tmp_path / "cut.csv").exists()
    subprocess.run(command("cut"), check=True, capture_output=True)
    subprocess.run(command("whole"), check=True, capture_output=True)
    for ending in (".csv", "-all.csv"):
        assert (tmp_path / f"cut{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert [int(row["index"]) for row in rows(tmp_path / "cut-all.csv")] == list(range(81 * 19))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "IN"], "also read"),
        (["-o", "OUT.txt"], "change the ending"),
        (["-o", "OUT.csv", "--all", "OUT.csv"], "both name"),
        (["-o", "nowhere/OUT.csv"], "no folder"),
        (["-o", "OUT.csv", "--target", "volume"], "predicts energy"),
        (["-o", "OUT.csv", "--goal", "upwards"], "upwards"),
        (["-o", "OUT.csv", "--objective", "probability"], "interval"),
        (["-o", "OUT.csv", "--below", "1"], "probability"),
        (["-o", "OUT.csv", "--only", "Cu,Qq"], "Qq"),
        (["-o", "OUT.csv", "--max-known-similarity", "0.9"], "known structures"),
        (["-o", "OUT.csv", "--relax", "5"], "potentials"),
        (["-o", "OUT.csv", "--oracle", "emt"], "--training"),
    ],
)
def test_mistakes_are_one_clear_message(
    saved: Path, generator_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = generator_file.read_bytes()
    given = [str(generator_file) if argument == "IN" else argument for argument in arguments]
    assert run(generator_file, "--model", saved, *given) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") <= 2
    assert generator_file.read_bytes() == before
    assert not list(tmp_path.glob("OUT*.csv"))


def test_a_loop_with_the_truth_and_one_with_an_oracle(saved: Path, tmp_path: Path) -> None:
    training, pool = tmp_path / "t.xyz", tmp_path / "p.xyz"
    for path, structures in ((training, random_alloys(12, 4, 0.01)), (pool, random_alloys(30, 5, 0.01))):
        for atoms in structures:
            atoms.info["eam"] = energy(atoms)
        ase.io.write(path, structures)
    options = ["-m", saved, "--objective", "ei", "--top", 3, "--batch", 5, "--budget", 30]
    options += ["--training", training, "--training-key", "eam", "--patience", 1]
    known, labelled = tmp_path / "known.csv", tmp_path / "labelled.csv"
    numbers = tmp_path / "n.json"
    page = tmp_path / "loop.html"
    assert run(pool, *options, "-o", known, "--truth", "eam", "--report", page, "--json", numbers) == 0
    found = rows(known)
    truth = [atoms.info["eam"] for atoms in ase.io.read(pool, ":")]
    listed = [truth[int(row["index"])] for row in found]
    assert all(row["labelled"] == "true" for row in found)
    assert [float(row["energy_ev_per_atom"]) for row in found] == pytest.approx(listed, rel=1e-5)
    regret = sum(sorted(truth)[:3]) / 3 - sum(listed) / 3
    assert json.loads(numbers.read_text())["regret"] == pytest.approx(-regret, abs=1e-9)
    assert page.read_text().count("<svg") == 4
    assert run(pool, *options, "-o", labelled, "--oracle", "emt") == 0
    assert [row["name"] for row in rows(labelled)] == [row["name"] for row in found]
    with connect(tmp_path / "labelled.labels" / "calculations.db") as database:
        assert 3 <= len(database) <= 30
