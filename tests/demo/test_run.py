"""The whole demonstration on a small part of its data: what it finds and what it writes."""

import json
from pathlib import Path

import pytest

import castile
from castile.demo.run import run_demo


def test_demo_writes_model_report_and_numbers(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int | None]] = {}
    result = run_demo(
        tmp_path / "demo", md_steps=50, progress=lambda step, done, total: seen.update({step: (done, total)})
    )
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "model.castile",
        "report.html",
        "results.json",
    }
    assert all(done == (total or 1) for done, total in seen.values()), seen
    numbers = json.loads(result.results_path.read_text())
    assert numbers["test/force_rmse_ev_per_angstrom"] < 0.3
    assert numbers["test/energy_rmse_mev_per_atom"] < 50
    assert numbers["nve_time_ps"] == pytest.approx(0.05)
    assert numbers["lattice_constant_angstrom"] == pytest.approx(
        numbers["lattice_constant_angstrom_reference"], rel=0.01
    )
    assert numbers["bulk_modulus_gpa"] == pytest.approx(numbers["bulk_modulus_gpa_reference"], rel=0.1)
    assert numbers["c11_gpa"] == pytest.approx(numbers["c11_gpa_reference"], rel=0.2)
    page = result.report_path.read_text(encoding="utf-8")
    headings = (
        "Accuracy",
        "Equation of state",
        "Elastic constants",
        "Energy conservation",
        "Label census",
        "Settings and why",
        "Noise and amplitudes",
        "Timings",
    )
    for heading in headings:
        assert f"<h2>{heading}</h2>" in page
    assert castile.load(result.model_path).fit_report.census.n_structures > 0


def test_every_key_of_the_results_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "commands" / "demo.md").read_text(encoding="utf-8")
    for key in ("nve_drift_mev_per_atom_per_ps", "lattice_constant_angstrom", "c44_gpa", "seconds_total"):
        assert f"`{key}`" in page
