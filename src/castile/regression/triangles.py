"""Upper triangles without their zeros, for files."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import FitError

Float64Array = NDArray[np.float64]


def pack_triangle(triangle: ArrayLike) -> Float64Array:
    """Upper triangle of (n, n) row by row, (n (n + 1) / 2,)."""
    array = np.asarray(triangle, dtype=np.float64)
    packed = np.empty(len(array) * (len(array) + 1) // 2)
    for row, part in enumerate(_row_slices(len(array))):
        packed[part] = array[row, row:]
    return packed


def unpack_triangle(values: ArrayLike, size: int) -> Float64Array:
    """The inverse of ``pack_triangle``: (size, size), Fortran order. Raises FitError for a wrong length."""
    packed = np.asarray(values, dtype=np.float64)
    expected = size * (size + 1) // 2
    if packed.shape != (expected,):
        raise FitError(
            f"packed triangle has shape {packed.shape}, expected ({expected},) for {size} columns: "
            "it does not belong to these sparse points"
        )
    triangle = np.zeros((size, size), order="F")
    for row, part in enumerate(_row_slices(size)):
        triangle[row, row:] = packed[part]
    return triangle


def _row_slices(size: int) -> Iterator[slice]:
    """Yield where each row is; index arrays of the triangle would be four times as large as itself."""
    start = 0
    for row in range(size):
        yield slice(start, start + size - row)
        start += size - row
