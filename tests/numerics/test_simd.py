"""Explicit vectors: every operation against NumPy, in both precisions and at any offset."""

import numpy as np
import pytest
from numba import njit

from castile.numerics.simd import (
    LANES,
    add,
    aligned_empty,
    aligned_zeros,
    fill,
    lane_sum,
    load,
    multiply,
    multiply_add,
    splat,
    store,
    subtract,
    transpose,
)


@njit
def operations(a, b, offset, out):
    """Write the result of every operation, one after the other."""
    x, y = load(a, offset), load(b, offset)
    store(out, 0, add(x, y))
    store(out, LANES, subtract(x, y))
    store(out, 2 * LANES, multiply(x, y))
    store(out, 3 * LANES, multiply_add(x, y, splat(b, offset + 2)))
    store(out, 4 * LANES, fill(a, 2.5))
    return lane_sum(x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_operations(dtype: str, offset: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3 * LANES)).astype(dtype)
    out = np.empty(5 * LANES, dtype)
    total = operations(a, b, offset, out)
    x, y = a[offset : offset + LANES], b[offset : offset + LANES]
    expected = np.concatenate([x + y, x - y, x * y, x * y + b[offset + 2], np.full(LANES, 2.5, dtype)])
    tolerance = 1e-6 if dtype == "float32" else 1e-15
    np.testing.assert_allclose(out, expected, atol=tolerance)
    assert total == pytest.approx(float(x.sum(dtype="float64")), abs=10 * tolerance)


@njit
def overwrite(a):
    """Store over a part of what was loaded."""
    store(a, 1, load(a, 0))


def test_neighbours_of_a_store_stay() -> None:
    a = np.arange(2.0 * LANES)
    overwrite(a)
    np.testing.assert_array_equal(a[1 : LANES + 1], np.arange(LANES))
    np.testing.assert_array_equal(a[LANES + 1 :], np.arange(LANES + 1, 2 * LANES))
    assert a[0] == 0.0


@njit
def transpose_twice(a, out):
    """Write the transpose of a block to ``out``, and turn it in place."""
    transpose(a, 1, LANES + 2, out, 3, LANES + 1)
    transpose(a, 1, LANES + 2, a, 1, LANES + 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transpose(dtype: str) -> None:
    a = np.random.default_rng(1).normal(size=LANES * (LANES + 2)).astype(dtype)
    expected = a.reshape(LANES, LANES + 2).copy()
    expected[:, 1 : LANES + 1] = expected[:, 1 : LANES + 1].T
    out = np.zeros(3 + LANES * (LANES + 1), dtype)
    transpose_twice(a, out)
    block = out[3:].reshape(LANES, LANES + 1)
    np.testing.assert_array_equal(a.reshape(LANES, LANES + 2), expected)
    np.testing.assert_array_equal(block[:, :LANES], expected[:, 1 : LANES + 1])
    assert not out[:3].any()
    assert not block[:, LANES].any()


@njit
def aligned_sum(size, like):
    """Return the sum of aligned zeros, and where an aligned array begins in its cache line."""
    return aligned_zeros(size, like.dtype).sum(), aligned_empty(size, like.dtype).ctypes.data % 64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_aligned_arrays(dtype: str) -> None:
    for size in (1, 7, 100):
        array = aligned_empty(size, dtype)
        assert array.shape == (size,)
        assert array.dtype == dtype
        assert array.ctypes.data % 64 == 0
        assert aligned_sum(size, np.empty(1, dtype)) == (0.0, 0)
