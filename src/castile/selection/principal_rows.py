"""Principal directions of a block of rows, also of labels so precise that products of rows lose the rest."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, eigvalsh, solve_triangular, svd, svdvals

Float64Array = NDArray[np.float64]

LARGEST_SQUARE = 1e9
"""Largest eigenvalue of Z Z^T that still leaves the others, which count where they are not far below 1, right
to about a millionth. Above it singular values are computed, which need no product of rows."""


def principal_squares(rows: Float64Array) -> Float64Array:
    """Eigenvalues s of Z Z^T, the largest first, without zeros of mere shape; ``rows`` Z (b, n_columns)."""
    if len(rows) == 0:
        return np.zeros(0)
    gram = _smaller_product(rows)
    if _is_safe(gram):
        return np.maximum(eigvalsh(gram, check_finite=False), 0.0)[::-1]
    return np.asarray(svdvals(rows, check_finite=False) ** 2)


def principal_rows(rows: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Eigenvalues s of Z Z^T = U s U^T, the largest first, and the rows U^T Z, orthogonal to each other.

    Arguments:
        rows: Z, (b, n_columns).

    """
    if len(rows) == 0:
        return np.zeros(0), rows
    gram = _smaller_product(rows)
    if not _is_safe(gram):
        _, lengths, directions = svd(rows, full_matrices=False, check_finite=False)
        return lengths**2, lengths[:, None] * directions
    squares, vectors = eigh(gram, check_finite=False)
    squares, vectors = np.maximum(squares, 0.0)[::-1], vectors[:, ::-1]
    if len(rows) <= rows.shape[1]:
        return squares, vectors.T @ rows
    return squares, np.sqrt(squares)[:, None] * vectors.T


def explained_rows(rows: Float64Array) -> Float64Array:
    """Rows H with H^T H = 1 - (1 + Z^T Z)^-1, what the observation of ``rows`` Z (b, n_columns) explains.

    L^-1 Z with L L^T = 1 + Z Z^T, which is faster than principal rows, or (1 + s)^(-1/2) U^T Z.
    """
    if len(rows) == 0:
        return rows
    gram = rows @ rows.T
    if _is_safe(gram):
        gram[np.diag_indices_from(gram)] += 1.0
        lower = cholesky(gram, lower=True, check_finite=False)
        return np.asarray(solve_triangular(lower, rows, lower=True, check_finite=False))
    squares, principal = principal_rows(rows)
    return principal / np.sqrt(1.0 + squares)[:, None]


def _smaller_product(rows: Float64Array) -> Float64Array:
    """Z Z^T or Z^T Z, whichever is smaller: their eigenvalues are the same but for zeros."""
    product = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    return np.asarray(product)


def _is_safe(gram: Float64Array) -> bool:
    return bool(np.trace(gram) < LARGEST_SQUARE)
