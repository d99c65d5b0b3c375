"""What every potential must obey: checked for every part alone and for whole fitted potentials."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

import castile
import castile.potentials
from castile.potentials.environment import Environment, Rows
from castile.potentials.model_parts import CORE_CLASSES, TERM_CLASSES
from potentials.examples import EXAMPLES, VOIGT, alloy_set, copper_set, part_examples, structures

PARTS = part_examples()
GAPS = {
    "gap, channels of elements": {},
    "gap, shared channels": {"channels": 1, "zeta": 2.0},
    "gap of two soap terms": {
        "settings": {
            "soap": [
                {"name": "short", "cutoff": 3.0, "n_max": 4, "l_max": 3, "n_sparse": 8},
                {"name": "long", "cutoff": 4.0, "n_max": 3, "l_max": 2, "n_sparse": 8, "zeta": 2.5},
            ]
        }
    },
    "gap without core and pair": {"core": False, "pair": False},
}
NAMES = [*PARTS, *GAPS]
CELLS = structures()
_FITTED: dict[str, castile.GAP] = {}


def _gap(name: str) -> castile.GAP:
    if name not in _FITTED:
        options: dict[str, Any] = dict(GAPS[name])
        if "settings" not in options:
            options |= {"cutoff": 3.93, "n_max": 4, "l_max": 3, "n_sparse": 16}
        _FITTED[name] = castile.GAP(**options, threads=1).fit(alloy_set())
    return _FITTED[name]


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Any:
    return PARTS[request.param] if request.param in PARTS else _gap(request.param)


@pytest.fixture(params=CELLS)
def atoms(request: pytest.FixtureRequest) -> Atoms:
    return CELLS[request.param].copy()


def _classes_that_respond() -> Iterator[type]:
    for module in pkgutil.iter_modules(castile.potentials.__path__):
        for value in vars(import_module(f"castile.potentials.{module.name}")).values():
            if isinstance(value, type) and hasattr(value, "add_response") and hasattr(value, "restore"):
                yield value


def test_every_part_has_an_example_and_is_registered() -> None:
    found = set(_classes_that_respond())
    assert found == {*TERM_CLASSES, *CORE_CLASSES}
    assert found == set(EXAMPLES)


def test_forces_are_minus_the_derivative(model: Any, atoms: Atoms) -> None:
    forces = model.predict(atoms).forces
    step = 2e-4
    numerical = np.zeros_like(forces)
    for i in range(len(atoms)):
        for axis in range(3):
            energies = []
            for sign in (1.0, -1.0):
                moved = atoms.copy()
                moved.positions[i, axis] += sign * step
                energies.append(model.predict(moved).energy)
            numerical[i, axis] = -(energies[0] - energies[1]) / (2.0 * step)
    scale = max(1.0, float(np.abs(forces).max()))
    np.testing.assert_allclose(forces, numerical, atol=2e-6 * scale)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9 * scale)


@pytest.mark.parametrize("cell", [name for name, atoms in CELLS.items() if atoms.cell.rank == 3])
def test_stress_is_the_derivative_with_respect_to_strain(model: Any, cell: str) -> None:
    atoms = CELLS[cell]
    stress = model.predict(atoms).stress
    step, numerical = 1e-4, np.zeros(6)
    for k in range(6):
        energies = []
        for sign in (1.0, -1.0):
            strain = np.eye(3)
            strain[VOIGT[0][k], VOIGT[1][k]] += 0.5 * sign * step
            strain[VOIGT[1][k], VOIGT[0][k]] += 0.5 * sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(model.predict(strained).energy)
        numerical[k] = (energies[0] - energies[1]) / (2.0 * step) / atoms.get_volume()
    scale = max(1.0, float(np.abs(stress).max()))
    np.testing.assert_allclose(stress, numerical, atol=2e-6 * scale)


@pytest.mark.parametrize("cell", [name for name, atoms in CELLS.items() if atoms.cell.rank < 3])
def test_no_stress_without_a_volume(model: Any, cell: str) -> None:
    assert model.predict(CELLS[cell]).stress is None


def test_translation(model: Any, atoms: Atoms) -> None:
    before = model.predict(atoms)
    atoms.positions += [0.37, -5.2, 1.9]
    atoms.wrap()
    after = model.predict(atoms)
    assert after.energy == pytest.approx(before.energy, abs=1e-9)
    np.testing.assert_allclose(after.forces, before.forces, atol=1e-8)


@pytest.mark.parametrize("reflected", [False, True])
def test_rotation_and_reflection(model: Any, atoms: Atoms, reflected: bool) -> None:
    before = model.predict(atoms)
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix() * (-1.0 if reflected else 1.0)
    atoms.set_cell(atoms.cell.array @ turn, scale_atoms=False)
    atoms.positions = atoms.positions @ turn
    after = model.predict(atoms)
    assert after.energy == pytest.approx(before.energy, abs=1e-9)
    np.testing.assert_allclose(after.energies, before.energies, atol=1e-9)
    np.testing.assert_allclose(after.forces, before.forces @ turn, atol=1e-8)


def test_permutation(model: Any, atoms: Atoms) -> None:
    before = model.predict(atoms)
    order = np.random.default_rng(0).permutation(len(atoms))
    after = model.predict(atoms[order])
    assert after.energy == pytest.approx(before.energy, abs=1e-10)
    np.testing.assert_allclose(after.forces, before.forces[order], atol=1e-9)
    np.testing.assert_allclose(after.energies, before.energies[order], atol=1e-10)


@pytest.mark.parametrize("cell", ["crystal", "slab", "skewed", "primitive"])
def test_supercell(model: Any, cell: str) -> None:
    atoms = CELLS[cell]
    small, large = model.predict(atoms), model.predict(atoms * (2, 1, 1))
    assert large.energy == pytest.approx(2.0 * small.energy, abs=1e-9)
    np.testing.assert_allclose(large.forces, np.tile(small.forces, (2, 1)), atol=1e-8)
    np.testing.assert_allclose(large.stress, small.stress, atol=1e-9)


def test_energies_of_the_atoms_add_up(model: Any, atoms: Atoms) -> None:
    prediction = model.predict(atoms)
    assert prediction.energies.sum() == pytest.approx(prediction.energy, abs=1e-12)


def test_nothing_is_felt_beyond_the_cutoff(model: Any) -> None:
    cutoff = getattr(model, "cutoff", None) or model.fitted_model.cutoff
    far = [model.predict(Atoms(s, [[0, 0, 0]])).energy for s in ("Cu", "Au")]
    trimer = Atoms("CuAuCu", [[0, 0, 0], [cutoff + 0.01, 0, 0], [0, 1.01 * cutoff + 1e-3, 0]])
    apart = model.predict(trimer)
    assert apart.energy == pytest.approx(2.0 * far[0] + far[1], abs=1e-10)
    np.testing.assert_allclose(apart.forces, 0.0, atol=1e-12)


def test_energy_and_forces_are_smooth_through_the_cutoff(model: Any) -> None:
    cutoff = getattr(model, "cutoff", None) or model.fitted_model.cutoff
    # a third atom makes every term see the moving one; the distances cross the cutoff at step 200
    distances = cutoff + 1e-3 * (np.arange(401) - 200)
    energies, pulls = [], []
    for r in distances:
        prediction = model.predict(Atoms("CuCuAu", [[0, 0, 0], [r, 0, 0], [0.9, 2.1, 0]]))
        energies.append(prediction.energy)
        pulls.append(prediction.forces[1, 0])
    energies, pulls = np.array(energies), np.array(pulls)
    scale = max(1.0, float(np.abs(pulls).max()))
    numerical = -(energies[2:] - energies[:-2]) / (distances[2:] - distances[:-2])
    np.testing.assert_allclose(pulls[1:-1], numerical, atol=1e-3 * scale)
    assert np.abs(np.diff(pulls)).max() < 0.05 * scale


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if hasattr(part.part, "add_rows")])
def test_training_rows_times_weights_are_the_response(name: str, atoms: Atoms) -> None:
    part = PARTS[name]
    environment = Environment.of(atoms, part.cutoff + 0.5)
    n = part.part.n_columns
    rows = Rows(np.zeros(n), np.zeros((3 * len(atoms), n)), np.zeros((6, n)))
    part.part.add_rows(environment, rows)
    prediction = part.predict(atoms)
    scale = max(1.0, float(np.abs(prediction.forces).max()))
    assert rows.energy @ part.weights == pytest.approx(prediction.energy, abs=1e-9)
    np.testing.assert_allclose(
        (rows.forces @ part.weights).reshape(-1, 3), prediction.forces, atol=1e-8 * scale
    )
    if prediction.stress is not None:
        volume = atoms.get_volume()
        np.testing.assert_allclose(
            rows.virial @ part.weights, prediction.stress * volume, atol=1e-8 * scale * volume
        )


@pytest.mark.parametrize("name", list(PARTS))
def test_every_part_is_stored_and_restored(name: str, atoms: Atoms) -> None:
    part = PARTS[name]
    restored = type(part)(type(part.part).restore(part.part.store()), part.weights)
    before, after = part.predict(atoms), restored.predict(atoms)
    assert after.energy == before.energy
    np.testing.assert_array_equal(after.forces, before.forces)


def test_threads_give_the_same_numbers() -> None:
    large = CELLS["crystal"] * (4, 4, 4)
    gap = _gap("gap, channels of elements")
    one = gap.fitted_model.predict(large, 1)
    two = gap.fitted_model.predict(large, 3)
    assert two.energy == one.energy
    np.testing.assert_array_equal(two.forces, one.forces)


def test_lone_atoms_have_the_energy_of_their_element() -> None:
    isolated = [Atoms("Cu", cell=[20] * 3, pbc=True), Atoms("Au", [[0, 0, 0]])]
    data = [*alloy_set(), *isolated]
    for atoms, energy in zip(isolated, (3.5, 3.8), strict=True):
        atoms.info["energy"] = energy
    gap = castile.GAP(cutoff=3.9, n_max=4, l_max=3, n_sparse=16, threads=1).fit(data)
    assert gap.fit_report_.composition_source == "isolated atoms in the data"
    assert gap.predict(isolated[0]).energy == pytest.approx(3.5, abs=0.02)
    np.testing.assert_allclose(gap.predict(isolated[1]).forces, 0.0, atol=1e-12)


def test_the_fit_learns() -> None:
    """Enough data of the same kind: errors far below the spread of the labels."""
    gap = castile.GAP(cutoff=4.5, n_max=5, l_max=4, n_sparse=24, threads=1).fit(copper_set(16))
    test = copper_set(20)[16:]
    errors = [gap.predict(a).forces - a.get_forces() for a in test]
    spread = np.sqrt(np.mean([np.mean(a.get_forces() ** 2) for a in test]))
    assert np.sqrt(np.mean(np.square(errors))) < 0.1 * spread
