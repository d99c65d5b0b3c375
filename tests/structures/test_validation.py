"""Bad structures are refused with their name, index and value; odd but sound ones pass."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from castile.errors import InputError
from castile.structures import cell_volume, is_isolated_atom, validate_structure


def silicon() -> Atoms:
    return bulk("Si", cubic=True)


def with_nan_position() -> Atoms:
    atoms = silicon()
    atoms.positions[3, 1] = np.nan
    return atoms


def with_infinite_cell() -> Atoms:
    atoms = silicon()
    atoms.cell[1, 1] = np.inf
    return atoms


def with_flat_cell() -> Atoms:
    atoms = silicon()
    atoms.set_cell([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [5.0, 5.0, 0.0]])
    return atoms


def with_zero_vector() -> Atoms:
    return Atoms("Si", cell=[5.0, 0.0, 5.0], pbc=True)


def with_coincident_atoms() -> Atoms:
    return silicon() + Atoms("C", positions=[silicon().positions[2] + [0.0, 0.05, 0.05]])


def with_coincident_image() -> Atoms:
    atoms = silicon()
    return atoms + Atoms("C", positions=[atoms.positions[2] + atoms.cell.array.sum(axis=0) * 3 + 0.01])


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        (Atoms("SiX", positions=np.eye(3)[:2] * 3), r"atom 1 \(X\) has atomic number 0"),
        (with_nan_position(), r"atom 3 \(Si\) has position \[.*nan"),
        (with_infinite_cell(), "cell .*inf.* is not finite"),
        (with_flat_cell(), "linearly dependent"),
        (with_zero_vector(), "lattice vector 1 is zero"),
        (with_coincident_atoms(), r"atoms 2 \(Si\) and 8 \(C\) are 0\.0707 A"),
        (with_coincident_image(), r"atoms 2 \(Si\) and 8 \(C\) are 0\.0173 A"),
        (Atoms("Si", cell=[0.1, 5.0, 5.0], pbc=True), r"0\.1 A thick"),
        (Atoms("H2", positions=[[0, 0, 0], [0, 0, 0]]), r"0\.0000 A"),
    ],
)
def test_bad_structures_are_refused_by_name(atoms: Atoms, message: str) -> None:
    with pytest.raises(InputError, match=r"train\.xyz\[17\].*" + message):
        validate_structure(atoms, "train.xyz[17]")


@pytest.mark.parametrize(
    "atoms",
    [
        silicon(),
        Atoms("Si", cell=silicon().cell.array[[1, 0, 2]], pbc=True),
        molecule("CH3CH2OH"),
        Atoms("Si"),
        fcc111("Cu", (2, 2, 3)),
        Atoms("C", cell=[0.0, 0.0, 1.4], pbc=[False, False, True]),
        Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.3]]),
        # A primitive cell written with strongly skewed vectors: thin, though its atoms are far apart.
        Atoms("Fe", cell=np.array([[1, 0, 0], [0, 1, 0], [9, 7, 1]]) @ bulk("Fe").cell.array, pbc=True),
    ],
)
def test_odd_but_sound_structures_pass(atoms: Atoms) -> None:
    validate_structure(atoms, "a")


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 0)])
def test_overlap_agrees_with_brute_force(pbc: tuple[int, int, int]) -> None:
    """Oracle: all images within four cells, in skewed cells with atoms many cells away from the origin."""
    rng = np.random.default_rng(7)
    seen = set()
    for _ in range(40):
        cell = 3.0 * np.eye(3) + np.tril(rng.uniform(-6.0, 6.0, size=(3, 3)), -1)
        atoms = Atoms("He4", positions=rng.normal(scale=6.0, size=(4, 3)), cell=cell, pbc=pbc)
        atoms.positions[3] = atoms.positions[0] + rng.normal(scale=0.12, size=3)
        atoms.positions[3] += rng.integers(-2, 3, size=3) * np.array(pbc) @ cell
        overlaps = _smallest_distance(atoms) < 0.2
        seen.add(overlaps)
        assert _is_refused(atoms) == overlaps
    assert seen == {True, False}


def _smallest_distance(atoms: Atoms) -> float:
    """Closest pair by trying every image."""
    ranges = [np.arange(-4, 5) if periodic else np.zeros(1) for periodic in atoms.pbc]
    shifts = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    smallest = np.inf
    for i in range(len(atoms)):
        for j in range(i):
            fractional = (atoms.positions[i] - atoms.positions[j]) @ np.linalg.inv(atoms.cell.array)
            fractional -= np.where(atoms.pbc, np.round(fractional), 0.0)
            distances = np.linalg.norm((fractional + shifts) @ atoms.cell.array, axis=1)
            smallest = min(smallest, float(distances.min()))
    return smallest


def _is_refused(atoms: Atoms) -> bool:
    try:
        validate_structure(atoms, "a")
    except InputError:
        return True
    return False


def test_smallest_distance_can_be_set() -> None:
    validate_structure(with_coincident_atoms(), "a", smallest_distance=0.0)
    with pytest.raises(InputError, match=r"closer than 2\.5 A"):
        validate_structure(silicon(), "a", smallest_distance=2.5)


def test_volume() -> None:
    left_handed = Atoms("Si", cell=silicon().cell.array[[1, 0, 2]], pbc=True)
    assert cell_volume(left_handed) == pytest.approx(silicon().get_volume())
    assert cell_volume(molecule("H2O")) == 0.0
    assert cell_volume(with_flat_cell()) == 0.0


@pytest.mark.parametrize(
    ("atoms", "isolated"),
    [
        (Atoms("Si"), True),
        (Atoms("Si", cell=[20.0, 20.0, 20.0], pbc=True), True),
        (Atoms("Si", cell=[20.0, 20.0, 7.9], pbc=True), False),
        (Atoms("Si", cell=[20.0, 20.0, 7.9], pbc=[True, True, False]), True),
        (Atoms("Si", cell=[[10.0, 0, 0], [0, 10.0, 0], [10.0, 10.0, 4.0]], pbc=True), False),
        (Atoms("Si2", positions=[[0, 0, 0], [9.0, 0, 0]]), False),
        (bulk("Si"), False),
    ],
)
def test_isolated_atoms(atoms: Atoms, isolated: bool) -> None:
    assert is_isolated_atom(atoms) is isolated
