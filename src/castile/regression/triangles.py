"""Upper triangles without their zeros, for files."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from castile.errors import FitError

Float64Array = NDArray[np.float64]


def pack_triangle(triangle: ArrayLike) -> Float64Array:
    """Upper triangle of (n, n) row by row, (n (n + 1) / 2,)."""
    array = np.asarray(triangle, dtype=np.float64)
    return array[np.triu_indices(len(array))]


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
    triangle[np.triu_indices(size)] = packed
    return triangle
