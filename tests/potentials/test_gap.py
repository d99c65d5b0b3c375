"""Fits of GAP: the same whatever the order of work, from any mix of labels, updated, saved and loaded."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

import castile
from castile.errors import FitError, InputError, ModelFileError, NotFittedError
from castile.potentials.fit_report import FitReport
from castile.potentials.learning import noise_scales
from castile.regression import EvidenceResult, Noise
from potentials.examples import alloy_set, copper_set, labelled, metal

SMALL = {"cutoff": 4.0, "n_max": 4, "l_max": 3, "n_sparse": 12, "threads": 1}


def small(**options: object) -> castile.GAP:
    return castile.GAP(**{**SMALL, **options})


@pytest.fixture(scope="module")
def copper() -> castile.GAP:
    return small().fit(copper_set())


def relabelled(atoms: Atoms, **results: object) -> Atoms:
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


# ------------------------------------------------------------------ the same result whatever the way


GIVEN = {"amplitude": 1.0, "energy_noise": 0.001, "force_noise": 0.01, "stress_noise": 0.001}


def test_the_same_seed_gives_the_same_bits() -> None:
    data, test = alloy_set(), metal(50, "Cu2Au2")
    first, again = (small().fit(data).predict(test) for _ in range(2))
    assert again.energy == first.energy
    np.testing.assert_array_equal(again.forces, first.forces)


def test_the_number_of_threads_does_not_matter() -> None:
    """With given noise and amplitude; learning them amplifies BLAS's rounding, far below their own errors."""
    data, test = alloy_set(), metal(50, "Cu2Au2")
    for options, tolerance in ((GIVEN | {"pair": False}, 1e-9), ({}, 1e-4)):
        one, two = (small(threads=threads, **options).fit(data).predict(test) for threads in (1, 2))
        assert two.energy == pytest.approx(one.energy, abs=tolerance)
        np.testing.assert_allclose(two.forces, one.forces, atol=tolerance)


def test_the_seed_matters_for_random_selection() -> None:
    data, test = copper_set(), metal(50)
    one, two = (small(selection="random", seed=seed, n_sparse=5).fit(data).predict(test) for seed in (1, 2))
    assert one.energy != two.energy


@pytest.mark.parametrize("selection", ["farthest", "cur", "kmeans", "random"])
def test_every_selection_fits(selection: str) -> None:
    gap = small(selection=selection, n_sparse=8).fit(copper_set())
    assert len(gap.model_.weights[-1]) == 8
    assert np.isfinite(gap.predict(metal(9)).energy)


@pytest.mark.parametrize("relearn", [False, True])
def test_update_is_a_refit_on_all_data(relearn: bool) -> None:
    data, test = alloy_set(10), metal(50, "Cu2Au2")
    updated = small().fit(data[:6]).update(data[6:], relearn=relearn)
    refitted = small().fit(data[:6]).refit(data, relearn=relearn)
    one, two = updated.predict(test), refitted.predict(test)
    assert one.energy == pytest.approx(two.energy, abs=1e-6)
    np.testing.assert_allclose(one.forces, two.forces, atol=1e-6)
    assert updated.fit_report_.log_evidence == pytest.approx(refitted.fit_report_.log_evidence, abs=1e-5)


def test_update_of_a_loaded_model_and_a_new_kind_of_label(tmp_path: Path) -> None:
    data = copper_set(8)
    model = small().fit(copper_set(5, stress=False))
    model.save(tmp_path / "m.castile")
    loaded = castile.load(tmp_path / "m.castile", threads=1).update(data[5:])
    direct = model.update(data[5:])
    assert {noise.kind for noise in loaded.fit_report_.noises} == {"energy", "forces", "stress"}
    assert loaded.predict(metal(9)).energy == pytest.approx(direct.predict(metal(9)).energy, abs=1e-9)


def test_update_refuses_a_new_element(copper: castile.GAP) -> None:
    with pytest.raises(InputError, match="structure 0: holds Au, which the model was not fitted to"):
        castile.GAP()._take(copper.outcome_).update(alloy_set(2)[1:])


def test_the_complete_settings_give_the_same_model(tmp_path: Path) -> None:
    from castile.potentials.settings import write_settings

    data = alloy_set()
    gap = castile.GAP(n_max=4, l_max=3, threads=1).fit(data)
    write_settings(tmp_path / "s.toml", gap.settings_)
    again = castile.GAP(tmp_path / "s.toml", threads=1).fit(data)
    assert again.settings_ == gap.settings_
    assert again.predict(data[0]).energy == gap.predict(data[0]).energy


# ------------------------------------------------------------------ files


def test_a_saved_model_predicts_the_same_bits(tmp_path: Path, copper: castile.GAP) -> None:
    path = tmp_path / "copper.castile"
    copper.save(path)
    loaded = castile.load(path, threads=1)
    for seed in range(3):
        atoms = metal(20 + seed)
        one, two = copper.predict(atoms), loaded.predict(atoms)
        assert one.energy == two.energy
        np.testing.assert_array_equal(one.forces, two.forces)
        np.testing.assert_array_equal(one.stress, two.stress)
    assert loaded.settings_ == copper.settings_
    assert loaded.fit_report_ == copper.fit_report_
    loaded.save(tmp_path / "again.castile")
    assert castile.load(tmp_path / "again.castile").predict(atoms).energy == one.energy


@pytest.mark.parametrize("damage", ["truncated", "edited", "empty", "text"])
def test_damaged_files_say_so(tmp_path: Path, copper: castile.GAP, damage: str) -> None:
    path = tmp_path / "copper.castile"
    copper.save(path)
    content = path.read_bytes()
    edited = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "edited": edited, "empty": b"", "text": b"hello"}[damage]
    )
    with pytest.raises(ModelFileError, match=r"copper\.castile"):
        castile.load(path)


def test_a_model_that_predicts_other_numbers_is_refused(tmp_path: Path, copper: castile.GAP) -> None:
    from castile.formats import read_model_file, write_model_file

    path = tmp_path / "copper.castile"
    copper.save(path)
    content = read_model_file(path)
    arrays = {name: np.array(values) for name, values in content.arrays.items()}
    arrays["term0.weights"] *= 1.01
    write_model_file(path, content.header, arrays)
    with pytest.raises(ModelFileError, match="reference structure"):
        castile.load(path)
    assert castile.load(path, verify=False).predict(metal(1)).energy


# ------------------------------------------------------------------ data of every kind


def test_energies_only() -> None:
    gap = small().fit(copper_set(8, forces=False, stress=False))
    assert [noise.kind for noise in gap.fit_report_.noises] == ["energy"]
    energies = [a.get_potential_energy() for a in copper_set(8)]
    errors = [gap.predict(a).energy - e for a, e in zip(copper_set(8), energies, strict=True)]
    assert np.std(errors) < 0.2 * np.std(energies)


def test_forces_only() -> None:
    gap = small().fit(copper_set(8, energy=False, stress=False))
    assert gap.fit_report_.composition_source == "no energies in the data: zero"
    test = labelled(metal(30, lattice=3.65))
    assert np.sqrt(np.mean((gap.predict(test).forces - test.get_forces()) ** 2)) < 0.1


def test_one_structure_and_one_atom() -> None:
    gap = small().fit(copper_set(1))
    assert np.isfinite(gap.predict(metal(3)).energy)
    lone = Atoms("Cu")
    lone.info["energy"] = -3.2
    alone = small().fit(lone)
    assert alone.predict(lone).energy == pytest.approx(-3.2, abs=1e-6)


def test_isolated_atoms_with_others_need_no_forces() -> None:
    lone = Atoms("Cu", cell=[15.0] * 3, pbc=True)
    lone.info["energy"] = 3.5
    gap = small().fit([*copper_set(), lone])
    assert dict(gap.fit_report_.composition)["Cu"] == 3.5
    squares = small(composition="least_squares").fit([*copper_set(), lone])
    assert squares.fit_report_.composition_source.startswith("least squares over 7")


def test_an_isolated_atom_that_is_asked_for_must_be_there() -> None:
    with pytest.raises(FitError, match="isolated atom of Cu"):
        small(composition="isolated").fit(copper_set())
    with pytest.raises(InputError, match="no energy of Au"):
        small(composition={"Cu": 0.0}).fit(alloy_set(3))


def test_duplicates_and_rank_deficiency_fit() -> None:
    atoms = labelled(metal(1))
    gap = small(n_sparse=200).fit([atoms] * 5)
    assert len(gap.model_.weights[-1]) <= 4
    assert gap.predict(atoms).energy == pytest.approx(atoms.get_potential_energy(), abs=0.02)
    perfect = labelled(metal(0, rattle=0.0))
    assert np.isfinite(small().fit([perfect, perfect * 2][:1]).predict(perfect).energy)


def test_a_duplicate_counts_like_a_smaller_noise() -> None:
    options = {
        "energy_noise": 0.01,
        "force_noise": 0.1,
        "stress_noise": 0.01,
        "amplitude": 1.0,
        "pair": False,
    }
    options["n_sparse"] = 16
    data, test = copper_set(4), metal(50)
    twice = small(**options).fit([*data, *data])
    finer = {key: value / np.sqrt(2.0) if "noise" in key else value for key, value in options.items()}
    once = small(**finer).fit(data)
    assert twice.predict(test).energy == pytest.approx(once.predict(test).energy, abs=1e-5)


def test_masked_forces_are_not_seen() -> None:
    data = copper_set(4)
    spoiled = []
    for atoms in data:
        forces = atoms.get_forces()
        forces[2] = 1000.0
        copy = relabelled(atoms, energy=atoms.get_potential_energy(), forces=forces)
        copy.arrays["force_mask"] = np.arange(4) == 2
        spoiled.append(copy)
    gap = small().fit(spoiled)
    assert gap.fit_report_.noise("forces").n_labels == 4 * 9
    assert np.abs(gap.predict(data[0]).forces).max() < 10.0


def test_all_forces_masked_and_no_energy_is_an_error() -> None:
    atoms = labelled(metal(1), energy=False, stress=False)
    atoms.arrays["force_mask"] = np.ones(4, dtype=bool)
    with pytest.raises(castile.CastileError, match=r"label|force"):
        small().fit(atoms)


def test_noise_of_a_kind_of_structure_and_of_a_structure() -> None:
    data = copper_set(6)
    for k, atoms in enumerate(data):
        atoms.info["config_type"] = "rough" if k % 2 else "fine"
    settings = {"noise": {"config_types": {"rough": {"energy": 50.0, "forces": 50.0, "stress": 50.0}}}}
    rough = small(settings=settings).fit(data)
    only = small().fit(data[::2])
    assert {noise.kind for noise in rough.fit_report_.noises} == {"energy", "forces", "stress", "fixed"}
    assert rough.fit_report_.noise("forces").n_labels == only.fit_report_.noise("forces").n_labels
    for atoms in data:
        atoms.info["energy_sigma"] = 0.003
        atoms.arrays["force_atom_sigma"] = np.linspace(0.01, 0.02, 4)
    absolute = small().fit(data)
    kinds = {noise.kind: noise.n_labels for noise in absolute.fit_report_.noises}
    assert kinds == {"stress": 36, "fixed": 6 + 72}


def test_given_sigmas_are_the_same_however_they_are_given() -> None:
    data, test = copper_set(4, stress=False), metal(50)
    fixed = {"amplitude": 1.0, "pair": False}
    by_option = small(energy_noise=0.01, force_noise=0.1, **fixed).fit(data).predict(test)
    for atoms in data:
        atoms.info["energy_sigma"] = 0.01 * np.sqrt(len(atoms))
        atoms.info["force_sigma"] = 0.1
    by_structure = small(**fixed).fit(data).predict(test)
    assert by_structure.energy == pytest.approx(by_option.energy, abs=1e-8)
    np.testing.assert_allclose(by_structure.forces, by_option.forces, atol=1e-8)


def test_energy_noise_learned_beside_forces_is_scaled_and_says_so() -> None:
    data, options = copper_set(6), small().get_params()
    one = castile.GAP(**options | {"settings": {"noise": {"energy_factor": 1.0}}}).fit(data).fit_report_
    half = castile.GAP(**options | {"settings": {"noise": {"energy_factor": 0.5}}}).fit(data).fit_report_
    assert half.noise("energy").sigma == pytest.approx(0.5 * one.noise("energy").sigma, rel=1e-6)
    assert half.noise("forces").sigma == pytest.approx(one.noise("forces").sigma, rel=1e-6)
    assert [(noise.kind, noise.factor) for noise in half.noises] == [
        ("energy", 0.5), ("forces", 1.0), ("stress", 1.0),
    ]  # fmt: skip
    assert small(energy_noise=0.01).fit(data).fit_report_.noise("energy").factor == 1.0
    alone = small().fit(copper_set(6, forces=False, stress=False)).fit_report_
    assert alone.noise("energy").factor == 1.0


def test_learned_energy_noise_is_held_by_that_of_the_forces() -> None:
    nan = float("nan")
    for energy, factor in ((0.02, 0.3), (0.1, 0.3), (0.5, 0.06)):  # the forces have 0.1 eV/A
        sigmas = (energy, 0.1)
        result = EvidenceResult(("energy", "forces"), sigmas, (), (), (), nan, (), (), 1, 1, True, "")
        learned = [Noise("energy", None, True), Noise("forces", None, True)]
        assert noise_scales(learned, 0.3, result) == [pytest.approx(factor), 1.0]
        given = [Noise("energy", energy, False), Noise("forces", None, True)]
        assert noise_scales(given, 0.3, result) == [1.0, 1.0]


def test_half_present_labels_need_a_word() -> None:
    data = [*copper_set(3), *copper_set(2, energy=False)]
    with pytest.raises(InputError, match="--allow-missing energy"):
        small().fit(data)
    model = small(allow_missing=["energy"]).fit(data)
    assert model.fit_report_.noise("energy").n_labels == 3
    assert model.update(data).fit_report_.noise("energy").n_labels == 6


def test_half_present_labels_of_an_update_need_a_word(copper: castile.GAP) -> None:
    data = [*copper_set(2), *copper_set(2, energy=False)]
    model = castile.GAP()._take(copper.outcome_)
    with pytest.raises(InputError, match="--allow-missing energy"):
        model.update(data)
    n_labels = copper.fit_report_.noise("energy").n_labels
    assert model.update(data, allow_missing=["energy"]).fit_report_.noise("energy").n_labels == n_labels + 2


def test_data_without_labels_and_switched_off_labels() -> None:
    with pytest.raises(InputError, match="none of 2 structures"):
        small().fit([metal(0), metal(1)])
    with pytest.raises(FitError, match="use_energies"):
        small(settings={"use_energies": False}).fit(copper_set(2, forces=False, stress=False))
    with pytest.raises(InputError, match="nothing to fit"):
        castile.GAP({"soap": [], "pair": []}).fit(copper_set(2))


def test_a_pair_term_alone() -> None:
    gap = castile.GAP({"soap": []}, threads=1).fit(copper_set())
    assert [term.name for term in gap.model_.terms] == ["pair"]
    assert np.isfinite(gap.predict(metal(2)).energy)


def test_memory_cap_lowers_the_sparse_points_or_says_how_much_is_needed() -> None:
    plans = []
    data = [labelled(metal(k) * (3, 2, 2)) for k in range(20)]
    capped = castile.GAP(n_sparse=900, n_max=3, l_max=2, pair=False, threads=1, memory=0.43)
    capped.fit(data, on_plan=plans.append)
    plan = plans[0]
    assert plan.estimated_memory <= 0.43e9
    assert plan.settings.soap[0].n_sparse < 900
    assert any("under 0.43 GB" in note.reason for note in plan.explanations)
    with pytest.raises(FitError, match=r"--memory 0.1 GB .* needs 0\.\d+ GB"):
        small(memory=0.1).fit(copper_set())


def test_progress_plan_and_report() -> None:
    seen: list[tuple[str, float]] = []
    plans = []
    gap = small().fit(
        copper_set(),
        progress=lambda stage, done: seen.append((stage, done)),
        on_plan=lambda p: plans.append((p, len(seen))),
    )
    assert plans[0][0].n_labels == 6 * (1 + 12 + 6)
    assert "training rows" not in {stage for stage, _ in seen[: plans[0][1]]}
    assert all(0.0 <= done <= 1.0 for _, done in seen)
    assert [stage for stage, _ in gap.fit_report_.timings] == list(dict.fromkeys(stage for stage, _ in seen))
    report: FitReport = gap.fit_report_
    assert report.peak_memory > 1e7
    assert report.to_json_dict()["n_energy_labels"] == 6


# ------------------------------------------------------------------ bad input at prediction


def test_unknown_element(copper: castile.GAP) -> None:
    with pytest.raises(InputError, match="not trained on Au; it knows Cu"):
        copper.predict(metal(1, "Cu3Au"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda atoms: atoms.positions.__setitem__((1, 0), np.nan), r"atom 1 has position \[nan"),
        (lambda atoms: atoms.positions.__setitem__(1, atoms.positions[0]), "atoms 0 and 1|atoms 1 and 0"),
        (lambda atoms: atoms.set_cell([[3, 0, 0], [3, 0, 0], [0, 0, 3]]), "volume"),
        (lambda atoms: atoms.__delitem__(slice(None)), "no atoms"),
    ],
)
def test_structures_that_cannot_be_predicted(copper: castile.GAP, spoil: object, message: str) -> None:
    atoms = metal(4)
    spoil(atoms)  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as caught:
        next(iter(copper.predict_many([atoms])))
    assert "structure 0" in str(caught.value)


def test_predict_wants_one_structure(copper: castile.GAP) -> None:
    with pytest.raises(InputError, match="predict_many"):
        copper.predict([metal(1)])  # type: ignore[arg-type]


def test_not_fitted() -> None:
    with pytest.raises(NotFittedError):
        castile.GAP().predict(metal(1))


def test_predict_many_streams_in_order(copper: castile.GAP) -> None:
    frames = [metal(k, lattice=3.5 + 0.02 * k) for k in range(12)]
    threaded = castile.GAP(threads=3)._take(copper.outcome_)
    energies = [p.energy for p in threaded.predict_many(iter(frames))]
    assert energies == [copper.predict(a).energy for a in frames]


def test_models_that_share_terms_may_predict_at_once() -> None:
    """An updated model has the terms of the old one, and their tables, for other weights."""
    from concurrent.futures import ThreadPoolExecutor

    old = small().fit(alloy_set(4))
    new = small()._take(old.outcome_).update(alloy_set(8)[4:])
    assert new.model_.terms[0] is old.model_.terms[0]
    frames = [metal(k, "Cu2Au2") for k in range(4)]
    expected = [[model.predict(a).energy for a in frames] for model in (old, new)]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            (pool.submit(model.predict, a), energy)
            for _ in range(20)
            for model, energies in zip((old, new), expected, strict=True)
            for a, energy in zip(frames, energies, strict=True)
        ]
        for job, energy in jobs:
            assert job.result(30).energy == energy


def test_the_calculator_agrees(copper: castile.GAP) -> None:
    atoms = metal(7)
    expected = copper.predict(atoms)
    atoms.calc = copper.calculator()
    assert atoms.get_potential_energy() == expected.energy
    assert atoms.get_potential_energy(force_consistent=True) == expected.energy
    np.testing.assert_array_equal(atoms.get_forces(), expected.forces)
    np.testing.assert_array_equal(atoms.get_stress(), expected.stress)
    np.testing.assert_array_equal(atoms.get_potential_energies(), expected.energies)


def test_scikit_learn_can_clone_it(copper: castile.GAP) -> None:
    copy = clone(castile.GAP(cutoff=4.0, memory=2.0))
    assert copy.get_params()["cutoff"] == 4.0
    assert copy.get_params()["memory"] == 2.0
    assert repr(copy.set_params(memory=None)) == "GAP(cutoff=4.0)"
    with pytest.raises(ValueError, match="no argument 'cutof'"):
        copy.set_params(cutof=4.0)
    everything = castile.GAP({"seed": 1}, composition={"Cu": 1.0}, allow_missing=["energy"], pair=False)
    assert clone(everything).get_params() == everything.get_params()
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(clone(copper))
    check_is_fitted(copper)


def test_scikit_learn_can_search_its_arguments() -> None:
    def score(model: castile.GAP, structures: list[Atoms], y: None = None) -> float:
        return -castile.evaluate(model, structures).overall.force.rmse

    search = GridSearchCV(small(), {"n_sparse": [2, 12]}, cv=2, scoring=score).fit(copper_set(6))
    assert search.best_params_ == {"n_sparse": 12}
    best = small(n_sparse=12).fit(copper_set(6))
    predicted = search.best_estimator_.predict(metal(9)).energy
    assert predicted == pytest.approx(best.predict(metal(9)).energy, abs=1e-6)


def test_scikit_learn_is_not_imported() -> None:
    code = "import sys, castile; castile.GAP().get_params(); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
