"""The reduction step: both ways to reach LAPACK, views of buffers, triangles below triangles."""

import numpy as np
import pytest

from castile.regression import lapack
from castile.regression.lapack import reduce_below_triangle


def make_triangle(n, seed=0):
    return np.asfortranarray(np.triu(np.random.default_rng(seed).standard_normal((n, n))))


@pytest.fixture(params=["cython_lapack", "scipy wrapper"])
def backend(request, monkeypatch):
    assert lapack._TPQRT is not None, "SciPy's dtpqrt has another signature: threads will wait for each other"
    if request.param == "scipy wrapper":
        monkeypatch.setattr(lapack, "_TPQRT", None)
    return request.param


@pytest.mark.parametrize(("n", "n_rows"), [(2, 1), (5, 1), (31, 40), (33, 7), (80, 80)])
def test_gram_is_kept(backend, n, n_rows):
    triangle = make_triangle(n)
    buffer = np.asfortranarray(np.random.default_rng(1).standard_normal((n_rows + 9, n)))
    block, rest = buffer[:n_rows], buffer[n_rows:].copy()
    expected = triangle.T @ triangle + block.T @ block
    reduce_below_triangle(triangle, block)
    np.testing.assert_allclose(triangle.T @ triangle, expected, atol=1e-12 * n)
    np.testing.assert_array_equal(triangle, np.triu(triangle))
    np.testing.assert_array_equal(buffer[n_rows:], rest)


def test_triangle_below_triangle(backend):
    triangle, below = make_triangle(50, 1), make_triangle(50, 2)
    expected = triangle.T @ triangle + below.T @ below
    reduce_below_triangle(triangle, below, trapezoid_rows=50)
    np.testing.assert_allclose(triangle.T @ triangle, expected, atol=1e-11)


def test_part_below_the_diagonal_is_not_read(backend):
    clean, dirty = make_triangle(20), make_triangle(20)
    dirty[np.tril_indices(20, -1)] = np.nan
    rows = np.random.default_rng(3).standard_normal((6, 20))
    reduce_below_triangle(clean, np.array(rows, order="F"))
    reduce_below_triangle(dirty, np.array(rows, order="F"))
    np.testing.assert_array_equal(np.triu(dirty), np.triu(clean))


def test_no_rows_change_nothing(backend):
    triangle = make_triangle(4)
    before = triangle.copy()
    reduce_below_triangle(triangle, np.zeros((0, 4), order="F"))
    np.testing.assert_array_equal(triangle, before)


def test_other_layouts_are_refused():
    with pytest.raises(ValueError, match="unit stride"):
        reduce_below_triangle(make_triangle(4), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="unit stride"):
        reduce_below_triangle(make_triangle(4), np.zeros((3, 5), order="F"))
    with pytest.raises(ValueError, match="float64"):
        reduce_below_triangle(make_triangle(4), np.zeros((3, 4), order="F", dtype=np.float32))
