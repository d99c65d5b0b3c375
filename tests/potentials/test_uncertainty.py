"""Standard deviations against a dense Gaussian process, finite differences, and each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

import castile
from castile.errors import InputError
from castile.potentials.calibration import RAW, Calibration, KindCalibration
from castile.potentials.environment import Environment
from castile.potentials.exact_variance import exact_variances, prior_of, term_columns
from castile.potentials.open_variance import JITTER, open_variance
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.training_rows import trainable_terms
from castile.regression import PriorBlock, factor_prior, fit_exact
from potentials.examples import alloy_set, copper_set, metal, structures
from potentials.test_dense_oracle import (
    AMPLITUDE,
    ENERGY_NOISE,
    FORCE_NOISE,
    OPTIONS,
    ZETA,
    Functionals,
    clusters,
)

SMALL: dict[str, Any] = {"cutoff": 3.93, "n_max": 4, "l_max": 3, "n_sparse": 16, "threads": 1}
_FITTED: dict[str, castile.GAP] = {}
CELLS = structures()


def fitted(name: str) -> castile.GAP:
    """An alloy model: zeta 2 by kernels, zeta 2 by quadratic forms, or a zeta that is not whole."""
    options = {
        "kernels": SMALL,
        "forms": SMALL | {"channels": 1, "n_max": 3, "l_max": 2, "n_sparse": 80, "zeta": 2.0},
        "broken zeta": SMALL | {"zeta": 2.5},
    }
    if name not in _FITTED:
        _FITTED[name] = castile.GAP(**options[name], core=False).fit(alloy_set(20))
    return _FITTED[name]


@pytest.fixture(params=["kernels", "forms", "broken zeta"])
def gap(request: pytest.FixtureRequest) -> castile.GAP:
    return fitted(request.param)


def test_exact_variances_are_those_of_a_dense_process() -> None:
    *train, test = clusters(5)
    settings = {
        "soap": [{"radial_scaling": "none", "cutoff_function": "smooth"}],
        "jitter": 1e-12, "use_stress": False, "calibrate": False,
    }  # fmt: skip
    gap = castile.GAP(
        settings, **OPTIONS, zeta=ZETA, n_sparse=32, amplitude=AMPLITUDE, radial_basis="gto", pair=False,
        core=False, composition={"Cu": 0.0}, energy_noise=ENERGY_NOISE, force_noise=FORCE_NOISE, threads=1,
    ).fit(train)  # fmt: skip
    soap = castile.SOAP(**OPTIONS, cutoff_function="smooth", species=["Cu"], threads=1)
    functionals = [Functionals(atoms, soap) for atoms in train]
    noises = [np.append(ENERGY_NOISE**2 * len(a), np.full(3 * len(a), FORCE_NOISE**2)) for a in train]
    K = np.block([[a.covariance(b) for b in functionals] for a in functionals])
    exact = fit_exact(K, np.zeros(len(K)), np.concatenate(noises))
    star = Functionals(test, soap)
    covariance = exact.covariance(np.hstack([star.covariance(b) for b in functionals]), star.covariance(star))
    found = gap.predict_with_uncertainty(test, method="exact")
    assert found.energy_std**2 == pytest.approx(covariance[0, 0], rel=1e-4)
    np.testing.assert_allclose(found.forces_std.ravel() ** 2, np.diag(covariance)[1:], rtol=1e-3, atol=1e-10)


@pytest.mark.parametrize("cell", ["crystal", "skewed", "cluster"])
def test_prior_variances_are_derivatives_of_the_prior_covariance(gap: castile.GAP, cell: str) -> None:
    """var(-dE/dx) = d2 cov(E(x), E(x')) / dx dx' by finite differences of total energies."""
    atoms, step = CELLS[cell], 3e-3
    uncertainty = gap.uncertainty
    environment = Environment.of(atoms, uncertainty.model.cutoff)
    prior = prior_of(uncertainty.terms, environment)
    moves = [(0, 0), (1, 2)]
    for atom, axis in moves:
        moved = []
        for sign in (1.0, -1.0):
            copy = atoms.copy()
            copy.positions[atom, axis] += sign * step
            moved.append(copy)
        assert _prior_of_difference(gap, moved) / (2 * step) ** 2 == pytest.approx(
            prior.forces[3 * atom + axis], rel=2e-3
        )
    if atoms.cell.rank == 3:
        strained = []
        for sign in (1.0, -1.0):
            strain = np.eye(3) + sign * step * np.diag([0.0, 1.0, 0.0])
            copy = atoms.copy()
            copy.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            strained.append(copy)
        assert _prior_of_difference(gap, strained) / (2 * step) ** 2 == pytest.approx(
            prior.virial[1], rel=2e-3
        )


def _prior_of_difference(gap: castile.GAP, pair: list[Atoms]) -> float:
    from castile.potentials.exact_variance import energy_covariance

    uncertainty = gap.uncertainty
    environments = [Environment.of(atoms, uncertainty.model.cutoff) for atoms in pair]
    _, _, prior = energy_covariance(uncertainty.terms, uncertainty.posterior, environments)
    return float(prior[0, 0] - 2.0 * prior[0, 1] + prior[1, 1])


def test_energy_covariance_has_the_variances_of_the_energies(gap: castile.GAP) -> None:
    frames = [metal(70, "Cu2Au2", 3.8), metal(71, "Cu4"), metal(72, "Cu2Au2", 3.8)]
    covariance = gap.energy_covariance(frames)
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    for k, atoms in enumerate(frames):
        found = gap.predict_with_uncertainty(atoms, method="exact").energy_std
        assert covariance[k, k] == pytest.approx(found**2, rel=1e-5)
    twice = gap.energy_covariance([frames[0], frames[0]], calibrated=False)
    assert twice[0, 0] - 2.0 * twice[0, 1] + twice[1, 1] == pytest.approx(0.0, abs=1e-6 * twice[0, 0])


@pytest.mark.parametrize("name", ["kernels", "forms"])
def test_committee_converges_to_exact(name: str) -> None:
    raw = castile.GAP()._take(fitted(name).outcome_).set_calibration(RAW)
    atoms = metal(60, "Cu3Au", 3.8, rattle=0.15)
    exact = raw.predict_with_uncertainty(atoms, method="exact")
    found = raw.predict_with_uncertainty(atoms, n_samples=800)
    assert found.prediction.energy == pytest.approx(exact.prediction.energy, abs=1e-9)
    np.testing.assert_allclose(found.prediction.forces, exact.prediction.forces, atol=1e-9)
    assert found.energy_std == pytest.approx(exact.energy_std, rel=0.15)
    np.testing.assert_allclose(found.energies_std, exact.energies_std, rtol=0.2)
    np.testing.assert_allclose(found.forces_std, exact.forces_std, rtol=0.15)
    np.testing.assert_allclose(found.stress_std, exact.stress_std, rtol=0.15)


def test_total_energies_of_crystals_have_the_exact_deviation_from_a_committee() -> None:
    """Samples of per-atom energies on few axes would add up to almost twice as much."""
    options = SMALL | {"n_max": 6, "l_max": 4, "n_sparse": 140, "zeta": 2.0}
    gap = castile.GAP({"calibrate": False}, **options, core=False).fit(copper_set(30))
    gap.set_calibration(Calibration(energy=KindCalibration(residual=0.0)))
    for seed, lattice, rattle in ((60, 3.6, 0.15), (61, 3.75, 0.02)):
        crystal = metal(seed, "Cu4", lattice, rattle=rattle).repeat((3, 3, 3))
        exact = gap.energy_covariance([crystal])[0, 0] ** 0.5
        assert gap.predict_with_uncertainty(crystal).energy_std == pytest.approx(exact, rel=0.4)


def test_a_broken_zeta_leaves_open_what_the_next_whole_one_does() -> None:
    raw = castile.GAP()._take(fitted("broken zeta").outcome_).set_calibration(RAW)
    atoms = metal(60, "Cu3Au", 3.8, rattle=0.15)
    exact = raw.predict_with_uncertainty(atoms, method="exact")
    found = raw.predict_with_uncertainty(atoms, n_samples=800)
    for one, two in ((found.energies_std, exact.energies_std), (found.forces_std, exact.forces_std)):
        assert np.all(one > 0.85 * two)
        assert np.all(one < 1.5 * two)


def test_calibrated_committee_is_near_the_calibrated_exact_deviations(gap: castile.GAP) -> None:
    """The growth of a force is that of its atom's energy: an approximation."""
    atoms = metal(60, "Cu3Au", 3.8, rattle=0.15)
    exact = gap.predict_with_uncertainty(atoms, method="exact")
    found = gap.predict_with_uncertainty(atoms, n_samples=200)
    np.testing.assert_allclose(found.forces_std, exact.forces_std, rtol=0.6)


def test_sampled_potentials_have_the_exact_covariance(gap: castile.GAP) -> None:
    raw = castile.GAP()._take(gap.outcome_).set_calibration(RAW)
    frames = [metal(62, "Cu2Au2", 3.8), metal(63, "Cu3Au", 3.9)]
    C = raw.energy_covariance(frames)
    found = raw.deviation_of(lambda calc: _difference(calc, frames), n_samples=300)
    assert found.std == pytest.approx(np.sqrt(C[0, 0] - 2 * C[0, 1] + C[1, 1]), rel=0.15)
    assert found.value == pytest.approx(_difference(raw.calculator(), frames), abs=1e-9)


def _difference(calc: Any, frames: list[Atoms]) -> float:
    energies = []
    for atoms in frames:
        copy = atoms.copy()
        copy.calc = calc
        energies.append(copy.get_potential_energy())
    return energies[0] - energies[1]


def test_forces_of_a_sampled_potential_are_its_derivatives(gap: castile.GAP) -> None:
    def error(calc: Any) -> float:
        atoms = metal(64, "Cu2Au2", 3.8)
        atoms.calc = calc
        force = atoms.get_forces()[0, 0]
        energies = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions[0, 0] += sign * 2e-4
            moved.calc = calc
            energies.append(moved.get_potential_energy())
        return force + (energies[0] - energies[1]) / 4e-4

    assert np.abs(gap.deviation_of(error, n_samples=3).samples).max() < 1e-4


@pytest.mark.parametrize("method", ["exact", "committee"])
def test_deviations_grow_to_the_prior(gap: castile.GAP, method: str) -> None:
    """Far from all data, although the calibration cuts what the sparse points leave open nearby."""
    calibration = Calibration(*(KindCalibration(0.5, 0.1, 1e-4) for _ in range(3)))
    model = castile.GAP()._take(gap.outcome_).set_calibration(calibration)
    near = model.predict_with_uncertainty(alloy_set(1)[0], method=method)
    strange = Atoms(
        "CuAuCuAuCu", np.random.default_rng(5).uniform(0, 2.4, (5, 3)) + [[k, 0, 0] for k in range(5)]
    )
    far = model.predict_with_uncertainty(strange, method=method)
    soap = model.uncertainty.terms[1]
    lookup = dict(zip(soap.term.elements, soap.amplitudes**2, strict=True))
    prior = np.array([lookup[z] for z in strange.numbers])
    assert np.all(far.energies_std > 3.0 * near.energies_std.max())
    assert far.extrapolation_grade.min() > 5.0 * near.extrapolation_grade.max()
    assert far.forces_std.max() > 3.0 * near.forces_std.max()
    fraction = far.energies_std / (far.extrapolation_grade * np.sqrt(prior))
    assert np.all(fraction > 0.5 * far.extrapolation_grade)


@pytest.mark.parametrize("method", ["exact", "committee"])
@pytest.mark.parametrize("name", CELLS)
def test_deviations_are_positive_numbers(gap: castile.GAP, name: str, method: str) -> None:
    found = gap.predict_with_uncertainty(CELLS[name], method=method)
    values = [found.energies_std, found.forces_std.ravel(), np.array([found.energy_std])]
    if found.stress_std is not None:
        values.append(found.stress_std)
    for value in values:
        assert np.all(np.isfinite(value))
        assert np.all(value > 0.0)
    assert np.all((found.extrapolation_grade >= 0.0) & (found.extrapolation_grade <= 1.0))
    assert (found.stress_std is None) == (found.prediction.stress is None)


@pytest.mark.parametrize("method", ["exact", "committee"])
def test_lone_atoms_and_perfect_crystals(method: str) -> None:
    gap = fitted("forms")
    lone = gap.predict_with_uncertainty(Atoms("Cu"), method=method)
    assert np.isfinite(lone.energy_std)
    assert lone.energy_std > 0.0
    assert lone.forces_fixed.all()
    perfect = gap.predict_with_uncertainty(metal(0, "Cu4", rattle=0.0), method=method)
    assert perfect.forces_fixed.all()
    assert not gap.predict_with_uncertainty(metal(0, "Cu4"), method=method).forces_fixed.any()


@pytest.mark.parametrize("method", ["exact", "committee"])
def test_invariances(gap: castile.GAP, method: str) -> None:
    atoms = CELLS["crystal"].copy()
    before = gap.predict_with_uncertainty(atoms, method=method)
    order = np.random.default_rng(0).permutation(len(atoms))
    permuted = gap.predict_with_uncertainty(atoms[order], method=method)
    np.testing.assert_allclose(permuted.energies_std, before.energies_std[order], rtol=1e-3)
    np.testing.assert_allclose(permuted.forces_std, before.forces_std[order], rtol=1e-3)
    turn = Rotation.from_rotvec([0.0, 0.0, np.pi / 2]).as_matrix()
    atoms.set_cell(atoms.cell.array @ turn, scale_atoms=False)
    atoms.positions = atoms.positions @ turn + [0.3, -1.0, 2.0]
    turned = gap.predict_with_uncertainty(atoms, method=method)
    assert turned.energy_std == pytest.approx(before.energy_std, rel=1e-3)
    np.testing.assert_allclose(turned.forces_std, before.forces_std[:, [1, 0, 2]], rtol=1e-3)
    double = gap.predict_with_uncertainty(CELLS["crystal"] * (2, 1, 1), method=method)
    np.testing.assert_allclose(double.energies_std[:4], before.energies_std, rtol=1e-3)


def test_energies_alone_are_those_of_the_committee(gap: castile.GAP) -> None:
    atoms = metal(65, "Cu2Au2", 3.8)
    alone, complete = gap.predict_with_energy_deviations(atoms), gap.predict_with_uncertainty(atoms)
    np.testing.assert_allclose(alone.energies_std, complete.energies_std)
    assert alone.energy_std == complete.energy_std
    np.testing.assert_allclose(alone.prediction.forces, complete.prediction.forces)


def test_more_data_is_more_certain() -> None:
    settings = {"soap": [{"amplitude": 1.0}], "calibrate": False}
    small = castile.GAP(
        settings, **SMALL, pair=False, energy_noise=0.01, force_noise=0.05, composition="none"
    ).fit(copper_set(3))
    larger = castile.GAP()._take(small.outcome_).update(copper_set(8)[3:])
    test = metal(66, "Cu4", 3.8)
    one, two = (model.uncertainty.variances(test) for model in (small, larger))
    assert np.all(two.energies.posterior < one.energies.posterior)
    np.testing.assert_allclose(two.energies.residual, one.energies.residual)


def test_a_file_keeps_deviations_and_fingerprints(tmp_path: Path, gap: castile.GAP) -> None:
    gap.save(tmp_path / "m.castile")
    loaded = castile.load(tmp_path / "m.castile", threads=1)
    atoms = metal(67, "Cu2Au2", 3.8)
    for method in ("exact", "committee"):
        one, two = (m.predict_with_uncertainty(atoms, method=method) for m in (gap, loaded))
        np.testing.assert_allclose(two.forces_std, one.forces_std, rtol=1e-6)
        assert two.energy_std == pytest.approx(one.energy_std, rel=1e-6)
        assert two.meaning == one.meaning
    np.testing.assert_array_equal(loaded.training_fingerprints, gap.training_fingerprints)
    assert len(loaded.training_fingerprints) == 20


def test_the_calculator_has_the_deviations() -> None:
    gap = fitted("kernels")
    atoms = metal(68, "Cu2Au2", 3.8)
    atoms.calc = gap.calculator(uncertainty=True)
    found = gap.predict_with_uncertainty(atoms)
    assert atoms.get_potential_energy() == pytest.approx(found.prediction.energy)
    np.testing.assert_array_equal(atoms.calc.results["forces_std"], found.forces_std)
    np.testing.assert_array_equal(atoms.calc.get_property("energies_std", atoms), found.energies_std)
    np.testing.assert_array_equal(atoms.calc.results["stress_std"], found.stress_std)
    assert atoms.calc.results["energy_std"] == found.energy_std
    assert "extrapolation_grade" in atoms.calc.results
    assert "forces_std" not in _results(gap.calculator())


def _results(calc: Any) -> dict[str, Any]:
    atoms = metal(68, "Cu2Au2", 3.8)
    atoms.calc = calc
    atoms.get_forces()
    return calc.results


def test_wrong_arguments_are_named() -> None:
    gap, atoms = fitted("kernels"), metal(0, "Cu4")
    with pytest.raises(InputError, match="method = 'bayes'"):
        gap.predict_with_uncertainty(atoms, method="bayes")
    with pytest.raises(InputError, match="n_samples = 1"):
        gap.predict_with_uncertainty(atoms, n_samples=1)
    with pytest.raises(InputError, match="needs one"):
        gap.predict_with_uncertainty([atoms])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="kind = 'force'"):
        gap.deviation_of(lambda calc: 0.0, kind="force")
    with pytest.raises(InputError, match="was not trained on Si"):
        gap.predict_with_uncertainty(Atoms("Si"))


def test_columns_of_blocks_without_points_have_no_amplitude() -> None:
    gap = fitted("kernels")
    entries = term_columns(trainable_terms(gap.model_.terms), gap.outcome_.posterior)
    assert [entry.columns.stop for entry in entries][-1] == len(gap.outcome_.posterior.weights)
    found = exact_variances(entries, gap.outcome_.posterior, Environment.of(metal(0, "Cu4"), 4.0))
    assert found.stress is not None


def test_an_imported_potential_has_its_prior_and_says_so(shared_data: Path) -> None:
    folder = shared_data / "gap_models" / "gap_autoplex_LiCl_2b_soap"
    gap = castile.import_gap(next(folder.glob("*.xml")))
    rock_salt = bulk("LiCl", "rocksalt", a=5.1, cubic=True)
    known = gap.predict_with_energy_deviations(rock_salt)
    strange = Atoms("LiClLi", [[0, 0, 0], [1.2, 0, 0], [0.3, 1.1, 0.2]])
    unknown = gap.predict_with_energy_deviations(strange)
    assert known.prediction.energy == pytest.approx(gap.predict(rock_salt).energy)
    assert np.all(known.energies_std > 0.0)
    assert unknown.extrapolation_grade.min() > 2.0 * known.extrapolation_grade.max()
    assert "no error bar" in known.meaning
    assert not gap.has_uncertainty
    with pytest.raises(InputError, match="imported from QUIP"):
        gap.energy_covariance([rock_salt])
    rock_salt.calc = gap.calculator(uncertainty=True)
    rock_salt.rattle(0.05, seed=0)
    rock_salt.get_forces()
    results = rock_salt.calc.results
    assert results["energies_std"] == pytest.approx(
        gap.predict_with_energy_deviations(rock_salt).energies_std
    )
    assert results["forces_std"].shape == (8, 3)
    assert results["stress_std"].shape == (6,)
    far = gap.predict_with_uncertainty(strange)
    assert far.stress_std is None
    assert far.force_deviation > 5.0 * np.sqrt((results["forces_std"] ** 2).sum(axis=1)).max()


def open_difference_variance(term: QuipSoapTerm, plus: Atoms, minus: Atoms) -> float:
    """Variance of the difference of two total energies that the sparse points leave open."""
    view = term.restricted(plus.numbers)
    features, signs = [], []
    for sign, atoms in ((1.0, plus), (-1.0, minus)):
        environment = Environment.of(atoms, term.cutoff)
        classes = view._class_of[atoms.numbers]
        order = np.argsort(classes, kind="stable")
        ordered = view.engine.sort(environment.pairs, view._channel_of[atoms.numbers], classes[order], order)
        first = int(np.count_nonzero(classes < 0))
        features.append(view.engine.chunk(ordered, first, len(atoms)).features)
        signs += [sign] * (len(atoms) - first)

    def kernel(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return term.delta**2 * np.maximum(p @ q.T + term.sigma0**2, 0.0) ** term.zeta

    p, s = np.concatenate(features), np.array(signs)
    among = kernel(view.sparse_points, view.sparse_points)
    lower = factor_prior(PriorBlock("all", slice(0, len(among)), among), JITTER).lower
    half = np.linalg.solve(lower, kernel(view.sparse_points, p) @ s)
    return float(s @ kernel(p, p) @ s - half @ half)


def test_forces_and_stress_of_an_imported_prior_are_differences_of_its_energies(shared_data: Path) -> None:
    folder = shared_data / "gap_models" / "gap_autoplex_LiCl_2b_soap"
    gap = castile.import_gap(next(folder.glob("*.xml")))
    term = next(term for term in gap.fitted_model.terms if isinstance(term, QuipSoapTerm))
    atoms = bulk("LiCl", "rocksalt", a=5.1)
    atoms.rattle(0.1, seed=1)
    found = open_variance(term, Environment.of(atoms, term.cutoff), with_forces=True)
    step = 2e-3
    moved = [atoms.copy(), atoms.copy()]
    for sign, other in zip((1.0, -1.0), moved, strict=True):
        other.positions[1, 2] += sign * step
    expected = open_difference_variance(term, *moved) / (2.0 * step) ** 2
    assert found.forces[1, 2] == pytest.approx(expected, rel=1e-2)
    assert found.forces[1, 2] < found.forces_prior[1, 2]
    strained = [atoms.copy(), atoms.copy()]
    for sign, other in zip((1.0, -1.0), strained, strict=True):
        strain = np.eye(3)
        strain[1, 2] = strain[2, 1] = 0.5 * sign * step
        other.set_cell(atoms.cell @ strain, scale_atoms=True)
    expected = open_difference_variance(term, *strained) / (2.0 * step) ** 2
    assert found.virial[3] == pytest.approx(expected, rel=1e-2)
