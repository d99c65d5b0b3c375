"""Shares of strata, and selectors within them."""

import numpy as np
import pytest

from castile.errors import InputError
from castile.selection import SELECTORS
from castile.selection.strata import strata_of, stratum_quotas
from castile.selection.stratified import stratified_points


@pytest.mark.parametrize(
    ("sizes", "n", "expected"),
    [
        ([90, 57, 55, 12], 50, [21, 13, 13, 3]),
        ([90, 57, 55, 12], 4, [1, 1, 1, 1]),
        ([90, 57, 55, 12], 2, [1, 1, 0, 0]),
        ([1000, 1, 1], 10, [8, 1, 1]),
        ([3, 2], 10, [3, 2]),
        ([0, 5], 3, [0, 3]),
        ([7], 0, [0]),
    ],
)
def test_shares(sizes, n, expected):
    assert stratum_quotas(sizes, n).tolist() == expected


def test_shares_of_random_strata_are_near_their_proportion():
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(0, 40, size=6)
        n = int(rng.integers(0, 80))
        quotas = stratum_quotas(sizes, n)
        assert quotas.sum() == min(n, sizes.sum())
        assert np.all(quotas <= sizes)
        if n >= 6:
            assert np.all((quotas > 0) == (sizes > 0))


def test_negative_numbers_are_errors():
    with pytest.raises(InputError, match="give 0 or more"):
        stratum_quotas([3], -1)


def test_strata_are_in_alphabetical_order():
    numbers, names = strata_of(["md", "", "md", "bulk"])
    assert names == ("", "bulk", "md")
    assert numbers.tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_every_selector_within_strata(name):
    rng = np.random.default_rng(3)
    features = rng.standard_normal((60, 5))
    strata = np.r_[np.full(5, -1), np.arange(55) % 3 == 0]
    chosen = stratified_points(SELECTORS[name], features, 11, strata, seed=1, initial=np.arange(5))
    assert len(set(chosen.tolist())) == 11
    assert chosen.min() >= 5
    assert np.bincount(strata[chosen]).tolist() == stratum_quotas([36, 19], 11).tolist()


def test_strata_do_not_repeat_each_other():
    """Two strata hold the same points: the second one chooses those that the first one left out."""
    points = np.random.default_rng(4).standard_normal((10, 3))
    features, strata = np.tile(points, (2, 1)), np.repeat([0, 1], 10)
    chosen = stratified_points(SELECTORS["farthest"], features, 10, strata)
    assert sorted(chosen % 10) == list(range(10))
