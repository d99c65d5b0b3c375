"""Energies and slopes over sparse points against plain NumPy, in both precisions."""

import numpy as np
import pytest

from castile.numerics.kernel_products import (
    kernel_response,
    pack_quadratic_form,
    pack_sparse_points,
    quadratic_response,
)


def _environments(n_rows, n_points, n_features, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.random(n_features)
    rows, points = (common + 0.2 * rng.random((n, n_features)) for n in (n_rows, n_points))
    return (
        rows / np.linalg.norm(rows, axis=1)[:, None],
        points / np.linalg.norm(points, axis=1)[:, None],
        rng.normal(size=n_points),
    )


def _respond(rows, sparse, weights, zeta, offset):
    energies, cotangent = np.full(len(rows), np.nan), np.full(rows.shape, np.nan)
    kernel_response(rows, sparse, weights, zeta, offset, energies, cotangent)
    return energies, cotangent


def _oracle(rows, points, weights, zeta, offset):
    dots = rows @ points.T + offset
    return dots**zeta @ weights, (zeta * dots ** (zeta - 1.0) * weights) @ points


@pytest.mark.parametrize("n_rows", [1, 3, 4, 9, 64])
@pytest.mark.parametrize(("n_points", "n_features"), [(1, 5), (63, 324), (64, 17), (65, 40), (130, 16)])
@pytest.mark.parametrize(("zeta", "offset"), [(1.0, 0.0), (2.0, 0.1), (4.0, 0.0), (2.5, 0.0)])
def test_double_precision_equals_numpy(n_rows, n_points, n_features, zeta, offset):
    rows, points, weights = _environments(n_rows, n_points, n_features)
    energies, cotangent = _respond(rows, pack_sparse_points(points), weights, zeta, offset)
    expected, slopes = _oracle(rows, points, weights, zeta, offset)
    np.testing.assert_allclose(energies, expected, rtol=0, atol=1e-12 * np.abs(weights).sum())
    np.testing.assert_allclose(cotangent, slopes, rtol=0, atol=1e-12 * zeta * np.abs(weights).sum())


@pytest.mark.parametrize(("zeta", "offset"), [(2.0, 0.0), (4.0, 0.3), (2.5, 0.0)])
def test_single_precision_rounds_only_what_differs_from_the_mean_spectrum(zeta, offset):
    rows, points, weights = _environments(37, 201, 324)
    energies, cotangent = _respond(rows, pack_sparse_points(points, "float32"), weights, zeta, offset)
    expected, slopes = _oracle(rows, points, weights, zeta, offset)
    scale = zeta * np.linalg.norm(weights) * (1.0 + offset) ** zeta
    spread = np.linalg.norm(points - points.mean(axis=0), axis=1).max() ** 2
    assert np.abs(energies - expected).max() < 4.0 * np.finfo(np.float32).eps * spread * scale
    assert np.abs(cotangent - slopes).max() < 4.0 * np.finfo(np.float32).eps * zeta * scale
    assert np.abs(energies - expected).max() > 0.0


def test_negative_products_count_as_zero_where_zeta_is_not_whole():
    rows, points = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[-1.0, 0.0], [0.0, 1.0]])
    energies, cotangent = _respond(rows, pack_sparse_points(points), np.array([2.0, 3.0]), 2.5, 0.0)
    np.testing.assert_allclose(energies, [0.0, 3.0], atol=1e-15)
    np.testing.assert_allclose(cotangent, [[0.0, 0.0], [0.0, 7.5]], atol=1e-14)


def test_no_sparse_point_gives_zero():
    energies, cotangent = _respond(
        np.ones((2, 3)), pack_sparse_points(np.empty((0, 3))), np.empty(0), 2.0, 0.0
    )
    np.testing.assert_array_equal(energies, 0.0)
    np.testing.assert_array_equal(cotangent, 0.0)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("n_rows", "n_features"), [(1, 3), (7, 64), (64, 252), (5, 131)])
def test_quadratic_form(precision, n_rows, n_features):
    rows, points, weights = _environments(n_rows, 300, n_features)
    matrix = (points.T * weights) @ points
    energies, cotangent = np.full(n_rows, np.nan), np.full(rows.shape, np.nan)
    packed = pack_quadratic_form(matrix, points.mean(axis=0), precision)
    quadratic_response(rows, packed, energies, cotangent)
    expected, slopes = _oracle(rows, points, weights, 2.0, 0.0)
    tolerance = np.linalg.norm(matrix, 2) * (1e-13 if precision == "float64" else 1e-6)
    np.testing.assert_allclose(energies, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(cotangent, slopes, rtol=0, atol=tolerance)
