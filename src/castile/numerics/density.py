"""Expansion of the neighbour density of each centre, c_nlm = sum_j R_nl(r_ij) Y_lm(u_ij), forward and
backward.

Neighbours arrive sorted by centre and species: the pairs of segment ``centre * n_species + species`` are
``first[segment] : first[segment + 1]``. Coefficients are stored as c[centre, lm, species, n] with n padded to
whole vectors.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from castile.numerics.contraction import contract
from castile.numerics.harmonics import harmonics_gradients, harmonics_values
from castile.numerics.simd import (
    LANES,
    aligned_empty,
    fill,
    lane_sum,
    load,
    multiply,
    multiply_add,
    splat,
    store,
)


class RadialTable(NamedTuple):
    """Piecewise polynomials of all R_nl(r): coefficients[interval, l, power, n], flattened, powers from 0 to
    DEGREE.
    """

    coefficients: np.ndarray
    start: float
    inverse_step: float
    n_intervals: int
    l_max: int
    n_padded: int


DEGREE = 5
_TERMS = DEGREE + 1


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _locate(table, distance):
    """Return the offset of the interval of ``distance`` and the position in it, between 0 and 1."""
    scaled = (distance - table.start) * table.inverse_step
    interval = min(max(int(scaled), 0), table.n_intervals - 1)
    return interval * (table.l_max + 1) * _TERMS * table.n_padded, scaled - interval


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _value(coefficients, offset, stride, t):
    """Return the polynomial at t (Horner), one n per lane."""
    value = load(coefficients, offset + DEGREE * stride)
    for power in range(DEGREE - 1, -1, -1):
        value = multiply_add(value, t, load(coefficients, offset + power * stride))
    return value


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _value_and_slope(coefficients, offset, stride, t):
    """Return the polynomial at t and its derivative with respect to t, one n per lane."""
    value = load(coefficients, offset + DEGREE * stride)
    slope = value
    value = multiply_add(value, t, load(coefficients, offset + (DEGREE - 1) * stride))
    for power in range(DEGREE - 2, -1, -1):
        slope = multiply_add(slope, t, value)
        value = multiply_add(value, t, load(coefficients, offset + power * stride))
    return value, slope


@njit(nogil=True, cache=True, error_model="numpy")
def _unit_vectors(vectors, begin, end, directions, distances):
    """Fill one block of unit vectors and distances from pairs begin:end (the rest of the lanes points along
    z).
    """
    for lane in range(LANES):
        directions[lane] = 0.0
        directions[LANES + lane] = 0.0
        directions[2 * LANES + lane] = 1.0
    for pair in range(begin, end):
        lane = pair - begin
        x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
        distance = np.sqrt(x * x + y * y + z * z)
        distances[lane] = distance
        if distance > 0.0:
            inverse = 1.0 / distance
            directions[lane] = x * inverse
            directions[LANES + lane] = y * inverse
            directions[2 * LANES + lane] = z * inverse


@njit(nogil=True, cache=True, error_model="numpy")
def expand_density(first, begin, end, n_species, vectors, table, harmonics, density):
    """Write c[centre, lm, species, n] of centres begin:end to the flat array ``density`` (centre ``begin``
    first).
    """
    n_lm, n_padded = (table.l_max + 1) ** 2, table.n_padded
    row = n_species * n_padded
    dtype = density.dtype
    directions, distances = aligned_empty(3 * LANES, dtype), aligned_empty(LANES, dtype)
    values = aligned_empty(n_lm * LANES, dtype)
    radial = aligned_empty((table.l_max + 1) * LANES * n_padded, dtype)
    where = np.empty(LANES, np.int64)
    density[: (end - begin) * n_lm * row] = 0.0
    segment = begin * n_species
    last = first[end * n_species]
    for block in range(first[segment], last, LANES):
        block_end = min(block + LANES, last)
        _unit_vectors(vectors, block, block_end, directions, distances)
        harmonics_values(directions, harmonics, values)
        _radial_values(distances, block_end - block, table, where, radial)
        pair = block
        while pair < block_end:
            while first[segment + 1] <= pair:
                segment += 1
            stop = min(block_end, first[segment + 1])
            corner = (segment // n_species - begin) * n_lm * row + (segment % n_species) * n_padded
            lane = pair - block
            for degree in range(table.l_max + 1):
                contract(
                    values, degree * degree * LANES + lane, LANES, 1,
                    radial, (degree * LANES + lane) * n_padded, n_padded, stop - pair,
                    density, corner + degree * degree * row, row, 2 * degree + 1, n_padded, True,
                )  # fmt: skip
            pair = stop


@njit(nogil=True, cache=True, error_model="numpy")
def _radial_values(distances, n_pairs, table, where, radial):
    """Write R_nl of one block of pairs to the flat radial[l, pair, n].

    Distances are replaced by the positions in the intervals, whose offsets go to ``where``.
    """
    n_padded = table.n_padded
    for lane in range(n_pairs):
        where[lane], distances[lane] = _locate(table, distances[lane])
    for degree in range(table.l_max + 1):
        for lane in range(n_pairs):
            position = splat(distances, lane)
            for n in range(0, n_padded, LANES):
                source = where[lane] + degree * _TERMS * n_padded + n
                value = _value(table.coefficients, source, n_padded, position)
                store(radial, (degree * LANES + lane) * n_padded + n, value)


@njit(nogil=True, cache=True, error_model="numpy")
def add_central_atoms(center_elements, central, n_lm, n_padded, density):
    """Add central[element of the centre, element channel, n] to c_n00 of the centres that are atoms."""
    n_elements, n_max = central.shape[1], central.shape[2]
    size = n_lm * n_elements * n_padded
    for center in range(center_elements.size):
        kind = center_elements[center]
        if kind < 0:
            continue
        for element in range(n_elements):
            for n in range(n_max):
                density[center * size + element * n_padded + n] += central[kind, element, n]


@njit(nogil=True, cache=True, error_model="numpy")
def density_vjp(first, begin, end, n_species, vectors, table, harmonics, cotangent, pair_gradient):
    """Write dE/dr_ij of the pairs of centres begin:end to ``pair_gradient`` (the first of them first), given
    the flat dE/dc.
    """
    origin = first[begin * n_species]
    n_lm = (table.l_max + 1) ** 2
    n_padded = table.n_padded
    row = n_species * n_padded
    dtype = cotangent.dtype
    directions, distances = aligned_empty(3 * LANES, dtype), aligned_empty(LANES, dtype)
    values, grad_x = aligned_empty(n_lm * LANES, dtype), aligned_empty(n_lm * LANES, dtype)
    grad_y, grad_z = aligned_empty(n_lm * LANES, dtype), aligned_empty(n_lm * LANES, dtype)
    sums, t = np.empty(4, dtype), np.empty(1, dtype)
    zero = fill(cotangent, 0.0)
    for segment in range(begin * n_species, end * n_species):
        corner = (segment // n_species - begin) * n_lm * row + (segment % n_species) * n_padded
        last = first[segment + 1]
        for block in range(first[segment], last, LANES):
            block_end = min(block + LANES, last)
            _unit_vectors(vectors, block, block_end, directions, distances)
            harmonics_gradients(directions, harmonics, values, grad_x, grad_y, grad_z)
            for lane in range(block_end - block):
                offset, t[0] = _locate(table, distances[lane])
                position = splat(t, 0)
                along, turn_x, turn_y, turn_z = zero, zero, zero, zero
                for n in range(0, n_padded, LANES):
                    lm = 0
                    for degree in range(table.l_max + 1):
                        radial, slope = _value_and_slope(
                            table.coefficients, offset + degree * _TERMS * n_padded + n, n_padded, position
                        )
                        value, d_x, d_y, d_z = zero, zero, zero, zero
                        for _ in range(2 * degree + 1):
                            weight = load(cotangent, corner + lm * row + n)
                            k = lm * LANES + lane
                            value = multiply_add(splat(values, k), weight, value)
                            d_x = multiply_add(splat(grad_x, k), weight, d_x)
                            d_y = multiply_add(splat(grad_y, k), weight, d_y)
                            d_z = multiply_add(splat(grad_z, k), weight, d_z)
                            lm += 1
                        along = multiply_add(slope, value, along)
                        turn_x = multiply_add(radial, d_x, turn_x)
                        turn_y = multiply_add(radial, d_y, turn_y)
                        turn_z = multiply_add(radial, d_z, turn_z)
                _add_lanes(along, turn_x, turn_y, turn_z, sums)
                inverse = 1.0 / distances[lane] if distances[lane] > 0.0 else 0.0
                gradient = pair_gradient[block + lane - origin]
                _pair_gradient(directions, lane, inverse, table.inverse_step, sums, gradient)


@njit(nogil=True, cache=True, error_model="numpy")
def density_vjps(first, begin, end, n_species, vectors, table, harmonics, cotangents, pair_gradients):
    """Write dE/dr_ij as :func:`density_vjp` does for several dE/dc, one behind the other in the flat
    ``cotangents``, to pair_gradients[number, pair]. Harmonics and radial functions are computed once for all.
    """
    origin, n_members = first[begin * n_species], pair_gradients.shape[0]
    n_lm, n_padded = (table.l_max + 1) ** 2, table.n_padded
    row = n_species * n_padded
    size = (end - begin) * n_lm * row
    dtype = cotangents.dtype
    directions, distances = aligned_empty(3 * LANES, dtype), aligned_empty(LANES, dtype)
    angular = aligned_empty(4 * n_lm * LANES, dtype)
    values, grad_x = angular[: n_lm * LANES], angular[n_lm * LANES : 2 * n_lm * LANES]
    grad_y, grad_z = angular[2 * n_lm * LANES : 3 * n_lm * LANES], angular[3 * n_lm * LANES :]
    radial = aligned_empty(2 * (table.l_max + 1) * n_padded, dtype)
    sums, t = np.empty((3, 4), dtype), np.empty(1, dtype)
    for segment in range(begin * n_species, end * n_species):
        corner = (segment // n_species - begin) * n_lm * row + (segment % n_species) * n_padded
        last = first[segment + 1]
        for block in range(first[segment], last, LANES):
            block_end = min(block + LANES, last)
            _unit_vectors(vectors, block, block_end, directions, distances)
            harmonics_gradients(directions, harmonics, values, grad_x, grad_y, grad_z)
            for lane in range(block_end - block):
                offset, t[0] = _locate(table, distances[lane])
                _radial_and_slopes(table, offset, t, radial)
                inverse = 1.0 / distances[lane] if distances[lane] > 0.0 else 0.0
                for member in range(0, n_members, 3):
                    second, third = min(member + 1, n_members - 1), min(member + 2, n_members - 1)
                    corners = corner + member * size, corner + second * size, corner + third * size
                    _three_adjoints(
                        cotangents,
                        corners,
                        row,
                        table.l_max,
                        n_padded,
                        radial,
                        angular,
                        lane,
                        n_lm * LANES,
                        sums,
                    )
                    for m in range(min(3, n_members - member)):
                        gradient = pair_gradients[member + m, block + lane - origin]
                        _pair_gradient(directions, lane, inverse, table.inverse_step, sums[m], gradient)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _add_lanes(along, turn_x, turn_y, turn_z, sums):
    """Write the sums over all lanes."""
    sums[0], sums[1] = lane_sum(along), lane_sum(turn_x)
    sums[2], sums[3] = lane_sum(turn_y), lane_sum(turn_z)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _pair_gradient(directions, lane, inverse, inverse_step, sums, gradient):
    """Write dE/dr_ij from the sums over coefficients: radial slope, and derivatives along x, y and z."""
    u_x, u_y, u_z = directions[lane], directions[LANES + lane], directions[2 * LANES + lane]
    g_x, g_y, g_z = sums[1], sums[2], sums[3]
    radial_part = sums[0] * inverse_step - (u_x * g_x + u_y * g_y + u_z * g_z) * inverse
    gradient[0] = g_x * inverse + u_x * radial_part
    gradient[1] = g_y * inverse + u_y * radial_part
    gradient[2] = g_z * inverse + u_z * radial_part


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _radial_and_slopes(table, offset, t, radial):
    """Write R_nl and its slope to the flat radial[l, (R, slope), n]."""
    n_padded, position = table.n_padded, splat(t, 0)
    for degree in range(table.l_max + 1):
        for n in range(0, n_padded, LANES):
            source = offset + degree * _TERMS * n_padded + n
            value, slope = _value_and_slope(table.coefficients, source, n_padded, position)
            store(radial, 2 * degree * n_padded + n, value)
            store(radial, (2 * degree + 1) * n_padded + n, slope)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _multiply_add_three(factor, vectors, totals):
    """Return totals + factor times vectors, three of each."""
    a = multiply_add(factor, vectors[0], totals[0])
    b = multiply_add(factor, vectors[1], totals[1])
    return a, b, multiply_add(factor, vectors[2], totals[2])


@njit(nogil=True, cache=True, error_model="numpy")
def _three_adjoints(cotangents, corners, row, l_max, n_padded, radial, angular, lane, stride, sums):
    """Write what the gradient of one pair consists of to sums[dE/dc, (along, x, y, z)], for three dE/dc.

    Three are as many as the registers hold: each needs four sums over m and four over everything.
    """
    zero = fill(cotangents, 0.0)
    none = zero, zero, zero
    along, turn_x, turn_y, turn_z = none, none, none, none
    for n in range(0, n_padded, LANES):
        at, k = n, lane
        for degree in range(l_max + 1):
            value, d_x, d_y, d_z = none, none, none, none
            for _ in range(2 * degree + 1):
                weights = (
                    load(cotangents, corners[0] + at),
                    load(cotangents, corners[1] + at),
                    load(cotangents, corners[2] + at),
                )
                value = _multiply_add_three(splat(angular, k), weights, value)
                d_x = _multiply_add_three(splat(angular, k + stride), weights, d_x)
                d_y = _multiply_add_three(splat(angular, k + 2 * stride), weights, d_y)
                d_z = _multiply_add_three(splat(angular, k + 3 * stride), weights, d_z)
                at += row
                k += LANES
            height = load(radial, 2 * degree * n_padded + n)
            slope = load(radial, (2 * degree + 1) * n_padded + n)
            along = _multiply_add_three(slope, value, along)
            turn_x = _multiply_add_three(height, d_x, turn_x)
            turn_y = _multiply_add_three(height, d_y, turn_y)
            turn_z = _multiply_add_three(height, d_z, turn_z)
    _add_lanes(along[0], turn_x[0], turn_y[0], turn_z[0], sums[0])
    _add_lanes(along[1], turn_x[1], turn_y[1], turn_z[1], sums[1])
    _add_lanes(along[2], turn_x[2], turn_y[2], turn_z[2], sums[2])


@njit(nogil=True, cache=True, error_model="numpy")
def density_pair_derivatives(pair_begin, pair_end, vectors, table, harmonics, derivatives):
    """Write dc_nlm/dr_ij of pairs pair_begin:pair_end to the flat derivatives[pair, axis, lm, n]."""
    n_lm = (table.l_max + 1) ** 2
    n_padded = table.n_padded
    size = n_lm * n_padded
    dtype = derivatives.dtype
    directions, distances = np.empty(3 * LANES, dtype), np.empty(LANES, dtype)
    values, grad_x = np.empty(n_lm * LANES, dtype), np.empty(n_lm * LANES, dtype)
    grad_y, grad_z = np.empty(n_lm * LANES, dtype), np.empty(n_lm * LANES, dtype)
    scalars = np.empty(7, dtype)
    for block in range(pair_begin, pair_end, LANES):
        block_end = min(block + LANES, pair_end)
        _unit_vectors(vectors, block, block_end, directions, distances)
        harmonics_gradients(directions, harmonics, values, grad_x, grad_y, grad_z)
        for lane in range(block_end - block):
            offset, scalars[0] = _locate(table, distances[lane])
            position = splat(scalars, 0)
            u_x, u_y, u_z = directions[lane], directions[LANES + lane], directions[2 * LANES + lane]
            inverse = 1.0 / distances[lane] if distances[lane] > 0.0 else 0.0
            corner = (block + lane - pair_begin) * 3 * size
            for n in range(0, n_padded, LANES):
                lm = 0
                for degree in range(table.l_max + 1):
                    radial, slope = _value_and_slope(
                        table.coefficients, offset + degree * _TERMS * n_padded + n, n_padded, position
                    )
                    for _ in range(2 * degree + 1):
                        k = lm * LANES + lane
                        tangential = u_x * grad_x[k] + u_y * grad_y[k] + u_z * grad_z[k]
                        along = values[k] * table.inverse_step
                        scalars[1], scalars[2] = along * u_x, (grad_x[k] - u_x * tangential) * inverse
                        scalars[3], scalars[4] = along * u_y, (grad_y[k] - u_y * tangential) * inverse
                        scalars[5], scalars[6] = along * u_z, (grad_z[k] - u_z * tangential) * inverse
                        target = corner + lm * n_padded + n
                        for axis in range(3):
                            change = multiply_add(
                                splat(scalars, 1 + 2 * axis),
                                slope,
                                multiply(splat(scalars, 2 + 2 * axis), radial),
                            )
                            store(derivatives, target + axis * size, change)
                        lm += 1


@njit(nogil=True, cache=True, error_model="numpy")
def density_jvp(first, begin, end, n_species, vectors, pair_tangent, table, harmonics, tangent):
    """Write the change of c along the pair displacements ``pair_tangent`` (n_pairs, 3), laid out as
    ``density``.
    """
    n_lm = (table.l_max + 1) ** 2
    n_padded = table.n_padded
    row = n_species * n_padded
    dtype = tangent.dtype
    derivatives = np.empty(3 * n_lm * n_padded, dtype)
    tangent[: (end - begin) * n_lm * row] = 0.0
    for segment in range(begin * n_species, end * n_species):
        corner = (segment // n_species - begin) * n_lm * row + (segment % n_species) * n_padded
        for pair in range(first[segment], first[segment + 1]):
            density_pair_derivatives(pair, pair + 1, vectors, table, harmonics, derivatives)
            for lm in range(n_lm):
                for n in range(n_padded):
                    k = lm * n_padded + n
                    change = 0.0
                    for axis in range(3):
                        change += derivatives[axis * n_lm * n_padded + k] * pair_tangent[pair, axis]
                    tangent[corner + lm * row + n] += change


@njit(nogil=True, cache=True, error_model="numpy")
def mix_channels(density, n_rows, mixing, n_padded, mixed):
    """Write mixed[row, channel, n] = sum_element density[row, element, n] mixing[element, channel] (flat
    arrays).
    """
    n_elements, n_channels = mixing.shape
    for row in range(n_rows):
        for channel in range(n_channels):
            for n in range(0, n_padded, LANES):
                total = fill(density, 0.0)
                for element in range(n_elements):
                    total = multiply_add(
                        splat(mixing[element], channel),
                        load(density, (row * n_elements + element) * n_padded + n),
                        total,
                    )
                store(mixed, (row * n_channels + channel) * n_padded + n, total)
