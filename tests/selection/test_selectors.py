"""Selectors against plain implementations; what all of them promise is tested on all of them."""

import numpy as np
import pytest

from castile.errors import InputError
from castile.selection import SELECTORS, cur_points, farthest_points, kmeans_points, random_points
from castile.selection.streamed_cur import streamed_cur_points

ALL = sorted(SELECTORS)


def soap_like(n, d, seed=0, n_centers=15):
    """Clustered, normalized, positive vectors."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(size=(n_centers, d)) ** 4
    widths = 10.0 ** rng.uniform(-3, -1, n_centers)
    kinds = rng.integers(n_centers, size=n)
    points = centers[kinds] + widths[kinds, None] * rng.standard_normal((n, d))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def squared_distances(x, y):
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1)


def naive_farthest(features, n_select, chosen):
    distances = squared_distances(features, features[list(chosen)]).min(axis=1)
    picks = []
    while len(picks) < n_select:
        picks.append(int(np.argmax(distances)))
        distances = np.minimum(distances, squared_distances(features, features[picks[-1:]])[:, 0])
    return picks


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unique_deterministic_int64(name, dtype):
    features = soap_like(700, 30).astype(dtype)
    chosen = SELECTORS[name](features, 90, seed=4)
    assert chosen.dtype == np.int64
    assert chosen.shape == (90,)
    assert len(set(chosen.tolist())) == 90
    np.testing.assert_array_equal(SELECTORS[name](features, 90, seed=4), chosen)


@pytest.mark.parametrize("name", ["farthest", "kmeans", "random"])
def test_seed_matters(name):
    features = soap_like(700, 30)
    first = SELECTORS[name](features, 20, seed=0)
    assert set(first.tolist()) != set(SELECTORS[name](features, 20, seed=1).tolist())


@pytest.mark.parametrize("name", ALL)
def test_never_a_duplicate(name):
    """400 points of which 40 are distinct: each is chosen once, and no more are found."""
    distinct = soap_like(40, 12, n_centers=40)
    features = np.tile(distinct, (10, 1))
    features += 1e-9 * np.random.default_rng(1).standard_normal(features.shape)
    chosen = SELECTORS[name](features, 100, seed=0)
    assert sorted(chosen % 40) == list(range(40))
    some = SELECTORS[name](features, 25, seed=0)
    assert len(set((some % 40).tolist())) == 25


@pytest.mark.parametrize("name", ALL)
def test_initial_is_respected(name):
    features = np.tile(soap_like(300, 12), (2, 1))
    initial = [3, 50, 299]
    chosen = SELECTORS[name](features, 200, seed=0, initial=initial)
    assert len(chosen) == 200
    nearest = squared_distances(features[chosen], features[initial]).min()
    assert nearest > 1e-10


@pytest.mark.parametrize("name", ALL)
def test_more_than_there_are(name):
    features = soap_like(37, 5)
    assert sorted(SELECTORS[name](features, 1000, seed=0)) == list(range(37))
    rest = SELECTORS[name](features, 1000, seed=0, initial=[0, 5])
    assert sorted(rest) == [i for i in range(37) if i not in (0, 5)]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (3, 40)])
def test_small_shapes(name, shape):
    features = np.random.default_rng(0).standard_normal(shape)
    assert sorted(SELECTORS[name](features, shape[0], seed=0)) == list(range(shape[0]))
    assert len(SELECTORS[name](features, 0, seed=0)) == 0


@pytest.mark.parametrize("name", ALL)
def test_all_points_equal(name):
    assert len(SELECTORS[name](np.ones((20, 4)), 5, seed=0)) == 1
    assert len(SELECTORS[name](np.zeros((20, 4)), 5, seed=0)) == 1
    assert len(SELECTORS[name](np.ones((20, 4)), 5, seed=0, initial=[2])) == 0


@pytest.mark.parametrize("name", ALL)
def test_errors(name):
    select = SELECTORS[name]
    with pytest.raises(InputError, match="nothing to select from"):
        select(np.zeros((0, 4)), 3, seed=0)
    with pytest.raises(InputError, match="expected"):
        select(np.zeros(4), 3, seed=0)
    with pytest.raises(InputError, match="n_select is -1"):
        select(np.ones((3, 4)), -1, seed=0)
    bad = np.ones((5, 2))
    bad[3, 1] = np.nan
    with pytest.raises(InputError, match="row 3"):
        select(bad, 2, seed=0)
    with pytest.raises(InputError, match="outside"):
        select(np.ones((5, 2)), 2, seed=0, initial=[5])


@pytest.mark.parametrize("n_points", [300, 1500])
@pytest.mark.parametrize("initial", [(), (7,), (3, 9, 250)])
def test_farthest_is_the_greedy_choice(n_points, initial):
    features = soap_like(n_points, 20, seed=n_points)
    chosen = farthest_points(features, 150, seed=3, initial=initial)
    if not initial:
        expected = [chosen[0], *naive_farthest(features, 149, chosen[:1])]
    else:
        expected = naive_farthest(features, 150, initial)
    np.testing.assert_array_equal(chosen, expected)


def test_farthest_with_ties_on_a_grid():
    """Equal distances everywhere: the choice is still one that a greedy search could make."""
    features = np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0)), axis=-1).reshape(-1, 2)
    chosen = farthest_points(features, 200, seed=0)
    for i in range(1, 200):
        distances = squared_distances(features, features[chosen[:i]]).min(axis=1)
        assert distances[chosen[i]] == pytest.approx(distances.max())


def test_cur_is_the_greedy_orthogonal_choice():
    features = soap_like(200, 8)
    U = np.linalg.svd(features, full_matrices=False)[0]
    expected = []
    for _ in range(8):
        best = int(np.argmax(np.sum(U**2, axis=1)))
        expected.append(best)
        direction = U[best] / np.linalg.norm(U[best])
        U = U - np.outer(U @ direction, direction)
    np.testing.assert_array_equal(cur_points(features, 8), expected)
    np.testing.assert_array_equal(cur_points(features, 5, initial=expected[:3]), expected[3:])


@pytest.mark.parametrize("initial", [(), (3, 70, 250)])
@pytest.mark.parametrize("repeats", [1, 20])
def test_cur_in_a_stream_is_cur(initial, repeats, tmp_path):
    """The first round of both is the same; in single precision from a file, and beyond it no duplicates.

    With repeated features there are fewer points than features.
    """
    features = np.tile(soap_like(300, 25).astype(np.float32), (1, repeats))
    features.tofile(tmp_path / "features")
    mapped = np.memmap(tmp_path / "features", dtype=np.float32, mode="r", shape=features.shape)
    expected = cur_points(features, 15, initial=initial)
    np.testing.assert_array_equal(streamed_cur_points(mapped, 15, initial=initial), expected)
    many = streamed_cur_points(mapped, 100, initial=initial)
    assert len(set(many.tolist()) | set(initial)) == 100 + len(initial)
    np.testing.assert_array_equal(many[:15], expected)


def test_cur_spans_the_space():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 40))
    chosen = cur_points(features, 6)
    assert np.linalg.matrix_rank(features[chosen]) == 6
    assert len(cur_points(features, 50)) == 50


def test_kmeans_finds_clusters():
    rng = np.random.default_rng(2)
    centers = 10.0 * rng.standard_normal((6, 5))
    labels = np.repeat(np.arange(6), 50)
    features = centers[labels] + 0.01 * rng.standard_normal((300, 5))
    within = {}
    for name, select in {"kmeans": kmeans_points, "random": random_points}.items():
        spread = [
            squared_distances(features, features[select(features, 30, seed=seed)]).min(axis=1).mean()
            for seed in range(5)
        ]
        within[name] = np.mean(spread)
    assert within["kmeans"] < within["random"]


def test_kmeans_returns_nearest_members_of_one_cluster():
    features = np.random.default_rng(0).standard_normal((50, 3))
    distances = np.sum((features - features.mean(axis=0)) ** 2, axis=1)
    assert kmeans_points(features, 1, seed=0)[0] == np.argmin(distances)


def test_random_is_uniform():
    features = np.arange(20.0)[:, None]
    counts = np.zeros(20)
    for seed in range(400):
        counts[random_points(features, 5, seed=seed)] += 1
    assert np.all(abs(counts - 100) < 5 * np.sqrt(100 * 0.75))
