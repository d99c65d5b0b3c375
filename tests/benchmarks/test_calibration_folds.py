"""Folds and intervals of the benchmark of coverage."""

import numpy as np
import pytest
from benchmarks.calibration_folds import Inside, coverage_of, stratified_folds
from benchmarks.fractions import wilson
from scipy.stats import binomtest


@pytest.mark.parametrize(("k", "n"), [(19, 25), (0, 7), (23, 23)])
def test_interval_of_a_fraction_is_that_of_scipy(k: int, n: int) -> None:
    found, expected = wilson(k / n, n), binomtest(k, n).proportion_ci(method="wilson")
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_labels_that_are_alike_make_the_interval_wider() -> None:
    """Structures of 30 labels that are all inside or all outside count as one label each."""
    rng = np.random.default_rng(0)
    inside = rng.random(200) < 0.7
    alike = [Inside("", 30, {"68": 30 * int(k)}, number) for number, k in enumerate(inside)]
    found, one_each = coverage_of(alike, "68"), wilson(inside.mean(), 200)
    assert found.high - found.low == pytest.approx(one_each.high - one_each.low, rel=0.02)
    twins = [Inside("", 10, {"68": 10 * int(k)}, j) for j, k in enumerate(inside) for _ in range(3)]
    assert coverage_of(twins, "68") == found
    apart = [Inside("", 30, {"68": int(k)}, j) for j, k in enumerate(rng.binomial(30, 0.7, 200))]
    independent = coverage_of(apart, "68")
    assert independent.high - independent.low < 0.3 * (found.high - found.low)


def test_every_structure_is_in_one_fold_and_kinds_are_shared_out() -> None:
    kinds = ["a"] * 41 + ["b"] * 7 + ["c"] * 3
    folds = np.array(stratified_folds(kinds, 5))
    assert set(folds) == set(range(5))
    for kind in "abc":
        counts = np.bincount(folds[np.array(kinds) == kind], minlength=5)
        assert counts.max() - counts.min() <= 1
