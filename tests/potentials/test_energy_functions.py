"""The forms of an atom's energy agree, and single precision is taken only where it is safe."""

import numpy as np
import pytest

from castile.potentials.energy_functions import KernelSum, QuadraticForm, energy_function


def _points(n_points, n_features=20):
    rng = np.random.default_rng(1)
    points = 1.0 + 0.2 * rng.random((n_points, n_features))
    return points / np.linalg.norm(points, axis=1)[:, None], rng.normal(size=n_points)


def _oracle(features, points, weights, zeta, offset):
    dots = features @ points.T + offset
    return dots**zeta @ weights, (zeta * dots ** (zeta - 1.0) * weights) @ points


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(
    ("n_points", "zeta", "offset", "form"),
    [
        (50, 2.0, 0.0, QuadraticForm),
        (10, 2.0, 0.0, KernelSum),
        (50, 2.0, 0.1, KernelSum),
        (50, 4.0, 0.0, KernelSum),
    ],
)
def test_energies_and_slopes(precision, n_points, zeta, offset, form):
    points, weights = _points(n_points)
    function = energy_function(points, weights, zeta, offset, precision)
    assert isinstance(function, form)
    features, _ = _points(9)
    energies, slopes = function.respond(features)
    expected, expected_slopes = _oracle(features, points, weights, zeta, offset)
    tolerance = 1e-12 if precision == "float64" else 1e-5
    np.testing.assert_allclose(energies, expected, atol=tolerance)
    np.testing.assert_allclose(slopes, expected_slopes, atol=10.0 * tolerance)


def test_large_weights_that_cancel_keep_double_precision():
    points, weights = _points(50)
    features, _ = _points(9)
    huge = 1e7 * weights
    double = energy_function(points, huge, 4.0, 0.0, "float64").respond(features)[0]
    np.testing.assert_array_equal(
        energy_function(points, huge, 4.0, 0.0, "float32").respond(features)[0], double
    )
    modest = energy_function(points, weights, 4.0, 0.0, "float32")
    assert modest.points.points.dtype == np.float32
