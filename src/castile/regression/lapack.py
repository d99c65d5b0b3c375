"""The one LAPACK routine that the streaming fit needs without the interpreter lock.

SciPy's Python wrapper of ``dtpqrt`` holds the interpreter lock, so that a reduction stops every other thread
of the fit. The same compiled routine is reached here through SciPy's public Cython interface
(``scipy.linalg.cython_lapack``) with ctypes, which releases the lock during the call.
"""

import ctypes
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_lapack, lapack

Float64Array = NDArray[np.float64]

PANEL_COLUMNS = 32
"""Columns per panel of the blocked reflectors; 16 to 64 take the same time within a tenth."""

_SIGNATURE = b"void (int *, int *, int *, int *, d *, int *, d *, int *, d *, int *, d *, int *)"


def _cython_routine(name: str) -> Callable[..., None] | None:
    """Foreign function for a routine of ``cython_lapack``; None where its signature is another one."""
    capsule = cython_lapack.__pyx_capi__.get(name)
    if capsule is None:
        return None
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsule)
    normalized = signature.replace(b"__pyx_t_5scipy_6linalg_13cython_lapack_d", b"d")
    if normalized != _SIGNATURE:
        return None
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 12)(get_pointer(capsule, signature))


_TPQRT = _cython_routine("dtpqrt")


def reduce_below_triangle(triangle: Float64Array, block: Float64Array, *, trapezoid_rows: int = 0) -> None:
    """Replace a triangle by that of the Householder QR of [triangle; block], in place (LAPACK dtpqrt).

    Arguments:
        triangle: (n, n), upper triangular, Fortran order, float64; overwritten. The part below the diagonal
            is neither read nor written.
        block: (b, n), Fortran order (rows may be the leading part of a larger buffer); overwritten with
            the reflectors.
        trapezoid_rows: number of last rows of ``block`` that are upper trapezoidal (b for a triangle),
            which saves the work on the zeros.

    Raises ValueError when the arrays do not have this layout.

    """
    n_columns = triangle.shape[0]
    n_rows = block.shape[0]
    if n_rows == 0:
        return
    for array in (triangle, block):
        if array.dtype != np.float64 or array.shape[1] != n_columns or array.strides[0] != 8:
            raise ValueError(f"need float64 columns of unit stride, got {array.dtype} {array.strides}")
    panel = min(PANEL_COLUMNS, n_columns)
    if _TPQRT is None:
        upper, _, _, info = lapack.dtpqrt(trapezoid_rows, panel, triangle, block, overwrite_a=1)
        if upper is not triangle:
            triangle[...] = upper
    else:
        reflectors = np.empty((panel, n_columns), order="F")
        work = np.empty(panel * n_columns)
        sizes = (n_rows, n_columns, trapezoid_rows, panel)
        leading = (triangle.strides[1] // 8, block.strides[1] // 8, panel)
        status = ctypes.c_int(0)
        integers = [ctypes.c_int(value) for value in (*sizes, *leading)]
        m, n, l, nb, lda, ldb, ldt = (ctypes.addressof(value) for value in integers)
        _TPQRT(
            m, n, l, nb, triangle.ctypes.data, lda, block.ctypes.data, ldb,
            reflectors.ctypes.data, ldt, work.ctypes.data, ctypes.addressof(status),
        )  # fmt: skip
        info = status.value
    if info != 0:
        raise ValueError(f"dtpqrt refused its argument number {-info}")
