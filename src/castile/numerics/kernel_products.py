"""Energies and slopes of the kernel k = (p . s + offset)^zeta summed over sparse points, without any matrix
of kernels.

Blocks of sparse points stay in cache while they are used twice: for the dot products, and for the product
that leads back to the descriptors. Both are register-blocked here, because the matrix-product library is far
from its speed for the few rows of a small cell or of one chunk.

Sparse points may be stored in single precision. Then spectra and sparse points are taken relative to a
reference spectrum m, p . s = (p - m) . (s - m) + p . m + (s . m - m . m), whose last two parts are exact: the
rounding acts on the small first part only. Powers and sums over sparse points are always in double precision.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from castile.numerics.simd import WIDE_BYTES, multiply_add, store, wide_fill, wide_load, wide_splat
from castile.numerics.simd_sums import store_sums

ROWS = 4  # of the register blocks
_BLOCK = 64
_FAST = {"contract", "nsz", "arcp", "reassoc"}


class SparsePoints(NamedTuple):
    """Sparse points relative to a reference, padded with zeros to whole vectors and whole register blocks.

    points: flat (n_padded, width), float64 or float32; shifts: (n_padded,) s . m - m . m;
    reference: (width,) the spectrum m; width: padded number of features; n_points: without padding.
    """

    points: np.ndarray
    shifts: np.ndarray
    reference: np.ndarray
    width: int
    n_points: int


def pack_sparse_points(points, dtype="float64"):
    """Return sparse points (n_points, n_features) as the kernels want them; relative to their mean in single
    precision.
    """
    relative = np.dtype(dtype) == np.float32 and len(points) > 0
    reference = points.mean(axis=0) if relative else np.zeros(points.shape[1])
    return _pack(points - reference, points @ reference - reference @ reference, reference, dtype)


def pack_quadratic_form(matrix, reference, dtype="float64"):
    """Return a symmetric matrix A (n_features, n_features) as :func:`quadratic_response` wants it.

    In single precision A p = A (p - m) + A m with the reference spectrum m, and A m is exact.
    """
    reference = reference if np.dtype(dtype) == np.float32 else np.zeros_like(reference)
    return _pack(matrix, matrix @ reference, reference, dtype)


def _pack(points, shifts, reference, dtype):
    n_points, n_features = points.shape
    lanes = WIDE_BYTES // np.dtype(dtype).itemsize
    width = -(-n_features // lanes) * lanes
    rows = -(-n_points // ROWS) * ROWS
    packed = np.zeros((rows, width), dtype)
    packed[:n_points, :n_features] = points
    return SparsePoints(
        packed.ravel(),
        np.pad(shifts, (0, rows - n_points)),
        np.pad(reference, (0, width - n_features)),
        width,
        n_points,
    )


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def kernel_response(features, sparse, weights, zeta, offset, energies, cotangent):
    """Write energies_i = sum_s w_s (p_i . s + offset)^zeta and cotangent_i = dE_i/dp_i.

    features: (n_rows, n_features); weights: (n_points,); energies: (n_rows,); cotangent: as features.
    Negative bases count as zero where zeta is not whole.
    """
    n_rows, n_features = features.shape
    width = sparse.width
    n_padded = -(-n_rows // ROWS) * ROWS
    dtype = sparse.points.dtype
    rows = np.zeros(n_padded * width, dtype)
    bases = np.empty(n_padded)
    _pack_rows(features, sparse.reference, width, rows, bases)
    back = np.zeros(n_padded * width, dtype)
    block_dots = np.empty(n_padded * _BLOCK, dtype)
    slopes = np.empty(n_padded * _BLOCK, dtype)
    totals = np.zeros(n_padded)
    energies[:] = 0.0
    for begin in range(0, sparse.shifts.size, _BLOCK):
        end = min(begin + _BLOCK, sparse.shifts.size)
        _multiply(rows, sparse.points, begin, end, width, n_padded, block_dots)
        _raise(block_dots, sparse, begin, end, bases, weights, zeta, offset, energies, slopes, totals)
        _multiply_back(slopes, sparse.points, begin, end, width, n_padded, back)
    for row in range(n_rows):
        for f in range(n_features):
            cotangent[row, f] = back[row * width + f] + totals[row] * sparse.reference[f]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _pack_rows(features, reference, width, rows, bases):
    """Copy p - m, padded, and write p . m; rows that only fill up a register block stay zero."""
    bases[:] = 0.0
    for row in range(features.shape[0]):
        along = 0.0
        for f in range(features.shape[1]):
            along += features[row, f] * reference[f]
            rows[row * width + f] = features[row, f] - reference[f]
        bases[row] = along


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _raise(dots, sparse, begin, end, bases, weights, zeta, offset, energies, slopes, totals):
    """Add w k to the energies and write the slopes zeta w (dot)^(zeta - 1) of one block of sparse points."""
    last = min(end, sparse.n_points)
    whole = int(zeta)
    repeats = whole - 1 if whole == zeta else -1
    base = np.empty(_BLOCK)
    power = np.empty(_BLOCK)
    for row in range(energies.size):
        corner = row * _BLOCK
        shift = bases[row] + offset
        for s in range(begin, last):
            base[s - begin] = dots[corner + s - begin] + sparse.shifts[s] + shift
        if repeats >= 0:
            power[: last - begin] = 1.0
            for _ in range(repeats):
                for s in range(last - begin):
                    power[s] *= base[s]
        else:
            for s in range(last - begin):
                power[s] = base[s] ** (zeta - 1.0) if base[s] > 0.0 else 0.0
        energy, total = 0.0, 0.0
        for s in range(last - begin):
            slope = weights[begin + s] * power[s]
            energy += slope * base[s]
            total += slope
            slopes[corner + s] = zeta * slope
        for s in range(last - begin, end - begin):
            slopes[corner + s] = 0.0
        energies[row] += energy
        totals[row] += zeta * total


@njit(nogil=True, cache=True, error_model="numpy")
def _multiply(rows, points, begin, end, width, n_rows, dots):
    """Write dots[row, s - begin] = rows[row] . points[s] by register blocks of four rows and four points."""
    lanes = WIDE_BYTES // rows.itemsize
    zero = wide_fill(rows, 0.0)
    for s in range(begin, end, ROWS):
        s0 = s * width
        s1, s2, s3 = s0 + width, s0 + 2 * width, s0 + 3 * width
        for row in range(0, n_rows, ROWS):
            f0 = row * width
            f1, f2, f3 = f0 + width, f0 + 2 * width, f0 + 3 * width
            a00, a01, a02, a03 = zero, zero, zero, zero
            a10, a11, a12, a13 = zero, zero, zero, zero
            a20, a21, a22, a23 = zero, zero, zero, zero
            a30, a31, a32, a33 = zero, zero, zero, zero
            for q in range(0, width, lanes):
                b0, b1 = wide_load(points, s0 + q), wide_load(points, s1 + q)
                b2, b3 = wide_load(points, s2 + q), wide_load(points, s3 + q)
                v = wide_load(rows, f0 + q)
                a00, a01 = multiply_add(v, b0, a00), multiply_add(v, b1, a01)
                a02, a03 = multiply_add(v, b2, a02), multiply_add(v, b3, a03)
                v = wide_load(rows, f1 + q)
                a10, a11 = multiply_add(v, b0, a10), multiply_add(v, b1, a11)
                a12, a13 = multiply_add(v, b2, a12), multiply_add(v, b3, a13)
                v = wide_load(rows, f2 + q)
                a20, a21 = multiply_add(v, b0, a20), multiply_add(v, b1, a21)
                a22, a23 = multiply_add(v, b2, a22), multiply_add(v, b3, a23)
                v = wide_load(rows, f3 + q)
                a30, a31 = multiply_add(v, b0, a30), multiply_add(v, b1, a31)
                a32, a33 = multiply_add(v, b2, a32), multiply_add(v, b3, a33)
            d = row * _BLOCK + s - begin
            store_sums(dots, d, a00, a01, a02, a03)
            store_sums(dots, d + _BLOCK, a10, a11, a12, a13)
            store_sums(dots, d + 2 * _BLOCK, a20, a21, a22, a23)
            store_sums(dots, d + 3 * _BLOCK, a30, a31, a32, a33)


@njit(nogil=True, cache=True, error_model="numpy")
def _multiply_back(slopes, points, begin, end, width, n_rows, back):
    """Add slopes[row, s - begin] points[s] to back[row] by register blocks of four rows and two vectors."""
    lanes = WIDE_BYTES // back.itemsize
    pair = 2 * lanes
    for q in range(0, width - pair + 1, pair):
        for row in range(0, n_rows, ROWS):
            o0 = row * width + q
            o1, o2, o3 = o0 + width, o0 + 2 * width, o0 + 3 * width
            a00, a01 = wide_load(back, o0), wide_load(back, o0 + lanes)
            a10, a11 = wide_load(back, o1), wide_load(back, o1 + lanes)
            a20, a21 = wide_load(back, o2), wide_load(back, o2 + lanes)
            a30, a31 = wide_load(back, o3), wide_load(back, o3 + lanes)
            for s in range(begin, end):
                b0, b1 = wide_load(points, s * width + q), wide_load(points, s * width + q + lanes)
                p = row * _BLOCK + s - begin
                v = wide_splat(slopes, p)
                a00, a01 = multiply_add(v, b0, a00), multiply_add(v, b1, a01)
                v = wide_splat(slopes, p + _BLOCK)
                a10, a11 = multiply_add(v, b0, a10), multiply_add(v, b1, a11)
                v = wide_splat(slopes, p + 2 * _BLOCK)
                a20, a21 = multiply_add(v, b0, a20), multiply_add(v, b1, a21)
                v = wide_splat(slopes, p + 3 * _BLOCK)
                a30, a31 = multiply_add(v, b0, a30), multiply_add(v, b1, a31)
            store(back, o0, a00)
            store(back, o0 + lanes, a01)
            store(back, o1, a10)
            store(back, o1 + lanes, a11)
            store(back, o2, a20)
            store(back, o2 + lanes, a21)
            store(back, o3, a30)
            store(back, o3 + lanes, a31)
    if width % pair:
        q = width - lanes
        for row in range(n_rows):
            total = wide_load(back, row * width + q)
            for s in range(begin, end):
                v = wide_splat(slopes, row * _BLOCK + s - begin)
                total = multiply_add(v, wide_load(points, s * width + q), total)
            store(back, row * width + q, total)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def quadratic_response(features, matrix, energies, cotangent):
    """Write energies_i = p_i^T A p_i and cotangent_i = 2 A p_i for a symmetric A, packed as sparse points.

    features: (n_rows, n_features); energies: (n_rows,); cotangent: as features.
    """
    n_rows, n_features = features.shape
    width = matrix.width
    n_padded = -(-n_rows // ROWS) * ROWS
    rows = np.zeros(n_padded * width, matrix.points.dtype)
    bases = np.empty(n_padded)
    _pack_rows(features, matrix.reference, width, rows, bases)
    block_dots = np.empty(n_padded * _BLOCK, matrix.points.dtype)
    energies[:] = 0.0
    for begin in range(0, matrix.shifts.size, _BLOCK):
        end = min(begin + _BLOCK, matrix.shifts.size)
        _multiply(rows, matrix.points, begin, end, width, n_padded, block_dots)
        for row in range(n_rows):
            energy = 0.0
            for f in range(begin, min(end, n_features)):
                product = block_dots[row * _BLOCK + f - begin] + matrix.shifts[f]
                energy += features[row, f] * product
                cotangent[row, f] = 2.0 * product
            energies[row] += energy
