"""Cells and positions that have no neighbours: named, never completed in silence."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.errors import InputError
from castile.structures.neighbors import neighbor_pairs
from castile.structures.validation import cell_volume


def _silicon(**changes: object) -> Atoms:
    atoms = bulk("Si", cubic=True)
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


def test_a_periodic_direction_without_lattice_vector_is_an_error() -> None:
    atoms = _silicon(cell=[[0.0, 0.0, 0.0], [0.0, 5.4, 0.0], [0.0, 0.0, 5.4]])
    with pytest.raises(InputError, match="lattice vector 0 is zero"):
        neighbor_pairs(atoms, 4.0)
    with pytest.raises(InputError, match=r"structure 0.*lattice vector 0 is zero"):
        castile.SOAP(species=["Si"], n_max=2, l_max=1).transform(atoms)


def test_what_is_not_finite_is_named() -> None:
    atoms = _silicon()
    atoms.positions[3, 1] = np.nan
    with pytest.raises(InputError, match=r"atom 3 has position \[.*nan"):
        neighbor_pairs(atoms, 4.0)
    with pytest.raises(InputError, match="centre 1 has position"):
        neighbor_pairs(_silicon(), 4.0, np.array([[0.0, 0.0, 0.0], [np.inf, 0.0, 0.0]]))
    broken = _silicon(cell=np.full((3, 3), np.nan))
    assert cell_volume(broken) == 0.0  # and no warning, which would be an error here
    with pytest.raises(InputError, match=r"cell .* is not finite"):
        neighbor_pairs(broken, 4.0)


def test_vectors_of_directions_that_are_not_periodic_do_not_matter() -> None:
    wire = Atoms("Si2", [[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]], cell=[3.0, 0.0, 0.0], pbc=(True, False, False))
    expected = neighbor_pairs(wire, 4.0)
    parallel = wire.copy()
    parallel.cell[1] = [6.0, 0.0, 0.0]
    found = neighbor_pairs(parallel, 4.0)
    assert len(found.center) == len(expected.center) > 4
    np.testing.assert_allclose(np.sort(found.vectors, axis=0), np.sort(expected.vectors, axis=0), atol=1e-12)
