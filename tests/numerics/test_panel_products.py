import numpy as np
import pytest

from castile.numerics.panel_products import PANEL, ROWS, multiply_panels, pack_panels, times_panels


@pytest.mark.parametrize("n_points", [1, PANEL - 1, PANEL, 3 * PANEL + 5])
@pytest.mark.parametrize("width", [1, 7, 324])
def test_products_equal_those_of_the_matrix_library(n_points, width):
    rng = np.random.default_rng(n_points + width)
    rows, points = rng.normal(size=(3 * ROWS, width)), rng.normal(size=(n_points, width))
    panels = pack_panels(points)
    n_panels = -(-n_points // PANEL)
    out = np.full(len(rows) * n_panels * PANEL, np.nan)
    multiply_panels(rows.ravel(), len(rows), width, panels, 0, n_panels, out, n_panels * PANEL)
    columns = out.reshape(len(rows), -1)
    np.testing.assert_allclose(columns[:, :n_points], rows @ points.T, rtol=1e-12, atol=1e-12)
    assert not columns[:, n_points:].any()


def test_some_panels_only():
    rng = np.random.default_rng(0)
    rows, points = rng.normal(size=(ROWS, 10)), rng.normal(size=(4 * PANEL, 10))
    out = np.zeros(ROWS * 2 * PANEL)
    multiply_panels(rows.ravel(), ROWS, 10, pack_panels(points), 1, 3, out, 2 * PANEL)
    np.testing.assert_allclose(
        out.reshape(ROWS, -1), rows @ points[PANEL : 3 * PANEL].T, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("n_rows", [0, 1, ROWS, 2 * ROWS + 3])
def test_any_number_of_rows(n_rows):
    rng = np.random.default_rng(n_rows)
    rows, points = rng.normal(size=(n_rows, 11)), rng.normal(size=(PANEL + 2, 11))
    np.testing.assert_allclose(
        times_panels(rows, pack_panels(points), len(points)), rows @ points.T, rtol=1e-12, atol=1e-12
    )
