"""Deviations that follow the errors on similar structures: factors, where they act, and what keeps them."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.evaluation.calibrate import calibrate
from castile.potentials import hold_out_calibration, local_errors
from castile.potentials.calibration import Calibration, KindCalibration, VarianceParts
from castile.potentials.calibration_fit import fit_kind, fit_local
from castile.potentials.environment import Environment
from castile.potentials.held_out import HeldOutLabels
from castile.potentials.hold_out_calibration import _joined_errors
from castile.potentials.local_errors import LocalErrors, Place, factor_of
from castile.potentials.mean_soap import MeanSoap
from castile.potentials.model_io import _read_local_errors
from castile.potentials.soap_functionals import full_spectra
from castile.potentials.soap_term import SoapTerm
from castile.potentials.uncertainty import UncertaintyModel
from potentials.examples import alloy_set, copper_set, labelled, metal

OPTIONS = {"cutoff": 3.93, "n_max": 4, "l_max": 3, "n_sparse": 16, "threads": 1, "core": False}


def scattered(n: int = 40, size: int = 6, seed: int = 0) -> LocalErrors:
    rng = np.random.default_rng(seed)
    ratios, levels = rng.uniform(0.1, 3.0, n), np.exp(rng.normal(size=n))
    means = rng.normal(size=(n, size))
    return LocalErrors(means, rng.uniform(0.5, 1.5, n), {"energy": ratios}, {"energy": levels})


def without_forces(means: np.ndarray, *errors: dict[str, np.ndarray]) -> LocalErrors:
    """Local errors of crystals whose forces are all zero."""
    return LocalErrors(means, np.zeros(len(means)), *errors)


def factor(local: LocalErrors, mean: np.ndarray, level: float = 1.0, force: float = 1.0) -> float:
    return float(local.factors("energy", Place(mean, force), np.array([level]))[0])


def slow_factor(mean: np.ndarray, level: float, force: float, local: LocalErrors, width: float) -> float:
    """The factor of the docstring, term by term."""
    above, below, least = 1.0, 1.0, 0.1 * np.median(local.forces)
    known = zip(local.means, local.forces, local.ratios["energy"], local.levels["energy"], strict=True)
    for other, own_force, ratio, own in known:
        squares = np.sum((other - mean) ** 2) / width**2 + np.log(level / own) ** 2
        squares += np.log((force + least) / (own_force + least)) ** 2 / 0.4**2
        weight = np.exp(-squares / 2.0)
        above, below = above + weight * ratio, below + weight
    return float(above / below)


def test_factors_are_those_of_the_formula() -> None:
    local = scattered()
    others = np.linalg.norm(local.means[:, None] - local.means[None], axis=2) + np.diag(np.full(40, np.inf))
    assert local.width == pytest.approx(1.2 * np.median(np.sort(others, axis=1)[:, 5]), rel=1e-9)
    for mean in np.random.default_rng(1).normal(size=(5, 6)):
        for level, force in ((0.2, 0.9), (1.0, 0.0), (4.0, 2.0)):
            expected = slow_factor(mean, level, force, local, local.width)
            assert factor(local, mean, level, force) == pytest.approx(expected, rel=1e-9)


def test_a_structure_that_is_left_out_does_not_know_its_own_error() -> None:
    local = scattered()
    for k in (0, 7, 39):
        means = local.means.copy()
        means[k] = 1e6
        far = LocalErrors(means, local.forces, local.ratios, local.levels)
        found = factor_of(*local.sums_without("energy", k, np.array([0.7])))
        assert found[0] == pytest.approx(
            slow_factor(local.means[k], 0.7, local.forces[k], far, local.width), rel=1e-7
        )


def test_far_from_all_and_with_few_structures_there_is_no_factor() -> None:
    local = scattered()
    assert factor(local, np.full(6, 1e3)) == 1.0
    assert factor(local, local.means[0], 1e9) == pytest.approx(1.0, abs=1e-12)
    assert factor(local, local.means[0], force=1e3) == pytest.approx(1.0, abs=1e-12)
    for n in (0, 1, 2, local_errors.LEAST_STRUCTURES - 1):
        assert factor(scattered(n), np.zeros(6)) == 1.0
    missing = np.where(np.arange(40) < local_errors.LEAST_STRUCTURES - 1, local.ratios["energy"], np.nan)
    few = LocalErrors(local.means, local.forces, {"energy": missing}, local.levels)
    assert factor(few, local.means[0]) == 1.0
    assert (local.factors("stress", Place(local.means[0], 1.0), np.ones(6)) == 1.0).all()


def test_forces_of_files_of_earlier_versions_are_not_known_and_do_not_count() -> None:
    local = scattered()
    unknown = LocalErrors(local.means, np.full(40, np.nan), local.ratios, local.levels)
    alike = LocalErrors(local.means, np.full(40, 0.3), local.ratios, local.levels)
    assert unknown.width == pytest.approx(0.7 / 1.2 * alike.width, rel=1e-12)
    for mean in np.random.default_rng(1).normal(size=(3, 6)):
        expected = slow_factor(mean, 1.0, 0.3, alike, unknown.width)
        assert factor(unknown, mean, force=5.0) == pytest.approx(expected, rel=1e-12)
        assert factor(unknown, mean, force=0.0) == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(unknown.joined(local).sums_without("energy", 3, np.ones(1))).all()
    arrays = {
        "calibration.means": local.means,
        "calibration.ratios.energy": local.ratios["energy"],
        "calibration.levels.energy": local.levels["energy"],
    }
    found = _read_local_errors(arrays)
    assert found is not None
    assert factor(found, local.means[0]) == factor(unknown, local.means[0])


def test_structures_that_are_all_the_same_give_finite_factors() -> None:
    levels = {"energy": np.ones(30)}
    same = without_forces(np.ones((30, 6)), {"energy": np.full(30, 0.5)}, levels)
    assert factor(same, np.ones(6), force=0.0) == pytest.approx(15.0 / 30.0, rel=0.05)
    assert np.isfinite(same.sums_without("energy", 3, np.ones(1))).all()
    perfect = without_forces(same.means, {"energy": np.zeros(30)}, levels)
    assert factor(perfect, np.ones(6), force=0.0) == local_errors.RANGE[0]


def two_groups(n: int = 200) -> tuple[np.ndarray, list[HeldOutLabels]]:
    """Places and labels of two kinds of structure: errors of one are ten times larger, which nothing but its
    place tells.
    """
    rng = np.random.default_rng(0)
    known = rng.integers(0, 2, n)
    means = rng.normal(size=(n, 5)) * 0.3 + 4.0 * known[:, None]
    parts = VarianceParts(np.full(1, 1e-12), np.zeros(1), np.ones(1))
    errors = np.where(known == 1, 0.2, 0.02) * rng.standard_normal(n)
    return means, [HeldOutLabels("energy", errors[[k]], parts, structure=k) for k in range(n)]


def fitted_to_two_groups() -> tuple[KindCalibration, list[HeldOutLabels], LocalErrors]:
    """Calibration of all of them, the labels, and their local errors."""
    means, labels = two_groups()
    kind = fit_kind(labels, 0.1)
    assert kind is not None
    return kind, labels, fit_local(kind, labels, without_forces(means))


def test_two_kinds_of_structure_are_covered_each() -> None:
    kind, labels, local = fitted_to_two_groups()
    plain = kind.deviations(labels[0].parts)
    assert 0.04 < plain[0] < 0.15
    rng = np.random.default_rng(1)
    for group, size in ((0, 0.02), (1, 0.2)):
        places = rng.normal(size=(50, 5)) * 0.3 + 4.0 * group
        found = [plain[0] * local.factors("energy", Place(place, 0.0), plain)[0] for place in places]
        assert np.median(found) == pytest.approx(size, rel=0.5)
    # a structure at the place of the good ones that is unlike them says so by its deviation
    assert local.factors("energy", Place(np.zeros(5), 0.0), plain)[0] < 0.5
    assert local.factors("energy", Place(np.zeros(5), 0.0), 50.0 * plain)[0] == pytest.approx(1.0, abs=0.1)
    # far from both it is the calibration of all
    assert local.factors("energy", Place(np.full(5, 50.0), 0.0), plain)[0] == 1.0


def test_held_out_errors_are_covered_with_the_factors_of_others() -> None:
    kind, labels, local = fitted_to_two_groups()
    level = kind.deviations(labels[0].parts)
    sigmas = [level[0] * factor_of(*local.sums_without("energy", k, level))[0] for k in range(len(labels))]
    ratios = np.sort([abs(label.errors[0]) for label in labels] / np.array(sigmas))
    quantiles = ratios[round(0.68 * 201) - 1] / 0.9945 * ratios[round(0.95 * 201) - 1] / 1.96
    assert quantiles == pytest.approx(1.0, abs=0.05)


def test_errors_that_are_zero_leave_finite_deviations() -> None:
    parts = VarianceParts(np.full(1, 1e-12), np.zeros(1), np.ones(1))
    labels = [HeldOutLabels("energy", np.zeros(1), parts, structure=k) for k in range(60)]
    kind = fit_kind(labels, 0.1)
    assert kind is not None
    local = fit_local(kind, labels, without_forces(np.random.default_rng(0).normal(size=(60, 4))))
    assert np.isfinite(local.ratios["energy"]).all()
    assert kind.deviations(parts)[0] > 0.0


def test_forces_that_symmetry_makes_zero_do_not_calibrate() -> None:
    """Strained crystals with one atom in the cell: their forces are rounding, and say nothing."""
    train = []
    rng = np.random.default_rng(0)
    for _ in range(24):
        atoms = bulk("Cu", a=3.65)
        strain = rng.normal(0.0, 0.03, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        train.append(labelled(atoms))
    gap = castile.GAP(**OPTIONS).fit(train)
    energy, forces = gap.uncertainty.calibration.energy, gap.uncertainty.calibration.forces
    assert (forces.posterior, forces.residual) == (energy.posterior, energy.residual)


def test_some_components_of_a_force_may_say_nothing() -> None:
    """Symmetry makes components zero; the deviation of the force is that of all three."""
    rng = np.random.default_rng(0)
    parts = VarianceParts(np.tile([1e-4, 4e-4, 0.0], 2), np.zeros(6), np.tile([1.0, 1.0, 0.0], 2))
    labels = [
        HeldOutLabels("forces", rng.normal(0.0, 0.02, 6) * np.tile([1, 1, 0], 2), parts, structure=k)
        for k in range(40)
    ]
    kind = fit_kind(labels, 0.01)
    assert kind is not None
    local = fit_local(kind, labels, without_forces(rng.normal(size=(40, 4))))
    expected = np.sqrt(np.mean(kind.deviations(parts)[:3] ** 2))
    np.testing.assert_allclose(local.levels["forces"], expected, rtol=1e-12)
    assert np.isfinite(local.ratios["forces"]).all()


def test_local_factors_leave_the_prior_far_from_all_data() -> None:
    unknown = VarianceParts(np.zeros(1), np.full(1, 9.0), np.full(1, 9.0))
    found = KindCalibration(2.0, 0.5, 0.1).deviations(unknown, factor=0.2)
    assert found[0] == pytest.approx(3.0, rel=1e-3)


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
    found = gap.uncertainty.place_of(atoms)
    turned = atoms.copy()
    turned.rotate(37.0, (1.0, 2.0, 0.5), rotate_cell=True)
    for same in (atoms.repeat((2, 1, 2)), turned, atoms[[2, 0, 3, 1]]):
        other = gap.uncertainty.place_of(same)
        np.testing.assert_allclose(other.mean, found.mean, atol=1e-9)
        assert other.force == pytest.approx(found.force, rel=1e-9)
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
    np.testing.assert_allclose(found, uncertainty.place_of(atoms).mean, rtol=1e-9, atol=1e-12)


KINDS = {"energy": 2.0, "forces": 3.0, "stress": 1.5}
"""Ratios of errors to deviations near a structure."""


def with_factor(uncertainty: UncertaintyModel, atoms: Atoms) -> UncertaintyModel:
    """A model whose errors near ``atoms`` are larger."""
    near = uncertainty.place_of(atoms)
    assert near is not None
    rng = np.random.default_rng(0)
    means = np.concatenate([near.mean + 1e-3 * rng.normal(size=(24, 48)), rng.normal(size=(16, 48))])
    found = uncertainty.predict(atoms, "exact")
    levels = {
        "energy": found.energy_std / len(atoms),
        "forces": np.sqrt(np.mean(found.forces_std**2)),
        "stress": np.sqrt(np.mean(found.stress_std**2)),
    }
    local = LocalErrors(
        means,
        np.full(40, near.force),
        {kind: np.repeat([ratio, 1.0], [24, 16]) for kind, ratio in KINDS.items()},
        {kind: np.full(40, level) for kind, level in levels.items()},
    )
    return replace(uncertainty, calibration=replace(uncertainty.calibration, local=local))


def test_exact_deviations_and_those_of_a_committee_have_the_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_errors, "LEVEL_WIDTH", 1e6)
    plain = castile.GAP(**OPTIONS).fit(copper_set(12)).uncertainty
    atoms = metal(40, rattle=0.15)
    local = with_factor(plain, atoms)
    factors = {kind: (1.0 + 24.0 * ratio) / 25.0 for kind, ratio in KINDS.items()}
    kinds = {
        kind: KindCalibration(*(factor * value for value in astuple(getattr(plain.calibration, kind))))
        for kind, factor in factors.items()
    }
    scaled = replace(plain, calibration=replace(plain.calibration, local=None, **kinds))
    for method, tolerance in (("exact", 5e-3), ("committee", 0.02)):
        found, expected = local.predict(atoms, method), scaled.predict(atoms, method)
        assert found.energy_std == pytest.approx(expected.energy_std, rel=5e-3)
        np.testing.assert_allclose(found.energies_std, expected.energies_std, rtol=5e-3)
        np.testing.assert_allclose(found.forces_std, expected.forces_std, rtol=tolerance)
        np.testing.assert_allclose(found.stress_std, expected.stress_std, rtol=tolerance)
        assert found.energy_std > 1.2 * plain.predict(atoms, method).energy_std
    assert local.energy_deviations(atoms).energy_std == pytest.approx(
        scaled.energy_deviations(atoms).energy_std, rel=5e-3
    )


@pytest.mark.parametrize("method", ["exact", "committee"])
def test_the_factors_keep_the_symmetries(method: str) -> None:
    """Rotations, relabelling and supercells change no factor; nor do they change energies of atoms by one."""
    plain = castile.GAP(**OPTIONS).fit(copper_set(12)).uncertainty
    atoms = metal(40, rattle=0.15)
    local = with_factor(plain, metal(41, rattle=0.15))

    def factors(same: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Deviations with the factors over those without."""
        with_them, without = local.predict(same, method), plain.predict(same, method)
        return tuple(
            getattr(with_them, name) / getattr(without, name)
            for name in ("energies_std", "forces_std", "stress_std")
        )

    energies, forces, stress = factors(atoms)
    assert energies.min() > 1.1
    assert forces.min() > 1.1
    turned, order = atoms.copy(), [2, 0, 3, 1]
    turned.rotate(37.0, (1.0, 2.0, 0.5), rotate_cell=True)
    # members of a committee are no rotations of each other; s of each component is its own
    tolerance = 5e-3 if method == "exact" else 0.2
    np.testing.assert_allclose(factors(turned)[0], energies, rtol=1e-5)
    np.testing.assert_allclose(factors(turned)[1], forces, rtol=tolerance)
    np.testing.assert_allclose(factors(turned)[2], stress, rtol=tolerance)
    np.testing.assert_allclose(factors(atoms[order])[0], energies[order], rtol=1e-5)
    np.testing.assert_allclose(factors(atoms[order])[1], forces[order], rtol=1e-5)
    np.testing.assert_allclose(factors(atoms.repeat((2, 1, 1)))[0], np.tile(energies, 2), rtol=1e-5)


def test_factors_do_not_jump_along_a_path() -> None:
    local = with_factor(castile.GAP(**OPTIONS).fit(copper_set(12)).uncertainty, metal(40, rattle=0.15))
    start, end = metal(3), metal(40, rattle=0.15)
    found = []
    for x in np.linspace(0.0, 1.0, 41):
        image = start.copy()
        image.positions += x * (end.positions - start.positions)
        found.append(np.ravel(local.predict(image, "exact").forces_std))
    steps = np.abs(np.diff(np.log(found), axis=0))
    assert steps.max() < 0.5


def test_variances_of_energies_are_the_diagonal_of_their_covariance() -> None:
    local = with_factor(castile.GAP(**OPTIONS).fit(copper_set(12)).uncertainty, metal(40, rattle=0.15))
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
    level = np.median(local.levels["forces"], keepdims=True)
    assert local.factors("forces", gap.uncertainty.place_of(atoms), level)[0] != 1.0
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
    near, far = (
        joined.factors(
            "forces", loaded.uncertainty.place_of(metal(77, lattice=a)), joined.levels["forces"][[k]]
        )
        for a, k in ((5.05, -1), (3.7, 3))
    )
    assert near[0] > 2.0 * far[0]


def test_an_update_keeps_how_old_errors_differ_and_not_their_size() -> None:
    """The factor between averaged and old deviations says nothing about errors near old structures."""
    first, second = scattered(30, seed=0), scattered(30, seed=1)
    small, large = KindCalibration(1.0, 1.0, 0.1), KindCalibration(3.0, 3.0, 0.3)
    parts = VarianceParts(np.full(1, 0.04), np.zeros(1), np.ones(1))
    before, new, averaged = (
        Calibration(energy=kind, local=local)
        for kind, local in ((small, first), (large, second), (KindCalibration(2.0, 2.0, 0.2), None))
    )
    joined = _joined_errors(before, new, averaged, [HeldOutLabels("energy", np.ones(1), parts)])
    assert joined is not None
    np.testing.assert_array_equal(joined.ratios["energy"][:30], first.ratios["energy"])
    np.testing.assert_allclose(joined.ratios["energy"][30:], 1.5 * second.ratios["energy"])
    np.testing.assert_allclose(joined.levels["energy"][:30], 2.0 * first.levels["energy"])
    np.testing.assert_allclose(joined.levels["energy"][30:], second.levels["energy"] / 1.5)


def test_the_newest_structures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_errors, "MOST_STRUCTURES", 50)
    first, second = scattered(40, seed=0), scattered(30, seed=1).with_kind("forces", *np.ones((2, 30)))
    joined = first.joined(second.scaled({"energy": 2.0}, {"energy": 0.5}))
    np.testing.assert_array_equal(joined.means, np.concatenate([first.means[-20:], second.means]))
    np.testing.assert_array_equal(joined.ratios["energy"][20:], 2.0 * second.ratios["energy"])
    np.testing.assert_array_equal(joined.levels["energy"][20:], 0.5 * second.levels["energy"])
    assert np.isnan(joined.ratios["forces"][:20]).all()


def test_the_command_calibrate_makes_them_too() -> None:
    gap = castile.GAP(**OPTIONS).fit(copper_set(12))
    others = [labelled(metal(100 + k, lattice=3.5 + 0.02 * k)) for k in range(24)]
    result = calibrate(gap, others)
    assert result.calibration.local is not None
    assert len(result.calibration.local.means) == 24
    np.testing.assert_allclose(result.calibration.local.means[5], gap.uncertainty.place_of(others[5]).mean)


def test_of_many_structures_some_make_the_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_out_calibration, "MOST_STRUCTURES", 30)
    gap = castile.GAP(**OPTIONS).fit(copper_set(12))
    result = calibrate(gap, [labelled(metal(100 + k, lattice=3.5 + 0.01 * k)) for k in range(45)])
    assert result.calibration.n_structures == 45
    assert result.calibration.local is not None
    assert len(result.calibration.local.means) == 30
    assert np.isfinite(result.calibration.local.ratios["forces"]).all()


def test_models_without_soap_have_none() -> None:
    gap = castile.GAP({"soap": []}, threads=1, core=False).fit(copper_set(24))
    assert gap.uncertainty.calibration.local is None
    assert gap.uncertainty.place_of(metal(1)) is None
    assert gap.predict_with_uncertainty(metal(1)).energy_std > 0.0
