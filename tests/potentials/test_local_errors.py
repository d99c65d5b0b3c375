"""Deviations that follow the errors on similar structures: factors, where they act, and what keeps them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import castile
from castile.evaluation.calibrate import calibrate
from castile.potentials import local_errors
from castile.potentials.calibration import Calibration, KindCalibration, VarianceParts
from castile.potentials.calibration_fit import fit_kind, fit_local
from castile.potentials.environment import Environment
from castile.potentials.held_out import HeldOutLabels
from castile.potentials.local_errors import LocalErrors
from castile.potentials.mean_soap import MeanSoap
from castile.potentials.soap_functionals import full_spectra
from castile.potentials.soap_term import SoapTerm
from castile.potentials.uncertainty import UncertaintyModel
from potentials.examples import alloy_set, copper_set, labelled, metal

OPTIONS = {"cutoff": 3.93, "n_max": 4, "l_max": 3, "n_sparse": 16, "threads": 1, "core": False}


def scattered(n: int = 40, size: int = 6, seed: int = 0) -> LocalErrors:
    rng = np.random.default_rng(seed)
    return LocalErrors(rng.normal(size=(n, size)), {"energy": rng.uniform(0.1, 3.0, n)})


def slow_factor(mean: np.ndarray, means: np.ndarray, ratios: np.ndarray, width: float) -> float:
    """The factor of the docstring, term by term."""
    above, below = np.mean(ratios), 1.0
    for known, ratio in zip(means, ratios, strict=True):
        weight = np.exp(-np.sum((known - mean) ** 2) / (2.0 * width**2))
        above, below = above + weight * ratio, below + weight
    return float(above / below / np.mean(ratios))


def test_factors_are_those_of_the_formula() -> None:
    local = scattered()
    others = np.linalg.norm(local.means[:, None] - local.means[None], axis=2) + np.diag(np.full(40, np.inf))
    assert local.width == pytest.approx(0.7 * np.median(np.sort(others, axis=1)[:, 5]), rel=1e-9)
    for mean in np.random.default_rng(1).normal(size=(5, 6)):
        expected = slow_factor(mean, local.means, local.ratios["energy"], local.width)
        assert local.factors(mean)["energy"] == pytest.approx(expected, rel=1e-10)


def test_a_structure_that_is_left_out_does_not_know_its_own_error() -> None:
    local = scattered()
    ratios = local.ratios["energy"]
    found = local.left_out(ratios)
    for k in (0, 7, 39):
        far = local.means.copy()
        far[k] = 1e6
        # without its own term, but with the mean of all
        expected = slow_factor(local.means[k], far, ratios, local.width)
        assert found[k] == pytest.approx(expected, rel=1e-8)


def test_far_from_all_and_with_few_structures_there_is_no_factor() -> None:
    local = scattered()
    assert local.factors(np.full(6, 1e3)) == {"energy": 1.0}
    few = scattered(local_errors.LEAST_STRUCTURES - 1)
    assert few.factors(few.means[0]) == {"energy": 1.0}
    missing = np.where(np.arange(40) < local_errors.LEAST_STRUCTURES - 1, local.ratios["energy"], np.nan)
    assert LocalErrors(local.means, {"energy": missing}).factors(local.means[0]) == {"energy": 1.0}


def test_structures_that_are_all_the_same_give_finite_factors() -> None:
    same = LocalErrors(np.ones((30, 6)), {"energy": np.full(30, 0.5)})
    assert same.factors(np.ones(6))["energy"] == pytest.approx(1.0)
    assert np.isfinite(same.left_out(same.ratios["energy"])).all()
    perfect = LocalErrors(same.means, {"energy": np.zeros(30)})
    assert perfect.factors(np.ones(6)) == {"energy": 1.0}


def test_two_kinds_of_structure_are_covered_each() -> None:
    """Errors of one kind are ten times larger, which nothing but its place tells."""
    rng = np.random.default_rng(0)
    known = rng.integers(0, 2, 200)
    means = rng.normal(size=(200, 5)) * 0.3 + 4.0 * known[:, None]
    sizes = np.where(known == 1, 0.2, 0.02)
    parts = VarianceParts(np.full(1, 1e-12), np.zeros(1), np.ones(1))
    labels = [
        HeldOutLabels("energy", sizes[k] * rng.standard_normal(1), parts, structure=k) for k in range(200)
    ]
    whole = fit_kind(labels, 0.1)
    assert whole is not None
    kind, ratios = fit_local(whole, labels, LocalErrors(means))
    calibration = Calibration(energy=kind, local=LocalErrors(means, {"energy": ratios}))
    for group, size in ((0, 0.02), (1, 0.2)):
        places = rng.normal(size=(50, 5)) * 0.3 + 4.0 * group
        found = [calibration.at(place).energy.deviations(parts)[0] for place in places]
        assert np.median(found) == pytest.approx(size, rel=0.5)
    assert 0.04 < whole.deviations(parts)[0] < 0.15


def test_local_factors_leave_the_prior_far_from_all_data() -> None:
    kind = KindCalibration(2.0, 0.5, 0.1).scaled(0.2)
    unknown = VarianceParts(np.zeros(1), np.full(1, 9.0), np.full(1, 9.0))
    assert kind.deviations(unknown)[0] == pytest.approx(3.0, rel=1e-3)


def test_the_projected_mean_vector_keeps_symmetries_and_distances() -> None:
    gap = castile.GAP({"calibrate": False}, **OPTIONS).fit(alloy_set(6))
    term = next(term for term in gap.fitted_model.terms if isinstance(term, SoapTerm))
    mean_soap = MeanSoap(term)

    def full(atoms: Atoms) -> np.ndarray:
        """Mean SOAP vectors of the two elements, weighted with their shares, one behind the other."""
        spectra = full_spectra(term, Environment.of(atoms, term.cutoff))
        sums = [spectra.features[spectra.elements == element].sum(axis=0) for element in (0, 1)]
        return np.concatenate(sums) / len(atoms)

    atoms = metal(3, "Cu3Au")
    found = gap.uncertainty.mean_of(atoms)
    turned = atoms.copy()
    turned.rotate(37.0, (1.0, 2.0, 0.5), rotate_cell=True)
    for same in (atoms.repeat((2, 1, 2)), turned, atoms[[2, 0, 3, 1]]):
        np.testing.assert_allclose(gap.uncertainty.mean_of(same), found, atol=1e-9)
    examples = [metal(k, name, 3.6 + 0.1 * k) for k, name in enumerate(("Cu4", "Cu3Au", "Cu2Au2", "Au4"))]
    projected = [mean_soap.of_environment(Environment.of(a, term.cutoff)) for a in examples]
    for i in range(4):
        for j in range(i):
            distance = np.linalg.norm(full(examples[i]) - full(examples[j]))
            assert np.linalg.norm(projected[i] - projected[j]) == pytest.approx(distance, rel=0.4)


@pytest.mark.parametrize("symbols", ["Cu4", "Cu3Au", "Au4"])
def test_the_committee_sees_the_same_mean_vector(symbols: str) -> None:
    """It works with the features of the elements that are present only."""
    uncertainty = castile.GAP({"calibrate": False}, **OPTIONS).fit(alloy_set(6)).uncertainty
    atoms = metal(1, symbols).repeat((2, 2, 2))
    assert uncertainty.mean_soap is not None
    response = uncertainty.committee().respond(Environment.of(atoms, 3.93), threads=2)
    assert response.spectrum is not None
    found = uncertainty.mean_soap.of_sums(response.spectrum, len(atoms))
    np.testing.assert_allclose(found, uncertainty.mean_of(atoms), rtol=1e-9, atol=1e-12)


def with_factor(uncertainty: UncertaintyModel, atoms: Atoms) -> tuple[UncertaintyModel, Calibration]:
    """A model whose errors near ``atoms`` are larger, and its calibration there without local factors."""
    near = uncertainty.mean_of(atoms)
    assert near is not None
    rng = np.random.default_rng(0)
    means = np.concatenate([near + 1e-3 * rng.normal(size=(20, 48)), rng.normal(size=(20, 48))])
    kinds = {"energy": 2.0, "forces": 3.0, "stress": 1.5}
    ratios = {kind: np.repeat([ratio, 1.0], 20) for kind, ratio in kinds.items()}
    local = replace(uncertainty.calibration, local=LocalErrors(means, ratios))
    return replace(uncertainty, calibration=local), local.at(near)


def test_exact_deviations_and_those_of_a_committee_have_the_factors() -> None:
    plain = castile.GAP(**OPTIONS).fit(copper_set(12)).uncertainty
    atoms = metal(40, rattle=0.15)
    local, at_atoms = with_factor(plain, atoms)
    assert at_atoms.forces.floor > 1.3 * plain.calibration.forces.floor
    scaled = replace(plain, calibration=at_atoms)
    for method in ("exact", "committee"):
        found, expected = local.predict(atoms, method), scaled.predict(atoms, method)
        assert found.energy_std == pytest.approx(expected.energy_std, rel=1e-4)
        np.testing.assert_allclose(found.energies_std, expected.energies_std, rtol=1e-4)
        np.testing.assert_allclose(found.forces_std, expected.forces_std, rtol=1e-3)
        np.testing.assert_allclose(found.stress_std, expected.stress_std, rtol=0.02)
        assert found.energy_std > 1.2 * plain.predict(atoms, method).energy_std
    assert local.energy_deviations(atoms).energy_std == pytest.approx(
        scaled.energy_deviations(atoms).energy_std, rel=1e-4
    )


def test_variances_of_energies_are_the_diagonal_of_their_covariance() -> None:
    local, _ = with_factor(castile.GAP(**OPTIONS).fit(copper_set(12)).uncertainty, metal(40, rattle=0.15))
    frames = [metal(40, rattle=0.15), metal(3), metal(5, lattice=3.5)]
    covariance = local.energy_covariance(frames)
    deviations = [local.predict(atoms, "exact").energy_std for atoms in frames]
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), deviations, rtol=1e-8)
    assert np.linalg.eigvalsh(covariance).min() > 0.0


def test_files_keep_them_and_updates_add_to_them(tmp_path: Path) -> None:
    gap = castile.GAP(**OPTIONS).fit(copper_set(24))
    local = gap.uncertainty.calibration.local
    assert local is not None
    assert len(local.means) == 24
    gap.save(tmp_path / "m.castile")
    loaded = castile.load(tmp_path / "m.castile")
    atoms = metal(40, lattice=3.9)
    assert local.factors(gap.uncertainty.mean_of(atoms))["forces"] != 1.0
    for method in ("exact", "committee"):
        before = gap.predict_with_uncertainty(atoms, method=method)
        after = loaded.predict_with_uncertainty(atoms, method=method)
        assert after.energy_std == before.energy_std
        np.testing.assert_array_equal(after.forces_std, before.forces_std)
    noisy = copper_set(34)[24:]
    rng = np.random.default_rng(0)
    for k, frame in enumerate(noisy):
        noisy[k] = labelled(metal(k, lattice=5.0 + 0.01 * k))
        noisy[k].calc.results["forces"] = frame.get_forces() + rng.normal(0.0, 1.0, (len(frame), 3))
    loaded.update(noisy)
    joined = loaded.uncertainty.calibration.local
    assert joined is not None
    assert len(joined.means) == 34
    near, far = (loaded.uncertainty.mean_of(metal(77, lattice=a)) for a in (5.05, 3.7))
    assert joined.factors(near)["forces"] > 2.0 * joined.factors(far)["forces"]


def test_the_newest_structures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_errors, "MOST_STRUCTURES", 50)
    first, second = scattered(40, seed=0), scattered(30, seed=1).with_kind("forces", np.ones(30))
    joined = first.joined(second.scaled({"energy": 2.0}))
    np.testing.assert_array_equal(joined.means, np.concatenate([first.means[-20:], second.means]))
    np.testing.assert_array_equal(joined.ratios["energy"][20:], 2.0 * second.ratios["energy"])
    assert np.isnan(joined.ratios["forces"][:20]).all()


def test_the_command_calibrate_makes_them_too() -> None:
    gap = castile.GAP(**OPTIONS).fit(copper_set(12))
    others = [labelled(metal(100 + k, lattice=3.5 + 0.02 * k)) for k in range(24)]
    result = calibrate(gap, others)
    assert result.calibration.local is not None
    assert len(result.calibration.local.means) == 24
    np.testing.assert_allclose(result.calibration.local.means[5], gap.uncertainty.mean_of(others[5]))


def test_models_without_soap_have_none() -> None:
    gap = castile.GAP({"soap": []}, threads=1, core=False).fit(copper_set(24))
    assert gap.uncertainty.calibration.local is None
    assert gap.uncertainty.mean_of(metal(1)) is None
    assert gap.predict_with_uncertainty(metal(1)).energy_std > 0.0
