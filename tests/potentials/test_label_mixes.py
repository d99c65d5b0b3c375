"""Every mix of labels trains: rows of one kind do not touch those of another."""

from itertools import combinations, product

import numpy as np
import pytest

import castile
from castile.descriptors.cutoffs import CosineCutoff
from castile.descriptors.radial_bases import GTO
from castile.descriptors.radial_scaling import NoScaling
from castile.descriptors.soap_engine import SoapEngine
from castile.potentials.environment import Environment, Rows
from castile.potentials.soap_term import SoapTerm
from potentials.examples import copper_set, labelled, metal

N_SPARSE = 5


def _soap_term() -> SoapTerm:
    engine = SoapEngine(
        GTO(3, 2, 4.0, 0.5), CosineCutoff(4.0, 1.0), NoScaling(), np.eye(1), np.eye(1), True, "float64"
    )
    points = np.random.default_rng(0).random((N_SPARSE, engine.n_features))
    points /= np.linalg.norm(points, axis=1)[:, None]
    return SoapTerm("soap", engine, (29,), 2.0, points, (N_SPARSE,))


def test_stress_rows_without_force_rows_stay_inside_their_arrays() -> None:
    term = _soap_term()
    environment = Environment.of(metal(0), 4.0)
    full = Rows(np.zeros(N_SPARSE), np.zeros((12, N_SPARSE)), np.zeros((6, N_SPARSE)))
    term.add_rows(environment, full)
    guarded = np.zeros((40, N_SPARSE))  # the empty force rows lie inside it, so that strays are seen
    rows = Rows(np.zeros(N_SPARSE), guarded[20:20], np.zeros((6, N_SPARSE)))
    term.add_rows(environment, rows)
    assert not guarded.any()
    np.testing.assert_allclose(rows.virial, full.virial, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(rows.energy, full.energy, rtol=1e-12)


@pytest.mark.parametrize(
    ("energy", "forces", "stress"), [mix for mix in product((True, False), repeat=3) if any(mix)]
)
def test_every_mix_of_labels_trains(energy: bool, forces: bool, stress: bool) -> None:
    structures = copper_set(8, energy=energy, forces=forces, stress=stress)
    model = castile.GAP(n_sparse=15, n_max=3, l_max=2, threads=1).fit(structures)
    reference = labelled(metal(50))
    prediction = model.predict(reference)
    assert prediction.stress is not None
    if stress or forces:
        assert np.abs(prediction.forces - reference.get_forces()).max() < 0.5
    if stress:
        assert np.abs(prediction.stress - reference.get_stress()).max() < 0.01
    if energy:
        assert abs(prediction.energy - reference.get_potential_energy()) < 0.1 * len(reference)


@pytest.mark.parametrize("n_masked", [1, 8])
def test_structures_whose_forces_are_all_masked_train(n_masked: int) -> None:
    structures = copper_set(8, stress=False)
    for atoms in structures[:n_masked]:
        atoms.arrays["force_mask"] = np.ones(len(atoms), dtype=bool)
    model = castile.GAP(n_sparse=15, n_max=3, l_max=2, threads=1).fit(structures)
    assert {noise.kind: noise.n_labels for noise in model.fit_report_.noises} == (
        {"energy": 8} if n_masked == 8 else {"energy": 8, "forces": 7 * 12}
    )
    assert np.isfinite(model.predict_with_uncertainty(metal(50)).forces_std).all()


def test_only_masked_forces_are_refused() -> None:
    structures = copper_set(3, energy=False, stress=False)
    for atoms in structures:
        atoms.arrays["force_mask"] = np.ones(len(atoms), dtype=bool)
    with pytest.raises(castile.FitError, match="all forces are masked"):
        castile.GAP(n_sparse=15, n_max=3, l_max=2, threads=1).fit(structures)


def test_terms_for_some_of_the_elements_do_not_pile_up() -> None:
    engine = SoapEngine(
        GTO(3, 2, 4.0, 0.5), CosineCutoff(4.0, 1.0), NoScaling(), np.eye(5), np.eye(5), True, "float64"
    )
    elements = (28, 29, 46, 47, 78)
    points = np.random.default_rng(0).random((30, engine.n_features))
    term = SoapTerm("soap", engine, elements, 2.0, points, (6,) * 5)
    most = 0
    for size in (1, 2, 3, 4):
        for present in combinations(elements, size):
            view = term.restricted(np.array(present))
            assert view.elements == present
            assert term.restricted(np.array(present)) is view
            kept = term.__dict__["_views"].values()
            assert sum(other.sparse_points.nbytes for other in kept) <= term.sparse_points.nbytes
            most = max(most, len(kept))
    assert most > 3


def test_one_label_that_may_be_missing_needs_no_list() -> None:
    mixed = copper_set(3) + copper_set(2, forces=False)
    model = castile.GAP(n_sparse=10, n_max=3, l_max=2, allow_missing="forces", threads=1).fit(mixed)
    assert model.fit_report_.census.forces.n_present == 3


def test_what_is_no_structure_is_named() -> None:
    with pytest.raises(castile.InputError, match="NoneType"):
        castile.GAP().fit(None)  # type: ignore[arg-type]
