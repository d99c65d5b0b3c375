"""Fast exact searches against all pairs, one by one."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data import chemical_symbols
from ase.io import read
from scipy.sparse.csgraph import connected_components

from castile.execution.task_pool import open_task_pool
from castile.kernels.environments import describe_environments
from castile.kernels.transport import optimal_transport_cost
from castile.splits.certificate import certify
from castile.splits.disjoint_sets import DisjointSets
from castile.splits.embedding import matching_points
from castile.splits.forest import find_forest
from castile.splits.nearest import find_nearest
from castile.splits.point_blocks import make_blocks
from castile.splits.search import find_components
from castile.splits.settings import SimilaritySettings, element_codes
from castile.splits.similarity_index import SimilarityIndex, build_index, build_vector_index
from castile.splits.structure_table import table_of

SMALL = {"n_max": 5, "l_max": 4, "cutoff": 4.5}
KERNELS = ("best-match", "average-soap", "largest", "average", "rematch")
DATA = (
    "rmd17/ethanol_train.xyz.gz",
    "mlearn/Si_training.xyz.gz",
    "properties/prop_perov5/perov5_val.extxyz.gz",
)


def some_structures(shared_data, name: str, n: int) -> list[Atoms]:
    """Real structures, a few of them twice with small displacements."""
    structures = read(shared_data / name, f":{n}")
    structures = [atoms for atoms in structures if len(atoms) <= 40] or structures[:10]
    generator = np.random.default_rng(0)
    for atoms in structures[::4]:
        copy = atoms.copy()
        copy.positions += generator.normal(scale=0.02, size=copy.positions.shape)
        structures.append(copy)
    return structures


def all_gaps(index: SimilarityIndex, structures: list[Atoms]) -> np.ndarray:
    """1 - k of all pairs, without any search."""
    environments = describe_environments(index.settings.descriptor(), structures)
    return index.settings.structure_kernel().dissimilarities(environments, environments)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", DATA)
def test_search_agrees_with_all_pairs(shared_data, name: str, kernel: str) -> None:
    structures = some_structures(shared_data, name, 12 if kernel == "rematch" else 50)
    settings = SimilaritySettings(kernel=kernel, gamma=0.1, **SMALL)
    index = build_index(table_of(structures), settings)
    gaps = all_gaps(index, structures)
    n = len(structures)
    for share in (0.02, 0.1, 0.5):
        threshold = 1.0 - float(np.quantile(gaps[np.triu_indices(n, 1)], share))
        found = find_components(index, threshold)
        expected = connected_components(gaps < 1.0 - threshold, directed=False)[1]
        first = np.unique(expected, return_index=True)[1]
        np.testing.assert_array_equal(found.labels, np.argsort(np.argsort(first))[expected])
        assert found.cost.n_candidates <= found.cost.n_pairs
    own = gaps + np.diag(np.full(n, 9.0))
    nearest = find_nearest(index, np.arange(0, n, 3), np.arange(n))
    np.testing.assert_allclose(nearest.similarities, 1.0 - own.min(axis=1)[::3], atol=1e-10)
    lowest = float(np.median(nearest.similarities))
    some = find_nearest(index, np.arange(0, n, 3), np.arange(n), lowest=lowest)
    near = nearest.similarities >= lowest
    np.testing.assert_array_equal(some.neighbors >= 0, near)
    np.testing.assert_array_equal(some.similarities[near], nearest.similarities[near])
    parts = np.random.default_rng(1).integers(-1, 3, size=n)
    for pair in certify(index, parts).pairs:
        expected = gaps[np.ix_(parts == pair.part, parts == pair.other_part)].min()
        assert pair.similarity == pytest.approx(1.0 - expected, abs=1e-10)
        assert parts[pair.structure] == pair.part


@pytest.mark.parametrize("kernel", ["best-match", "average-soap"])
def test_forest_has_the_components_of_every_threshold(shared_data, kernel: str) -> None:
    structures = some_structures(shared_data, DATA[0], 60)
    index = build_index(table_of(structures), SimilaritySettings(kernel=kernel, **SMALL))
    gaps = all_gaps(index, structures)
    lowest = 1.0 - float(np.quantile(gaps, 0.4))
    forest = find_forest(index, lowest)
    assert len(forest.gaps) < len(structures)
    for threshold in np.linspace(lowest + 1e-5, 1.0, 12):
        expected = connected_components(gaps < 1.0 - threshold, directed=False)[0]
        assert forest.labels(float(threshold)).max() + 1 == expected


def test_links_of_the_forest_are_known_where_coordinates_are_too_few() -> None:
    """Near-twins in a set of many shapes: their distances are far below what the coordinates leave out."""
    generator = np.random.default_rng(0)
    structures = [molecule(name) for name in ("CH3CH2OH", "C2H6NH", "CH3NO2", "C3H8", "CH3COCH3")] * 12
    for k, atoms in enumerate(structures):
        atoms.positions += generator.normal(scale=0.08, size=atoms.positions.shape)
        if k % 10 == 9:
            structures[k] = structures[k - 1].copy()
            structures[k].positions += generator.normal(scale=0.003, size=(len(structures[k]), 3))
    index = build_index(table_of(structures))
    forest = find_forest(index, 0.99)
    exact = [1.0 - index.similarity(i, j) for i, j in zip(forest.first, forest.second, strict=True)]
    np.testing.assert_allclose(forest.gaps, exact, rtol=0.06)
    assert np.sqrt(2.0 * forest.gaps[:6]).max() < 0.02


def test_many_random_rows_agree_with_all_pairs() -> None:
    generator = np.random.default_rng(2)
    X = np.abs(generator.normal(size=(40, 30)))[generator.integers(40, size=3000)]
    X = X + generator.normal(size=X.shape) * generator.choice([1e-7, 1e-3, 0.05], size=(3000, 1))
    index = build_vector_index(X)
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    products = unit @ unit.T
    for threshold in (0.9999999, 0.999, 0.99):
        gaps = 0.5 * np.maximum(2.0 - 2.0 * products, 0.0)
        found = find_components(index, threshold)
        expected = connected_components(gaps < 1.0 - threshold, directed=False)[1]
        assert len(set(zip(found.labels.tolist(), expected.tolist(), strict=True))) == expected.max() + 1
        assert found.labels.max() == expected.max()


def test_groups_merge_components() -> None:
    index = build_vector_index(np.eye(6))
    labels = find_components(index, 0.5, groups=np.array([5, 5, 2, 3, 2, 0])).labels
    np.testing.assert_array_equal(labels, [0, 0, 1, 2, 1, 3])


def test_points_are_never_farther_apart_than_the_structures(shared_data) -> None:
    structures = some_structures(shared_data, DATA[1], 40)
    index = build_index(table_of(structures), SimilaritySettings(**SMALL))
    gaps = all_gaps(index, structures)
    points = index.blocks.points
    squared = ((points[:, None] - points[None, :]) ** 2).sum(axis=2)
    assert (squared <= 2.0 * gaps + 1e-12).all()
    tight = squared[gaps > 1e-3] / (2.0 * gaps[gaps > 1e-3])
    assert np.median(tight) > 0.2


def test_matching_points_bound_different_sizes() -> None:
    generator = np.random.default_rng(3)
    for n, m in [(3, 5), (7, 7), (2, 9)]:
        a, b = generator.normal(size=(n, 20)), generator.normal(size=(m, 20))
        cost = ((a[:, None] - b[None, :]) ** 2).sum(axis=2)
        x, y = matching_points(a, 0.0), matching_points(b, 0.0)
        assert ((x - y) ** 2).sum() <= optimal_transport_cost(cost) + 1e-12


def test_error_bound_of_single_precision_holds() -> None:
    generator = np.random.default_rng(4)
    points = generator.normal(size=(700, 40)) * generator.choice([1e-3, 1.0, 50.0], size=(700, 1))
    blocks = make_blocks(points, size=200)
    for block in range(blocks.n_blocks):
        for other in range(blocks.n_blocks):
            squared, error = blocks.least_squares(block, other)
            x, y = points[blocks.rows(block)], points[blocks.rows(other)]
            exact = ((x[:, None] - y[None, :]) ** 2).sum(axis=2)
            assert np.abs(squared - exact).max() <= error
            assert np.sqrt(exact.min()) >= blocks.block_bounds(block)[other] - 1e-9
    assert sorted(blocks.order) == list(range(700))


def test_result_does_not_depend_on_workers(shared_data) -> None:
    table = table_of(some_structures(shared_data, DATA[0], 40))
    settings = SimilaritySettings(**SMALL)
    index = build_index(table, settings)
    with open_task_pool(None) as pool:
        again = build_index(table, settings, pool=pool)
        np.testing.assert_array_equal(again.blocks.points, index.blocks.points)
        labels = find_components(again, 0.999, pool=pool).labels
    np.testing.assert_array_equal(labels, find_components(index, 0.999).labels)


def snapshots(n: int, step: float = 0.01, spread: float = 0.08) -> list[Atoms]:
    """A molecule in random motion about its rest: every frame is a near-twin of those before it."""
    generator, rest = np.random.default_rng(0), molecule("CH3CH2OH")
    keep = np.sqrt(1.0 - (step / spread) ** 2)
    shift = generator.normal(scale=spread, size=rest.positions.shape)
    frames = []
    for _ in range(n):
        frames.append(rest.copy())
        frames[-1].positions += shift
        shift = keep * shift + generator.normal(scale=spread * np.sqrt(1.0 - keep**2), size=shift.shape)
    return frames


@pytest.mark.parametrize("kernel", ["best-match", "average-soap"])
def test_trajectories_agree_with_all_pairs_at_every_threshold(kernel: str) -> None:
    """Thresholds between successive similarities, where the smallest error of a bound would show."""
    structures = snapshots(120)
    index = build_index(table_of(structures), SimilaritySettings(kernel=kernel, **SMALL))
    gaps = all_gaps(index, structures)
    steps = np.diagonal(gaps, 1)
    for gap in np.sort(steps)[10::12] * (1.0 + 1e-9):
        found = find_components(index, 1.0 - gap)
        expected = connected_components(gaps < gap, directed=False)[1]
        first = np.unique(expected, return_index=True)[1]
        np.testing.assert_array_equal(found.labels, np.argsort(np.argsort(first))[expected])
    parts = np.arange(120) // 40
    for pair in certify(index, parts).pairs:
        between = gaps[np.ix_(parts == pair.part, parts == pair.other_part)]
        assert pair.similarity == pytest.approx(1.0 - between.min(), abs=1e-12)


def test_codes_tell_all_elements_apart() -> None:
    species = tuple(chemical_symbols[1:60])
    codes = element_codes(species, 6)
    overlap = np.abs(codes @ codes.T) - np.eye(len(species))
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1.0)
    assert overlap.max() < 0.95
    np.testing.assert_array_equal(element_codes(("O",), 6)[0], codes[7])


def test_disjoint_sets_agree_with_scipy() -> None:
    generator = np.random.default_rng(5)
    first, second = generator.integers(300, size=(2, 180))
    sets = DisjointSets(300)
    sets.union(first, second)
    graph = np.zeros((300, 300))
    graph[first, second] = 1.0
    n, expected = connected_components(graph, directed=False)
    labels = sets.labels()
    assert labels.max() + 1 == n
    assert len(set(zip(labels.tolist(), expected.tolist(), strict=True))) == n
