"""Products by blocks of registers against NumPy, for any number of rows and in both precisions."""

import numpy as np
import pytest

from castile.numerics.contraction import ROWS, contract
from castile.numerics.simd import LANES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keep", [False, True])
def test_products(dtype: str, keep: bool) -> None:
    rng = np.random.default_rng(0)
    columns = 2 * LANES
    for n_rows in range(1, 2 * ROWS + 2):
        for count in (0, 1, 5):
            a = rng.normal(size=(n_rows, count + 2)).astype(dtype)
            b = rng.normal(size=(count + 1, columns + 3)).astype(dtype)
            out = rng.normal(size=(n_rows, columns + 1)).astype(dtype)
            expected = out.copy()
            expected[:, :columns] *= keep
            expected[:, :columns] += a[:, 1 : 1 + count] @ b[:count, 3:]
            contract(
                a.ravel(), 1, count + 2, 1, b.ravel(), 3, columns + 3, count,
                out.reshape(-1), 0, columns + 1, n_rows, columns, keep,
            )  # fmt: skip
            np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5 if dtype == "float32" else 1e-14)


def test_rows_of_one_array_may_be_its_columns() -> None:
    """The power spectrum multiplies the transpose of an array with itself."""
    a = np.random.default_rng(1).normal(size=(5, LANES))
    out = np.full((3, LANES), np.nan)
    contract(a.ravel(), 2, 1, LANES, a.ravel(), 0, LANES, 5, out.reshape(-1), 0, LANES, 3, LANES, False)
    np.testing.assert_allclose(out, a[:, 2:5].T @ a, rtol=0, atol=1e-14)
