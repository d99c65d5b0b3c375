"""Posterior covariance as labels are observed, against dense linear algebra."""

import numpy as np
import pytest

from castile.selection.criteria import OwnVariance, information_gain
from castile.selection.posterior_root import PosteriorRoot


def features(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * np.geomspace(3.0, 0.05, d)


def test_root_is_the_dense_posterior():
    phi = features(25, d=8) / 0.3
    covariance = np.linalg.inv(np.eye(8) + phi.T @ phi)
    root = PosteriorRoot(8)
    for part in (phi[:3], phi[3:20], phi[20:]):
        root.observe(root.whiten(part))
    np.testing.assert_allclose(root.matrix @ root.matrix.T, covariance, rtol=1e-9, atol=1e-14)
    given = PosteriorRoot.given(np.linalg.qr(np.concatenate([np.eye(8), phi]), mode="r"))
    np.testing.assert_allclose(given.matrix @ given.matrix.T, covariance, rtol=1e-9, atol=1e-14)


def test_root_survives_labels_of_extreme_precision():
    """Information of a repeated label is 1/2 log 2 however precise the label is."""
    rows = 1e7 * features(3, d=6)
    root = PosteriorRoot(6)
    first = root.whiten(rows)
    root.observe(first)
    assert information_gain(root.whiten(rows)) == pytest.approx(1.5 * np.log(2.0), rel=1e-3)


@pytest.mark.parametrize("precision", [1e3, 1e6, 1e9])
def test_root_survives_labels_of_most_different_precision(precision):
    """Labels that are nearly linear combinations of each other: products of rows would lose the rest."""
    rng = np.random.default_rng(0)
    rows = precision * rng.standard_normal((30, 90)) * np.geomspace(1.0, 1e-9, 90)
    repeated = np.concatenate([rows, rows[:5]])
    squares = np.linalg.svd(repeated, compute_uv=False)[:30] ** 2
    shares = squares / (1.0 + squares)  # of the variance of the noise, once they were observed
    variance, information = np.sum(shares**2 / (1.0 + shares)), 0.5 * np.sum(np.log1p(shares))
    root = PosteriorRoot(90)
    root.observe(root.whiten(repeated))
    known = np.concatenate([np.eye(90), repeated])
    for after in (root, PosteriorRoot.given(np.linalg.qr(known, mode="r"))):
        whitened = after.whiten(repeated)
        assert OwnVariance().value(whitened) == pytest.approx(variance, rel=1e-4)
        assert information_gain(whitened) == pytest.approx(information, rel=1e-4)
