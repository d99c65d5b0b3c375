"""Greedy choice of blocks against dense Gaussian processes."""

import numpy as np
import pytest

from castile.errors import InputError
from castile.regression import fit_exact
from castile.selection.criteria import Information, OwnVariance, TargetCovariance
from castile.selection.greedy import greedy_blocks
from castile.selection.posterior_root import PosteriorRoot

NOISE = 0.3


def features(n, d=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * np.geomspace(3.0, 0.05, d)


class Blocks(list):
    """Blocks in memory."""

    n_columns = 0


def as_blocks(rows, sizes):
    blocks = Blocks(np.split(rows, np.cumsum(sizes)[:-1]))
    blocks.n_columns = rows.shape[1]
    return blocks


def dense_entropy(K, chosen):
    """Entropy of noisy labels of ``chosen``, without the constant of the noise."""
    noisy = np.eye(len(chosen)) + K[np.ix_(chosen, chosen)] / NOISE**2
    return 0.5 * np.linalg.slogdet(noisy)[1]


def test_largest_variance_is_largest_expected_information_on_a_dense_process():
    """Single labels of equal noise: three definitions of the greedy choice are the same."""
    phi = features(40)
    K = phi @ phi.T
    by_variance, by_information = [], []
    for _ in range(15):
        if by_variance:
            known = np.array(by_variance)
            process = fit_exact(K[np.ix_(known, known)], np.zeros(len(known)), NOISE**2)
            variances = process.variance(K[:, known], np.diagonal(K))
        else:
            variances = np.diagonal(K).copy()
        variances[by_variance] = -np.inf
        by_variance.append(int(np.argmax(variances)))
        entropies = [
            -np.inf if i in by_information else dense_entropy(K, [*by_information, i]) for i in range(len(K))
        ]
        by_information.append(int(np.argmax(entropies)))
    assert by_variance == by_information
    own = greedy_blocks(as_blocks(phi / NOISE, [1] * 40), 15, criterion=OwnVariance())
    assert own.indices.tolist() == by_variance
    choice = greedy_blocks(as_blocks(phi / NOISE, [1] * 40), 15, criterion=Information())
    assert choice.indices.tolist() == by_variance
    assert choice.values.sum() == pytest.approx(dense_entropy(K, by_variance), rel=1e-10)
    pivots = pivoted_cholesky(K, NOISE**2, 15)
    assert pivots == by_variance


def pivoted_cholesky(K, noise_variance, n_select):
    """Pivots of K with noise on the pivots that were observed."""
    rest, columns, chosen = np.diagonal(K).copy(), [], []
    for _ in range(n_select):
        best = int(np.argmax(np.where(np.isin(np.arange(len(K)), chosen), -np.inf, rest)))
        column = K[:, best] - sum((c * c[best] for c in columns), start=np.zeros(len(K)))
        column = column / np.sqrt(rest[best] + noise_variance)
        rest = rest - column**2
        columns.append(column)
        chosen.append(best)
    return chosen


def test_blocks_are_the_exhaustive_greedy_choice():
    """Several labels a structure: the lazy search finds what trying all blocks at every step finds."""
    sizes = np.random.default_rng(1).integers(1, 20, size=30)
    phi = features(int(sizes.sum()), seed=2)
    owner = np.repeat(np.arange(30), sizes)
    K = phi @ phi.T
    chosen = []
    for _ in range(12):
        gains = [
            -np.inf if i in chosen else dense_entropy(K, np.flatnonzero(np.isin(owner, [*chosen, i])))
            for i in range(30)
        ]
        chosen.append(int(np.argmax(gains)))
    choice = greedy_blocks(as_blocks(phi / NOISE, sizes), 12, criterion=Information())
    assert choice.indices.tolist() == chosen
    assert np.all(np.diff(choice.values) <= 1e-9)
    assert choice.n_evaluations < 12 * 30 / 2


def dense_own_decrease(K, known, block):
    """By how much the summed variance of the labels of ``block`` falls when they are observed, over the
    noise.
    """

    def variance(observed):
        if len(observed) == 0:
            return np.trace(K[np.ix_(block, block)])
        process = fit_exact(K[np.ix_(observed, observed)], np.zeros(len(observed)), NOISE**2)
        return process.variance(K[np.ix_(block, observed)], np.diagonal(K)[block]).sum()

    return (variance(known) - variance(np.append(known, block))) / NOISE**2


@pytest.mark.parametrize("per_label", [False, True])
def test_largest_own_variance_is_the_exhaustive_greedy_choice(per_label):
    sizes = np.random.default_rng(1).integers(1, 20, size=30)
    costs = sizes if per_label else np.ones(30)
    phi = features(int(sizes.sum()), seed=2)
    owner = np.repeat(np.arange(30), sizes)
    K = phi @ phi.T
    chosen, worths = [], []
    for _ in range(10):
        known = np.flatnonzero(np.isin(owner, chosen))
        gains = [
            -np.inf if i in chosen else dense_own_decrease(K, known, np.flatnonzero(owner == i)) / costs[i]
            for i in range(30)
        ]
        chosen.append(int(np.argmax(gains)))
        worths.append(max(gains))
    bounds = [OwnVariance().value(block) for block in as_blocks(phi / NOISE, sizes)]
    choice = greedy_blocks(as_blocks(phi / NOISE, sizes), 10, costs=costs, bounds=bounds)
    assert choice.indices.tolist() == chosen
    np.testing.assert_allclose(choice.values, worths, rtol=1e-6)
    assert choice.n_evaluations < 0.7 * 10 * 30


def test_target_covariance_is_the_dense_decrease_at_every_step():
    phi, targets = features(60, d=8, seed=3) / NOISE, features(90, d=8, seed=4)
    blocks = as_blocks(phi, [3] * 20)
    criterion = TargetCovariance(targets.T @ targets)

    def squared_covariances(precision):
        return np.sum((targets @ np.linalg.inv(precision) @ targets.T) ** 2)

    choice = greedy_blocks(blocks, 8, criterion=criterion)
    precision, chosen = np.eye(8), []
    for step in range(8):
        before = squared_covariances(precision)
        after = [
            squared_covariances(precision + b.T @ b) if i not in chosen else np.inf
            for i, b in enumerate(blocks)
        ]
        best = int(np.argmin(after))
        assert choice.indices[step] == best
        assert choice.values[step] == pytest.approx(before - after[best], rel=1e-8)
        chosen.append(best)
        precision += blocks[best].T @ blocks[best]
    left = np.trace(targets @ np.linalg.inv(precision) @ targets.T)
    assert criterion.variance == pytest.approx(left, rel=1e-8)


@pytest.mark.parametrize("make", [Information, OwnVariance, lambda: TargetCovariance(np.eye(12))])
def test_quotas_and_what_is_known_are_kept(make):
    phi = features(30)
    strata = np.arange(30) % 3
    choice = greedy_blocks(as_blocks(phi, [1] * 30), 9, criterion=make(), strata=strata, quotas=[5, 0, 4])
    assert np.bincount(strata[choice.indices], minlength=3).tolist() == [5, 0, 4]
    root = PosteriorRoot(12)
    root.observe(root.whiten(100.0 * phi[:10]))
    later = greedy_blocks(as_blocks(phi, [1] * 30), 5, criterion=make(), root=root)
    assert np.all(later.indices >= 10)


def test_bounds_change_nothing_but_the_work():
    phi = features(50)
    bounds = 0.5 * np.log1p(np.einsum("ij,ij->i", phi, phi))
    plain, bounded = (
        greedy_blocks(as_blocks(phi, [1] * 50), 10, criterion=Information(), bounds=b) for b in (None, bounds)
    )
    assert plain.indices.tolist() == bounded.indices.tolist()
    assert bounded.n_evaluations < plain.n_evaluations


@pytest.mark.parametrize("make", [Information, OwnVariance, lambda: TargetCovariance(np.eye(12))])
def test_blocks_without_rows_are_worth_nothing(make):
    """A lone atom without neighbors brings no forces."""
    blocks = as_blocks(features(5), [2, 0, 3])
    choice = greedy_blocks(blocks, 3, criterion=make())
    assert choice.indices[2] == 1
    assert choice.values[2] == 0.0
    assert choice.values[1] > 0.0


def test_more_than_there_are_and_errors():
    blocks = as_blocks(features(4), [1] * 4)
    seen = []
    assert sorted(greedy_blocks(blocks, 9, progress=seen.append).indices) == [0, 1, 2, 3]
    assert seen == [1, 2, 3, 4]
    assert len(greedy_blocks(blocks, 0).indices) == 0
    with pytest.raises(InputError, match="n_select is -1"):
        greedy_blocks(blocks, -1)
    with pytest.raises(InputError, match="do not fit"):
        greedy_blocks(blocks, 2, strata=[0, 1], quotas=[1, 1])
