"""Blocks on disk and their compressed form."""

import numpy as np
import pytest

from castile.errors import InputError
from castile.selection.criteria import OwnVariance, TargetCovariance, information_gain
from castile.selection.posterior_root import PosteriorRoot
from castile.selection.row_blocks import BlockFile, compress_block


def test_blocks_come_back(tmp_path):
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 7)) for n in (3, 0, 12, 1)]
    with BlockFile(7, tmp_path) as blocks:
        for part in parts:
            blocks.append(part)
        assert len(blocks) == 4
        assert blocks.n_bytes == 8 * 7 * 16
        for index in (2, 0, 3, 1):
            np.testing.assert_array_equal(blocks[index], parts[index])
        blocks.append(parts[0])
        np.testing.assert_array_equal(list(blocks)[4], parts[0])
        with pytest.raises(IndexError):
            blocks[5]
    assert not list(tmp_path.iterdir())


def test_wrong_width_is_named():
    with BlockFile(4) as blocks, pytest.raises(InputError, match=r"\(2, 3\)"):
        blocks.append(np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (1, 5)])
def test_compression_keeps_the_information(shape):
    """Less than what may be dropped, given any other observation."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal(shape) * np.geomspace(10.0, 1e-6, shape[1])
    small = compress_block(rows, dropped=1e-3)
    assert len(small) <= len(rows)
    if shape[0] > 1:
        assert len(small) < min(shape)
    other = rng.standard_normal((shape[1], shape[1]))
    root = np.linalg.inv(np.linalg.cholesky(np.eye(shape[1]) + other @ other.T)).T
    for whitening in (np.eye(shape[1]), root):
        lost = information_gain(rows @ whitening) - information_gain(small @ whitening)
        assert -1e-9 < lost < 1e-3
    squares = np.einsum("ij,ij->i", small, small)
    assert np.all(np.diff(squares) <= 1e-9)


def test_nothing_dropped_by_default_that_counts():
    rows = np.random.default_rng(2).standard_normal((20, 40))
    small = compress_block(rows)
    np.testing.assert_allclose(small.T @ small, rows.T @ rows, atol=1e-10)


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_compression_keeps_what_great_numbers_hide(shape):
    """A direction of length 10 beside one of 1e8, which products of rows lose."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((n, 20)))[0] for n in shape)
    lengths = np.geomspace(1e8, 10.0, 20)
    small = compress_block((left * lengths) @ right.T)
    np.testing.assert_allclose(np.linalg.norm(small, axis=1), lengths, rtol=1e-5)


def test_compression_changes_no_worth():
    """Neither its own variance nor what it lowers the covariances of targets by, by more than it says."""
    rng = np.random.default_rng(4)
    for width in (0.0, 3.0):
        rows = rng.standard_normal((40, 60)) * np.geomspace(10.0, 1e-5, 60)
        dropped = 1e-3
        small = compress_block(rows, dropped)
        root = PosteriorRoot(60)
        root.observe(root.whiten(width * rng.standard_normal((20, 60))))
        whole, cut = root.whiten(rows), root.whiten(small)
        assert len(cut) < len(whole)
        lost = OwnVariance().value(whole) - OwnVariance().value(cut)
        assert -1e-9 < lost < 2.0 * dropped
        targets = rng.standard_normal((30, 60))
        criterion = TargetCovariance(targets.T @ targets)
        lost = criterion.value(whole) - criterion.value(cut)
        assert -1e-9 < lost < 4.0 * dropped * np.sum(criterion.metric**2)
