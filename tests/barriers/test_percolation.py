"""Percolation of known lattices, and hops that symmetry makes equal."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from barriers.examples import layered, olivine, simple_cubic
from castile.barriers.hops import find_hops
from castile.barriers.percolation import percolation
from castile.errors import InputError

pytest.importorskip("spglib", reason="spglib is not installed")
pytest.importorskip("networkx", reason="networkx is not installed")


def dimensions(atoms: Atoms, longest: float) -> int:
    """Number of dimensions in which hops up to a length run on, each costing its length."""
    hops = list(find_hops(atoms, "Li", "x", longest=longest))
    found = percolation([(edge, hop.path.length) for hop in hops for edge in hop.edges])
    return 3 - [found.one, found.two, found.three].count(None)


def test_cubic_runs_on_in_three_dimensions_at_the_shortest_hop() -> None:
    hops = list(find_hops(simple_cubic(), "Li", "x", longest=3.5))
    assert len(hops) == 1
    assert len(hops[0].edges) == 3
    found = percolation([(edge, hop.path.length) for hop in hops for edge in hop.edges])
    assert found.one == found.two == found.three == pytest.approx(3.4)


def test_layers_run_on_in_two_dimensions_until_hops_between_them() -> None:
    assert dimensions(layered(), 3.5) == 2
    assert dimensions(layered(), 6.0) == 3


def test_channels_run_on_in_one_dimension() -> None:
    assert dimensions(olivine(), 3.5) == 1
    assert dimensions(olivine(), 6.0) > 1


def test_conventional_and_primitive_cells_agree() -> None:
    from ase.build import make_supercell

    primitive = bulk("LiF", "rocksalt", a=4.03)
    large = make_supercell(primitive, np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]))
    for atoms in (primitive, large):
        hops = list(find_hops(atoms, "Li", "x", longest=3.0))
        assert len(hops) == 1
        n_lithium = int((atoms.numbers == 3).sum())
        assert len(hops[0].edges) == 6 * n_lithium  # twelve neighbours, each hop counted once
    first, second = (next(find_hops(a, "Li", "x", longest=3.0)).path for a in (primitive, large))
    assert first.length == pytest.approx(second.length)


def brute_force_dimensions(edges, n_sites: int, size: int = 4) -> int:
    """Count the directions in which a large finite piece is connected to its own copies."""
    parent = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for x in np.ndindex(size, size, size):
        for start, stop, shift in edges:
            end = tuple(np.add(x, shift))
            if all(0 <= v < size for v in end):
                parent[root((start, x))] = root((stop, end))
    best = 0
    for site in range(n_sites):
        cells = [np.array(x) for x in np.ndindex(size, size, size)]
        for origin in cells:
            same = [c - origin for c in cells if root((site, tuple(c))) == root((site, tuple(origin)))]
            best = max(best, int(np.linalg.matrix_rank(np.array(same))))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_agree_with_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    edges = []
    for _ in range(4):
        start, stop = generator.integers(0, 3, 2)
        shift = tuple(int(v) for v in generator.integers(-1, 2, 3))
        if start != stop or any(shift):
            edges.append((int(start), int(stop), shift))
    found = percolation([(edge, 1.0) for edge in edges])
    assert 3 - [found.one, found.two, found.three].count(None) == brute_force_dimensions(edges, 3)


def test_path_of_a_hop_has_one_vacancy() -> None:
    hop = next(find_hops(layered(), "Li", "x", longest=3.5))
    cell = hop.path.host
    n_sites = round(cell.get_volume() / layered().get_volume() * 3)
    assert (cell.numbers == 3).sum() == n_sites - 2  # the moving ion is apart, one site is empty
    ends = Atoms("Li2", hop.path.track, cell=cell.cell, pbc=True) + cell
    assert ends.get_all_distances(mic=True)[0, 2:].min() > 1.5


def test_interstitial_hops_of_a_host_without_the_ion() -> None:
    empty = layered()
    del empty[empty.numbers == 3]
    hops = list(find_hops(empty, "Li", "x", longest=3.0, interstitials=True))
    assert hops
    assert all(len(hop.path.host) % len(empty) == 0 for hop in hops)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (bulk("NaCl", "rocksalt", a=5.6), "no Li"),
        (Atoms("Li2", positions=[[0, 0, 0], [0, 0, 3]], cell=[9, 9, 9]), "not periodic"),
        (Atoms("Li2", positions=[[0, 0, 0], [0, 0, 0.01]], cell=[9, 9, 9], pbc=True), "closer|apart|overlap"),
    ],
)
def test_unusable_crystals_are_named(atoms: Atoms, message: str) -> None:
    with pytest.raises(InputError, match=f"thing.*({message})"):
        list(find_hops(atoms, "Li", "thing"))
