"""Sums of four vectors at once against NumPy."""

import numpy as np
import pytest
from numba import njit

from castile.numerics.simd import WIDE_BYTES, wide_load
from castile.numerics.simd_sums import store_sums


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_of_four_vectors(dtype: type) -> None:
    lanes = WIDE_BYTES // np.dtype(dtype).itemsize

    @njit
    def apply(values, out):  # type: ignore[no-untyped-def]
        a, b = wide_load(values, 0), wide_load(values, lanes)
        store_sums(out, 1, a, b, wide_load(values, 2 * lanes), wide_load(values, 3 * lanes))

    values = np.random.default_rng(0).normal(size=4 * lanes).astype(dtype)
    out = np.zeros(6, dtype)
    apply(values, out)
    expected = values.reshape(4, lanes).sum(axis=1)
    np.testing.assert_allclose(out, [0.0, *expected, 0.0], rtol=1e-5 if dtype == np.float32 else 1e-13)
