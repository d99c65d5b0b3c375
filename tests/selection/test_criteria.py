"""What blocks of labels are worth, against dense linear algebra."""

import numpy as np
import pytest

from castile.selection.criteria import OwnVariance, TargetCovariance, information_gain, repeated_information


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 4)])
def test_information_is_the_log_determinant(shape):
    rows = np.random.default_rng(0).standard_normal(shape)
    expected = 0.5 * np.linalg.slogdet(np.eye(shape[0]) + rows @ rows.T)[1]
    assert information_gain(rows) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 4)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_own_variance_is_what_the_labels_take_away(shape, size):
    rows = size * np.random.default_rng(0).standard_normal(shape)
    values = np.linalg.svd(rows, compute_uv=False) ** 2
    assert OwnVariance().value(rows) == pytest.approx(np.sum(values**2 / (1.0 + values)), rel=1e-9)


def test_own_variance_falls_with_every_observation():
    """Also where other labels take information away: the lazy search needs it."""
    rng = np.random.default_rng(3)
    rows, criterion, worth = rng.standard_normal((7, 6)), OwnVariance(), []
    precision = np.eye(6)
    for _ in range(20):
        lower = np.linalg.cholesky(np.linalg.inv(precision))
        worth.append(criterion.value(rows @ lower))
        other = rng.standard_normal((2, 6))
        precision += other.T @ other
    assert np.all(np.diff(worth) < 0.0)


def test_repetition_brings_less_noise_only():
    rows = np.array([[3.0, 0.0]])
    assert repeated_information(rows) == pytest.approx(0.5 * np.log(1.0 + 9.0 / 10.0))
    assert repeated_information(rows[:0]) == 0.0


def test_worth_of_repeated_labels_of_extreme_precision():
    """Noise 1e-6 eV and amplitude 1000 eV: nothing fails, and nothing but the one direction counts."""
    row = np.array([[1.0, 2.0, 2.0]])
    rows = 1e9 * np.repeat(row, 7, axis=0)
    square = 7.0 * 9e18
    assert OwnVariance().value(rows) == pytest.approx(square, rel=1e-12)
    assert information_gain(rows) == pytest.approx(0.5 * np.log(square), rel=1e-12)
    assert repeated_information(rows) == pytest.approx(0.5 * np.log(2.0), rel=1e-12)
    metric = np.diag([4.0, 1.0, 1.0])
    left = np.eye(3) - row.T @ row / 9.0  # what labels without noise leave open
    expected = np.sum(metric**2) - np.trace(left @ metric @ left @ metric)
    assert TargetCovariance(metric).value(rows) == pytest.approx(expected, rel=1e-9)
