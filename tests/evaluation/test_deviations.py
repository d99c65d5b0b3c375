"""Statistics of standard deviations against closed forms and numerical integrals."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from scipy.integrate import quad
from scipy.stats import norm, spearmanr

import castile
from castile.evaluation.deviation_collector import UncertainPredictor
from castile.evaluation.deviations import deviation_statistics
from castile.evaluation.prediction_file import write_predictions
from castile.evaluation.tables import deviation_table
from castile.simulation import MolecularDynamicsSettings, run_molecular_dynamics
from castile.simulation.md_record import read_log
from potentials.examples import copper_set, labelled, metal

_MODEL: list[castile.GAP] = []


def model() -> castile.GAP:
    if not _MODEL:
        options = {"cutoff": 3.93, "n_max": 4, "l_max": 3, "n_sparse": 12, "threads": 1}
        _MODEL.append(castile.GAP(**options).fit(copper_set(10)))
    return _MODEL[0]


def test_perfect_deviations() -> None:
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.1, 2.0, 50_000)
    found = deviation_statistics(sigma * rng.standard_normal(50_000), sigma)
    assert found is not None
    assert found.coverage_68 == pytest.approx(0.68, abs=0.01)
    assert found.coverage_95 == pytest.approx(0.95, abs=0.005)
    assert found.miscalibration_area < 0.01
    assert found.nll == pytest.approx(np.mean(np.log(sigma)) + 0.5 * np.log(2 * np.pi) + 0.5, abs=0.02)


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_wrong_deviations(factor: float) -> None:
    errors = np.random.default_rng(1).standard_normal(20_000)
    found = deviation_statistics(errors, np.full(20_000, factor))
    assert found is not None
    assert found.coverage_68 == pytest.approx(2 * norm.cdf(factor * norm.ppf(0.84)) - 1, abs=0.01)
    assert found.miscalibration_area > 0.2
    assert found.spearman is None


def test_crps_is_its_integral() -> None:
    errors, sigma = np.array([0.7, -0.2, 3.0]), np.array([0.5, 1.0, 1.5])
    expected = np.mean(
        [
            quad(lambda x, e=e, s=s: (norm.cdf(x / s) - (x >= -e)) ** 2, -30, 30, limit=500, points=[-e])[0]
            for e, s in zip(errors, sigma, strict=True)
        ]
    )
    found = deviation_statistics(errors, sigma)
    assert found is not None
    assert found.crps == pytest.approx(expected, rel=1e-6)
    assert found.spearman == pytest.approx(spearmanr(sigma, np.abs(errors))[0])


def test_nothing_to_compare() -> None:
    assert deviation_statistics([], []) is None


def test_evaluation_holds_deviations_against_errors(tmp_path: Path) -> None:
    test = copper_set(16)[10:]
    for method in ("exact", "committee"):
        found = castile.evaluate(model(), test, uncertainty=method)
        numbers = found.to_json_dict()
        assert found.deviations is not None
        assert found.deviations.force is not None
        assert found.deviations.force.n == sum(3 * len(atoms) for atoms in test)
        assert 0.0 <= numbers["force_coverage_68"] <= numbers["force_coverage_95"] <= 1.0
        assert json.dumps(numbers, allow_nan=False)
    plain = castile.evaluate(model(), test)
    assert plain.deviations is None
    assert plain.to_json_dict()["force_rmse_ev_per_angstrom"] == pytest.approx(
        numbers["force_rmse_ev_per_angstrom"]
    )


def test_shear_stress_in_a_wrong_order_and_fixed_by_symmetry_does_not_count() -> None:
    gap = castile.GAP(cutoff=3.93, n_max=4, l_max=3, n_sparse=16, threads=1, core=False).fit(copper_set(10))
    swapped = copper_set(16)[10:]
    for atoms in swapped:
        atoms.info["config_type"] = "swapped"
        atoms.calc.results["stress"] = atoms.get_stress()[[0, 1, 2, 4, 5, 3]]
    cubic = labelled(bulk("Cu", a=3.7, cubic=True))
    for method in ("exact", "committee"):
        found = castile.evaluate(gap, [*copper_set(16)[10:], *swapped, cubic], uncertainty=method).deviations
        assert found is not None
        assert found.stress is not None
        assert found.stress.n == 6 * 6 + 6 * 3 + 3
        (remark,) = found.remarks
        assert "of config_type swapped seem to be in the order xx yy zz xz xy yz" in remark
        assert remark in deviation_table(found).note


@pytest.mark.parametrize("suffix", [".xyz", ".traj"])
def test_predictions_with_deviations_in_files(tmp_path: Path, suffix: str) -> None:
    test = copper_set(12)[10:]
    out = tmp_path / f"out{suffix}"
    write_predictions(UncertainPredictor(model(), "committee"), test, out)
    for atoms, original in zip(read(out, ":"), test, strict=True):
        expected = model().predict_with_uncertainty(original)
        store = atoms.info if suffix == ".traj" else atoms.arrays
        np.testing.assert_allclose(store["forces_std"], expected.forces_std, atol=1e-6)
        np.testing.assert_allclose(store["energies_std"], expected.energies_std, atol=1e-6)
        np.testing.assert_allclose(store["extrapolation_grade"], expected.extrapolation_grade, atol=1e-6)
        assert atoms.info["energy_std"] == pytest.approx(expected.energy_std, abs=1e-6)
        np.testing.assert_allclose(atoms.info["stress_std"], expected.stress_std, atol=1e-6)


def test_deviations_in_the_log_of_molecular_dynamics(tmp_path: Path) -> None:
    gap = model()
    atoms = metal(3)
    atoms.calc = gap.calculator()
    settings = MolecularDynamicsSettings(n_steps=4, log_interval=2)
    result = run_molecular_dynamics(
        atoms,
        settings,
        tmp_path / "run.xyz",
        force_deviations=lambda frame: gap.predict_with_uncertainty(frame).forces_std,
    )
    rows = read_log(tmp_path / "run.csv")
    assert rows == list(result.rows)
    assert len(rows) == 3
    first = gap.predict_with_uncertainty(metal(3))
    assert rows[0].max_force_deviation_ev_per_ang == pytest.approx(first.force_deviation)
    assert 0.0 < rows[0].mean_force_deviation_ev_per_ang <= first.force_deviation
    with pytest.raises(castile.InputError, match="deviations"):
        run_molecular_dynamics(atoms, settings, tmp_path / "run.xyz", restart=True)
