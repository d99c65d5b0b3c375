"""Real spherical harmonics and their gradients for a block of directions, one direction per SIMD lane.

Y_lm = P_lm(z) A_m(x, y) and Y_l,-m = P_lm(z) B_m(x, y) with A_m + i B_m = (x + i y)^m and P_lm the associated
Legendre function divided by (1 - z^2)^(m/2), scaled so that the harmonics are orthonormal on the sphere (for
m > 0 the factor sqrt 2 of the real form is included). On unit vectors they are polynomials in x, y, z, so the
gradient has no
singular direction; the radial part of the gradient is projected out where it is used.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from castile.numerics.simd import LANES, fill, load, multiply, multiply_add, splat, store, subtract


class HarmonicsTable(NamedTuple):
    """Recursion constants: diagonal[m] starts column m; a[l, m] and b[l, m] raise l (flattened rows of l_max
    + 1).
    """

    l_max: int
    diagonal: np.ndarray
    a: np.ndarray
    b: np.ndarray
    order: np.ndarray


def harmonics_table(l_max: int, dtype: Any = np.float64) -> HarmonicsTable:
    """Return the constants of P_lm = a_lm (z P_l-1,m - b_lm P_l-2,m) for orthonormal real harmonics up to
    ``l_max``.
    """
    size = l_max + 1
    diagonal = np.zeros(size)
    diagonal[0] = np.sqrt(0.25 / np.pi)
    value = diagonal[0]
    for m in range(1, size):
        value *= np.sqrt((2 * m + 1) / (2 * m))
        diagonal[m] = np.sqrt(2.0) * value
    a, b = np.zeros((size, size)), np.zeros((size, size))
    for m in range(size):
        for degree in range(m + 1, size):
            a[degree, m] = np.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
            b[degree, m] = np.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1))
    order = np.arange(size)
    arrays = (np.ascontiguousarray(x, dtype=dtype) for x in (diagonal, a.ravel(), b.ravel(), order))
    return HarmonicsTable(l_max, *arrays)


@njit(nogil=True, cache=True, error_model="numpy")
def harmonics_values(directions, table, values):
    """Write Y_lm of LANES unit vectors (``directions``: x lanes, y lanes, z lanes) to values[lm * LANES +
    lane].
    """
    l_max = table.l_max
    x, y, z = load(directions, 0), load(directions, LANES), load(directions, 2 * LANES)
    zero = fill(values, 0.0)
    cosine, sine = fill(values, 1.0), zero
    for m in range(l_max + 1):
        if m > 0:
            raised = subtract(multiply(cosine, x), multiply(sine, y))
            sine = multiply_add(cosine, y, multiply(sine, x))
            cosine = raised
        legendre, below = splat(table.diagonal, m), zero
        for degree in range(m, l_max + 1):
            if degree > m:
                k = degree * (l_max + 1) + m
                lowered = multiply(splat(table.b, k), below)
                below, legendre = (
                    legendre,
                    multiply(splat(table.a, k), subtract(multiply(z, legendre), lowered)),
                )
            lm = degree * degree + degree
            store(values, (lm + m) * LANES, multiply(legendre, cosine))
            if m > 0:
                store(values, (lm - m) * LANES, multiply(legendre, sine))


@njit(nogil=True, cache=True, error_model="numpy")
def harmonics_gradients(directions, table, values, grad_x, grad_y, grad_z):
    """As :func:`harmonics_values`, with the gradients of the polynomials Y_lm(x, y, z) in ``grad_x, grad_y,
    grad_z``.
    """
    l_max = table.l_max
    x, y, z = load(directions, 0), load(directions, LANES), load(directions, 2 * LANES)
    zero = fill(values, 0.0)
    cosine, sine = fill(values, 1.0), zero
    cosine_below, sine_below = zero, zero
    for m in range(l_max + 1):
        if m > 0:
            cosine_below, sine_below = cosine, sine
            cosine = subtract(multiply(cosine_below, x), multiply(sine_below, y))
            sine = multiply_add(cosine_below, y, multiply(sine_below, x))
        order = splat(table.order, m)
        legendre, below = splat(table.diagonal, m), zero
        slope, slope_below = zero, zero
        for degree in range(m, l_max + 1):
            if degree > m:
                k = degree * (l_max + 1) + m
                a, b = splat(table.a, k), splat(table.b, k)
                raised_slope = multiply_add(z, slope, subtract(legendre, multiply(b, slope_below)))
                raised = subtract(multiply(z, legendre), multiply(b, below))
                slope_below, below = slope, legendre
                slope, legendre = multiply(a, raised_slope), multiply(a, raised)
            lm = degree * degree + degree
            turned = multiply(order, legendre)
            position = (lm + m) * LANES
            store(values, position, multiply(legendre, cosine))
            store(grad_x, position, multiply(turned, cosine_below))
            store(grad_y, position, subtract(zero, multiply(turned, sine_below)))
            store(grad_z, position, multiply(slope, cosine))
            if m > 0:
                position = (lm - m) * LANES
                store(values, position, multiply(legendre, sine))
                store(grad_x, position, multiply(turned, sine_below))
                store(grad_y, position, multiply(turned, cosine_below))
                store(grad_z, position, multiply(slope, sine))
