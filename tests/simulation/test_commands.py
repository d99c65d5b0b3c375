"""The simulation commands; effective-medium theory stands in for a fitted model."""

import json
from pathlib import Path

import ase.io
import pytest
import typer
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from castile.cli import simulate
from castile.errors import InputError

RUNNER = CliRunner()


@pytest.fixture
def app(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(simulate, "calculator_from", lambda model, precision=None: EMT())
    ase.io.write("cu.xyz", bulk("Cu", cubic=True, a=3.65))
    app = typer.Typer()
    simulate.register(app)
    return app


def run(app, *arguments):
    return RUNNER.invoke(app, list(arguments), catch_exceptions=False)


def test_relax_writes_structure_and_numbers(app):
    outcome = run(app, "relax", "m.castile", "cu.xyz", "-o", "out.xyz", "--cell", "--json", "out.json")
    assert outcome.exit_code == 0
    numbers = json.loads(Path("out.json").read_text())
    assert numbers["converged"]
    assert numbers["max_force_ev_per_angstrom"] < 0.01
    assert ase.io.read("out.xyz").get_volume() == pytest.approx(numbers["volume_ang3"], abs=1e-4)
    assert numbers["volume_ang3"] < 3.65**3


def test_relax_that_does_not_converge_exits_with_an_error(app):
    ase.io.write("bad.xyz", bulk("Cu", cubic=True).repeat(2))
    atoms = ase.io.read("bad.xyz")
    atoms.rattle(0.1, seed=0)
    ase.io.write("bad.xyz", atoms)
    outcome = run(app, "relax", "m.castile", "bad.xyz", "-o", "out.xyz", "--max-steps", "1")
    assert outcome.exit_code == 1
    assert "not converged" in outcome.output
    assert ase.io.read("out.xyz").get_potential_energy() < 5


def test_md_runs_and_continues(app):
    arguments = [
        "md",
        "m.castile",
        "cu.xyz",
        "-o",
        "run.xyz",
        "--repeat",
        "2",
        "2",
        "2",
        "--frame-every",
        "10",
    ]
    assert run(app, *arguments, "--steps", "20", "--json", "run.json").exit_code == 0
    assert json.loads(Path("run.json").read_text())["n_atoms"] == 32
    assert run(app, *arguments, "--steps", "30", "--restart").exit_code == 0
    assert len(ase.io.read("run.xyz", ":")) == 4
    with pytest.raises(InputError, match="exists"):
        run(app, *arguments)


def test_elastic_prints_constants(app):
    outcome = run(app, "elastic", "m.castile", "cu.xyz", "--json", "c.json")
    assert outcome.exit_code == 0
    numbers = json.loads(Path("c.json").read_text())
    assert numbers["c11_gpa"] > numbers["c12_gpa"] > numbers["c44_gpa"] > 0
    assert f"{numbers['c11_gpa']:.2f}" in outcome.output


def test_phonons_write_figure_and_tables(app):
    pytest.importorskip("phonopy", reason="phonopy is not installed")
    arguments = ["--supercell", "2", "2", "2", "--json", "p.json"]
    outcome = run(app, "phonons", "m.castile", "cu.xyz", "-o", "ph", *arguments)
    assert outcome.exit_code == 0
    assert json.loads(Path("p.json").read_text())["max_frequency_thz"] > 6
    for name in ("bands.png", "bands.csv", "dos.csv", "thermal.csv", "phonopy.yaml"):
        assert (Path("ph") / name).exists()


def test_bad_input_stops_before_the_work(app):
    with pytest.raises(InputError, match="ASE cannot write"):
        run(app, "relax", "m.castile", "cu.xyz", "-o", "out.nonsense")
    ase.io.write("two.xyz", [bulk("Cu"), bulk("Cu")])
    with pytest.raises(InputError, match="holds 2 structures; choose one"):
        run(app, "elastic", "m.castile", "two.xyz")
    assert run(app, "elastic", "m.castile", "two.xyz@-1").exit_code == 0


def test_relax_does_not_replace_what_it_starts_from(app):
    before = Path("cu.xyz").read_bytes()
    for output in (("-o", "cu.xyz"), ("-o", "out.xyz", "--trajectory", "cu.xyz")):
        with pytest.raises(InputError, match="is also read"):
            run(app, "relax", "m.castile", "cu.xyz", *output)
    assert Path("cu.xyz").read_bytes() == before
