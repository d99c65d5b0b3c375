"""Order of pairs by centre and element, against NumPy's sort."""

import numpy as np
import pytest
from ase import Atoms

from castile.descriptors.pair_order import by_center_and_element
from castile.structures.neighbors import neighbor_pairs


@pytest.mark.parametrize(("n_atoms", "threads"), [(30, 1), (2100, 1), (2100, 3)])
def test_order_by_center_and_element(n_atoms: int, threads: int) -> None:
    rng = np.random.default_rng(0)
    side = 2.5 * n_atoms ** (1 / 3)
    atoms = Atoms(f"H{n_atoms}", rng.uniform(0.0, side, (n_atoms, 3)), cell=[side] * 3, pbc=True)
    pairs = neighbor_pairs(atoms, 4.0)
    elements = rng.integers(-1, 3, n_atoms)
    centers = rng.permutation(n_atoms)
    rank = np.argsort(centers)
    first, center, neighbor, element, vectors = by_center_and_element(
        pairs, centers, elements, 3, 3.5, threads
    )
    near = np.linalg.norm(pairs.vectors, axis=1) < 3.5
    kept = np.flatnonzero(near & (elements[pairs.neighbor] >= 0))
    segment = 3 * rank[pairs.center[kept]] + elements[pairs.neighbor[kept]]
    order = kept[np.argsort(segment, kind="stable")]
    np.testing.assert_array_equal(center, rank[pairs.center[order]])
    np.testing.assert_array_equal(neighbor, pairs.neighbor[order])
    np.testing.assert_array_equal(element, elements[neighbor])
    np.testing.assert_array_equal(vectors, pairs.vectors[order])
    np.testing.assert_array_equal(np.diff(first), np.bincount(segment, minlength=3 * n_atoms))
