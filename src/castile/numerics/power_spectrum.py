"""Power spectrum p_lkk' = w_kk' / sqrt(2l + 1) sum_m c_lmk c_lmk' of density coefficients, forward and
backward.

k runs over channel and radial index together (k = channel * n_max + n); only k <= k' is stored, l slowest,
and w = sqrt 2 off the diagonal keeps the dot product of two power spectra that of the full matrices. Rows of
the density are padded:
channel ``q`` starts at ``q * n_padded``.
"""

import numpy as np
from numba import njit

from castile.numerics.simd import LANES, fill, load, multiply_add, splat, store

_SQRT2 = np.sqrt(2.0)


@njit(nogil=True, cache=True, error_model="numpy")
def power_spectrum(density, n_centers, n_channels, n_max, n_padded, l_max, normalize, features, norms):
    """Write features[centre, (l, k, k')] and the norms before normalization; a zero density gives a zero
    row.
    """
    row = n_channels * n_padded
    size = (l_max + 1) ** 2 * row
    products = np.empty(row, density.dtype)
    zero = fill(density, 0.0)
    for center in range(n_centers):
        position = 0
        total = 0.0
        for degree in range(l_max + 1):
            corner = center * size + degree * degree * row
            scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
            for q in range(n_channels):
                for n in range(n_max):
                    k = q * n_padded + n
                    for block in range(k // LANES * LANES, row, LANES):
                        total_m = zero
                        for m in range(2 * degree + 1):
                            base = corner + m * row
                            total_m = multiply_add(
                                splat(density, base + k), load(density, base + block), total_m
                            )
                        store(products, block, total_m)
                    value = products[k] * scale
                    features[center, position] = value
                    total += value * value
                    position += 1
                    weight = scale * _SQRT2
                    for q2 in range(q, n_channels):
                        for n2 in range(n + 1 if q2 == q else 0, n_max):
                            value = products[q2 * n_padded + n2] * weight
                            features[center, position] = value
                            total += value * value
                            position += 1
        norm = np.sqrt(total)
        norms[center] = norm
        if normalize and norm > 0.0:
            inverse = 1.0 / norm
            for f in range(position):
                features[center, f] *= inverse


@njit(nogil=True, cache=True, error_model="numpy")
def power_spectrum_vjp(
    density, features, norms, n_centers, n_channels, n_max, n_padded, l_max, normalize, cotangent, d_density
):
    """Write dE/dc to the flat ``d_density`` given dE/dp (``cotangent``, overwritten when it is
    normalized).
    """
    row = n_channels * n_padded
    size = (l_max + 1) ** 2 * row
    matrix = np.zeros(row * row, density.dtype)
    zero = fill(density, 0.0)
    n_features = features.shape[1]
    for center in range(n_centers):
        if normalize:
            inverse = 1.0 / norms[center] if norms[center] > 0.0 else 0.0
            along = 0.0
            for f in range(n_features):
                along += features[center, f] * cotangent[center, f]
            for f in range(n_features):
                cotangent[center, f] = (cotangent[center, f] - features[center, f] * along) * inverse
        position = 0
        for degree in range(l_max + 1):
            corner = center * size + degree * degree * row
            scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
            for q in range(n_channels):
                for n in range(n_max):
                    k = q * n_padded + n
                    matrix[k * row + k] = 2.0 * scale * cotangent[center, position]
                    position += 1
                    weight = scale * _SQRT2
                    for q2 in range(q, n_channels):
                        for n2 in range(n + 1 if q2 == q else 0, n_max):
                            k2 = q2 * n_padded + n2
                            value = weight * cotangent[center, position]
                            matrix[k * row + k2] = value
                            matrix[k2 * row + k] = value
                            position += 1
            for m in range(2 * degree + 1):
                base = corner + m * row
                for block in range(0, row, LANES):
                    gradient = zero
                    for q in range(n_channels):
                        for n in range(n_max):
                            k = q * n_padded + n
                            gradient = multiply_add(
                                splat(density, base + k), load(matrix, k * row + block), gradient
                            )
                    store(d_density, base + block, gradient)


@njit(nogil=True, cache=True, error_model="numpy")
def power_spectrum_jvp(
    density, tangent, norms, features, n_centers, n_channels, n_max, n_padded, l_max, normalize, out
):
    """Write the change of the (normalized) power spectrum along the change ``tangent`` of the density."""
    row = n_channels * n_padded
    size = (l_max + 1) ** 2 * row
    for center in range(n_centers):
        position = 0
        along = 0.0
        inverse = 1.0
        if normalize:
            inverse = 1.0 / norms[center] if norms[center] > 0.0 else 0.0
        for degree in range(l_max + 1):
            corner = center * size + degree * degree * row
            scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
            for a in range(n_channels * n_max):
                k = a // n_max * n_padded + a % n_max
                for b in range(a, n_channels * n_max):
                    k2 = b // n_max * n_padded + b % n_max
                    change = 0.0
                    for m in range(2 * degree + 1):
                        base = corner + m * row
                        change += (
                            density[base + k] * tangent[base + k2] + tangent[base + k] * density[base + k2]
                        )
                    change *= scale * inverse if a == b else scale * _SQRT2 * inverse
                    out[center, position] = change
                    along += change * features[center, position]
                    position += 1
        if normalize:
            for f in range(position):
                out[center, f] -= along * features[center, f]


@njit(nogil=True, cache=True, error_model="numpy")
def power_spectrum_pair_derivatives(
    density, derivatives, pair_center, pair_species, mixing, n_max, n_padded, l_max, out
):
    """Write dp/dr_ij (before normalization) to out[3 * pair + axis, feature].

    ``derivatives`` is dc/dr_ij of the pair's own element, flat [pair, axis, lm, n]; ``mixing[element,
    channel]`` says how much that element adds to each channel; ``pair_center`` counts from the first centre
    in ``density``.
    """
    n_channels = mixing.shape[1]
    row = n_channels * n_padded
    n_lm = (l_max + 1) ** 2
    size = n_lm * row
    n_combined = n_channels * n_max
    n_pairs_kk = n_combined * (n_combined + 1) // 2
    products = np.empty(row, density.dtype)
    zero = fill(density, 0.0)
    for pair in range(pair_center.size):
        element = pair_species[pair]
        for axis in range(3):
            line = 3 * pair + axis
            out[line, :] = 0.0
            source = line * n_lm * n_padded
            for degree in range(l_max + 1):
                corner = pair_center[pair] * size + degree * degree * row
                scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
                start = degree * n_pairs_kk
                for n in range(n_max):
                    for block in range(0, row, LANES):
                        total = zero
                        for m in range(2 * degree + 1):
                            change = splat(derivatives, source + (degree * degree + m) * n_padded + n)
                            total = multiply_add(change, load(density, corner + m * row + block), total)
                        store(products, block, total)
                    for q in range(n_channels):
                        share = mixing[element, q] * scale
                        if share == 0.0:
                            continue
                        k = q * n_max + n
                        for k2 in range(k):
                            target = start + k2 * (2 * n_combined - k2 - 1) // 2 + k
                            out[line, target] += (
                                share * _SQRT2 * products[k2 // n_max * n_padded + k2 % n_max]
                            )
                        base = start + k * (2 * n_combined - k - 1) // 2
                        out[line, base + k] += 2.0 * share * products[q * n_padded + n]
                        for k2 in range(k + 1, n_combined):
                            out[line, base + k2] += (
                                share * _SQRT2 * products[k2 // n_max * n_padded + k2 % n_max]
                            )
