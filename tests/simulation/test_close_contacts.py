"""Fused atoms are found in every kind of cell."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances

from castile.simulation.close_contacts import find_fused_atoms

ALLOWED = 0.5 * 2 * covalent_radii[14]


@pytest.mark.parametrize("pbc", [False, True, [True, True, False], [False, False, True]])
def test_pair_is_found_for_any_periodicity(pbc):
    atoms = Atoms("SiOSi", positions=[[0, 0, 0], [5, 5, 5], [0.6, 0.0, 0.6]], cell=[9.0, 9.0, 9.0], pbc=pbc)
    contact = find_fused_atoms(atoms)
    assert (contact.first, contact.second) == (0, 2)
    assert contact.distance == pytest.approx(np.hypot(0.6, 0.6))
    assert contact.allowed == pytest.approx(ALLOWED)
    assert "atoms 0 (Si) and 2 (Si) fused" in contact.describe()
    atoms.positions[2] = [2.0, 0, 0]
    assert find_fused_atoms(atoms) is None


def test_pair_across_the_boundary_and_slab_without_a_third_vector():
    atoms = Atoms("Si2", positions=[[0.1, 0, 0], [7.9, 0, 0]], cell=[8.0, 8.0, 0.0], pbc=[True, True, False])
    assert find_fused_atoms(atoms).distance == pytest.approx(0.2)
    atoms.pbc = False
    assert find_fused_atoms(atoms) is None


def test_an_atom_can_fuse_with_its_own_image():
    contact = find_fused_atoms(Atoms("Si", cell=[0.9, 4.0, 4.0], pbc=True))
    assert contact.first == contact.second == 0
    assert contact.distance == pytest.approx(0.9)


def test_the_worst_pair_is_relative_to_the_radii_and_the_search_can_be_off():
    # 0.7 A is a bond between hydrogen atoms but a fused pair of silicon atoms
    atoms = Atoms("H2Si2", positions=[[0, 0, 0], [0.7, 0, 0], [0, 5, 0], [0.9, 5, 0]])
    assert find_fused_atoms(atoms).symbols == ("Si", "Si")
    assert find_fused_atoms(atoms[:2]) is None
    assert find_fused_atoms(atoms, fraction=0.0) is None


@pytest.mark.parametrize("pbc", [False, True, [True, False, True]])
def test_the_worst_pair_of_random_atoms_is_that_of_all_distances(pbc):
    rng = np.random.default_rng(3)
    for _ in range(5):
        symbols = rng.choice(["H", "O", "Si", "Au"], 30).tolist()
        atoms = Atoms(symbols, rng.uniform(-4.0, 12.0, (30, 3)), cell=np.diag([8.0, 9.0, 7.0]) + 0.3, pbc=pbc)
        distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1]
        radii = covalent_radii[atoms.numbers]
        ratios = distances / (radii[:, None] + radii) + np.diag([np.inf] * 30)
        i, j = sorted(np.unravel_index(ratios.argmin(), ratios.shape))
        contact = find_fused_atoms(atoms, 1.5)
        assert (contact.first, contact.second) == (i, j)
        assert contact.distance == pytest.approx(distances[i, j])
        assert contact.distance / contact.allowed == pytest.approx(ratios[i, j] / 1.5)
        assert find_fused_atoms(atoms, 0.99 * ratios[i, j]) is None


def test_positions_that_are_no_numbers_are_no_contact():
    assert find_fused_atoms(Atoms("H2", positions=[[np.nan, 0, 0], [0, 0, 0]])) is None
