"""Spline tables of the radial functions: basis, cutoff function and radial scaling folded into piecewise
polynomials.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CutoffFunction
from castile.descriptors.radial_bases import RadialBasis
from castile.descriptors.radial_scaling import RadialScaling
from castile.numerics.density import DEGREE, RadialTable
from castile.numerics.simd import LANES, aligned_zeros

TOLERANCE = 2e-13
_SHORTEST = 1e-3
_MOST_INTERVALS = 4000


@lru_cache(maxsize=32)
def build_radial_table(
    basis: RadialBasis, cutoff: CutoffFunction, scaling: RadialScaling, dtype: str = "float64"
) -> RadialTable:
    """Return quintic polynomials of f(r) u(r) R_nl(r) between nodes that include the cutoff's own.

    The step is halved until the largest error between the nodes is below ``TOLERANCE`` times the largest
    value,
    so the table is exact to rounding; forces are the exact derivative of the polynomials.

    Parameters
    ----------
    basis, cutoff, scaling
        The factors R_nl, f and u.
    dtype : "float64" or "float32"
        Precision of the coefficients.
    """
    step = cutoff.width / max(1, int(np.ceil(cutoff.width / (0.25 * basis.sigma))))
    while True:
        coefficients, start, error = _interpolate(basis, cutoff, scaling, step)
        if error < TOLERANCE or len(coefficients) > _MOST_INTERVALS or (dtype == "float32" and error < 1e-8):
            break
        step /= 2
    n_intervals, n_l, _, n_max = coefficients.shape
    n_padded = -(-n_max // LANES) * LANES
    padded = aligned_zeros(n_intervals * n_l * (DEGREE + 1) * n_padded, dtype)
    padded.reshape(n_intervals, n_l, DEGREE + 1, n_padded)[..., :n_max] = coefficients
    return RadialTable(padded, start, 1.0 / step, n_intervals, n_l - 1, n_padded)


def _interpolate(
    basis: RadialBasis, cutoff: CutoffFunction, scaling: RadialScaling, step: float
) -> tuple[NDArray[np.float64], float, float]:
    """Return (coefficients[interval, l, power, n], start, error relative to the largest value)."""
    n_intervals = int(np.ceil(cutoff.cutoff / step - 1e-9))
    start = cutoff.cutoff - n_intervals * step
    lower = start + step * np.arange(n_intervals)
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    checks = 0.5 * (nodes[1:] + nodes[:-1])
    radii = np.maximum(lower[:, None] + step * np.concatenate([nodes, checks]), _SHORTEST)
    flat = radii.ravel()
    values = basis.values(flat) * (cutoff.values(flat) * scaling.values(flat))[:, None, None]
    values = values.reshape(n_intervals, nodes.size + checks.size, *values.shape[1:])
    t = (radii - lower[:, None]) / step
    regular = t[-1]
    fit = np.linalg.inv(np.vander(regular[: nodes.size], increasing=True))
    coefficients = np.einsum("pk,ikln->ilpn", fit, values[:, : nodes.size])
    errors = np.einsum(
        "kp,ilpn->ikln", np.vander(regular[nodes.size :], DEGREE + 1, increasing=True), coefficients
    )
    errors -= values[:, nodes.size :]
    sound = radii[:, 0] > max(_SHORTEST, 0.1)
    largest = np.abs(values[sound]).max(initial=1e-300)
    for interval in np.flatnonzero(lower < _SHORTEST):
        inside = np.linspace(max(0.0, (_SHORTEST - lower[interval]) / step), 1.0, nodes.size)
        r = lower[interval] + step * inside
        exact = basis.values(r) * (cutoff.values(r) * scaling.values(r))[:, None, None]
        local = np.linalg.inv(np.vander(inside, increasing=True))
        coefficients[interval] = np.einsum("pk,kln->lpn", local, exact)
    return coefficients, start, float(np.abs(errors[sound]).max(initial=0.0) / largest)
