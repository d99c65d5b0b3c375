"""Batches, random structures and the calibration."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy.stats import norm

import castile
from castile.active.batches import choose_batch, greedy_batch
from castile.active.exploration import Candidate
from castile.active.random_structures import random_structure
from castile.active.structure_selection import select_structures
from castile.active.surprises import calibrate, make_surprise
from castile.active.surrogate import Surrogate
from castile.errors import InputError
from castile.potentials.calibration import RAW, VarianceParts
from castile.simulation import find_fused_atoms


@pytest.fixture(scope="module")
def model() -> castile.GAP:
    """A small model of copper."""
    frames = []
    for seed in range(5):
        atoms = bulk("Cu", a=3.62, cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    return castile.GAP(n_sparse=15, n_max=4, l_max=3, cutoff=4.0, pair=False).fit(frames)


def candidates() -> list[Candidate]:
    """Six structures, each three times with displacements of 1e-5 A, the most deviating ones last."""
    result = []
    for kind in range(6):
        atoms = bulk("Cu", a=3.5 + 0.08 * kind, cubic=True)
        atoms.rattle(0.1, seed=kind)
        for copy in range(3):
            near = atoms.copy()
            near.positions[0, 0] += 1e-5 * copy
            result.append(Candidate(f"{kind}/{copy}", near, 1.0 + 0.1 * kind + 0.01 * copy))
    return result


@pytest.mark.parametrize("method", ["variance", "farthest"])
def test_a_batch_has_no_near_duplicates(method: str, model: castile.GAP) -> None:
    chosen = choose_batch(candidates(), 4, method, model)
    assert chosen[0].key == "5/2"  # the largest deviation
    kinds = [candidate.key.split("/")[0] for candidate in chosen]
    assert len(set(kinds)) == len(kinds) == 4
    many = choose_batch(candidates(), 18, "variance", model)
    assert len({c.key.split("/")[0] for c in many}) == len(many) <= 6
    assert choose_batch(candidates()[:1], 4, method, model)[0].key == "0/0"
    assert choose_batch([], 4, method, model) == ()


def test_a_molecule_beside_a_model_of_stress_alone_is_left_out() -> None:
    """It has no label that the model would learn."""
    frames = [c.atoms for c in candidates()[::3]]
    for atoms in frames:
        atoms.calc = EMT()
        atoms.get_stress()
    settings = {"use_energies": False, "use_forces": False}
    gap = castile.GAP(settings, n_sparse=15, n_max=4, l_max=3, cutoff=4.0, pair=False, core=False).fit(frames)
    dimer = Candidate("dimer", Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]]), 1.0)
    chosen = choose_batch([dimer, *candidates()[::3]], 4, "variance", gap)
    assert len(chosen) > 1
    assert dimer not in chosen


def test_greedy_batch_is_that_of_conditioning_a_dense_gaussian() -> None:
    generator = np.random.default_rng(2)
    blocks = [generator.normal(size=(3, 14)) * generator.uniform(0.5, 3.0) for _ in range(9)]
    blocks.append(blocks[3] + 1e-6)
    chosen = greedy_batch(blocks, [3] * 10, 4, first=3)
    expected = [3]
    covariance = np.concatenate(blocks) @ np.concatenate(blocks).T
    while len(expected) < 4:
        gains = np.full(9, -1.0)
        rows = np.concatenate([np.arange(3 * k, 3 * k + 3) for k in expected])
        for k in set(range(9)) - set(expected):
            mine = np.arange(3 * k, 3 * k + 3)
            known = covariance[np.ix_(rows, rows)] + np.eye(len(rows))
            cross = covariance[np.ix_(mine, rows)]
            left = covariance[np.ix_(mine, mine)] - cross @ np.linalg.solve(known, cross.T)
            gains[k] = np.trace(left @ np.linalg.solve(np.eye(3) + left, left))
        expected.append(int(np.argmax(gains)))
    assert chosen == expected
    assert 9 not in greedy_batch(blocks, [3] * 10, 10, first=3)  # the near-duplicate of the first


def test_a_batch_is_the_selection_of_all_labels_given_the_model(model: castile.GAP) -> None:
    pool = candidates()[::3]
    chosen = select_structures([c.atoms for c in pool], 4, model=model, method="variance", threads=1)
    order = chosen.structures.tolist()
    first = Candidate("first", pool[order[0]].atoms, 9.0)
    others = [pool[k] for k in range(len(pool)) if k != order[0]]
    batch = choose_batch([first, *others], 4, "variance", model)
    assert [c.key for c in batch[1:]] == [pool[k].key for k in order[1:]]


@pytest.mark.parametrize("formula", ["Cu4", "Na4Cl4", "SiO2"])
def test_random_structures_keep_their_distances(formula: str) -> None:
    for seed in range(5):
        atoms = random_structure(formula, np.random.default_rng(seed), contact_fraction=0.8)
        assert atoms.symbols.formula == formula
        assert find_fused_atoms(atoms, 0.8) is None
        assert atoms.pbc.all()
    again = random_structure(formula, np.random.default_rng(4), contact_fraction=0.8)
    assert again == atoms


def test_volume_of_random_structures_and_bad_formulas() -> None:
    atoms = random_structure("Al8", np.random.default_rng(0), volume_per_atom=(30.0, 31.0))
    assert 30.0 <= atoms.get_volume() / 8 <= 31.0 * 1.2
    with pytest.raises(InputError, match="formula 'Xx2'"):
        random_structure("Xx2", np.random.default_rng(0))
    with pytest.raises(InputError, match="volume_per_atom"):
        random_structure("Al", np.random.default_rng(0), volume_per_atom=(3.0, 2.0))


def test_calibration_finds_the_factors_of_drawn_errors() -> None:
    generator = np.random.default_rng(3)
    surprises = []
    for number in range(40):
        posterior, residual = generator.uniform(0.01, 0.1, 60), generator.uniform(0.01, 1.0, 60)
        parts = VarianceParts(posterior, residual, np.full(60, 1e4))
        errors = generator.normal(size=60) * np.sqrt(2.0**2 * posterior + 0.2**2 * residual)
        surprises.append(make_surprise(number, 0.1, errors, parts))
    kind = calibrate(surprises)
    assert abs(kind.posterior - 2.0) < 0.2
    assert abs(kind.residual - 0.2) < 0.05
    assert calibrate(surprises[:2]) == RAW.forces
    few = [calibrate(surprises[start : start + 4]).posterior for start in range(0, 40, 4)]
    assert np.mean(few) > 1.1 * kind.posterior  # a scale from few errors is uncertain
    scores = np.concatenate([np.array(s.errors) / kind.deviations(s.parts) for s in surprises])
    assert abs(np.mean(np.abs(scores) < norm.ppf(0.84)) - 0.68) < 0.03


def test_surprises_compare_label_and_prediction(model: castile.GAP) -> None:
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.rattle(0.1, seed=9)
    atoms.calc = EMT()
    surrogate = Surrogate(model, RAW.forces, 1)
    surprise = surrogate.surprise_of(atoms)
    error = model.predict(atoms).forces - atoms.get_forces()
    assert surprise.mean_square_error == pytest.approx(np.mean(error**2))
    assert surprise.n_atoms == 4
    exact = model.uncertainty.variances(atoms).forces
    assert surprise.deviation == pytest.approx(
        np.sqrt((exact.posterior + exact.residual).reshape(-1, 3).sum(axis=1).max())
    )
    assert surrogate.assess(atoms).deviation == pytest.approx(surprise.deviation)
