"""Features do not depend on how a path is written down."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from barriers.examples import rocksalt_path
from castile.barriers import Featurizer, MigrationPath
from castile.barriers.host_features import outer_electrons
from castile.barriers.ionic_band import PairPotential, ionic_band
from castile.barriers.ions import formal_charges
from castile.barriers.site_potential import CUTOFF, DAMPING, site_potential
from castile.barriers.surroundings import Surroundings, host_chemistry, moving_ion, surroundings
from castile.errors import InputError
from castile.numerics.ionic_band import pair_energy

GENERATOR = np.random.default_rng(3)
MATRIX = Rotation.from_euler("xyz", [0.3, 1.1, 2.0]).as_matrix()


def uneven() -> MigrationPath:
    """A path without any symmetry."""
    path = rocksalt_path("Li", "O", 4.5, "uneven")
    host = path.host.copy()
    host.positions += GENERATOR.normal(0.0, 0.08, host.positions.shape)
    return replace(path, host=host, track=path.track + GENERATOR.normal(0.0, 0.05, path.track.shape))


def rotated(path: MigrationPath) -> MigrationPath:
    host = path.host.copy()
    host.set_cell(host.cell.array @ MATRIX.T)
    host.positions = host.positions @ MATRIX.T
    return replace(path, host=host, track=path.track @ MATRIX.T)


def translated(path: MigrationPath) -> MigrationPath:
    host = path.host.copy()
    host.positions += [1.3, -2.0, 7.1]
    host.wrap()
    return replace(path, host=host, track=path.track + np.array([1.3, -2.0, 7.1]))


def shuffled(path: MigrationPath) -> MigrationPath:
    return replace(path, host=path.host[GENERATOR.permutation(len(path.host))])


def in_supercell(path: MigrationPath) -> MigrationPath:
    return replace(path, host=path.host.repeat((2, 1, 1)))


CHANGES = {
    "reversed": MigrationPath.reversed,
    "rotated": rotated,
    "translated": translated,
    "shuffled": shuffled,
    "supercell": in_supercell,
}


@pytest.mark.parametrize("name", CHANGES)
def test_features_are_invariant(name: str) -> None:
    path = uneven()
    before, after = Featurizer().one(path), Featurizer().one(CHANGES[name](path))
    assert before.names == after.names
    for block, expected in zip(after.soap, before.soap, strict=True):
        np.testing.assert_allclose(block, expected, atol=1e-10)
    np.testing.assert_allclose(after.physical, before.physical, atol=1e-6)


def test_features_tell_paths_apart() -> None:
    one, other = Featurizer().one(uneven()), Featurizer().one(rocksalt_path("Na", "O", 4.5, "b"))
    assert np.abs(one.physical - other.physical).max() > 0.1
    for block, another in zip(one.soap, other.soap, strict=True):
        assert np.abs(block - another).max() > 0.01


def test_unseen_elements_have_features() -> None:
    path = uneven()
    host = path.host.copy()
    host.numbers[:3] = [96, 2, 57]
    assert np.isfinite(Featurizer().one(replace(path, host=host, mobile=87)).physical).all()


def test_molecule_and_coincident_atoms_have_features() -> None:
    path = uneven()
    free = Atoms(path.host.numbers, path.host.positions)
    assert np.isfinite(Featurizer().one(replace(path, host=free)).physical).all()
    double = path.host + path.host[:1]
    assert np.isfinite(Featurizer().one(replace(path, host=double)).physical).all()


def test_nothing_near_is_an_error() -> None:
    lonely = Atoms("O", positions=[[50.0, 0.0, 0.0]])
    path = MigrationPath("lonely", lonely, 3, np.array([[0.0, 0, 0], [2.0, 0, 0]]))
    with pytest.raises(InputError, match="lonely"):
        Featurizer().one(path)


def test_formal_charges_are_those_of_chemistry() -> None:
    # LiFePO4 without partners for O; P is bound to O
    numbers = [3, 26, 15, 8, 8, 8, 8]
    charges = formal_charges(numbers, [0, 0, 8, 0, 0, 0, 0])
    np.testing.assert_allclose(charges, [1, 2, 5, -2, -2, -2, -2])
    np.testing.assert_allclose(formal_charges([3, 27, 8, 8], [0, 0, 0, 0]), [1, 3, -2, -2])


def test_surroundings_agree_with_brute_force() -> None:
    path = uneven()
    points = path.points(5)
    around = surroundings(path, host_chemistry(path.host), points, 6.0)
    repeated = path.host.repeat((5, 5, 5))
    repeated.positions -= 2 * path.host.cell.array.sum(axis=0)
    for point in points:
        expected = np.sort(np.linalg.norm(repeated.positions - point, axis=1))
        found = np.sort(np.linalg.norm(around.positions - point, axis=1))
        n_inside = int((expected < 6.0).sum())
        np.testing.assert_allclose(found[:n_inside], expected[:n_inside])


def test_force_of_the_pair_potential_is_its_slope() -> None:
    positions = np.array([[2.0, 0.3, 0.1], [-1.5, 1.0, 0.2], [0.1, -2.2, 0.4]])
    arguments = (
        np.array([-3.0, 2.0, -1.0]), np.array([1.0, 0.5, 0.2]), np.array([2.0, 2.2, 1.9]), 0.35, 4.5,
    )  # fmt: skip
    point, force, scratch = np.array([0.1, 0.2, 0.0]), np.zeros(3), np.zeros(3)
    pair_energy(point, positions, *arguments, force)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        ahead = pair_energy(point + step, positions, *arguments, scratch)
        behind = pair_energy(point - step, positions, *arguments, scratch)
        assert force[axis] == pytest.approx(-(ahead - behind) / 2e-5, rel=1e-6)


def test_site_potential_agrees_with_madelung() -> None:
    cell = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(7)
    center = cell.positions[np.argmin(np.linalg.norm(cell.positions - cell.positions.mean(axis=0), axis=1))]
    charges = np.where(cell.numbers == 11, 1.0, -1.0)
    away = np.linalg.norm(cell.positions - center, axis=1) > 1e-6
    own = float(charges[~away][0])
    around = Surroundings(cell.positions[away], cell.numbers[away].astype(np.int64), charges[away])
    itself = own * (erfc(DAMPING * CUTOFF) / CUTOFF + 2.0 * DAMPING / np.sqrt(np.pi))
    expected = -own * 1.747565 / 2.82
    assert site_potential(around, center[None])[0] - itself == pytest.approx(expected, rel=0.01)


def test_outer_electrons_are_groups() -> None:
    numbers = np.array([3, 8, 22, 26, 30, 42, 74, 79])
    np.testing.assert_array_equal(outer_electrons(numbers), [1, 6, 4, 8, 12, 6, 6, 11])


def test_relaxed_band_is_not_above_the_line() -> None:
    path = uneven()
    ion, points = moving_ion(path), path.points(11)
    around = surroundings(path, host_chemistry(path.host), points, 9.0)
    relaxed = ionic_band(ion, around, points, PairPotential())
    straight = ionic_band(ion, around, points, PairPotential(), n_steps=0)
    assert relaxed.energies.max() < straight.energies.max()
    assert np.linalg.norm(relaxed.positions - points, axis=1).max() <= 1.5 + 1e-9


def test_atom_on_the_line_is_seen_like_one_beside_it() -> None:
    path = rocksalt_path("Na", "S", 5.7, "p")
    middle = path.points(3)[1]
    on, beside, without = (
        Featurizer().one(replace(path, host=host))
        for host in (path.host + Atoms("H", [middle]), path.host + Atoms("H", [middle + 0.003]), path.host)
    )
    for k in range(len(on.soap)):
        assert np.abs(on.soap[k] - beside.soap[k]).max() < 0.01
        assert np.abs(on.soap[k] - without.soap[k]).max() > 0.1
