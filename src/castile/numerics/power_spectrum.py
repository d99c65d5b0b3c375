"""Power spectrum p_lkk' = w_kk' / sqrt(2l + 1) sum_m c_lmk c_lmk' of density coefficients, forward and
backward.

k runs over channel and radial index together (k = channel * n_max + n); only k <= k' is stored, l slowest,
and w = sqrt 2 off the diagonal keeps the dot product of two power spectra that of the full matrices. Rows of
the density are padded: channel ``q`` starts at ``q * n_padded``. The products run over packed rows without
that padding.
"""

import numpy as np
from numba import njit

from castile.numerics.contraction import contract
from castile.numerics.simd import (
    LANES,
    aligned_empty,
    aligned_zeros,
    fill,
    load,
    multiply,
    multiply_add,
    store,
    transpose,
)

_SQRT2 = np.sqrt(2.0)
_FAST = {"contract", "nsz", "arcp", "reassoc"}  # sums over features may take any order


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def power_spectrum(density, n_centers, n_channels, n_max, n_padded, l_max, normalize, features, rows, norms):
    """Write features[rows[centre], (l, k, k')] and the norms before normalization; a zero density gives a
    zero row.
    """
    n_lm = (l_max + 1) ** 2
    n_features = features.shape[1]
    n_combined = n_channels * n_max
    width = _whole_vectors(n_combined)
    packed = aligned_zeros(n_lm * width + LANES, density.dtype)
    products = aligned_zeros(LANES * width + LANES, density.dtype)
    line = aligned_empty(n_features + LANES, density.dtype)
    for center in range(n_centers):
        corner = center * n_lm * n_channels * n_padded
        _pack_channels(density, corner, n_lm, n_channels, n_max, n_padded, width, packed)
        position = 0
        for degree in range(l_max + 1):
            begin, count = degree * degree * width, 2 * degree + 1
            scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
            weight = fill(density, scale * _SQRT2)
            for top in range(0, n_combined, LANES):
                n_rows = min(LANES, n_combined - top)
                contract(
                    packed, begin + top, 1, width, packed, begin + top, width, count,
                    products, top, width, n_rows, width - top, False,
                )  # fmt: skip
                for k in range(top, top + n_rows):
                    row = (k - top) * width
                    line[position] = products[row + k] * scale
                    for k2 in range(k + 1, n_combined, LANES):
                        value = multiply(load(products, row + k2), weight)
                        store(line, position + k2 - k, value)
                    position += n_combined - k
        total = 0.0
        for f in range(n_features):
            total += line[f] * line[f]
        norm = np.sqrt(total)
        norms[center] = norm
        inverse = 1.0 / norm if normalize and norm > 0.0 else 1.0
        for f in range(n_features):
            features[rows[center], f] = line[f] * inverse


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _whole_vectors(size):
    return (size + LANES - 1) // LANES * LANES


@njit(nogil=True, cache=True, error_model="numpy")
def _pack_channels(density, corner, n_rows, n_channels, n_max, n_padded, width, packed):
    """Copy the rows of one centre to rows of ``width`` without the padding between channels.

    Whole vectors are written; what one of them writes too far the next one overwrites.
    """
    for row in range(n_rows):
        for q in range(n_channels):
            source, target = corner + (row * n_channels + q) * n_padded, row * width + q * n_max
            for n in range(0, n_max, LANES):
                store(packed, target + n, load(density, source + n))


@njit(nogil=True, cache=True, error_model="numpy")
def _unpack_channels(packed, n_rows, n_channels, n_max, n_padded, width, density, corner):
    """Copy rows of ``width`` to those of one centre; the padding between channels is left to chance."""
    for row in range(n_rows):
        for q in range(n_channels):
            source, target = row * width + q * n_max, corner + (row * n_channels + q) * n_padded
            for n in range(0, n_max, LANES):
                store(density, target + n, load(packed, source + n))


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def power_spectrum_vjp(
    density, features, norms, n_centers, n_channels, n_max, n_padded, l_max, normalize, cotangent, d_density
):
    """Write dE/dc to the flat ``d_density`` given dE/dp (``cotangent``).

    dE/dc_lmk = sum_k' S_lkk' c_lmk' with the symmetric S_lkk' = w_kk' / sqrt(2l + 1) dE/dp_lkk', twice that
    on the diagonal.
    """
    n_lm = (l_max + 1) ** 2
    n_features = features.shape[1]
    n_combined = n_channels * n_max
    per_degree = n_combined * (n_combined + 1) // 2
    width = _whole_vectors(n_combined)
    packed = aligned_zeros(n_lm * width + LANES, density.dtype)
    d_packed = aligned_zeros(n_lm * width + LANES, density.dtype)
    change = aligned_zeros(n_features + LANES, density.dtype)
    matrix = aligned_zeros((width + 1) * width, density.dtype)
    for center in range(n_centers):
        along, inverse = 0.0, 1.0
        if normalize:
            inverse = 1.0 / norms[center] if norms[center] > 0.0 else 0.0
            for f in range(n_features):
                along += features[center, f] * cotangent[center, f]
        for f in range(n_features):
            change[f] = (cotangent[center, f] - features[center, f] * along) * inverse
        corner = center * n_lm * n_channels * n_padded
        _pack_channels(density, corner, n_lm, n_channels, n_max, n_padded, width, packed)
        for degree in range(l_max + 1):
            begin, count = degree * degree * width, 2 * degree + 1
            scale = 1.0 / np.sqrt(2.0 * degree + 1.0)
            _unfold(change, degree * per_degree, n_combined, width, scale, matrix)
            contract(
                packed, begin, width, 1, matrix, 0, width, n_combined,
                d_packed, begin, width, count, width, False,
            )  # fmt: skip
        _unpack_channels(d_packed, n_lm, n_channels, n_max, n_padded, width, d_density, corner)


@njit(nogil=True, cache=True, error_model="numpy")
def _unfold(change, position, n_combined, width, scale, matrix):
    """Write the symmetric matrix of one degree, rows of ``width``, from its upper triangle in ``change``."""
    weight = fill(change, scale * _SQRT2)
    for k in range(n_combined):
        matrix[k * width + k] = 2.0 * scale * change[position]
        for k2 in range(k + 1, n_combined, LANES):
            store(matrix, k * width + k2, multiply(load(change, position + k2 - k), weight))
        position += n_combined - k
    for top in range(0, n_combined, LANES):
        for k in range(top, min(top + LANES, n_combined)):
            for k2 in range(k + 1, min(top + LANES, n_combined)):
                matrix[k2 * width + k] = matrix[k * width + k2]
        for left in range(top + LANES, n_combined, LANES):
            transpose(matrix, top * width + left, width, matrix, left * width + top, width)


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
    in ``density``. With the matrix T_nk = sum_m dc_mn c_mk of one degree and the rows n of channel q,
    dp_kk' = w_kk' / sqrt(2l + 1) sum_q mixing_q (delta_(k in q) T_nk' + delta_(k' in q) T_n'k).
    """
    n_channels = mixing.shape[1]
    n_lm = (l_max + 1) ** 2
    n_combined, n_features = n_channels * n_max, out.shape[1]
    width = _whole_vectors(n_combined)
    packed = aligned_zeros(n_lm * width + LANES, density.dtype)
    across = aligned_zeros(n_max * width + LANES, density.dtype)
    down = aligned_zeros(n_combined * n_padded + LANES, density.dtype)
    matrix = aligned_zeros(n_combined * width + LANES, density.dtype)
    line = aligned_zeros(n_features + LANES, density.dtype)
    last_center = -1
    for pair in range(pair_center.size):
        center, shares = pair_center[pair], mixing[pair_species[pair]]
        if center != last_center:
            corner = center * n_lm * n_channels * n_padded
            _pack_channels(density, corner, n_lm, n_channels, n_max, n_padded, width, packed)
            last_center = center
        for axis in range(3):
            source, position = (3 * pair + axis) * n_lm * n_padded, 0
            for degree in range(l_max + 1):
                count, scale = 2 * degree + 1, 1.0 / np.sqrt(2.0 * degree + 1.0)
                own, other = source + degree * degree * n_padded, degree * degree * width
                contract(
                    derivatives, own, 1, n_padded, packed, other, width, count,
                    across, 0, width, n_max, width, False,
                )  # fmt: skip
                contract(
                    packed, other, 1, width, derivatives, own, n_padded, count,
                    down, 0, n_padded, n_combined, n_padded, False,
                )  # fmt: skip
                _share(across, down, shares, n_max, n_padded, n_combined, width, matrix)
                position = _fold(matrix, n_combined, width, scale, position, line)
            for f in range(n_features):
                out[3 * pair + axis, f] = line[f]


@njit(nogil=True, cache=True, error_model="numpy")
def _share(across, down, shares, n_max, n_padded, n_combined, width, matrix):
    """Write the sum over channels of T in the rows and its transpose in the columns of each channel."""
    matrix[:] = 0.0
    for q in range(shares.size):
        if shares[q] == 0.0:
            continue
        share = fill(matrix, shares[q])
        for n in range(n_max):
            for k in range(0, width, LANES):
                target = (q * n_max + n) * width + k
                total = multiply_add(share, load(across, n * width + k), load(matrix, target))
                store(matrix, target, total)
        for k in range(n_combined):
            for n in range(0, n_max, LANES):  # zeros where a whole vector reaches beyond the channel
                target = k * width + q * n_max + n
                total = multiply_add(share, load(down, k * n_padded + n), load(matrix, target))
                store(matrix, target, total)


@njit(nogil=True, cache=True, error_model="numpy")
def _fold(matrix, n_combined, width, scale, position, line):
    """Write the upper triangle of one degree to line[position:], weighted as features are; return its end."""
    weight = fill(line, scale * _SQRT2)
    for k in range(n_combined):
        line[position] = scale * matrix[k * width + k]
        for k2 in range(k + 1, n_combined, LANES):
            store(line, position + k2 - k, multiply(load(matrix, k * width + k2), weight))
        position += n_combined - k
    return position
