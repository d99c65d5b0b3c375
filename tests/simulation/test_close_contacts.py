"""Fused atoms are found in every kind of cell."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

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
