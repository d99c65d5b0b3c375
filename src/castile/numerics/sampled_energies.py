"""Energies of many samples at once: features of quadratic forms, and tabulated pair potentials."""

import numpy as np
from numba import njit

from castile.numerics.simd import LANES, aligned_zeros, load, multiply, splat, store


@njit(nogil=True, cache=True, error_model="numpy")
def quadratic_features(features, out):
    """Write [q_a q_b for a <= b, q, 1] of each row q of ``features`` (n_rows, d) to ``out``, both float32.

    Whole vectors are written; what one of them writes too far the next one overwrites.
    """
    n_rows, d = features.shape
    size = d * (d + 1) // 2 + d + 1
    own, line = aligned_zeros(d + LANES, features.dtype), aligned_zeros(size + LANES, features.dtype)
    for row in range(n_rows):
        for a in range(d):
            own[a] = features[row, a]
        position = 0
        for a in range(d):
            factor = splat(own, a)
            for b in range(a, d, LANES):
                store(line, position + b - a, multiply(factor, load(own, b)))
            position += d - a
        line[position : position + d] = own[:d]
        line[position + d] = 1.0
        out[row, :size] = line[:size]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def add_tabulated_samples(center, vectors, kinds, table, step, cutoff, out):
    """Add half of V_s(r) of each ordered pair to row ``center`` of ``out`` (n_atoms, n_samples).

    ``table[kind, k, s]`` is V_s at k * step, interpolated by cubics through four values; ``kinds[pair]`` is
    negative for pairs without a potential.
    """
    n_samples = table.shape[2]
    for pair in range(center.size):
        kind = kinds[pair]
        if kind < 0:
            continue
        x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
        distance = np.sqrt(x * x + y * y + z * z)
        if distance >= cutoff:
            continue
        first = min(max(int(distance / step) - 1, 0), table.shape[1] - 4)
        t = distance / step - first
        a = -(t - 1.0) * (t - 2.0) * (t - 3.0) / 12.0
        b = t * (t - 2.0) * (t - 3.0) / 4.0
        c = -t * (t - 1.0) * (t - 3.0) / 4.0
        d = t * (t - 1.0) * (t - 2.0) / 12.0
        v0, v1 = table[kind, first], table[kind, first + 1]
        v2, v3 = table[kind, first + 2], table[kind, first + 3]
        target = out[center[pair]]
        for s in range(n_samples):
            target[s] += a * v0[s] + b * v1[s] + c * v2[s] + d * v3[s]


@njit(nogil=True, cache=True, error_model="numpy")
def add_rows(atoms, values, out):
    """Add row k of ``values`` (n, n_samples) to row atoms[k] of ``out``."""
    for k in range(atoms.size):
        target = out[atoms[k]]
        for s in range(values.shape[1]):
            target[s] += values[k, s]
