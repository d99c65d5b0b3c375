"""Calibration: held-out errors without refits, scale factors of data drawn from the process itself."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import castile
from castile.evaluation.calibrate import calibrate
from castile.potentials import hold_out_plan, soap_functionals
from castile.potentials.calibration import Calibration, KindCalibration, VarianceParts
from castile.potentials.calibration_fit import fit_kind
from castile.potentials.environment import Environment
from castile.potentials.fit import FitOutcome
from castile.potentials.held_out import MOST_ATOMS, HeldOut, HeldOutLabels
from castile.potentials.hold_out_plan import choose_blocks
from castile.potentials.remembered_rows import RememberingBuilder, RowFile, structure_key
from castile.potentials.soap_functionals import full_spectra
from castile.potentials.soap_term import SoapTerm
from castile.potentials.training_rows import RowBuilder, trainable_terms
from castile.structures import LabelledStructure, StructureSource, as_source
from potentials.examples import alloy_set, copper_set, labelled, metal

OPTIONS = {"cutoff": 3.93, "n_max": 4, "l_max": 3, "n_sparse": 16, "threads": 1, "core": False}
FIXED = {"energy_noise": 0.01, "force_noise": 0.05, "stress_noise": 0.005}


def without_points_of(outcome: FitOutcome, block: list[LabelledStructure]) -> FitOutcome:
    """The fit over the sparse points that no environment of the block is."""
    pair, soap = outcome.model.terms
    assert isinstance(soap, SoapTerm)
    spectra = [full_spectra(soap, Environment.of(s.atoms, soap.cutoff)).features for s in block]
    distances = np.linalg.norm(soap.sparse_points[:, None] - np.concatenate(spectra)[None], axis=2)
    points = soap.sparse_points[distances.min(axis=1) > 1e-6]
    fewer = replace(soap, sparse_points=points, counts=(len(points),), starts=None)
    weights = (outcome.model.weights[0], np.zeros(len(points)))
    return replace(outcome, model=replace(outcome.model, terms=(pair, fewer), weights=weights))


def test_held_out_errors_are_those_of_a_fit_without_the_block_and_its_sparse_points() -> None:
    data = copper_set(8)
    settings = {"soap": [{"amplitude": 1.0}], "pair": [{"amplitude": 0.1}], "calibrate": False}
    composition = {"Cu": 0.0}
    gap = castile.GAP(settings, **OPTIONS, **FIXED, composition=composition).fit(data)
    outcome = gap.outcome_
    builder = RowBuilder(
        trainable_terms(outcome.model.terms), outcome.model.composition, None, outcome.settings
    )
    block = list(as_source(data[:2]))
    labels = HeldOut(builder, outcome.posterior)(block)
    without = castile.GAP()._take(without_points_of(outcome, block)).refit(data[2:])
    assert without.fit_report.n_sparse < gap.fit_report.n_sparse
    assert [label.kind for label in labels] == ["energy", "forces", "stress"] * 2
    for structure, (energy, forces, stress) in zip(block, (labels[:3], labels[3:]), strict=True):
        prediction = without.predict(structure.atoms)
        variances = without.uncertainty.variances(structure.atoms)
        assert energy.errors[0] == pytest.approx(prediction.energy - structure.energy, abs=1e-7)
        np.testing.assert_allclose(forces.errors, (prediction.forces - structure.forces).ravel(), atol=1e-7)
        np.testing.assert_allclose(stress.errors, prediction.stress - structure.stress, atol=1e-8)
        assert energy.parts.posterior[0] == pytest.approx(variances.energy.posterior[0], rel=1e-5)
        np.testing.assert_allclose(forces.parts.posterior, variances.forces.posterior, rtol=1e-4)
        np.testing.assert_allclose(forces.parts.residual, variances.forces.residual, atol=1e-9)
        assert stress.parts.prior == pytest.approx(variances.stress.prior)


def large_set() -> list[Atoms]:
    """Four cells of 16 atoms and one of 4, labelled."""
    return [labelled(metal(k, lattice=3.5 + 0.1 * k).repeat((2, 2, 1))) for k in range(4)] + copper_set(1)


def test_of_large_structures_some_labels_are_compared_and_all_left_out() -> None:
    gap = castile.GAP({"calibrate": False}, **OPTIONS, **FIXED).fit(large_set())
    outcome = gap.outcome_
    builder = RowBuilder(
        trainable_terms(outcome.model.terms), outcome.model.composition, None, outcome.settings
    )
    (large, small) = as_source([large_set()[1], large_set()[-1]])
    hold_out = HeldOut(builder, outcome.posterior)
    every = hold_out([large, small])
    some = hold_out([large, small], [4, 7])
    energy, forces, stress = some[:3]
    assert energy.errors == pytest.approx(every[0].errors)
    assert energy.parts.residual == pytest.approx(every[0].parts.residual)
    assert len(forces.errors) == 3 * MOST_ATOMS
    used = np.isin(every[1].errors, forces.errors)
    for name in ("posterior", "residual", "prior"):
        whole = getattr(every[1].parts, name)[used]
        np.testing.assert_allclose(getattr(forces.parts, name), whole, rtol=1e-9, atol=1e-14)
    assert (stress.parts.prior == 0.0).all()
    np.testing.assert_allclose(stress.errors, every[2].errors)
    third = hold_out([large], [6])[2]
    assert (third.parts.prior > 0.0).all()
    for found, whole in zip(some[3:], every[3:], strict=True):
        np.testing.assert_allclose(found.parts.residual, whole.parts.residual, atol=1e-12)


def test_kept_rows_are_those_that_would_be_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    data = copper_set(8)
    outcome = castile.GAP({"calibrate": False}, **OPTIONS).fit(data).outcome_
    plain = RowBuilder(
        trainable_terms(outcome.model.terms), outcome.model.composition, None, outcome.settings
    )
    structures = list(as_source(data))
    keeping = RememberingBuilder.of(plain, structures[:3])
    for structure in structures:
        keeping(structure)
    assert len(keeping.file) == 3
    for structure in structures[2:4]:
        for found, computed in zip(keeping(structure), plain(structure), strict=True):
            assert found.kind == computed.kind
            np.testing.assert_array_equal(found.rows, computed.rows)
            np.testing.assert_array_equal(found.targets, computed.targets)
            np.testing.assert_array_equal(found.relative_sigmas, computed.relative_sigmas)
    key = structure_key(structures[0])
    changed = as_source(data[0])
    (other,) = [replace(structure, energy=structure.energy + 1.0) for structure in changed]
    assert structure_key(other) != key
    full = RowFile([key, structure_key(structures[1])], most_bytes=8 * 19 * plain.n_columns)
    for structure in structures[:2]:
        full.put(structure_key(structure), plain(structure))
    assert len(full) == 1
    assert full.get(structure_key(structures[1])) is None
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    nowhere = RememberingBuilder.of(plain, structures[:1])
    for _ in range(2):
        np.testing.assert_array_equal(nowhere(structures[0])[0].rows, plain(structures[0])[0].rows)
    assert len(nowhere.file) == 0


@pytest.mark.parametrize(("a", "b", "c"), [(1.0, 1.0, 0.02), (4.0, 0.5, 0.01)])
def test_factors_of_errors_that_have_them(a: float, b: float, c: float) -> None:
    rng = np.random.default_rng(0)
    n = 4000
    posterior, residual = 10.0 ** rng.uniform(-5, -1, n), 10.0 ** rng.uniform(-5, -1, n)
    parts = VarianceParts(posterior, residual, np.full(n, 1e3))
    errors = KindCalibration(a, b, c).deviations(parts) * rng.standard_normal(n)
    found = fit_kind([HeldOutLabels("forces", errors, parts)], noise=0.02)
    assert found is not None
    assert found.posterior == pytest.approx(a, rel=0.1)
    assert found.residual == pytest.approx(b, rel=0.15)
    assert found.floor == pytest.approx(c, rel=0.3)
    size = np.abs(errors) / found.deviations(parts)
    assert np.mean(size < 0.9945) == pytest.approx(0.68, abs=0.02)
    assert np.mean(size < 1.96) == pytest.approx(0.95, abs=0.01)


def test_a_residual_part_that_says_nothing_about_the_errors_does_not_hide_the_posterior() -> None:
    """Near the data it is often the jitter of the kernel: as large everywhere as the amplitude is."""
    rng = np.random.default_rng(5)
    posterior = 10.0 ** rng.uniform(-5, -1, 2000)
    parts = VarianceParts(posterior, np.ones(2000), np.full(2000, 1e9))
    found = fit_kind(
        [HeldOutLabels("energy", 3.0 * np.sqrt(posterior) * rng.standard_normal(2000), parts)], 0.01
    )
    assert found is not None
    sharp = found.deviations(parts) / np.sqrt(posterior)
    assert sharp.max() / sharp.min() < 1.5
    unknown = VarianceParts(np.zeros(1), np.full(1, 1e9), np.full(1, 1e9))
    assert found.deviations(unknown)[0] == pytest.approx(1e9**0.5, rel=1e-3)


def test_single_wrong_labels_do_not_decide() -> None:
    rng = np.random.default_rng(1)
    parts = VarianceParts(np.full(1000, 0.01), np.zeros(1000), np.ones(1000))
    errors = 0.1 * rng.standard_normal(1000)
    errors[:3] = 50.0
    found = fit_kind([HeldOutLabels("forces", errors, parts)], noise=0.01)
    assert found is not None
    assert found.deviations(parts)[0] == pytest.approx(0.1, rel=0.1)


def test_few_labels_and_labels_of_symmetry_do_not_count() -> None:
    few = VarianceParts(np.ones(5), np.ones(5), np.ones(5))
    assert fit_kind([HeldOutLabels("energy", np.ones(5), few)], noise=1.0) is None
    rng = np.random.default_rng(2)
    variances = np.concatenate([np.full(500, 0.01), np.zeros(500)])
    parts = VarianceParts(variances, np.zeros(1000), np.concatenate([np.ones(500), np.zeros(500)]))
    errors = np.sqrt(variances) * rng.standard_normal(1000)
    found = fit_kind([HeldOutLabels("forces", errors, parts)], noise=0.01)
    assert found is not None
    assert found.deviations(parts)[0] == pytest.approx(0.1, rel=0.1)


def test_scale_one_for_data_of_the_process_itself() -> None:
    """Labels drawn from the predictive distribution: its own raw deviations are right.

    One draw has as many degrees of freedom as there are sparse points, so scales scatter; their mean square
    does not.
    """
    settings = {"soap": [{"amplitude": 1.0}], "calibrate": False}
    gap = castile.GAP(settings, **OPTIONS, **FIXED, pair=False, composition={"Cu": 0.0}).fit(copper_set(6))
    frames = [metal(200 + k, lattice=3.4 + 0.06 * k, rattle=0.25) for k in range(12)]
    draws: list[list[Atoms]] = []

    def collect(calc: object) -> float:
        labelled = [atoms.copy() for atoms in frames]
        for atoms in labelled:
            atoms.calc = calc
            results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            atoms.calc = SinglePointCalculator(atoms, **results)
        draws.append(labelled)
        return 0.0

    gap.deviation_of(collect, n_samples=24)
    raw = np.concatenate([gap.predict_with_uncertainty(a, method="exact").forces_std for a in frames[::3]])
    scales = []
    for drawn in draws[1:]:
        model = castile.GAP()._take(gap.outcome_)
        result = calibrate(model, drawn)
        assert (result.n_structures, result.seen) == (12, ())
        found = [model.predict_with_uncertainty(a, method="exact").forces_std for a in frames[::3]]
        scales.append(np.median(np.concatenate(found) / raw))
    assert np.sqrt(np.mean(np.square(scales))) == pytest.approx(1.0, abs=0.2)


def test_structures_of_the_training_set_are_left_out() -> None:
    data = copper_set(12)
    gap = castile.GAP(**OPTIONS).fit(data[:8])
    names = [f"structure {k}" for k in range(3)]
    result = calibrate(gap, data[5:])
    assert len(result.seen) == 3
    assert result.n_structures == 4
    assert set(result.seen) <= {*names, *(f"structure {k}" for k in range(8))}
    with pytest.raises(castile.InputError, match="3 structures were in the training set"):
        calibrate(gap, data[5:8])


def test_every_fit_calibrates_itself_and_updates_renew_it() -> None:
    data = copper_set(12)
    gap = castile.GAP(**OPTIONS).fit(data)
    calibration = gap.outcome_.calibration
    assert "held-out errors of 12 of 12" in calibration.source
    assert calibration.forces.posterior > 0.0
    assert "calibrated on held-out errors" in gap.predict_with_uncertainty(metal(9)).meaning
    after_two = gap.update(copper_set(14)[12:]).outcome_.calibration
    assert after_two.forces == calibration.forces
    assert "too few structures came with a later update" in after_two.source
    assert "castile calibrate MODEL DATA" in after_two.source
    assert len(gap.training_fingerprints) == 14
    renewed = gap.update(copper_set(22)[14:]).outcome_.calibration
    assert (renewed.n_structures, renewed.n_updated) == (20, 8)
    assert renewed.source.endswith("and on held-out errors of 8 structures of updates")
    assert renewed.forces != calibration.forces
    again = gap.update(copper_set(30)[22:]).outcome_.calibration
    assert again.source.endswith("and on held-out errors of 16 structures of updates")
    assert Calibration.from_header(json.loads(json.dumps(again.to_header()))) == again
    raw = castile.GAP({"calibrate": False}, **OPTIONS).fit(data)
    assert raw.outcome_.calibration.source == "not calibrated"


@pytest.mark.parametrize("n_new", [6, 10])
def test_an_update_keeps_the_calibration_of_kinds_that_it_does_not_label(n_new: int) -> None:
    """Six energies are too few for any; ten renew that of energies only."""
    gap = castile.GAP(**OPTIONS).fit(copper_set(12))
    before = gap.outcome_.calibration
    energies = copper_set(12 + n_new, forces=False, stress=False)[12:]
    after = gap.update(energies, allow_missing=["forces", "stress"]).outcome_.calibration
    for kind in ("forces", "stress"):
        old, new = getattr(before, kind), getattr(after, kind)
        assert new.posterior == pytest.approx(old.posterior)
        assert new.residual == pytest.approx(old.residual)
        assert new.floor == pytest.approx(old.floor)
    assert (after.energy == before.energy) == (n_new == 6)
    assert after.n_updated == (0 if n_new == 6 else 10)
    assert ("too few" in after.source) == (n_new == 6)


def test_an_update_with_larger_errors_makes_deviations_larger() -> None:
    gap = castile.GAP({"calibrate": True}, **OPTIONS, **FIXED).fit(copper_set(10))
    noisy = copper_set(22)[10:]
    rng = np.random.default_rng(0)
    for atoms in noisy:
        atoms.calc.results["forces"] = atoms.get_forces() + rng.normal(0.0, 1.0, (len(atoms), 3))
    before = gap.predict_with_uncertainty(metal(9), method="exact").forces_std.max()
    gap.update(noisy)
    assert gap.predict_with_uncertainty(metal(9), method="exact").forces_std.max() > 2.0 * before


def test_stress_labels_in_a_wrong_order_are_told_and_do_not_count() -> None:
    data = copper_set(12)
    for atoms in data[4:]:
        atoms.info["config_type"] = "swapped"
        atoms.calc.results["stress"] = atoms.get_stress()[[0, 1, 2, 4, 3, 5]]
    given = {"energy_noise": 0.01, "force_noise": 0.01, "stress_noise": 0.05}
    calibration = castile.GAP(**OPTIONS, **given).fit(data).uncertainty.calibration
    (remark,) = calibration.remarks
    assert "of config_type swapped seem to be in the order xx yy zz xz yz xy" in remark
    right = castile.GAP(**OPTIONS, **given).fit(copper_set(12)).uncertainty.calibration
    assert right.remarks == ()


def test_similar_structures_leave_together() -> None:
    rng = np.random.default_rng(3)
    fingerprints = rng.normal(size=(30, 8))
    fingerprints[20:] = fingerprints[:10] + 1e-4 * rng.normal(size=(10, 8))
    blocks = choose_blocks(fingerprints, 100, 0)
    assert sorted(index for block in blocks for index in block) == list(range(30))
    for k in range(10):
        assert any({k, 20 + k} <= set(block) for block in blocks)


@pytest.mark.parametrize("n_distances", [10**6, 1])
def test_structures_with_many_like_them_are_left_out_as_often_as_others(
    monkeypatch: pytest.MonkeyPatch, n_distances: int
) -> None:
    """Of 160 structures half are in groups of four; both halves are as likely, also where few are parted."""
    monkeypatch.setattr(hold_out_plan, "MOST_DISTANCES", n_distances)
    rng = np.random.default_rng(4)
    alone, groups = rng.normal(size=(80, 8)), np.repeat(rng.normal(size=(20, 8)), 4, axis=0)
    fingerprints = np.concatenate([alone, groups + 1e-5 * rng.normal(size=(80, 8))])
    chosen = [
        index for seed in range(60) for block in choose_blocks(fingerprints, 16, seed) for index in block
    ]
    assert np.mean(np.array(chosen) < 80) == pytest.approx(0.5, abs=0.06)


def test_structures_too_large_for_exact_deviations_do_not_stop_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"cutoff": 4.0, "n_max": 4, "l_max": 3, "n_sparse": 12}
    expected = castile.GAP(**settings).fit(alloy_set()).predict(alloy_set()[0]).energy
    monkeypatch.setattr(soap_functionals, "MAX_BYTES", 1000)
    model = castile.GAP(**settings).fit(alloy_set())
    assert model.predict(alloy_set()[0]).energy == pytest.approx(expected, rel=1e-12)
    assert any("take too much memory" in remark for remark in model.outcome_.calibration.remarks)


def test_structures_that_cannot_be_predicted_do_not_stop_a_fit() -> None:
    """Atoms that coincide, which the reader was told to accept, leave the force of their place unknown."""
    data = copper_set(24)
    results, close = data[7].calc.results, data[7].copy()
    close.positions[1] = close.positions[0] + (0.0, 0.0, 0.01)
    close.calc = SinglePointCalculator(close, **results)
    data[7] = close
    gap = castile.GAP(**OPTIONS).fit(StructureSource(data, smallest_distance=0.0))
    local = gap.uncertainty.calibration.local
    assert local is not None
    assert np.flatnonzero(np.isnan(local.forces)).tolist() == [7]
    assert np.isfinite(gap.predict_with_uncertainty(data[3]).forces_std).all()


def test_structures_whose_forces_are_all_excluded_have_other_labels() -> None:
    others = [labelled(metal(100 + k, lattice=3.5 + 0.02 * k)) for k in range(24)]
    for atoms in others[:12]:
        atoms.arrays["force_mask"] = np.ones(len(atoms), dtype=bool)
    calibration = calibrate(castile.GAP(**OPTIONS).fit(copper_set(12)), others).calibration
    assert calibration.local is not None
    assert np.isfinite(calibration.local.ratios["energy"]).all()
    assert np.isnan(calibration.local.ratios["forces"]).tolist() == 12 * [True] + 12 * [False]
