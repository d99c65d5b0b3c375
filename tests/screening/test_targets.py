"""Energies of a potential as targets, against the potential itself."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.errors import InputError
from castile.screening.targets import (
    PotentialTarget,
    PropertyTarget,
    RelaxationPlan,
    parse_references,
    reference_energies,
)
from evaluation.emt_model import labelled_copper
from screening.conftest import random_alloys


@pytest.fixture(scope="module")
def copper() -> list[Atoms]:
    return [bulk("Cu", "fcc", a=a, cubic=True) for a in (3.5, 3.7)]


def test_quantities_are_those_of_the_potential(gap: castile.GAP, copper: list[Atoms]) -> None:
    found = [gap.predict_with_energy_deviations(atoms) for atoms in copper]
    energies = np.array([each.prediction.energy for each in found])
    deviations = np.array([each.energy_std for each in found])
    total = PotentialTarget(gap, "energy").predict(copper)
    np.testing.assert_allclose(total.mean, energies)
    np.testing.assert_allclose(total.std, deviations)
    each = PotentialTarget(gap).predict(copper)
    np.testing.assert_allclose(each.mean, energies / 4)
    np.testing.assert_allclose(each.std, deviations / 4)
    references = reference_energies(gap, copper)
    assert references == {"Cu": pytest.approx(energies.min() / 4)}
    formation = PotentialTarget(gap, "formation_energy", references).predict(copper)
    np.testing.assert_allclose(formation.mean, (energies - energies.min()) / 4, atol=1e-12)


def test_grades_are_relative_to_the_training_data(gap: castile.GAP, copper: list[Atoms]) -> None:
    training = labelled_copper(10, noise=0.01)
    target = PotentialTarget(gap).limited_by(training)
    assert target.predict(training).grade.max() == pytest.approx(1.0)
    assert target.predict([bulk("Cu", "sc", a=2.2)]).grade[0] > 1.0
    with pytest.raises(InputError, match="grade_limit"):
        PotentialTarget(gap, grade_limit=0.0)


def test_relaxed_candidates_are_lower_and_come_back_relaxed(gap: castile.GAP) -> None:
    rattled = bulk("Cu", "fcc", a=3.6, cubic=True)
    rattled.rattle(0.08, seed=1)
    before = PotentialTarget(gap).predict([rattled])
    after = PotentialTarget(gap, relaxation=RelaxationPlan(5)).predict([rattled])
    assert after.mean[0] < before.mean[0]
    (relaxed,) = after.structures
    assert relaxed.calc is None
    assert gap.predict(relaxed).energy / 4 == pytest.approx(after.mean[0])


def test_fingerprints_tell_targets_apart(gap: castile.GAP, target: PropertyTarget) -> None:
    kinds = [
        PotentialTarget(gap), PotentialTarget(gap, "energy"), PotentialTarget(gap, grade_limit=0.5),
        PotentialTarget(gap, relaxation=RelaxationPlan(2)),
    ]  # fmt: skip
    assert len({each.fingerprint() for each in kinds}) == 4
    assert PotentialTarget(gap).fingerprint() == kinds[0].fingerprint()
    structures = random_alloys(12, 8)
    other = type(target.model)(target.model.descriptor, kernel="dot")
    assert PropertyTarget(other.fit(structures, np.arange(12.0))).fingerprint() != target.fingerprint()


def test_references_are_read_from_text() -> None:
    assert parse_references("Cu=-3.7, Au=-3.2") == {"Cu": -3.7, "Au": -3.2}
    for text in ("Cu", "Cu=x", "Q=1"):
        with pytest.raises(InputError, match="eV/atom"):
            parse_references(text)


def test_what_a_potential_cannot_give_is_refused(gap: castile.GAP) -> None:
    with pytest.raises(InputError, match="colour"):
        PotentialTarget(gap, "colour")
    with pytest.raises(InputError, match="references"):
        PotentialTarget(gap, "formation_energy")
    with pytest.raises(InputError, match="energy of Cu"):
        PotentialTarget(gap, "formation_energy", {"Au": 1.0}).predict([bulk("Cu")])
    with pytest.raises(InputError, match="several elements"):
        reference_energies(gap, [bulk("NaCl", "rocksalt", a=5.6)])
