"""Power spectrum p_lkk' = w_kk' / sqrt(2l + 1) sum_m c_lmk c_lmk' of density coefficients, forward and
backward.

k runs over channel and radial index together (k = channel * n_max + n); only k <= k' is stored, l slowest,
and w = sqrt 2 off the diagonal keeps the dot product of two power spectra that of the full matrices. Rows of
the density are padded:
channel ``q`` starts at ``q * n_padded``.
"""

import numpy as np
from numba import njit

from castile.numerics.simd import LANES, fill, load, multiply, multiply_add, splat, store

_SQRT2 = np.sqrt(2.0)
_FAST = {"contract", "nsz", "arcp", "reassoc"}  # sums over features may take any order


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def power_spectrum(density, n_centers, n_channels, n_max, n_padded, l_max, normalize, features, norms):
    """Write features[centre, (l, k, k')] and the norms before normalization; a zero density gives a zero
    row.

    Whole vectors are written to a line of features; what one of them writes too far the next one overwrites.
    """
    row = n_channels * n_padded
    size = (l_max + 1) ** 2 * row
    n_features = features.shape[1]
    products = np.zeros(row + LANES, density.dtype)
    line = np.empty(n_features + LANES, density.dtype)
    zero = fill(density, 0.0)
    for center in range(n_centers):
        position = 0
        for degree in range(l_max + 1):
            corner = center * size + degree * degree * row
            scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
            weight = fill(density, scale * _SQRT2)
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
                    line[position] = products[k] * scale
                    position += 1
                    for start in range(n + 1, n_max, LANES):
                        source = q * n_padded + start
                        store(line, position + start - n - 1, multiply(load(products, source), weight))
                    position += n_max - n - 1
                    for q2 in range(q + 1, n_channels):
                        for start in range(0, n_max, LANES):
                            source = q2 * n_padded + start
                            store(line, position + start, multiply(load(products, source), weight))
                        position += n_max
        total = 0.0
        for f in range(n_features):
            total += line[f] * line[f]
        norm = np.sqrt(total)
        norms[center] = norm
        inverse = 1.0 / norm if normalize and norm > 0.0 else 1.0
        for f in range(n_features):
            features[center, f] = line[f] * inverse


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def power_spectrum_vjp(
    density, features, norms, n_centers, n_channels, n_max, n_padded, l_max, normalize, cotangent, d_density
):
    """Write dE/dc to the flat ``d_density`` given dE/dp (``cotangent``)."""
    row = n_channels * n_padded
    size = (l_max + 1) ** 2 * row
    matrix = np.zeros(row * row, density.dtype)
    zero = fill(density, 0.0)
    n_features = features.shape[1]
    change = np.zeros(n_features + LANES, density.dtype)
    line = np.zeros(row + 2 * LANES, density.dtype)
    for center in range(n_centers):
        along, inverse = 0.0, 1.0
        if normalize:
            inverse = 1.0 / norms[center] if norms[center] > 0.0 else 0.0
            for f in range(n_features):
                along += features[center, f] * cotangent[center, f]
        for f in range(n_features):
            change[f] = (cotangent[center, f] - features[center, f] * along) * inverse
        position = 0
        for degree in range(l_max + 1):
            corner = center * size + degree * degree * row
            scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
            weight = fill(density, scale * _SQRT2)
            for q in range(n_channels):
                for n in range(n_max):
                    k = q * n_padded + n
                    line[k] = 2.0 * scale * change[position]
                    position += 1
                    for start in range(n + 1, n_max, LANES):
                        source = position + start - n - 1
                        store(line, q * n_padded + start, multiply(load(change, source), weight))
                    position += n_max - n - 1
                    for q2 in range(q + 1, n_channels):
                        for start in range(0, n_max, LANES):
                            value = multiply(load(change, position + start), weight)
                            store(line, q2 * n_padded + start, value)
                        position += n_max
                    for q2 in range(q, n_channels):
                        first = q2 * n_padded
                        for k2 in range(max(first, k), first + n_max):
                            matrix[k * row + k2] = line[k2]
                            matrix[k2 * row + k] = line[k2]
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
