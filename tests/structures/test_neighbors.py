"""Neighbour pairs against vesin, whatever the cell."""

from collections.abc import Callable

import numpy as np
import pytest
import vesin
from ase import Atoms
from ase.build import bulk
from ase.geometry import complete_cell
from numpy.typing import NDArray

from castile.errors import InputError
from castile.numerics.cell_grid import make_grid, sort_into_cells
from castile.structures import neighbors
from castile.structures.neighbors import Pairs, neighbor_pairs

PERIODIC = [(True, True, True), (True, True, False), (False, True, False), (False, False, False)]
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _by_vesin(atoms: Atoms, cutoff: float, centers: NDArray[np.float64] | None) -> Found:
    cell = np.asarray(complete_cell(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)))
    points = atoms.positions if centers is None else np.concatenate([atoms.positions, centers])
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    i, j, vectors = search.compute(points, cell, list(atoms.pbc), quantities="ijD")
    i, j = i.astype(np.int64), j.astype(np.int64)
    if centers is None:
        return i, j, vectors
    n = len(atoms)
    keep = (i >= n) & (j < n)
    return i[keep] - n, j[keep], vectors[keep]


def _by_brute_force(atoms: Atoms, cutoff: float, centers: NDArray[np.float64] | None) -> Found:
    """All pairs of cells much larger than the cutoff: one image of each neighbour at most is near."""
    points = atoms.positions if centers is None else centers
    vectors = (atoms.positions[None] - points[:, None]).reshape(-1, 3)
    cell = np.asarray(complete_cell(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)))
    turns = np.where(atoms.pbc, np.round(vectors @ np.linalg.inv(cell)), 0.0)
    vectors -= turns @ cell
    distances = np.linalg.norm(vectors, axis=1).reshape(len(points), len(atoms))
    near = (distances < cutoff) & (distances > 0.0)
    center, neighbor = np.nonzero(near)
    return center, neighbor, vectors[near.ravel()]


def _sorted(found: Found) -> Found:
    center, neighbor, vectors = found
    rounded = np.round(vectors, 6) + 0.0
    order = np.lexsort((rounded[:, 2], rounded[:, 1], rounded[:, 0], neighbor, center))
    return center[order], neighbor[order], vectors[order]


def _check(
    atoms: Atoms,
    cutoff: float,
    centers: NDArray[np.float64] | None = None,
    threads: int = 1,
    oracle: Callable[..., Found] = _by_vesin,
) -> Pairs:
    pairs = neighbor_pairs(atoms, cutoff, centers, threads)
    expected = _sorted(oracle(atoms, cutoff, centers))
    found = _sorted((pairs.center, pairs.neighbor, pairs.vectors))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    assert sorted(pairs.order) == list(range(pairs.n_centers))
    np.testing.assert_array_equal(pairs.center, np.repeat(pairs.order, np.diff(pairs.first)))
    distances = np.linalg.norm(pairs.vectors, axis=1)
    assert pairs.closest == -1 if not len(distances) else distances[pairs.closest] == distances.min()
    return pairs


def _cell(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    if kind == "tiny":
        return np.diag(rng.uniform(1.5, 3.0, 3))
    if kind == "skewed":
        cell = np.diag(rng.uniform(4.0, 9.0, 3))
        cell[2, :2] = rng.uniform(-40.0, 40.0, 2)
        return cell
    if kind == "left-handed":
        return np.diag([7.0, -6.0, 9.0]) + rng.normal(size=(3, 3))
    return np.diag(rng.uniform(12.0, 25.0, 3)) + rng.normal(size=(3, 3))


@pytest.mark.parametrize("periodic", PERIODIC)
@pytest.mark.parametrize("kind", ["tiny", "skewed", "left-handed", "large"])
@pytest.mark.parametrize("with_points", [False, True])
def test_pairs_of_random_atoms(kind: str, periodic: tuple[bool, ...], with_points: bool) -> None:
    rng = np.random.default_rng([len(kind), sum(periodic), with_points])
    for n_atoms in (1, 2, 6 if kind == "tiny" else 60):
        # far outside of the cell, too
        positions = rng.uniform(-15.0, 15.0, (n_atoms, 3))
        atoms = Atoms(f"H{n_atoms}", positions=positions, cell=_cell(kind, rng), pbc=periodic)
        points = rng.uniform(-20.0, 20.0, (9, 3)) if with_points else None
        for cutoff in (1.1, 4.3):
            _check(atoms, cutoff, points)


def test_cells_of_one_atom_see_their_images() -> None:
    pairs = _check(bulk("Cu"), 6.0)
    assert len(pairs.center) == 12 + 6 + 24 + 12 + 24
    assert set(pairs.neighbor) == {0}


def test_faces_of_the_cell() -> None:
    """Atoms on faces and corners, also by a rounding error outside."""
    eps = 1e-17
    positions = [
        [0.0, 0.0, 0.0],
        [-eps, 2.0, 2.0],
        [6.0, 6.0, 0.5],
        [3.0, 6.0 - 1e-15, -eps],
        [12.0, 3.0, 3.0],
    ]
    for periodic in PERIODIC:
        _check(Atoms("H5", positions, cell=[6.0] * 3, pbc=periodic), 3.9)


@pytest.mark.parametrize("kind", ["zero", "parallel", "vacuum"])
def test_vectors_of_open_directions_and_vacuum_do_not_matter(kind: str) -> None:
    rng = np.random.default_rng(5)
    positions = rng.uniform(-9.0, 9.0, (40, 3))
    slab = np.array([[5.0, 0.5, 0.0], [-1.0, 6.0, 0.3], [0.0, 0.0, 0.0]])
    if kind == "parallel":
        slab[2] = 3.0 * slab[0]
    if kind == "vacuum":
        slab[2] = [0.0, 2.0, 5000.0]
    for centers in (None, positions[:5] + 0.4):
        _check(Atoms("H40", positions, cell=slab, pbc=(True, True, kind == "vacuum")), 7.0, centers)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf])
def test_cutoffs_are_positive_numbers(cutoff: float) -> None:
    with pytest.raises(InputError, match="cutoff"):
        neighbor_pairs(bulk("Cu"), cutoff)


def test_far_parts_cost_no_empty_cells() -> None:
    positions = np.random.default_rng(0).uniform(0.0, 3.0, (20, 3))
    positions[10:] += 1e7
    pairs = neighbor_pairs(Atoms("H20", positions), 2.0)
    assert set(pairs.center // 10) == {0, 1}
    assert np.all(pairs.center // 10 == pairs.neighbor // 10)
    near = np.linalg.norm(positions[:10, None] - positions[None, :10], axis=2)
    assert np.count_nonzero(pairs.center < 10) == np.count_nonzero((near > 0.0) & (near < 2.0))


def _crowd(kind: str, rng: np.random.Generator, n_atoms: int = 400) -> Atoms:
    """Atoms that fill a tiny part of the space that a search has to cover."""
    positions = rng.uniform(0.0, 18.0, (n_atoms, 3))
    cell, periodic = np.zeros((3, 3)), np.zeros(3, dtype=bool)
    if kind == "one far away":
        positions[7] += [1e5, -2e5, 3e4]
    elif kind == "two clusters":
        positions[::2] += [1e6, 0.0, -1e5]
    elif kind == "cluster in a gas":
        positions[::2] *= 1e3
    elif kind == "huge cell":
        cell, periodic = np.diag([3e3, 4e3, 5e3]) + rng.normal(size=(3, 3)), np.ones(3, dtype=bool)
        positions -= 9.0  # across faces and corners
    else:
        cell, periodic = np.diag([5e4, 4e3, 0.0]), np.array([True, True, False])
        positions[3] = [2e4, 1.0, 6e4]
    return Atoms(f"H{n_atoms}", positions, cell=cell, pbc=periodic)


CROWDS = ["one far away", "two clusters", "cluster in a gas", "huge cell", "slab"]


@pytest.mark.parametrize("kind", CROWDS)
def test_mostly_empty_space(kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    atoms = _crowd(kind, rng)
    assert len(_check(atoms, 2.5, oracle=_by_brute_force).center) > 200
    points = np.concatenate([atoms.positions[:20] + 0.3, rng.uniform(-1e6, 1e6, (5, 3))])
    _check(atoms, 2.5, points, oracle=_by_brute_force)
    chosen = rng.permutation(400)[:50]
    search = neighbors.neighbor_search(atoms, 2.5, chosen=chosen)
    found = search.pairs(0, 50, 1)
    every = neighbor_pairs(atoms, 2.5)
    assert sorted(zip(chosen[found.center], found.neighbor, strict=True)) == sorted(
        pair for pair in zip(every.center, every.neighbor, strict=True) if pair[0] in chosen
    )


@pytest.mark.parametrize("kind", CROWDS)
def test_mostly_empty_space_does_not_bring_all_atoms_into_one_cell(kind: str) -> None:
    atoms = _crowd(kind, np.random.default_rng(0), 2000)
    given = neighbors._checked(atoms, 2.5)
    grid = make_grid(*given, 2.5)
    cells = sort_into_cells(given[0], grid)
    homes = cells.home[:, 0] * 10**12 + cells.home[:, 1] * 10**6 + cells.home[:, 2]
    assert np.unique(homes, return_counts=True)[1].max() < 25


def test_atoms_in_one_place_are_a_pair_but_a_point_does_not_see_the_atom_below_it() -> None:
    atoms = Atoms("H2", [[1.0, 1.0, 1.0]] * 2, cell=[9.0] * 3, pbc=True)
    pairs = neighbor_pairs(atoms, 2.0)
    assert pairs.center.tolist() == [0, 1]
    assert pairs.neighbor.tolist() == [1, 0]
    assert not pairs.vectors.any()
    assert len(neighbor_pairs(atoms, 2.0, atoms.positions[:1]).center) == 0


@pytest.mark.parametrize("with_points", [False, True])
def test_threads_change_nothing(with_points: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_BLOCK", 300)
    rng = np.random.default_rng(0)
    atoms = Atoms("Si2500", rng.uniform(-10.0, 50.0, (2500, 3)), cell=[40.0, 37.0, 41.0], pbc=(1, 1, 0))
    points = rng.uniform(0.0, 40.0, (2200, 3)) if with_points else None
    one, two = neighbor_pairs(atoms, 3.7, points), _check(atoms, 3.7, points, threads=3)
    for name in ("order", "first", "center", "neighbor", "vectors", "closest"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
